//! The HTTP side: `/health`, `/metrics`, and the REST API under `/restcomm/` and `/2010-04-01/`.
//!
//! Limits: a body beyond [`ringfork_api::MAX_BODY`] gets 413; a body that takes longer than [`PATIENCE`] to arrive gets
//! 408, a head that does ends the connection. Beyond [`CONNECTIONS`] further ones wait to be accepted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ringfork_api::{Api, Change, Changes, SoundBody};
use ringfork_call::action::Input;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::adapters::LeaseWatch;
use crate::net::BindError;
use crate::recordings::{self, Files};
use crate::telemetry::{Exposition, ProcessMetrics};

/// Connections at a time.
const CONNECTIONS: usize = 1024;
/// For a request's head, and for its body, to arrive.
const PATIENCE: Duration = Duration::from_secs(15);
/// For the core to publish its sizes before `/metrics` shows them.
const RENEWAL: Duration = Duration::from_secs(2);

/// What the pages show.
pub struct Pages {
    /// `/metrics`.
    pub metrics: ProcessMetrics,
    /// Whether new calls are refused because the process ends.
    pub draining: Arc<AtomicBool>,
    /// Whether the lease is held.
    pub lease: LeaseWatch,
    /// The REST API.
    pub api: Api,
    /// The sound of recordings.
    pub recordings: Files,
}

/// Tells the core of what REST changed.
pub struct CoreChanges(pub mpsc::Sender<Input>);

impl Changes for CoreChanges {
    fn changed(&self, change: Change) {
        let input = match change {
            Change::Client { login, deleted } => Input::ClientChanged { login, deleted },
            Change::Number { phone_number } => Input::NumberChanged { number: phone_number },
            Change::Application { .. } => Input::ApplicationChanged,
        };
        // A full queue: tens of thousands of answers wait, and what is cached is old after a minute anyway. A deleted
        // client's bindings must go all the same.
        if let Err(mpsc::error::TrySendError::Full(input)) = self.0.try_send(input) {
            let queue = self.0.clone();
            tokio::spawn(async move { queue.send(input).await });
        }
    }
}

/// Binds `--http`.
///
/// # Errors
/// One line that names the option and the fix.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source| BindError { option: "--http", address, source })
}

/// Serves until `end` is told or dropped; requests under way are finished.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>, mut end: oneshot::Receiver<()>) {
    let app = Router::new()
        .route("/health", get(health))
        .route("/metrics", get(exposition))
        .route("/restcomm/{*path}", any(rest))
        .route("/2010-04-01/{*path}", any(rest))
        .with_state(pages);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (ending, ended) = watch::channel(());
    loop {
        let accepted = tokio::select! {
            _ = &mut end => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no HTTP connection can be accepted right now");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (app, mut ended) = (app.clone(), ended.clone());
        tokio::spawn(async move {
            let _place = place;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
            tokio::pin!(connection);
            tokio::select! {
                // What goes wrong on a connection is its client's matter.
                _ = connection.as_mut() => return,
                _ = ended.changed() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
    drop(ended);
    let _ = ending.send(());
    // Every connection holds a receiver until its last request is answered.
    ending.closed().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Option<OwnedSemaphorePermit>)> {
    let place = places.clone().acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    let _ = stream.set_nodelay(true);
    Ok((stream, place))
}

impl Pages {
    fn state(&self) -> Exposition {
        Exposition { lease_held: self.lease.held(), draining: self.draining.load(Ordering::Relaxed) }
    }
}

/// 200 while new calls are taken, else 503; the body says why.
async fn health(State(pages): State<Arc<Pages>>) -> Response {
    let Exposition { lease_held, draining } = pages.state();
    let stopped = pages.metrics.core.stopped.load(Ordering::Relaxed);
    let status = match (stopped, draining, lease_held) {
        (true, ..) => "stopped",
        (_, true, _) => "draining",
        (_, _, false) => "lease-lost",
        _ => "ok",
    };
    let calls = pages.metrics.core.calls.load(Ordering::Relaxed);
    let bindings = pages.metrics.core.bindings.load(Ordering::Relaxed);
    let body = serde_json::json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "calls": calls,
        "bindings": bindings,
    });
    let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, axum::Json(body)).into_response()
}

/// What holds now; where the core does not come to it in time, what it said last.
async fn exposition(State(pages): State<Arc<Pages>>) -> Response {
    pages.metrics.core.renewed(RENEWAL).await;
    let text = pages.metrics.render(pages.state());
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"))], text)
        .into_response()
}

async fn rest(State(pages): State<Arc<Pages>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // One octet more than the API takes: it answers 413 itself, in the form that was asked for.
    let body = match tokio::time::timeout(PATIENCE, to_bytes(body, ringfork_api::MAX_BODY + 1)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => vec![0; ringfork_api::MAX_BODY + 1].into(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let mut response = ringfork_api::handle(&pages.api, axum::http::Request::from_parts(parts, body)).await;
    let Some(sound) = response.extensions_mut().remove::<SoundBody>() else { return response.map(Body::from) };
    match recordings::body(&pages.recordings, &sound).await {
        Ok(body) => response.map(|_| body),
        Err(error) => {
            tracing::warn!(recording = sound.sid, %error, "a recording cannot be sent");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
