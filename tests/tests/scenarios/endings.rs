//! How legs and calls end (RCML.md 1.2, 1.4, 1.5, part 2).

use crate::common::*;
use ringfork_tests::sipp::{Scenario, call};

/// What one callee does, how its leg ends, the Dial's status, and what the caller's phone gets.
async fn refused_with(answer: &str, leg: &str, dial_status: &str, caller: &str) {
    let (edge, web) = start(&dial(&client("alice"))).await;
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&refuses(answer), 1);
    call(&edge, NUMBER, &is_refused(caller)).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    check_legs(&legs, web.requests("/voice")[0].parameter("CallSid"));
    assert_eq!(statuses(legs.values().next().unwrap()), ["initiated", leg]);
    let action = &web.wait("/action", 1).await[0];
    assert_eq!(action.parameter("DialCallStatus"), dial_status);
    assert_eq!(action.parameter("DialCallDuration"), "0");
    assert_eq!(action.parameter("DialCallSid"), legs.keys().next().unwrap());
    edge.settled().await;
}

/// 486: the leg is busy, the Dial is busy, and the end of the document refuses the caller with 486 (RCML.md part 2).
#[tokio::test(flavor = "multi_thread")]
async fn busy() {
    refused_with("486 Busy Here", "busy", "busy", "486").await;
}

/// 603 ends that leg only, as busy (RCML.md 1.2, 1.4).
#[tokio::test(flavor = "multi_thread")]
async fn declined() {
    refused_with("603 Decline", "busy", "busy", "486").await;
}

/// 480 is no-answer (RCML.md 1.4).
#[tokio::test(flavor = "multi_thread")]
async fn unavailable() {
    refused_with("480 Temporarily Unavailable", "no-answer", "no-answer", "480").await;
}

/// Any other failure is failed (RCML.md 1.4).
#[tokio::test(flavor = "multi_thread")]
async fn failed() {
    refused_with("500 Server Internal Error", "failed", "failed", "480").await;
}

/// A 3xx is not followed: failed (RCML.md 1.2).
#[tokio::test(flavor = "multi_thread")]
async fn redirected_leg() {
    refused_with("302 Moved Temporarily", "failed", "failed", "480").await;
}

/// `<Dial timeout>` bounds ringing: ringing legs are cancelled, without the Reason of a winner, and are no-answer.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    let document = format!(r#"<Response><Dial action="/action" timeout="1">{}</Dial></Response>"#, client("alice"));
    let (edge, web) = start(&document).await;
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&rings_until_cancelled(false), 1);
    call(&edge, NUMBER, &is_refused("480")).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    assert_eq!(statuses(legs.values().next().unwrap()), ["initiated", "ringing", "no-answer"]);
    let action = &web.wait("/action", 1).await[0];
    assert_eq!(action.parameter("DialCallStatus"), "no-answer");
    check_seconds(action, "DialRingDuration", 1);
    edge.settled().await;
}

/// The callee hangs up: the leg is completed, the action's document goes on for the caller (RCML.md 1.5).
#[tokio::test(flavor = "multi_thread")]
async fn callee_hangs_up() {
    let (edge, web) = start(&dial(&client("alice"))).await;
    web.document("/action", "<Response><Hangup/></Response>");
    let alice = phone(&edge, "alice").await;
    let scenario =
        Scenario::new().invited_to_leave().answer("180 Ringing").accept().recv("ACK").pause(1200).hang_up_called();
    let callee = alice.serve(&scenario, 1);
    let caller = Scenario::new().call().finally("200").ack().hung_up();
    call(&edge, NUMBER, &caller).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    let last = legs.values().next().unwrap().last().unwrap().clone();
    assert_eq!(last.parameter("CallStatus"), "completed");
    check_seconds(&last, "CallDuration", 1);
    let action = &web.wait("/action", 1).await[0];
    assert_eq!(action.parameter("DialCallStatus"), "completed");
    check_seconds(action, "DialCallDuration", 1);
    assert_eq!(action.parameter("CallStatus"), "in-progress", "the caller is still there");
    edge.settled().await;
}

/// Without `action` the next verb runs, also after an answered dial (RCML.md 1.5).
#[tokio::test(flavor = "multi_thread")]
async fn next_verb_runs_without_action() {
    let document = r#"<Response><Dial><Client>alice</Client></Dial><Redirect>/next</Redirect></Response>"#;
    let (edge, web) = start(document).await;
    web.document("/next", "<Response><Reject reason=\"busy\"/></Response>");
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&refuses("480 Gone"), 1);
    call(&edge, NUMBER, &is_refused("486")).succeed().await;
    callee.succeed().await;
    assert_eq!(web.requests("/next").len(), 1);
}

/// `timeLimit` bounds the bridged time (RCML.md 1.5).
#[tokio::test(flavor = "multi_thread")]
async fn time_limit() {
    let document = format!(r#"<Response><Dial timeLimit="1">{}</Dial></Response>"#, client("alice"));
    let (edge, web) = start(&document).await;
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&answers(), 1);
    call(&edge, NUMBER, &Scenario::new().call().finally("200").ack().hung_up()).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    check_seconds(legs.values().next().unwrap().last().unwrap(), "CallDuration", 1);
    edge.settled().await;
}

/// Reject: busy is 486, anything else 603; nothing is dialed (RCML.md part 2).
#[tokio::test(flavor = "multi_thread")]
async fn reject() {
    let (edge, web) = start(r#"<Response><Reject reason="busy"/></Response>"#).await;
    call(&edge, NUMBER, &is_refused("486")).succeed().await;
    web.document("/voice", "<Response><Reject/></Response>");
    call(&edge, NUMBER, &is_refused("603")).succeed().await;
    web.document("/voice", "<Response/>");
    call(&edge, NUMBER, &is_refused("480")).succeed().await;
    call(&edge, "+19998887777", &is_refused("404")).succeed().await;
    edge.settled().await;
}
