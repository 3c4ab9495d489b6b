//! The parameters of requests to the customer (RCML.md 3.1, 1.3, 1.4, 1.5), in the order in which they are listed there.

use std::time::Instant;

use super::date::rfc2822;
use super::{CallDescription, CallSid, CallStatus};

/// `ApiVersion` of every request.
pub const API_VERSION: &str = "2012-04-24";

/// A form: names and values in order.
pub(super) type Form = Vec<(String, String)>;

fn push(form: &mut Form, name: &str, value: impl Into<String>) {
    form.push((name.to_owned(), value.into()));
}

/// The standard parameters of a call or leg (RCML.md 3.1). `headers` are the `X-` headers of its INVITE.
pub(super) fn standard(
    account_sid: &str,
    call: &CallDescription,
    status: CallStatus,
    headers: &[(String, String)],
) -> Form {
    // Nine of 3.1, the headers, and room for the five of 1.4.
    let mut form = Vec::with_capacity(14 + headers.len());
    push(&mut form, "CallSid", call.sid.to_string());
    push(&mut form, "AccountSid", account_sid);
    push(&mut form, "From", call.from.as_str());
    push(&mut form, "To", call.to.as_str());
    push(&mut form, "CallStatus", status.as_str());
    push(&mut form, "ApiVersion", API_VERSION);
    push(&mut form, "Direction", call.direction);
    if let Some(name) = &call.caller_name {
        push(&mut form, "CallerName", name.as_str());
    }
    if let Some(user) = &call.forwarded_from {
        push(&mut form, "ForwardedFrom", user.as_str());
    }
    for (name, value) in headers {
        form.push((header_name(name), value.clone()));
    }
    form
}

/// `SipHeader_X-…`: header names are case-insensitive (RFC 3261 §7.3.1), the parameter's prefix is not.
fn header_name(name: &str) -> String {
    match name.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("x-") => {
            format!("SipHeader_X-{}", name.get(2..).unwrap_or_default())
        }
        _ => format!("SipHeader_{name}"),
    }
}

/// Adds what a status callback carries beyond the standard parameters (RCML.md 1.4).
pub(super) fn add_event(form: &mut Form, parent: CallSid, sequence: u32, fired_unix_ms: u64, duration: Option<u64>) {
    if let Some(seconds) = duration {
        push(form, "CallDuration", seconds.to_string());
    }
    push(form, "Timestamp", rfc2822(fired_unix_ms));
    push(form, "CallbackSource", "call-progress-events");
    push(form, "SequenceNumber", sequence.to_string());
    add_parent(form, parent);
}

/// Adds `ParentCallSid`: of callbacks and of a screening request (RCML.md 1.3).
pub(super) fn add_parent(form: &mut Form, parent: CallSid) {
    push(form, "ParentCallSid", parent.to_string());
}

/// How a Dial ended, for its `action` (RCML.md 1.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialResult {
    /// `DialCallStatus`: completed, busy, no-answer, failed or canceled.
    pub status: CallStatus,
    /// `DialCallSid`: the accepted leg, else the last to end.
    pub sid: Option<CallSid>,
    /// `DialCallDuration`: whole seconds bridged, else 0.
    pub duration: u64,
    /// `DialRingDuration`: whole seconds from the first INVITE to acceptance, else to the Dial's end.
    pub ring_duration: u64,
    /// `RecordingUrl`, if it was recorded.
    pub recording_url: Option<String>,
}

/// Adds what a Dial's `action` carries beyond the standard parameters (RCML.md 1.5).
pub(super) fn add_dial(form: &mut Form, result: &DialResult) {
    push(form, "DialCallStatus", result.status.as_str());
    if let Some(sid) = result.sid {
        push(form, "DialCallSid", sid.to_string());
    }
    push(form, "DialCallDuration", result.duration.to_string());
    push(form, "DialRingDuration", result.ring_duration.to_string());
    if let Some(url) = &result.recording_url {
        push(form, "RecordingUrl", url.as_str());
    }
}

/// Adds what was keyed in: of a Gather's `action` and a Record's (RCML.md part 2).
pub(super) fn add_digits(form: &mut Form, digits: &str) {
    push(form, "Digits", digits);
}

/// What a Record's `action` learns of the recording (RCML.md part 2).
pub(super) fn recording(url: &str, length: u32) -> Form {
    let mut form = Form::with_capacity(3);
    push(&mut form, "RecordingUrl", url);
    push(&mut form, "RecordingDuration", length.to_string());
    form
}

/// Whole seconds, rounded down (RCML.md "Terms").
pub(super) fn whole_seconds(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RCML.md 3.1: header names are case-insensitive on the wire; the parameter always begins `SipHeader_X-`.
    #[test]
    fn a_header_parameter_begins_with_a_capital_x() {
        assert_eq!(header_name("x-tenant"), "SipHeader_X-tenant");
        assert_eq!(header_name("X-Tenant"), "SipHeader_X-Tenant");
    }
}
