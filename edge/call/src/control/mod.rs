//! One call with its legs, in terms of signals and commands: no SIP message is seen here.
//!
//! This file holds the vocabulary that control shares with the signalling layer; the machine itself is in its modules:
//!
//! - [`call`]: the caller's call, which runs the verbs; `caller` its side of the dialog, `identity` whose call it is.
//! - `fork` and `leg`: a Dial's legs, a type for each state; `screening` a leg's private document.
//! - `program`: the cursor over a document's verbs; `voice`: a verb with media at work; `recording`: recordings under way.
//! - `events` and `params`: what is told to the customer; `journal`: what is written, when, and when events leave.
//!
//! **Where a verb is added:** see [`call`].

pub mod call;
mod caller;
mod date;
mod desk;
mod events;
mod fork;
mod identity;
mod journal;
mod leg;
mod notices;
mod outbox;
mod params;
mod program;
mod recording;
mod screening;
mod sid;
pub mod signals;
#[cfg(test)]
mod tests;
mod voice;

pub use call::{Call, Reaches};
pub use date::rfc2822;
pub use desk::{CallConfig, Languages, Voices};
pub use fork::LEG_LIMIT;
pub use identity::CallerInfo;
pub use params::{API_VERSION, DialResult};

use std::sync::Arc;

use ringfork_rcml::program::Method;

/// `CA` and 32 lower-case hex digits. Which digits say what is the store's matter (DESIGN "Few writes"):
/// the first eight are the creation time in Unix seconds, the next two the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallSid(pub [u8; 16]);

impl std::fmt::Display for CallSid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CA")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// `CallStatus` (RCML.md 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum CallStatus {
    Queued,
    Initiated,
    Ringing,
    InProgress,
    Completed,
    Busy,
    Failed,
    NoAnswer,
    Canceled,
}

impl CallStatus {
    /// As it stands in parameters and in the REST API.
    pub fn as_str(self) -> &'static str {
        match self {
            CallStatus::Queued => "queued",
            CallStatus::Initiated => "initiated",
            CallStatus::Ringing => "ringing",
            CallStatus::InProgress => "in-progress",
            CallStatus::Completed => "completed",
            CallStatus::Busy => "busy",
            CallStatus::Failed => "failed",
            CallStatus::NoAnswer => "no-answer",
            CallStatus::Canceled => "canceled",
        }
    }
}

/// The four events of a leg (RCML.md 1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum EventKind {
    Initiated,
    Ringing,
    Answered,
    Completed,
}

impl EventKind {
    /// As in `statusCallbackEvent`.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Initiated => "initiated",
            EventKind::Ringing => "ringing",
            EventKind::Answered => "answered",
            EventKind::Completed => "completed",
        }
    }
}

/// One status callback to be sent: all that `callback` needs (RCML.md 1.4, 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The leg.
    pub leg: CallSid,
    /// The call that runs the Dial.
    pub parent: CallSid,
    /// From 0, per leg, counting the events that are sent.
    pub sequence: u32,
    /// Which of the four.
    pub kind: EventKind,
    /// Where to.
    pub url: String,
    /// How.
    pub method: Method,
    /// Wall clock of the event, milliseconds since the Unix epoch.
    pub fired_unix_ms: u64,
    /// Every parameter, in order: the standard ones of the leg and those of RCML.md 1.4.
    pub parameters: Vec<(String, String)>,
}

impl Event {
    /// The same on every retry of this event and never that of another (RCML.md 3.3). It names the kind, which a leg
    /// has once: a reaper that makes an event again, which was handed over unwritten, gives it the same key.
    pub fn idempotency_key(&self) -> String {
        format!("{}-{}", self.leg, self.kind.as_str())
    }
}

/// A warning or an error kept with a call (REST Notifications).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The call it lies on.
    pub call: CallSid,
    /// When, milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// What.
    pub notice: ringfork_rcml::evaluation::Notice,
}

/// What is known of a call or leg for its record (REST Calls, RCML.md 3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallDescription {
    /// Its SID.
    pub sid: CallSid,
    /// The parent, for a leg.
    pub parent: Option<CallSid>,
    /// As in RCML.md 3.1.
    pub from: String,
    /// As in RCML.md 3.1.
    pub to: String,
    /// `CallerName`, where there is one.
    pub caller_name: Option<String>,
    /// `ForwardedFrom`, where there is one.
    pub forwarded_from: Option<String>,
    /// Direction of RCML.md 3.1: `inbound` or `outbound-dial`.
    pub direction: &'static str,
    /// Milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// The `X-` headers of a leg's INVITE (RCML.md 3.1 `SipHeader_X-…`, here without `SipHeader_`) if anyone subscribed
    /// to its events: a reaper's `completed` carries them too. Empty on a parent.
    pub sip_headers: Vec<(String, String)>,
}

/// One conditional write of the call store, in the order in which they must be applied for one SID.
/// The shell turns each into one DynamoDB operation (DESIGN "State in DynamoDB").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The parent's item when its call arrives: before its first document is fetched.
    PutParent {
        /// The parent.
        call: CallDescription,
        /// Its status.
        status: CallStatus,
    },
    /// The parent's item again, before the first INVITE of a Dial, naming the legs and what a reaper needs to report them.
    NameLegs {
        /// The parent.
        parent: CallSid,
        /// Every leg of this Dial.
        legs: Vec<LegPlan>,
    },
    /// A leg was accepted: before the caller's 200. The parent is in-progress and answered from `unix_ms` on, unless it
    /// was answered before: no further write says so (its last one repeats the answer's time).
    Accept {
        /// The parent.
        parent: CallSid,
        /// The accepted leg.
        leg: CallSid,
        /// Milliseconds since the Unix epoch.
        unix_ms: u64,
    },
    /// A step of a leg, with its event if subscribed; also clears the acknowledged events named.
    Leg {
        /// The leg (its first write carries the description).
        leg: CallSid,
        /// Set on the leg's first write only.
        description: Option<Box<CallDescription>>,
        /// New status.
        status: CallStatus,
        /// Set once answered.
        answered_unix_ms: Option<u64>,
        /// Set with the last status.
        ended_unix_ms: Option<u64>,
        /// The event to append, not yet handed over.
        event: Option<Arc<Event>>,
        /// Sequence numbers of events that were handed over since the last write.
        handed_over: Vec<u32>,
    },
    /// Clears handed-over events when no other write of the leg will come.
    ClearEvents {
        /// The leg.
        leg: CallSid,
        /// Sequence numbers.
        handed_over: Vec<u32>,
    },
    /// The parent was answered or is over.
    Parent {
        /// The parent.
        parent: CallSid,
        /// New status.
        status: CallStatus,
        /// Set once answered.
        answered_unix_ms: Option<u64>,
        /// Set with the last status.
        ended_unix_ms: Option<u64>,
    },
}

/// A leg as its parent's item names it before its INVITE: enough to report it if this edge dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegPlan {
    /// The leg.
    pub leg: CallSid,
    /// `From` of the leg (RCML.md 3.1).
    pub from: String,
    /// `To` of the leg.
    pub to: String,
    /// Index of its noun in the Dial.
    pub noun: u8,
    /// Where its events go, if anywhere.
    pub callback: Option<ringfork_rcml::program::Callback>,
    /// As [`CallDescription::sip_headers`].
    pub sip_headers: Vec<(String, String)>,
}
