//! RCML.md 1.3: a leg's private document.

use ringfork_rcml::evaluation::{Outcome, Purpose, Response};
use ringfork_rcml::program::{Gather, Program, Record, RejectReason, Screening, Step};

use super::bench::*;
use crate::action::RecordingEnd;
use crate::control::signals::CallInput;

const SCREEN: &str = "https://app.example/screen";
const NEXT: &str = "https://app.example/next";

/// One screened device and one plain one.
fn screening(steps: Vec<Step>) -> Setup {
    let nouns = [screened("bob", SCREEN), client("eve")];
    Setup::new(vec![Step::Dial(dial(nouns))]).devices("bob", 1).devices("eve", 1).document(SCREEN, steps)
}

/// RCML.md 1.3: the request carries the standard parameters of the leg, plus ParentCallSid.
#[test]
fn the_request_is_about_the_leg() {
    let mut t = screening(vec![pause(5)]).start();
    t.answers(0);
    let request = t.request(SCREEN);
    assert_eq!((request.purpose, request.call_sid.clone()), (Purpose::Screening, t.invites[0].sid.to_string()));
    let names: Vec<_> = request.parameters.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["CallSid", "AccountSid", "From", "To", "CallStatus", "ApiVersion", "Direction", "ParentCallSid"];
    assert_eq!(names, expected);
    assert_eq!(parameter(&request.parameters, "CallStatus"), "in-progress");
    assert_eq!(parameter(&request.parameters, "ParentCallSid"), t.call.sid().to_string());
    assert!(request.fallback.is_none() && request.cookies.is_empty());
}

/// RCML.md 1.3: the caller goes on hearing ringing until a leg is accepted; the others ring on (1.2 "Decided").
#[test]
fn a_screening_leg_does_not_stop_the_others() {
    let mut t = screening(vec![pause(5)]).start();
    t.skip();
    t.answers(0);
    t.says("ring");
    assert_eq!(t.leg_events(0).last().unwrap(), "Answered in-progress");
    t.answers(1);
    t.says("bye 0, answer 1, bridge 1");
    assert_eq!(t.completed(0), ("completed".into(), "0".into()));
}

/// RCML.md 1.3: a document that runs to its end accepts; an empty one too.
#[test]
fn the_end_of_the_document_accepts() {
    let mut t = screening(vec![]).start();
    t.skip();
    t.answers(0);
    t.says("ring, cancel 1 elsewhere, answer 0, bridge 0");

    let mut t = screening(vec![pause(2)]).start();
    t.answers(0);
    t.skip();
    t.pass(1_999);
    t.says("");
    t.pass(1);
    t.says("cancel 1 elsewhere, answer 0, bridge 0");
    t.hangs_up(0);
    assert_eq!(t.completed(0), ("completed".into(), "2".into()));
}

/// RCML.md 1.3: Hangup declines that leg only.
#[test]
fn hangup_declines() {
    let mut t = screening(vec![pause(1), Step::Hangup]).start();
    t.answers(0);
    t.skip();
    t.pass_seconds(1);
    t.says("bye 0");
    assert_eq!(t.completed(0), ("completed".into(), "1".into()));
    t.answers(1);
    t.says("answer 1, bridge 1");
}

/// RCML.md 1.3: the callee hanging up ends that leg as not accepted; 1.4: completed.
#[test]
fn a_callee_who_hangs_up_in_screening() {
    let mut t = screening(vec![pause(9)]).start();
    t.answers(0);
    t.skip();
    t.hangs_up(0);
    t.says("");
    assert_eq!(t.completed(0).0, "completed");
    t.refuses(1, 486);
    t.says("refuse 480");
}

/// RCML.md 1.3: a document that cannot be fetched ends that leg only.
#[test]
fn no_document_declines() {
    let nouns = [screened("bob", SCREEN), client("eve")];
    let mut t =
        Setup::new(vec![Step::Dial(dial(nouns))]).devices("bob", 1).devices("eve", 1).no_document(SCREEN).start();
    t.skip();
    t.answers(0);
    t.says("ring, bye 0");
    t.answers(1);
    t.says("answer 1, bridge 1");
}

/// RCML.md 1.3: `timeout` is counted from the answer, also while the document is being fetched.
#[test]
fn the_timeout_counts_from_the_answer() {
    let mut noun = screened("bob", SCREEN);
    noun.screening = Some(Screening { document: at(SCREEN), timeout: 7 });
    let mut t = Setup::new(vec![Step::Dial(dial([noun]))]).devices("bob", 1).start();
    t.answers(0);
    t.skip();
    t.pass_seconds(3);
    t.document(Some(vec![redirect(NEXT)]));
    t.pass(3_999);
    t.says("");
    t.pass(1);
    t.says("bye 0, refuse 480");
    assert_eq!(t.completed(0), ("completed".into(), "7".into()));
    assert!(!t.finished, "the notices of the document under way are still to come");
    t.document(Some(vec![]));
    t.says("");
    assert!(t.finished);
}

/// RCML.md 1.3: of two times that have passed when we are woken late, the earlier one counts.
#[test]
fn a_late_wake_up_keeps_the_order_of_times() {
    for (length, said) in [(8, "bye 0, refuse 480"), (7, "bye 0, refuse 480"), (6, "answer 0, bridge 0")] {
        let mut noun = screened("bob", SCREEN);
        noun.screening = Some(Screening { document: at(SCREEN), timeout: 7 });
        let verbs = vec![Step::Dial(dial([noun]))];
        let mut t = Setup::new(verbs).devices("bob", 1).document(SCREEN, vec![pause(length)]).start();
        t.answers(0);
        t.skip();
        t.wake_late(9_000);
        t.says(said);
    }
}

/// RCML.md 1.2 "Decided": the Dial timeout does not end a leg that is in screening.
#[test]
fn the_dial_timeout_spares_screening() {
    let mut t = screening(vec![pause(40)]).start();
    t.answers(0);
    t.skip();
    t.pass_seconds(30);
    t.says("cancel 1");
    t.pass_seconds(10);
    t.says("answer 0, bridge 0");
}

/// RCML.md 1.2 "Decided": several may screen at once; the first accepted ends the others with BYE.
#[test]
fn several_legs_screen_at_once() {
    let mut t = Setup::new(vec![Step::Dial(dial([screened("bob", SCREEN)]))]).devices("bob", 3).start();
    (0..3).for_each(|leg| t.answers(leg));
    assert_eq!(t.held_documents.len(), 3);
    t.skip();
    t.document(Some(vec![pause(5)]));
    t.document(Some(vec![pause(2)]));
    t.document(Some(vec![pause(3), Step::Hangup]));
    t.pass_seconds(2);
    t.says("bye 0, bye 2, answer 1, bridge 1");
    assert_eq!((t.completed(0).0, t.completed(2).0), ("completed".into(), "completed".into()));
}

/// RCML.md 1.3: Redirect goes on with another document for this leg; its cookies are the leg's own (3.2).
#[test]
fn redirect_in_screening() {
    let mut t = screening(vec![redirect(NEXT)]).document(NEXT, vec![]).start();
    t.skip();
    t.answers(0);
    t.says("ring, cancel 1 elsewhere, answer 0, bridge 0");
    let next = t.request(NEXT);
    assert_eq!(next.purpose, Purpose::Screening);
    assert_eq!(next.cookies, ["seen=2"]);
}

/// RCML.md 1.3: Reject is skipped with a warning.
#[test]
fn reject_is_skipped() {
    let mut t = screening(vec![reject(RejectReason::Busy)]).start();
    t.skip();
    t.answers(0);
    t.says("ring, cancel 1 elsewhere, answer 0, bridge 0");
    assert_eq!(t.notices.last().unwrap().call, t.invites[0].sid);
}

/// RCML.md 1.3: a Dial that reaches a leg declines it, with an error on the leg's CallSid.
#[test]
fn dial_declines() {
    let mut t = screening(vec![Step::Dial(dial([client("eve")]))]).start();
    t.skip();
    t.answers(0);
    t.says("ring, bye 0");
    let last = t.notices.last().unwrap();
    assert_eq!((last.call, last.notice.level), (t.invites[0].sid, ringfork_rcml::evaluation::Level::Error));
}

/// RCML.md part 2, Redirect: the chain of a leg is bounded as that of the call.
#[test]
fn an_endless_chain_declines() {
    let mut setup = screening(vec![redirect(SCREEN)]);
    for _ in 0..30 {
        setup = setup.document(SCREEN, vec![redirect(SCREEN)]);
    }
    let mut t = setup.start();
    t.answers(0);
    assert_eq!(t.requests.iter().filter(|request| request.document.url == SCREEN).count(), 21);
    assert_eq!(t.completed(0).0, "completed");
}

/// RCML.md 1.3: if every leg is gone and none was accepted, the Dial is over; it does not end the caller's call.
#[test]
fn the_call_goes_on_after_a_declined_dial() {
    let mut t = Setup::new(vec![Step::Dial(dial([screened("bob", SCREEN)])), Step::Dial(dial([client("eve")]))])
        .devices("bob", 1)
        .devices("eve", 1)
        .document(SCREEN, vec![Step::Hangup])
        .start();
    t.skip();
    t.answers(0);
    t.says("ring, bye 0, invite 1");
}

/// The press-1 pattern as TwiML customers write it.
fn press_one() -> Vec<Step> {
    vec![gathering(Gather { num_digits: Some(1), ..gather(vec![say("Press 1")]) }), Step::Hangup]
}

/// RCML.md 1.3: prompts are private to the leg; an empty `<Response/>` from a Gather's `action` accepts. The action's
/// request carries the leg's parameters, ParentCallSid and Digits.
#[test]
fn an_empty_answer_of_a_gathers_action_accepts() {
    let mut t = screening(press_one()).start();
    t.skip();
    t.answers(0);
    t.says("ring, play 0 Press 1");
    t.keys(leg(0), "1");
    t.says("stop 0");
    let request = t.request(ACTION);
    assert_eq!((request.purpose, request.call_sid.clone()), (Purpose::Screening, t.invites[0].sid.to_string()));
    assert_eq!(parameter(&request.parameters, "Digits"), "1");
    assert_eq!(parameter(&request.parameters, "ParentCallSid"), t.call.sid().to_string());
    assert_eq!(parameter(&request.parameters, "CallSid"), t.invites[0].sid.to_string());
    t.document(Some(vec![]));
    t.says("cancel 1 elsewhere, answer 0, bridge 0");
}

/// RCML.md 1.3: Hangup, of the action or after a Gather without a key, declines.
#[test]
fn declining_a_gather() {
    let mut t = screening(press_one()).start();
    t.answers(0);
    t.keys(leg(0), "2");
    t.skip();
    t.document(Some(vec![Step::Hangup]));
    t.says("bye 0");

    let mut t = screening(press_one()).start();
    t.answers(0);
    t.heard();
    t.skip();
    t.pass_seconds(5);
    t.says("bye 0");
    assert_eq!(t.completed(0), ("completed".into(), "5".into()));
    t.answers(1);
    t.says("answer 1, bridge 1");
}

/// RCML.md 1.3: a Gather without a key as the last verb accepts: the document ran to its end.
#[test]
fn an_unanswered_gather_at_the_end_accepts() {
    let mut t = screening(vec![gathering(gather(vec![]))]).start();
    t.answers(0);
    t.skip();
    t.pass_seconds(5);
    t.says("cancel 1 elsewhere, answer 0, bridge 0");
}

/// RCML.md 1.3: `timeout`, counted from the answer, cuts prompts, gathers and recordings.
#[test]
fn the_timeout_cuts_what_is_heard() {
    let verbs = [
        Step::Prompt(play("https://app.example/a.wav", 0)),
        gathering(Gather { timeout: 100, ..gather(vec![]) }),
        Step::Record(Record { play_beep: false, ..record() }),
    ];
    for verb in verbs {
        let mut t = screening(vec![verb]).start();
        t.answers(0);
        t.skip();
        t.pass(59_999);
        t.says("cancel 1");
        t.pass(1);
        t.says("bye 0, refuse 480");
        assert_eq!(t.completed(0), ("completed".into(), "60".into()));
    }
}

/// RCML.md 1.2: several legs screen at once, each with its own keys and outcome; another that wins ends the rest.
#[test]
fn legs_screen_side_by_side() {
    let nouns = [screened("bob", SCREEN)];
    let mut setup = Setup::new(vec![Step::Dial(dial(nouns))]).devices("bob", 3);
    for _ in 0..3 {
        setup = setup.document(SCREEN, press_one());
    }
    let mut t = setup.start();
    (0..3).for_each(|leg| t.answers(leg));
    t.skip();
    t.keys(leg(2), "1");
    t.says("stop 2");
    t.keys(leg(0), "2");
    t.says("stop 0");
    t.keys(CALLER, "1");
    t.hangs_up(1);
    t.says("");
    let (first, _) = t.held_documents.remove(0);
    t.document(Some(vec![Step::Hangup]));
    t.says("bye 0");
    t.input(CallInput::Evaluated {
        ticket: first,
        result: Ok(Response { outcome: Outcome::Program(Program::default()), cookies: vec![], notices: vec![] }),
    });
    t.says("answer 2, bridge 2");
    for ended in [0, 1] {
        assert_eq!(t.completed(ended).0, "completed");
    }
}

/// RCML.md 1.3 and part 2, Record: a leg's recording lies on the leg; one that hangs up is told to the action.
#[test]
fn recording_a_screened_leg() {
    let mut t = screening(vec![Step::Record(record())]).start();
    t.answers(0);
    t.heard();
    assert_eq!(t.recordings[0].1, t.invites[0].sid);
    t.skip();
    t.recorded(4, RecordingEnd::Silence);
    let request = t.request(ACTION);
    assert_eq!(
        (request.purpose, parameter(&request.parameters, "RecordingDuration")),
        (Purpose::Screening, "4".into())
    );
    t.document(Some(vec![]));
    t.says("cancel 1 elsewhere, answer 0, bridge 0");

    let mut t = screening(vec![Step::Record(record())]).start();
    t.answers(0);
    t.heard();
    t.hangs_up(0);
    t.recorded(4, RecordingEnd::Stopped);
    let request = t.request(ACTION);
    assert_eq!((request.purpose, parameter(&request.parameters, "Digits")), (Purpose::Unused, "hangup".into()));
    assert_eq!(parameter(&request.parameters, "CallStatus"), "completed");
    assert_eq!(request.call_sid, t.invites[0].sid.to_string());

    // Another leg wins: what was recorded is kept, nothing is asked.
    let mut t = screening(vec![Step::Record(record())]).start();
    t.answers(0);
    t.heard();
    let asked = t.requests.len();
    t.answers(1);
    t.recorded(4, RecordingEnd::Stopped);
    assert_eq!(t.requests.len(), asked);
}

/// RCML.md 1.3: the caller hangs up while a leg hears its prompt: it ends, completed.
#[test]
fn a_caller_who_leaves_a_screening_leg() {
    let mut t = screening(press_one()).start();
    t.answers(0);
    t.skip();
    t.cancels();
    t.says("refuse 487, bye 0, cancel 1");
    assert_eq!((t.completed(0).0, t.completed(1).0), ("completed".into(), "no-answer".into()));
    t.keys(leg(0), "1");
    t.says("");
    assert!(t.finished);
}
