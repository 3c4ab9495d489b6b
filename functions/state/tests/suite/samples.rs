//! Things to store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ringfork_state::call::Accepted;
use ringfork_state::event::event_parameters;
use ringfork_state::{
    Account, Application, Binding, CallDescription, CallSid, CallStatus, CallWrite, Callback, CallbackEvent, Client,
    Direction, EventKind, Events, Method, Number, Owner, PlannedLeg, VoiceSettings, sid,
};

pub const ACCOUNT: &str = "AC00000000000000000000000000000001";

/// Now, in Unix seconds: lists reach back from it.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn unique() -> [u8; 8] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

pub fn random12() -> [u8; 12] {
    let [.., a, b, c] = unique();
    [c, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c]
}

/// A call SID of this second; shards go round.
pub fn call_sid(unix_seconds: u64) -> CallSid {
    CallSid(sid::bytes(unix_seconds, random12()))
}

pub fn resource_sid(prefix: [u8; 2], unix_ms: u64) -> String {
    let [a, b, c, d, e, f, g, h] = unique();
    sid::resource(prefix, unix_ms, [a, b, c, d, e, f, g, h, 0, 0])
}

pub fn owner(epoch: u64) -> Owner {
    Owner { edge: "edge-a".into(), epoch }
}

pub fn account() -> Account {
    Account {
        sid: ACCOUNT.to_owned(),
        friendly_name: "Acme".to_owned(),
        auth_token_sha256: "ab".repeat(32),
        domain: "ringfork.local".to_owned(),
        created_unix_ms: 1,
        updated_unix_ms: 1,
        version: 1,
    }
}

pub fn client(login: &str, unix_ms: u64) -> Client {
    Client {
        sid: resource_sid(*b"CL", unix_ms),
        account_sid: ACCOUNT.to_owned(),
        login: login.to_owned(),
        friendly_name: login.to_owned(),
        ha1_md5: "0".repeat(32),
        ha1_sha256: "0".repeat(64),
        enabled: true,
        voice: VoiceSettings::default(),
        created_unix_ms: unix_ms,
        updated_unix_ms: unix_ms,
        version: 1,
    }
}

pub fn number(digits: &str, unix_ms: u64) -> Number {
    Number {
        sid: resource_sid(*b"PN", unix_ms),
        account_sid: ACCOUNT.to_owned(),
        phone_number: digits.to_owned(),
        friendly_name: digits.to_owned(),
        voice: VoiceSettings { url: Some("https://example.com/voice".to_owned()), ..VoiceSettings::default() },
        voice_caller_id_lookup: false,
        status_callback: Some("https://example.com/status".to_owned()),
        status_callback_method: Method::Get,
        created_unix_ms: unix_ms,
        updated_unix_ms: unix_ms,
        version: 1,
    }
}

pub fn application(url: Option<&str>) -> Application {
    Application {
        sid: resource_sid(*b"AP", 5),
        account_sid: ACCOUNT.to_owned(),
        friendly_name: "menu".to_owned(),
        rcml_url: url.map(str::to_owned),
        kind: "voice".to_owned(),
        voice_caller_id_lookup: true,
        created_unix_ms: 5,
        updated_unix_ms: 5,
        version: 1,
    }
}

pub fn binding(aor: &str, device: &str) -> Binding {
    Binding {
        aor: aor.to_owned(),
        key: device.to_owned(),
        contact: format!("sip:{aor}@192.0.2.4:5062;line=1"),
        contact_params: ";+sip.instance=\"<urn:uuid:1>\";reg-id=1".to_owned(),
        flow: "udp 127.0.0.1:5060 192.0.2.4:5062".to_owned(),
        path: vec!["<sip:p1.example.com;lr>".to_owned(), "<sip:p2.example.com;lr>".to_owned()],
        call_id: "a84b4c76e66710".to_owned(),
        cseq: 7,
        user_agent: Some("Phone 1.0".to_owned()),
        // Far from now: an emulator that keeps to TTL deletes what has expired in the middle of a test.
        expires_at: 4_000_000_600,
        stored_until: 4_000_004_200,
        owner: owner(1),
        version: 1,
    }
}

/// A URL of 300 characters: the longest that keeps an item under 1 KB.
pub fn long_url() -> String {
    format!("{:x<300}", "https://customer.example.com/callbacks/status?token=")
}

pub fn callback(url: &str, events: Events) -> Callback {
    Callback { url: url.to_owned(), method: Method::Post, events }
}

pub fn parent_description(sid: CallSid) -> CallDescription {
    CallDescription {
        sid,
        parent: None,
        from: "client:carol".to_owned(),
        to: "+15551234567".to_owned(),
        caller_name: Some("Carol Example".to_owned()),
        forwarded_from: None,
        direction: Direction::Inbound,
        created_unix_ms: sid.created_unix() * 1000 + 250,
        sip_headers: Vec::new(),
    }
}

pub fn leg_description(parent: CallSid, leg: CallSid) -> CallDescription {
    CallDescription {
        sid: leg,
        parent: Some(parent),
        from: "client:carol".to_owned(),
        to: "client:alice".to_owned(),
        caller_name: Some("Carol Example".to_owned()),
        forwarded_from: None,
        direction: Direction::OutboundDial,
        created_unix_ms: leg.created_unix() * 1000 + 300,
        sip_headers: Vec::new(),
    }
}

pub fn put_parent(sid: CallSid) -> CallWrite {
    CallWrite::PutParent { account_sid: ACCOUNT.to_owned(), call: parent_description(sid), status: CallStatus::Ringing }
}

pub fn planned(leg: CallSid, callback: Option<Callback>) -> PlannedLeg {
    PlannedLeg {
        sid: leg,
        from: "client:carol".to_owned(),
        to: "client:alice".to_owned(),
        callback,
        sip_headers: Vec::new(),
    }
}

pub fn accept(parent: CallSid, leg: CallSid, unix_ms: u64) -> CallWrite {
    CallWrite::Accept { parent, accepted: Accepted { leg, unix_ms } }
}

/// An event as the edge makes it.
pub fn event(about: &CallDescription, sequence: u32, kind: EventKind, status: CallStatus, url: &str) -> CallbackEvent {
    let fired = about.created_unix_ms + 1000 * u64::from(sequence);
    let duration = (kind == EventKind::Completed).then_some(12);
    CallbackEvent {
        account_sid: ACCOUNT.to_owned(),
        leg: about.sid,
        parent: about.parent.unwrap(),
        sequence,
        kind,
        url: url.to_owned(),
        method: Method::Post,
        fired_unix_ms: fired,
        parameters: event_parameters(ACCOUNT, about, status, sequence, fired, duration),
    }
}

/// A leg's first write.
pub fn first_leg(about: &CallDescription, status: CallStatus, event: Option<CallbackEvent>) -> CallWrite {
    CallWrite::Leg {
        leg: about.sid,
        first: Some(Box::new((ACCOUNT.to_owned(), about.clone()))),
        status,
        answered_unix_ms: None,
        ended_unix_ms: None,
        event: event.map(Box::new),
        handed_over: Vec::new(),
    }
}

/// One of its later ones.
pub fn next_leg(leg: CallSid, status: CallStatus, event: Option<CallbackEvent>, handed_over: &[u32]) -> CallWrite {
    CallWrite::Leg {
        leg,
        first: None,
        status,
        answered_unix_ms: None,
        ended_unix_ms: None,
        event: event.map(Box::new),
        handed_over: handed_over.to_vec(),
    }
}
