//! The border between the pure core and its shell: what the [`Agent`](crate::agent::Agent) asks for ([`Action`]) and what it is
//! told ([`Input`]). The shell does these with sockets, functions and the store; the simulator with a seeded queue.
//!
//! Every request that has an answer carries a [`Token`]; the shell answers each token exactly once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use ringfork_media::formats::Formats;
use ringfork_media::payload::PayloadMap;
use ringfork_rcml::evaluation;
use ringfork_sip::flow::{Flow, Transmit};
pub use ringfork_sip::registrar::{BindingRecord, BindingWrite};

use crate::control::{CallSid, Event, Notice, Write};

/// Both clocks at the moment of an input. The core never asks for the time itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: timers and durations.
    pub instant: std::time::Instant,
    /// Wall clock, milliseconds since the Unix epoch: timestamps, nonces, binding expiry.
    pub unix_ms: u64,
}

/// Pairs an asynchronous request with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What the core wants done, in order.
#[derive(Debug)]
pub enum Action {
    /// Put this on the network.
    Transmit(Transmit),
    /// Open a stream connection; answered by [`Input::Connected`] or [`Input::FlowClosed`] for the same `connection`.
    Connect { connection: u64, remote: SocketAddr },
    /// Close a stream connection (after an unreadable stream, RFC 3261 §18.3).
    Close { flow: Flow },
    /// Find the addresses of a host by RFC 3263 (SRV, then A/AAAA; a literal is itself).
    /// `guard` applies the address guard of RCML.md 3.2. Answered by [`Input::Resolved`].
    Resolve { token: Token, host: String, port: Option<u16>, tcp: bool, guard: bool },
    /// Look a client up for authentication and routing. Answered by [`Input::Client`].
    LookupClient { token: Token, login: String },
    /// Look a called number up: exactly, then with or without `+`. Answered by [`Input::Number`].
    LookupNumber { token: Token, number: String },
    /// Write new, moved, refreshed or removed bindings of one AOR: all of them or none, and after what was asked for of
    /// this AOR before. Answered by [`Input::Written`].
    WriteBindings { token: Token, bindings: Vec<BindingWrite> },
    /// Write call state and events. Answered by [`Input::Written`].
    WriteCall { token: Token, write: Write },
    /// Invoke `evaluate`. Answered by [`Input::Evaluated`].
    Evaluate { token: Token, request: evaluation::Request },
    /// Hand a status callback to `callback`. Answered by [`Input::HandedOver`] once it would survive this edge.
    Deliver { token: Token, event: Arc<Event> },
    /// Keep a warning or an error with the call (REST Notifications); no answer.
    Notify { notice: Notice },
    /// Nothing more comes of this call: all is written and handed over, or given up; no answer.
    Finished { call: CallSid },
    /// Something for the media shell; no answer.
    Media(MediaAction),
    /// One structured log line; `call` is on it where there is one.
    Log { level: LogLevel, call: Option<CallSid>, message: String },
    /// A counter or histogram to move, by its Prometheus name without prefix.
    Count { metric: &'static str, label: &'static str, by: u64 },
}

/// Severity of [`Action::Log`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// A person must act.
    Error,
    /// Something was refused or mended.
    Warn,
    /// One line per call step.
    Info,
    /// For those who look for it.
    Debug,
}

/// What the core is told.
#[derive(Debug)]
pub enum Input {
    /// One datagram, or one framed message of a stream.
    Packet { flow: Flow, payload: Bytes },
    /// A stream's bytes could not be framed: the shell stops reading; the core answers where it can and closes.
    Unframed { flow: Flow, head: Bytes },
    /// A stream connection that we opened is up.
    Connected { connection: u64, flow: Flow },
    /// A stream connection ended or could not be opened, or a datagram could not be sent (ICMP).
    FlowClosed { connection: u64 },
    /// Answer to [`Action::Resolve`], best first; empty: nothing found. `Err`: the guard refuses one of its addresses.
    Resolved { token: Token, targets: Result<Vec<ResolvedTarget>, RefusedAddress> },
    /// Answer to [`Action::LookupClient`].
    Client { token: Token, result: Result<Option<ClientEntry>, StoreError> },
    /// Answer to [`Action::LookupNumber`].
    Number { token: Token, result: Result<Option<NumberEntry>, StoreError> },
    /// Answer to a write.
    Written { token: Token, result: Result<(), StoreError> },
    /// Answer to [`Action::Evaluate`]; `Err` when the function itself could not be run.
    Evaluated { token: Token, result: Result<evaluation::Response, String> },
    /// Answer to [`Action::Deliver`]: accepted, or it could not even be handed over (it stays with the call's item).
    HandedOver { token: Token, accepted: bool },
    /// A client was changed or deleted through REST in this process: drop what is cached of it; deleted ends its bindings.
    ClientChanged { login: String, deleted: bool },
    /// A number was changed through REST.
    NumberChanged { number: String },
    /// An application was changed through REST: whatever names it has another document.
    ApplicationChanged,
    /// Neither RTP nor RTCP from this party for [`AgentConfig::media_timeout`](crate::agent::AgentConfig::media_timeout), as the media shell saw it.
    MediaSilent { media: MediaId },
    /// A party that is attended or bridged pressed a key (RFC 4733; those by SIP INFO are the core's own): `0`-`9`, `*`,
    /// `#`, `A`-`D`, once per press. In a bridge its packets are relayed as [`PayloadMap`] says.
    Digit { media: MediaId, key: char },
    /// Answer to [`MediaAction::Play`]: heard to its end, or why not.
    Played { media: MediaId, play: PlayId, result: Result<(), PlayError> },
    /// Answer to [`MediaAction::Record`]: whole seconds recorded, rounded down.
    Recorded { recording: RecordingSid, seconds: u32, end: RecordingEnd },
    /// Whether the lease is held: without it new calls get 503 (DESIGN "The split").
    Lease { held: bool },
    /// SIGTERM: refuse new calls, finish those that are up.
    Drain,
    /// The time that `next_timeout` named has come.
    Timeout,
}

/// One target of RFC 3263.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedTarget {
    /// Where.
    pub address: SocketAddr,
    /// Over TCP rather than UDP.
    pub tcp: bool,
}

/// An address that the guard refuses (RCML.md 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedAddress(pub IpAddr);

/// The store did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// Throttled, no connection, timeout: the write is worth trying again.
    Unavailable,
    /// The condition failed: another epoch owns the item; drop the call.
    Stale,
}

/// What the core needs to know of a client.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientEntry {
    /// The login, as stored.
    pub login: String,
    /// Hex HA1 by MD5: a secret.
    pub ha1_md5: String,
    /// Hex HA1 by SHA-256: a secret.
    pub ha1_sha256: String,
    /// The application of calls made by this client, if it has one of its own.
    pub voice: Option<Application>,
    /// Whether it may register and call.
    pub enabled: bool,
}

impl std::fmt::Debug for ClientEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientEntry").field("login", &self.login).field("voice", &self.voice).finish_non_exhaustive()
    }
}

/// What the core needs to know of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberEntry {
    /// As provisioned.
    pub number: String,
    /// The application of calls to it; none: calls get 404.
    pub voice: Option<Application>,
}

/// Where a call's first document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// First document.
    pub document: ringfork_rcml::program::DocumentRef,
    /// Fallback document.
    pub fallback: Option<ringfork_rcml::program::DocumentRef>,
}

/// One media session of ours: one RTP/RTCP port pair towards one party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(pub u64);

/// What the media shell is told. A session exists from [`MediaAction::Open`] to [`MediaAction::Close`].
#[derive(Debug, Clone, PartialEq)]
pub enum MediaAction {
    /// Take the port pair into use.
    Open { media: MediaId, port: u16 },
    /// What the party's SDP said, after each offer/answer exchange with it.
    Peer {
        media: MediaId,
        /// Its RTP address as signalled (None: c=0.0.0.0 or port 0, send nothing).
        rtp: Option<SocketAddr>,
        /// Source of its signalling: preferred and, before the first packet, the one allowed address (DESIGN "Media").
        signalling: IpAddr,
        /// We may send to it (its direction is sendrecv or recvonly).
        send: bool,
        /// It may send to us.
        receive: bool,
        /// What of the agreed codecs we make and understand ourselves (`Session::formats`).
        formats: Formats,
    },
    /// Relay between two sessions from now on, also again when an exchange changed payload numbers.
    Bridge {
        a: MediaId,
        b: MediaId,
        /// `PayloadMap::between(a's session, b's session)`.
        a_to_b: PayloadMap,
        /// The other way.
        b_to_a: PayloadMap,
    },
    /// No longer relay from and to it.
    Unbridge { media: MediaId },
    /// From now on the party hears us whenever it is not bridged: one continuous stream (one SSRC, gap-free sequence and
    /// timestamps, also over a bridge and after it), silence where nothing plays, and its keys are reported
    /// ([`Input::Digit`]). Sent once for a session, before its first `Play` or `Record` alone: when we answer a caller
    /// ourselves, when a leg in screening has answered, before `dialMusic` (early media too) and before the first verb
    /// with media after a Dial.
    Attend { media: MediaId },
    /// Play this to an attended party, in place of what played. `loops` 0: until stopped. Answered once by
    /// [`Input::Played`], unless [`MediaAction::Stop`], another `Play` or `Close` came before.
    Play { media: MediaId, play: PlayId, sound: Sound, loops: u32 },
    /// Silence in place of what plays; nothing is reported of it.
    Stop { media: MediaId },
    /// A sound that is likely to be played soon on this call: fetch or speak it now.
    Prepare { sound: Sound },
    /// Send a key to the party as RFC 4733 says: one that came by SIP INFO from a party whose other side takes none.
    Key { media: MediaId, key: char },
    /// Write what this party says (and, with `other`, what that one says, mixed) into a WAV file from now on.
    /// Answered once by [`Input::Recorded`].
    Record { recording: RecordingSid, call: CallSid, media: MediaId, other: Option<MediaId>, limits: RecordingLimits },
    /// The recording ends here.
    StopRecording { recording: RecordingSid },
    /// Send a ringing tone, or stop it.
    RingingTone { media: MediaId, on: bool },
    /// Release the port pair.
    Close { media: MediaId, port: u16 },
}

/// One `Play`, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlayId(pub u64);

/// Something to be heard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sound {
    /// `<Say>`: through the speech port.
    Speech {
        /// Plain text.
        text: Arc<str>,
        /// As written; `None`: the port's own for the language.
        voice: Option<Arc<str>>,
        /// As written (RCML.md part 2; default `en`).
        language: Arc<str>,
    },
    /// `<Play>`, `dialMusic`: a WAV or MP3 by URL, fetched and signed as RCML.md 3.2 and 3.3 say.
    File {
        /// Absolute URL.
        url: Arc<str>,
    },
    /// What is heard before a recording: 1000 Hz for half a second.
    Beep,
}

/// Why a sound was not heard to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayError {
    /// One line that names the fix, for the call's Notifications; without the URL.
    pub reason: String,
    /// Of a file: its URL, or the one that it redirected to.
    pub url: Option<Arc<str>>,
    /// It could not be fetched (11200 family) rather than read or spoken (12400).
    pub fetch: bool,
}

/// `RE` and 32 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordingSid(pub [u8; 16]);

impl std::fmt::Display for RecordingSid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RE")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// When a recording ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordingLimits {
    /// Whole seconds.
    pub max_seconds: u32,
    /// Whole seconds of silence after which it ends; `None`: silence does not end it.
    pub silence_seconds: Option<u32>,
}

/// What ended a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingEnd {
    /// [`MediaAction::StopRecording`] or the session's close.
    Stopped,
    /// [`RecordingLimits::silence_seconds`]; the silence is not part of the duration.
    Silence,
    /// [`RecordingLimits::max_seconds`].
    Full,
    /// The disk, mostly: what was written before is kept. The call goes on.
    Failed,
}

/// Port pairs for media, lent by the shell (which binds them) or by the simulator (which counts them).
pub trait Ports {
    /// An even RTP port whose odd neighbour is ours too; `None` when all are taken.
    fn lease(&mut self) -> Option<u16>;
    /// Gives it back. Each leased port comes back exactly once.
    fn release(&mut self, port: u16);
}
