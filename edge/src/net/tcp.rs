//! Stream connections: accepted and opened, framed, with bounded queues both ways.
//!
//! Limits, and what happens at each: a connection beyond [`CONNECTIONS`] in all, or beyond [`PER_SOURCE`] from one
//! address, is closed as it is accepted; one whose peer sends no whole message within [`PATIENCE`] of connecting, or
//! leaves one unfinished for as long, is closed; one whose peer reads so little that [`WRITES`] messages wait is closed.
//! A quiet connection with nothing unfinished stays: registered phones are quiet. TCP keep-alive finds dead peers.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use ringfork_sip::flow::Flow;
use ringfork_sip::framing::{Frame, Framer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Connections in all.
const CONNECTIONS: usize = 20_000;
/// Connections from one address.
const PER_SOURCE: usize = 512;
/// For a whole message, for a connection attempt, and for the peer to take what is written.
const PATIENCE: Duration = Duration::from_secs(30);
/// For opening a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Messages waiting to be written on one connection.
const WRITES: usize = 256;
/// How long a connection that cannot be read on stays open for the answer.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// Octets read at a time.
const READ: usize = 4096;

/// What connections report.
#[derive(Debug)]
pub enum StreamEvent {
    /// Somebody connected.
    Accepted(TcpStream, SocketAddr),
    /// A connection that we opened is up.
    Opened(u64, TcpStream),
    /// One message.
    Message(Flow, Bytes),
    /// The stream cannot be framed any more.
    Unframed(Flow, Bytes),
    /// The connection ended, or could not be opened.
    Closed(u64),
}

/// Every connection of the core.
pub struct Streams {
    events: mpsc::Sender<StreamEvent>,
    open: HashMap<u64, Connection>,
    opening: HashMap<u64, AbortHandle>,
    sources: HashMap<IpAddr, usize>,
    next: u64,
}

struct Connection {
    flow: Flow,
    writes: mpsc::Sender<Bytes>,
    reader: AbortHandle,
}

impl Streams {
    /// None yet. Their tasks report to `events`, which bounds how far reading runs ahead of the core.
    pub fn new(events: mpsc::Sender<StreamEvent>) -> Self {
        Streams { events, open: HashMap::new(), opening: HashMap::new(), sources: HashMap::new(), next: 0 }
    }

    /// Connections that are up.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is up.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Accepts on a listener for as long as the core lives. Needs a `LocalSet`.
    ///
    /// # Errors
    /// When the reactor does not take it.
    pub fn listen(&self, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, remote)) => {
                        if events.send(StreamEvent::Accepted(stream, remote)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        // Out of descriptors or memory: what waits in the backlog is taken when some are free again.
                        tracing::warn!(%error, "no connection can be accepted right now");
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(())
    }

    /// Takes an accepted connection in; false: it was refused for a limit.
    pub fn accept(&mut self, stream: TcpStream, remote: SocketAddr) -> bool {
        let from_source = self.sources.get(&remote.ip()).copied().unwrap_or(0);
        if self.open.len() >= CONNECTIONS || from_source >= PER_SOURCE {
            return false;
        }
        self.next += 1;
        // Connections that the core opens have the top bit set: these numbers never meet those.
        let connection = self.next;
        self.start(connection, stream);
        true
    }

    /// Opens a connection under the core's number; [`StreamEvent::Opened`] or [`StreamEvent::Closed`] follows.
    pub fn connect(&mut self, connection: u64, remote: SocketAddr) {
        let events = self.events.clone();
        let task = tokio::task::spawn_local(async move {
            let event = match timeout(CONNECT, TcpStream::connect(remote)).await {
                Ok(Ok(stream)) => StreamEvent::Opened(connection, stream),
                _ => StreamEvent::Closed(connection),
            };
            let _ = events.send(event).await;
        });
        self.opening.insert(connection, task.abort_handle());
    }

    /// Takes a connection in that we opened; `None`: it is not wanted any more, or broken already.
    pub fn opened(&mut self, connection: u64, stream: TcpStream) -> Option<Flow> {
        self.opening.remove(&connection)?;
        self.start(connection, stream)
    }

    fn start(&mut self, connection: u64, stream: TcpStream) -> Option<Flow> {
        let flow = Flow::Tcp { connection, local: stream.local_addr().ok()?, remote: stream.peer_addr().ok()? };
        let _ = stream.set_nodelay(true);
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(10))
            .with_retries(6);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let (reader, writer) = stream.into_split();
        let (writes, queue) = mpsc::channel(WRITES);
        tokio::task::spawn_local(write(writer, queue, connection, self.events.clone()));
        let reader = tokio::task::spawn_local(read(reader, flow, writes.clone(), self.events.clone()));
        self.open.insert(connection, Connection { flow, writes, reader: reader.abort_handle() });
        *self.sources.entry(flow.remote().ip()).or_default() += 1;
        Some(flow)
    }

    /// Queues a message; false: there is no such connection, or its queue is full and it was closed.
    pub fn send(&mut self, connection: u64, payload: Bytes) -> bool {
        let Some(found) = self.open.get(&connection) else { return false };
        if found.writes.try_send(payload).is_ok() {
            return true;
        }
        self.close(connection);
        let events = self.events.clone();
        // The core is told like of any other end; not from here, since it is in the middle of something.
        tokio::task::spawn_local(async move { events.send(StreamEvent::Closed(connection)).await });
        false
    }

    /// Ends a connection once what is queued has been written; nothing more is read.
    pub fn close(&mut self, connection: u64) {
        if let Some(task) = self.opening.remove(&connection) {
            task.abort();
        }
        let Some(found) = self.open.remove(&connection) else { return };
        // Aborting the reader drops its sender, dropping ours ends the queue: the writer finishes and shuts down.
        found.reader.abort();
        let source = found.flow.remote().ip();
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

async fn read(mut reader: OwnedReadHalf, flow: Flow, writes: mpsc::Sender<Bytes>, events: mpsc::Sender<StreamEvent>) {
    let Flow::Tcp { connection, .. } = flow else { return };
    let mut framer = Framer::new();
    let mut buffer = vec![0u8; READ];
    // Set while a whole message is owed: at first, and while one is unfinished.
    let mut due = Some(Instant::now() + PATIENCE);
    'stream: loop {
        let received = match due {
            Some(due) => timeout_at(due, reader.read(&mut buffer)).await.unwrap_or(Ok(0)),
            None => reader.read(&mut buffer).await,
        };
        let length = match received {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        framer.push(buffer.get(..length).unwrap_or_default());
        loop {
            let event = match framer.next_frame() {
                Ok(Some(Frame::Message(payload))) => {
                    due = None;
                    StreamEvent::Message(flow, payload)
                }
                Ok(Some(Frame::Ping)) => {
                    due = None;
                    // RFC 5626 §4.4.1: a pong is one CRLF. A full queue means that the peer does not read.
                    if writes.try_send(Bytes::from_static(b"\r\n")).is_err() {
                        break 'stream;
                    }
                    continue;
                }
                Ok(None) => break,
                Err(error) => {
                    let _ = events.send(StreamEvent::Unframed(flow, error.head)).await;
                    sleep(LAST_ANSWER).await;
                    break 'stream;
                }
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
        // A single CRLF may wait for the second half of a ping for ever.
        if due.is_none() && framer.pending() > 2 {
            due = Some(Instant::now() + PATIENCE);
        }
    }
    let _ = events.send(StreamEvent::Closed(connection)).await;
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Bytes>,
    connection: u64,
    events: mpsc::Sender<StreamEvent>,
) {
    while let Some(payload) = queue.recv().await {
        if !matches!(timeout(PATIENCE, writer.write_all(&payload)).await, Ok(Ok(()))) {
            let _ = events.send(StreamEvent::Closed(connection)).await;
            return;
        }
    }
    let _ = writer.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::LocalSet;

    const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    async fn accept_one(streams: &mut Streams, events: &mut mpsc::Receiver<StreamEvent>) {
        let Some(StreamEvent::Accepted(stream, remote)) = events.recv().await else { panic!() };
        assert!(streams.accept(stream, remote));
    }

    fn start() -> (Streams, mpsc::Receiver<StreamEvent>, SocketAddr) {
        let (sender, events) = mpsc::channel(64);
        let streams = Streams::new(sender);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        streams.listen(listener).unwrap();
        (streams, events, address)
    }

    /// RFC 3261 §18.3 and RFC 5626 §4.4.1: messages by Content-Length, pings answered, the end reported.
    #[tokio::test]
    async fn messages_come_framed_and_answers_go_back() {
        LocalSet::new()
            .run_until(async {
                let (mut streams, mut events, address) = start();
                let mut phone = TcpStream::connect(address).await.unwrap();
                accept_one(&mut streams, &mut events).await;
                phone.write_all(&OPTIONS[..10]).await.unwrap();
                phone.write_all(&OPTIONS[10..]).await.unwrap();
                let Some(StreamEvent::Message(flow, payload)) = events.recv().await else { panic!() };
                assert_eq!(payload, OPTIONS);
                let Flow::Tcp { connection, .. } = flow else { panic!() };
                assert!(streams.send(connection, Bytes::from_static(b"answer")));
                let mut answer = [0; 6];
                phone.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"answer");
                phone.write_all(b"\r\n\r\n").await.unwrap();
                let mut pong = [0; 2];
                phone.read_exact(&mut pong).await.unwrap();
                assert_eq!(&pong, b"\r\n");
                drop(phone);
                assert!(matches!(events.recv().await, Some(StreamEvent::Closed(closed)) if closed == connection));
                streams.close(connection);
                assert!(streams.is_empty() && streams.sources.is_empty());
            })
            .await;
    }

    #[tokio::test]
    async fn a_closed_connection_still_writes_what_was_queued() {
        LocalSet::new()
            .run_until(async {
                let (mut streams, mut events, address) = start();
                let mut phone = TcpStream::connect(address).await.unwrap();
                accept_one(&mut streams, &mut events).await;
                assert!(streams.send(1, Bytes::from_static(b"last words")));
                streams.close(1);
                let mut heard = Vec::new();
                phone.read_to_end(&mut heard).await.unwrap();
                assert_eq!(heard, b"last words");
            })
            .await;
    }

    #[tokio::test]
    async fn an_opened_connection_carries_the_cores_number() {
        LocalSet::new()
            .run_until(async {
                let (sender, mut events) = mpsc::channel(64);
                let mut streams = Streams::new(sender);
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let number = 1 << 63 | 1;
                streams.connect(number, listener.local_addr().unwrap());
                let Some(StreamEvent::Opened(opened, stream)) = events.recv().await else { panic!() };
                assert_eq!(opened, number);
                assert!(
                    matches!(streams.opened(opened, stream), Some(Flow::Tcp { connection, .. }) if connection == number)
                );
                drop(listener);
            })
            .await;
    }

    #[tokio::test]
    async fn a_connection_that_cannot_be_opened_is_reported_closed() {
        LocalSet::new()
            .run_until(async {
                let (sender, mut events) = mpsc::channel(64);
                let mut streams = Streams::new(sender);
                let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                streams.connect(7, free);
                assert!(matches!(events.recv().await, Some(StreamEvent::Closed(7))));
            })
            .await;
    }
}
