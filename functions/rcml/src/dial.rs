//! `<Dial>` and its nouns (RCML.md part 1, and part 2 for Number and Sip).

use roxmltree::Node;

use crate::codes::{Code, quote};
use crate::headers;
use crate::program::{Callback, Dial, DocumentRef, Endpoint, Events, Noun, Screening};
use crate::reader::{Reader, UrlValue, value};
use crate::xml::direct_text;

/// Most nouns of one Dial (RCML.md 1.2).
pub const MAX_NOUNS: usize = 10;
/// Longest number; E.164 has 15 digits, dial strings some more.
const MAX_NUMBER: usize = 64;

/// Nouns of the language, and of TwiML, that no version here rings yet.
const LATER_NOUNS: [&str; 7] = ["Conference", "Queue", "Sim", "Application", "Uri", "WhatsApp", "VirtualAgent"];
/// Attributes that all three nouns share (RCML.md 1.1).
const NOUN_ATTRIBUTES: [&str; 6] =
    ["url", "method", "timeout", "statusCallback", "statusCallbackEvent", "statusCallbackMethod"];

/// Which noun an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Client,
    Number,
    Sip,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match name {
            "Client" => Some(Kind::Client),
            "Number" => Some(Kind::Number),
            "Sip" => Some(Kind::Sip),
            _ => None,
        }
    }
}

/// Reads a `<Dial>` element.
pub fn read(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Dial {
    const KNOWN: [&str; 7] = ["action", "method", "timeout", "timeLimit", "callerId", "record", "dialMusic"];
    reader.check_attributes(node, &KNOWN, &[]);
    Dial {
        action: reader.optional_document(node, "action", "method", Code::DialMethod),
        timeout: reader.seconds(node, "timeout", 30, Code::DialTimeout),
        time_limit: reader.seconds(node, "timeLimit", 14_400, Code::DialTimeLimit),
        caller_id: caller_id(reader, node),
        record: reader.boolean(node, "record", Code::DialRecord),
        dial_music: reader.optional_url(node, "dialMusic"),
        nouns: nouns(reader, node),
    }
}

/// RCML.md 1.5: `callerId` as written, `client:` included.
fn caller_id(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Option<String> {
    let text = value(node, "callerId")?;
    let name = text.strip_prefix("client:").unwrap_or(text).trim();
    // It becomes the user part of a From: nothing there may be white space or invisible.
    if name.is_empty() || name.chars().count() > 256 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        reader.warn_value(Code::DialCallerId, node, "callerId");
        return None;
    }
    Some(text.to_owned())
}

fn nouns(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Vec<Noun> {
    let mut nouns = Vec::new();
    let mut any_noun = false;
    for child in node.children().filter(Node::is_element) {
        let name = child.tag_name().name();
        let Some(kind) = Kind::of(name) else {
            let later = LATER_NOUNS.contains(&name);
            any_noun |= later;
            let code = if later { Code::NotBuilt } else { Code::Unknown };
            reader.warn(code, &format!("<{}> in <Dial>", quote(name)), child);
            continue;
        };
        any_noun = true;
        if nouns.len() >= MAX_NOUNS {
            reader.warn(Code::DialTooManyNouns, &format!("<{name}> {}", quote(&direct_text(child))), child);
        } else if let Some(noun) = noun(reader, child, kind) {
            nouns.push(noun);
        }
    }
    let text = direct_text(node);
    if any_noun && !text.is_empty() {
        reader.warn(Code::DialText, &format!("\"{}\" in <Dial>", quote(&text)), node);
    } else if !text.is_empty() {
        // RCML.md part 2: bare text is a Number.
        let (digits, pairs) = headers::split(&text);
        if let Some(endpoint) = number(reader, node, digits) {
            let headers = noun_headers(reader, node, pairs);
            nouns.push(Noun { endpoint, headers, screening: None, callback: None });
        }
    }
    if nouns.is_empty() {
        reader.warn(Code::DialEmpty, "<Dial> rings nobody", node);
    }
    nouns
}

fn noun(reader: &mut Reader<'_>, node: Node<'_, '_>, kind: Kind) -> Option<Noun> {
    let credentials: &[&str] = if kind == Kind::Sip { &["username", "password"] } else { &[] };
    let known: Vec<&str> = NOUN_ATTRIBUTES.iter().chain(credentials).copied().collect();
    reader.check_attributes(node, &known, &[]);

    let text = noun_text(reader, node, kind);
    let (name, mut pairs) = headers::split(&text);
    let endpoint = match kind {
        Kind::Client => client(reader, node, name),
        Kind::Number => number(reader, node, name),
        Kind::Sip => sip(reader, node, name),
    };
    pairs.extend(parameters(reader, node));
    let headers = noun_headers(reader, node, pairs);
    let screening = screening(reader, node);
    let callback = callback(reader, node);
    Some(Noun { endpoint: endpoint?, headers, screening, callback })
}

/// The noun's text, or that of `<Identity>` in its place (RCML.md 1.1).
fn noun_text(reader: &mut Reader<'_>, node: Node<'_, '_>, kind: Kind) -> String {
    let text = direct_text(node);
    let mut identity: Option<String> = None;
    for child in node.children().filter(Node::is_element) {
        match child.tag_name().name() {
            "Identity" if kind == Kind::Client && identity.is_none() => {
                reader.check_attributes(child, &[], &[]);
                reader.check_no_children(child);
                identity = Some(direct_text(child));
            }
            "Parameter" => {}
            other => {
                let found = format!("<{}> in <{}>", quote(other), node.tag_name().name());
                reader.warn(Code::Unknown, &found, child);
            }
        }
    }
    match identity {
        Some(identity) => {
            if !text.is_empty() {
                reader.warn(Code::Unknown, &format!("\"{}\" beside <Identity>", quote(&text)), node);
            }
            identity
        }
        None => text,
    }
}

/// `<Parameter name= value=/>` children.
fn parameters(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for child in node.children().filter(|child| child.is_element() && child.tag_name().name() == "Parameter") {
        reader.check_attributes(child, &["name", "value"], &[]);
        reader.check_no_children(child);
        let name = value(child, "name").unwrap_or_default();
        pairs.push((name.to_owned(), value(child, "value").unwrap_or_default().to_owned()));
    }
    pairs
}

fn noun_headers(
    reader: &mut Reader<'_>,
    node: Node<'_, '_>,
    pairs: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in pairs {
        if let Err(left) = headers::add(&mut headers, &name, &value) {
            reader.warn(Code::Header, &format!("header {}, {}", quote(&name), left.as_str()), node);
        }
    }
    headers
}

fn client(reader: &mut Reader<'_>, node: Node<'_, '_>, text: &str) -> Option<Endpoint> {
    let identity = text.strip_prefix("client:").unwrap_or(text).trim();
    if identity.is_empty() {
        reader.warn(Code::ClientEmpty, "<Client> without a name", node);
        return None;
    }
    Some(Endpoint::Client { identity: identity.to_owned() })
}

/// Without RFC 3966's visual separators (`-`, `.`, `(`, `)`) and white space, a number is digits, `*`, `#` and A to D
/// after an optional `+`.
fn number(reader: &mut Reader<'_>, node: Node<'_, '_>, text: &str) -> Option<Endpoint> {
    let separator = |c: char| c.is_whitespace() || matches!(c, '-' | '.' | '(' | ')');
    let digits: String = text.chars().filter(|c| !separator(*c)).collect();
    let dialed = digits.strip_prefix('+').unwrap_or(&digits);
    let plain = dialed.chars().all(|c| c.is_ascii_digit() || matches!(c, '*' | '#' | 'A'..='D' | 'a'..='d'));
    if dialed.is_empty() || dialed.len() > MAX_NUMBER || !plain {
        reader.warn(Code::NumberFormat, &format!("number \"{}\"", quote(text)), node);
        return None;
    }
    Some(Endpoint::Number { digits })
}

fn sip(reader: &mut Reader<'_>, node: Node<'_, '_>, text: &str) -> Option<Endpoint> {
    let rest = ["sip:", "sips:"]
        .iter()
        .find_map(|scheme| text.get(..scheme.len()).filter(|s| s.eq_ignore_ascii_case(scheme)).map(|_| scheme.len()))
        .and_then(|at| text.get(at..));
    let host = rest.map(|rest| rest.rsplit_once('@').map_or(rest, |(_, host)| host));
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\\' | '^' | '`');
    let good = host.is_some_and(|host| !host.is_empty() && !host.starts_with([':', ';']));
    if !good || text.chars().any(forbidden) {
        reader.warn(Code::SipUri, &format!("SIP URI \"{}\"", quote(text)), node);
        return None;
    }
    if !is_plain(text, host.unwrap_or_default()) {
        reader.warn(Code::SipTransport, &format!("SIP URI \"{}\"", quote(text)), node);
        return None;
    }
    let credential = |name: &str| value(node, name).filter(|text| !text.is_empty()).map(str::to_owned);
    Some(Endpoint::Sip { uri: text.to_owned(), username: credential("username"), password: credential("password") })
}

/// A URI that asks for TLS must not go out in clear (RFC 3261 §26.2.2). `host`: what follows the user.
fn is_plain(uri: &str, host: &str) -> bool {
    let transport = |parameter: &str| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("transport").then(|| value.to_ascii_lowercase())
    };
    let secure = uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"));
    !secure && host.split(';').filter_map(transport).all(|transport| matches!(transport.as_str(), "udp" | "tcp"))
}

/// `url`, `method`, `timeout` of a noun (RCML.md 1.1, 1.3).
///
/// A `url` that can never be fetched stays in the program as written: its fetch fails and the leg ends as not accepted.
/// Falling back to "no screening" would bridge a leg that the customer wanted screened.
fn screening(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Option<Screening> {
    let method = reader.method(node, "method", Code::DialMethod);
    let timeout = reader.seconds(node, "timeout", 60, Code::NounTimeout);
    let url = match value(node, "url") {
        Some("") => {
            reader.warn_value(Code::OptionalUrl, node, "url");
            None
        }
        Some(text) => Some(match reader.resolve(text) {
            UrlValue::Good(url) => url,
            UrlValue::Bad(written) => {
                reader.warn_value(Code::NounUrl, node, "url");
                written
            }
        }),
        None => None,
    };
    if url.is_none() && node.has_attribute("timeout") {
        reader.warn_value(Code::NounTimeoutUnused, node, "timeout");
    }
    Some(Screening { document: DocumentRef { url: url?, method }, timeout })
}

/// `statusCallback*` of a noun (RCML.md 1.1, 1.4).
fn callback(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Option<Callback> {
    let method = reader.method(node, "statusCallbackMethod", Code::DialMethod);
    let events = events(reader, node);
    Some(Callback { url: reader.optional_url(node, "statusCallback")?, method, events })
}

/// Names separated by commas and/or white space, in any case; unknown ones are dropped with a warning, and only an
/// empty rest is the default (RCML.md 1.1).
fn events(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Events {
    let Some(text) = value(node, "statusCallbackEvent") else { return Events::ALL };
    let mut events = Events { initiated: false, ringing: false, answered: false, completed: false };
    let mut unknown = false;
    for name in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|name| !name.is_empty()) {
        match name.to_ascii_lowercase().as_str() {
            "initiated" => events.initiated = true,
            "ringing" => events.ringing = true,
            "answered" => events.answered = true,
            "completed" => events.completed = true,
            _ => unknown = true,
        }
    }
    let empty = !(events.initiated || events.ringing || events.answered || events.completed);
    if unknown || empty {
        reader.warn_value(Code::CallbackEvent, node, "statusCallbackEvent");
    }
    if empty { Events::ALL } else { events }
}
