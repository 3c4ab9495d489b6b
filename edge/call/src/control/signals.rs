//! What call control is told ([`CallInput`]) and what it commands ([`CallOutput`]): the border between the call's
//! decisions (this folder) and SIP signalling (the `ua` and `agent` folders), which carries them out.
//!
//! Signalling promises: it ACKs every 2xx; holds a CANCEL back until the first provisional response (RFC 3261 §9.1);
//! BYEs a 2xx that crosses a CANCEL or that a forking peer sends twice; answers 401/407/422 and tries a trunk's next
//! target by itself, as the same leg. It reports only what is left to decide.
//! Control promises: one `Invite` per leg; after `Cancel` or `Bye` of a leg, or a terminal input about it, no further
//! command for it; after `Refuse` or `HangUp` none for the caller.

use std::net::IpAddr;
use std::sync::Arc;

use ringfork_rcml::evaluation;

use super::{CallSid, Event, Notice, Write};
use crate::action::{LogLevel, PlayError, PlayId, RecordingEnd, RecordingLimits, RecordingSid, Sound, StoreError};

/// A leg of this call, counted from 0 over all its Dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u16);

/// A party of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// Who called.
    Caller,
    /// Whom we called.
    Leg(LegId),
}

/// Pairs a request of control with its answer, within one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u32);

/// One place where a leg can be rung.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// A live binding: the AOR's user and the binding's key.
    Binding { aor: String, key: String },
    /// The configured trunk.
    Trunk { number: String },
    /// A `<Sip>` URI with its credentials.
    Uri { uri: String, username: Option<String>, password: Option<String> },
}

impl std::fmt::Debug for Target {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Binding { aor, key } => f.debug_struct("Binding").field("aor", aor).field("key", key).finish(),
            Target::Trunk { number } => f.debug_struct("Trunk").field("number", number).finish(),
            Target::Uri { uri, username, password: _ } => {
                f.debug_struct("Uri").field("uri", uri).field("username", username).finish_non_exhaustive()
            }
        }
    }
}

/// What happens to a call.
#[derive(Debug)]
pub enum CallInput {
    /// CANCEL, or the INVITE's own Expires, before our final response. Signalling has not answered it:
    /// it waits for `Refuse` with 487.
    CallerCancelled,
    /// Signalling has refused the INVITE by itself, for what nobody decides: no PRACK came, or no usable answer in it.
    CallerRefused,
    /// BYE, or the caller was lost: no ACK, session expired, silent media, no usable answer in the ACK.
    CallerHungUp,
    /// The 200 that [`CallOutput::AnswerWith`] or [`CallOutput::AnswerAlone`] asked for has left: at once, or after the PRACK that it waits for
    /// (RFC 3262 §3).
    CallerAnswered,
    /// A 18x of a leg: every one is reported.
    LegProvisional { leg: LegId, code: u16 },
    /// 2xx with usable audio. Already ACKed (an offerless caller's exchange is signalling's matter).
    LegAnswered { leg: LegId },
    /// 2xx without usable audio: signalling ACKs and BYEs it. The leg is over: failed.
    LegUnusable { leg: LegId },
    /// Final refusal after all that signalling could do; Timer B is 408.
    LegRefused { leg: LegId, code: u16 },
    /// The INVITE could not be delivered: a dead flow, no trunk, no address.
    LegUndeliverable { leg: LegId },
    /// The INVITE may not go there: the guard refuses this address of its host.
    LegForbidden { leg: LegId, address: IpAddr },
    /// BYE from an answered leg, or the leg was lost.
    LegHungUp { leg: LegId },
    /// An attended party that is in no bridge pressed a key: by RFC 4733 or SIP INFO, once per press.
    Digit { party: Party, key: char },
    /// Answer to [`CallOutput::Play`], unless it was stopped or another took its place.
    Played { party: Party, play: PlayId, result: Result<(), PlayError> },
    /// Answer to [`CallOutput::Record`], also after the party is gone: whole seconds recorded.
    Recorded { recording: RecordingSid, seconds: u32, end: RecordingEnd },
    /// Answer to [`CallOutput::FindBindings`]: for each identity its live bindings' keys (empty: none or no client).
    Bindings { ticket: Ticket, found: Vec<Vec<Target>> },
    /// Answer to [`CallOutput::Evaluate`]; `Err`: the function itself could not be run (counts as a failed document).
    Evaluated { ticket: Ticket, result: Result<evaluation::Response, String> },
    /// Answer to [`CallOutput::Write`].
    Written { ticket: Ticket, result: Result<(), StoreError> },
    /// Answer to [`CallOutput::Deliver`].
    HandedOver { ticket: Ticket, accepted: bool },
    /// The edge lost its lease for good or the item is owned by another epoch: end everything, report nothing more.
    Dropped,
    /// The wake-up time has come.
    Timeout,
}

/// What control wants done, in order.
#[derive(Debug)]
pub enum CallOutput {
    /// 180 to the caller (signalling repeats it each minute by itself, RCML.md part 2).
    Ring,
    /// Final refusal of the caller's INVITE; 487 after its CANCEL.
    Refuse { code: u16 },
    /// Answer the caller's INVITE with 200, its media joined with this accepted leg's. Only for an unanswered caller.
    /// `CallerAnswered` says that it was done. Taken back by `Bye` or `LegHungUp` of this leg before that.
    AnswerWith { leg: LegId },
    /// Answer the caller's INVITE with 200 for media of our own (Say, Play, Gather, Record). `CallerAnswered` says that
    /// it was done.
    AnswerAlone,
    /// 183 to an unanswered caller with our session description, in place of the 180: it hears what we play
    /// (RCML.md part 2, `dialMusic`). Where its INVITE allows none it rings as ever.
    EarlyMedia,
    /// From now on this party hears us while it is in no bridge, and its keys are told. Comes before its first `Play` or
    /// `Record`.
    Attend { party: Party },
    /// Play this to an attended party, in place of what played. `loops` 0: until stopped. Answered by `Played`.
    Play { party: Party, play: PlayId, sound: Sound, loops: u32 },
    /// Silence in place of what plays; nothing is told of it.
    Stop { party: Party },
    /// This is likely to be played soon.
    Prepare { sound: Sound },
    /// Record what this party says, and with `other` what that one says too. It lies on `call`. Answered by `Recorded`.
    Record { party: Party, recording: RecordingSid, call: CallSid, other: Option<LegId>, limits: RecordingLimits },
    /// The recording ends here.
    StopRecording { recording: RecordingSid },
    /// BYE to an answered caller.
    HangUp,
    /// Which bindings do these client identities have? One answer for all.
    FindBindings { ticket: Ticket, identities: Vec<String> },
    /// Send the INVITE of this leg.
    Invite(Box<Invite>),
    /// End a leg that has not answered. `elsewhere` adds the Reason of RCML.md 1.2.
    Cancel { leg: LegId, elsewhere: bool },
    /// End a leg that has answered.
    Bye { leg: LegId },
    /// Join caller and leg: media relayed both ways, re-INVITE, UPDATE and INFO passed on from now on.
    /// Follows `CallerAnswered`, or comes alone when the caller was answered before.
    Bridge { leg: LegId },
    /// An already answered caller hears a ringing tone, or no longer.
    RingingTone { on: bool },
    /// Fetch and compile a document.
    Evaluate { ticket: Ticket, request: Box<evaluation::Request> },
    /// Write state; answered by `Written`.
    Write { ticket: Ticket, write: Write },
    /// Hand an event to `callback`; answered by `HandedOver`.
    Deliver { ticket: Ticket, event: Arc<Event> },
    /// Keep a warning or error.
    Notify(Notice),
    /// One line for the log.
    Log { level: LogLevel, message: String },
    /// A counter to move.
    Count { metric: &'static str, label: &'static str, by: u64 },
    /// Everything is over and written: the call may be forgotten. The last output.
    Finished,
}

/// The INVITE of one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// The leg.
    pub leg: LegId,
    /// Its SID.
    pub sid: CallSid,
    /// Where.
    pub target: Target,
    /// User of the From as plain text, without `client:`; signalling escapes it. `None`: anonymous (RCML.md 3.1, Privacy).
    pub from_user: Option<String>,
    /// Display name of the From.
    pub display_name: Option<String>,
    /// Identity for the trunk only (P-Asserted-Identity), with `Privacy: id` when `from_user` is `None`.
    pub asserted: Option<String>,
    /// Extra `X-` headers.
    pub headers: Vec<(String, String)>,
    /// `Expires`, whole seconds: the Dial timeout and 5 s more.
    pub expires: u32,
    /// We must decode its sound (screening, recording): offer only what we decode (DESIGN "Media").
    pub decodable_only: bool,
}
