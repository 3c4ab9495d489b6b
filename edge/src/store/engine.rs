//! The engine's thread: SQLite blocks whoever calls it, and media pacing must not wait for a disk.
//!
//! Requests wait in a queue of [`QUEUE`]; when it is full a request fails at once as not available. A request whose
//! asker has given up is not begun. A second thread sweeps expired items each hour, a page at a time.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::{DataSync, OpenError};

/// Requests that may wait.
const QUEUE: usize = 16_384;

/// Between sweeps of expired items: housekeeping, nothing waits for it.
const SWEEP: Duration = Duration::from_secs(3600);

/// One request of DynamoDB's JSON protocol.
pub(super) struct Request {
    /// The operation's name (`PutItem`).
    pub operation: String,
    /// Its JSON.
    pub body: Vec<u8>,
    /// Status and JSON.
    pub answer: oneshot::Sender<(u16, Vec<u8>)>,
}

/// What the thread is told.
pub(super) enum Order {
    Serve(Request),
    Stop,
}

/// The running engine.
pub(super) struct Engine {
    orders: SyncSender<Order>,
    threads: Vec<JoinHandle<()>>,
    sweeper: Option<SyncSender<()>>,
}

impl Engine {
    /// Opens the file on a thread of its own.
    pub async fn start(path: &Path, sync: DataSync) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder { path: path.to_owned(), source };
        let (orders, received) = mpsc::sync_channel(QUEUE);
        let (opened, open) = oneshot::channel();
        let file = path.to_owned();
        let serving = thread::Builder::new().name("store".to_owned()).spawn(move || match open_file(&file, sync) {
            Ok(database) => {
                if opened.send(Ok(database.clone())).is_ok() {
                    serve(&database, &received);
                }
            }
            Err(reason) => {
                let _ = opened.send(Err(OpenError::Damaged { path: file, reason }));
            }
        });
        let mut threads = vec![serving.map_err(failed)?];
        let gone = || OpenError::Damaged { path: path.to_owned(), reason: "the engine stopped".to_owned() };
        let database = open.await.map_err(|_| gone())??;
        let (sweeper, stop) = mpsc::sync_channel(1);
        let sweeping = thread::Builder::new().name("store-sweep".to_owned()).spawn(move || sweep(&database, &stop));
        threads.push(sweeping.map_err(failed)?);
        Ok(Engine { orders, threads, sweeper: Some(sweeper) })
    }

    /// Where requests go.
    pub fn requests(&self) -> SyncSender<Order> {
        self.orders.clone()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.sweeper = None;
        let _ = self.orders.send(Order::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn open_file(path: &Path, sync: DataSync) -> Result<Database, String> {
    let name = path.to_str().ok_or("its path is not UTF-8")?;
    let database = Database::new(name).map_err(|error| error.to_string())?;
    if sync == DataSync::Normal {
        // The engine opens FULL; there and back leaves NORMAL, its one way to say so.
        database
            .enable_bulk_loading()
            .and_then(|()| database.disable_bulk_loading())
            .map_err(|error| error.to_string())?;
    }
    // Reads through every table, so that damage shows here and not in the middle of a call.
    database.table_stats().map_err(|error| error.to_string())?;
    Ok(database)
}

fn serve(database: &Database, received: &Receiver<Order>) {
    while let Ok(Order::Serve(request)) = received.recv() {
        if !request.answer.is_closed() {
            let _ = request.answer.send(carry_out(database, &request.operation, &request.body));
        }
    }
}

fn sweep(database: &Database, stop: &Receiver<()>) {
    while stop.recv_timeout(SWEEP) == Err(RecvTimeoutError::Timeout) {
        match database.sweep_ttl() {
            Ok(0) => {}
            Ok(items) => tracing::info!(items, "expired items were swept from the store"),
            Err(error) => tracing::warn!(%error, "the store could not be swept"),
        }
    }
}

fn carry_out(database: &Database, operation: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let outcome = match operation {
        "PutItem" => run(body, |request| database.put_item(request)),
        "GetItem" => run(body, |request| database.get_item(request)),
        "UpdateItem" => run(body, |request| database.update_item(request)),
        "DeleteItem" => run(body, |request| database.delete_item(request)),
        "Query" => run(body, |request| database.query(request)),
        "Scan" => run(body, |request| database.scan(request)),
        "BatchGetItem" => run(body, |request| database.batch_get_item(request)),
        "TransactWriteItems" => run(body, |request| database.transact_write_items(request)),
        "CreateTable" => run(body, |request| database.create_table(request)),
        "UpdateTimeToLive" => run(body, |request| database.update_time_to_live(request)),
        other => Err(DynoxideError::ValidationException(format!("{other} is not carried to the embedded store"))),
    };
    outcome.map_or_else(|error| (error.status_code(), error.to_json().into_bytes()), |json| (200, json))
}

fn run<I: DeserializeOwned, O: Serialize>(
    body: &[u8],
    operation: impl FnOnce(I) -> dynoxide::Result<O>,
) -> dynoxide::Result<Vec<u8>> {
    let request =
        serde_json::from_slice(body).map_err(|error| DynoxideError::ValidationException(error.to_string()))?;
    let answer = operation(request)?;
    serde_json::to_vec(&answer).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}
