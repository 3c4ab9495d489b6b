//! Between the core's types and the store's: the same facts, since neither may know the other.

use ringfork_call::action;
use ringfork_call::control;
use ringfork_rcml::{evaluation, program};
use ringfork_sip::flow::Flow;
use ringfork_state as state;

/// The core's SID as the store's.
pub fn sid(sid: control::CallSid) -> state::CallSid {
    state::CallSid(sid.0)
}

fn status(status: control::CallStatus) -> state::CallStatus {
    match status {
        control::CallStatus::Queued => state::CallStatus::Queued,
        control::CallStatus::Initiated => state::CallStatus::Initiated,
        control::CallStatus::Ringing => state::CallStatus::Ringing,
        control::CallStatus::InProgress => state::CallStatus::InProgress,
        control::CallStatus::Completed => state::CallStatus::Completed,
        control::CallStatus::Busy => state::CallStatus::Busy,
        control::CallStatus::Failed => state::CallStatus::Failed,
        control::CallStatus::NoAnswer => state::CallStatus::NoAnswer,
        control::CallStatus::Canceled => state::CallStatus::Canceled,
    }
}

fn method(method: program::Method) -> state::Method {
    match method {
        program::Method::Get => state::Method::Get,
        program::Method::Post => state::Method::Post,
    }
}

fn rcml_method(method: state::Method) -> program::Method {
    match method {
        state::Method::Get => program::Method::Get,
        state::Method::Post => program::Method::Post,
    }
}

fn description(call: control::CallDescription) -> state::CallDescription {
    state::CallDescription {
        sid: sid(call.sid),
        parent: call.parent.map(sid),
        from: call.from,
        to: call.to,
        caller_name: call.caller_name,
        forwarded_from: call.forwarded_from,
        direction: state::Direction::parse(call.direction).unwrap_or(state::Direction::Inbound),
        created_unix_ms: call.created_unix_ms,
        sip_headers: call.sip_headers,
    }
}

fn planned(leg: control::LegPlan) -> state::PlannedLeg {
    state::PlannedLeg {
        sid: sid(leg.leg),
        from: leg.from,
        to: leg.to,
        callback: leg.callback.map(|callback| state::Callback {
            url: callback.url,
            method: method(callback.method),
            events: state::Events {
                initiated: callback.events.initiated,
                ringing: callback.events.ringing,
                answered: callback.events.answered,
                completed: callback.events.completed,
            },
        }),
        sip_headers: leg.sip_headers,
    }
}

/// A status callback.
pub fn event(account_sid: &str, event: &control::Event) -> state::CallbackEvent {
    state::CallbackEvent {
        account_sid: account_sid.to_owned(),
        leg: sid(event.leg),
        parent: sid(event.parent),
        sequence: event.sequence,
        kind: match event.kind {
            control::EventKind::Initiated => state::EventKind::Initiated,
            control::EventKind::Ringing => state::EventKind::Ringing,
            control::EventKind::Answered => state::EventKind::Answered,
            control::EventKind::Completed => state::EventKind::Completed,
        },
        url: event.url.clone(),
        method: method(event.method),
        fired_unix_ms: event.fired_unix_ms,
        parameters: event.parameters.clone(),
    }
}

/// A write of call state. `settled`: with the parent's last write nothing is left for a reaper.
pub fn call_write(account_sid: &str, write: control::Write, settled: bool) -> state::CallWrite {
    match write {
        control::Write::PutParent { call, status: now } => state::CallWrite::PutParent {
            account_sid: account_sid.to_owned(),
            call: description(call),
            status: status(now),
        },
        control::Write::NameLegs { parent, legs } => {
            state::CallWrite::NameLegs { parent: sid(parent), legs: legs.into_iter().map(planned).collect() }
        }
        control::Write::Accept { parent, leg, unix_ms } => {
            state::CallWrite::Accept { parent: sid(parent), accepted: state::call::Accepted { leg: sid(leg), unix_ms } }
        }
        control::Write::Leg {
            leg,
            description: first,
            status: now,
            answered_unix_ms,
            ended_unix_ms,
            event: fired,
            handed_over,
        } => state::CallWrite::Leg {
            leg: sid(leg),
            first: first.map(|call| Box::new((account_sid.to_owned(), description(*call)))),
            status: status(now),
            answered_unix_ms,
            ended_unix_ms,
            event: fired.map(|fired| Box::new(event(account_sid, &fired))),
            handed_over,
        },
        control::Write::ClearEvents { leg, handed_over } => {
            state::CallWrite::ClearEvents { leg: sid(leg), handed_over }
        }
        control::Write::Parent { parent, status: now, answered_unix_ms, ended_unix_ms } => state::CallWrite::Parent {
            parent: sid(parent),
            status: status(now),
            answered_unix_ms,
            ended_unix_ms,
            settled: settled && ended_unix_ms.is_some(),
        },
    }
}

/// A warning or error of a call.
pub fn notification(account_sid: &str, notice: control::Notice, random: [u8; 9]) -> state::Notification {
    let call = sid(notice.call);
    let control::Notice { unix_ms, notice, .. } = notice;
    state::Notification {
        sid: state::Notification::new_sid(call, unix_ms, random),
        account_sid: account_sid.to_owned(),
        call,
        unix_ms,
        level: match notice.level {
            evaluation::Level::Error => state::Level::Error,
            evaluation::Level::Warning => state::Level::Warning,
        },
        code: notice.code,
        message: notice.message,
        url: notice.url,
        line: notice.line,
    }
}

fn application(voice: state::Voice) -> action::Application {
    let document = |url: String, method: state::Method| program::DocumentRef { url, method: rcml_method(method) };
    action::Application {
        document: document(voice.url, voice.method),
        fallback: voice.fallback.map(|(url, method)| document(url, method)),
    }
}

/// What the core needs to know of a client.
pub fn client(entry: state::ClientEntry) -> action::ClientEntry {
    action::ClientEntry {
        login: entry.login,
        ha1_md5: entry.ha1_md5,
        ha1_sha256: entry.ha1_sha256,
        voice: entry.voice.map(application),
        enabled: entry.enabled,
    }
}

/// What the core needs to know of a number.
pub fn number(entry: state::NumberEntry) -> action::NumberEntry {
    action::NumberEntry { number: entry.number, voice: entry.voice.map(application) }
}

/// What went wrong, as far as the core can do anything about it.
pub fn error(error: &state::StoreError) -> action::StoreError {
    match error {
        // Another version than ours was written: by whom else than another owner?
        state::StoreError::Stale | state::StoreError::Conflict => action::StoreError::Stale,
        // An item that should be there is not, or cannot be read: what is written next may still be of use.
        state::StoreError::Unavailable(_) | state::StoreError::NotFound | state::StoreError::Corrupt(_) => {
            action::StoreError::Unavailable
        }
    }
}

/// A binding as the store keeps it; owner and version are the store's matter.
pub fn binding(record: action::BindingRecord, owner: &state::Owner) -> state::Binding {
    state::Binding {
        aor: record.aor,
        key: record.key,
        contact: record.contact,
        contact_params: record.contact_params,
        flow: write_flow(&record.flow),
        path: record.path,
        call_id: record.call_id,
        cseq: record.cseq,
        user_agent: record.user_agent,
        expires_at: record.expires_at,
        stored_until: record.stored_until,
        owner: owner.clone(),
        version: 0,
    }
}

/// A stored binding for the core; `None` when its flow cannot be read.
pub fn record(binding: state::Binding) -> Option<action::BindingRecord> {
    Some(action::BindingRecord {
        flow: read_flow(&binding.flow)?,
        aor: binding.aor,
        key: binding.key,
        contact: binding.contact,
        contact_params: binding.contact_params,
        path: binding.path,
        call_id: binding.call_id,
        cseq: binding.cseq,
        user_agent: binding.user_agent,
        expires_at: binding.expires_at,
        stored_until: binding.stored_until,
    })
}

/// `udp LOCAL REMOTE` or `tcp CONNECTION LOCAL REMOTE`.
fn write_flow(flow: &Flow) -> String {
    match flow {
        Flow::Udp { local, remote } => format!("udp {local} {remote}"),
        Flow::Tcp { connection, local, remote } => format!("tcp {connection} {local} {remote}"),
    }
}

fn read_flow(text: &str) -> Option<Flow> {
    let mut words = text.split(' ');
    let flow = match words.next()? {
        "udp" => Flow::Udp { local: words.next()?.parse().ok()?, remote: words.next()?.parse().ok()? },
        "tcp" => Flow::Tcp {
            connection: words.next()?.parse().ok()?,
            local: words.next()?.parse().ok()?,
            remote: words.next()?.parse().ok()?,
        },
        _ => return None,
    };
    words.next().is_none().then_some(flow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_survive_the_store() {
        for flow in [
            Flow::Udp { local: "127.0.0.1:5060".parse().unwrap(), remote: "[2001:db8::1]:9".parse().unwrap() },
            Flow::Tcp {
                connection: 1 << 63 | 7,
                local: "[::1]:5060".parse().unwrap(),
                remote: "10.0.0.1:1024".parse().unwrap(),
            },
        ] {
            assert_eq!(read_flow(&write_flow(&flow)), Some(flow));
        }
        for bad in ["", "udp", "udp a b", "sctp 1", "udp 127.0.0.1:1 127.0.0.1:2 more"] {
            assert_eq!(read_flow(bad), None, "{bad}");
        }
    }
}
