//! What every part of the agent works with: time, entropy, transactions, timers, tables, and the queue of actions.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfork_media::sdp::Session as Sdp;
use ringfork_sip::build::ResponseBuilder;
use ringfork_sip::flow::Flow;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::Message;
use ringfork_sip::registrar::Bindings;
use ringfork_sip::transaction::{ClientKey, ServerKey, TransactionConfig, Transactions};

use super::config::{AgentConfig, Transport};
use super::slab::Key;
use super::timers::{TimerId, Timers};
use crate::action::{Action, LogLevel, MediaAction, MediaId, Now, Ports, RecordingSid, Token};
use crate::control::CallSid;
pub use crate::control::signals::Party;
use crate::control::signals::{LegId, Ticket};
use crate::ua::invite::{Abandoned, AnsweredInvite, Farewell};

/// A request that waits for our response.
#[derive(Debug, Clone)]
pub struct Request {
    /// By which to answer.
    pub key: ServerKey,
    /// Where whatever is for its sender goes.
    pub flow: Flow,
    /// Where it came from.
    pub source: Flow,
    /// The request.
    pub message: Message,
}

/// Whom the outcome of a client transaction concerns. One without an entry concerns nobody.
#[derive(Debug)]
pub enum Owner {
    /// The INVITE of a leg that has not answered.
    Leg { call: Key, leg: LegId },
    /// The INVITE of a leg that has: repeated 2xx are ACKed again, further ones ended.
    Answered(Box<AnsweredInvite>),
    /// An INVITE that nobody waits for: a 2xx is ACKed and ended with BYE.
    Abandoned(Box<Abandoned>),
    /// The BYE of a dialog that an INVITE made and nobody wants, where it may be challenged.
    Farewell(Box<Farewell>),
    /// A request of ours within a dialog.
    Dialog { call: Key, party: Party, serial: u64 },
    /// OPTIONS to a silent flow.
    KeepAlive(Flow),
    /// OPTIONS to a binding loaded from the store.
    Probe { aor: String, key: String },
}

/// What an answer of the shell is for.
#[derive(Debug)]
pub enum Pending {
    /// Nobody waits any more; the token is only remembered so that its answer is no surprise.
    Nobody,
    /// Control of a call asked.
    Control { call: Key, ticket: Ticket },
    /// A client that a request needs looked up.
    Request(Box<super::inbound::Waiting>),
    /// A number that a request needs looked up.
    Number(Box<super::inbound::Waiting>, String),
    /// Addresses for a leg.
    LegTargets { call: Key, leg: LegId },
    /// The address of a host that a party's session description names.
    MediaHost { call: Key, party: Party, name: String },
    /// Addresses for a request that is written already.
    Route(Box<super::hop::Deferred>),
    /// A write of this AOR's bindings, for the REGISTER whose turn it is.
    Bindings(String),
    /// A binding's write that nobody waits for.
    Unawaited,
}

/// Which timer fired.
#[derive(Debug, Clone)]
pub enum Timer {
    /// Control of a call wanted to be woken.
    Control(Key),
    /// 180 is repeated.
    Ring(Key),
    /// The INVITE's own Expires.
    CallerExpires(Key),
    /// A reliable provisional response waits for its PRACK.
    Reliable(Key),
    /// A 2xx waits for its ACK.
    Unacked(Key, Party),
    /// Session timer (RFC 4028).
    Session(Key, Party),
    /// A re-INVITE of ours has no final response.
    Outgoing(Key, Party),
    /// A party's stream has ended and it has not come back.
    Adrift(Key, Party),
    /// The wait after 491 (RFC 3261 §14.1).
    Glare(Key, Party),
    /// A trunk's target gave no response at all.
    NoResponse(Key, LegId),
    /// A registered flow may be silent.
    KeepAlive(Flow),
    /// A binding expires.
    Bindings,
    /// A loaded binding did not answer.
    Probe { aor: String, key: String },
    /// A stream that we open is not up yet.
    Connecting(u64),
    /// A REGISTER waits too long for its turn or its write.
    Registering { aor: String, serial: u64 },
}

/// A port pair lent for one party, and the session description that names it.
#[derive(Debug, Clone)]
pub struct Media {
    /// Its session in the media shell.
    pub id: MediaId,
    /// The leased port.
    pub port: u16,
}

/// Shared state. The calls are kept beside it, so that a call and this can be borrowed together.
pub struct Core<P> {
    pub config: AgentConfig,
    pub random: ChaCha12Rng,
    pub now: Now,
    pub actions: VecDeque<Action>,
    pub txns: Transactions,
    pub timers: Timers<Timer>,
    pub owners: HashMap<ClientKey, Owner>,
    /// INVITEs without a final response, by transaction: whom their CANCEL concerns.
    pub invites: HashMap<ServerKey, super::inbound::Invited>,
    pub pending: HashMap<Token, Pending>,
    /// Parties that were attended or bridged, by their media session: those that the media shell tells of.
    pub heard: HashMap<MediaId, (Key, Party)>,
    /// Recordings that are not over, and the calls that wait for their ends.
    pub recordings: HashMap<RecordingSid, Key>,
    /// Dialogs by our tag.
    pub dialogs: HashMap<u64, (Key, Party)>,
    pub streams: super::hop::Streams,
    /// Every stream that is up, by number, since a stream's end is told by number alone.
    pub connections: HashMap<u64, Flow>,
    /// Clients in a dialog that are reached over a stream, by its number.
    pub on_streams: BTreeSet<(u64, Key, Party)>,
    /// Requests that could not be sent; their owners are told before the input is done with.
    pub failed: super::hop::Failed,
    /// Legs whose INVITE is under way.
    pub legs: usize,
    pub bindings: Bindings,
    ports: P,
    leased: usize,
    next_token: u64,
    next_media: u64,
    next_serial: u64,
}

impl<P: Ports> Core<P> {
    pub fn new(config: AgentConfig, seed: [u8; 32], ports: P, now: Now) -> Self {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut transaction_seed = [0; 32];
        random.fill(&mut transaction_seed);
        let mut bindings_key = [0; 16];
        random.fill(&mut bindings_key);
        let transactions = TransactionConfig {
            max_clients: config.caps.transactions / 2,
            max_servers: config.caps.transactions / 2,
            ..TransactionConfig::default()
        };
        let capacity = config.caps.bindings;
        Core {
            config,
            random,
            now,
            actions: VecDeque::new(),
            txns: Transactions::new(transactions, transaction_seed, now.instant),
            timers: Timers::default(),
            owners: HashMap::new(),
            invites: HashMap::new(),
            pending: HashMap::new(),
            heard: HashMap::new(),
            recordings: HashMap::new(),
            dialogs: HashMap::new(),
            streams: super::hop::Streams::default(),
            connections: HashMap::new(),
            on_streams: BTreeSet::new(),
            failed: super::hop::Failed::default(),
            legs: 0,
            bindings: Bindings::new(capacity, bindings_key),
            ports,
            leased: 0,
            next_token: 0,
            next_media: 0,
            next_serial: 0,
        }
    }

    /// Whether something can be sent over it: a stream that is up, or a datagram.
    pub fn is_open(&self, flow: Flow) -> bool {
        match flow {
            Flow::Udp { .. } => true,
            Flow::Tcp { connection, .. } => self.connections.contains_key(&connection),
        }
    }

    /// Moves what the transaction layer wants sent to the actions.
    pub fn flush(&mut self) {
        while let Some(transmit) = self.txns.poll_transmit() {
            self.actions.push_back(Action::Transmit(transmit));
        }
    }

    /// A token for an answer that concerns `pending`.
    pub fn token(&mut self, pending: Pending) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.pending.insert(token, pending);
        token
    }

    /// A number that is never given twice.
    pub fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// Milliseconds out of `range`, as a duration.
    pub fn random_ms(&mut self, range: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }

    /// An unguessable number.
    pub fn random_u64(&mut self) -> u64 {
        self.random.random()
    }

    /// A new tag of ours for a party's dialog, entered in the table of dialogs.
    pub fn new_tag(&mut self, call: Key, party: Party) -> String {
        let tag = self.random_u64();
        self.dialogs.insert(tag, (call, party));
        format!("{tag:016x}")
    }

    /// Takes a tag of ours out of the table of dialogs.
    pub fn drop_tag(&mut self, tag: &str) {
        if let Ok(tag) = u64::from_str_radix(tag, 16) {
            self.dialogs.remove(&tag);
        }
    }

    /// A new Call-ID.
    pub fn new_call_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.random_u64(), self.random_u64())
    }

    /// Sets a timer.
    pub fn set(&mut self, slot: &mut Option<TimerId>, after: Duration, timer: Timer) {
        self.timers.reset(slot, self.now.instant + after, timer);
    }

    /// Sets a timer for a moment.
    pub fn set_at(&mut self, slot: &mut Option<TimerId>, at: Instant, timer: Timer) {
        self.timers.reset(slot, at, timer);
    }

    /// Our address as the other end of this flow sees it: the sent-by of Via and the host of Contact.
    pub fn sent_by(&self, flow: Flow) -> SocketAddr {
        let (local, remote) = (flow.local(), flow.remote());
        let port = match flow {
            Flow::Udp { .. } => local.port(),
            // A connection that we opened has a port on which nobody listens.
            Flow::Tcp { .. } => {
                self.config.listener_for(remote.ip(), Transport::Tcp).map_or(local.port(), |listener| listener.port())
            }
        };
        SocketAddr::new(self.config.advertised(local.ip(), remote.ip()), port)
    }

    /// Our Contact over this flow.
    pub fn contact(&self, flow: Flow) -> String {
        let transport = if flow.is_reliable() { ";transport=tcp" } else { "" };
        format!("<sip:ringfork@{}{transport}>", self.sent_by(flow))
    }

    /// Starts a client transaction. `None`: the table is full, as the log says of `call`.
    pub fn request(
        &mut self,
        flow: Flow,
        request: &[u8],
        owner: Option<Owner>,
        call: Option<CallSid>,
    ) -> Option<ClientKey> {
        let sent_by = self.sent_by(flow).to_string();
        match self.txns.request(self.now.instant, flow, &sent_by, request) {
            Ok(key) => {
                if let Some(owner) = owner {
                    self.owners.insert(key, owner);
                }
                self.flush();
                Some(key)
            }
            Err(error) => {
                self.log(LogLevel::Error, call, format!("A request could not be sent: {error}"));
                None
            }
        }
    }

    /// Cancels a re-INVITE of ours, by the serial of its owner. It is rare, so the table is searched.
    pub fn cancel_dialog_request(&mut self, serial: u64) {
        let is_it = |owner: &Owner| matches!(owner, Owner::Dialog { serial: other, .. } if *other == serial);
        let key = self.owners.iter().find(|(_, owner)| is_it(owner)).map(|(key, _)| *key);
        if let Some(key) = key {
            self.txns.cancel(self.now.instant, key, &[]);
            self.flush();
        }
    }

    /// Keeps the ACK of a re-INVITE's 2xx for its repetitions.
    pub fn keep_ack(&mut self, key: ClientKey, ack: Bytes) {
        if let Some(Owner::Answered(answered)) = self.owners.get_mut(&key) {
            answered.ack = Some(ack);
        }
    }

    /// Sends the ACK of a 2xx; returns what was sent.
    pub fn ack(&mut self, flow: Flow, request: &[u8]) -> Bytes {
        let sent_by = self.sent_by(flow).to_string();
        let sent = self.txns.send_ack(flow, &sent_by, request);
        self.flush();
        sent
    }

    /// Starts a response; To gets `tag` where it has none.
    pub fn response(&self, request: &Request, code: u16, tag: Option<&str>) -> ResponseBuilder {
        let builder = ResponseBuilder::new(&request.message, code, request.source.remote(), tag);
        if code == 100 { builder } else { builder.header(HeaderName::Server, &self.config.server) }
    }

    /// Sends a response within its transaction. One that comes too late is dropped there.
    pub fn respond(&mut self, request: &Request, response: Bytes) {
        let _ = self.txns.respond(self.now.instant, request.key, response);
        self.flush();
    }

    /// Sends a response and forgets its transaction: to those who have shown no credentials.
    pub fn respond_stateless(&mut self, request: &Request, response: Bytes) {
        let _ = self.txns.respond_stateless(request.key, response);
        self.flush();
    }

    /// A final response without more to say, under the tag that the transaction layer has for this request.
    pub fn refuse(&mut self, request: &Request, code: u16) {
        let tag = self.txns.local_tag(request.key);
        let response = self.response(request, code, Some(&tag)).build();
        self.respond(request, response);
    }

    /// The same with Retry-After, in seconds.
    pub fn refuse_for_now(&mut self, request: &Request, code: u16, retry_after: u32) {
        let tag = self.txns.local_tag(request.key);
        let response =
            self.response(request, code, Some(&tag)).header_display(HeaderName::RetryAfter, retry_after).build();
        self.respond(request, response);
    }

    /// Leases a port pair and opens it; `None` when all are taken.
    pub fn open_media(&mut self) -> Option<Media> {
        let port = self.ports.lease()?;
        self.leased += 1;
        self.next_media += 1;
        let id = MediaId(self.next_media);
        self.actions.push_back(Action::Media(MediaAction::Open { media: id, port }));
        Some(Media { id, port })
    }

    /// Gives a port pair back.
    pub fn close_media(&mut self, media: &mut Option<Media>) {
        if let Some(Media { id, port }) = media.take() {
            self.heard.remove(&id);
            self.leased -= 1;
            self.actions.push_back(Action::Media(MediaAction::Close { media: id, port }));
            self.ports.release(port);
        }
    }

    /// How many port pairs are leased.
    pub fn leased(&self) -> usize {
        self.leased
    }

    /// A session description under our address as this flow's other end sees it.
    pub fn new_sdp(&mut self, flow: Flow, port: u16) -> Sdp {
        let address = self.config.advertised(flow.local().ip(), flow.remote().ip());
        Sdp::new(self.random_u64(), address, port)
    }

    /// Tells the media shell what a party's session description says; `rtp` is where it wants its media.
    pub fn peer_media(&mut self, media: &Option<Media>, sdp: &Sdp, rtp: Option<SocketAddr>, flow: Flow) {
        let Some(Media { id, .. }) = media else { return };
        let direction = sdp.direction();
        self.actions.push_back(Action::Media(MediaAction::Peer {
            media: *id,
            rtp,
            signalling: flow.remote().ip(),
            send: direction.sends(),
            receive: direction.receives(),
            formats: sdp.formats(),
        }));
    }

    /// One line for the log.
    pub fn log(&mut self, level: LogLevel, call: Option<CallSid>, message: impl Into<String>) {
        self.actions.push_back(Action::Log { level, call, message: message.into() });
    }

    /// Moves a counter by one.
    pub fn count(&mut self, metric: &'static str, label: &'static str) {
        self.actions.push_back(Action::Count { metric, label, by: 1 });
    }
}
