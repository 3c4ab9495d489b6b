//! RCML.md 1.5: after the Dial.

use ringfork_rcml::evaluation::Purpose;
use ringfork_rcml::program::{Dial, Noun, Step};

use super::bench::*;

fn with_action(nouns: impl IntoIterator<Item = Noun>) -> Setup {
    let verbs = vec![Step::Dial(Dial { action: Some(at(ACTION)), ..dial(nouns) }), Step::Dial(dial([client("never")]))];
    Setup::new(verbs).devices("bob", 2).devices("eve", 1)
}

/// RCML.md 1.5: the action's parameters, in order, and none beyond.
#[test]
fn the_parameters_of_the_action() {
    let mut t = with_action([client("bob")]).document(ACTION, vec![]).start();
    t.pass(2_500);
    t.answers(1);
    t.pass(4_700);
    t.hangs_up(1);
    t.says("invite 0, invite 1, ring, cancel 0 elsewhere, answer 1, bridge 1, hang up");
    let request = t.request(ACTION);
    let (parent, leg) = (t.call.sid().to_string(), t.invites[1].sid.to_string());
    let expected = [
        ("CallSid", parent.as_str()),
        ("AccountSid", "AC1"),
        ("From", "+15557"),
        ("To", "+15550"),
        ("CallStatus", "in-progress"),
        ("ApiVersion", "2012-04-24"),
        ("Direction", "inbound"),
        ("DialCallStatus", "completed"),
        ("DialCallSid", leg.as_str()),
        ("DialCallDuration", "4"),
        ("DialRingDuration", "2"),
    ];
    let sent: Vec<_> = request.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(sent, expected);
    assert_eq!((request.purpose, request.fallback.is_none()), (Purpose::Call, true));
    assert!(t.finished);
}

/// RCML.md 1.5: the document that the action returns goes on; the verbs after the Dial do not run.
#[test]
fn the_actions_document_goes_on() {
    let mut t = with_action([client("bob")]).document(ACTION, vec![Step::Dial(dial([client("eve")]))]).start();
    t.skip();
    t.refuses(0, 486);
    t.refuses(1, 486);
    t.says("invite 2");
    assert_eq!(parameter(&t.request(ACTION).parameters, "CallStatus"), "ringing");
}

/// RCML.md 1.5: without action the next verb runs, while the caller is there, also after an answered dial.
#[test]
fn without_action_the_next_verb_runs() {
    for answered in [false, true] {
        let mut t = Setup::new(vec![Step::Dial(dial([client("bob")])), Step::Dial(dial([client("eve")]))])
            .devices("bob", 1)
            .devices("eve", 1)
            .start();
        if answered {
            t.answers(0);
        }
        t.skip();
        if answered {
            t.hangs_up(0)
        } else {
            t.refuses(0, 404)
        };
        t.says("invite 1");
    }
}

/// RCML.md 1.5 "Decided": DialCallStatus from how the legs ended.
#[test]
fn dial_call_status() {
    let table: &[(&[u16], &str)] = &[
        (&[486, 603, 600], "busy"),
        (&[486, 480, 404], "no-answer"),
        (&[404, 408, 500], "no-answer"),
        (&[486, 404, 500], "busy"),
        (&[404, 500, 503], "failed"),
        (&[180, 404, 500, 503], "no-answer"),
        (&[180, 486, 603, 503], "no-answer"),
        (&[180, 486, 603, 600], "busy"),
    ];
    for (codes, status) in table {
        let mut t = with_action([client("bob"), client("eve")]).document(ACTION, vec![]).start();
        let mut leg = 0;
        for code in *codes {
            if *code == 180 {
                t.provisional(0, 180);
            } else {
                t.refuses(leg, *code);
                leg += 1;
            }
        }
        assert_eq!(t.dial_status(), *status, "{codes:?}");
        let last = t.invites[2].sid.to_string();
        assert_eq!(parameter(&t.request(ACTION).parameters, "DialCallSid"), last, "the last to end");
    }
}

/// RCML.md 1.5 "Decided": a leg that answered and was declined makes no-answer.
#[test]
fn a_declined_leg_makes_no_answer() {
    let mut t = with_action([screened("eve", "s")]).document("s", vec![Step::Hangup]).document(ACTION, vec![]).start();
    t.answers(0);
    assert_eq!(t.dial_status(), "no-answer");
}

/// RCML.md 1.5: DialRingDuration runs to the Dial's end where nobody was accepted.
#[test]
fn ring_duration_of_an_unanswered_dial() {
    let mut t = with_action([client("bob")]).document(ACTION, vec![]).start();
    t.pass_seconds(31);
    let parameters = &t.request(ACTION).parameters;
    assert_eq!(parameter(parameters, "DialRingDuration"), "30");
    assert_eq!(parameter(parameters, "DialCallDuration"), "0");
    assert_eq!(t.dial_status(), "no-answer");
}

/// RCML.md 1.5: a caller who hangs up: the action is still requested with canceled and the final CallStatus, and its
/// answer is unused.
#[test]
fn a_caller_who_gives_up_still_gets_its_action() {
    let mut t = with_action([client("bob")]).document(ACTION, vec![Step::Dial(dial([client("eve")]))]).start();
    t.pass_seconds(4);
    t.skip();
    t.cancels();
    t.says("refuse 487, cancel 0, cancel 1");
    let request = t.request(ACTION);
    assert_eq!(request.purpose, Purpose::Unused);
    assert_eq!(t.dial_status(), "canceled");
    assert_eq!(parameter(&request.parameters, "CallStatus"), "canceled");
    assert_eq!(parameter(&request.parameters, "DialRingDuration"), "4");
    assert!(t.finished);
}

/// RCML.md 1.5: canceled only if nobody had been bridged.
#[test]
fn a_bridged_caller_who_hangs_up_completed_the_dial() {
    let mut t = with_action([client("bob")]).start();
    t.answers(0);
    t.pass_seconds(6);
    t.caller_hangs_up();
    assert_eq!(t.dial_status(), "completed");
    let parameters = &t.request(ACTION).parameters;
    assert_eq!(parameter(parameters, "CallStatus"), "completed");
    assert_eq!(parameter(parameters, "DialCallDuration"), "6");
}

/// RCML.md 1.5: a caller who leaves before the first INVITE: canceled, without leg or event.
#[test]
fn a_caller_who_leaves_before_the_first_invite() {
    let mut t = with_action([client("bob")]).hold_bindings().start();
    t.cancels();
    t.says("refuse 487");
    assert_eq!(t.dial_status(), "canceled");
    t.bindings();
    t.says("");
    assert!(t.events.is_empty() && t.finished);

    let mut t = with_action([client("bob")]).store(None).start();
    t.cancels();
    t.release_store();
    t.says("refuse 487");
    assert_eq!(parameter(&t.request(ACTION).parameters, "DialCallSid"), "(absent)");
    assert!(t.events.is_empty() && t.finished);
}

/// RCML.md part 2: an action that cannot be fetched ends the call.
#[test]
fn no_action_document_ends_the_call() {
    let mut t = with_action([client("bob")]).no_document(ACTION).start();
    t.answers(0);
    t.skip();
    t.hangs_up(0);
    t.says("hang up");
    assert_eq!(t.final_status(), "completed");
}

/// RCML.md 1.5: bridged is accepted and our 200 sent: the bridged time counts from the 200, not from the acceptance.
#[test]
fn the_dial_is_bridged_when_our_200_leaves() {
    let mut t = with_action([client("bob")]).document(ACTION, vec![]).start();
    t.hold_answer = true;
    t.answers(0);
    t.says("invite 0, invite 1, ring, cancel 1 elsewhere, answer 0");
    t.pass_seconds(5);
    t.answer_leaves();
    t.says("bridge 0");
    t.pass_seconds(3);
    t.hangs_up(0);
    let parameters = &t.request(ACTION).parameters;
    assert_eq!(t.dial_status(), "completed");
    assert_eq!(parameter(parameters, "DialCallDuration"), "3");
    assert_eq!(parameter(parameters, "CallStatus"), "in-progress");
}

/// RCML.md 1.5: an accepted leg that hangs up before our 200 was not bridged: it ended completed, and the Dial goes on
/// without a bridge.
#[test]
fn a_leg_gone_before_our_200_was_not_bridged() {
    let mut t = with_action([client("eve")]).document(ACTION, vec![]).start();
    t.hold_answer = true;
    t.answers(0);
    t.skip();
    t.pass_seconds(2);
    t.hangs_up(0);
    t.says("refuse 480");
    assert_eq!(t.leg_events(0).last().unwrap(), "Completed completed");
    assert_eq!(t.dial_status(), "no-answer");
    let parameters = &t.request(ACTION).parameters;
    assert_eq!(parameter(parameters, "DialCallDuration"), "0");
    assert_eq!(parameter(parameters, "CallStatus"), "ringing");
    t.answer_leaves();
    t.says("");
    assert_eq!(t.final_status(), "no-answer");
}

/// RCML.md 1.5: a CANCEL before our 200 wins: 487, and the accepted leg gets BYE and ends completed.
#[test]
fn a_cancel_before_our_200_wins() {
    let mut t = with_action([client("eve")]).start();
    t.hold_answer = true;
    t.answers(0);
    t.skip();
    t.cancels();
    t.says("refuse 487, bye 0");
    assert_eq!(t.leg_events(0).last().unwrap(), "Completed completed");
    assert_eq!(t.dial_status(), "canceled");
    assert_eq!(t.final_status(), "canceled");
}
