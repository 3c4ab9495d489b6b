//! What happens as text: a row of the picture for each thing in the demonstration call, a line for each in real calls.

use std::collections::BTreeMap;
use std::time::Duration;

use super::app::{self, Told};
use super::ladder::{Ladder, Tint};
use super::phone::Seen;
use super::{Happening, QUEUE};

/// One message or request as a row of the picture.
pub(super) fn draw(ladder: &Ladder, at: f64, happening: &Happening) -> String {
    match happening {
        Happening::Phone(Seen::Message { phone, sent, message }) => {
            let (label, tint) = match (message.method(), message.status()) {
                (Some(method), _) => {
                    let tint = if matches!(method.as_str(), "CANCEL" | "BYE") { Tint::Bad } else { Tint::Plain };
                    (method.as_str().to_owned(), tint)
                }
                (None, Some(status)) => {
                    let tint = match status {
                        100 => Tint::Faint,
                        200..=299 => Tint::Good,
                        400.. => Tint::Bad,
                        _ => Tint::Plain,
                    };
                    (format!("{status} {}", ringfork_sip::build::reason_phrase(status)), tint)
                }
                _ => return String::new(),
            };
            let (from, to) = if *sent { (phone.as_str(), "ringfork") } else { ("ringfork", phone.as_str()) };
            let reason = message.fields_named("Reason").next().map(|field| format!("Reason: {}", field.text()));
            ladder.row(at, from, to, &label, &reason.unwrap_or_default(), tint)
        }
        Happening::Phone(Seen::Prompt { phone, length }) => {
            let length = seconds(*length);
            let remark = format!("{phone} heard {length} of prompt");
            ladder.row(at, "ringfork", phone, &format!("♪ {length}"), &remark, Tint::Plain)
        }
        Happening::Phone(Seen::Pressed { phone, key }) => {
            ladder.row(at, phone, "ringfork", &format!("key {key}"), &format!("{phone} pressed {key}"), Tint::Plain)
        }
        Happening::App(told) => {
            let (label, remark) = match told {
                Told::Call(form) => ("POST /voice", format!("From={} → <Dial>", value(form, "From"))),
                Told::Screen(form) => ("POST /screen", format!("{} → <Gather><Play>", leg(form))),
                Told::Prompt => ("GET /prompt.wav", String::new()),
                Told::Key(form) => ("POST /key", key_text(form)),
                Told::Event(form) => ("POST /events", event_text(form)),
                Told::After(form) => (
                    "POST /after",
                    format!(
                        "DialCallStatus={} DialCallDuration={}",
                        value(form, "DialCallStatus"),
                        value(form, "DialCallDuration")
                    ),
                ),
            };
            ladder.row(at, "ringfork", "application", label, &remark, Tint::Faint)
        }
    }
}

/// Whose leg it is, and the end of its SID: one client may have several.
fn leg(form: &BTreeMap<String, String>) -> String {
    let sid = value(form, "CallSid");
    format!("{} …{}", value(form, "To"), sid.get(sid.len().saturating_sub(4)..).unwrap_or_default())
}

/// The key that a leg pressed, and what the application said to it.
fn key_text(form: &BTreeMap<String, String>) -> String {
    format!("{} Digits={} → {}", leg(form), value(form, "Digits"), app::answer_to_key(form))
}

/// As `1.9 s`.
pub(super) fn seconds(length: Duration) -> String {
    format!("{:.1} s", length.as_secs_f64())
}

/// A status callback in few words.
fn event_text(form: &BTreeMap<String, String>) -> String {
    let mut text = format!("{} {} (event {})", leg(form), value(form, "CallStatus"), value(form, "SequenceNumber"));
    if let Some(duration) = form.get("CallDuration") {
        text.push_str(&format!(", over after {duration} s"));
    }
    text
}

/// A line of the live list, if this deserves one.
pub(super) fn live(told: &Told, calls: &mut BTreeMap<String, String>) -> Option<String> {
    let time = ringfork_call::control::rfc2822(crate::core::now().unix_ms);
    let time = time.split(' ').find(|word| word.contains(':')).unwrap_or_default().to_owned();
    // Bounded: a call whose end was missed is forgotten with the oldest.
    while calls.len() > QUEUE {
        calls.pop_first();
    }
    match told {
        Told::Call(form) => {
            let (from, to) = (value(form, "From"), value(form, "To"));
            calls.insert(value(form, "CallSid").to_owned(), from.to_owned());
            Some(format!("{time}  {from} calls {to}"))
        }
        Told::Screen(form) | Told::Key(form) | Told::Event(form) => {
            let from = calls.get(value(form, "ParentCallSid")).map_or("a call", String::as_str);
            let text = match told {
                Told::Screen(_) => format!("{} hears the prompt: 1 accepts", leg(form)),
                Told::Key(_) => key_text(form),
                _ => event_text(form),
            };
            Some(format!("{time}  {from}: {text}"))
        }
        Told::Prompt => None,
        Told::After(form) => {
            let from = calls.remove(value(form, "CallSid")).unwrap_or_else(|| "a call".into());
            let (status, seconds) = (value(form, "DialCallStatus"), value(form, "DialCallDuration"));
            Some(format!("{time}  {from}: over, {status}, {seconds} s"))
        }
    }
}

fn value<'a>(form: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    form.get(name).map_or("", String::as_str)
}
