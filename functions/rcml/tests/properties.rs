//! No text makes the reader panic, and whatever it accepts keeps the promises that the interpreter relies on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{BASE, run_for};
use proptest::prelude::*;
use ringfork_rcml::evaluation::Purpose;
use ringfork_rcml::program::{Prompt, Step};
use ringfork_rcml::{Compiled, MAX_WARNINGS, compile};
use url::Url;

fn check(compiled: &Compiled, purpose: Purpose) -> Result<(), TestCaseError> {
    prop_assert!(compiled.warnings.len() <= MAX_WARNINGS + 1);
    for step in compiled.program.iter().flat_map(|program| &program.steps) {
        match step {
            Step::Dial(dial) => {
                prop_assert!(purpose != Purpose::Screening);
                prop_assert!(dial.nouns.len() <= 10 && dial.timeout > 0 && dial.time_limit > 0);
                for noun in &dial.nouns {
                    prop_assert!(noun.headers.len() <= 10);
                    for (name, value) in &noun.headers {
                        prop_assert!(name.len() > 2 && name[..2].eq_ignore_ascii_case("x-"));
                        prop_assert!(!name.chars().any(|c| c.is_control() || c == ' ' || c == ':'));
                        prop_assert!(!value.contains(['\r', '\n', '\0']));
                        prop_assert!(name.chars().count() + value.chars().count() <= 256);
                    }
                    if let Some(callback) = &noun.callback {
                        prop_assert!(callback.url.starts_with("http://") || callback.url.starts_with("https://"));
                    }
                }
            }
            Step::Pause { seconds } => prop_assert!(*seconds > 0),
            Step::Reject { .. } => prop_assert!(purpose != Purpose::Screening),
            Step::Prompt(prompt) => {
                let pause = matches!(prompt, Prompt::Pause { .. });
                prop_assert!(!pause);
                check_prompt(prompt)?;
            }
            Step::Gather(gather) => {
                prop_assert!(gather.timeout > 0 && gather.num_digits != Some(0));
                gather.prompts.iter().try_for_each(check_prompt)?;
            }
            Step::Record(record) => prop_assert!(record.timeout > 0 && record.max_length > 0),
            Step::Redirect { .. } | Step::Hangup => {}
        }
    }
    Ok(())
}

fn check_prompt(prompt: &Prompt) -> Result<(), TestCaseError> {
    match prompt {
        Prompt::Say { text, language, .. } => prop_assert!(!text.trim().is_empty() && !language.is_empty()),
        Prompt::Play { url, .. } => prop_assert!(url.starts_with("http://") || url.starts_with("https://")),
        Prompt::Pause { seconds } => prop_assert!(*seconds > 0),
    }
    Ok(())
}

fn fragment() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "Dial",
        "Client",
        "Number",
        "Sip",
        "Identity",
        "Parameter",
        "Pause",
        "Say",
        "Play",
        "Gather",
        "Record",
        "Redirect",
        "Reject",
        "Hangup",
        "Gather",
        "x",
    ]);
    let attribute = prop::sample::select(vec![
        "url",
        "method",
        "timeout",
        "statusCallback",
        "statusCallbackEvent",
        "callerId",
        "action",
        "name",
        "value",
        "length",
        "reason",
        "record",
        "timeLimit",
    ]);
    let value = prop_oneof![
        "[a-z0-9:/?#%,. -]{0,20}",
        Just("ringing completed".to_owned()),
        Just("30".to_owned()),
        Just("http://a.example/b".to_owned()),
    ];
    let attributes = prop::collection::btree_map(attribute, value.clone(), 0..4);
    let leaf = prop_oneof!["[a-z0-9:+?=%@. -]{0,24}", Just("sip:a@b?x=%0d%0a".to_owned()), Just("&amp;".to_owned())];
    leaf.prop_recursive(4, 48, 12, move |inner| {
        (name.clone(), attributes.clone(), prop::collection::vec(inner, 0..12)).prop_map(|(name, attributes, inner)| {
            let attributes: String = attributes.iter().map(|(k, v)| format!(" {k}=\"{v}\"")).collect();
            format!("<{name}{attributes}>{}</{name}>", inner.concat())
        })
    })
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        let compiled = compile(&text, &Url::parse(BASE).unwrap(), Purpose::Call);
        check(&compiled, Purpose::Call)?;
    }

    #[test]
    fn nearly_documents(fragments in prop::collection::vec(fragment(), 0..8)) {
        for purpose in [Purpose::Call, Purpose::Screening] {
            check(&run_for(&fragments.concat(), purpose), purpose)?;
        }
    }

    #[test]
    fn broken_documents(fragments in prop::collection::vec(fragment(), 1..4), cut in any::<prop::sample::Index>()) {
        let text = format!("<Response>{}</Response>", fragments.concat());
        let at = cut.index(text.len());
        check(&compile(&text[..at], &Url::parse(BASE).unwrap(), Purpose::Call), Purpose::Call)?;
    }
}
