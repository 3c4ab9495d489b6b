//! Requests outside dialogs: what is refused when, whom a call reaches, abuse, draining (RCML.md part 2).

use std::time::Duration;

use ringfork_rcml::program::{DocumentRef, Method as Http};
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use super::net::{Net, Phone, sdp};
use crate::action::{Application, Input};

fn peer() -> Phone {
    Phone::new("+15557", "198.51.100.7:5060")
}

fn alice() -> Phone {
    Phone::new("alice", "203.0.113.50:5060")
}

/// Calls as a client, answering the 407.
fn call_as(net: &mut Net, phone: &Phone, called: &str, change: impl Fn(String) -> String) {
    let body = sdp(phone, "sendrecv");
    net.send(phone, change(phone.invite(called, "x1", 1, "", &body)));
    let challenge = net.take_code(phone, 407);
    let uri = format!("sip:{called}@ringfork.local");
    let header = phone.credentials(&challenge, HeaderName::ProxyAuthenticate, "Proxy-Authorization", "INVITE", &uri);
    net.send(phone, change(phone.invite(called, "x1", 2, &header, &body)));
}

fn options(extra: &str) -> String {
    format!(
        "OPTIONS sip:ringfork.local SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKopt;rport\r\n\
         From: <sip:x@y>;tag=1\r\nTo: <sip:ringfork.local>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

/// Issue 3: OPTIONS 200 without credentials; Allow and Supported name what works.
#[test]
fn options_need_no_credentials() {
    let mut net = Net::new();
    let peer = peer();
    net.send(&peer, options(""));
    let ok = net.take_code(&peer, 200);
    for (name, token) in [
        (HeaderName::Allow, "UPDATE"),
        (HeaderName::Allow, "PRACK"),
        (HeaderName::Supported, "100rel"),
        (HeaderName::Supported, "outbound"),
        (HeaderName::Accept, "application/sdp"),
    ] {
        assert!(ok.has_token(name, token), "{token}");
    }
    assert!(!ok.has_token(HeaderName::Allow, "REFER"));
}

/// RCML.md part 2: 420 with Unsupported, 483, 405, 481 come before any challenge.
#[test]
fn refused_before_a_challenge() {
    let mut net = Net::new();
    let alice = alice();
    net.send(&alice, alice.invite("100", "a", 1, "Require: replaces, timer\r\n", ""));
    let refused = net.take_code(&alice, 420);
    assert_eq!(refused.text(HeaderName::Unsupported).as_deref(), Some("replaces"));
    net.send(&alice, alice.invite("100", "b", 1, "", "").replace("Max-Forwards: 70", "Max-Forwards: 0"));
    net.take_code(&alice, 483);
    net.send(&alice, alice.invite("100", "c", 1, "Session-Expires: 60\r\n", ""));
    assert_eq!(net.take_code(&alice, 422).min_se(), Some(90));
    net.send(&alice, alice.invite("100", "d", 1, "", "x").replace("application/sdp", "text/plain"));
    assert!(net.take_code(&alice, 415).has(HeaderName::Accept));
    net.send(&alice, alice.invite("100", "e", 1, "", "").replace("INVITE", "REFER"));
    net.take_code(&alice, 405);
    net.send(&alice, alice.invite("100", "f", 1, "", "").replace("INVITE", "BYE"));
    net.take_code(&alice, 481);
    net.send(&alice, alice.cancel("100", "g", 1));
    net.take_code(&alice, 481);
    net.assert_clean();
}

/// RCML.md part 2: 404 and 488 come after the challenge.
#[test]
fn refused_after_a_challenge() {
    let mut net = Net::new();
    let alice = alice();
    call_as(&mut net, &alice, "nobody", |text| text);
    net.take_code(&alice, 404);
    call_as(&mut net, &alice, "100", |text| text.replace("x1", "x2").replace("RTP/AVP", "RTP/SAVP"));
    assert!(net.take_code(&alice, 488).has(HeaderName::Warning));
    net.assert_clean();
}

/// DESIGN "SIP choices": a client calls from its own AOR, or from anonymous.invalid; else 403.
#[test]
fn a_client_calls_as_itself() {
    let mut net = Net::new();
    let alice = alice();
    call_as(&mut net, &alice, "100", |text| text.replace("From: \"Ann\" <sip:alice@", "From: \"Ann\" <sip:bob@"));
    net.take_code(&alice, 403);
    call_as(&mut net, &alice, "100", |text| {
        text.replace("x1", "x2").replace("<sip:alice@ringfork.local>;tag", "<sip:anonymous@anonymous.invalid>;tag")
    });
    net.take_code(&alice, 480);
    net.assert_clean();
}

/// RCML.md part 2: its own VoiceUrl, else a number, else another client directly.
#[test]
fn whom_a_clients_call_reaches() {
    let mut net = Net::new();
    let (alice, bob) = (alice(), Phone::new("bob", "203.0.113.1:5062"));
    net.register(&bob);
    call_as(&mut net, &alice, "bob", |text| text);
    let invite = net.take_method(&bob, Method::Invite);
    assert_eq!(invite.from().unwrap().uri_text, "sip:alice@ringfork.local");
    net.send(&bob, bob.respond(&invite, 486, "p", ""));
    net.take_code(&alice, 486);
    net.clients.get_mut("alice").unwrap().voice =
        Some(Application { document: DocumentRef { url: "http://a/".into(), method: Http::Post }, fallback: None });
    net.handle(Input::ClientChanged { login: "alice".into(), deleted: false });
    call_as(&mut net, &alice, "whatever", |text| text.replace("x1", "x2"));
    net.take_code(&alice, 480);
    net.assert_clean();
}

/// RCML.md 3.1: the To header's number where only that is one of ours; a number without application is 404.
#[test]
fn numbers() {
    let mut net = Net::new();
    let peer = peer();
    net.send(&peer, peer.invite("100", "n1", 1, "", "").replace("INVITE sip:100@", "INVITE sip:trunk-7@"));
    net.take_code(&peer, 480);
    // A registered trunk's way: its own user at our address, the number at the carrier's domain. And no user at all.
    let carrier = |call_id| {
        peer.invite("100", call_id, 1, "", "").replace("To: <sip:100@ringfork.local>", "To: <sip:100@carrier.example>")
    };
    net.send(&peer, carrier("n4").replace("INVITE sip:100@", "INVITE sip:trunk-7@"));
    net.take_code(&peer, 480);
    net.send(&peer, carrier("n5").replace("INVITE sip:100@", "INVITE sip:"));
    net.take_code(&peer, 480);
    net.send(
        &peer,
        carrier("n6").replace("sip:100@carrier", "sip:999@carrier").replace("INVITE sip:100@", "INVITE sip:"),
    );
    net.take_code(&peer, 404);
    net.numbers.get_mut("100").unwrap().voice = None;
    net.handle(Input::NumberChanged { number: "100".into() });
    net.send(&peer, peer.invite("100", "n2", 1, "", ""));
    net.take_code(&peer, 404);
    net.send(
        &peer,
        peer.invite("100", "n3", 1, "", "").replace("INVITE sip:100@ringfork.local", "INVITE sip:100@example.com"),
    );
    net.take_code(&peer, 404);
    net.assert_clean();
}

/// Issue 3, `--abuse-limit 20`: wrong credentials and unreadable messages of one source, beyond which its requests
/// outside dialogs and registered flows are dropped for 10 s.
#[test]
fn abuse() {
    let mut net = Net::new();
    let (mallory, bob) = (Phone::new("bob", "203.0.113.66:5060"), Phone::new("bob", "203.0.113.66:5062"));
    net.register(&bob);
    for index in 0..21 {
        net.send(&mallory, format!("INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{index}\r\n\r\n"));
        net.take_code(&mallory, 400);
    }
    net.send(&mallory, mallory.invite("100", "m1", 1, "", ""));
    assert!(net.sent.is_empty());
    assert_eq!(net.counts[&("dropped_requests_total", "abuse")], 1);
    net.send(&bob, bob.invite("100", "m2", 1, "", ""));
    net.take_code(&bob, 407);
    net.advance(Duration::from_secs(10));
    net.send(&mallory, mallory.invite("100", "m3", 1, "", ""));
    net.take_code(&mallory, 407);
}

/// Issue 3, `--abuse-limit`: right credentials with a nonce that is too old, or whose count was used, are not wrong ones.
#[test]
fn a_stale_nonce_is_no_offence() {
    let mut net = Net::new();
    let alice = alice();
    let body = sdp(&alice, "sendrecv");
    net.send(&alice, alice.invite("100", "s0", 1, "", &body));
    let challenge = net.take_code(&alice, 407);
    let uri = "sip:100@ringfork.local";
    let header = alice.credentials(&challenge, HeaderName::ProxyAuthenticate, "Proxy-Authorization", "INVITE", uri);
    net.send(&alice, alice.invite("100", "s0", 2, &header, &body));
    net.take_code(&alice, 480);
    for index in 1..=30 {
        if index == 15 {
            // From here on the nonce is too old as well.
            net.advance(Duration::from_secs(301));
        }
        net.sent.clear();
        net.send(&alice, alice.invite("100", &format!("s{index}"), 1, &header, &body));
        let stale = net.take_code(&alice, 407);
        assert!(stale.text(HeaderName::ProxyAuthenticate).unwrap().contains("stale=true"));
    }
    assert!(!net.counts.contains_key(&("offences_total", "credentials")), "{:?}", net.counts);
    net.assert_clean();
}

/// Issue 3, `--abuse-limit`: what a blocked source sends within its dialogs passes.
#[test]
fn a_blocked_source_ends_its_call() {
    let (mut net, caller, phones) = super::calls::setup(&["bob"]);
    let invites = super::calls::ring(&mut net, &caller, &phones);
    let ok = super::calls::answer(&mut net, &caller, &phones[0], &invites[0]);
    for index in 0..21 {
        net.send(&caller, format!("INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{index}\r\n\r\n"));
        net.take_code(&caller, 400);
    }
    net.send(&caller, caller.invite("100", "b1", 1, "", ""));
    assert_eq!(net.counts[&("dropped_requests_total", "abuse")], 1);
    net.send(&caller, caller.request("BYE", 2, &ok, "", ""));
    net.take_code(&caller, 200);
    net.take_method(&phones[0], Method::Bye);
    net.assert_clean();
}

/// RCML.md part 2: 503 with Retry-After when draining or without lease; calls that are up stay up.
#[test]
fn draining() {
    for input in [Input::Drain, Input::Lease { held: false }] {
        let (mut net, caller, phones) = super::calls::setup(&["bob"]);
        let invites = super::calls::ring(&mut net, &caller, &phones);
        net.handle(input);
        let other = Phone::new("+1", "198.51.100.8:5060");
        net.send(&other, other.invite("100", "d1", 1, "", ""));
        assert!(net.take_code(&other, 503).has(HeaderName::RetryAfter));
        let ok = super::calls::answer(&mut net, &caller, &phones[0], &invites[0]);
        net.send(&caller, caller.request("BYE", 2, &ok, "", ""));
        net.assert_clean();
    }
}

/// RCML.md part 2: full of calls or ports is 503 with Retry-After.
#[test]
fn full() {
    let mut net = Net::new();
    let peer = peer();
    net.dial_clients(&["bob"]);
    let bob = Phone::new("bob", "203.0.113.1:5062");
    net.register(&bob);
    // A hundred pairs: each call takes two.
    for index in 0..50 {
        net.send(&peer, peer.invite("100", &format!("z{index}"), 1, "", ""));
    }
    assert_eq!(net.pool.lent(), 100);
    net.sent.clear();
    net.send(&peer, peer.invite("100", "last", 1, "", ""));
    assert!(net.take_code(&peer, 503).has(HeaderName::RetryAfter));
    net.advance(Duration::from_secs(60));
    net.assert_clean();
}

/// RCML.md part 2: 487 when its own Expires passes unanswered.
#[test]
fn the_invites_own_expires() {
    let (mut net, caller, phones) = super::calls::setup(&["bob"]);
    net.send(&caller, caller.invite("100", "e1", 1, "Expires: 5\r\n", ""));
    let invite = net.take_method(&phones[0], Method::Invite);
    net.send(&phones[0], phones[0].respond(&invite, 180, "p", ""));
    net.take_code(&caller, 180);
    net.advance(Duration::from_secs(5));
    net.take_code(&caller, 487);
    net.take_method(&phones[0], Method::Cancel);
    net.assert_clean();
}

/// A CANCEL while the directory is being asked.
#[test]
fn cancelled_while_waiting() {
    let mut net = Net::new();
    let peer = peer();
    net.agent.handle(net.now, Input::Packet { flow: peer.flow(), payload: peer.invite("100", "w1", 1, "", "").into() });
    let mut token = None;
    while let Some(action) = net.agent.poll_action() {
        if let crate::action::Action::LookupNumber { token: asked, .. } = action {
            token = Some(asked);
        }
    }
    net.send(&peer, peer.cancel("100", "w1", 1));
    net.take_code(&peer, 200);
    net.take_code(&peer, 487);
    net.handle(Input::Number { token: token.unwrap(), result: Ok(None) });
    assert!(net.sent.is_empty());
    net.assert_clean();
}

/// RCML.md 3.1 "Inbound call" and "Privacy": what a peer's headers say.
#[test]
fn what_a_peer_says() {
    let (mut net, caller, phones) = super::calls::setup(&["bob"]);
    let extra = "P-Asserted-Identity: \"Boss\" <sip:+15558@example.com>\r\nPrivacy: id\r\nX-Color: red\r\n\
                 Diversion: <sip:+1777@example.com>;reason=no-answer\r\n";
    net.send(&caller, caller.invite("100", "p1", 1, extra, ""));
    let invite: Message = net.take_method(&phones[0], Method::Invite);
    assert_eq!(invite.from().unwrap().uri_text, "sip:anonymous@anonymous.invalid");
    let Some(crate::control::Write::PutParent { call, .. }) = net.writes.first() else { panic!("{:?}", net.writes) };
    assert_eq!(call.from, "anonymous");
    assert_eq!(call.forwarded_from.as_deref(), Some("+1777"));
    assert_eq!(call.caller_name, None);
}
