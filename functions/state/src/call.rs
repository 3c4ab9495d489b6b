//! Calls and legs: what is kept of them, what an edge writes, what the REST API asks.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::edge::Owner;
use crate::event::{Callback, CallbackEvent};
use crate::page::{Page, PageRequest};
use crate::sid::CallSid;

/// `CallStatus` (RCML.md 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    const ALL: [CallStatus; 9] = [
        CallStatus::Queued,
        CallStatus::Initiated,
        CallStatus::Ringing,
        CallStatus::InProgress,
        CallStatus::Completed,
        CallStatus::Busy,
        CallStatus::Failed,
        CallStatus::NoAnswer,
        CallStatus::Canceled,
    ];

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

    /// Reads [`CallStatus::as_str`]'s form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// `Direction` (RCML.md 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// A call that came to us.
    Inbound,
    /// A leg of a Dial.
    OutboundDial,
    /// A call made through REST.
    OutboundApi,
}

impl Direction {
    /// As it stands in parameters and in the REST API.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::OutboundDial => "outbound-dial",
            Direction::OutboundApi => "outbound-api",
        }
    }

    /// Reads [`Direction::as_str`]'s form.
    pub fn parse(text: &str) -> Option<Self> {
        [Direction::Inbound, Direction::OutboundDial, Direction::OutboundApi]
            .into_iter()
            .find(|direction| direction.as_str() == text)
    }
}

/// What does not change about a call or leg.
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
    /// Inbound or outbound.
    pub direction: Direction,
    /// When it came to be.
    pub created_unix_ms: u64,
    /// A subscribed leg's `X-` headers, without `SipHeader_`: its later events need them. Empty on a parent.
    pub sip_headers: Vec<(String, String)>,
}

/// A leg as its parent's item names it before its INVITE: enough to report it if the edge dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedLeg {
    /// The leg.
    pub sid: CallSid,
    /// `From` of the leg.
    pub from: String,
    /// `To` of the leg.
    pub to: String,
    /// Where its events go, if anywhere.
    pub callback: Option<Callback>,
    /// The `X-` headers of its INVITE, for its events; empty where nobody subscribed.
    pub sip_headers: Vec<(String, String)>,
}

/// The leg that was accepted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Which.
    pub leg: CallSid,
    /// When.
    pub unix_ms: u64,
}

/// A call or leg as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its account.
    pub account_sid: String,
    /// What does not change.
    pub description: CallDescription,
    /// Its status.
    pub status: CallStatus,
    /// Set once answered.
    pub answered_unix_ms: Option<u64>,
    /// Set once over.
    pub ended_unix_ms: Option<u64>,
    /// Who may write it.
    pub owner: Owner,
    /// How often it was written.
    pub version: u64,
    /// A leg: sequence number of its next event.
    pub next_sequence: u32,
    /// A leg: events not yet handed over, by sequence.
    pub events: Vec<CallbackEvent>,
    /// A parent: every leg so far, oldest first.
    pub legs: Vec<CallSid>,
    /// A parent: the legs of its current Dial.
    pub plan: Vec<PlannedLeg>,
    /// A parent: those of the Dial before, whose last writes may still be under way.
    pub plan_before: Vec<PlannedLeg>,
    /// A parent: the leg accepted last.
    pub accepted: Option<Accepted>,
    /// A parent: it, or an event of a leg of it, still has to be closed if its edge dies.
    pub open: bool,
}

/// One conditional write of one item. Each appends at most one event, in the same update that moves the state,
/// so neither exists without the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallWrite {
    /// The parent's item when its call arrives: version 1, open.
    PutParent {
        /// Its account.
        account_sid: String,
        /// The parent.
        call: CallDescription,
        /// Its status.
        status: CallStatus,
    },
    /// Before the first INVITE of a Dial. The plan of the Dial before is kept beside it, older ones go.
    NameLegs {
        /// The parent.
        parent: CallSid,
        /// Every leg of this Dial.
        legs: Vec<PlannedLeg>,
    },
    /// A leg was accepted: the parent is in progress, and answered from then on unless it was before.
    Accept {
        /// The parent.
        parent: CallSid,
        /// Which, and when.
        accepted: Accepted,
    },
    /// A leg's first write (version 1) or one of its later ones.
    Leg {
        /// The leg.
        leg: CallSid,
        /// With version 1, and only then: account and description.
        first: Option<Box<(String, CallDescription)>>,
        /// New status.
        status: CallStatus,
        /// Set once answered.
        answered_unix_ms: Option<u64>,
        /// Set with the last status.
        ended_unix_ms: Option<u64>,
        /// The event to append.
        event: Option<Box<CallbackEvent>>,
        /// Sequence numbers of events handed over since the last write: they are removed.
        handed_over: Vec<u32>,
    },
    /// Removes events that were handed over.
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
        /// Nothing of this call is left for a reaper: it is over, and so are its legs, all events handed over.
        settled: bool,
    },
    /// As `settled` above, when that became true only after the parent's last write.
    Settle {
        /// The parent.
        parent: CallSid,
    },
}

impl CallWrite {
    /// The item that it writes.
    pub fn sid(&self) -> CallSid {
        match self {
            CallWrite::PutParent { call, .. } => call.sid,
            CallWrite::NameLegs { parent, .. }
            | CallWrite::Accept { parent, .. }
            | CallWrite::Parent { parent, .. }
            | CallWrite::Settle { parent } => *parent,
            CallWrite::Leg { leg, .. } | CallWrite::ClearEvents { leg, .. } => *leg,
        }
    }
}

impl Call {
    /// The item as its first write makes it; `None` for a write that cannot be the first.
    pub(crate) fn made_by(owner: &Owner, write: &CallWrite) -> Option<Call> {
        let (account_sid, description, status, open) = match write {
            CallWrite::PutParent { account_sid, call, status } => (account_sid, call, *status, true),
            CallWrite::Leg { first: Some(first), status, .. } => (&first.0, &first.1, *status, false),
            _ => return None,
        };
        let mut call = Call::new(account_sid.clone(), description.clone(), status, owner.clone());
        call.open = open;
        call.apply(write);
        Some(call)
    }

    /// An item without history, version 1.
    pub fn new(account_sid: String, description: CallDescription, status: CallStatus, owner: Owner) -> Call {
        Call {
            account_sid,
            description,
            status,
            answered_unix_ms: None,
            ended_unix_ms: None,
            owner,
            version: 1,
            next_sequence: 0,
            events: Vec::new(),
            legs: Vec::new(),
            plan: Vec::new(),
            plan_before: Vec::new(),
            accepted: None,
            open: false,
        }
    }

    /// Carries a write out; version and owner are the caller's matter.
    pub(crate) fn apply(&mut self, write: &CallWrite) {
        match write {
            CallWrite::PutParent { .. } => {}
            CallWrite::NameLegs { legs, .. } => {
                self.legs.extend(legs.iter().map(|leg| leg.sid));
                self.plan_before = std::mem::replace(&mut self.plan, legs.clone());
            }
            CallWrite::Accept { accepted, .. } => {
                self.accepted = Some(*accepted);
                self.status = CallStatus::InProgress;
                self.answered_unix_ms = self.answered_unix_ms.or(Some(accepted.unix_ms));
            }
            CallWrite::Leg { status, answered_unix_ms, ended_unix_ms, event, handed_over, .. } => {
                self.status = *status;
                self.answered_unix_ms = answered_unix_ms.or(self.answered_unix_ms);
                self.ended_unix_ms = ended_unix_ms.or(self.ended_unix_ms);
                self.events.retain(|event| !handed_over.contains(&event.sequence));
                if let Some(event) = event {
                    self.next_sequence = event.sequence + 1;
                    self.events.push(event.as_ref().clone());
                }
            }
            CallWrite::ClearEvents { handed_over, .. } => {
                self.events.retain(|event| !handed_over.contains(&event.sequence));
            }
            CallWrite::Parent { status, answered_unix_ms, ended_unix_ms, settled, .. } => {
                self.status = *status;
                self.answered_unix_ms = answered_unix_ms.or(self.answered_unix_ms);
                self.ended_unix_ms = ended_unix_ms.or(self.ended_unix_ms);
                self.open &= !settled;
            }
            CallWrite::Settle { .. } => self.open = false,
        }
    }
}

/// What an edge writes about calls.
#[async_trait]
pub trait Calls: Send + Sync {
    /// Applies one write. `version` is the item's version after it: 1 for the write that makes it, then one more each.
    /// A write that is already in place, by the same owner under the same version, succeeds: it may be repeated.
    ///
    /// # Errors
    /// `Stale`: the item is owned by another epoch. `Conflict`: its version is another. `NotFound`: a later write of an
    /// item that is not there. `Unavailable`: try again.
    async fn write(&self, owner: &Owner, version: u64, write: &CallWrite) -> Result<()>;
}

/// What the REST API's list of calls is narrowed by. Everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Status.
    pub status: Option<CallStatus>,
    /// `From`, exactly.
    pub from: Option<String>,
    /// `To`, exactly.
    pub to: Option<String>,
    /// Created at or after, Unix seconds.
    pub created_from: Option<u64>,
    /// Created before, Unix seconds.
    pub created_until: Option<u64>,
    /// Legs of this call.
    pub parent: Option<CallSid>,
}

impl CallFilter {
    /// Whether a call passes.
    pub fn matches(&self, call: &Call) -> bool {
        let created = call.description.sid.created_unix();
        self.status.is_none_or(|status| status == call.status)
            && self.from.as_ref().is_none_or(|from| *from == call.description.from)
            && self.to.as_ref().is_none_or(|to| *to == call.description.to)
            && self.created_from.is_none_or(|from| created >= from)
            && self.created_until.is_none_or(|until| created < until)
            && self.parent.is_none_or(|parent| call.description.parent == Some(parent))
    }
}

/// What the REST API asks about calls.
#[async_trait]
pub trait CallQueries: Send + Sync {
    /// One call or leg.
    async fn call(&self, sid: CallSid) -> Result<Option<Call>>;

    /// Calls and legs, newest first.
    async fn calls(&self, filter: &CallFilter, page: &PageRequest) -> Result<Page<Call>>;
}
