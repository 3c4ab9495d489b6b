//! CANCEL from both sides (RFC 3261 §9).

use super::*;

/// RFC 3261 §9.1: no CANCEL before a provisional response.
#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    let mut lab = Lab::new(udp());
    let key = lab.request("INVITE");
    assert_eq!(
        lab.layer.cancel(lab.now, key, &["SIP;cause=200;text=\"Call completed elsewhere\""]),
        CancelOutcome::HeldBack
    );
    lab.until(600);
    assert_eq!(lab.log(), ["0 > INVITE", "500 > INVITE"]);
    lab.answered("INVITE", 180, "b");
    assert_eq!(lab.log(), ["600 > CANCEL", "600 Response 180"]);
    let cancel = String::from_utf8(lab.last_sent("CANCEL").to_vec()).unwrap();
    assert!(cancel.contains("\r\nReason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n"), "{cancel}");
    lab.answered("CANCEL", 200, "b");
    lab.answered("INVITE", 487, "b");
    assert_eq!(lab.log(), ["600 > ACK", "600 Response 487"]);
    lab.until(60_000);
    assert!(lab.log().is_empty());
    lab.assert_empty();
}

/// RFC 3261 §9.1: what a CANCEL holds, and that it is a transaction of its own.
#[test]
fn a_cancel_is_made_of_its_invite_and_repeated_until_answered() {
    let mut lab = Lab::new(udp());
    let key = lab.request("INVITE");
    lab.answered("INVITE", 180, "b");
    assert_eq!(lab.layer.cancel(lab.now, key, &["Q.850;cause=16", "SIP;cause=200"]), CancelOutcome::Sent);
    lab.drain();
    assert_eq!(lab.layer.cancel(lab.now, key, &[]), CancelOutcome::Nothing, "once is enough");
    lab.until(1600);
    assert_eq!(lab.log(), ["0 > INVITE", "0 Response 180", "0 > CANCEL", "500 > CANCEL", "1500 > CANCEL"]);
    let invite = Message::parse(lab.last_sent("INVITE")).unwrap();
    let cancel = Message::parse_valid(lab.last_sent("CANCEL")).unwrap();
    assert_eq!(cancel.request_uri(), invite.request_uri());
    assert_eq!(cancel.via_values().collect::<Vec<_>>(), invite.via_values().collect::<Vec<_>>());
    assert_eq!((cancel.from_tag(), cancel.to_tag(), cancel.call_id()), (Some("us"), None, invite.call_id()));
    assert_eq!(cancel.cseq().map(|cseq| cseq.number), Some(42));
    assert_eq!(cancel.reasons().map(|reason| reason.cause).collect::<Vec<_>>(), [Some(16), Some(200)]);
    assert_eq!(cancel.addresses(crate::header::HeaderName::Route).count(), 2);
    lab.answered("CANCEL", 200, "b");
    lab.until(20_000);
    lab.answered("INVITE", 487, "b");
    assert_eq!(lab.log(), ["20000 > ACK", "20000 Response 487"]);
    lab.until(60_000);
    lab.assert_empty();
}

/// RFC 3261 §9.1: a held CANCEL is dropped when a final response comes first.
#[test]
fn a_held_cancel_is_dropped_by_a_final_response() {
    for (flow, code, rest) in [
        (udp(), 486, vec!["0 > ACK", "0 Response 486"]),
        (tcp(), 486, vec!["0 > ACK", "0 Response 486"]),
        (udp(), 200, vec!["0 Response 200", "32000 Terminated"]),
    ] {
        let mut lab = Lab::new(flow);
        let key = lab.request("INVITE");
        assert_eq!(lab.layer.cancel(lab.now, key, &[]), CancelOutcome::HeldBack);
        assert_eq!(lab.layer.cancel(lab.now, key, &[]), CancelOutcome::Nothing);
        lab.answered("INVITE", code, "b");
        lab.until(60_000);
        assert_eq!(lab.log().split_off(1), rest);
        lab.assert_empty();
    }
}

/// RFC 3261 §9.1 with §17.1.1.2: an INVITE that gets no answer at all is never cancelled, and times out.
#[test]
fn a_held_cancel_of_a_dead_callee_is_never_sent() {
    let mut lab = Lab::new(udp());
    let key = lab.request("INVITE");
    lab.layer.cancel(lab.now, key, &[]);
    lab.until(60_000);
    assert!(lab.sent.iter().all(|transmit| name(&transmit.payload) == "INVITE"));
    assert_eq!(lab.log().last().map(String::as_str), Some("32000 Timeout"));
    lab.assert_empty();
}

/// RFC 3261 §9.1: 64*T1 after the CANCEL without a final response the INVITE is given up.
#[test]
fn an_invite_that_gets_no_487_is_given_up_32_s_after_its_cancel() {
    for flow in [udp(), tcp()] {
        let mut lab = Lab::new(flow);
        let key = lab.request("INVITE");
        lab.answered("INVITE", 180, "b");
        lab.until(10_000);
        lab.layer.cancel(lab.now, key, &[]);
        lab.drain();
        lab.answered("CANCEL", 200, "b");
        lab.answered("INVITE", 180, "b");
        lab.until(41_999);
        lab.log();
        lab.until(42_000);
        assert_eq!(lab.log(), ["42000 Timeout"]);
        lab.until(60_000);
        lab.assert_empty();
    }
}

/// RCML.md 1.2 rests on this: a 200 that crosses the CANCEL is a response as any other, and its repetitions too.
#[test]
fn a_200_that_crosses_the_cancel_reaches_the_user() {
    let mut lab = Lab::new(udp());
    let key = lab.request("INVITE");
    lab.answered("INVITE", 180, "b");
    lab.layer.cancel(lab.now, key, &[]);
    lab.drain();
    lab.answered("INVITE", 200, "b");
    lab.answered("CANCEL", 481, "b");
    lab.until(500);
    lab.answered("INVITE", 200, "b");
    lab.until(60_000);
    assert_eq!(
        lab.log(),
        ["0 > INVITE", "0 Response 180", "0 > CANCEL", "0 Response 200", "500 Response 200", "32000 Terminated"]
    );
    lab.assert_empty();
}

/// A CANCEL that nobody answers is no event of its own.
#[test]
fn an_unanswered_cancel_is_silent() {
    let mut lab = Lab::new(udp());
    let key = lab.request("INVITE");
    lab.answered("INVITE", 180, "b");
    lab.layer.cancel(lab.now, key, &[]);
    lab.drain();
    lab.until(1);
    lab.answered("INVITE", 487, "b");
    lab.until(80_000);
    let log = lab.log();
    assert_eq!(log.iter().filter(|line| line.ends_with("> CANCEL")).count(), 11);
    assert!(!log.iter().any(|line| line.contains("Timeout")), "{log:?}");
    lab.assert_empty();
}

/// RFC 3261 §9.1: only an INVITE is cancelled.
#[test]
fn a_bye_is_not_cancelled() {
    let mut lab = Lab::new(udp());
    let key = lab.request("BYE");
    assert_eq!(lab.layer.cancel(lab.now, key, &[]), CancelOutcome::Nothing);
}

/// RFC 3261 §9.2: 200 for the CANCEL with the INVITE's To tag, and the user is told once; it answers 487.
#[test]
fn a_cancelled_invite() {
    for (flow, answers_first) in [(udp(), false), (udp(), true), (tcp(), false)] {
        let mut lab = Lab::new(flow);
        let invite = incoming("INVITE", "z9hG4bKa");
        lab.receive(invite.clone());
        if answers_first {
            lab.respond(&invite, 180).unwrap();
        }
        lab.log();
        let cancel = incoming("CANCEL", "z9hG4bKa");
        lab.receive(cancel.clone());
        assert_eq!(lab.log(), ["0 > 200", "0 Cancelled"]);
        let tag = if answers_first { "us".to_owned() } else { lab.layer.local_tag(lab.requests[0]) };
        let ok = Message::parse(lab.last_sent("200")).unwrap();
        assert_eq!(ok.to_tag(), Some(tag.as_str()));
        assert_eq!(ok.cseq().map(|cseq| cseq.method), Some(crate::message::Method::Cancel));
        lab.receive(cancel.clone());
        assert_eq!(lab.log(), ["0 > 200"], "a repeated CANCEL gets its 200 again");
        lab.respond(&invite, 487).unwrap();
        lab.receive(incoming("ACK", "z9hG4bKa"));
        lab.until(60_000);
        assert_eq!(lab.log(), ["0 > 487"]);
        lab.assert_empty();
    }
}

/// RFC 3261 §9.2: after the final response a CANCEL has no effect, but gets its 200.
#[test]
fn a_cancel_after_the_final_response_changes_nothing() {
    for code in [200, 486] {
        let mut lab = Lab::new(udp());
        let invite = incoming("INVITE", "z9hG4bKa");
        lab.receive(invite.clone());
        lab.respond(&invite, code).unwrap();
        lab.log();
        lab.receive(incoming("CANCEL", "z9hG4bKa"));
        assert_eq!(lab.log(), ["0 > 200"]);
        lab.receive(incoming("CANCEL", "z9hG4bKa"));
        assert_eq!(lab.log(), ["0 > 200"]);
    }
}

/// RFC 3261 §9.2: 481 where there is no INVITE of that branch.
#[test]
fn a_stray_cancel_gets_481() {
    let mut lab = Lab::new(udp());
    lab.receive(incoming("INVITE", "z9hG4bKa"));
    lab.receive(incoming("INFO", "z9hG4bKi"));
    lab.log();
    lab.receive(incoming("CANCEL", "z9hG4bKb"));
    lab.receive(incoming("CANCEL", "z9hG4bKi"));
    assert_eq!(lab.log(), ["0 > 481", "0 > 481"]);
    assert_eq!(lab.layer.counters().stray_cancels, 2);
    assert_eq!(lab.layer.servers(), 2);
}
