//! The verbs with media: Say, Play, Gather, Record (RCML.md part 2).

use roxmltree::Node;

use crate::codes::{Code, quote};
use crate::program::{DocumentRef, Gather, Prompt, Record};
use crate::reader::{Reader, UrlValue, value};
use crate::xml::direct_text;

/// Keys that an entry or a recording can end with.
const FINISH_KEYS: &str = "0123456789*#";
/// `<Say language>` where nothing is written (RCML.md part 2).
const LANGUAGE: &str = "en";

/// Where a prompt stands: the codes of its warnings differ (Restcomm's numbers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A verb of its own.
    Verb,
    /// Within a Gather.
    Gather,
}

/// `<Say>`; `None` where there is nothing to say.
pub fn say(reader: &mut Reader<'_>, node: Node<'_, '_>, place: Place) -> Option<Prompt> {
    reader.check_attributes(node, &["voice", "language", "loop"], &[]);
    reader.check_no_children(node);
    let code = if place == Place::Gather { Code::GatherSayLoop } else { Code::SayLoop };
    let loops = reader.count(node, "loop", 1, code);
    let voice = written(reader, node, "voice");
    let language = written(reader, node, "language").unwrap_or_else(|| LANGUAGE.to_owned());
    let text = direct_text(node);
    if text.is_empty() {
        reader.warn(Code::SayEmpty, "<Say> without text", node);
        return None;
    }
    Some(Prompt::Say { text, voice, language, loops })
}

/// A name that the speech port is given; an empty one is as absent, with a warning.
fn written(reader: &mut Reader<'_>, node: Node<'_, '_>, name: &str) -> Option<String> {
    match value(node, name) {
        Some("") => {
            reader.warn_value(Code::SayVoice, node, name);
            None
        }
        text => text.map(str::to_owned),
    }
}

/// `<Play>`; `None` where its URL can never be fetched: what cannot be heard is left out, as a Say without text.
pub fn play(reader: &mut Reader<'_>, node: Node<'_, '_>, place: Place) -> Option<Prompt> {
    reader.check_attributes(node, &["loop"], &["digits"]);
    reader.check_no_children(node);
    let code = if place == Place::Gather { Code::GatherPlayLoop } else { Code::PlayLoop };
    let loops = reader.count(node, "loop", 1, code);
    let text = direct_text(node);
    match reader.resolve(&text) {
        UrlValue::Good(url) => Some(Prompt::Play { url, loops }),
        UrlValue::Bad(_) => {
            reader.warn(Code::PlayUrl, &format!("<Play> \"{}\"", quote(&text)), node);
            None
        }
    }
}

/// `<Gather>`.
pub fn gather(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Gather {
    let known = [
        "action",
        "method",
        "input",
        "timeout",
        "finishOnKey",
        "numDigits",
        "actionOnEmptyResult",
        "language",
        "hints",
    ];
    let later = ["startInputKey", "partialResultCallback", "partialResultCallbackMethod", "speechTimeout"];
    reader.check_attributes(node, &known, &later);
    if let Some(input) = value(node, "input") {
        let words = || input.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
        if words().any(|word| !word.eq_ignore_ascii_case("dtmf")) || words().next().is_none() {
            reader.warn_value(Code::GatherInput, node, "input");
        }
    }
    let text = direct_text(node);
    if !text.is_empty() {
        reader.warn(Code::Unknown, &format!("\"{}\" in <Gather>", quote(&text)), node);
    }
    Gather {
        action: action(reader, node, Code::GatherMethod),
        timeout: reader.seconds(node, "timeout", 5, Code::GatherTimeout),
        finish_on_key: gather_finish_key(reader, node),
        num_digits: num_digits(reader, node),
        action_on_empty_result: reader.boolean(node, "actionOnEmptyResult", Code::GatherEmptyResult),
        prompts: prompts(reader, node),
    }
}

/// One key; an empty value is none (RCML.md part 2).
fn gather_finish_key(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Option<char> {
    let Some(text) = value(node, "finishOnKey") else { return Some('#') };
    let mut keys = text.chars();
    match (keys.next(), keys.next()) {
        (None, _) => None,
        (Some(key), None) if FINISH_KEYS.contains(key) => Some(key),
        _ => {
            reader.warn_value(Code::GatherFinishKey, node, "finishOnKey");
            Some('#')
        }
    }
}

fn num_digits(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Option<u32> {
    value(node, "numDigits")?;
    // 0 is no count of keys: `count` alone would take it.
    match reader.count(node, "numDigits", u32::MAX, Code::GatherNumDigits) {
        0 => {
            reader.warn_value(Code::GatherNumDigits, node, "numDigits");
            None
        }
        u32::MAX => None,
        count => Some(count),
    }
}

fn prompts(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Vec<Prompt> {
    let mut prompts = Vec::new();
    for child in node.children().filter(Node::is_element) {
        let prompt = match child.tag_name().name() {
            "Say" => say(reader, child, Place::Gather),
            "Play" => play(reader, child, Place::Gather),
            "Pause" => {
                reader.check_attributes(child, &["length"], &[]);
                reader.check_no_children(child);
                Some(Prompt::Pause { seconds: reader.seconds(child, "length", 1, Code::PauseLength) })
            }
            name => {
                reader.warn(Code::GatherNested, &format!("<{}> in <Gather>", quote(name)), child);
                None
            }
        };
        prompts.extend(prompt);
    }
    prompts
}

/// Seconds that a Record may last: as long as a Dial by default.
const MOST_RECORDED: u32 = 14_400;

/// `<Record>`.
pub fn record(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Record {
    let known = ["action", "method", "timeout", "finishOnKey", "maxLength", "playBeep", "transcribe"];
    reader.check_attributes(node, &known, &["transcribeCallback", "media", "trim", "recordingStatusCallback"]);
    reader.check_no_children(node);
    if reader.boolean_or(node, "transcribe", false, Code::RecordFlag) {
        reader.warn_value(Code::NotBuilt, node, "transcribe");
    }
    Record {
        action: action(reader, node, Code::RecordMethod),
        timeout: reader.seconds_within(node, "timeout", 5, MOST_RECORDED, Code::RecordLimit),
        finish_on_key: record_finish_keys(reader, node),
        max_length: reader.seconds_within(node, "maxLength", 3600, MOST_RECORDED, Code::RecordLimit),
        play_beep: reader.boolean_or(node, "playBeep", true, Code::RecordFlag),
    }
}

/// Any of the keys; absent: every one; empty or `-1`: none.
fn record_finish_keys(reader: &mut Reader<'_>, node: Node<'_, '_>) -> String {
    match value(node, "finishOnKey") {
        None => FINISH_KEYS.to_owned(),
        Some("" | "-1") => String::new(),
        Some(keys)
            if keys.chars().count() <= FINISH_KEYS.len() && keys.chars().all(|key| FINISH_KEYS.contains(key)) =>
        {
            keys.to_owned()
        }
        Some(_) => {
            reader.warn_value(Code::RecordFinishKey, node, "finishOnKey");
            FINISH_KEYS.to_owned()
        }
    }
}

/// `action` and `method`; without a usable one the document itself is asked (RCML.md part 2).
fn action(reader: &mut Reader<'_>, node: Node<'_, '_>, code: Code) -> DocumentRef {
    let method = reader.method(node, "method", code);
    let url = reader.optional_url(node, "action").unwrap_or_else(|| reader.own_url());
    DocumentRef { url, method }
}
