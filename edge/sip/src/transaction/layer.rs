//! The layer itself: its tables, its queues, and what its user calls. What a client or server transaction does at each
//! input is in [`super::client`] and [`super::server`].

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hasher;
use std::time::Instant;

use bytes::Bytes;
use siphasher::sip::SipHasher24;

use super::client::Client;
use super::event::{Counters, ServerKey, TransactionEvent};
use super::identity::{ByIdentity, Identities};
use super::machine::{Arm, Setting};
use super::server::Server;
use super::slab::{Key, Slab};
use super::timers::{Entry, TimerQueue, Timers};
use super::wire;
use crate::flow::{Flow, Transmit};
use crate::message::Message;

/// Limits and times of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionConfig {
    /// T1, T2, T4.
    pub timers: Timers,
    /// Most client transactions at once, those that only absorb repetitions included.
    pub max_clients: usize,
    /// Most server transactions at once, those that only absorb repetitions included: over UDP that is 32 s of all
    /// requests, each some 700 bytes.
    pub max_servers: usize,
    /// Retry-After of the 503 when `max_servers` is reached, seconds.
    pub retry_after: u32,
    /// Whether an INVITE outside dialogs that came by two paths gets 482 the second time (RFC 3261 §8.2.2.2).
    pub detect_merged: bool,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            timers: Timers::default(),
            max_clients: 200_000,
            max_servers: 400_000,
            retry_after: 5,
            detect_merged: true,
        }
    }
}

/// A deadline that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// Which of a transaction's timers an entry of the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    ClientRepeat(Key),
    ClientExpire(Key),
    ServerRepeat(Key),
    ServerExpire(Key),
}

/// Which table a key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Client,
    Server,
}

/// The transaction layer. See the [module's documentation](super) for its shape, drain rule and bounds.
#[derive(Debug)]
pub struct Transactions {
    pub(super) config: TransactionConfig,
    pub(super) clients: Slab<Client>,
    pub(super) servers: Slab<Server>,
    pub(super) by_identity: ByIdentity<Key>,
    pub(super) by_merged: ByIdentity<Key>,
    /// What a failed flow concerns: all client transactions, and the server transactions on streams.
    pub(super) by_flow: BTreeSet<(Flow, Side, Key)>,
    pub(super) timers: TimerQueue<Target>,
    pub(super) identities: Identities,
    tokens: Tokens,
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) events: VecDeque<TransactionEvent>,
    pub(super) counters: Counters,
}

impl Transactions {
    /// An empty layer. `seed` is secret entropy: branches and table positions come from it, and from it alone.
    pub fn new(config: TransactionConfig, seed: [u8; 32], now: Instant) -> Self {
        let word = |at: usize| {
            let mut bytes = [0u8; 8];
            bytes.iter_mut().zip(seed.iter().skip(8 * at)).for_each(|(to, from)| *to = *from);
            u64::from_le_bytes(bytes)
        };
        Self {
            config,
            clients: Slab::new(),
            servers: Slab::new(),
            by_identity: ByIdentity::default(),
            by_merged: ByIdentity::default(),
            by_flow: BTreeSet::new(),
            timers: TimerQueue::new(now),
            identities: Identities::new([word(0), word(1)]),
            tokens: Tokens { hasher: SipHasher24::new_with_keys(word(2), word(3)), count: 0 },
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// One message from the network. See the drain rule.
    pub fn handle_message(&mut self, now: Instant, source: Flow, message: Message) {
        self.assert_drained();
        self.timers.advance(now);
        if message.is_response() {
            self.on_response(message);
        } else {
            self.on_request(source, message);
        }
    }

    /// The time that [`Transactions::poll_timeout`] named has come. Harmless when it has not.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.assert_drained();
        self.timers.advance(now);
        while let Some(Entry { deadline, target }) = self.timers.take_due() {
            match target {
                Target::ClientRepeat(key) => self.client_timer(key, deadline, true),
                Target::ClientExpire(key) => self.client_timer(key, deadline, false),
                Target::ServerRepeat(key) => self.server_timer(key, deadline, true),
                Target::ServerExpire(key) => self.server_timer(key, deadline, false),
            }
        }
    }

    /// A flow is gone, or refuses datagrams (ICMP). Client transactions on it end with `TransportError` where no final
    /// response is there yet; server transactions on a stream are forgotten without an event, as nobody can be
    /// answered there. Server transactions over UDP stay: their client may still be there.
    pub fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        self.assert_drained();
        self.timers.advance(now);
        let first = (flow, Side::Client, Key { index: 0, generation: 0 });
        let concerned: Vec<_> = self.by_flow.range(first..).take_while(|entry| entry.0 == flow).copied().collect();
        for (_, side, key) in concerned {
            match side {
                Side::Client => self.client_flow_failed(key),
                Side::Server => self.remove_server(key),
            }
        }
    }

    /// The next message to send, in order.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing that happened, in order.
    pub fn poll_event(&mut self) -> Option<TransactionEvent> {
        self.events.pop_front()
    }

    /// When [`Transactions::handle_timeout`] is wanted; `None`: nothing waits.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let (clients, servers) = (&self.clients, &self.servers);
        let live = |entry: &Entry<Target>| is_live(clients, servers, entry);
        self.timers.compact(4 * (clients.len() + servers.len()) + 1024, live);
        self.timers.next(live)
    }

    /// Sends a message that makes no transaction: a response without one, or anything complete.
    pub fn send_stateless(&mut self, flow: Flow, payload: Bytes) {
        self.transmits.push_back(Transmit { flow, payload });
    }

    /// Sends a request that makes no transaction, under a Via of its own: the ACK of a 2xx (RFC 3261 §13.2.2.4).
    /// `request` has no Via yet. Returns what was sent, to be sent again ([`Transactions::send_stateless`]) for each
    /// repetition of the 2xx.
    pub fn send_ack(&mut self, flow: Flow, sent_by: &str, request: &[u8]) -> Bytes {
        let branch = wire::branch(u32::MAX, self.tokens.next());
        let payload = wire::with_via(request, flow, sent_by, &branch);
        self.transmits.push_back(Transmit { flow, payload: payload.clone() });
        payload
    }

    /// A tag for the responses to this request, and the one that the layer puts into its 200 for a CANCEL of it
    /// (RFC 3261 §9.2: the two should be equal). Unguessable, the same at each call.
    pub fn local_tag(&self, key: ServerKey) -> String {
        self.tag(key.0)
    }

    pub(super) fn tag(&self, key: Key) -> String {
        format!("{:016x}", self.tokens.of(key))
    }

    /// An unguessable number, different each time.
    pub(super) fn token(&mut self) -> u64 {
        self.tokens.next()
    }

    /// How many client transactions there are, those that only absorb repetitions included.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// How many server transactions there are, those that only absorb repetitions included.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// How many timers wait, stopped ones included.
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// What went by without an event.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub(super) fn transmit(&mut self, flow: Flow, payload: Bytes) {
        self.transmits.push_back(Transmit { flow, payload });
    }

    fn assert_drained(&self) {
        debug_assert!(self.transmits.is_empty(), "take all transmits before the next input");
        debug_assert!(self.events.is_empty(), "take all events before the next input");
    }
}

/// Whether an entry of the queue is the timer that its transaction waits for.
fn is_live(clients: &Slab<Client>, servers: &Slab<Server>, entry: &Entry<Target>) -> bool {
    entry.deadline
        == match entry.target {
            Target::ClientRepeat(key) => clients.get(key).map_or(NEVER, |client| client.repeat_at),
            Target::ClientExpire(key) => clients.get(key).map_or(NEVER, |client| client.expire_at),
            Target::ServerRepeat(key) => servers.get(key).map_or(NEVER, |server| server.repeat_at),
            Target::ServerExpire(key) => servers.get(key).map_or(NEVER, |server| server.expire_at),
        }
}

/// Carries out what a step says of one timer.
pub(super) fn arm(timers: &mut TimerQueue<Target>, arm: Arm, deadline: &mut u64, target: Target) {
    match arm {
        Arm::Keep => {}
        Arm::Stop => *deadline = NEVER,
        // One that is set anew at the instant of its first setting (answered at once) waits already.
        Arm::In(after) if *deadline == timers.deadline(after) => {}
        Arm::In(after) => *deadline = timers.set(after, target),
    }
}

/// What a machine needs to know on this flow.
pub(super) fn setting(config: &TransactionConfig, flow: Flow) -> Setting<'_> {
    Setting { timers: &config.timers, reliable: flow.is_reliable() }
}

/// Unguessable numbers: a keyed hash (SipHash-2-4) of a counter.
#[derive(Clone)]
struct Tokens {
    hasher: SipHasher24,
    count: u64,
}

impl Tokens {
    fn next(&mut self) -> u64 {
        self.count = self.count.wrapping_add(1);
        let mut hasher = self.hasher;
        hasher.write_u64(self.count);
        hasher.finish()
    }

    fn of(&self, key: Key) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u32(key.index);
        hasher.write_u32(key.generation);
        hasher.write_u8(1);
        hasher.finish()
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("count", &self.count).finish_non_exhaustive()
    }
}
