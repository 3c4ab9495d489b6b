//! RCML.md part 2: Say, Play, Gather and Record on the caller's own call; 1.5: `record` and `dialMusic`.

use ringfork_rcml::evaluation::Purpose;
use ringfork_rcml::program::{Dial, Gather, Prompt, Record, Step};

use super::bench::*;
use crate::action::{PlayError, RecordingEnd, RecordingLimits, Sound};
use crate::control::{CallStatus, Write};

fn start(steps: Vec<Step>) -> Bench {
    Setup::new(steps).start()
}

fn digits(t: &Bench) -> String {
    parameter(&t.request(ACTION).parameters, "Digits")
}

/// RCML.md part 2: the first verb that needs media answers the caller; prompts run one after the other, and the end of
/// the document hangs up.
#[test]
fn prompts_answer_the_caller() {
    let music = play("https://app.example/a.wav", 0);
    let mut t = start(vec![Step::Prompt(say("Hello")), Step::Prompt(music), Step::Hangup]);
    t.says("answer, play caller Hello");
    let answered = |write: &Write| matches!(write, Write::Parent { status: CallStatus::InProgress, .. });
    assert_eq!(t.writes.iter().filter(|write| answered(write)).count(), 1, "the answer is written down");
    assert_eq!(t.prepared, [Sound::File { url: "https://app.example/a.wav".into() }], "all but the first are prepared");
    t.heard();
    t.says("play caller a.wav x0");
    t.pass_seconds(10_000);
    t.says("");
    t.heard();
    t.says("hang up");
    assert_eq!(t.final_status(), "completed");
    assert!(t.finished);
}

/// RCML.md part 2, Say: a document in a language that the voice does not speak leaves one warning, whatever it holds of
/// it, on the call that runs it; it is spoken all the same.
#[test]
fn a_language_that_the_voice_does_not_speak() {
    let foreign =
        |language: &str| Prompt::Say { text: "Bonjour".into(), voice: None, language: language.into(), loops: 1 };
    let steps =
        || vec![Step::Prompt(say("Hello")), gathering(gather(vec![foreign("fr-FR")])), Step::Prompt(foreign("de"))];
    let mut t = start(steps());
    t.says("answer, play caller Hello");
    t.heard();
    t.says("play caller Bonjour");
    let notice = &t.notices[0];
    assert_eq!((t.notices.len(), notice.call, notice.notice.code), (1, t.call.sid(), 13512));
    assert!(notice.notice.message.starts_with(r#"<Say language="fr-FR">: "#), "{}", notice.notice.message);

    let screen = "https://app.example/screen";
    let dials = vec![Step::Dial(dial([screened("bob", screen)]))];
    let mut t = Setup::new(dials).document(screen, steps()).devices("bob", 1).start();
    t.answers(0);
    assert_eq!((t.notices.len(), t.notices[0].call), (1, t.invites[0].sid));

    for language in ["en", "EN-gb", "en_US"] {
        let t = start(vec![Step::Prompt(foreign(language))]);
        assert!(t.notices.is_empty(), "{language}");
    }
}

/// RCML.md part 2: a bad value takes the default and leaves a warning: a voice that the server does not know, one for
/// the document. The names that TwiML has for its plain voices are no bad values.
#[test]
fn a_voice_that_is_unknown() {
    let spoken = |text: &str, voice: &str| Prompt::Say {
        text: text.into(),
        voice: Some(voice.into()),
        language: "en".into(),
        loops: 1,
    };
    let mut t = start(vec![
        Step::Prompt(spoken("Hello", "slt")),
        gathering(gather(vec![spoken("Bonjour", "Polly.Joanna")])),
        Step::Prompt(spoken("Ciao", "bianca")),
    ]);
    t.says("answer, play caller Hello");
    t.heard();
    t.says("play caller Bonjour");
    let notice = &t.notices[0];
    assert_eq!((t.notices.len(), notice.call, notice.notice.code), (1, t.call.sid(), 13511));
    assert!(notice.notice.message.starts_with(r#"<Say voice="Polly.Joanna">: "#), "{}", notice.notice.message);
    for voice in ["man", "woman", "alice", "Alice", "male", "female", "RMS", " slt "] {
        let t = start(vec![Step::Prompt(spoken("Hello", voice))]);
        assert!(t.notices.is_empty(), "{voice}");
    }
}

/// RCML.md part 2: the caller is answered once; 1.5: a 200 that waits for its PRACK, and a CANCEL before it wins.
#[test]
fn a_cancel_before_our_200() {
    let mut t = start(vec![pause(1), Step::Prompt(say("Hello"))]);
    t.hold_answer = true;
    t.pass_seconds(1);
    t.says("ring, answer");
    t.cancels();
    t.says("refuse 487");
    assert_eq!(t.final_status(), "canceled");

    let mut t = start(vec![pause(1), Step::Prompt(say("Hello")), Step::Prompt(say("You"))]);
    t.hold_answer = true;
    t.pass_seconds(1);
    t.skip();
    t.answer_leaves();
    t.says("play caller Hello");
    t.cancels();
    t.says("");
    t.heard();
    t.says("play caller You");
}

/// RCML.md part 2, Play: a sound that is not heard leaves a notice and the next verb runs.
#[test]
fn a_sound_that_fails() {
    for (fetch, code) in [(true, 11200), (false, 12400)] {
        let mut t = start(vec![Step::Prompt(say("Hello")), Step::Prompt(say("You"))]);
        t.skip();
        t.played(Err(PlayError { reason: "404".into(), url: None, fetch }));
        t.says("play caller You");
        assert_eq!(t.notices.iter().map(|notice| notice.notice.code).collect::<Vec<_>>(), [code]);
        assert_eq!(t.notices[0].call, t.call.sid());
    }
}

/// RCML.md 3.4: however long a sound's URL is, its notice says what was wrong with it, and shows no password.
#[test]
fn a_sound_that_fails_says_why() {
    for (fetch, code) in [(true, 11200), (false, 12400)] {
        let path = "x".repeat(300);
        let mut t = start(vec![Step::Prompt(say("Hello"))]);
        t.skip();
        let url = Some(format!("https://u:p@bucket.example/{path}").into());
        t.played(Err(PlayError { reason: "answered 403".into(), url, fetch }));
        let notice = &t.notices[0].notice;
        assert_eq!(notice.code, code);
        assert!(notice.message.starts_with("answered 403: "), "{}", notice.message);
        assert_eq!(notice.url.as_deref(), Some(format!("https://bucket.example/{path}").as_str()));
    }
}

/// RCML.md part 2, Gather: timeout (5) counts from the end of the prompts; without a key the next verb runs.
#[test]
fn an_empty_gather_goes_on() {
    let prompts = vec![say("One?"), Prompt::Pause { seconds: 2 }, say("Two?")];
    let mut t = start(vec![gathering(gather(prompts)), Step::Hangup]);
    t.says("answer, play caller One?");
    t.pass_seconds(60);
    t.heard();
    t.pass(1_999);
    t.says("");
    t.pass(1);
    t.says("play caller Two?");
    t.heard();
    t.pass(4_999);
    t.says("");
    t.pass(1);
    t.says("hang up");
}

/// RCML.md part 2, Gather: actionOnEmptyResult asks with empty Digits.
#[test]
fn an_empty_gather_that_asks() {
    let mut t = start(vec![gathering(Gather { action_on_empty_result: true, ..gather(vec![]) })]);
    t.pass_seconds(5);
    assert_eq!(digits(&t), "");
    assert_eq!(parameter(&t.request(ACTION).parameters, "CallStatus"), "in-progress");
}

/// RCML.md part 2, Gather: a key stops the prompt, and those after it; `Digits` are without the finish key.
#[test]
fn the_finish_key_ends_an_entry() {
    let mut t = start(vec![gathering(gather(vec![say("Number?"), say("Please.")]))]);
    t.skip();
    t.keys(CALLER, "4");
    t.says("stop caller");
    t.pass(4_999);
    t.keys(CALLER, "2*");
    t.pass(4_999);
    t.says("");
    assert!(t.held_documents.is_empty());
    t.keys(CALLER, "#");
    assert_eq!(digits(&t), "42*");
    t.keys(CALLER, "9");
    t.document(Some(vec![Step::Prompt(say("Thanks"))]));
    t.says("play caller Thanks");
}

/// RCML.md part 2, Gather: numDigits and timeout end an entry; finishOnKey may be none; a lone finish key is empty.
#[test]
fn other_ends_of_an_entry() {
    let mut t = start(vec![gathering(Gather { num_digits: Some(2), ..gather(vec![]) })]);
    t.keys(CALLER, "12");
    assert_eq!(digits(&t), "12");

    let mut t = start(vec![gathering(Gather { finish_on_key: None, ..gather(vec![]) })]);
    t.keys(CALLER, "1#");
    t.pass(5_000);
    assert_eq!(digits(&t), "1#");

    let mut t = start(vec![gathering(gather(vec![say("Number?")]))]);
    t.skip();
    t.keys(CALLER, "#");
    t.says("stop caller, hang up");
}

/// RCML.md part 2: what is pressed while nothing gathers is lost, also while a document is fetched; what is pressed
/// within the prompts of a Gather counts. Twenty keys at once are complete and in order.
#[test]
fn keys_count_only_in_a_gather() {
    let mut t = Setup::new(vec![Step::Prompt(say("Hello")), redirect("https://app.example/next")]).start();
    t.keys(CALLER, "1");
    t.heard();
    t.keys(CALLER, "2");
    t.document(Some(vec![gathering(Gather { num_digits: Some(20), ..gather(vec![say("Number?")]) })]));
    t.keys(CALLER, "01234567890123456789");
    assert_eq!(digits(&t), "01234567890123456789");
}

/// An entry is bounded.
#[test]
fn an_entry_without_end_is_ended() {
    let mut t = start(vec![gathering(gather(vec![]))]);
    t.keys(CALLER, &"7".repeat(300));
    assert_eq!(digits(&t).len(), 256);
}

/// RCML.md part 2, Record: beep, maxLength and timeout; a key of finishOnKey ends it and is told; the action gets
/// RecordingUrl and RecordingDuration.
#[test]
fn record_until_a_key() {
    let mut t = start(vec![Step::Record(Record { timeout: 3, max_length: 60, ..record() })]);
    t.says("answer, play caller beep");
    t.keys(CALLER, "#");
    t.heard();
    t.says("record caller");
    let (_, call, limits) = t.recordings[0];
    assert_eq!((call, limits), (t.call.sid(), RecordingLimits { max_seconds: 60, silence_seconds: Some(3) }));
    t.keys(CALLER, "5");
    t.says("");
    t.keys(CALLER, "#1");
    t.says("stop recording");
    assert!(t.held_documents.is_empty());
    t.recorded(7, RecordingEnd::Stopped);
    let form = &t.request(ACTION).parameters;
    assert_eq!(parameter(form, "RecordingUrl"), t.recording_url());
    assert_eq!((parameter(form, "RecordingDuration"), parameter(form, "Digits")), ("7".into(), "#".into()));
}

/// RCML.md part 2, Record: without a key no Digits; nothing recorded requests nothing.
#[test]
fn record_until_silence() {
    let mut t = start(vec![Step::Record(Record { play_beep: false, ..record() })]);
    t.says("answer, record caller");
    t.recorded(2, RecordingEnd::Silence);
    assert_eq!(digits(&t), "(absent)");

    let mut t = start(vec![Step::Record(record()), Step::Hangup]);
    t.heard();
    t.skip();
    t.recorded(0, RecordingEnd::Silence);
    t.says("hang up");
}

/// RCML.md part 2, Record: a recording that breaks off leaves a warning, and the call goes on.
#[test]
fn a_recording_that_breaks_off() {
    let mut t = start(vec![Step::Record(record())]);
    t.heard();
    t.recorded(4, RecordingEnd::Failed);
    assert_eq!(t.notices[0].notice.code, 13620);
    assert_eq!(parameter(&t.request(ACTION).parameters, "RecordingDuration"), "4");
}

/// RCML.md part 2, Record: after a hangup `action` is still requested with Digits=hangup, once the recording is whole.
#[test]
fn a_hangup_ends_a_recording() {
    let mut t = start(vec![Step::Record(record())]);
    t.heard();
    t.skip();
    t.caller_hangs_up();
    t.says("");
    assert!(!t.finished && t.final_status() == "completed");
    t.recorded(3, RecordingEnd::Stopped);
    let request = t.request(ACTION);
    let form = &request.parameters;
    assert_eq!(request.purpose, Purpose::Unused);
    assert_eq!((parameter(form, "Digits"), parameter(form, "CallStatus")), ("hangup".into(), "completed".into()));
    assert_eq!(
        (parameter(form, "RecordingUrl"), parameter(form, "RecordingDuration")),
        (t.recording_url(), "3".into())
    );
    assert!(t.finished);
}

/// A recording that was ended and is never answered holds no call for ever.
#[test]
fn a_recording_that_is_never_answered() {
    let mut t = start(vec![Step::Record(record()), Step::Prompt(say("Thanks"))]);
    t.heard();
    t.keys(CALLER, "1");
    t.skip();
    t.pass_seconds(10);
    t.says("play caller Thanks");
    assert!(t.counts.contains(&"recordings_late_total"));

    let mut t = start(vec![Step::Record(record())]);
    t.heard();
    t.caller_hangs_up();
    t.pass_seconds(10);
    assert!(t.finished);
}

/// RCML.md part 2: a caller who hangs up in a prompt or a Gather ends the call, and nothing is asked.
#[test]
fn a_hangup_ends_prompts() {
    for verb in [Step::Prompt(say("Hello")), gathering(gather(vec![say("Number?")]))] {
        let mut t = start(vec![verb]);
        t.keys(CALLER, "1");
        let asked = t.requests.len();
        t.caller_hangs_up();
        assert!(t.finished && t.requests.len() == asked);
    }
}

/// RCML.md part 2, Redirect: a prompt that was heard is no link of a chain; one that was not is.
#[test]
fn a_prompt_breaks_a_chain() {
    let chain = |result: Result<(), PlayError>| {
        let mut setup = Setup::new(vec![Step::Prompt(say("Hello")), redirect(FIRST)]);
        for _ in 0..40 {
            setup = setup.document(FIRST, vec![Step::Prompt(say("Hello")), redirect(FIRST)]);
        }
        let mut t = setup.start();
        for _ in 0..30 {
            if !t.finished {
                t.played(result.clone());
            }
        }
        t.finished
    };
    assert!(!chain(Ok(())));
    assert!(chain(Err(PlayError { reason: "no".into(), url: None, fetch: false })));
}

/// RCML.md part 2: a Say before the Dial: the caller hears a ringing tone; 1.5: after an answered Dial its keys count.
#[test]
fn prompts_around_a_dial() {
    let nouns = dial([client("bob")]);
    let mut t =
        Setup::new(vec![Step::Dial(nouns), gathering(Gather { num_digits: Some(1), ..gather(vec![say("Rate?")]) })])
            .devices("bob", 1)
            .start();
    t.answers(0);
    t.keys(CALLER, "9");
    t.skip();
    t.hangs_up(0);
    t.says("play caller Rate?");
    t.keys(CALLER, "5");
    assert_eq!(digits(&t), "5");

    let mut t =
        Setup::new(vec![Step::Prompt(say("Wait")), Step::Dial(dial([client("bob")]))]).devices("bob", 1).start();
    t.heard();
    t.skip();
    t.provisional(0, 180);
    t.says("tone on");
    t.answers(0);
    t.says("tone off, bridge 0");
}

fn with_music(before: Vec<Step>) -> Bench {
    let music = Some("https://app.example/music.mp3".to_owned());
    let dial = Step::Dial(Dial { dial_music: music, ..dial([client("bob")]) });
    Setup::new(before.into_iter().chain([dial]).collect()).devices("bob", 1).start()
}

/// RCML.md 1.5, part 2, `dialMusic`: in place of ringing, as early media or on the answered call.
#[test]
fn music_in_place_of_ringing() {
    let mut t = with_music(vec![]);
    assert!(t.invites[0].decodable_only);
    t.skip();
    t.provisional(0, 180);
    t.says("early media, play caller music.mp3 x0");
    t.provisional(0, 183);
    t.says("");
    t.answers(0);
    t.says("answer 0, stop caller, bridge 0");

    let mut t = with_music(vec![Step::Prompt(say("Wait"))]);
    t.heard();
    t.skip();
    t.provisional(0, 180);
    t.says("play caller music.mp3 x0");
    t.refuses(0, 486);
    t.says("stop caller, hang up");
}

/// RCML.md part 2: music that cannot be had leaves a notice, and ringing is heard.
#[test]
fn music_that_fails() {
    let mut t = with_music(vec![]);
    t.provisional(0, 180);
    t.skip();
    t.played(Err(PlayError { reason: "404".into(), url: None, fetch: true }));
    t.says("tone on");
    assert_eq!(t.notices[0].notice.code, 11200);
    t.answers(0);
    t.says("answer 0, tone off, bridge 0");
}

/// RCML.md 1.5, `record`: both parties from the bridge on; the action learns the RecordingUrl.
#[test]
fn a_recorded_dial() {
    let recorded = Dial { action: Some(at(ACTION)), record: true, time_limit: 100, ..dial([client("bob")]) };
    let mut t = dialing(recorded.clone(), &[("bob", 1)]);
    t.skip();
    t.answers(0);
    t.says("ring, answer 0, bridge 0, record caller and 0");
    assert_eq!(t.recordings[0].2, RecordingLimits { max_seconds: 100, silence_seconds: None });
    t.pass_seconds(9);
    t.hangs_up(0);
    t.says("stop recording");
    let form = &t.request(ACTION).parameters;
    assert_eq!((parameter(form, "RecordingUrl"), parameter(form, "DialCallDuration")), (t.recording_url(), "9".into()));
    t.recorded(9, RecordingEnd::Stopped);

    // The caller leaves: its session is closed, and the recording with it.
    let mut t = dialing(recorded.clone(), &[("bob", 1)]);
    t.answers(0);
    t.skip();
    t.caller_hangs_up();
    t.says("bye 0");
    assert_eq!(parameter(&t.request(ACTION).parameters, "RecordingUrl"), t.recording_url());
    assert!(!t.finished);
    t.recorded(9, RecordingEnd::Stopped);
    assert!(t.finished);

    // Nothing could be written: there is nothing to name.
    let mut t = dialing(recorded, &[("bob", 1)]);
    t.answers(0);
    t.recorded(0, RecordingEnd::Failed);
    t.hangs_up(0);
    assert_eq!(parameter(&t.request(ACTION).parameters, "RecordingUrl"), "(absent)");
}
