//! Who is rung (RCML.md 1.2).

use crate::common::*;
use ringfork_tests::sipp::{Phone, Scenario, call};

/// One client, one device: the whole life of a call and every parameter of its callbacks (RCML.md 1.4, 1.5, 3.1).
#[tokio::test(flavor = "multi_thread")]
async fn one_client_one_device() {
    let (edge, web) = start(&dial(&client("alice"))).await;
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&answers(), 1);
    call(&edge, NUMBER, &talks()).succeed().await;
    callee.succeed().await;

    let voice = &web.wait("/voice", 1).await[0];
    assert_eq!(voice.parameter("To"), NUMBER);
    assert_eq!(voice.parameter("From"), "+15550001111");
    assert_eq!(voice.parameter("CallerName"), "Test Caller");
    assert_eq!(voice.parameter("CallStatus"), "ringing");
    assert_eq!(voice.parameter("Direction"), "inbound");
    let parent = voice.parameter("CallSid").to_owned();

    let legs = web.completed("/events", 1).await;
    check_legs(&legs, &parent);
    assert_eq!(legs.len(), 1);
    let events = legs.values().next().unwrap();
    assert_eq!(statuses(events), ["initiated", "ringing", "in-progress", "completed"]);
    assert_eq!(events[0].parameter("To"), "client:alice");
    assert_eq!(events[0].parameter("From"), "+15550001111");
    assert_ne!(events[0].parameter("CallSid"), parent);

    let action = &web.wait("/action", 1).await[0];
    assert_eq!(action.parameter("CallSid"), parent);
    assert_eq!(action.parameter("DialCallStatus"), "completed");
    assert_eq!(action.parameter("DialCallSid"), events[0].parameter("CallSid"));
    assert!(action.get("DialCallDuration").is_some() && action.get("DialRingDuration").is_some());
    assert_eq!(action.parameter("CallStatus"), "completed", "the caller hung up: the final status of its call");
    edge.settled().await;
}

/// One client with three devices: three legs, three CallSids, each with its own complete set of events; the losers
/// get CANCEL with the Reason of RCML.md 1.2 and end as no-answer.
#[tokio::test(flavor = "multi_thread")]
async fn every_device_rings() {
    let (edge, web) = start(&dial(&client("alice"))).await;
    let password = edge.create_client("alice").await;
    let first = Phone::register(&edge, "alice", &password).await;
    let mut winner = scripted(&edge, "alice", &password).await;
    let last = Phone::register(&edge, "alice", &password).await;
    let losers = [first, last].map(|phone| phone.serve(&rings_until_cancelled(true), 1));
    let caller = call(&edge, NUMBER, &talks());
    answers_upon(&mut winner, told(&web, "ringing", 3)).await;
    caller.succeed().await;
    for loser in losers {
        loser.succeed().await;
    }
    let legs = web.completed("/events", 3).await;
    check_legs(&legs, web.requests("/voice")[0].parameter("CallSid"));
    assert_eq!(legs.len(), 3);
    let mut endings: Vec<&str> = legs.values().map(|events| *statuses(events).last().unwrap()).collect();
    endings.sort_unstable();
    assert_eq!(endings, ["completed", "no-answer", "no-answer"]);
    for events in legs.values() {
        let expected: &[&str] = match *statuses(events).last().unwrap() {
            "completed" => &["initiated", "ringing", "in-progress", "completed"],
            _ => &["initiated", "ringing", "no-answer"],
        };
        assert_eq!(statuses(events), expected);
        assert_eq!(events[0].parameter("To"), "client:alice");
    }
    edge.settled().await;
}

/// Ten nouns ring at once; an eleventh is not dialed and leaves a warning on the parent (RCML.md 1.2).
#[tokio::test(flavor = "multi_thread")]
async fn ten_nouns_and_an_eleventh() {
    let nouns: String = (0..11).map(|n| client(&format!("user{n}"))).collect();
    let (edge, web) = start(&dial(&nouns)).await;
    let password = edge.create_client("user0").await;
    let mut winner = scripted(&edge, "user0", &password).await;
    let mut runs = Vec::new();
    for n in 1..10 {
        runs.push(phone(&edge, &format!("user{n}")).await.serve(&rings_until_cancelled(true), 1));
    }
    let mut eleventh = phone(&edge, "user10").await.serve(&answers(), 1);
    let caller = call(&edge, NUMBER, &talks());
    answers_upon(&mut winner, told(&web, "ringing", 10)).await;
    caller.succeed().await;
    for run in runs {
        run.succeed().await;
    }
    let legs = web.completed("/events", 10).await;
    let parent = web.requests("/voice")[0].parameter("CallSid").to_owned();
    check_legs(&legs, &parent);
    assert_eq!(legs.len(), 10);
    assert!(legs_to(&legs, "client:user10").is_empty());
    assert!(eleventh.is_running(), "the eleventh noun was dialed");
    let starts: Vec<_> = legs.values().map(|events| events[0].at).collect();
    let spread = starts.iter().max().unwrap().duration_since(*starts.iter().min().unwrap());
    assert!(spread.as_secs() < 5, "legs are queued: their first events are {spread:?} apart");
    ringfork_tests::eventually("the warning of the eleventh noun", async || {
        let notices = edge.rest("GET", &format!("/Notifications.json?CallSid={parent}"), &[]).await;
        (!notices["notifications"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    edge.settled().await;
}

/// A client with no binding yields no leg and no event; the others go on (RCML.md 1.2).
#[tokio::test(flavor = "multi_thread")]
async fn unregistered_beside_registered() {
    let (edge, web) = start(&dial(&(client("ghost") + &client("nobody") + &client("alice")))).await;
    edge.create_client("ghost").await;
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&answers(), 1);
    call(&edge, NUMBER, &talks()).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    assert_eq!(legs.len(), 1);
    assert_eq!(legs_to(&legs, "client:alice").len(), 1);
    edge.settled().await;
}

/// If no noun yields a leg, the Dial ends at once with failed, and no `DialCallSid` (RCML.md 1.2, 1.5).
#[tokio::test(flavor = "multi_thread")]
async fn all_unregistered() {
    let (edge, web) = start(&dial(&(client("ghost") + &client("nobody")))).await;
    edge.create_client("ghost").await;
    call(&edge, NUMBER, &is_refused("480")).succeed().await;
    let action = &web.wait("/action", 1).await[0];
    assert_eq!(action.parameter("DialCallStatus"), "failed");
    assert_eq!(action.get("DialCallSid"), None);
    assert_eq!(action.parameter("DialCallDuration"), "0");
    edge.settled().await;
    assert!(web.requests("/events").is_empty());
}

/// `callerId` is the From user of the legs, without `client:`; on callbacks it stands as written (RCML.md 1.5, 3.1).
#[tokio::test(flavor = "multi_thread")]
async fn caller_id() {
    let document = format!(r#"<Response><Dial callerId="client:front-desk">{}</Dial></Response>"#, client("alice"));
    let (edge, web) = start(&document).await;
    let alice = phone(&edge, "alice").await;
    let scenario = Scenario::new()
        .invited_with("From", "sip:front-desk@ringfork.local")
        .answer("180 Ringing")
        .accept()
        .recv("ACK")
        .hung_up();
    let callee = alice.serve(&scenario, 1);
    call(&edge, NUMBER, &talks()).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    assert!(legs.values().flatten().all(|event| event.parameter("From") == "client:front-desk"));
}

/// X- headers of a noun go into the leg's INVITE and come back as `SipHeader_` parameters; the caller's are not
/// copied to legs but go to the document (RCML.md 1.1, 3.1).
#[tokio::test(flavor = "multi_thread")]
async fn x_headers() {
    let document = dial(r#"<Client statusCallback="/events">alice?X-Ticket=4711&amp;X-B=two</Client>"#);
    let (edge, web) = start(&document).await;
    let alice = phone(&edge, "alice").await;
    let scenario =
        Scenario::new().invited_with("X-Ticket", "4711").answer("180 Ringing").accept().recv("ACK").hung_up();
    let callee = alice.serve(&scenario, 1);
    let caller = Scenario::new().call_with("X-Origin: web").finally("200").ack().pause(100).hang_up();
    call(&edge, NUMBER, &caller).succeed().await;
    callee.succeed().await;
    assert_eq!(web.requests("/voice")[0].parameter("SipHeader_X-Origin"), "web");
    for event in web.completed("/events", 1).await.values().flatten() {
        assert_eq!(event.parameter("SipHeader_X-Ticket"), "4711");
        assert_eq!(event.parameter("SipHeader_X-B"), "two");
        assert_eq!(event.get("SipHeader_X-Origin"), None);
    }
}
