//! Status callbacks as they are kept and handed to `callback` (RCML.md 1.4).

use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::call::{CallDescription, CallStatus};
use crate::sid::CallSid;

/// HTTP method of a request to the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Method {
    /// Parameters in the query.
    #[serde(rename = "GET")]
    Get,
    /// Parameters as a form body: the default everywhere.
    #[default]
    #[serde(rename = "POST")]
    Post,
}

impl Method {
    /// `GET` or `POST`.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

/// The four events of a leg (RCML.md 1.4). Each happens at most once on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The INVITE is sent, or found undeliverable.
    Initiated,
    /// First 180 or 183.
    Ringing,
    /// 200 OK, before any screening.
    Answered,
    /// The leg is over.
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

/// The set of subscribed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub struct Events {
    /// See [`EventKind::Initiated`].
    pub initiated: bool,
    /// See [`EventKind::Ringing`].
    pub ringing: bool,
    /// See [`EventKind::Answered`].
    pub answered: bool,
    /// See [`EventKind::Completed`].
    pub completed: bool,
}

impl Events {
    /// All four: the default.
    pub const ALL: Events = Events { initiated: true, ringing: true, answered: true, completed: true };

    /// Whether this kind is in it.
    pub fn contains(self, kind: EventKind) -> bool {
        match kind {
            EventKind::Initiated => self.initiated,
            EventKind::Ringing => self.ringing,
            EventKind::Answered => self.answered,
            EventKind::Completed => self.completed,
        }
    }
}

impl From<u8> for Events {
    fn from(bits: u8) -> Self {
        Events { initiated: bits & 1 != 0, ringing: bits & 2 != 0, answered: bits & 4 != 0, completed: bits & 8 != 0 }
    }
}

impl From<Events> for u8 {
    fn from(events: Events) -> u8 {
        u8::from(events.initiated)
            | u8::from(events.ringing) << 1
            | u8::from(events.answered) << 2
            | u8::from(events.completed) << 3
    }
}

/// `statusCallback*` of a noun.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Callback {
    /// Absolute URL.
    pub url: String,
    /// Method of each callback.
    pub method: Method,
    /// Which events are sent.
    pub events: Events,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A customer's URL may carry credentials.
        f.debug_struct("Callback").field("method", &self.method).field("events", &self.events).finish_non_exhaustive()
    }
}

/// One status callback: what `callback` is invoked with. It holds all that is needed, so `callback` reads nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackEvent {
    /// The account, for the signature.
    pub account_sid: String,
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
    /// When it was fired.
    pub fired_unix_ms: u64,
    /// Every parameter, in the order in which it is sent.
    pub parameters: Vec<(String, String)>,
}

impl CallbackEvent {
    /// The same on every retry of this event and never that of another (RCML.md 3.3). It names the kind, not the
    /// number: a leg has each kind once, so an event that was handed over without being written, and that a reaper
    /// later makes again, keeps its key.
    pub fn idempotency_key(&self) -> String {
        format!("{}-{}", self.leg, self.kind.as_str())
    }
}

impl fmt::Debug for CallbackEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackEvent")
            .field("leg", &self.leg)
            .field("sequence", &self.sequence)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Every parameter of one event of a leg, in order (RCML.md 3.1 for the leg, then 1.4).
/// `duration` is given with `completed` only.
///
/// What is stored of an event refers to the places in this list, so new parameters are only ever added at its end.
pub fn event_parameters(
    account_sid: &str,
    leg: &CallDescription,
    status: CallStatus,
    sequence: u32,
    fired_unix_ms: u64,
    duration: Option<u64>,
) -> Vec<(String, String)> {
    let mut list = Vec::with_capacity(16);
    let mut add = |name: &str, value: String| list.push((name.to_owned(), value));
    add("CallSid", leg.sid.to_string());
    add("AccountSid", account_sid.to_owned());
    add("From", leg.from.clone());
    add("To", leg.to.clone());
    add("CallStatus", status.as_str().to_owned());
    add("ApiVersion", "2012-04-24".to_owned());
    add("Direction", leg.direction.as_str().to_owned());
    if let Some(name) = &leg.caller_name {
        add("CallerName", name.clone());
    }
    if let Some(user) = &leg.forwarded_from {
        add("ForwardedFrom", user.clone());
    }
    for (name, value) in &leg.sip_headers {
        let mut parameter = String::with_capacity(10 + name.len());
        let _ = write!(parameter, "SipHeader_{name}");
        add(&parameter, value.clone());
    }
    if let Some(seconds) = duration {
        add("CallDuration", seconds.to_string());
    }
    add("Timestamp", rfc2822(fired_unix_ms));
    add("CallbackSource", "call-progress-events".to_owned());
    add("SequenceNumber", sequence.to_string());
    if let Some(parent) = leg.parent {
        add("ParentCallSid", parent.to_string());
    }
    list
}

/// `Mon, 15 Aug 2005 15:52:01 +0000`; an impossible time gives the epoch.
pub fn rfc2822(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or_default();
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&time::format_description::well_known::Rfc2822).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RCML.md 1.4: `Timestamp` is UTC by RFC 2822.
    #[test]
    fn timestamps_are_written_as_rfc_2822_asks() {
        assert_eq!(rfc2822(1_124_121_121_999), "Mon, 15 Aug 2005 15:52:01 +0000");
        assert_eq!(rfc2822(1_125_532_801_000), "Thu, 01 Sep 2005 00:00:01 +0000");
    }

    #[test]
    fn a_set_of_events_survives_its_byte() {
        for bits in 0..16 {
            assert_eq!(u8::from(Events::from(bits)), bits);
        }
        assert_eq!(u8::from(Events::ALL), 15);
    }
}
