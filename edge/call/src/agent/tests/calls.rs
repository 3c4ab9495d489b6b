//! The thin call and its endings.

use std::time::Duration;

use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use super::net::{Net, Phone, config, sdp};
use crate::action::{Input, MediaAction};
use crate::control::EventKind;

/// A peer that calls, and phones that are registered.
pub fn setup(names: &[&str]) -> (Net, Phone, Vec<Phone>) {
    let mut net = Net::new();
    let phones: Vec<Phone> = names
        .iter()
        .enumerate()
        .map(|(index, name)| Phone::new(name, &format!("203.0.113.{}:5062", index + 1)))
        .collect();
    for phone in &phones {
        net.register(phone);
    }
    net.dial_clients(names);
    (net, Phone::new("+15557", "198.51.100.7:5060"), phones)
}

/// The peer calls 100; returns the INVITE that each phone got.
pub fn ring(net: &mut Net, caller: &Phone, phones: &[Phone]) -> Vec<Message> {
    let invite = caller.invite("100", "c1", 1, "", &sdp(caller, "sendrecv"));
    net.send(caller, invite);
    assert_eq!(net.take(caller).status(), Some(100));
    phones.iter().map(|phone| net.take_method(phone, Method::Invite)).collect()
}

/// Answers as `phone` and takes the ACK; returns the caller's 200, ACKed.
pub fn answer(net: &mut Net, caller: &Phone, phone: &Phone, invite: &Message) -> Message {
    let ok = phone.respond(invite, 200, "p1", &sdp(phone, "sendrecv"));
    net.send(phone, ok);
    net.take_method(phone, Method::Ack);
    let ok = net.take_code(caller, 200);
    let ack = caller.request("ACK", 1, &ok, "", "");
    net.send(caller, ack);
    ok
}

/// Issue 3, "First a thin call".
#[test]
fn a_thin_call() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    let invites = ring(&mut net, &caller, &phones);
    let invite = &invites[0];
    assert_eq!(invite.request_uri(), Some("sip:bob@203.0.113.1:5062"));
    assert_eq!(invite.max_forwards(), Some(69));
    assert_eq!(invite.expires(), Some(35));
    assert_eq!(invite.from().unwrap().uri_text, "sip:+15557@ringfork.local");
    assert_eq!(invite.fields_named("X-Tenant").next().unwrap().text(), "9");
    net.send(bob, bob.respond(invite, 180, "p1", ""));
    let ringing = net.take_code(&caller, 180);
    assert!(ringing.to_tag().is_some() && ringing.body().is_empty());
    let ok = answer(&mut net, &caller, bob, invite);
    assert!(String::from_utf8_lossy(ok.body()).contains("m=audio 2000"));
    assert!(net.media.iter().any(|action| matches!(action, MediaAction::Bridge { .. })));
    assert_eq!(net.agent.gauges().leased_ports, 2);
    let bye = caller.request("BYE", 2, &ok, "", "");
    net.send(&caller, bye);
    net.take_code(&caller, 200);
    let bye = net.take_method(bob, Method::Bye);
    net.send(bob, bob.respond(&bye, 200, "p1", ""));
    let kinds: Vec<_> = net.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Initiated, EventKind::Ringing, EventKind::Answered, EventKind::Completed]);
    net.assert_clean();
}

/// RCML.md 1.2: the first accepted wins, the others get CANCEL with the Reason.
#[test]
fn a_fork_of_three() {
    let (mut net, caller, phones) = setup(&["bob", "carol", "dave"]);
    let invites = ring(&mut net, &caller, &phones);
    for (phone, invite) in phones.iter().zip(&invites) {
        net.send(phone, phone.respond(invite, 180, "p1", ""));
    }
    let ok = answer(&mut net, &caller, &phones[1], &invites[1]);
    for index in [0, 2] {
        let phone = &phones[index];
        let cancel = net.take_method(phone, Method::Cancel);
        let reason = cancel.text(HeaderName::Reason).unwrap().into_owned();
        assert_eq!(reason, "SIP;cause=200;text=\"Call completed elsewhere\"");
        net.send(phone, phone.respond(&cancel, 200, "p1", ""));
        net.send(phone, phone.respond(&invites[index], 487, "p1", ""));
        net.take_method(phone, Method::Ack);
    }
    assert_eq!(net.agent.gauges().leased_ports, 2);
    let bye = phones[1].request_back("BYE", 1, &invites[1], "p1", "", "");
    net.send(&phones[1], bye);
    net.take_code(&phones[1], 200);
    let bye = net.take_method(&caller, Method::Bye);
    assert_eq!(bye.to_tag(), ok.from_tag());
    net.send(&caller, caller.respond(&bye, 200, "x", ""));
    assert_eq!(net.events.iter().filter(|event| event.kind == EventKind::Completed).count(), 3);
    net.assert_clean();
}

/// RCML.md 1.2: a 200 that crosses the CANCEL is ACKed and ended with BYE, once; its repetition is ACKed again.
#[test]
fn a_late_answer() {
    let (mut net, caller, phones) = setup(&["bob", "carol"]);
    let invites = ring(&mut net, &caller, &phones);
    for (phone, invite) in phones.iter().zip(&invites) {
        net.send(phone, phone.respond(invite, 180, "p1", ""));
    }
    let ok = answer(&mut net, &caller, &phones[0], &invites[0]);
    let carol = &phones[1];
    net.take_method(carol, Method::Cancel);
    let late = carol.respond(&invites[1], 200, "p1", &sdp(carol, "sendrecv"));
    net.send(carol, late.clone());
    net.take_method(carol, Method::Ack);
    let bye = net.take_method(carol, Method::Bye);
    net.send(carol, late);
    net.take_method(carol, Method::Ack);
    assert!(!net.has(carol, &Method::Bye));
    net.send(carol, carol.respond(&bye, 200, "p1", ""));
    net.send(&caller, caller.request("BYE", 2, &ok, "", ""));
    net.assert_clean();
}

/// RCML.md part 2: 487 after its CANCEL; the legs' CANCEL has no Reason then, and waits for a provisional response
/// (RFC 3261 §9.1).
#[test]
fn the_caller_gives_up() {
    let (mut net, caller, phones) = setup(&["bob", "carol"]);
    let invites = ring(&mut net, &caller, &phones);
    net.send(&phones[0], phones[0].respond(&invites[0], 180, "p1", ""));
    net.send(&caller, caller.cancel("100", "c1", 1));
    net.take_code(&caller, 200);
    net.take_code(&caller, 487);
    let cancel = net.take_method(&phones[0], Method::Cancel);
    assert!(!cancel.has(HeaderName::Reason));
    assert!(!net.has(&phones[1], &Method::Cancel));
    net.send(&phones[1], phones[1].respond(&invites[1], 100, "p1", ""));
    net.take_method(&phones[1], Method::Cancel);
    assert_eq!(net.pool.lent(), 0);
    net.assert_clean();
}

/// RFC 3261 §13.3.1.4: our 200 is repeated until its ACK; none in 32 s ends the call.
#[test]
fn no_ack() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let invites = ring(&mut net, &caller, &phones);
    net.send(&phones[0], phones[0].respond(&invites[0], 200, "p1", &sdp(&phones[0], "sendrecv")));
    net.take_code(&caller, 200);
    net.advance(Duration::from_secs(10));
    net.take_code(&caller, 200);
    net.advance(Duration::from_secs(23));
    net.take_method(&caller, Method::Bye);
    net.take_method(&phones[0], Method::Bye);
    net.assert_clean();
}

/// RFC 3261 §13.2.2.4: a 2xx of another fork (other To tag) is ACKed and ended.
#[test]
fn a_second_answer_of_one_invite() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let invites = ring(&mut net, &caller, &phones);
    let ok = answer(&mut net, &caller, &phones[0], &invites[0]);
    net.send(&phones[0], phones[0].respond(&invites[0], 200, "p2", &sdp(&phones[0], "sendrecv")));
    let ack = net.take_method(&phones[0], Method::Ack);
    assert_eq!(ack.to_tag(), Some("p2"));
    assert_eq!(net.take_method(&phones[0], Method::Bye).to_tag(), Some("p2"));
    net.send(&phones[0], phones[0].respond(&invites[0], 200, "p1", &sdp(&phones[0], "sendrecv")));
    assert_eq!(net.take_method(&phones[0], Method::Ack).to_tag(), Some("p1"));
    net.send(&caller, caller.request("BYE", 2, &ok, "", ""));
    net.assert_clean();
}

/// RFC 3261 §8.2.6.2 has From as it was. A callee that leaves our tag out or changes it is answered under ours all the
/// same: nothing of the leg is left behind, and its own BYE finds the dialog.
#[test]
fn an_answer_under_another_from_tag() {
    for other in ["", ";tag=other"] {
        let (mut net, caller, phones) = setup(&["bob", "carol"]);
        let (bob, carol) = (&phones[0], &phones[1]);
        let invites = ring(&mut net, &caller, &phones);
        let changed = |phone: &Phone, invite: &Message, code: u16, body: &str| {
            let tag = format!(";tag={}", invite.from_tag().unwrap());
            String::from_utf8(phone.respond(invite, code, "p1", body).to_vec()).unwrap().replacen(&tag, other, 1)
        };
        net.send(bob, changed(bob, &invites[0], 180, ""));
        net.take_code(&caller, 180);
        net.send(carol, changed(carol, &invites[1], 180, ""));
        net.send(bob, changed(bob, &invites[0], 200, &sdp(bob, "sendrecv")));
        let ack = net.take_method(bob, Method::Ack);
        assert_eq!((ack.from_tag(), ack.to_tag()), (invites[0].from_tag(), Some("p1")));
        let ok = net.take_code(&caller, 200);
        net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
        // The same of one that crosses its CANCEL.
        net.take_method(carol, Method::Cancel);
        net.send(carol, changed(carol, &invites[1], 200, &sdp(carol, "sendrecv")));
        assert_eq!(net.take_method(carol, Method::Ack).from_tag(), invites[1].from_tag());
        assert_eq!(net.take_method(carol, Method::Bye).from_tag(), invites[1].from_tag());
        net.send(bob, bob.request_back("BYE", 1, &invites[0], "p1", "", ""));
        net.take_code(bob, 200);
        net.take_method(&caller, Method::Bye);
        net.assert_clean();
    }
}

/// RCML.md 1.4: a 200 without usable audio is ACKed and ended: failed.
#[test]
fn an_unusable_answer() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let invites = ring(&mut net, &caller, &phones);
    net.send(&phones[0], phones[0].respond(&invites[0], 200, "p1", ""));
    net.take_method(&phones[0], Method::Ack);
    let bye = net.take_method(&phones[0], Method::Bye);
    net.send(&phones[0], phones[0].respond(&bye, 200, "p1", ""));
    net.take_code(&caller, 480);
    net.assert_clean();
}

/// A leg whose INVITE finds the table of transactions full is undeliverable (docs/operations.md "Limits"); the log names it.
#[test]
fn an_invite_that_cannot_be_sent() {
    let mut settings = config();
    // One for us and one for them.
    settings.caps.transactions = 2;
    let mut net = Net::with(settings, Vec::new());
    let (bob, carol) = (Phone::new("bob", "203.0.113.1:5062"), Phone::new("carol", "203.0.113.2:5062"));
    net.register(&bob);
    net.advance(Duration::from_secs(33));
    net.register(&carol);
    net.advance(Duration::from_secs(33));
    net.sent.clear();
    net.dial_clients(&["bob", "carol"]);
    let caller = Phone::new("+15557", "198.51.100.7:5060");
    net.send(&caller, caller.invite("100", "c1", 1, "", &sdp(&caller, "sendrecv")));
    let completed = net.events.iter().find(|event| event.kind == EventKind::Completed).unwrap();
    let sid = completed.parameters.iter().find_map(|(name, value)| (*name == "CallSid").then_some(value)).unwrap();
    let line = format!("{sid}: A request could not be sent");
    assert!(net.logs.iter().any(|logged| logged.starts_with(&line)), "{:?}", net.logs);
}

/// RCML.md 1.4 "Delivery" takes up to twenty minutes: a call that is over and owes callbacks keeps neither dialog nor
/// port, takes no place from a new call (docs/operations.md "Limits"), and is counted apart.
#[test]
fn a_call_that_owes_callbacks() {
    let mut settings = config();
    settings.caps.calls = 1;
    settings.caps.finishing = 2;
    let mut net = Net::with(settings, Vec::new());
    let bob = Phone::new("bob", "203.0.113.1:5062");
    let caller = Phone::new("+15557", "198.51.100.7:5060");
    net.register(&bob);
    net.dial_clients(&["bob"]);
    net.held_events = Some(Vec::new());
    for round in 0..2 {
        net.send(&caller, caller.invite("100", &format!("c{round}"), 1, "", &sdp(&caller, "sendrecv")));
        let invite = net.take_method(&bob, Method::Invite);
        let ok = answer(&mut net, &caller, &bob, &invite);
        // While it is up there is no place for another.
        net.send(&caller, caller.invite("100", &format!("x{round}"), 1, "", &sdp(&caller, "sendrecv")));
        net.take_code(&caller, 503);
        net.send(&caller, caller.request("BYE", 2, &ok, "", ""));
        let bye = net.take_method(&bob, Method::Bye);
        net.send(&bob, bob.respond(&bye, 200, "p1", ""));
        net.sent.clear();
        let gauges = net.agent.gauges();
        assert_eq!((gauges.calls, gauges.finishing, net.agent.calls.up()), (0, round + 1, 0));
        assert_eq!((gauges.legs, gauges.dialogs, gauges.leased_ports), (0, 0, 0));
    }
    // That has a bound as well.
    net.send(&caller, caller.invite("100", "c9", 1, "", &sdp(&caller, "sendrecv")));
    net.take_code(&caller, 503);
    net.advance(Duration::from_secs(1200));
    assert_eq!(net.agent.gauges().finishing, 2);
    for token in net.held_events.take().unwrap() {
        net.handle(Input::HandedOver { token, accepted: true });
    }
    assert_eq!(net.agent.gauges().finishing, 0);
    net.assert_clean();
}
