//! The small scanners that every header value is read with: linear white space, comma lists, parameters, quoted
//! strings, tokens and numbers (RFC 3261 §25.1). They work on received bytes in which folds are still present: CR and
//! LF count as white space here, as a header value cannot hold them otherwise.

use std::borrow::Cow;

use memchr::{memchr, memchr3};

/// SP, HT, and the CR LF of a fold.
pub const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `token` of RFC 3261 §25.1.
pub const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// A table, since every octet of every header name is looked up.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    loop {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

/// Whether this is one or more token characters.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// Without white space at both ends.
pub fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

/// Without white space at the start.
pub fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text {
        if !is_lws(*first) {
            break;
        }
        text = rest;
    }
    text
}

/// Without white space at the end.
pub fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text {
        if !is_lws(*last) {
            break;
        }
        text = rest;
    }
    text
}

/// Splits at the first occurrence of `byte`, which is in neither part.
pub fn split_once(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr(byte, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// UTF-8 text or nothing.
pub fn utf8(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}

/// Folds replaced by one SP each (RFC 3261 §7.3.1), white space at the ends removed.
pub fn unfold(raw: &[u8]) -> Cow<'_, [u8]> {
    let raw = trim(raw);
    if !raw.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        if is_lws(*first) {
            let next = trim_start(rest);
            let run = rest.get(..rest.len() - next.len()).unwrap_or_default();
            if run.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
                out.push(b' ');
            } else {
                out.extend_from_slice(run);
            }
            rest = next;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    Cow::Owned(out)
}

/// Text of bytes that may not be UTF-8: each octet that does not fit is then read as Latin-1, so nothing is lost.
pub fn text_lossy(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(latin1(bytes)),
        },
        Cow::Owned(bytes) => Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => latin1(error.as_bytes()),
        }),
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A decimal number of any number of digits (leading zeros are fine) that fits `u64`.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// [`number`] that fits `u32`.
pub fn number_u32(text: &[u8]) -> Option<u32> {
    u32::try_from(number(text)?).ok()
}

/// Octets up to the first of `stop` that is neither in a quoted string nor between `<` and `>`; all if there is none,
/// or if a quote or `<` is not closed.
fn until(text: &[u8], stop: u8) -> usize {
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let Some(found) = memchr3(stop, b'"', b'<', rest) else { break };
        at += found;
        let Some(rest) = text.get(at..) else { break };
        let length = match rest.first() {
            Some(b'"') => quoted_len(rest),
            Some(b'<') => memchr(b'>', rest).map(|end| end + 1),
            _ => return at,
        };
        match length {
            Some(length) => at += length,
            None => break,
        }
    }
    text.len()
}

/// The elements of a comma list, trimmed, in order (RFC 3261 §7.3.1). Commas in quoted strings and between `<` and
/// `>` do not split. An empty value has no elements; an empty element among others is yielded empty.
#[derive(Debug, Clone, Default)]
pub struct List<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> List<'a> {
    /// Of one header value.
    pub fn new(value: &'a [u8]) -> Self {
        let value = trim(value);
        Self { rest: (!value.is_empty()).then_some(value) }
    }

    /// What was not yielded yet, commas in it; `None` at the end.
    pub fn rest(&self) -> Option<&'a [u8]> {
        self.rest
    }
}

impl<'a> Iterator for List<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.rest?;
        let at = until(text, b',');
        self.rest = text.get(at + 1..);
        Some(trim(text.get(..at)?))
    }
}

/// Parameters after a value: `;name=value;name…`. Names are compared without case (RFC 3261 §7.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a> {
    raw: &'a [u8],
}

impl std::fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Params({})", self.raw.escape_ascii())
    }
}

/// One parameter as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// Trimmed.
    pub name: &'a [u8],
    /// Trimmed, quotes included; `None` for a parameter without `=`.
    pub value: Option<&'a [u8]>,
}

impl<'a> Params<'a> {
    /// Of text that is empty or starts with `;`.
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw: trim(raw) }
    }

    /// As received, with the leading `;`.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Each parameter in order. Empty ones (`;;`) come with an empty name.
    pub fn iter(self) -> ParamIter<'a> {
        ParamIter { rest: self.raw.strip_prefix(b";") }
    }

    /// The first parameter of this name.
    pub fn find(self, name: &str) -> Option<Param<'a>> {
        self.iter().find(|param| param.name.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Whether there is one, with or without a value.
    pub fn has(self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Its value without quotes, escapes inside them left as received. `None` when it is absent, has no value, or is
    /// not UTF-8.
    pub fn get(self, name: &str) -> Option<&'a str> {
        utf8(unquote(self.find(name)?.value?))
    }

    /// Its value with quotes and escapes removed.
    pub fn get_unescaped(self, name: &str) -> Option<Cow<'a, str>> {
        Some(unescape_quoted(self.find(name)?.value?))
    }

    /// Whether this keeps to `generic-param` (RFC 3261 §25.1): names are tokens, values tokens, hosts or balanced
    /// quoted strings. Values are taken a little wider than the grammar (any visible octet), as field devices do.
    pub fn is_well_formed(self) -> bool {
        (self.raw.is_empty() || self.raw.starts_with(b";"))
            && self.iter().all(|param| is_token(param.name) && param.value.is_none_or(is_param_value))
    }
}

fn is_param_value(value: &[u8]) -> bool {
    match value {
        // `;rport=` and the like come from real devices.
        [] => true,
        [b'"', ..] => quoted_len(value) == Some(value.len()),
        // A URN in `<>` without quotes is a common slip in +sip.instance. A lone angle would change where lists split.
        [b'<', inner @ .., b'>'] => is_plain(inner),
        _ => is_plain(value),
    }
}

fn is_plain(value: &[u8]) -> bool {
    value.iter().all(|byte| !matches!(byte, b'"' | b',' | b';' | b'<' | b'>' | 0..=b' ' | 0x7f))
}

/// Iterator over [`Params`].
#[derive(Debug, Clone)]
pub struct ParamIter<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for ParamIter<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        let text = self.rest?;
        let at = until(text, b';');
        self.rest = text.get(at + 1..);
        let one = text.get(..at)?;
        Some(match split_once(one, b'=') {
            Some((name, value)) => Param { name: trim(name), value: Some(trim(value)) },
            None => Param { name: trim(one), value: None },
        })
    }
}

/// Octets of the quoted string that `text` starts with, quotes included; `None` if it does not start with one or the
/// closing quote is missing.
pub fn quoted_len(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"\"")?;
    let mut escaped = false;
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// Without the quotes around, if there are any.
pub fn unquote(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

/// Text of a value: quotes removed and `\x` read as `x` where it is quoted; folds as one space.
pub fn unescape_quoted(text: &[u8]) -> Cow<'_, str> {
    let inner = unquote(text);
    let unfolded = unfold_inside(inner);
    if inner.len() == text.len() || !inner.contains(&b'\\') {
        return text_lossy(unfolded);
    }
    let mut out = Vec::with_capacity(unfolded.len());
    let mut escaped = false;
    for byte in unfolded.iter() {
        if !escaped && *byte == b'\\' {
            escaped = true;
        } else {
            escaped = false;
            out.push(*byte);
        }
    }
    text_lossy(Cow::Owned(out))
}

/// [`unfold`], but spaces at the ends stay: they are part of a quoted string.
fn unfold_inside(inner: &[u8]) -> Cow<'_, [u8]> {
    if inner.iter().any(|byte| matches!(byte, b'\r' | b'\n')) { unfold(inner) } else { Cow::Borrowed(inner) }
}
