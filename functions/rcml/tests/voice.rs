//! RCML.md part 2: Say, Play, Gather, Record.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::steps;
use ringfork_rcml::program::{DocumentRef, Gather, Method, Prompt, Record, Step};

const HERE: &str = "https://example.com/voice/start.xml?x=1";

fn document(url: &str, method: Method) -> DocumentRef {
    DocumentRef { url: url.to_owned(), method }
}

fn say(text: &str, loops: u32) -> Prompt {
    Prompt::Say { text: text.to_owned(), voice: None, language: "en".to_owned(), loops }
}

fn play(url: &str, loops: u32) -> Prompt {
    Prompt::Play { url: url.to_owned(), loops }
}

/// RCML.md part 2, Say: voice, language (en), loop (1; 0 = until hung up); the text is trimmed, an empty one skipped.
#[test]
fn say_and_its_attributes() {
    let voice = |voice: Option<&str>, language: &str| Prompt::Say {
        text: "Hi".to_owned(),
        voice: voice.map(str::to_owned),
        language: language.to_owned(),
        loops: 1,
    };
    let table: &[(&str, Option<Prompt>, &[u32])] = &[
        ("<Say>\n  Hello, you.\n</Say>", Some(say("Hello, you.", 1)), &[]),
        ("<Say loop=' 3 '>Hi</Say>", Some(say("Hi", 3)), &[]),
        ("<Say loop='0'>Hi</Say>", Some(say("Hi", 0)), &[]),
        ("<Say loop='-1'>Hi</Say>", Some(say("Hi", 1)), &[13510]),
        ("<Say loop='+2'>Hi</Say>", Some(say("Hi", 1)), &[13510]),
        ("<Say voice=' woman ' language='de-DE'>Hi</Say>", Some(voice(Some("woman"), "de-DE")), &[]),
        ("<Say voice='' language=' '>Hi</Say>", Some(voice(None, "en")), &[13511, 13511]),
        ("<Say/>", None, &[13520]),
        ("<Say> \n </Say>", None, &[13520]),
        ("<Say pitch='1'>Hi</Say>", Some(say("Hi", 1)), &[12200]),
    ];
    for (body, prompt, warned) in table {
        let expected: Vec<Step> = prompt.clone().map(Step::Prompt).into_iter().collect();
        assert_eq!(steps(body), (expected, warned.to_vec()), "{body}");
    }
}

/// RCML.md part 2, Play: loop (1; 0 = until hung up); a URL, relative ones too.
#[test]
fn play_and_its_url() {
    let table: &[(&str, Option<Prompt>, &[u32])] = &[
        ("<Play>\n a.wav \n</Play>", Some(play("https://example.com/voice/a.wav", 1)), &[]),
        ("<Play loop='0'>http://b.example/a.mp3</Play>", Some(play("http://b.example/a.mp3", 0)), &[]),
        ("<Play loop='x'>/a</Play>", Some(play("https://example.com/a", 1)), &[13410]),
        ("<Play/>", None, &[13411]),
        ("<Play>file:///etc/passwd</Play>", None, &[13411]),
        ("<Play digits='1'>/a</Play>", Some(play("https://example.com/a", 1)), &[12210]),
    ];
    for (body, prompt, warned) in table {
        let expected: Vec<Step> = prompt.clone().map(Step::Prompt).into_iter().collect();
        assert_eq!(steps(body), (expected, warned.to_vec()), "{body}");
    }
}

fn gather(body: &str) -> (Gather, Vec<u32>) {
    let (mut steps, codes) = steps(body);
    assert_eq!(steps.len(), 1, "{body}");
    match steps.pop() {
        Some(Step::Gather(gather)) => (*gather, codes),
        other => panic!("{other:?}"),
    }
}

/// RCML.md part 2, Gather: action (this document), input (dtmf), timeout (5), finishOnKey (#), numDigits,
/// actionOnEmptyResult (false); nested Say, Play, Pause.
#[test]
fn gather_and_what_it_nests() {
    let plain = Gather {
        action: document(HERE, Method::Post),
        prompts: Vec::new(),
        timeout: 5,
        finish_on_key: Some('#'),
        num_digits: None,
        action_on_empty_result: false,
    };
    assert_eq!(gather("<Gather/>"), (plain.clone(), vec![]));
    let full = "<Gather action='next' method='get' input='dtmf' timeout='9' finishOnKey='*' numDigits=' 4 ' \
                actionOnEmptyResult='TRUE' language='en-US' hints='one, two'>\
                <Say>One?</Say><Pause length='2'/><Play loop='0'>/m.wav</Play></Gather>";
    let expected = Gather {
        action: document("https://example.com/voice/next", Method::Get),
        prompts: vec![say("One?", 1), Prompt::Pause { seconds: 2 }, play("https://example.com/m.wav", 0)],
        timeout: 9,
        finish_on_key: Some('*'),
        num_digits: Some(4),
        action_on_empty_result: true,
    };
    assert_eq!(gather(full), (expected, vec![]));
    let none = Gather { finish_on_key: None, ..plain.clone() };
    assert_eq!(gather("<Gather finishOnKey=''/>"), (none, vec![]));
    for (attributes, code) in [
        ("finishOnKey='##'", 13310),
        ("finishOnKey='x'", 13310),
        ("method='PUT'", 13312),
        ("timeout='0'", 13313),
        ("timeout='1.5'", 13313),
        ("numDigits='0'", 13314),
        ("numDigits='many'", 13314),
        ("input='speech'", 13316),
        ("input='dtmf speech'", 13316),
        ("actionOnEmptyResult='yes'", 13317),
        ("action='ftp://b/'", 13222),
        ("startInputKey='1'", 12210),
        ("action2='a'", 12200),
    ] {
        assert_eq!(gather(&format!("<Gather {attributes}/>")), (plain.clone(), vec![code]), "{attributes}");
    }
    for (nested, code) in [
        ("<Say loop='x'>Hi</Say>", 13321),
        ("<Play loop='x'>/a</Play>", 13325),
        ("<Pause length='x'/>", 13910),
        ("<Hangup/>", 13320),
        ("<Dial>1</Dial>", 13320),
        ("<Say/>", 13520),
        ("text", 12200),
    ] {
        assert_eq!(gather(&format!("<Gather>{nested}</Gather>")).1, [code], "{nested}");
    }
}

/// RCML.md part 2, Record: action, method, timeout (5), finishOnKey, maxLength (3600), playBeep (true), transcribe.
#[test]
fn record_and_its_limits() {
    let plain = Record {
        action: document(HERE, Method::Post),
        timeout: 5,
        finish_on_key: "0123456789*#".to_owned(),
        max_length: 3600,
        play_beep: true,
    };
    let full = Record {
        action: document("https://example.com/done", Method::Get),
        timeout: 2,
        finish_on_key: "1#".to_owned(),
        max_length: 60,
        play_beep: false,
    };
    let none = Record { finish_on_key: String::new(), ..plain.clone() };
    let table: &[(&str, Record, &[u32])] = &[
        ("", plain.clone(), &[]),
        ("action='/done' method='GET' timeout='2' finishOnKey=' 1# ' maxLength='60' playBeep='false'", full, &[]),
        ("finishOnKey=''", none.clone(), &[]),
        ("finishOnKey='-1'", none, &[]),
        ("finishOnKey='any'", plain.clone(), &[13613]),
        ("method='PUT'", plain.clone(), &[13610]),
        ("playBeep='no'", plain.clone(), &[13611]),
        ("timeout='0' maxLength='-1'", plain.clone(), &[13612, 13612]),
        ("timeout='14400' maxLength='14400'", Record { timeout: 14_400, max_length: 14_400, ..plain.clone() }, &[]),
        (
            "timeout='14401' maxLength='4294967295'",
            Record { timeout: 14_400, max_length: 14_400, ..plain.clone() },
            &[13612, 13612],
        ),
        ("transcribe='false'", plain.clone(), &[]),
        ("transcribe='true'", plain, &[12210]),
    ];
    for (attributes, record, warned) in table {
        let expected = vec![Step::Record(record.clone())];
        assert_eq!(steps(&format!("<Record {attributes}/>")), (expected, warned.to_vec()), "{attributes}");
    }
}

/// The verbs survive the JSON of an invocation.
#[test]
fn programs_with_media_survive_json() {
    let body = "<Say>Hi</Say><Gather><Play>/a</Play><Pause/></Gather><Record/><Pause/>";
    let program = common::run(body).program.unwrap();
    let json = serde_json::to_string(&program).unwrap();
    assert_eq!(serde_json::from_str::<ringfork_rcml::Program>(&json).unwrap(), program);
}
