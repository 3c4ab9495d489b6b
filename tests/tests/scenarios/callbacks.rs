//! Status callbacks and their delivery (RCML.md 1.1, 1.4, 3.3).

use std::time::Duration;

use crate::common::*;
use ringfork_tests::edge::Edge;
use ringfork_tests::sipp::call;
use ringfork_tests::web::{Answer, Request, Web};

/// One answered call whose noun has these attributes; returns the web server's record.
async fn answered_call(attributes: &str) -> (Edge, Web) {
    let (edge, web) = start(&format!("<Response><Dial><Client {attributes}>alice</Client></Dial></Response>")).await;
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&answers(), 1);
    call(&edge, NUMBER, &talks()).succeed().await;
    callee.succeed().await;
    edge.settled().await;
    (edge, web)
}

/// Each subset of events is sent, in order, numbered from 0 without a gap, by GET and by POST.
#[tokio::test(flavor = "multi_thread")]
async fn every_subset_by_get_and_post() {
    let (edge, web) = start("").await;
    let alice = phone(&edge, "alice").await;
    let names = ["initiated", "ringing", "answered", "completed"];
    for subset in 1u32..16 {
        let chosen: Vec<&str> =
            names.iter().enumerate().filter(|(bit, _)| subset & (1 << bit) != 0).map(|(_, n)| *n).collect();
        let method = if subset % 2 == 0 { "GET" } else { "POST" };
        let separator = if subset % 3 == 0 { " " } else { "," };
        web.document(
            "/voice",
            &format!(
                r#"<Response><Dial><Client statusCallback="/events/{subset}" statusCallbackMethod="{method}" statusCallbackEvent="{}">alice</Client></Dial></Response>"#,
                chosen.join(separator)
            ),
        );
        let callee = alice.serve(&answers(), 1);
        call(&edge, NUMBER, &talks()).succeed().await;
        callee.succeed().await;
        let path = format!("/events/{subset}");
        web.wait(&path, chosen.len()).await;
        edge.settled().await;
        let legs = web.legs(&path);
        assert_eq!(legs.len(), 1);
        let events = legs.values().next().unwrap();
        let expected: Vec<&str> =
            chosen.iter().map(|name| if *name == "answered" { "in-progress" } else { *name }).collect();
        assert_eq!(statuses(events), expected, "subset {chosen:?}");
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event.method, method);
            assert_eq!(event.parameter("SequenceNumber"), index.to_string());
        }
    }
}

/// No statusCallback: no callbacks at all; the leg still appears in Calls when it is over (RCML.md 1.1, 3.4).
#[tokio::test(flavor = "multi_thread")]
async fn none_asked() {
    let (edge, web) = answered_call("").await;
    assert_eq!(web.all().len(), 1, "only the document was asked for");
    let parent = web.requests("/voice")[0].parameter("CallSid").to_owned();
    ringfork_tests::eventually("the leg in Calls", async || {
        let calls = edge.rest("GET", &format!("/Calls.json?ParentCallSid={parent}"), &[]).await;
        let calls = calls["calls"].as_array().unwrap().clone();
        (calls.len() == 1 && calls[0]["status"] == "completed").then_some(())
    })
    .await;
}

/// 5xx is tried again with the same method, URL, body and Idempotency-Key; only the signature's time is new.
#[tokio::test(flavor = "multi_thread")]
async fn server_error_is_tried_again() {
    let (edge, web) = start(r#"<Response><Dial><Client statusCallback="/events" statusCallbackEvent="completed">alice</Client></Dial></Response>"#).await;
    web.answer("/events", Answer::Flaky(2, 500, "<Response/>".into()));
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&answers(), 1);
    call(&edge, NUMBER, &talks()).succeed().await;
    callee.succeed().await;
    let tries = web.wait("/events", 3).await;
    for name in ["idempotency-key", "x-twilio-signature", "x-restcomm-signature"] {
        assert!(tries[0].headers.contains_key(name), "{name}");
    }
    let same = |request: &Request| {
        let mut headers = request.headers.clone();
        headers.remove("x-restcomm-signature");
        (request.method.clone(), request.url.clone(), request.body.clone(), headers)
    };
    assert!(tries.iter().all(|again| same(again) == same(&tries[0])), "{tries:#?}");
}

/// The call never waits for a callback: a receiver that hangs holds nothing up (RCML.md 1.4).
#[tokio::test(flavor = "multi_thread")]
async fn hanging_receiver_holds_nothing_up() {
    let (edge, web) = start(&dial(&client("alice"))).await;
    web.answer("/events", Answer::Hang(Duration::from_secs(86_400)));
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&answers(), 1);
    call(&edge, NUMBER, &talks()).succeed().await;
    callee.succeed().await;
    edge.settled().await;
    // An edge that waited for one answer would have repeated that callback by now.
    let sequence = |requests: &[Request]| {
        let mut numbers: Vec<String> =
            requests.iter().take(4).map(|event| event.parameter("SequenceNumber").to_owned()).collect();
        numbers.sort();
        numbers
    };
    let until_over = sequence(&web.requests("/events"));
    assert!(until_over.windows(2).all(|pair| pair[0] != pair[1]), "repeated while the call was up: {until_over:?}");
    assert_eq!(sequence(&web.wait("/events", 4).await), ["0", "1", "2", "3"]);
}

/// Any other answer is not repeated and leaves a warning (RCML.md 1.4).
#[tokio::test(flavor = "multi_thread")]
async fn refusal_is_not_repeated() {
    let (edge, web) = start(&dial(&client("alice"))).await;
    web.answer("/events", Answer::Status(403, "no".into()));
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&answers(), 1);
    call(&edge, NUMBER, &talks()).succeed().await;
    callee.succeed().await;
    web.wait("/events", 4).await;
    edge.settled().await;
    let sid = web.requests("/events")[0].parameter("CallSid").to_owned();
    ringfork_tests::eventually("the warnings of refused callbacks", async || {
        let notices = edge.rest("GET", &format!("/Notifications.json?CallSid={sid}"), &[]).await;
        (notices["notifications"].as_array().unwrap().len() == 4).then_some(())
    })
    .await;
    assert_eq!(web.requests("/events").len(), 4);
}

/// A receiver that refuses connections costs the call nothing (RCML.md 1.4).
#[tokio::test(flavor = "multi_thread")]
async fn refused_connection_costs_the_call_nothing() {
    let port = ringfork_tests::sipp::free_port("127.0.0.1");
    let (edge, _web) = answered_call(&format!(r#"statusCallback="http://127.0.0.1:{port}/gone""#)).await;
    drop(edge);
}
