//! Recordings from a real softphone to the file that REST gives back (RCML.md part 2, Record; 1.5, `record`), also where
//! the edge is killed or the disk is full.
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfork_tests::baresip::{
    ADDRESS, SmallDisk, Softphone, in_namespace, in_namespace_with_mounts, samples, share_at, tenths_at, tone_file,
};
use ringfork_tests::edge::{Edge, http_client};
use ringfork_tests::eventually;
use ringfork_tests::web::{Answer, Web};
use serde_json::Value;

/// The tones of the two phones, of a prompt, and of the beep (which is ours).
const CALLEE: f64 = 440.0;
const CALLER: f64 = 880.0;
const PROMPT: f64 = 1230.0;
const BEEP: f64 = 1000.0;
/// The code of the warning that a recording broke off (docs/rcml.md, "Codes").
const BROKE_OFF: u64 = 13620;

/// An edge over `data` with the number 1000, and a customer's web server with a prompt of two seconds.
async fn start(data: &Path) -> (Edge, Web) {
    let edge = Edge::start_over(data, &format!("{ADDRESS}:5060"), &[]).await;
    let web = Web::start().await;
    web.answer("/prompt.wav", Answer::File("audio/wav", tone_file(PROMPT as u32, 2)));
    edge.create_number("1000", &web.url("/voice")).await;
    (edge, web)
}

/// Bob calls 1000 and sends his tone.
async fn call(edge: &Edge) -> Softphone {
    let bob = edge.create_client("bob").await;
    let account = Softphone::account(edge, "bob", &bob);
    Softphone::start(&account, 6730, CALLER as u32, &["/dial sip:1000@ringfork.local"])
}

/// Alice is registered and answers with her tone.
async fn callee(edge: &Edge) -> Softphone {
    let alice = edge.create_client("alice").await;
    let phone = Softphone::start(&Softphone::account(edge, "alice", &alice), 6710, CALLEE as u32, &[]);
    eventually("alice's registration", async || (edge.metric("ringfork_bindings").await == 1.0).then_some(())).await;
    phone
}

/// The files of recordings in a data folder.
fn files(data: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(data.join("recordings")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "wav")).collect()
}

/// The file of a recording that begins: one that is not among those known.
async fn begun(data: &Path, known: &[PathBuf]) -> PathBuf {
    eventually("a recording", async || files(data).into_iter().find(|path| !known.contains(path))).await
}

/// Waits until a file holds so many tenths of a second of sound.
async fn grown(file: &Path, tenths: u64) {
    eventually("sound in the file", async || {
        (std::fs::metadata(file).unwrap().len() >= 44 + 1600 * tenths).then_some(())
    })
    .await;
}

fn sid(file: &Path) -> &str {
    file.file_stem().unwrap().to_str().unwrap()
}

/// The samples that a recording's header names: RIFF, PCM, 8 kHz, mono, 16 bits, and nothing named that is not there.
fn recorded(wav: &[u8]) -> Vec<i16> {
    let number = |at: usize| u32::from_le_bytes(wav[at..at + 4].try_into().unwrap());
    assert_eq!((&wav[..4], &wav[8..16], &wav[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
    assert_eq!(wav[16..36], [16, 0, 0, 0, 1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0]);
    let named = number(40) as usize;
    assert_eq!(number(4) as usize, 36 + named);
    assert!(44 + named <= wav.len(), "{named} octets of sound are named, the file has {}", wav.len());
    samples(&wav[..44 + named])
}

/// Most of it is this tone: all but the first half second, in which the phone may not speak yet, and a tenth of the rest.
fn is_tone(sound: &[i16], hertz: f64) {
    let (heard, whole) = (tenths_at(sound, hertz).len(), sound.len() / 800);
    assert!(heard + 5 + whole / 10 >= whole, "{heard} of {whole} tenths of a second at {hertz} Hz");
}

/// A GET under these credentials: status and body.
async fn get(url: &str, credentials: Option<(&str, &str)>) -> (u16, Vec<u8>) {
    let request = http_client().get(url);
    let request = match credentials {
        Some((sid, token)) => request.basic_auth(sid, Some(token)),
        None => request,
    };
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

/// The sound of a recording under the account's credentials, and under no others.
async fn sound(edge: &Edge, url: &str) -> Vec<i16> {
    let (status, wav) = get(url, Some((&edge.account_sid, &edge.auth_token))).await;
    assert_eq!(status, 200, "{url}");
    assert_eq!(get(url, None).await.0, 401, "without credentials");
    assert_eq!(get(url, Some((&edge.account_sid, "wrong"))).await.0, 401, "with a wrong secret");
    let sound = recorded(&wav);
    assert_eq!(wav.len(), 44 + 2 * sound.len(), "the header names the whole sound");
    sound
}

/// A recording as REST shows it, once it has a duration.
async fn over(edge: &Edge, sid: &str) -> Value {
    eventually("the recording's duration", async || {
        let shown = edge.rest("GET", &format!("/Recordings/{sid}.json"), &[]).await;
        (!shown["duration"].is_null()).then_some(shown)
    })
    .await
}

fn whole_seconds(sound: &[i16]) -> String {
    (sound.len() / 8000).to_string()
}

/// The warnings about recordings that broke off, once there are so many.
async fn warnings(edge: &Edge, count: usize) -> Vec<Value> {
    eventually("the warning", async || {
        let list = edge.rest("GET", "/Notifications.json", &[]).await;
        let all = list["notifications"].as_array().unwrap().iter();
        let found: Vec<Value> = all.filter(|one| one["error_code"] == BROKE_OFF).cloned().collect();
        (found.len() >= count).then_some(found)
    })
    .await
}

/// Issue "Voices on the line": a recording survives `kill -9` of the edge up to its last second, and REST gives it back
/// after the next start.
#[test]
fn killed_while_it_records() {
    in_namespace("killed_while_it_records_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that killed_while_it_records makes"]
async fn killed_while_it_records_inside() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (edge, web) = start(&data).await;
    web.document("/voice", r#"<Response><Record playBeep="false" timeout="20" action="BASE/after"/></Response>"#);
    let mut bob = call(&edge).await;
    let file = begun(&data, &[]).await;
    let since = Instant::now();
    grown(&file, 50).await;
    let elapsed = since.elapsed();
    edge.kill().await;

    let left = std::fs::read(&file).unwrap();
    let named = recorded(&left);
    let kept = Duration::from_millis(named.len() as u64 / 8);
    assert!(kept + Duration::from_secs(1) >= elapsed, "after {elapsed:?} the header names {kept:?}");
    is_tone(&named, CALLER);

    let edge = Edge::start_over(&data, &format!("{ADDRESS}:5060"), &[]).await;
    bob.close().await;
    let shown = over(&edge, sid(&file)).await;
    let list = edge.rest("GET", "/Recordings.json", &[]).await;
    assert_eq!(list["recordings"], Value::Array(vec![shown.clone()]));
    let given = sound(&edge, &format!("{}{}", edge.http, shown["file_uri"].as_str().unwrap())).await;
    assert_eq!(given.len(), (left.len() - 44) / 2, "all that was written is given back");
    assert_eq!(shown["duration"], whole_seconds(&given));
    assert_eq!(given[..named.len()], named);
}

/// Issue "Voices on the line": a full disk ends the recording of a bridged call with a warning, and not the call: both
/// go on hearing each other.
#[test]
fn a_full_disk_ends_no_bridge() {
    in_namespace_with_mounts("a_full_disk_ends_no_bridge_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that a_full_disk_ends_no_bridge makes"]
async fn a_full_disk_ends_no_bridge_inside() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (edge, web) = start(&data).await;
    let disk = SmallDisk::mount(&data.join("recordings"), 512);
    web.document(
        "/voice",
        r#"<Response><Dial record="true" action="BASE/after"><Client>alice</Client></Dial></Response>"#,
    );
    let mut alice = callee(&edge).await;
    let mut bob = call(&edge).await;
    let file = begun(&data, &[]).await;
    grown(&file, 20).await;
    disk.fill();

    let warning = warnings(&edge, 1).await.remove(0);
    let shown = over(&edge, sid(&file)).await;
    assert_eq!((&warning["log"], &warning["call_sid"]), (&Value::from(1), &shown["call_sid"]));
    let text = warning["message_text"].as_str().unwrap();
    assert!(text.contains(sid(&file)), "{text}");
    assert_eq!(edge.metric("ringfork_recordings_failed_total").await, 1.0);

    let heard = |phone: &Softphone| phone.heard().len();
    let (alice_before, bob_before) = (heard(&alice), heard(&bob));
    eventually("two more seconds of talk", async || {
        (heard(&alice) > alice_before + 16_000 && heard(&bob) > bob_before + 16_000).then_some(())
    })
    .await;
    let (alice_heard, bob_heard) = (alice.heard(), bob.heard());
    let shares = (share_at(&alice_heard[alice_before..], CALLER), share_at(&bob_heard[bob_before..], CALLEE));
    assert!(shares.0 > 0.8 && shares.1 > 0.8, "each hears the other: {shares:?}");
    bob.close().await;
    alice.close().await;

    let after = web.wait("/after", 1).await.remove(0);
    assert_eq!(after.parameter("DialCallStatus"), "completed");
    let kept = sound(&edge, after.parameter("RecordingUrl")).await;
    assert!(kept.len() >= 16_000, "what was written before is kept: {} samples", kept.len());
    assert_eq!(shown["duration"], whole_seconds(&kept));
    is_mixed(&kept);
    edge.settled().await;
}

/// RCML.md part 2, Record: a full disk ends it with a warning; its action is asked with what was kept. One that cannot
/// even begin asks nothing, and the next verb runs.
#[test]
fn a_full_disk_ends_no_call() {
    in_namespace_with_mounts("a_full_disk_ends_no_call_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that a_full_disk_ends_no_call makes"]
async fn a_full_disk_ends_no_call_inside() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (edge, web) = start(&data).await;
    let disk = SmallDisk::mount(&data.join("recordings"), 512);
    web.document("/voice", r#"<Response><Record playBeep="false" action="BASE/after"/></Response>"#);
    web.document(
        "/after",
        r#"<Response><Record playBeep="false" action="BASE/never"/><Play>BASE/prompt.wav</Play></Response>"#,
    );
    let mut bob = call(&edge).await;
    let file = begun(&data, &[]).await;
    grown(&file, 20).await;
    disk.fill();

    let after = web.wait("/after", 1).await.remove(0);
    assert!(after.parameter("RecordingUrl").ends_with(&format!("/{}.wav", sid(&file))));
    assert_eq!(after.get("Digits"), None);
    let kept = sound(&edge, after.parameter("RecordingUrl")).await;
    assert!(kept.len() >= 16_000, "what was written before is kept: {} samples", kept.len());
    assert_eq!(after.parameter("RecordingDuration"), whole_seconds(&kept));
    is_tone(&kept, CALLER);

    edge.settled().await;
    let prompt = tenths_at(&bob.heard(), PROMPT);
    assert!((18..=21).contains(&prompt.len()), "the call went on with its prompt: {prompt:?}");
    assert!(web.requests("/never").is_empty());
    let told = warnings(&edge, 2).await;
    assert!(told.iter().all(|warning| warning["log"] == 1));
    assert!(told.iter().any(|warning| warning["message_text"].as_str().unwrap().contains(sid(&file))));
    // Nothing is left of the one that could not begin.
    let sounds = std::fs::read_dir(data.join("recordings")).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(
        sounds.filter(|path| path.extension().is_some_and(|end| end == "wav")).collect::<Vec<_>>(),
        [file.as_path()]
    );
    let listed = edge.rest("GET", "/Recordings.json", &[]).await;
    let listed = listed["recordings"].as_array().unwrap();
    assert_eq!(listed.iter().map(|one| one["sid"].as_str().unwrap()).collect::<Vec<_>>(), [sid(&file)]);
    bob.close().await;
}

/// RCML.md part 2, Record: beep, finishing key, silence and maxLength, each told to the action with a `RecordingUrl` that
/// gives the sound; RCML.md 3.4: list, get and delete.
#[test]
fn records_what_is_said() {
    in_namespace("records_what_is_said_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that records_what_is_said makes"]
async fn records_what_is_said_inside() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (edge, web) = start(&data).await;
    let documents = [
        ("/voice", r##"maxLength="20" finishOnKey="#" playBeep="true" action="BASE/key""##),
        ("/key", r#"timeout="2" finishOnKey="" playBeep="false" action="BASE/silence""#),
        ("/silence", r#"maxLength="2" playBeep="false" action="BASE/full""#),
    ];
    for (path, attributes) in documents {
        web.document(path, &format!("<Response><Record {attributes}/></Response>"));
    }
    let mut bob = call(&edge).await;

    // The beep, then a key that does not end it, then the one that does.
    let first = begun(&data, &[]).await;
    let since = Instant::now();
    grown(&first, 15).await;
    let beep = tenths_at(&bob.heard(), BEEP);
    assert!((4..=6).contains(&beep.len()), "half a second of beep: {beep:?}");
    bob.press('1').await;
    grown(&first, 35).await;
    assert!(web.requests("/key").is_empty(), "a key that is none of finishOnKey");
    bob.press('#').await;
    let key = web.wait("/key", 1).await.remove(0);
    let elapsed = since.elapsed();
    // Asked for once, as the action comes: it need not be there before two seconds have passed, and is.
    let by_key = sound(&edge, key.parameter("RecordingUrl")).await;
    assert!(key.parameter("RecordingUrl").ends_with(&format!("/Recordings/{}.wav", sid(&first))));
    assert_eq!((key.parameter("Digits"), key.parameter("RecordingDuration")), ("#", &*whole_seconds(&by_key)));
    let length = Duration::from_millis(by_key.len() as u64 / 8);
    assert!(length >= Duration::from_millis(3500) && length <= elapsed + Duration::from_millis(500), "{length:?}");
    is_tone(&by_key, CALLER);
    assert!(tenths_at(&by_key, BEEP).is_empty(), "the beep is not recorded");

    // Silence ends it and is no part of it.
    let second = begun(&data, std::slice::from_ref(&first)).await;
    grown(&second, 20).await;
    bob.command("mute", "").await;
    let silence = web.wait("/silence", 1).await.remove(0);
    bob.command("mute", "").await;
    let by_silence = sound(&edge, silence.parameter("RecordingUrl")).await;
    assert_eq!((silence.get("Digits"), silence.parameter("RecordingDuration")), (None, &*whole_seconds(&by_silence)));
    assert!(by_silence.len() >= 16_000, "{} samples", by_silence.len());
    is_tone(&by_silence, CALLER);
    let last = tenths_at(&by_silence, CALLER).pop().unwrap();
    assert!(last + 3 >= by_silence.len() / 800, "silence after tenth {last} of {}", by_silence.len() / 800);

    // Its longest time.
    let full = web.wait("/full", 1).await.remove(0);
    let by_length = sound(&edge, full.parameter("RecordingUrl")).await;
    assert_eq!((full.get("Digits"), full.parameter("RecordingDuration"), by_length.len()), (None, "2", 16_000));
    edge.settled().await;
    bob.close().await;

    // REST.
    let call_sid = key.parameter("CallSid");
    let of_call = format!("/Calls/{call_sid}/Recordings.json");
    let list = edge.rest("GET", &of_call, &[]).await;
    let list = list["recordings"].as_array().unwrap();
    assert_eq!(list.len(), 3);
    for (request, sound) in [(&key, &by_key), (&silence, &by_silence), (&full, &by_length)] {
        let url = request.parameter("RecordingUrl");
        let shown = list.iter().find(|one| url.ends_with(one["file_uri"].as_str().unwrap())).expect(url);
        assert_eq!((&shown["duration"], &shown["call_sid"]), (&whole_seconds(sound).into(), &call_sid.into()));
    }
    let path = format!("/Recordings/{}.json", sid(&first));
    assert_eq!(edge.rest("GET", &path, &[]).await["duration"], *key.parameter("RecordingDuration"));
    assert!(first.exists());
    assert_eq!(edge.rest_any("DELETE", &path, &[]).await.0, 204);
    assert_eq!(edge.rest_any("GET", &path, &[]).await.0, 404);
    let credentials = Some((edge.account_sid.as_str(), edge.auth_token.as_str()));
    assert_eq!(get(key.parameter("RecordingUrl"), credentials).await.0, 404);
    assert!(!first.exists() && second.exists(), "its file is gone, and no other");
    assert_eq!(edge.rest("GET", &of_call, &[]).await["recordings"].as_array().unwrap().len(), 2);
    assert_eq!(edge.rest_any("DELETE", &path, &[]).await.0, 404);
}

/// RCML.md part 2, Record: a caller who hangs up ends it; the action is still asked, with `Digits=hangup` and the sound.
#[test]
fn a_hangup_ends_a_recording() {
    in_namespace("a_hangup_ends_a_recording_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that a_hangup_ends_a_recording makes"]
async fn a_hangup_ends_a_recording_inside() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (edge, web) = start(&data).await;
    web.document("/voice", r#"<Response><Record playBeep="false" action="BASE/after"/></Response>"#);
    let mut bob = call(&edge).await;
    let file = begun(&data, &[]).await;
    grown(&file, 20).await;
    bob.close().await;
    let after = web.wait("/after", 1).await.remove(0);
    let kept = sound(&edge, after.parameter("RecordingUrl")).await;
    assert_eq!((after.parameter("Digits"), after.parameter("CallStatus")), ("hangup", "completed"));
    assert_eq!(after.parameter("RecordingDuration"), whole_seconds(&kept));
    assert!(kept.len() >= 16_000, "{} samples", kept.len());
    is_tone(&kept, CALLER);
    assert_eq!(over(&edge, sid(&file)).await["duration"], whole_seconds(&kept));
    edge.settled().await;
}

/// Both tones at once, but for the first half second, in which a phone may not speak yet, and a tenth of the rest.
fn is_mixed(sound: &[i16]) {
    let both = |block: &[i16]| share_at(block, CALLEE) > 0.25 && share_at(block, CALLER) > 0.25;
    let (heard, whole) = (sound.chunks_exact(800).filter(|block| both(block)).count(), sound.len() / 800);
    assert!(heard + 5 + whole / 10 >= whole, "{heard} of {whole} tenths of a second hold both tones");
}

/// RCML.md 1.5, `record`: both parties from the bridge on, one WAV; nothing of the screening before it. The action's
/// `RecordingUrl` answers within two seconds of the end.
#[test]
fn records_both_parties() {
    in_namespace("records_both_parties_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that records_both_parties makes"]
async fn records_both_parties_inside() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (edge, web) = start(&data).await;
    web.document(
        "/voice",
        r#"<Response><Dial record="true" action="BASE/after"><Client url="BASE/screen">alice</Client></Dial></Response>"#,
    );
    web.document(
        "/screen",
        r#"<Response><Gather numDigits="1" action="BASE/accept"><Play>BASE/prompt.wav</Play></Gather><Hangup/></Response>"#,
    );
    let mut alice = callee(&edge).await;
    let mut bob = call(&edge).await;
    eventually("the prompt", async || (tenths_at(&alice.heard(), PROMPT).len() >= 10).then_some(())).await;
    assert_eq!(files(&data), Vec::<PathBuf>::new(), "nothing is recorded before the bridge");
    alice.press('1').await;
    let file = begun(&data, &[]).await;
    grown(&file, 40).await;
    alice.command("hangup", "").await;

    let after = web.wait("/after", 1).await.remove(0);
    let url = after.parameter("RecordingUrl");
    assert!(url.ends_with(&format!("/Recordings/{}.wav", sid(&file))), "{url}");
    // Asked for once, as the action comes: it need not be whole before two seconds have passed, and is.
    let both = sound(&edge, url).await;
    let shown = over(&edge, sid(&file)).await;
    is_mixed(&both);
    assert!(tenths_at(&both, PROMPT).is_empty(), "the prompt is not recorded");
    assert_eq!(shown["duration"], whole_seconds(&both));
    assert_eq!(shown["call_sid"], *after.parameter("CallSid"), "it lies on the caller's call");
    assert_eq!(after.parameter("DialCallStatus"), "completed");
    let bridged: usize = after.parameter("DialCallDuration").parse().unwrap();
    assert!((both.len() / 8000).abs_diff(bridged) <= 1, "{} samples of {bridged} s", both.len());
    edge.settled().await;
    bob.close().await;
    alice.close().await;
}
