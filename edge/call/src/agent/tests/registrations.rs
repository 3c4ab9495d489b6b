//! Registrations: challenges, ownership, the store, flows and time (DESIGN "SIP choices").

use std::time::Duration;

use ringfork_sip::flow::Flow;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::Method;
use ringfork_sip::registrar::BindingRecord;

use super::net::{DOMAIN_URI, EDGE, Net, Phone, config, sdp};
use crate::action::{Input, StoreError};

fn bob() -> Phone {
    Phone::new("bob", "203.0.113.1:5062")
}

fn record(phone: &Phone, expires_at: u64, stored_until: u64) -> BindingRecord {
    BindingRecord {
        aor: phone.name.clone(),
        key: format!("sip:{}@{}", phone.name, phone.address),
        contact: format!("sip:{}@{}", phone.name, phone.address),
        contact_params: String::new(),
        flow: phone.flow(),
        path: Vec::new(),
        call_id: "old".into(),
        cseq: 1,
        user_agent: None,
        expires_at,
        stored_until,
    }
}

/// A second REGISTER with the credentials of the first challenge.
fn authorized(net: &mut Net, phone: &Phone, cseq: u32, extra: &str) -> String {
    let first = phone.register(cseq, extra);
    net.send(phone, first);
    let challenge = net.take_code(phone, 401);
    let header = phone.credentials(&challenge, HeaderName::WwwAuthenticate, "Authorization", "REGISTER", DOMAIN_URI);
    phone.register(cseq + 1, &format!("{extra}{header}"))
}

/// DESIGN "SIP choices": SHA-256 then MD5, 401 to REGISTER; the 200 echoes the contact with `expires`; presence is
/// cached.
#[test]
fn challenge_and_success() {
    let mut net = Net::new();
    let bob = bob();
    net.send(&bob, bob.register(1, ""));
    let challenge = net.take_code(&bob, 401);
    let algorithms: Vec<_> =
        challenge.fields_of(HeaderName::WwwAuthenticate).map(|field| field.text().contains("SHA-256")).collect();
    assert_eq!(algorithms, [true, false]);
    let header = bob.credentials(&challenge, HeaderName::WwwAuthenticate, "Authorization", "REGISTER", DOMAIN_URI);
    net.send(&bob, bob.register(2, &header));
    let ok = net.take_code(&bob, 200);
    assert_eq!(ok.contact().unwrap().expires(), Some(600));
    assert_eq!(net.agent.gauges().bindings, 1);
    let lookups = net.lookups;
    let again = authorized(&mut net, &bob, 3, "");
    net.send(&bob, again);
    net.take_code(&bob, 200);
    assert_eq!(net.lookups, lookups);
}

/// DESIGN "SIP choices": an unknown user gets what a wrong password gets; both count.
#[test]
fn unknown_and_known_users_get_the_same() {
    let mut net = Net::new();
    let mallory = Phone::new("mallory", "203.0.113.66:5060");
    let first = authorized(&mut net, &mallory, 1, "");
    net.send(&mallory, first);
    let unknown = net.take_code(&mallory, 401);
    net.clients.get_mut("bob").unwrap().ha1_sha256 = "0".repeat(64);
    let bob = bob();
    let wrong = authorized(&mut net, &bob, 1, "");
    net.send(&bob, wrong);
    let known = net.take_code(&bob, 401);
    let names = |message: &ringfork_sip::message::Message| message.fields().map(|field| field.name).collect::<Vec<_>>();
    assert_eq!(names(&unknown), names(&known));
    assert_eq!(net.counts[&("offences_total", "credentials")], 2);
    assert_eq!(net.agent.gauges().bindings, 0);
}

/// DESIGN "SIP choices": credentials' user must own the AOR that it registers, else 403; the host must be ours, else 404.
#[test]
fn ownership() {
    let mut net = Net::new();
    let bob = bob();
    let other = authorized(&mut net, &bob, 1, "").replace("To: <sip:bob@", "To: <sip:carol@");
    net.send(&bob, other);
    net.take_code(&bob, 403);
    let elsewhere =
        authorized(&mut net, &bob, 5, "").replace("To: <sip:bob@ringfork.local", "To: <sip:bob@example.com");
    net.send(&bob, elsewhere);
    net.take_code(&bob, 404);
    let by_address = authorized(&mut net, &bob, 9, "").replace("To: <sip:bob@ringfork.local", "To: <sip:bob@192.0.2.1");
    net.send(&bob, by_address);
    net.take_code(&bob, 200);
}

/// DESIGN "The split": a failed or slow write gives 500 with Retry-After and changes nothing.
#[test]
fn a_write_that_fails_changes_nothing() {
    for answer in [Some(StoreError::Unavailable), None] {
        let mut net = Net::new();
        let bob = bob();
        net.binding_writes = Some(answer);
        let register = authorized(&mut net, &bob, 1, "");
        net.send(&bob, register);
        net.advance(Duration::from_secs(2));
        let refused = net.take_code(&bob, 500);
        assert!(refused.has(HeaderName::RetryAfter));
        assert_eq!(net.agent.gauges().bindings, 0);
    }
}

/// DESIGN "SIP choices": a UDP flow silent for 25 s gets OPTIONS; three unanswered end it if it answered one before.
#[test]
fn silent_flows() {
    let mut net = Net::new();
    let bob = bob();
    net.register(&bob);
    net.advance(Duration::from_secs(26));
    let options = net.take_method(&bob, Method::Options);
    assert_eq!(options.request_uri(), Some("sip:bob@203.0.113.1:5062"));
    net.send(&bob, bob.respond(&options, 405, "o", ""));
    net.advance(Duration::from_secs(25 + 3 * 32 + 1));
    assert_eq!(net.agent.gauges().bindings, 0);

    let mut net = Net::new();
    net.register(&bob);
    net.advance(Duration::from_secs(300));
    assert_eq!(net.agent.gauges().bindings, 1, "it never answered one: it lives to its expiry");
    net.advance(Duration::from_secs(310));
    assert_eq!(net.agent.gauges().bindings, 0);
    assert_eq!(net.agent.keepalive.len(), 0);
}

/// DESIGN "SIP choices": after a restart UDP bindings ring, TCP ones are gone.
#[test]
fn after_a_restart() {
    let bob = bob();
    let mut carol = Phone::new("carol", "203.0.113.2:5062");
    carol.connection = Some(1);
    let now = 1_800_000_000;
    let records = vec![record(&bob, now + 500, now + 4100), record(&carol, now + 500, now + 4100)];
    let mut net = Net::with(config(), records);
    assert_eq!(net.agent.gauges().bindings, 1);
    net.dial_clients(&["bob", "carol"]);
    let caller = Phone::new("+15557", "198.51.100.7:5060");
    net.send(&caller, caller.invite("100", "c1", 1, "", &sdp(&caller, "sendrecv")));
    net.take_method(&bob, Method::Invite);
    assert!(!net.has(&carol, &Method::Invite));
}

/// DESIGN "SIP choices": a loaded binding whose granted expiry has passed is asked with OPTIONS for 5 s.
#[test]
fn loaded_bindings_are_asked() {
    let (bob, carol) = (bob(), Phone::new("carol", "203.0.113.2:5062"));
    let now = 1_800_000_000;
    let records = vec![record(&bob, now - 10, now + 3000), record(&carol, now - 10, now + 3000)];
    let mut net = Net::with(config(), records);
    net.advance(Duration::from_millis(1));
    let options = net.take_method(&bob, Method::Options);
    net.send(&bob, bob.respond(&options, 200, "o", ""));
    net.advance(Duration::from_secs(6));
    assert!(net.agent.core.bindings.get("bob", &format!("sip:bob@{}", bob.address)).is_some());
    assert!(net.agent.core.bindings.get("carol", &format!("sip:carol@{}", carol.address)).is_none());
}

/// RFC 5626: a stream's end ends its bindings; a double CRLF is answered on it.
#[test]
fn streams() {
    let mut net = Net::new();
    let mut bob = bob();
    bob.connection = Some(9);
    net.register(&bob);
    assert_eq!(net.agent.gauges().bindings, 1);
    net.agent.handle(net.now, Input::Packet { flow: bob.flow(), payload: "\r\n\r\n".into() });
    match net.agent.poll_action() {
        Some(crate::action::Action::Transmit(transmit)) => {
            assert_eq!((transmit.flow, &transmit.payload[..]), (bob.flow(), &b"\r\n"[..]));
        }
        other => panic!("{other:?}"),
    }
    net.handle(Input::FlowClosed { connection: 9 });
    assert_eq!(net.agent.gauges().bindings, 0);
}

/// REST: a deleted client's bindings end; what was cached of it is forgotten.
#[test]
fn a_deleted_client() {
    let mut net = Net::new();
    let bob = bob();
    net.register(&bob);
    net.clients.remove("bob");
    net.handle(Input::ClientChanged { login: "bob".into(), deleted: true });
    assert_eq!(net.agent.gauges().bindings, 0);
    let register = authorized(&mut net, &bob, 5, "");
    net.send(&bob, register);
    net.take_code(&bob, 401);
}

/// DESIGN "SIP choices" (RFC 3581): without rport the response goes to the Via's port, and so do the INVITEs.
#[test]
fn the_flow_of_a_binding_without_rport() {
    let mut net = Net::new();
    let source = Phone::new("bob", "203.0.113.1:40000");
    let target = bob();
    let strip = |text: String| text.replace(";rport", "");
    net.send(&source, strip(target.register(1, "")));
    let challenge = net.take_code(&target, 401);
    let header = target.credentials(&challenge, HeaderName::WwwAuthenticate, "Authorization", "REGISTER", DOMAIN_URI);
    net.send(&source, strip(target.register(2, &header)));
    net.take_code(&target, 200);
    let local = EDGE.parse().unwrap();
    let flow = Flow::Udp { local, remote: target.address };
    assert_eq!(net.agent.core.bindings.of_flow(&flow).count(), 1);
}

/// DESIGN "SIP choices": a silent flow is asked again later where the OPTIONS could not be sent (the table of client
/// transactions is full, docs/operations.md "Limits"), and is not counted as one that did not answer.
#[test]
fn a_question_that_cannot_be_sent() {
    let mut settings = config();
    // One for us and one for them.
    settings.caps.transactions = 2;
    let mut net = Net::with(settings, Vec::new());
    let (alice, bob) = (Phone::new("alice", "203.0.113.9:5062"), Phone::new("bob", "203.0.113.1:5062"));
    net.register(&alice);
    net.advance(Duration::from_secs(33));
    let first = net.take_method(&alice, Method::Options);
    net.register(&bob);
    net.advance(Duration::from_secs(26));
    assert!(!net.has(&bob, &Method::Options));
    assert!(net.logs.iter().any(|line| line.contains("could not be sent")), "{:?}", net.logs);
    // Alice was asked anew meanwhile, and answers.
    net.sent.retain(|(to, message)| *to != alice.address || message.call_id() != first.call_id());
    let second = net.take_method(&alice, Method::Options);
    net.send(&alice, alice.respond(&second, 200, "o", ""));
    net.advance(Duration::from_secs(24));
    assert!(net.has(&bob, &Method::Options));
}
