//! `<Say>` as a softphone hears it: recognised in its recording by length and energy (RCML.md 1.3, part 2).
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use ringfork_tests::baresip::{ADDRESS, Softphone, in_namespace, share_at, tenths_at};
use ringfork_tests::edge::Edge;
use ringfork_tests::speech::{Sound, flite, heard};
use ringfork_tests::web::Web;

/// The tones of the two phones, and of our ringing.
const CALLEE: f64 = 440.0;
const CALLER: f64 = 880.0;
const RINGING: f64 = 425.0;

/// Said once, then another text twice.
const ONCE: &str = "A caller wants to speak to somebody in the workshop.";
const TWICE: &str = "Stay on the line to take this call.";

/// Likeness of a text and itself on the line. That of another text is far below.
const SAME: f64 = 0.93;

/// From the first to the last sound in it, hundredths of a second.
fn sounding(sound: &Sound) -> std::ops::Range<usize> {
    sound.sounding(0..sound.length()).expect("a sound")
}

/// RCML.md 1.3, part 2: the callee hears the screening document's texts, as long as they are spoken and loud where they
/// are loud, a loop right after the other; the caller hears ringing and nothing of them.
#[test]
fn a_text_is_heard_by_the_callee_alone() {
    in_namespace("a_text_is_heard_by_the_callee_alone_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that a_text_is_heard_by_the_callee_alone makes"]
async fn a_text_is_heard_by_the_callee_alone_inside() {
    let folder = tempfile::tempdir().unwrap();
    let edge = Edge::start_over(&folder.path().join("data"), &format!("{ADDRESS}:5060"), &[]).await;
    let web = Web::start().await;
    web.document(
        "/screen",
        &format!(r#"<Response><Say>{ONCE}</Say><Pause length="1"/><Say loop="2">{TWICE}</Say></Response>"#),
    );
    // A Gather answers the caller without a sound: from then on it hears our ringing tone.
    web.document(
        "/voice",
        r#"<Response><Gather timeout="1"/><Dial><Client url="BASE/screen" statusCallback="BASE/events">alice</Client></Dial></Response>"#,
    );
    edge.create_number("1000", &web.url("/voice")).await;
    let (alice, bob) = (edge.create_client("alice").await, edge.create_client("bob").await);
    let mut alice = Softphone::start(&Softphone::account(&edge, "alice", &alice), 6710, CALLEE as u32, &[]);
    ringfork_tests::eventually("alice's registration", async || {
        (edge.metric("ringfork_bindings").await == 1.0).then_some(())
    })
    .await;
    let bob = Softphone::account(&edge, "bob", &bob);
    let mut bob = Softphone::start(&bob, 6730, CALLER as u32, &["/dial sip:1000@ringfork.local"]);
    ringfork_tests::eventually("the end of the texts, and talk", async || {
        (tenths_at(&alice.heard(), CALLER).len() >= 10 && tenths_at(&bob.heard(), CALLEE).len() >= 10).then_some(())
    })
    .await;
    bob.close().await;
    web.completed("/events", 1).await;
    alice.close().await;

    let (once, twice) = (flite("rms", ONCE), flite("rms", TWICE));
    let (alice_heard, bob_heard) = (alice.heard(), bob.heard());
    // What the bridge brought is another matter.
    let talk = tenths_at(&alice_heard, CALLER)[0] * 10;
    let callee = heard(alice_heard);
    let first = callee.find(&once, 0..talk);
    assert!(first.likeness > SAME, "the text was not heard: {first:?}");
    let second = callee.find(&twice, first.at + once.length()..talk);
    assert!(second.likeness > SAME, "the second text was not heard: {second:?}");
    // The best place may be either loop: the other one is a length away.
    let half = twice.length() / 2;
    let before = callee.find(&twice, first.at + once.length()..second.at - half);
    let after = callee.find(&twice, second.at + half..talk);
    let other = if before.likeness > after.likeness { before } else { after };
    assert!(other.likeness > SAME, "it was said once: {before:?}, {second:?}, {after:?}");
    let apart = other.at.abs_diff(second.at);
    assert!(apart.abs_diff(twice.length()) <= 10, "{apart} hundredths from loop to loop, of {}", twice.length());

    // Each sounds as long as flite's own; between them is the pause.
    let loops = other.at.min(second.at);
    let pause = loops - (first.at + once.length());
    assert!((95..300).contains(&pause), "a pause of {pause} hundredths");
    let said = callee.sounding(0..first.at + once.length() + 30).unwrap();
    let length = sounding(&once).len();
    assert!(said.len().abs_diff(length) <= 15, "{said:?} sounds, of {length} hundredths");
    let said = callee.sounding(loops - 30..talk - 10).unwrap();
    let length = twice.length() + sounding(&twice).len();
    assert!(said.len().abs_diff(length) <= 20, "{said:?} sounds twice, of {length} hundredths");

    // The caller: ringing, then the callee, and nothing else, however faint.
    let tenths: Vec<&[i16]> = bob_heard.chunks_exact(800).collect();
    let tone = |at: usize| {
        let share = |hertz| tenths.get(at).map_or(0.0, |block| share_at(block, hertz));
        share(RINGING) + share(CALLEE) > 0.7
    };
    let sounds = |at: usize| tenths[at].iter().any(|sample| sample.unsigned_abs() > 100);
    // A tone may begin and end within a tenth.
    let strange = |at: &usize| sounds(*at) && !(at.saturating_sub(1)..at + 2).any(tone);
    let strange: Vec<usize> = (0..tenths.len()).filter(strange).collect();
    assert!(strange.is_empty(), "the caller heard more than ringing and the callee: {strange:?}");
    assert!(tenths_at(&bob_heard, RINGING).len() >= 8, "the caller heard no ringing");
    edge.settled().await;
}
