//! RCML.md part 2 and 3: the verbs on the caller's call, its documents, its end.

use ringfork_rcml::evaluation::{Outcome, Purpose};
use ringfork_rcml::program::{RejectReason, Step};

use super::bench::*;
use crate::action::{Application, StoreError};
use crate::control::signals::CallInput;
use crate::control::{CallerInfo, Reaches, Write};

const NEXT: &str = "https://app.example/next";

/// RCML.md 3.1: the parameters of the first request; part 3.2: the fallback goes with it and with no other.
#[test]
fn the_first_request() {
    let caller = CallerInfo {
        login: Some("alice".into()),
        display_name: Some("Alice".into()),
        called: "+15550".into(),
        forwarded_from: Some("+15559".into()),
        headers: vec![("X-Tenant".into(), "7".into())],
        ..CallerInfo::default()
    };
    let application = Application { document: at(FIRST), fallback: Some(at("https://app.example/fallback")) };
    let t = Setup::new(vec![redirect(NEXT)]).caller(caller).reaches(Reaches::Application(application)).start();
    let request = t.request(FIRST);
    let sid = t.call.sid().to_string();
    let expected = [
        ("CallSid", sid.as_str()),
        ("AccountSid", "AC1"),
        ("From", "client:alice"),
        ("To", "+15550"),
        ("CallStatus", "ringing"),
        ("ApiVersion", "2012-04-24"),
        ("Direction", "inbound"),
        ("CallerName", "Alice"),
        ("ForwardedFrom", "+15559"),
        ("SipHeader_X-Tenant", "7"),
    ];
    let sent: Vec<_> = request.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(sent, expected);
    assert_eq!((request.purpose, request.fallback.is_some()), (Purpose::Call, true));
    let next = t.request(NEXT);
    assert_eq!((next.fallback.is_some(), next.cookies.as_slice()), (false, ["seen=1".to_owned()].as_slice()));
}

/// RCML.md part 2: how each end of the program refuses an unanswered caller; 3.1: its final CallStatus.
#[test]
fn ends_of_an_unanswered_call() {
    let table = [
        (vec![], "refuse 480", "no-answer"),
        (vec![Step::Hangup], "refuse 480", "no-answer"),
        (vec![reject(RejectReason::Busy)], "refuse 486", "busy"),
        (vec![reject(RejectReason::Rejected)], "refuse 603", "no-answer"),
    ];
    for (verbs, said, status) in table {
        let mut t = Setup::new(verbs).start();
        t.says(said);
        assert_eq!(t.final_status(), status);
        assert!(t.finished && t.call.is_over());
    }
}

/// RCML.md part 2: 486 if the last Dial ended busy, else 480.
#[test]
fn a_busy_dial_refuses_busy() {
    let verbs = || vec![Step::Dial(dial([client("bob")])), Step::Dial(dial([client("eve")])), Step::Hangup];
    for (first, second, said) in [(404, 486, "refuse 486"), (486, 404, "refuse 480")] {
        let mut t = Setup::new(verbs()).devices("bob", 1).devices("eve", 1).start();
        t.refuses(0, first);
        t.skip();
        t.refuses(1, second);
        t.says(said);
    }
}

/// RCML.md part 2: a first document that failed: 500, and the call ends failed.
#[test]
fn no_first_document() {
    let mut t = Setup::new(vec![]).no_document(FIRST).start();
    t.says("refuse 500");
    assert_eq!(t.final_status(), "failed");
    assert!(t.finished);
}

/// RCML.md part 2: a later document that cannot be fetched ends the call (500 for an unanswered caller).
#[test]
fn no_later_document() {
    let mut t = Setup::new(vec![pause(1), redirect(NEXT)]).no_document(NEXT).start();
    t.pass_seconds(1);
    t.says("ring, refuse 500");
}

/// The function itself could not be run: as a failed document, with an error on the call.
#[test]
fn evaluate_could_not_be_run() {
    let mut t = Setup::new(vec![]).held(FIRST).start();
    let (ticket, _) = t.held_documents.remove(0);
    t.input(CallInput::Evaluated { ticket, result: Err("throttled".into()) });
    t.says("refuse 500");
    assert_eq!(t.notices[0].call, t.call.sid());
}

/// RCML.md part 2: Pause waits while it rings, and sends 180.
#[test]
fn pause_rings_and_waits() {
    let mut t = Setup::new(vec![pause(2), pause(1), reject(RejectReason::Busy)]).start();
    t.says("ring");
    t.pass(2_999);
    t.says("");
    t.pass(1);
    t.says("refuse 486");
}

/// RCML.md part 2: Reject refuses an unanswered call; one that was answered goes on.
#[test]
fn reject_after_an_answer_is_skipped() {
    let verbs = vec![Step::Dial(dial([client("bob")])), reject(RejectReason::Busy), Step::Hangup];
    let mut t = Setup::new(verbs).devices("bob", 1).start();
    t.answers(0);
    t.skip();
    t.hangs_up(0);
    t.says("hang up");
    assert_eq!((t.notices.len(), t.final_status()), (1, "completed"));
}

fn chain(length: usize, last: Vec<Step>, waits_at: Option<usize>) -> Bench {
    let mut setup = Setup::new(vec![redirect(NEXT)]).devices("bob", 1);
    for n in 2..length {
        let pause = (waits_at == Some(n)).then(|| pause(1));
        setup = setup.document(NEXT, pause.into_iter().chain([redirect(NEXT)]).collect());
    }
    setup.document(NEXT, last).start()
}

/// RCML.md part 2, Redirect: the 21st document in a row in which nothing waited ends the call with an error.
#[test]
fn a_chain_of_redirects_is_bounded() {
    let mut t = chain(21, vec![Step::Dial(dial([client("bob")]))], None);
    t.says("invite 0");
    let mut t = chain(22, vec![Step::Dial(dial([client("bob")]))], None);
    t.says("refuse 500");
    assert_eq!(t.requests.len(), 21);
    assert_eq!(t.notices[0].notice.level, ringfork_rcml::evaluation::Level::Error);
    assert_eq!(t.final_status(), "failed");
}

/// RCML.md part 2, Redirect: a document in which something waited begins the row anew.
#[test]
fn waiting_begins_the_row_anew() {
    let mut t = chain(41, vec![Step::Dial(dial([client("bob")]))], Some(20));
    t.pass_seconds(1);
    t.says("ring, invite 0");
}

/// RCML.md part 2, Redirect: a Dial without a leg does not wait, one with a leg does.
#[test]
fn a_dial_with_a_leg_waits() {
    for (devices, requests) in [(0, 21), (1, 42)] {
        let looping = ringfork_rcml::program::Dial { action: Some(at(NEXT)), ..dial([client("bob")]) };
        let mut setup = Setup::new(vec![Step::Dial(looping.clone())]).devices("bob", devices);
        for _ in 0..41 {
            setup = setup.document(NEXT, vec![Step::Dial(looping.clone())]);
        }
        let mut t = setup.start();
        for leg in 0..41 {
            t.refuses(leg, 486);
        }
        assert_eq!(t.requests.len(), requests);
    }
}

/// RCML.md part 2: a caller who leaves while its document is being fetched; the answer is not run.
#[test]
fn a_cancel_while_the_document_is_fetched() {
    let mut t = Setup::new(vec![]).held(FIRST).start();
    t.cancels();
    t.says("refuse 487");
    assert_eq!(t.final_status(), "canceled");
    assert!(!t.finished);
    t.document(Some(vec![pause(1)]));
    t.says("");
    assert!(t.finished);
}

/// RCML.md part 2: a caller who leaves during Pause.
#[test]
fn a_cancel_during_pause() {
    let mut t = Setup::new(vec![pause(5), redirect(NEXT)]).start();
    t.cancels();
    t.says("ring, refuse 487");
    t.pass_seconds(10);
    t.says("");
    assert!(t.finished);
}

/// RCML.md part 2: a client's call to another client is as if by `<Dial><Client>` without attributes.
#[test]
fn a_client_is_reached_without_a_document() {
    let reach = || Setup::new(vec![]).reaches(Reaches::Client { identity: "bob".into() });
    let mut t = reach().devices("bob", 2).start();
    t.says("invite 0, invite 1");
    assert_eq!(t.invites[0].expires, 35);
    t.answers(0);
    t.hangs_up(0);
    assert!(t.requests.is_empty() && t.events.is_empty() && t.finished);
    let to = |write: &Write| match write {
        Write::PutParent { call, .. } => Some(call.to.clone()),
        _ => None,
    };
    assert_eq!(t.writes.iter().find_map(to).as_deref(), Some("client:bob"));

    let mut t = reach().start();
    t.says("refuse 480");
    let mut t = reach().devices("bob", 1).start();
    t.skip();
    t.refuses(0, 486);
    t.says("refuse 486");
}

/// RCML.md 3.2: what a document leaves as warnings and errors is kept with its call.
#[test]
fn notices_lie_on_the_call() {
    let mut t = Setup::new(vec![]).held(FIRST).start();
    let (ticket, _) = t.held_documents.remove(0);
    let notice = crate::control::notices::reject_answered();
    let response = ringfork_rcml::evaluation::Response {
        outcome: Outcome::Failed,
        cookies: vec![],
        notices: vec![notice.clone()],
    };
    t.input(CallInput::Evaluated { ticket, result: Ok(response) });
    assert_eq!((t.notices[0].call, &t.notices[0].notice), (t.call.sid(), &notice));
}

/// DESIGN "State in DynamoDB": a stale edge's writes fail and it drops those calls; nothing more is reported.
#[test]
fn a_stale_call_is_dropped() {
    let mut t = dialing(dial([client("bob"), screened("eve", "s")]), &[("bob", 1), ("eve", 1)]);
    t.answers(1);
    t.skip();
    let (events, writes) = (t.events.len(), t.writes.len());
    t.store = Some(Err(StoreError::Stale));
    t.provisional(0, 180);
    t.says("refuse 500, cancel 0, bye 1");
    assert!(t.finished);
    assert_eq!((t.events.len(), t.writes.len()), (events, writes + 1));
}

/// A bridged call that is dropped: both sides are hung up.
#[test]
fn a_bridged_call_is_dropped() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.answers(0);
    t.skip();
    t.input(CallInput::Dropped);
    t.says("hang up, bye 0");
    assert!(t.finished);
    t.hangs_up(0);
    t.caller_hangs_up();
    t.says("");
}
