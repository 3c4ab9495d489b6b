//! RCML.md 1.2 (who is rung) and the races of 1.4 and 1.5.

use ringfork_rcml::program::{Endpoint, Step};

use super::bench::*;
use crate::control::signals::{CallInput, LegId, Target};
use crate::control::{LEG_LIMIT, Write};

/// RCML.md 1.2: all nouns ring at the same time, at once.
#[test]
fn all_nouns_ring_at_once() {
    let mut t = dialing(dial([client("bob"), number("+15551"), client("eve")]), &[("bob", 1), ("eve", 1)]);
    t.says("invite 0, invite 1, invite 2");
    assert_eq!(t.invites[1].target, Target::Trunk { number: "+15551".into() });
}

/// RCML.md 1.2: each binding is its own leg with its own CallSid and its own complete set of events.
#[test]
fn every_binding_is_a_leg_of_its_own() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 3)]);
    t.says("invite 0, invite 1, invite 2");
    for (leg, status) in [(0, 486), (1, 404), (2, 408)] {
        t.provisional(leg, 180);
        t.refuses(leg, status);
    }
    let sids: std::collections::BTreeSet<_> = t.invites.iter().map(|invite| invite.sid).collect();
    assert_eq!(sids.len(), 3);
    for (leg, status) in [(0, "busy"), (1, "failed"), (2, "no-answer")] {
        let last = format!("Completed {status}");
        assert_eq!(t.leg_events(leg), ["Initiated initiated", "Ringing ringing", last.as_str()]);
    }
}

/// RCML.md 1.2: a client with no binding yields no leg and no event; the other nouns go on.
#[test]
fn an_unregistered_client_yields_no_leg() {
    let mut t = dialing(dial([client("nobody"), client("bob")]), &[("bob", 1)]);
    t.says("invite 0");
    assert_eq!(t.invites[0].target, Target::Binding { aor: "bob".into(), key: "bob/0".into() });
    assert_eq!(t.events.len(), 1);
    assert_eq!((t.notices[0].notice.code, t.notices[0].call), (11008, t.call.sid()));
}

/// RCML.md 1.2: if no noun yields a leg, the Dial ends at once with DialCallStatus=failed. Part 2: the end of the
/// document then refuses with 480.
#[test]
fn without_a_leg_the_dial_fails_at_once() {
    let mut t =
        Setup::new(vec![Step::Dial(ringfork_rcml::program::Dial { action: Some(at(ACTION)), ..dial([client("x")]) })])
            .document(ACTION, vec![])
            .start();
    t.says("refuse 480");
    assert_eq!(t.dial_status(), "failed");
    assert_eq!(parameter(&t.request(ACTION).parameters, "DialCallSid"), "(absent)");
    assert!(t.events.is_empty() && t.finished);
}

/// RCML.md 1.2: ten nouns and ten bindings each make at most a hundred legs.
#[test]
fn at_most_a_hundred_legs() {
    let names: Vec<_> = (0..10).map(|n| format!("c{n}")).collect();
    let devices: Vec<_> = names.iter().map(|name| (name.as_str(), 11)).collect();
    let t = dialing(dial(names.iter().map(|name| client(name))), &devices);
    assert_eq!(t.invites.len(), LEG_LIMIT);
    assert_eq!(t.notices.len(), 1);
}

/// RCML.md 1.2: the first leg to be accepted is bridged; every leg still ringing gets CANCEL with the Reason.
#[test]
fn the_first_accepted_leg_wins() {
    let mut t = dialing(dial([client("bob"), client("eve")]), &[("bob", 2), ("eve", 1)]);
    t.skip();
    t.provisional(0, 180);
    t.answers(2);
    t.says("ring, cancel 0 elsewhere, cancel 1 elsewhere, answer 2, bridge 2");
    assert_eq!(t.completed(0), ("no-answer".into(), "0".into()));
    assert_eq!(t.leg_events(2), ["Initiated initiated", "Answered in-progress"]);
}

/// RCML.md 1.4: `answered` is not fired for a 200 OK that arrives after another leg was accepted; it has completed as
/// no-answer with duration 0, once.
#[test]
fn a_late_200_is_no_answer() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 2)]);
    t.answers(0);
    t.skip();
    t.pass_seconds(1);
    t.answers(1);
    t.hangs_up(1);
    t.says("");
    assert_eq!(t.leg_events(1), ["Initiated initiated", "Completed no-answer"]);
    assert_eq!(t.completed(1).1, "0");
}

/// RCML.md 1.4 "Decided": a leg is over in the moment that we decide to cancel it; the 487 or 200 that follows changes
/// nothing.
#[test]
fn what_the_wire_still_owes_changes_nothing() {
    let mut t = dialing(dial([client("bob"), client("eve")]), &[("bob", 1), ("eve", 1)]);
    t.answers(0);
    let events = t.events.len();
    t.skip();
    t.provisional(1, 180);
    t.refuses(1, 487);
    t.refuses(1, 486);
    t.input(CallInput::LegUnusable { leg: LegId(1) });
    t.says("");
    assert_eq!(t.events.len(), events);
}

/// RCML.md 1.2: when the caller gives up, the CANCELs carry no Reason.
#[test]
fn a_caller_who_gives_up_cancels_without_reason() {
    let mut t = dialing(dial([client("bob"), screened("eve", "s")]), &[("bob", 1), ("eve", 1)]);
    t.answers(1);
    t.skip();
    t.cancels();
    t.says("refuse 487, cancel 0, bye 1");
    assert_eq!(t.completed(0), ("no-answer".into(), "0".into()));
    assert_eq!(t.completed(1), ("completed".into(), "0".into()));
    assert_eq!(t.final_status(), "canceled");
    t.input_held_document();
    assert!(t.finished);
}

/// RCML.md 1.2: `<Dial timeout>` bounds ringing; ringing legs are cancelled (1.4: no-answer), and no Reason says
/// elsewhere.
#[test]
fn the_dial_timeout_ends_ringing() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 2)]);
    t.provisional(0, 180);
    t.skip();
    t.pass(29_999);
    t.says("");
    t.pass(1);
    t.says("cancel 0, cancel 1, refuse 480");
    assert_eq!(t.completed(0).0, "no-answer");
    assert!(t.finished);
}

/// RCML.md 1.2: a final refusal of one leg, a 603 too, ends that leg only.
#[test]
fn a_refusal_ends_one_leg() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 2)]);
    t.skip();
    t.refuses(0, 603);
    t.says("");
    t.answers(1);
    t.says("ring, answer 1, bridge 1");
    assert_eq!(t.completed(0).0, "busy");
}

/// RCML.md 1.2: two 200 OKs in the same instant: one is bridged.
#[test]
fn two_answers_in_one_instant() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 2)]);
    t.store = None;
    t.skip();
    t.answers(1);
    t.answers(0);
    t.says("ring, cancel 0 elsewhere");
    t.store = Some(Ok(()));
    t.pass_seconds(2);
    t.says("answer 1, bridge 1");
}

/// RCML.md 1.5: a CANCEL before our 200 wins: 487, and the accepted leg gets BYE and ends completed.
#[test]
fn a_cancel_before_our_200_wins() {
    let mut t = Setup::new(vec![Step::Dial(ringfork_rcml::program::Dial {
        action: Some(at(ACTION)),
        ..dial([client("bob")])
    })])
    .devices("bob", 1)
    .start();
    t.store = None;
    t.answers(0);
    t.skip();
    t.cancels();
    t.says("refuse 487, bye 0");
    assert_eq!((t.dial_status().as_str(), t.final_status_queued()), ("canceled", false));
    t.release_store();
    assert_eq!(t.final_status(), "canceled");
    assert_eq!(t.completed(0).0, "completed");
    assert!(t.finished);
}

/// RCML.md 1.5: after our 200 a CANCEL changes nothing.
#[test]
fn a_cancel_after_our_200_changes_nothing() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.answers(0);
    t.skip();
    t.cancels();
    t.says("");
    t.hangs_up(0);
    t.says("hang up");
    assert_eq!(t.final_status(), "completed");
}

/// RCML.md 1.5: the accepted leg hangs up before our 200: nobody was bridged.
#[test]
fn an_accepted_leg_that_hangs_up_before_our_200() {
    let mut t = Setup::new(vec![Step::Dial(ringfork_rcml::program::Dial {
        action: Some(at(ACTION)),
        ..dial([client("bob")])
    })])
    .devices("bob", 1)
    .document(ACTION, vec![])
    .start();
    t.store = None;
    t.answers(0);
    t.skip();
    t.hangs_up(0);
    t.says("refuse 480");
    assert_eq!(t.dial_status(), "no-answer");
    t.release_store();
    assert_eq!(t.completed(0).0, "completed");
}

/// RCML.md 1.5: a caller who hangs up ends the Dial and all its legs at once.
#[test]
fn a_caller_who_hangs_up_ends_the_leg() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.answers(0);
    t.pass(7_900);
    t.skip();
    t.caller_hangs_up();
    t.says("bye 0");
    assert_eq!(t.completed(0), ("completed".into(), "7".into()));
    assert_eq!(t.final_status(), "completed");
    assert!(t.finished);
}

/// RCML.md 1.5: `timeLimit` bounds the bridged time.
#[test]
fn the_time_limit_ends_the_bridge() {
    let limited = ringfork_rcml::program::Dial { time_limit: 60, ..dial([client("bob")]) };
    let mut t = dialing(limited, &[("bob", 1)]);
    t.pass_seconds(5);
    t.answers(0);
    t.skip();
    t.pass(59_999);
    t.says("");
    t.pass(1);
    t.says("bye 0, hang up");
    assert_eq!(t.completed(0), ("completed".into(), "60".into()));
}

/// RCML.md part 2: the caller gets 180 at the first leg's 180, 183 or answer, once (signalling repeats it).
#[test]
fn the_caller_rings_with_the_first_leg() {
    for (code, rings) in [(180, true), (183, true), (181, false), (182, false)] {
        let mut t = dialing(dial([client("bob")]), &[("bob", 2)]);
        t.skip();
        t.provisional(0, code);
        t.provisional(1, code);
        t.provisional(0, 180);
        t.says("ring");
        assert_eq!(t.leg_events(1).len(), if rings { 2 } else { 1 });
    }
}

/// RCML.md part 2: a caller that was answered before hears a ringing tone in its place; a leg accepted then is bridged
/// at once.
#[test]
fn an_answered_caller_hears_a_tone() {
    let mut t = Setup::new(vec![Step::Dial(dial([client("bob")])), Step::Dial(dial([client("eve")]))])
        .devices("bob", 1)
        .devices("eve", 2)
        .start();
    t.answers(0);
    t.hangs_up(0);
    t.skip();
    t.provisional(1, 180);
    t.provisional(2, 183);
    t.says("tone on");
    t.store = None;
    t.answers(2);
    t.says("cancel 1 elsewhere, tone off, bridge 2");
}

/// RCML.md 3.1 "Leg" and part 2 "Number": who the leg is told is calling.
#[test]
fn the_identity_of_a_leg() {
    let with_id = ringfork_rcml::program::Dial {
        caller_id: Some("client:sales".into()),
        ..dial([client("bob"), number("+15551")])
    };
    let t = dialing(with_id, &[("bob", 1)]);
    assert_eq!(t.invites[0].from_user.as_deref(), Some("sales"));
    assert_eq!(t.invites[0].asserted, None);
    assert_eq!(t.invites[1].asserted.as_deref(), Some("sales"));
    assert_eq!(parameter(&t.events[0].parameters, "From"), "client:sales");
    assert_eq!(parameter(&t.events[0].parameters, "To"), "client:bob");
    assert_eq!(parameter(&t.events[1].parameters, "To"), "+15551");
}

/// DESIGN "SIP choices": Expires is the Dial timeout and 5 s more. DESIGN "Media": screened and recorded legs are
/// offered only what we decode.
#[test]
fn the_invite_of_a_leg() {
    let t = dialing(dial([client("bob"), screened("eve", "s")]), &[("bob", 1), ("eve", 1)]);
    assert_eq!(t.invites.iter().map(|i| (i.expires, i.decodable_only)).collect::<Vec<_>>(), [(35, false), (35, true)]);
    let recorded =
        dialing(ringfork_rcml::program::Dial { record: true, timeout: 10, ..dial([client("bob")]) }, &[("bob", 1)]);
    assert_eq!((recorded.invites[0].expires, recorded.invites[0].decodable_only), (15, true));
}

/// A `<Sip>` noun is one leg with its credentials; its headers and those of a client are the leg's own.
#[test]
fn a_sip_noun_is_one_leg() {
    let mut sip = client("");
    sip.endpoint =
        Endpoint::Sip { uri: "sip:carol@h".into(), username: Some("u".into()), password: Some("hunter2".into()) };
    sip.headers = vec![("X-A".into(), "1".into())];
    let t = dialing(dial([sip]), &[]);
    assert!(matches!(&t.invites[0].target, Target::Uri { uri, password: Some(_), .. } if uri == "sip:carol@h"));
    assert!(!format!("{:?}", t.invites[0]).contains("hunter2"));
    assert_eq!(t.invites[0].headers, [("X-A".to_owned(), "1".to_owned())]);
    assert_eq!(parameter(&t.events[0].parameters, "SipHeader_X-A"), "1");
    assert_eq!(parameter(&t.events[0].parameters, "To"), "carol");
}

/// DESIGN "The split": the legs are named before the first INVITE; 2 s later the call goes on without that.
#[test]
fn legs_are_named_before_the_first_invite() {
    let mut t = Setup::new(vec![Step::Dial(dial([client("bob")]))]).devices("bob", 2).store(None).start();
    t.written(Ok(()));
    t.says("");
    let named = t.written(Ok(()));
    assert!(matches!(&named, Write::NameLegs { legs, .. } if legs.len() == 2));
    t.says("invite 0, invite 1");

    let mut t = Setup::new(vec![Step::Dial(dial([client("bob")]))]).devices("bob", 1).store(None).start();
    t.pass(1_999);
    t.says("");
    t.pass(1);
    t.says("invite 0");
    assert!(t.counts.contains(&"call_writes_late_total"));
}

/// DESIGN "The split": the acceptance is written before the caller's 200; 2 s later the call goes on without that.
#[test]
fn the_acceptance_is_written_before_the_200() {
    for late in [false, true] {
        let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
        t.skip();
        t.store = None;
        t.answers(0);
        t.says("ring");
        if late {
            t.pass_seconds(2);
        } else {
            let index = t.held_writes.iter().position(|(_, write)| matches!(write, Write::Accept { .. })).unwrap();
            let (ticket, _) = t.held_writes.remove(index);
            t.input(CallInput::Written { ticket, result: Ok(()) });
        }
        t.says("answer 0, bridge 0");
    }
}
