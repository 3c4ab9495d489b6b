//! Events within a leg's item, in few bytes.
//!
//! What an event says is mostly known from its leg: the item keeps the URL once and of each event only kind, time,
//! status and duration, from which [`event_parameters`] makes the very same list again. An event whose parameters are
//! not what that function makes is kept in full. So a repetition has the same body (RCML.md 1.4).

use serde::{Deserialize, Serialize};

use crate::call::{CallDescription, CallStatus};
use crate::event::{CallbackEvent, EventKind, Method, event_parameters};
use crate::sid::CallSid;

/// Written first in each stored event. A change of [`event_parameters`] needs a new number, under which the old list is
/// still made for events stored before.
const FORMAT: u8 = 1;

/// As stored: a JSON array. The parameters stand in it only where they cannot be made again from the leg.
#[derive(Serialize, Deserialize)]
struct Stored(
    u8,
    EventKind,
    u64,
    CallStatus,
    #[serde(default)] Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<Vec<(String, String)>>,
);

/// The leg, if it is known to the writer: only its first write says.
pub(super) struct Leg<'a> {
    pub account_sid: &'a str,
    pub description: &'a CallDescription,
}

/// Writes an event. A later write does not know the leg's description; then the event's own words stand for it: all
/// events of a leg are made from one description.
pub(super) fn encode(event: &CallbackEvent, leg: Option<&Leg<'_>>) -> serde_json::Result<String> {
    let find = |name: &str| event.parameters.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
    let status = find("CallStatus").and_then(CallStatus::parse).unwrap_or(CallStatus::Completed);
    let duration = find("CallDuration").and_then(|value| value.parse().ok());
    let rebuilt = match leg {
        Some(leg) => rebuild(leg.account_sid, leg.description, event, status, duration),
        None => of_own_words(event, status, duration),
    };
    let parameters = (rebuilt.as_ref() != Some(&event.parameters)).then(|| event.parameters.clone());
    serde_json::to_string(&Stored(FORMAT, event.kind, event.fired_unix_ms, status, duration, parameters))
}

fn rebuild(
    account_sid: &str,
    description: &CallDescription,
    event: &CallbackEvent,
    status: CallStatus,
    duration: Option<u64>,
) -> Option<Vec<(String, String)>> {
    Some(event_parameters(account_sid, description, status, event.sequence, event.fired_unix_ms, duration))
}

/// Takes the leg's description out of the event's parameters: they make the same list if they are a standard one.
fn of_own_words(event: &CallbackEvent, status: CallStatus, duration: Option<u64>) -> Option<Vec<(String, String)>> {
    let mut description = CallDescription {
        sid: event.leg,
        parent: Some(event.parent),
        from: String::new(),
        to: String::new(),
        caller_name: None,
        forwarded_from: None,
        direction: crate::call::Direction::OutboundDial,
        created_unix_ms: 0,
        sip_headers: Vec::new(),
    };
    for (name, value) in &event.parameters {
        match name.as_str() {
            "From" => description.from.clone_from(value),
            "To" => description.to.clone_from(value),
            "CallerName" => description.caller_name = Some(value.clone()),
            "ForwardedFrom" => description.forwarded_from = Some(value.clone()),
            other => {
                if let Some(header) = other.strip_prefix("SipHeader_") {
                    description.sip_headers.push((header.to_owned(), value.clone()));
                }
            }
        }
    }
    rebuild(&event.account_sid, &description, event, status, duration)
}

/// Reads an event back; URL and method are the leg's. `None`: not an event of a format that is known.
pub(super) fn decode(
    text: &str,
    sequence: u32,
    leg: &Leg<'_>,
    parent: CallSid,
    url: &str,
    method: Method,
) -> Option<CallbackEvent> {
    let Stored(format, kind, fired_unix_ms, status, duration, parameters) = serde_json::from_str(text).ok()?;
    if format != FORMAT {
        return None;
    }
    let remade = || event_parameters(leg.account_sid, leg.description, status, sequence, fired_unix_ms, duration);
    Some(CallbackEvent {
        account_sid: leg.account_sid.to_owned(),
        leg: leg.description.sid,
        parent,
        sequence,
        kind,
        url: url.to_owned(),
        method,
        fired_unix_ms,
        parameters: parameters.unwrap_or_else(remade),
    })
}
