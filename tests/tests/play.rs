//! `<Play>` and `dialMusic` as softphones hear them (RCML.md part 2): tones that are searched for by their frequency.
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use ringfork_tests::baresip::{ADDRESS, Softphone, in_namespace, tenths_at, tone_file};
use ringfork_tests::edge::Edge;
use ringfork_tests::web::{Answer, Web};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The tones of the two phones, of our ringing, of what the callee screens by and of the music: none is a harmonic of
/// another.
const CALLEE: f64 = 440.0;
const CALLER: f64 = 880.0;
const RINGING: f64 = 425.0;
const PROMPT: f64 = 1230.0;
const MUSIC: f64 = 700.0;
/// Of the MP3 that lies with the decoder's tests.
const MP3: f64 = 600.0;
/// Of the part of a file that its server holds back.
const REST: f64 = 1010.0;

async fn start(folder: &tempfile::TempDir) -> (Edge, Web) {
    let edge = Edge::start_over(&folder.path().join("data"), &format!("{ADDRESS}:5060"), &[]).await;
    let web = Web::start().await;
    edge.create_number("1000", &web.url("/voice")).await;
    (edge, web)
}

/// A phone that calls the number.
async fn caller(edge: &Edge) -> Softphone {
    let bob = edge.create_client("bob").await;
    let bob = Softphone::account(edge, "bob", &bob);
    Softphone::start(&bob, 6730, CALLER as u32, &["/dial sip:1000@ringfork.local"])
}

/// RCML.md part 2, `dialMusic`: until somebody accepts, the caller hears the music over and over and no ringing; what
/// screens hears none of it, and neither do the two once they talk. `before`: what is run before the Dial.
async fn music_until_the_bridge(before: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (edge, web) = start(&folder).await;
    web.answer("/music.wav", Answer::File("audio/wav", tone_file(MUSIC as u32, 2)));
    web.answer("/prompt.wav", Answer::File("audio/wav", tone_file(PROMPT as u32, 2)));
    web.document(
        "/screen",
        r#"<Response><Gather numDigits="1" timeout="60" action="BASE/key"><Play>BASE/prompt.wav</Play></Gather></Response>"#,
    );
    web.document(
        "/voice",
        &format!(
            r#"<Response>{before}<Dial dialMusic="BASE/music.wav"><Client url="BASE/screen" statusCallback="BASE/events">alice</Client></Dial></Response>"#
        ),
    );
    let alice = edge.create_client("alice").await;
    let mut alice = Softphone::start(&Softphone::account(&edge, "alice", &alice), 6710, CALLEE as u32, &[]);
    ringfork_tests::eventually("alice's registration", async || {
        (edge.metric("ringfork_bindings").await == 1.0).then_some(())
    })
    .await;
    let mut bob = caller(&edge).await;
    // More than the file is long, so it is played again.
    ringfork_tests::eventually("five seconds of music", async || {
        (tenths_at(&bob.heard(), MUSIC).len() >= 50).then_some(())
    })
    .await;
    alice.press('1').await;
    web.wait("/key", 1).await;
    ringfork_tests::eventually("two seconds of talk", async || {
        (tenths_at(&alice.heard(), CALLER).len() >= 20 && tenths_at(&bob.heard(), CALLEE).len() >= 20).then_some(())
    })
    .await;
    bob.close().await;
    web.completed("/events", 1).await;
    alice.close().await;

    let (alice_heard, bob_heard) = (alice.heard(), bob.heard());
    let music = tenths_at(&bob_heard, MUSIC);
    let gap = music.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(gap <= 2, "a gap of {gap} tenths in the music: {music:?}");
    assert!(tenths_at(&bob_heard, RINGING).is_empty(), "ringing beside the music");
    let talk = tenths_at(&bob_heard, CALLEE);
    assert!(music.last() < talk.first(), "music after the bridge: {music:?}, talk {talk:?}");
    assert!(tenths_at(&bob_heard, PROMPT).is_empty(), "the caller heard the prompt");
    assert!(tenths_at(&alice_heard, MUSIC).is_empty(), "the callee heard the music");
    assert_eq!(web.requests("/music.wav").len(), 1, "it may be kept for a minute");
    edge.settled().await;
}

/// The caller is not answered: the music is early media, by 183.
#[test]
fn music_for_a_caller_that_rings() {
    in_namespace("music_for_a_caller_that_rings_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that music_for_a_caller_that_rings makes"]
async fn music_for_a_caller_that_rings_inside() {
    music_until_the_bridge("").await;
}

/// The caller is answered: a Gather did it, without a sound.
#[test]
fn music_for_an_answered_caller() {
    in_namespace("music_for_an_answered_caller_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that music_for_an_answered_caller makes"]
async fn music_for_an_answered_caller_inside() {
    music_until_the_bridge(r#"<Gather timeout="1"/>"#).await;
}

/// RCML.md part 2, Play: an MP3, and a long WAV that is heard while its server still holds most of it back.
#[test]
fn a_file_is_heard_while_it_comes() {
    in_namespace("a_file_is_heard_while_it_comes_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that a_file_is_heard_while_it_comes makes"]
async fn a_file_is_heard_while_it_comes_inside() {
    let folder = tempfile::tempdir().unwrap();
    let (edge, web) = start(&folder).await;
    let mp3 = include_bytes!("../../edge/src/sounds/samples/tone.mp3");
    web.answer("/tone.mp3", Answer::File("audio/mpeg", mp3.to_vec()));
    // One second of one tone, then four of another, behind one header.
    let mut file = tone_file(MUSIC as u32, 5);
    let second = 44 + 16_000;
    file.truncate(second);
    file.extend_from_slice(&tone_file(REST as u32, 4)[44..]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/long.wav", listener.local_addr().unwrap());
    let (release, released) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: {}\r\n\r\n", file.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&file[..second]).await.unwrap();
        released.await.unwrap();
        stream.write_all(&file[second..]).await.unwrap();
    });
    web.document("/voice", &format!("<Response><Play>BASE/tone.mp3</Play><Play>{url}</Play><Pause/></Response>"));
    let mut bob = caller(&edge).await;
    ringfork_tests::eventually("the part that came", async || {
        (tenths_at(&bob.heard(), MUSIC).len() >= 5).then_some(())
    })
    .await;
    assert!(tenths_at(&bob.heard(), REST).is_empty());
    release.send(()).unwrap();
    ringfork_tests::eventually("the rest", async || (tenths_at(&bob.heard(), REST).len() >= 38).then_some(())).await;
    server.await.unwrap();
    bob.close().await;
    let heard = bob.heard();
    let (mp3, first, rest) = (tenths_at(&heard, MP3), tenths_at(&heard, MUSIC), tenths_at(&heard, REST));
    assert!((8..=11).contains(&mp3.len()), "a second of MP3: {mp3:?}");
    assert!((8..=11).contains(&first.len()), "the second that came first: {first:?}");
    assert!(mp3.last() < first.first() && first.last() < rest.first(), "in their order");
    edge.settled().await;
}
