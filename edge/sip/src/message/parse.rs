//! The one pass over a message's bytes: start line, header spans, body span.
//!
//! What is decided here is where things are; what the values say is read later. A fault in a header line does not end
//! the pass, so that a refusal can still copy the Via, From, To, Call-ID and CSeq that stand after it.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr;

use super::{Entry, Fault, Head, Message, Method, NO_ENTRY, Span, Start, limits};
use crate::header::{HeaderName, scan};

/// What went wrong first.
type Found = Option<(u16, &'static str)>;

/// Reads one whole message: a datagram, or what [`crate::framing`] cut out of a stream.
///
/// Lines end with CRLF; a bare LF is taken as well (the framer does the same). CRLFs before the start line are skipped
/// (RFC 3261 §7.5). The body is what Content-Length says, the octets after it are ignored (§18.3); without
/// Content-Length it is the rest.
pub(super) fn parse(raw: Bytes) -> Result<Message, Fault> {
    if raw.len() > limits::MESSAGE {
        return Err(Fault::new(513, "Message Too Large", None));
    }
    let bytes: &[u8] = &raw;
    let mut at = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    let mut fault: Found = None;

    let Some(line) = line_at(bytes, at) else { return Err(Fault::new(400, "No start line", None)) };
    if line.end - at > limits::LINE {
        return Err(Fault::new(414, "Request-URI Too Long", None));
    }
    let (start, start_fault) = read_start(bytes.get(at..line.end).unwrap_or_default(), at);
    let Some(start) = start else { return Err(Fault::new(400, "Malformed start line", None)) };
    note(&mut fault, start_fault);
    at = line.next;

    let mut head =
        Head { start, entries: smallvec::SmallVec::new(), first: [NO_ENTRY; HeaderName::COUNT], body: Span::default() };
    let mut ended = false;
    while let Some(line) = line_at(bytes, at) {
        if line.end == at {
            at = line.next;
            ended = true;
            break;
        }
        // A field goes on over each following line that starts with white space (RFC 3261 §7.3.1).
        let (mut end, mut next) = (line.end, line.next);
        while matches!(bytes.get(next), Some(b' ' | b'\t')) {
            match line_at(bytes, next) {
                Some(more) => (end, next) = (more.end, more.next),
                None => break,
            }
        }
        note(&mut fault, add_field(&mut head, bytes, at, end).err());
        at = next;
        if at > limits::HEAD || head.entries.len() >= limits::FIELDS {
            note(&mut fault, Some((400, "Too many or too long header fields")));
            break;
        }
    }
    if !ended {
        note(&mut fault, Some((400, "Missing end of header fields")));
        at = bytes.len();
    }
    let rest = bytes.len() - at;
    let length = match content_length(&head, bytes) {
        Ok(Some(length)) if length > rest => {
            note(&mut fault, Some((400, "Content-Length exceeds the message")));
            rest
        }
        Ok(Some(length)) => length,
        Ok(None) => rest,
        Err(reason) => {
            note(&mut fault, Some((400, reason)));
            0
        }
    };
    if length > limits::BODY {
        note(&mut fault, Some((513, "Message Too Large")));
    }
    head.body = Span::new(at, at + length);
    let message = Message { raw, head: Arc::new(head) };
    match fault {
        None => Ok(message),
        Some((status, reason)) => Err(Fault::new(status, reason, Some(message))),
    }
}

/// Keeps the first.
fn note(fault: &mut Found, found: Found) {
    if fault.is_none() {
        *fault = found;
    }
}

/// One line: where its text ends and the next begins.
struct Line {
    end: usize,
    next: usize,
}

fn line_at(bytes: &[u8], at: usize) -> Option<Line> {
    let rest = bytes.get(at..)?;
    if rest.is_empty() {
        return None;
    }
    let Some(lf) = memchr(b'\n', rest) else { return Some(Line { end: bytes.len(), next: bytes.len() }) };
    let end = if lf > 0 && rest.get(lf - 1) == Some(&b'\r') { lf - 1 } else { lf };
    Some(Line { end: at + end, next: at + lf + 1 })
}

/// The start line and what is wrong with it. `None` for a line that is neither a request's nor a usable response's.
fn read_start(line: &[u8], at: usize) -> (Option<Start>, Found) {
    if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
        return (read_status_line(line, at), None);
    }
    let space = memchr(b' ', line).unwrap_or(line.len());
    let Some(method) = line.get(..space).and_then(Method::from_token) else { return (None, None) };
    let rest = line.get(space + 1..).unwrap_or_default();
    // One space stands between the three parts and none elsewhere (RFC 3261 §7.1), so the version is what follows the
    // last one. Where white space trails, the version is read without it, to tell 505 and 400 apart.
    let kept = scan::trim_end(rest);
    let last = kept.iter().rposition(|byte| *byte == b' ');
    let uri = last.and_then(|last| kept.get(..last)).unwrap_or_default();
    let version = last.and_then(|last| kept.get(last + 1..)).unwrap_or_default();
    let fault = if !version.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/")) {
        Some((400, "Malformed request line"))
    } else if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        Some((505, "Version Not Supported"))
    } else if kept.len() < rest.len() || uri.is_empty() || uri.iter().any(|byte| scan::is_lws(*byte)) {
        Some((400, "White space in the request line"))
    } else {
        None
    };
    let uri_at = at + space + 1;
    (Some(Start::Request { method, uri: Span::new(uri_at, uri_at + uri.len()) }), fault)
}

/// `SIP/2.0 SP 3DIGIT SP reason`. The space before an empty reason may be missing, as some devices have it.
fn read_status_line(line: &[u8], at: usize) -> Option<Start> {
    let rest = line.get(b"SIP/2.0".len()..)?;
    if !line.get(..b"SIP/2.0".len())?.eq_ignore_ascii_case(b"SIP/2.0") {
        return None;
    }
    let code = rest.strip_prefix(b" ")?.get(..3)?;
    let code = u16::try_from(scan::number(code)?).ok().filter(|code| (100..700).contains(code))?;
    match rest.get(4) {
        Some(b' ') => Some(Start::Response { code, reason: Span::new(at + 12, at + line.len()) }),
        None => Some(Start::Response { code, reason: Span::new(at + line.len(), at + line.len()) }),
        Some(_) => None,
    }
}

fn add_field(head: &mut Head, bytes: &[u8], at: usize, end: usize) -> Result<(), (u16, &'static str)> {
    const MALFORMED: (u16, &str) = (400, "Malformed header field");
    let field = bytes.get(at..end).ok_or(MALFORMED)?;
    if field.len() > limits::LINE {
        return Err((400, "Header field too long"));
    }
    let colon = memchr(b':', field).ok_or(MALFORMED)?;
    let mut name = field.get(..colon).ok_or(MALFORMED)?;
    // HCOLON allows white space before the colon (RFC 3261 §25.1).
    while let [rest @ .., b' ' | b'\t'] = name {
        name = rest;
    }
    if !scan::is_token(name) {
        return Err(MALFORMED);
    }
    let id = HeaderName::from_bytes(name);
    let value = field.get(colon + 1..).ok_or(MALFORMED)?;
    let value_at = at + colon + 1 + (value.len() - scan::trim_start(value).len());
    let value_len = scan::trim(value).len();
    let index = head.entries.len();
    head.entries.push(Entry {
        name_at: narrow(at),
        value: Span::new(value_at, value_at + value_len),
        name_len: u16::try_from(name.len()).map_err(|_| MALFORMED)?,
        id,
    });
    if let Some(first) = head.first.get_mut(id as usize)
        && *first == NO_ENTRY
    {
        *first = u8::try_from(index).unwrap_or(NO_ENTRY);
    }
    Ok(())
}

/// Offsets are below [`limits::MESSAGE`], which fits.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Span {
        Span { start: narrow(start), end: narrow(end) }
    }
}

/// The value that all Content-Length headers agree on (RFC 3261 §20.14).
fn content_length(head: &Head, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut found = None;
    for entry in head.entries.iter().filter(|entry| entry.id == HeaderName::ContentLength) {
        let length = scan::number(entry.value.of(bytes)).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or("Malformed Content-Length")?;
        if found.is_some_and(|found| found != length) {
            return Err("Conflicting Content-Length");
        }
        found = Some(length);
    }
    Ok(found)
}
