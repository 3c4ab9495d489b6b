//! The embedded store: dynoxide, a DynamoDB over SQLite, in this process and over one file (DESIGN "The split").
//!
//! The store adapter is the one that AWS gets; only its HTTP client is ours: it carries each request to the engine's
//! own thread without any port ([`connector`]). One process at a time holds the file, by a lock beside it.

mod connector;
mod engine;
mod meter;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringfork_state::StoreError;
use ringfork_state::dynamodb::{DynamoStore, Meter, client_with};

use engine::Engine;
pub use meter::StoreMetrics;

/// How sure a write is once it is acknowledged (`--data-sync`). Either survives `kill -9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataSync {
    /// `synchronous=NORMAL`: a power cut may lose the last moments, never the file.
    #[default]
    Normal,
    /// `synchronous=FULL`: one fsync per write.
    Full,
}

/// Why the store could not be opened: one line for the terminal.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the store in {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The folder or file cannot be used.
    #[error("the store {} cannot be opened: {source}", path.display())]
    Folder {
        /// What could not be opened.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no store, is damaged, or was written by a newer version.
    #[error("the store {} is damaged or not ours ({reason}): put a copy in its place, or move it away to start empty", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// The tables could not be made.
    #[error("the store's tables could not be made: {0}")]
    Tables(StoreError),
}

/// Patience with one operation: the edge waits 2 s at most (DESIGN "The split").
const PATIENCE: Duration = Duration::from_millis(1900);

/// An open store. Dropping it ends the engine, after what was already handed to it, and frees the file.
pub struct EmbeddedStore {
    store: DynamoStore,
    // In this order: the engine ends before the lock is freed.
    _engine: Engine,
    _lock: File,
}

impl EmbeddedStore {
    /// Opens `store.db` in this folder, which must be there, or makes it.
    pub async fn open(folder: &Path, sync: DataSync, meter: Option<Arc<dyn Meter>>) -> Result<Self, OpenError> {
        let lock = lock(folder)?;
        let path = folder.join("store.db");
        private(&path)?;
        let engine = Engine::start(&path, sync).await?;
        let client = client_with("http://store.invalid", Some(connector::http_client(engine.requests())), PATIENCE);
        let mut store = DynamoStore::new(client, "ringfork");
        store.create_tables().await.map_err(OpenError::Tables)?;
        if let Some(meter) = meter {
            store = store.with_meter(meter);
        }
        Ok(EmbeddedStore { store, _engine: engine, _lock: lock })
    }

    /// The store, by all its traits. What is asked of a clone after this has been dropped fails as not available.
    pub fn store(&self) -> DynamoStore {
        self.store.clone()
    }
}

/// Takes the lock that keeps a second process out. It ends with this process, however that ends.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("store.lock");
    let file = private(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(OpenError::Folder { path, source }),
    }
}

/// Makes the file, if it is not there, readable by us alone: HA1s are in it. SQLite gives its own files the same mode.
fn private(path: &Path) -> Result<File, OpenError> {
    let options = || OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
    options().map_err(|source| OpenError::Folder { path: path.to_owned(), source })
}
