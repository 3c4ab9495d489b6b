//! Call screening with real softphones (RCML.md 1.3): what the callee hears and presses, what the caller does not hear,
//! and what the customer is told.
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use ringfork_tests::baresip::{ADDRESS, Softphone, in_namespace, share_at, tenths_at, tone_file};
use ringfork_tests::edge::Edge;
use ringfork_tests::web::{Answer, Request, Web};

/// The prompt's tone and the tones of the three phones: none is a harmonic of another.
const PROMPT: f64 = 1230.0;
const CALLEE: f64 = 440.0;
const CALLER: f64 = 880.0;
const RINGING: f64 = 425.0;

fn kinds(events: &[Request]) -> Vec<&str> {
    events.iter().map(|event| event.parameter("CallStatus")).collect()
}

async fn start(folder: &tempfile::TempDir) -> (Edge, Web) {
    let edge = Edge::start_over(&folder.path().join("data"), &format!("{ADDRESS}:5060"), &[]).await;
    let web = Web::start().await;
    web.answer("/prompt.wav", Answer::File("audio/wav", tone_file(PROMPT as u32, 2)));
    // The press-1 pattern as the TwiML world writes it: Gather, then Hangup; the action accepts by an empty document.
    web.document(
        "/screen",
        r#"<Response><Gather numDigits="1" timeout="10" action="BASE/key"><Play>BASE/prompt.wav</Play></Gather><Hangup/></Response>"#,
    );
    edge.create_number("1000", &web.url("/voice")).await;
    (edge, web)
}

async fn registered(edge: &Edge, count: f64) {
    ringfork_tests::eventually("registrations", async || {
        (edge.metric("ringfork_bindings").await == count).then_some(())
    })
    .await;
}

/// RCML.md 1.3: the prompt is heard by the callee alone; a key accepts; then both hear each other. The caller goes on
/// hearing ringing meanwhile: here a tone of ours, since a Say answered it before the Dial.
#[test]
fn press_one_to_accept() {
    in_namespace("press_one_to_accept_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that press_one_to_accept makes"]
async fn press_one_to_accept_inside() {
    let folder = tempfile::tempdir().unwrap();
    let (edge, web) = start(&folder).await;
    web.document(
        "/voice",
        r#"<Response><Say>Please wait.</Say><Dial action="BASE/after"><Client url="BASE/screen" statusCallback="BASE/events">alice</Client></Dial></Response>"#,
    );
    let (alice, bob) = (edge.create_client("alice").await, edge.create_client("bob").await);
    let mut alice = Softphone::start(&Softphone::account(&edge, "alice", &alice), 6710, CALLEE as u32, &[]);
    registered(&edge, 1.0).await;
    let mut bob = Softphone::start(
        &Softphone::account(&edge, "bob", &bob),
        6730,
        CALLER as u32,
        &["/dial sip:1000@ringfork.local"],
    );

    web.wait("/screen", 1).await;
    // The whole prompt and a little more, on the callee's own clock.
    ringfork_tests::eventually("the prompt", async || {
        (tenths_at(&alice.heard(), PROMPT).len() >= 18 && alice.heard().len() > 4 * 8000).then_some(())
    })
    .await;
    alice.press('1').await;
    let key = web.wait("/key", 1).await.remove(0);
    assert_eq!(key.parameter("Digits"), "1");
    assert!(key.get("ParentCallSid").is_some(), "screening requests name the parent (RCML.md 1.3)");
    let bridged_from = bob.heard().len();
    ringfork_tests::eventually("three seconds of talk", async || {
        (tenths_at(&alice.heard(), CALLER).len() >= 30 && tenths_at(&bob.heard(), CALLEE).len() >= 30).then_some(())
    })
    .await;
    bob.close().await;
    let legs = web.completed("/events", 1).await;
    alice.close().await;

    let (alice_heard, bob_heard) = (alice.heard(), bob.heard());
    let prompt = tenths_at(&alice_heard, PROMPT);
    assert!((18..=21).contains(&prompt.len()), "two seconds of prompt, in one piece: {prompt:?}");
    assert!(prompt.last().unwrap() - prompt.first().unwrap() <= prompt.len(), "no gap in the prompt: {prompt:?}");
    assert!(tenths_at(&bob_heard, PROMPT).is_empty(), "the caller heard the prompt");
    // Ringing of one second in five: never more than four and a bit seconds without it until the bridge.
    let ringing = tenths_at(&bob_heard[..bridged_from], RINGING);
    assert!(ringing.len() >= 8, "the caller heard no ringing: {ringing:?}");
    let gap = ringing.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    assert!(gap <= 43, "{} tenths without ringing: {ringing:?}", gap);
    assert!(share_at(&bob_heard[bob_heard.len() - 8000..], CALLEE) > 0.8, "bob hears alice at the end");
    let events = legs.values().next().unwrap();
    assert_eq!(kinds(events), ["initiated", "ringing", "in-progress", "completed"]);
    assert_eq!(web.wait("/after", 1).await[0].parameter("DialCallStatus"), "completed");
    edge.settled().await;
}

/// RCML.md 1.3: three devices screen at once, each with its own outcome: one is declined by its key, one hangs up, one
/// accepts; each leg's events are its own.
#[test]
fn three_screen_at_once() {
    in_namespace("three_screen_at_once_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that three_screen_at_once makes"]
async fn three_screen_at_once_inside() {
    let folder = tempfile::tempdir().unwrap();
    let (edge, web) = start(&folder).await;
    web.document("/decline", "<Response><Hangup/></Response>");
    web.document(
        "/screen-carol",
        r#"<Response><Gather numDigits="1" action="BASE/decline"><Play>BASE/prompt.wav</Play></Gather><Hangup/></Response>"#,
    );
    web.document(
        "/voice",
        r#"<Response><Dial action="BASE/after">
             <Client url="BASE/screen" statusCallback="BASE/events">alice</Client>
             <Client url="BASE/screen-carol" statusCallback="BASE/events">carol</Client>
             <Client url="BASE/screen" statusCallback="BASE/events">dave</Client></Dial></Response>"#,
    );
    let mut phones = Vec::new();
    for (index, login) in (0u16..).zip(["alice", "carol", "dave"]) {
        let password = edge.create_client(login).await;
        let account = Softphone::account(&edge, login, &password);
        phones.push(Softphone::start(&account, 6710 + 20 * index, 440, &[]));
        registered(&edge, f64::from(index + 1)).await;
    }
    let bob = edge.create_client("bob").await;
    let mut bob = Softphone::start(
        &Softphone::account(&edge, "bob", &bob),
        6790,
        CALLER as u32,
        &["/dial sip:1000@ringfork.local"],
    );
    for phone in &phones {
        ringfork_tests::eventually("every prompt", async || {
            (tenths_at(&phone.heard(), PROMPT).len() >= 5).then_some(())
        })
        .await;
    }
    phones[1].press('2').await;
    web.wait("/decline", 1).await;
    phones[2].command("hangup", "").await;
    web.completed("/events", 2).await;
    phones[0].press('1').await;
    web.wait("/key", 1).await;
    ringfork_tests::eventually("talk", async || (tenths_at(&phones[0].heard(), CALLER).len() >= 10).then_some(()))
        .await;
    bob.close().await;
    let legs = web.completed("/events", 3).await;
    assert_eq!(legs.len(), 3);
    for events in legs.values() {
        assert_eq!(kinds(events), ["initiated", "ringing", "in-progress", "completed"], "each answered (RCML.md 1.4)");
    }
    assert!(tenths_at(&bob.heard(), PROMPT).is_empty(), "the caller heard a prompt");
    assert!(tenths_at(&phones[1].heard(), CALLER).is_empty(), "a leg that declined heard the caller");
    assert!(tenths_at(&phones[2].heard(), CALLER).is_empty(), "a leg that hung up heard the caller");
    assert_eq!(web.wait("/after", 1).await[0].parameter("DialCallStatus"), "completed");
    edge.settled().await;
}
