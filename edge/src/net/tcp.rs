//! Stream connections: accepted and opened, framed, with bounded queues both ways.
//!
//! Limits, and what happens at each: a connection beyond [`CONNECTIONS`] in all, or beyond [`PER_SOURCE`] from one
//! source (an IPv4 address, an IPv6 /64), is closed as it is accepted; one whose peer sends no whole message within
//! [`PATIENCE`] of connecting, or leaves one unfinished for as long, is closed; one whose peer reads so little that
//! [`WRITES`] messages wait is closed. TCP keep-alive finds dead peers.
//!
//! A quiet connection with nothing unfinished stays as long as the core needs it: registered phones are quiet. One that
//! it does not need is closed after [`SILENCE`], or after [`SILENCE_WHEN_FULL`] where a further one would be refused.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ringfork_call::agent::source_of;
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
/// A connection over which nothing went for so long, either way, is closed unless the core needs it. A dialog with a
/// trunk or peer refreshes its session each 900 s, so its connection is not silent.
pub const SILENCE: Duration = Duration::from_secs(32 * 60);
/// The same where there is no room for a further connection. An INVITE that rings is answered 180 each minute.
pub const SILENCE_WHEN_FULL: Duration = Duration::from_secs(120);
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
    /// How many are up from each source.
    sources: HashMap<IpAddr, usize>,
    next: u64,
    /// [`CONNECTIONS`].
    room: usize,
}

struct Connection {
    flow: Flow,
    writes: mpsc::Sender<Bytes>,
    reader: AbortHandle,
    /// When something was read or written last.
    used: Used,
}

/// Shared with the reader, on the core's thread.
type Used = Rc<Cell<Instant>>;

impl Streams {
    /// None yet. Their tasks report to `events`, which bounds how far reading runs ahead of the core.
    pub fn new(events: mpsc::Sender<StreamEvent>) -> Self {
        let (open, opening, sources) = Default::default();
        Streams { events, open, opening, sources, next: 0, room: CONNECTIONS }
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

    /// Room for so few connections.
    #[cfg(test)]
    pub fn limit(&mut self, room: usize) {
        self.room = room;
    }

    /// Whether a further connection will be refused, whoever it is from.
    pub fn is_full(&self) -> bool {
        self.open.len() >= self.room
    }

    /// Connections that have been silent for `limit`: look at all of them, so now and then.
    pub fn silent(&self, now: Instant, limit: Duration) -> impl Iterator<Item = &Flow> {
        let is_silent = move |connection: &&Connection| now.saturating_duration_since(connection.used.get()) >= limit;
        self.open.values().filter(is_silent).map(|connection| &connection.flow)
    }

    /// Takes an accepted connection in; false: it was refused for a limit.
    pub fn accept(&mut self, stream: TcpStream, remote: SocketAddr) -> bool {
        let from_source = self.sources.get(&source_of(remote.ip())).copied().unwrap_or(0);
        if self.is_full() || from_source >= PER_SOURCE {
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
        let used = Rc::new(Cell::new(Instant::now()));
        let reader = read(reader, flow, used.clone(), writes.clone(), self.events.clone());
        let reader = tokio::task::spawn_local(reader).abort_handle();
        self.open.insert(connection, Connection { flow, writes, reader, used });
        *self.sources.entry(source_of(flow.remote().ip())).or_default() += 1;
        Some(flow)
    }

    /// Queues a message; false: there is no such connection, or its queue is full and it was closed.
    pub fn send(&mut self, connection: u64, payload: Bytes) -> bool {
        let Some(found) = self.open.get(&connection) else { return false };
        if found.writes.try_send(payload).is_ok() {
            found.used.set(Instant::now());
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
        let source = source_of(found.flow.remote().ip());
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

async fn read(
    mut reader: OwnedReadHalf,
    flow: Flow,
    used: Used,
    writes: mpsc::Sender<Bytes>,
    events: mpsc::Sender<StreamEvent>,
) {
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
        used.set(Instant::now());
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

    /// A connection is silent when nothing goes either way: no message, no ping, no answer.
    #[tokio::test]
    async fn silent_connections_are_found() {
        LocalSet::new()
            .run_until(async {
                let (mut streams, mut events, address) = start();
                let mut phones = Vec::new();
                for _ in 0..4 {
                    phones.push(TcpStream::connect(address).await.unwrap());
                    accept_one(&mut streams, &mut events).await;
                }
                let before = Instant::now();
                let silent = |streams: &Streams, after: Duration| {
                    let mut found: Vec<_> = streams.silent(before + after, SILENCE).map(Flow::remote).collect();
                    found.sort();
                    found
                };
                let mut all: Vec<_> = phones.iter().map(|phone| phone.local_addr().unwrap()).collect();
                let quiet = all[0];
                all.sort();
                assert_eq!(silent(&streams, SILENCE - Duration::from_secs(60)), []);
                assert_eq!(silent(&streams, SILENCE), all);
                phones[1].write_all(OPTIONS).await.unwrap();
                assert!(matches!(events.recv().await, Some(StreamEvent::Message(..))));
                phones[2].write_all(b"\r\n\r\n").await.unwrap();
                phones[2].read_exact(&mut [0; 2]).await.unwrap();
                assert!(streams.send(4, Bytes::from_static(b"ours")));
                assert_eq!(silent(&streams, SILENCE), [quiet]);
            })
            .await;
    }

    /// One host has a whole IPv6 /64, and may have [`PER_SOURCE`] connections.
    #[tokio::test]
    async fn a_source_is_an_address_or_a_prefix() {
        LocalSet::new()
            .run_until(async {
                let (mut streams, mut events, address) = start();
                let _phone = TcpStream::connect(address).await.unwrap();
                let Some(StreamEvent::Accepted(stream, _)) = events.recv().await else { panic!() };
                streams.sources.insert("2001:db8:0:1::".parse().unwrap(), PER_SOURCE);
                assert!(!streams.accept(stream, "[2001:db8:0:1::7]:4000".parse().unwrap()));
                let _phone = TcpStream::connect(address).await.unwrap();
                let Some(StreamEvent::Accepted(stream, _)) = events.recv().await else { panic!() };
                assert!(streams.accept(stream, "[2001:db8:0:2::7]:4000".parse().unwrap()));
            })
            .await;
    }

    /// Beyond the bound a connection is refused; when one has gone there is room again.
    #[tokio::test]
    async fn a_further_connection_is_refused() {
        LocalSet::new()
            .run_until(async {
                let (mut streams, mut events, address) = start();
                streams.limit(1);
                let _first = TcpStream::connect(address).await.unwrap();
                accept_one(&mut streams, &mut events).await;
                let _second = TcpStream::connect(address).await.unwrap();
                let Some(StreamEvent::Accepted(stream, remote)) = events.recv().await else { panic!() };
                assert!(streams.is_full() && !streams.accept(stream, remote));
                streams.close(1);
                let _third = TcpStream::connect(address).await.unwrap();
                accept_one(&mut streams, &mut events).await;
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
