//! `kill -9` of the edge during calls: nothing is corrupt afterwards, UDP registrations still ring, and each
//! interrupted leg's `completed` is delivered (RCML.md 1.4, "Delivery").
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use ringfork_tests::edge::Edge;
use ringfork_tests::sipp::{Phone, Scenario, call};
use ringfork_tests::web::Web;

#[tokio::test(flavor = "multi_thread")]
async fn killed_during_calls() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let edge = Edge::start_over(&data, "127.0.0.1:0", &[]).await;
    let sip = edge.sip.to_string();
    let web = Web::start().await;
    let nouns = |names: &[&str]| -> String {
        names.iter().map(|name| format!(r#"<Client statusCallback="BASE/events">{name}</Client>"#)).collect()
    };
    web.document("/talk", &format!("<Response><Dial>{}</Dial></Response>", nouns(&["alice"])));
    web.document("/ring", &format!("<Response><Dial>{}</Dial></Response>", nouns(&["bob", "carol"])));
    edge.create_number("1001", &web.url("/talk")).await;
    edge.create_number("1002", &web.url("/ring")).await;
    let mut phones = Vec::new();
    for login in ["alice", "bob", "carol"] {
        let password = edge.create_client(login).await;
        phones.push(Phone::register(&edge, login, &password).await);
    }

    // One call is up, one still rings on two devices.
    let talking =
        phones[0].serve(&Scenario::new().invited().answer("180 Ringing").accept().recv("ACK").pause(60_000), 1);
    let ringing: Vec<_> = phones[1..]
        .iter()
        .map(|phone| phone.serve(&Scenario::new().invited().answer("180 Ringing").pause(60_000), 1))
        .collect();
    let callers = [
        call(&edge, "1001", &Scenario::new().call().finally("200").ack().pause(60_000)),
        call(&edge, "1002", &Scenario::new().call().maybe("100").received("180").pause(60_000)),
    ];
    web.wait("/events", 7).await; // initiated, ringing, in-progress; and twice initiated, ringing
    edge.kill().await;
    drop((talking, ringing, callers));

    let edge = Edge::start_over(&data, &sip, &[]).await;
    let legs = web.completed("/events", 3).await;
    assert_eq!(legs.len(), 3);
    for events in legs.values() {
        let last = events.last().unwrap();
        let expected = if last.parameter("To") == "client:alice" { "completed" } else { "failed" };
        assert_eq!(last.parameter("CallStatus"), expected, "{events:#?}");
        assert_eq!(events.iter().filter(|event| event.get("CallDuration").is_some()).count(), 1);
    }

    // The registration still rings, without a new REGISTER.
    let again = phones[0].serve(&Scenario::new().invited().answer("180 Ringing").accept().recv("ACK").hung_up(), 1);
    call(&edge, "1001", &Scenario::new().call().finally("200").ack().pause(100).hang_up()).succeed().await;
    again.succeed().await;
    web.completed("/events", 4).await;
    edge.settled().await;
}
