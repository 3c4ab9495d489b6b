//! Sound both ways between real softphones (RCML.md 1.2, "bridged"): each plays a tone of its own, and the other's
//! recording is searched for it by frequency.
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use ringfork_tests::baresip::{ADDRESS, Softphone, in_namespace, share_at};
use ringfork_tests::edge::Edge;
use ringfork_tests::web::Web;

/// A client calls another client's two devices through a number's document; the one that answers is heard, and hears.
#[test]
fn each_hears_the_other() {
    in_namespace("each_hears_the_other_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that each_hears_the_other makes"]
async fn each_hears_the_other_inside() {
    talk(["", ""]).await;
}

/// Issue 4: one phone has the µ-law only, the other the A-law only: each is spoken to by its own.
#[test]
fn two_laws() {
    in_namespace("two_laws_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that two_laws makes"]
async fn two_laws_inside() {
    let [alice, bob] = talk([";audio_codecs=PCMA/8000/1", ";audio_codecs=PCMU/8000/1"]).await;
    assert!(alice.contains("audio encoder: PCMA") && !alice.contains("audio encoder: PCMU"), "{alice}");
    assert!(bob.contains("audio encoder: PCMU") && !bob.contains("audio encoder: PCMA"), "{bob}");
}

/// Bob calls, Alice answers, and each hears the other's tone. `accounts`: what her account says besides, and his. The
/// phones' logs, hers and his.
async fn talk(accounts: [&str; 2]) -> [String; 2] {
    let folder = tempfile::tempdir().unwrap();
    let edge = Edge::start_over(&folder.path().join("data"), &format!("{ADDRESS}:5060"), &[]).await;
    let web = Web::start().await;
    web.document("/voice", r#"<Response><Dial><Client statusCallback="BASE/events">alice</Client></Dial></Response>"#);
    edge.create_number("1000", &web.url("/voice")).await;
    let (alice, bob) = (edge.create_client("alice").await, edge.create_client("bob").await);

    let line = |login: &str, password: &str, more: &str| Softphone::account(&edge, login, password) + more;
    let mut alice = Softphone::start(&line("alice", &alice, accounts[0]), 6710, 440, &[]);
    ringfork_tests::eventually("alice's registration", async || {
        (edge.metric("ringfork_bindings").await == 1.0).then_some(())
    })
    .await;
    let mut bob = Softphone::start(&line("bob", &bob, accounts[1]), 6730, 880, &["/dial sip:1000@ringfork.local"]);

    // Five seconds of talk on the phones' own clocks: that is what is recorded.
    ringfork_tests::eventually("the call", async || (edge.metric("ringfork_calls").await == 1.0).then_some(())).await;
    ringfork_tests::eventually("five seconds of sound", async || {
        let enough = alice.heard().len() > 5 * 8000 && bob.heard().len() > 5 * 8000;
        enough.then_some(())
    })
    .await;
    bob.close().await;
    let legs = web.completed("/events", 1).await;
    alice.close().await;

    let (alice_heard, bob_heard) = (alice.heard(), bob.heard());
    let shares = |samples: &[i16]| (share_at(samples, 440.0), share_at(samples, 880.0));
    let (alice_hears, bob_hears) = (shares(&alice_heard), shares(&bob_heard));
    assert!(alice_hears.1 > 0.8 && alice_hears.0 < 0.05, "alice heard (440, 880 Hz) {alice_hears:?}\n{}", alice.log());
    assert!(bob_hears.0 > 0.8 && bob_hears.1 < 0.05, "bob heard (440, 880 Hz) {bob_hears:?}\n{}", bob.log());
    assert_eq!(legs.values().next().unwrap().last().unwrap().parameter("CallStatus"), "completed");
    edge.settled().await;
    [alice.log(), bob.log()]
}
