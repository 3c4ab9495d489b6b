//! What happens within dialogs: hold, codecs, glare, refreshes, reliable responses (issue 3, `edge/call`).

use std::time::Duration;

use ringfork_rcml::program::Step;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use super::calls::{answer, ring, setup};
use super::net::{Net, Phone, sdp, sdp_of};
use crate::action::{Input, MediaAction, ResolvedTarget};
use crate::control::{CallStatus, Write};

/// A bridged call: the caller's 200 and the INVITE that the phone answered under `p1`.
pub fn bridged() -> (Net, Phone, Phone, Message, Message) {
    let (mut net, caller, mut phones) = setup(&["bob"]);
    let invites = ring(&mut net, &caller, &phones);
    let bob = phones.remove(0);
    let ok = answer(&mut net, &caller, &bob, &invites[0]);
    let invite = invites.into_iter().next().unwrap();
    net.sent.clear();
    (net, caller, bob, ok, invite)
}

pub fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

pub fn finish(mut net: Net, caller: &Phone, ok: &Message) {
    net.send(caller, caller.request("BYE", 90, ok, "", ""));
    net.assert_clean();
}

/// Issue 3: an offer in a bridged call is carried to the other party and its answer back.
#[test]
fn hold_by_the_caller() {
    let (mut net, caller, bob, ok, _) = bridged();
    net.send(&caller, caller.request("INVITE", 2, &ok, "", &sdp(&caller, "sendonly")));
    let offer = net.take_method(&bob, Method::Invite);
    assert!(body(&offer).contains("a=sendonly"), "{}", body(&offer));
    net.send(&bob, bob.respond(&offer, 200, "p1", &sdp(&bob, "recvonly")));
    net.take_method(&bob, Method::Ack);
    let held = net.take_code(&caller, 200);
    assert!(body(&held).contains("a=recvonly"), "{}", body(&held));
    net.send(&caller, caller.request("ACK", 2, &ok, "", ""));
    let last = net.media.iter().rev().find_map(|action| match action {
        MediaAction::Peer { send, receive, .. } => Some((*send, *receive)),
        _ => None,
    });
    assert_eq!(last, Some((false, true)));
    net.send(&caller, caller.request("INVITE", 3, &ok, "", &sdp(&caller, "sendrecv")));
    let offer = net.take_method(&bob, Method::Invite);
    assert!(body(&offer).contains("a=sendrecv"));
    net.send(&bob, bob.respond(&offer, 200, "p1", &sdp(&bob, "sendrecv")));
    assert!(body(&net.take_code(&caller, 200)).contains("a=sendrecv"));
    net.send(&caller, caller.request("ACK", 3, &ok, "", ""));
    finish(net, &caller, &ok);
}

/// By the callee, with UPDATE where the other party takes it (its Allow says so).
#[test]
fn hold_by_the_callee() {
    let (mut net, caller, bob, ok, invite) = bridged();
    net.send(&bob, bob.request_back("UPDATE", 1, &invite, "p1", "", &sdp(&bob, "sendonly")));
    let offer = net.take_method(&caller, Method::Update);
    net.send(&caller, caller.respond(&offer, 200, "x", &sdp(&caller, "recvonly")));
    assert!(body(&net.take_code(&bob, 200)).contains("a=recvonly"));
    finish(net, &caller, &ok);
}

/// Issue 3: a failure there is passed back and changes nothing.
#[test]
fn a_refused_offer_changes_nothing() {
    let (mut net, caller, bob, ok, _) = bridged();
    let media = net.media.len();
    net.send(&caller, caller.request("INVITE", 2, &ok, "", &sdp(&caller, "sendonly")));
    let offer = net.take_method(&bob, Method::Invite);
    net.send(&bob, bob.respond(&offer, 488, "p1", ""));
    net.take_code(&caller, 488);
    assert_eq!(net.media.len(), media, "{:?}", net.media);
    assert_eq!(net.agent.gauges().calls, 1);
    finish(net, &caller, &ok);
}

/// RFC 3261 §12.2.1.2: 481 to a passed offer ends the call.
#[test]
fn a_dead_dialog_ends_the_call() {
    let (mut net, caller, bob, ok, _) = bridged();
    net.send(&caller, caller.request("INVITE", 2, &ok, "", &sdp(&caller, "sendonly")));
    let offer = net.take_method(&bob, Method::Invite);
    net.send(&bob, bob.respond(&offer, 481, "p1", ""));
    net.take_code(&caller, 481);
    net.take_method(&caller, Method::Bye);
    net.assert_clean();
}

/// RFC 3261 §14.2: both offer at the same time: 491; a second INVITE while the first waits: 500 with Retry-After.
#[test]
fn glare() {
    let (mut net, caller, bob, ok, invite) = bridged();
    net.send(&caller, caller.request("INVITE", 2, &ok, "", &sdp(&caller, "sendonly")));
    let offer = net.take_method(&bob, Method::Invite);
    net.send(&bob, bob.request_back("INVITE", 1, &invite, "p1", "", &sdp(&bob, "sendonly")));
    net.take_code(&bob, 491);
    net.send(&caller, caller.request("INVITE", 3, &ok, "", &sdp(&caller, "inactive")));
    assert!(waits_at_most_ten(&net.take_code(&caller, 500)));
    net.send(&bob, bob.respond(&offer, 491, "p1", ""));
    net.take_code(&caller, 491);
    finish(net, &caller, &ok);
}

/// Issue 3: a refresh that changes nothing we answer ourselves.
#[test]
fn a_refresh_is_answered_by_us() {
    let (mut net, caller, bob, ok, _) = bridged();
    net.send(&caller, caller.request("INVITE", 2, &ok, "", &sdp(&caller, "sendrecv")));
    assert!(body(&net.take_code(&caller, 200)).contains("a=sendrecv"));
    net.send(&caller, caller.request("ACK", 2, &ok, "", ""));
    net.send(&caller, caller.request("UPDATE", 3, &ok, "", ""));
    net.take_code(&caller, 200);
    assert!(!net.has(&bob, &Method::Invite));
    finish(net, &caller, &ok);
}

/// Issue 3: a re-INVITE without offer is passed on as one; the answer in the ACK goes back in our ACK.
#[test]
fn an_offerless_reinvite_is_passed_on() {
    let (mut net, caller, bob, ok, _) = bridged();
    net.send(&caller, caller.request("INVITE", 2, &ok, "", ""));
    let passed = net.take_method(&bob, Method::Invite);
    assert!(passed.body().is_empty());
    net.send(&bob, bob.respond(&passed, 200, "p1", &sdp(&bob, "sendrecv")));
    assert!(!net.has(&bob, &Method::Ack));
    let offer = net.take_code(&caller, 200);
    assert!(body(&offer).contains("m=audio 2000"));
    net.send(&caller, caller.request("ACK", 2, &ok, "", &sdp_of(&caller, "8 101", "sendrecv")));
    let ack = net.take_method(&bob, Method::Ack);
    assert!(body(&ack).contains(" 8 101"), "{}", body(&ack));
    finish(net, &caller, &ok);
}

/// CANCEL of a re-INVITE that was passed on: 487, and the other one is cancelled too.
#[test]
fn a_cancelled_reinvite() {
    let (mut net, caller, bob, ok, _) = bridged();
    let invite = caller.request("INVITE", 2, &ok, "", &sdp(&caller, "sendonly"));
    net.send(&caller, invite.clone());
    let passed = net.take_method(&bob, Method::Invite);
    net.send(&bob, bob.respond(&passed, 100, "", ""));
    let cancel = invite.replacen("INVITE", "CANCEL", 1).replace("2 INVITE", "2 CANCEL");
    net.send(&caller, cancel.split("Content-Type").next().unwrap().to_owned() + "Content-Length: 0\r\n\r\n");
    net.take_code(&caller, 200);
    net.take_code(&caller, 487);
    net.take_method(&bob, Method::Cancel);
    // It was too late: bob took the hold. It is brought back.
    net.send(&bob, bob.respond(&passed, 200, "p1", &sdp(&bob, "recvonly")));
    net.take_method(&bob, Method::Ack);
    let back = net.take_method(&bob, Method::Invite);
    assert!(body(&back).contains("a=sendrecv"));
    net.send(&bob, bob.respond(&back, 200, "p1", &sdp(&bob, "sendrecv")));
    finish(net, &caller, &ok);
}

/// Issue 3: until the caller's ACK of our 200 a leg's re-INVITE gets 491.
#[test]
fn a_leg_waits_for_the_callers_ack() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let invites = ring(&mut net, &caller, &phones);
    let bob = &phones[0];
    net.send(bob, bob.respond(&invites[0], 200, "p1", &sdp(bob, "sendrecv")));
    net.take_method(bob, Method::Ack);
    let ok = net.take_code(&caller, 200);
    net.send(bob, bob.request_back("INVITE", 1, &invites[0], "p1", "", &sdp(bob, "sendonly")));
    net.take_code(bob, 491);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    net.send(bob, bob.request_back("INVITE", 2, &invites[0], "p1", "", &sdp(bob, "sendonly")));
    net.take_method(&caller, Method::Invite);
    finish(net, &caller, &ok);
}

/// Issue 3: an INVITE without SDP: the leg is offered three codecs, our 200 offers what it answered, the ACK answers.
/// Where that differs from the leg's answer, the leg gets a re-INVITE.
#[test]
fn an_offerless_call() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    net.send(&caller, caller.invite("100", "c1", 1, "", ""));
    let invite = net.take_method(bob, Method::Invite);
    assert!(body(&invite).contains("RTP/AVP 0 8 101"));
    net.send(bob, bob.respond(&invite, 200, "p1", &sdp(bob, "sendrecv")));
    let ok = net.take_code(&caller, 200);
    assert!(body(&ok).contains("RTP/AVP 0 8 101"));
    net.send(&caller, caller.request("ACK", 1, &ok, "", &sdp_of(&caller, "8 101", "sendrecv")));
    net.take_method(bob, Method::Ack);
    let again = net.take_method(bob, Method::Invite);
    assert!(body(&again).contains("RTP/AVP 8 101"), "{}", body(&again));
    net.send(bob, bob.respond(&again, 200, "p1", &sdp_of(bob, "8 101", "sendrecv")));
    net.take_method(bob, Method::Ack);
    assert!(!net.has(bob, &Method::Invite));
    finish(net, &caller, &ok);
}

/// Issue 3: an ACK without a usable answer ends the call with BYE.
#[test]
fn an_offerless_call_without_answer() {
    let (mut net, caller, phones) = setup(&["bob"]);
    net.send(&caller, caller.invite("100", "c1", 1, "", ""));
    let invite = net.take_method(&phones[0], Method::Invite);
    net.send(&phones[0], phones[0].respond(&invite, 200, "p1", &sdp(&phones[0], "sendrecv")));
    let ok = net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    net.take_method(&caller, Method::Bye);
    net.take_method(&phones[0], Method::Bye);
    net.assert_clean();
}

/// RFC 8866 §5.7: a host name in `c=` is resolved, once in a dialog; of its addresses that of the signalling's family
/// counts. Without one the media shell is told none.
#[test]
fn a_host_name_in_a_session_description() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    let named = |direction: &str| {
        let text = sdp(&caller, direction);
        text.replace("c=IN IP4 198.51.100.7", "c=IN IP4 media.example.org")
    };
    let target = |address: &str| ResolvedTarget { address: address.parse().unwrap(), tcp: false };
    net.hosts.insert("media.example.org".into(), vec![target("[2001:db8::9]:6060"), target("198.51.100.77:6060")]);
    net.send(&caller, caller.invite("100", "c1", 1, "", &named("sendrecv")));
    let invite = net.take_method(bob, Method::Invite);
    let ok = answer(&mut net, &caller, bob, &invite);
    let shown = |net: &Net| {
        net.media.iter().rev().find_map(|action| match action {
            MediaAction::Peer { rtp, signalling, .. } if *signalling == caller.address.ip() => Some(*rtp),
            _ => None,
        })
    };
    assert_eq!(shown(&net), Some(Some("198.51.100.77:6060".parse().unwrap())));
    net.hosts.clear();
    net.send(&caller, caller.request("INVITE", 2, &ok, "", &named("sendonly")));
    let offer = net.take_method(bob, Method::Invite);
    net.send(bob, bob.respond(&offer, 200, "p1", &sdp(bob, "recvonly")));
    net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 2, &ok, "", ""));
    assert_eq!(shown(&net), Some(Some("198.51.100.77:6060".parse().unwrap())));
    let other = named("sendrecv").replace("media.example", "nowhere.example");
    net.send(&caller, caller.request("INVITE", 3, &ok, "", &other));
    let offer = net.take_method(bob, Method::Invite);
    net.send(bob, bob.respond(&offer, 200, "p1", &sdp(bob, "sendrecv")));
    net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 3, &ok, "", ""));
    assert_eq!(shown(&net), Some(None));
    assert!(net.logs.iter().any(|line| line.contains("nowhere.example.org")));
    finish(net, &caller, &ok);
}

/// RFC 3262, where the caller requires it: a reliable 180 is repeated until its PRACK.
#[test]
fn reliable_ringing() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    net.send(&caller, caller.invite("100", "c1", 1, "Require: 100rel\r\n", &sdp(&caller, "sendrecv")));
    let invite = net.take_method(bob, Method::Invite);
    net.send(bob, bob.respond(&invite, 180, "p1", ""));
    let ringing = net.take_code(&caller, 180);
    assert!(ringing.has_token(HeaderName::Require, "100rel"));
    net.advance(Duration::from_millis(600));
    assert_eq!(net.take_code(&caller, 180).rseq(), ringing.rseq());
    let rack = format!("RAck: {} 1 INVITE\r\n", ringing.rseq().unwrap());
    net.send(&caller, caller.request("PRACK", 2, &ringing, "RAck: 77 1 INVITE\r\n", ""));
    net.take_code(&caller, 481);
    net.send(&caller, caller.request("PRACK", 3, &ringing, &rack, ""));
    net.take_code(&caller, 200);
    net.advance(Duration::from_secs(5));
    assert!(!net.sent.iter().any(|(to, _)| *to == caller.address));
    let ok = answer(&mut net, &caller, bob, &invite);
    finish(net, &caller, &ok);
}

/// The number's document rings bob with music, after `before`; the caller requires 100rel.
fn reliable_music(before: &[Step]) -> (Net, Phone, Phone, Message) {
    let (mut net, caller, mut phones) = setup(&["bob"]);
    if let Some(Step::Dial(dial)) = net.program.steps.first_mut() {
        dial.dial_music = Some("http://app.example/music.mp3".into());
        dial.timeout = 300;
    }
    net.program.steps.splice(0..0, before.iter().cloned());
    net.send(&caller, caller.invite("100", "c1", 1, "Require: 100rel\r\n", &sdp(&caller, "sendrecv")));
    net.advance(Duration::from_secs(if before.is_empty() { 0 } else { 1 }));
    let bob = phones.remove(0);
    let invite = net.take_method(&bob, Method::Invite);
    net.send(&bob, bob.respond(&invite, 180, "p1", ""));
    (net, caller, bob, invite)
}

fn rack(response: &Message) -> String {
    format!("RAck: {} 1 INVITE\r\n", response.rseq().unwrap())
}

fn plays(net: &Net) -> usize {
    net.media.iter().filter(|action| matches!(action, MediaAction::Play { .. })).count()
}

/// RCML.md 1.5, `dialMusic`, and RFC 3262: the 183 with our answer is sent reliably where the caller requires it; the 200
/// to the INVITE waits for its PRACK (§5) and does not say the answer again (RFC 6337 §2.2).
#[test]
fn reliable_music_in_place_of_ringing() {
    let (mut net, caller, bob, invite) = reliable_music(&[]);
    let early = net.take_code(&caller, 183);
    assert!(early.has_token(HeaderName::Require, "100rel"));
    assert!(body(&early).contains("RTP/AVP 0 8 101") && body(&early).contains("a=sendrecv"), "{}", body(&early));
    assert_eq!(plays(&net), 1, "it is heard before the PRACK");
    net.advance(Duration::from_millis(600));
    let again = net.take_code(&caller, 183);
    assert_eq!((again.rseq(), body(&again)), (early.rseq(), body(&early)));
    // The leg answers before the PRACK.
    net.send(&bob, bob.respond(&invite, 200, "p1", &sdp(&bob, "sendrecv")));
    net.take_method(&bob, Method::Ack);
    assert!(!net.sent.iter().any(|(to, message)| *to == caller.address && message.status() == Some(200)));
    assert!(!net.media.iter().any(|action| matches!(action, MediaAction::Bridge { .. })));
    net.send(&caller, caller.request("PRACK", 2, &early, &rack(&early), ""));
    assert_eq!(net.take_code(&caller, 200).cseq().unwrap().method, Method::Prack);
    let ok = net.take_code(&caller, 200);
    assert!(ok.cseq().unwrap().method == Method::Invite && ok.body().is_empty());
    assert_eq!(ok.to_tag(), early.to_tag());
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    assert!(net.media.iter().any(|action| matches!(action, MediaAction::Bridge { .. })));
    net.advance(Duration::from_secs(5));
    assert!(!net.sent.iter().any(|(to, _)| *to == caller.address), "{:?}", net.sent);
    finish(net, &caller, &ok);
}

/// RFC 3262 §3: the 183 waits for the PRACK of the 180 before it; without one the INVITE is refused.
#[test]
fn music_waits_for_the_prack_of_the_ringing_before() {
    for pracked in [true, false] {
        let (mut net, caller, bob, invite) = reliable_music(&[Step::Pause { seconds: 1 }]);
        let ringing = net.take_code(&caller, 180);
        assert!(!net.sent.iter().any(|(to, message)| *to == caller.address && message.status() == Some(183)));
        if !pracked {
            net.advance(Duration::from_secs(32));
            net.take_code(&caller, 504);
            net.take_method(&bob, Method::Cancel);
            net.assert_clean();
            continue;
        }
        net.send(&caller, caller.request("PRACK", 2, &ringing, &rack(&ringing), ""));
        net.take_code(&caller, 200);
        let early = net.take_code(&caller, 183);
        assert_eq!(early.rseq(), ringing.rseq().map(|rseq| rseq + 1));
        assert!(body(&early).contains("RTP/AVP 0 8 101"));
        net.send(&caller, caller.request("PRACK", 3, &early, &rack(&early), ""));
        net.take_code(&caller, 200);
        let ok = answer(&mut net, &caller, &bob, &invite);
        assert!(ok.body().is_empty());
        finish(net, &caller, &ok);
    }
}

/// RFC 3262 §5: without an offer in the INVITE, the reliable 180 offers; the 200 waits for the answer in PRACK.
#[test]
fn reliable_ringing_with_our_offer() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    net.send(&caller, caller.invite("100", "c1", 1, "Require: 100rel\r\n", ""));
    let invite = net.take_method(bob, Method::Invite);
    net.send(bob, bob.respond(&invite, 180, "p1", ""));
    let ringing = net.take_code(&caller, 180);
    assert!(body(&ringing).contains("RTP/AVP 0 8 101"));
    net.send(bob, bob.respond(&invite, 200, "p1", &sdp(bob, "sendrecv")));
    assert!(!net.sent.iter().any(|(to, message)| *to == caller.address && message.status() == Some(200)));
    let rack = format!("RAck: {} 1 INVITE\r\n", ringing.rseq().unwrap());
    net.send(&caller, caller.request("PRACK", 2, &ringing, &rack, &sdp(&caller, "sendrecv")));
    net.take_code(&caller, 200);
    let ok = net.take_code(&caller, 200);
    assert!(ok.is_response() && ok.cseq().unwrap().method == Method::Invite && ok.body().is_empty());
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    finish(net, &caller, &ok);
}

/// RFC 3262 §5: once offer and answer are exchanged a PRACK may bring a further offer: its answer is in the 200 of the
/// PRACK, ours (issue 3: before the bridge we answer ourselves). One that cannot be used gets 488.
#[test]
fn an_offer_in_a_prack() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    if let Some(Step::Dial(dial)) = net.program.steps.first_mut() {
        dial.timeout = 300;
    }
    net.send(&caller, caller.invite("100", "c1", 1, "Require: 100rel\r\n", ""));
    let invite = net.take_method(bob, Method::Invite);
    net.send(bob, bob.respond(&invite, 180, "p1", ""));
    let mut cseq = 2;
    let mut prack = |net: &mut Net, code: u16, offer: &str| {
        let ringing = net.take_code(&caller, 180);
        let rack = format!("RAck: {} 1 INVITE\r\n", ringing.rseq().unwrap());
        net.send(&caller, caller.request("PRACK", cseq, &ringing, &rack, offer));
        cseq += 1;
        net.take_code(&caller, code)
    };
    prack(&mut net, 200, &sdp(&caller, "sendrecv"));
    // The 180 is repeated each minute, reliably.
    net.advance(Duration::from_secs(60));
    let answer = prack(&mut net, 200, &sdp_of(&caller, "8 101", "sendonly"));
    assert_eq!(answer.cseq().unwrap().method, Method::Prack);
    assert!(body(&answer).contains("RTP/AVP 8 101") && body(&answer).contains("a=recvonly"), "{}", body(&answer));
    let last = net.media.iter().rev().find_map(|action| match action {
        MediaAction::Peer { send, receive, .. } => Some((*send, *receive)),
        _ => None,
    });
    assert_eq!(last, Some((false, true)));
    net.advance(Duration::from_secs(60));
    assert!(prack(&mut net, 488, &sdp_of(&caller, "18", "sendrecv")).has(HeaderName::Warning));
    // What was refused changes nothing; the hold is carried over at the bridge.
    net.send(bob, bob.respond(&invite, 200, "p1", &sdp(bob, "sendrecv")));
    let ok = net.take_code(&caller, 200);
    assert!(ok.body().is_empty());
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    net.take_method(bob, Method::Ack);
    assert!(body(&net.take_method(bob, Method::Invite)).contains("a=sendonly"));
    finish(net, &caller, &ok);
}

/// RFC 3262 §5: the 200 waits for the PRACK alone: an offer in it that cannot be used is refused, and the 200 leaves.
#[test]
fn an_unusable_offer_in_the_prack_that_the_answer_waits_for() {
    let (mut net, caller, bob, invite) = reliable_music(&[]);
    let early = net.take_code(&caller, 183);
    net.send(&bob, bob.respond(&invite, 200, "p1", &sdp(&bob, "sendrecv")));
    net.take_method(&bob, Method::Ack);
    let offer = sdp_of(&caller, "18", "sendrecv");
    net.send(&caller, caller.request("PRACK", 2, &early, &rack(&early), &offer));
    net.take_code(&caller, 488);
    let ok = net.take_code(&caller, 200);
    assert_eq!(ok.cseq().unwrap().method, Method::Invite);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    finish(net, &caller, &ok);
}

/// RFC 3262 §3: so does a 183 that waits for the PRACK of the 180 before it, whose offer comes too early.
#[test]
fn an_early_offer_in_the_prack_that_music_waits_for() {
    let (mut net, caller, bob, invite) = reliable_music(&[Step::Pause { seconds: 1 }]);
    let ringing = net.take_code(&caller, 180);
    net.send(&caller, caller.request("PRACK", 2, &ringing, &rack(&ringing), &sdp(&caller, "sendonly")));
    net.take_code(&caller, 488);
    let early = net.take_code(&caller, 183);
    assert!(body(&early).contains("RTP/AVP 0 8 101"));
    net.send(&caller, caller.request("PRACK", 3, &early, &rack(&early), ""));
    net.take_code(&caller, 200);
    let ok = answer(&mut net, &caller, &bob, &invite);
    finish(net, &caller, &ok);
}

/// RFC 3264 §4: an offer in a PRACK while that of the INVITE has no answer gets 488.
#[test]
fn an_offer_in_a_prack_before_the_first_answer() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    net.send(&caller, caller.invite("100", "c1", 1, "Require: 100rel\r\n", &sdp(&caller, "sendrecv")));
    let invite = net.take_method(bob, Method::Invite);
    net.send(bob, bob.respond(&invite, 180, "p1", ""));
    let ringing = net.take_code(&caller, 180);
    let rack = format!("RAck: {} 1 INVITE\r\n", ringing.rseq().unwrap());
    net.send(&caller, caller.request("PRACK", 2, &ringing, &rack, &sdp(&caller, "sendonly")));
    net.take_code(&caller, 488);
    let ok = answer(&mut net, &caller, bob, &invite);
    finish(net, &caller, &ok);
}

/// RCML.md 1.5: an accepted leg that hangs up while our 200 waits for the PRACK was not bridged: the caller gets no 200.
#[test]
fn a_leg_that_is_gone_before_the_prack() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    net.send(&caller, caller.invite("100", "c1", 1, "Require: 100rel\r\n", ""));
    let invite = net.take_method(bob, Method::Invite);
    net.send(bob, bob.respond(&invite, 180, "p1", ""));
    let ringing = net.take_code(&caller, 180);
    net.send(bob, bob.respond(&invite, 200, "p1", &sdp(bob, "sendrecv")));
    net.send(bob, bob.request_back("BYE", 1, &invite, "p1", "", ""));
    assert!(!net.media.iter().any(|action| matches!(action, MediaAction::Bridge { .. })));
    // The document ends with its Dial: 480.
    net.take_code(&caller, 480);
    let rack = format!("RAck: {} 1 INVITE\r\n", ringing.rseq().unwrap());
    net.send(&caller, caller.request("PRACK", 2, &ringing, &rack, &sdp(&caller, "sendrecv")));
    assert!(!net.sent.iter().any(|(to, message)| *to == caller.address && message.status() == Some(200)));
    net.assert_clean();
}

/// RFC 3262 §3: no PRACK in 64*T1 refuses the INVITE.
#[test]
fn no_prack() {
    let (mut net, caller, phones) = setup(&["bob"]);
    if let Some(Step::Dial(dial)) = net.program.steps.first_mut() {
        dial.timeout = 300;
    }
    net.send(&caller, caller.invite("100", "c1", 1, "Require: 100rel\r\n", ""));
    let invite = net.take_method(&phones[0], Method::Invite);
    net.send(&phones[0], phones[0].respond(&invite, 180, "p1", ""));
    net.advance(Duration::from_secs(31));
    assert!(net.sent.iter().all(|(to, message)| *to != caller.address || message.status() < Some(200)));
    net.advance(Duration::from_secs(2));
    net.take_code(&caller, 504);
    net.take_method(&phones[0], Method::Cancel);
    // RCML.md 3.1: refused by us and not given up: failed.
    let status = net.writes.iter().find_map(|write| match write {
        Write::Parent { status, .. } => Some(*status),
        _ => None,
    });
    assert_eq!(status, Some(CallStatus::Failed));
    net.assert_clean();
}

/// RFC 3262 from a leg: PRACK for each reliable response once; its SDP counts as the answer.
#[test]
fn a_leg_that_rings_reliably() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    let invites = ring(&mut net, &caller, &phones);
    let reliable = [(HeaderName::Require, "100rel"), (HeaderName::RSeq, "5")];
    let early = bob.respond_with(&invites[0], 183, "p1", &reliable, &sdp(bob, "sendrecv"));
    net.send(bob, early.clone());
    let prack = net.take_method(bob, Method::Prack);
    assert_eq!(prack.text(HeaderName::RAck).as_deref(), Some("5 1 INVITE"));
    assert_eq!(prack.cseq().unwrap().number, 2);
    net.send(bob, bob.respond(&prack, 200, "p1", ""));
    net.send(bob, early);
    assert!(!net.has(bob, &Method::Prack));
    net.send(bob, bob.respond(&invites[0], 200, "p1", ""));
    let ack = net.take_method(bob, Method::Ack);
    assert_eq!(ack.cseq().unwrap().number, 1);
    let ok = net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    net.send(&caller, caller.request("BYE", 2, &ok, "", ""));
    assert_eq!(net.take_method(bob, Method::Bye).cseq().unwrap().number, 3);
    net.assert_clean();
}

fn waits_at_most_ten(response: &Message) -> bool {
    response.text(HeaderName::RetryAfter).and_then(|value| value.parse::<u32>().ok()).is_some_and(|wait| wait <= 10)
}

/// RFC 3311 §5.2, RFC 3261 §14.2: a second INVITE or an UPDATE with offer in an unanswered dialog gets 500 with a
/// Retry-After of 0 to 10 seconds.
#[test]
fn offers_in_an_unanswered_dialog() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let invites = ring(&mut net, &caller, &phones);
    net.send(&phones[0], phones[0].respond(&invites[0], 180, "p1", ""));
    let ringing = net.take_code(&caller, 180);
    for (cseq, method) in [(2, "INVITE"), (3, "UPDATE")] {
        net.send(&caller, caller.request(method, cseq, &ringing, "", &sdp(&caller, "sendonly")));
        assert!(waits_at_most_ten(&net.take_code(&caller, 500)));
    }
    // The same of a callee, and after its reliable answer too: the dialog has no owner yet.
    let bob = &phones[0];
    net.send(bob, bob.request_back("UPDATE", 1, &invites[0], "p1", "", &sdp(bob, "sendonly")));
    assert!(waits_at_most_ten(&net.take_code(bob, 500)));
    net.send(bob, bob.request_back("UPDATE", 2, &invites[0], "p1", "", ""));
    net.take_code(bob, 200);
    // RFC 3261 §14.2: 491 to an INVITE while ours is in progress in the dialog.
    net.send(bob, bob.request_back("INVITE", 3, &invites[0], "p1", "", &sdp(bob, "sendonly")));
    net.take_code(bob, 491);
    let ok = answer(&mut net, &caller, &phones[0], &invites[0]);
    finish(net, &caller, &ok);
}

/// RFC 4028: the caller asks, and refreshes; without its refresh the call is ended.
#[test]
fn a_caller_that_refreshes() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let extra = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n";
    net.send(&caller, caller.invite("100", "c1", 1, extra, &sdp(&caller, "sendrecv")));
    let invite = net.take_method(&phones[0], Method::Invite);
    assert_eq!(invite.session_expires().unwrap().interval, 1800);
    net.send(&phones[0], phones[0].respond(&invite, 200, "p1", &sdp(&phones[0], "sendrecv")));
    let ok = net.take_code(&caller, 200);
    assert_eq!(ok.text(HeaderName::SessionExpires).as_deref(), Some("600;refresher=uac"));
    assert!(ok.has_token(HeaderName::Require, "timer"));
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    net.advance(Duration::from_secs(300));
    net.send(&caller, caller.request("UPDATE", 2, &ok, extra, ""));
    net.take_code(&caller, 200);
    net.advance(Duration::from_secs(560));
    assert!(!net.has(&caller, &Method::Bye));
    net.advance(Duration::from_secs(10));
    net.take_method(&caller, Method::Bye);
    net.take_method(&phones[0], Method::Bye);
    net.assert_clean();
}

/// RFC 4028 §7.2, §9: a 2xx without Session-Expires turns the session timer off, theirs to a request of ours and ours to a
/// request of theirs that does not speak of timers. What is not refreshed any more is not ended.
#[test]
fn a_session_timer_that_is_turned_off() {
    for ours in [true, false] {
        let (mut net, caller, phones) = setup(&["bob"]);
        let bob = &phones[0];
        let extra = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n";
        net.send(&caller, caller.invite("100", "c1", 1, extra, &sdp(&caller, "sendrecv")));
        let invite = net.take_method(bob, Method::Invite);
        let ok = answer(&mut net, &caller, bob, &invite);
        assert_eq!(ok.text(HeaderName::SessionExpires).as_deref(), Some("600;refresher=uac"));
        if ours {
            net.send(bob, bob.request_back("INVITE", 1, &invite, "p1", "", &sdp(bob, "sendonly")));
            let held = net.take_method(&caller, Method::Invite);
            assert_eq!(held.text(HeaderName::SessionExpires).as_deref(), Some("600;refresher=uas"));
            net.send(&caller, caller.respond(&held, 200, "x", &sdp(&caller, "recvonly")));
            net.take_code(bob, 200);
            net.send(bob, bob.request_back("ACK", 1, &invite, "p1", "", ""));
        } else {
            net.send(&caller, caller.request("INVITE", 2, &ok, "", &sdp(&caller, "sendrecv")));
            assert!(!net.take_code(&caller, 200).has(HeaderName::SessionExpires));
            net.send(&caller, caller.request("ACK", 2, &ok, "", ""));
        }
        net.advance(Duration::from_secs(3_000));
        assert!(!net.has(&caller, &Method::Bye));
        assert_eq!(net.agent.gauges().calls, 1);
        finish(net, &caller, &ok);
    }
}

/// RFC 4028: we refresh where the peer leaves it to us: UPDATE where it takes it, else a re-INVITE with what stands.
#[test]
fn we_refresh() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    let invites = ring(&mut net, &caller, &phones);
    let timer = [(HeaderName::SessionExpires, "1800;refresher=uac"), (HeaderName::Require, "timer")];
    net.send(bob, bob.respond_with(&invites[0], 200, "p1", &timer, &sdp(bob, "sendrecv")));
    net.take_method(bob, Method::Ack);
    let ok = net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    net.advance(Duration::from_secs(900));
    let refresh = net.take_method(bob, Method::Invite);
    assert_eq!(body(&refresh), body(&invites[0]));
    assert_eq!(refresh.text(HeaderName::SessionExpires).as_deref(), Some("1800;refresher=uac"));
    net.send(bob, bob.respond_with(&refresh, 200, "p1", &timer, &sdp(bob, "sendrecv")));
    net.take_method(bob, Method::Ack);
    net.advance(Duration::from_secs(890));
    assert!(!net.has(bob, &Method::Invite));
    // RFC 4028 §7.4: 422 raises the interval.
    net.advance(Duration::from_secs(10));
    let brief = net.take_method(bob, Method::Invite);
    net.send(bob, bob.respond_with(&brief, 422, "p1", &[(HeaderName::MinSe, "3600")], ""));
    let refresh = net.take_method(bob, Method::Invite);
    assert_eq!(refresh.text(HeaderName::SessionExpires).as_deref(), Some("3600;refresher=uac"));
    assert_eq!(body(&refresh), body(&brief));
    let timer = [(HeaderName::SessionExpires, "3600;refresher=uac"), (HeaderName::Require, "timer")];
    net.send(bob, bob.respond_with(&refresh, 200, "p1", &timer, &sdp(bob, "sendrecv")));
    net.take_method(bob, Method::Ack);
    net.sent.clear();
    net.advance(Duration::from_secs(1_790));
    assert!(!net.has(bob, &Method::Invite));
    net.advance(Duration::from_secs(10));
    let brief = net.take_method(bob, Method::Invite);
    // One that is not above ours is a refusal: the session ends where it would have without the refresh.
    net.send(bob, bob.respond_with(&brief, 422, "p1", &[(HeaderName::MinSe, "3600")], ""));
    assert!(!net.has(bob, &Method::Invite));
    net.advance(Duration::from_secs(1_800 - 32));
    net.take_method(bob, Method::Bye);
    net.assert_clean();
}

/// RFC 4028 §10: a refresh that is due while another exchange runs follows when that one was refused: it was none.
#[test]
fn a_refresh_after_a_refused_exchange() {
    for theirs in [false, true] {
        let (mut net, caller, phones) = setup(&["bob"]);
        let bob = &phones[0];
        let invites = ring(&mut net, &caller, &phones);
        let timer = [(HeaderName::SessionExpires, "1800;refresher=uac"), (HeaderName::Require, "timer")];
        net.send(bob, bob.respond_with(&invites[0], 200, "p1", &timer, &sdp(bob, "sendrecv")));
        let ok = net.take_code(&caller, 200);
        net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
        net.advance(Duration::from_secs(899));
        net.sent.clear();
        let (asks, asked) = if theirs { (bob, &caller) } else { (&caller, bob) };
        let held = sdp(asks, "sendonly");
        if theirs {
            net.send(bob, bob.request_back("INVITE", 1, &invites[0], "p1", "", &held));
        } else {
            net.send(&caller, caller.request("INVITE", 2, &ok, "", &held));
        }
        let offer = net.take_method(asked, Method::Invite);
        net.send(asked, asked.respond(&offer, 100, "", ""));
        net.advance(Duration::from_secs(10));
        assert!(!net.has(bob, &Method::Invite));
        net.send(asked, asked.respond(&offer, 488, "p1", ""));
        net.take_code(asks, 488);
        net.advance(Duration::from_secs(2));
        let refresh = net.take_method(bob, Method::Invite);
        assert_eq!(refresh.text(HeaderName::SessionExpires).as_deref(), Some("1800;refresher=uac"));
        net.send(bob, bob.respond_with(&refresh, 200, "p1", &timer, &sdp(bob, "sendrecv")));
        net.sent.clear();
        net.advance(Duration::from_secs(890));
        assert!(!net.has(bob, &Method::Bye) && !net.has(bob, &Method::Invite));
        finish(net, &caller, &ok);
    }
}

/// Issue 3: a hold from before the bridge is carried over: the caller's 200 says so.
#[test]
fn a_leg_that_answers_on_hold() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let invites = ring(&mut net, &caller, &phones);
    net.send(&phones[0], phones[0].respond(&invites[0], 200, "p1", &sdp(&phones[0], "sendonly")));
    let ok = net.take_code(&caller, 200);
    assert!(body(&ok).contains("a=sendonly"), "{}", body(&ok));
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    assert!(!net.has(&phones[0], &Method::Invite));
    finish(net, &caller, &ok);
}

/// A caller that calls on hold: legs are offered `sendrecv`, and get the hold once bridged.
#[test]
fn a_caller_that_calls_on_hold() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    net.send(&caller, caller.invite("100", "c1", 1, "", &sdp(&caller, "sendonly")));
    let invite = net.take_method(bob, Method::Invite);
    assert!(body(&invite).contains("a=sendrecv"));
    let ok = answer(&mut net, &caller, bob, &invite);
    let held = net.take_method(bob, Method::Invite);
    assert!(body(&held).contains("a=sendonly"), "{}", body(&held));
    net.send(bob, bob.respond(&held, 491, "p1", ""));
    net.take_method(bob, Method::Ack);
    assert!(!net.has(bob, &Method::Invite));
    net.advance(Duration::from_millis(2_050));
    assert!(!net.has(bob, &Method::Invite), "RFC 3261 §14.1: 2.1 to 4 s");
    net.advance(Duration::from_secs(2));
    let held = net.take_method(bob, Method::Invite);
    net.send(bob, bob.respond(&held, 200, "p1", &sdp(bob, "recvonly")));
    net.take_method(bob, Method::Ack);
    finish(net, &caller, &ok);
}

/// RFC 3261 §14.1: after a 491 the one that did not make the Call-ID, which towards a caller is we, waits 0 to 2 s.
#[test]
fn a_491_of_the_caller() {
    let (mut net, caller, bob, ok, invite) = bridged();
    // Bob's hold is cancelled too late: the caller took it, and is brought back.
    let hold = bob.request_back("INVITE", 1, &invite, "p1", "", &sdp(&bob, "sendonly"));
    net.send(&bob, hold.clone());
    let passed = net.take_method(&caller, Method::Invite);
    let cancel = hold.replacen("INVITE", "CANCEL", 1).replace("1 INVITE", "1 CANCEL");
    net.send(&bob, cancel.split("Content-Type").next().unwrap().to_owned() + "Content-Length: 0\r\n\r\n");
    net.take_code(&bob, 200);
    net.take_code(&bob, 487);
    net.send(&caller, caller.respond(&passed, 200, "x", &sdp(&caller, "recvonly")));
    net.take_method(&caller, Method::Ack);
    let back = net.take_method(&caller, Method::Invite);
    assert!(body(&back).contains("a=sendrecv"));
    net.send(&caller, caller.respond(&back, 491, "x", ""));
    net.take_method(&caller, Method::Ack);
    assert!(!net.has(&caller, &Method::Invite));
    net.advance(Duration::from_secs(2));
    let again = net.take_method(&caller, Method::Invite);
    assert!(body(&again).contains("a=sendrecv"));
    net.send(&caller, caller.respond(&again, 200, "x", &sdp(&caller, "sendrecv")));
    net.take_method(&caller, Method::Ack);
    finish(net, &caller, &ok);
}

/// Requests that do not belong: 481, 405, 500 for a CSeq that falls.
#[test]
fn what_does_not_belong() {
    let (mut net, caller, bob, ok, invite) = bridged();
    net.send(&caller, caller.request("UPDATE", 9, &ok, "", ""));
    net.take_code(&caller, 200);
    net.send(&caller, caller.request("UPDATE", 8, &ok, "", ""));
    net.take_code(&caller, 500);
    net.send(&caller, caller.request("REFER", 10, &ok, "", ""));
    assert!(net.take_code(&caller, 405).has(HeaderName::Allow));
    net.send(&bob, bob.request_back("BYE", 1, &invite, "other", "", ""));
    net.take_code(&bob, 481);
    assert_eq!(net.agent.gauges().calls, 1);
    finish(net, &caller, &ok);
}

/// Issue 3: a party that is silent for too long, not on hold, ends the call.
#[test]
fn silence() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let invites = ring(&mut net, &caller, &phones);
    let ok = answer(&mut net, &caller, &phones[0], &invites[0]);
    let ids: Vec<_> = net
        .media
        .iter()
        .filter_map(|action| match action {
            MediaAction::Bridge { b, .. } => Some(*b),
            _ => None,
        })
        .collect();
    net.send(&caller, caller.request("INVITE", 2, &ok, "", &sdp(&caller, "sendonly")));
    let offer = net.take_method(&phones[0], Method::Invite);
    net.send(&phones[0], phones[0].respond(&offer, 200, "p1", &sdp(&phones[0], "recvonly")));
    net.send(&caller, caller.request("ACK", 2, &ok, "", ""));
    net.handle(Input::MediaSilent { media: ids[0] });
    assert_eq!(net.agent.gauges().calls, 1, "on hold");
    net.send(&caller, caller.request("INVITE", 3, &ok, "", &sdp(&caller, "sendrecv")));
    let offer = net.take_method(&phones[0], Method::Invite);
    net.send(&phones[0], phones[0].respond(&offer, 200, "p1", &sdp(&phones[0], "sendrecv")));
    net.send(&caller, caller.request("ACK", 3, &ok, "", ""));
    net.handle(Input::MediaSilent { media: ids[0] });
    net.take_method(&phones[0], Method::Bye);
    net.take_method(&caller, Method::Bye);
    net.assert_clean();
}
