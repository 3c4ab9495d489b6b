//! Small typed values: CSeq, Session-Expires, RAck, Reason, Content-Type and so on.

use std::borrow::Cow;

use super::scan::{self, Params};
use crate::message::Method;

/// CSeq (RFC 3261 §20.16).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Below 2^31.
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// Of a header value.
    pub fn parse(value: &[u8]) -> Option<CSeq> {
        let value = scan::trim(value);
        let end = value.iter().position(|byte| scan::is_lws(*byte))?;
        let (number, method) = value.split_at_checked(end)?;
        Some(CSeq { number: sequence_number(number)?, method: Method::from_token(scan::trim(method))? })
    }
}

/// RFC 3261 §8.1.1.5: less than 2^31.
fn sequence_number(text: &[u8]) -> Option<u32> {
    scan::number_u32(text).filter(|number| *number < 1 << 31)
}

/// Who refreshes a session (RFC 4028 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Refresher {
    Uac,
    Uas,
}

/// Session-Expires (RFC 4028 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds.
    pub interval: u32,
    /// `refresher`, if given and one of the two.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Of a header value.
    pub fn parse(value: &[u8]) -> Option<SessionExpires> {
        let (seconds, params) = split_params(value);
        let refresher = match params.get("refresher") {
            Some(who) if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(who) if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        };
        Some(SessionExpires { interval: scan::number_u32(seconds)?, refresher })
    }
}

/// RAck (RFC 3262 §7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RAck {
    /// RSeq of the provisional response.
    pub rseq: u32,
    /// CSeq number of the request it answers.
    pub cseq: u32,
    /// Method of that request.
    pub method: Method,
}

impl RAck {
    /// Of a header value.
    pub fn parse(value: &[u8]) -> Option<RAck> {
        let value = scan::trim(value);
        let (rseq, rest) = value.split_at_checked(value.iter().position(|byte| scan::is_lws(*byte))?)?;
        let CSeq { number, method } = CSeq::parse(rest)?;
        Some(RAck { rseq: scan::number_u32(rseq)?, cseq: number, method })
    }
}

/// Retry-After (RFC 3261 §20.33).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter<'a> {
    /// Seconds.
    pub seconds: u32,
    /// Parameters, `duration` among them.
    pub params: Params<'a>,
}

impl<'a> RetryAfter<'a> {
    /// Of a header value. A comment in parentheses is passed over.
    pub fn parse(value: &'a [u8]) -> Option<RetryAfter<'a>> {
        let value = scan::trim(value);
        let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
        let (seconds, rest) = value.split_at_checked(end)?;
        let rest = scan::trim_start(rest);
        let rest = if rest.first() == Some(&b'(') { skip_comment(rest)? } else { rest };
        if !(rest.is_empty() || rest.starts_with(b";")) {
            return None;
        }
        Some(RetryAfter { seconds: scan::number_u32(seconds)?, params: Params::new(rest) })
    }
}

/// What follows the comment that `text` starts with (RFC 3261 §25.1: comments nest).
fn skip_comment(text: &[u8]) -> Option<&[u8]> {
    let mut depth = 0usize;
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return text.get(at + 1..).map(scan::trim_start);
                }
            }
            _ => {}
        }
    }
    None
}

/// One value of Reason (RFC 3326).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850`, …
    pub protocol: &'a str,
    /// `cause`.
    pub cause: Option<u32>,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> Reason<'a> {
    /// One element of a Reason list.
    pub fn parse(element: &'a [u8]) -> Option<Reason<'a>> {
        let (protocol, params) = split_params(element);
        if !scan::is_token(protocol) {
            return None;
        }
        let cause = params.get("cause").and_then(|cause| scan::number_u32(cause.as_bytes()));
        Some(Reason { protocol: scan::utf8(protocol)?, cause, params })
    }

    /// `text` without quotes.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        self.params.get_unescaped("text")
    }
}

/// Content-Type (RFC 3261 §20.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentType<'a> {
    /// Before the slash.
    pub kind: &'a str,
    /// After it.
    pub subtype: &'a str,
    /// `charset`, `boundary`, …
    pub params: Params<'a>,
}

impl<'a> ContentType<'a> {
    /// Of a header value.
    pub fn parse(value: &'a [u8]) -> Option<ContentType<'a>> {
        let (media, params) = split_params(value);
        let (kind, subtype) = scan::split_once(media, b'/')?;
        let (kind, subtype) = (scan::trim(kind), scan::trim(subtype));
        if !scan::is_token(kind) || !scan::is_token(subtype) {
            return None;
        }
        Some(ContentType { kind: scan::utf8(kind)?, subtype: scan::utf8(subtype)?, params })
    }

    /// Whether it is this type, without regard to case or parameters.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }
}

/// A value and the parameters after it.
pub fn split_params(value: &[u8]) -> (&[u8], Params<'_>) {
    let value = scan::trim(value);
    let at = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let (value, params) = value.split_at_checked(at).unwrap_or((value, b""));
    (scan::trim(value), Params::new(params))
}
