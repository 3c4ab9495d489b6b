//! Races between the caller, the legs and the documents (RCML.md 1.2, 1.4, 1.5).

use std::time::Duration;

use crate::common::*;
use ringfork_tests::sipp::{Scenario, call};
use ringfork_tests::web::Answer;

/// The caller gives up while a leg rings: 487 to it, CANCEL without a Reason to the leg, no-answer, and the action
/// is still requested with canceled (RCML.md 1.2, 1.4, 1.5).
#[tokio::test(flavor = "multi_thread")]
async fn caller_cancels_while_ringing() {
    let (edge, web) = start(&dial(&client("alice"))).await;
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&rings_until_cancelled(false), 1);
    let caller = Scenario::new().call().maybe("100").received("180").pause(200).cancel();
    call(&edge, NUMBER, &caller).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    check_legs(&legs, web.requests("/voice")[0].parameter("CallSid"));
    assert_eq!(statuses(legs.values().next().unwrap()), ["initiated", "ringing", "no-answer"]);
    let action = &web.wait("/action", 1).await[0];
    assert_eq!(action.parameter("DialCallStatus"), "canceled");
    assert_eq!(action.parameter("CallStatus"), "canceled");
    edge.settled().await;
}

/// The caller gives up before the callee sent any provisional response: the CANCEL is held back until one comes
/// (RFC 3261 §9.1), while the events and the caller do not wait for it (RCML.md 1.4, "Decided").
#[tokio::test(flavor = "multi_thread")]
async fn caller_cancels_before_any_180() {
    let (edge, web) = start(&dial(&client("alice"))).await;
    let password = edge.create_client("alice").await;
    let mut alice = scripted(&edge, "alice", &password).await;
    let mut invite = None;
    gives_up_upon(&edge, async { invite = Some(alice.request("INVITE").await) }).await;
    let legs = web.completed("/events", 1).await;
    assert_eq!(statuses(legs.values().next().unwrap()), ["initiated", "no-answer"]);
    let invite = invite.unwrap();
    alice.ring(&invite, "late").await;
    let cancel = alice.request("CANCEL").await;
    assert_eq!(cancel.get("Reason"), None);
    alice.ok(&cancel).await;
    alice.reply(&invite, "487 Request Terminated", "late", &[], "").await;
    alice.request("ACK").await;
    edge.settled().await;
}

/// The caller gives up while the document is being fetched: 487, nobody is rung, no event.
#[tokio::test(flavor = "multi_thread")]
async fn caller_cancels_while_the_document_is_fetched() {
    let (edge, web) = start("").await;
    web.answer("/voice", Answer::Hang(Duration::from_secs(2)));
    let mut alice = phone(&edge, "alice").await.serve(&answers(), 1);
    gives_up_upon(&edge, web.wait("/voice", 1)).await;
    edge.settled().await;
    assert!(web.requests("/events").is_empty());
    assert!(alice.is_running(), "a leg was rung for a caller who had left");
}

/// Two devices answer in the same instant: one is bridged, the other is ACKed and BYEd (RCML.md 1.2, RFC 3261 §13.2.2.4).
#[tokio::test(flavor = "multi_thread")]
async fn two_answers_in_the_same_instant() {
    for _ in 0..5 {
        let (edge, web) = start(&dial(&(client("alice") + &client("bob")))).await;
        let (alice, bob) = (phone(&edge, "alice").await, phone(&edge, "bob").await);
        // Neither sends a 180 first: both 200s leave as soon as the INVITE is in. The loser's 200 is ACKed and BYEd.
        let at_once = Scenario::new().invited().accept().recv("ACK").hung_up();
        let runs = [alice.serve(&at_once, 1), bob.serve(&at_once, 1)];
        call(&edge, NUMBER, &talks()).succeed().await;
        for run in runs {
            run.succeed().await;
        }
        let legs = web.completed("/events", 2).await;
        check_legs(&legs, web.requests("/voice")[0].parameter("CallSid"));
        let answered = legs.values().filter(|events| statuses(events).contains(&"in-progress")).count();
        assert_eq!(answered, 1, "answered is not fired for a 200 after another leg was accepted: {legs:#?}");
        let endings: Vec<_> = legs.values().map(|events| *statuses(events).last().unwrap()).collect();
        assert!(endings.contains(&"completed") && endings.contains(&"no-answer"), "{endings:?}");
        edge.settled().await;
    }
}

/// A 200 that crosses our CANCEL is ACKed and then BYEd; the leg stays no-answer with duration 0 (RCML.md 1.2, 1.4).
#[tokio::test(flavor = "multi_thread")]
async fn answer_crosses_cancel() {
    let (edge, web) = start(&dial(&(client("alice") + &client("bob")))).await;
    let password = edge.create_client("alice").await;
    let mut winner = scripted(&edge, "alice", &password).await;
    let bob = phone(&edge, "bob").await;
    let late = bob.serve(
        &Scenario::new()
            .invited()
            .answer("180 Ringing")
            .cancel_received(true)
            .answer_invite_late("200 OK")
            .recv("ACK")
            .hung_up(),
        1,
    );
    let caller = call(&edge, NUMBER, &talks());
    answers_upon(&mut winner, told(&web, "ringing", 2)).await;
    caller.succeed().await;
    late.succeed().await;
    let legs = web.completed("/events", 2).await;
    let bob = legs_to(&legs, "client:bob")[0];
    assert_eq!(statuses(bob), ["initiated", "ringing", "no-answer"]);
    assert_eq!(bob.last().unwrap().parameter("CallDuration"), "0");
    edge.settled().await;
}

/// A 200 without usable audio is ACKed and BYEd: failed, duration 0, no answered event (RCML.md 1.4).
#[tokio::test(flavor = "multi_thread")]
async fn answer_without_audio() {
    let (edge, web) = start(&dial(&client("alice"))).await;
    let alice = phone(&edge, "alice").await;
    let callee =
        alice.serve(&Scenario::new().invited().answer("180 Ringing").answer("200 OK").recv("ACK").hung_up(), 1);
    call(&edge, NUMBER, &is_refused("480")).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    let events = legs.values().next().unwrap();
    assert_eq!(statuses(events), ["initiated", "ringing", "failed"]);
    assert_eq!(events.last().unwrap().parameter("CallDuration"), "0");
    edge.settled().await;
}
