//! Call screening: how each leg and the caller end (RCML.md 1.3). What is heard meanwhile is in `tests/screening.rs`.

use crate::common::*;
use ringfork_tests::sipp::{Scenario, call};

/// A `<Client>` that is screened by this path for so long, and reports everything.
fn screened(login: &str, path: &str, timeout: &str) -> String {
    format!(r#"<Client url="{path}" {timeout} statusCallback="/events">{login}</Client>"#)
}

/// A callee that rings, answers, and is hung up on without having been connected.
fn answers_and_is_let_go() -> Scenario {
    Scenario::new().invited().answer("180 Ringing").accept().recv("ACK").hung_up()
}

/// A caller that is refused after a while, having heard 180.
async fn declined_by(edge_documents: &[(&str, &str)], timeout: &str, seconds: &[&str]) {
    let (edge, web) = start(&dial(&screened("alice", "/screen", timeout))).await;
    for (path, document) in edge_documents {
        web.document(path, document);
    }
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&answers_and_is_let_go(), 1);
    call(&edge, NUMBER, &is_refused("480")).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    let parent = web.requests("/voice")[0].parameter("CallSid").to_owned();
    check_legs(&legs, &parent);
    let events = legs.values().next().unwrap();
    // It answered: completed, although it was never connected (RCML.md 1.4).
    assert_eq!(statuses(events), ["initiated", "ringing", "in-progress", "completed"]);
    assert!(seconds.contains(&events[3].parameter("CallDuration")), "{}", events[3].parameter("CallDuration"));
    let screen = &web.requests("/screen")[0];
    assert_eq!(screen.parameter("CallSid"), events[0].parameter("CallSid"), "the leg's own parameters");
    assert_eq!(screen.parameter("ParentCallSid"), parent);
    let action = &web.wait("/action", 1).await[0];
    assert_eq!(action.parameter("DialCallStatus"), "no-answer");
    assert_eq!(action.parameter("DialCallDuration"), "0");
    edge.settled().await;
}

/// RCML.md 1.3: `timeout`, counted from the answer, ends a leg in screening.
#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_of_one_second() {
    let document = r#"<Response><Pause length="30"/></Response>"#;
    declined_by(&[("/screen", document)], r#"timeout="1""#, &["1", "2"]).await;
}

/// RCML.md 1.1: it is 60 seconds where the noun does not say.
#[tokio::test(flavor = "multi_thread")]
async fn the_default_timeout() {
    let document = r#"<Response><Pause length="90"/></Response>"#;
    declined_by(&[("/screen", document)], "", &["60", "61"]).await;
}

/// RCML.md 1.3: Hangup declines.
#[tokio::test(flavor = "multi_thread")]
async fn hangup_declines() {
    declined_by(&[("/screen", "<Response><Hangup/></Response>")], "", &["0", "1"]).await;
}

/// RCML.md 1.3: a Gather without a key goes on with the next verb, here Hangup: the press-1 pattern's silence.
#[tokio::test(flavor = "multi_thread")]
async fn silence_declines() {
    let document = r#"<Response><Gather numDigits="1" timeout="1" action="/key"/><Hangup/></Response>"#;
    declined_by(&[("/screen", document)], "", &["1", "2"]).await;
}

/// RCML.md 1.3: a document that cannot be fetched declines.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_none_declines() {
    declined_by(&[("/screen", "<Response><Pause")], "", &["0", "1"]).await;
}

/// RCML.md 1.3: a document with `<Dial>` is refused and nothing of it runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_dial_is_refused() {
    let document = r#"<Response><Pause length="20"/><Dial><Client>bob</Client></Dial></Response>"#;
    declined_by(&[("/screen", document)], "", &["0", "1"]).await;
}

/// RCML.md 1.2: the Dial's timeout does not end a leg that is in screening: it accepts afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn the_dial_timeout_passes_while_a_leg_screens() {
    let nouns = format!("{}{}", screened("alice", "/screen", ""), client("bob"));
    let (edge, web) =
        start(&format!(r#"<Response><Dial action="/action" timeout="1">{nouns}</Dial></Response>"#)).await;
    web.document("/screen", r#"<Response><Pause length="3"/></Response>"#);
    let (alice, bob) = (phone(&edge, "alice").await, phone(&edge, "bob").await);
    let accepts = alice.serve(&answers(), 1);
    let rings = bob.serve(&rings_until_cancelled(false), 1);
    call(&edge, NUMBER, &talks()).succeed().await;
    accepts.succeed().await;
    rings.succeed().await;
    let legs = web.completed("/events", 2).await;
    check_legs(&legs, web.requests("/voice")[0].parameter("CallSid"));
    assert_eq!(statuses(legs_to(&legs, "client:bob")[0]), ["initiated", "ringing", "no-answer"]);
    let alice = legs_to(&legs, "client:alice")[0];
    assert_eq!(statuses(alice), ["initiated", "ringing", "in-progress", "completed"]);
    assert_eq!(web.wait("/action", 1).await[0].parameter("DialCallStatus"), "completed");
    edge.settled().await;
}

/// RCML.md 1.5: a caller who gives up while a leg screens ends that leg at once; `action` says canceled.
#[tokio::test(flavor = "multi_thread")]
async fn the_caller_leaves_during_screening() {
    let (edge, web) = start(&dial(&screened("alice", "/screen", ""))).await;
    web.document("/screen", r#"<Response><Pause length="50"/></Response>"#);
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&answers_and_is_let_go(), 1);
    gives_up_upon(&edge, told(&web, "in-progress", 1)).await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    check_legs(&legs, web.requests("/voice")[0].parameter("CallSid"));
    let events = legs.values().next().unwrap();
    assert_eq!(statuses(events), ["initiated", "ringing", "in-progress", "completed"]);
    assert_eq!(web.wait("/action", 1).await[0].parameter("DialCallStatus"), "canceled");
    edge.settled().await;
}

/// RCML.md 1.2, 1.3: while one leg screens another that needs none is answered and wins; the first gets BYE.
#[tokio::test(flavor = "multi_thread")]
async fn another_leg_wins_meanwhile() {
    let (edge, web) = start(&dial(&format!("{}{}", screened("alice", "/screen", ""), client("bob")))).await;
    web.document("/screen", r#"<Response><Pause length="50"/></Response>"#);
    let screens = phone(&edge, "alice").await.serve(&answers_and_is_let_go(), 1);
    let password = edge.create_client("bob").await;
    let mut bob = scripted(&edge, "bob", &password).await;
    let caller = call(&edge, NUMBER, &talks());
    answers_upon(&mut bob, told(&web, "in-progress", 1)).await;
    caller.succeed().await;
    screens.succeed().await;
    let legs = web.completed("/events", 2).await;
    check_legs(&legs, web.requests("/voice")[0].parameter("CallSid"));
    for login in ["client:alice", "client:bob"] {
        assert_eq!(statuses(legs_to(&legs, login)[0]), ["initiated", "ringing", "in-progress", "completed"], "{login}");
    }
    let action = &web.wait("/action", 1).await[0];
    assert_eq!(action.parameter("DialCallStatus"), "completed");
    assert_eq!(action.parameter("DialCallSid"), legs_to(&legs, "client:bob")[0][0].parameter("CallSid"));
    edge.settled().await;
}

/// RCML.md 1.3: a callee who hangs up in screening ends that leg only.
#[tokio::test(flavor = "multi_thread")]
async fn the_callee_leaves_during_screening() {
    let (edge, web) = start(&dial(&screened("alice", "/screen", ""))).await;
    web.document("/screen", r#"<Response><Pause length="50"/></Response>"#);
    let alice = phone(&edge, "alice").await;
    let scenario =
        Scenario::new().invited_to_leave().answer("180 Ringing").accept().recv("ACK").pause(300).hang_up_called();
    let callee = alice.serve(&scenario, 1);
    call(&edge, NUMBER, &is_refused("480")).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    assert_eq!(statuses(legs.values().next().unwrap()), ["initiated", "ringing", "in-progress", "completed"]);
    assert_eq!(web.wait("/action", 1).await[0].parameter("DialCallStatus"), "no-answer");
    edge.settled().await;
}
