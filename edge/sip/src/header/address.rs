//! Addresses with a display name and parameters: From, To, Contact, Route and their kin (RFC 3261 §20.10, §25.1).

use std::borrow::Cow;

use super::scan::{self, Params};
use crate::uri::Uri;

/// `"display" <uri>;params` or `uri;params`. Parts are borrowed from the message; folds may still be inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The whole element as received, trimmed.
    pub raw: &'a [u8],
    /// Display name as received, quotes included; empty if there is none.
    pub display_raw: &'a [u8],
    /// The URI as received, without `<` and `>`.
    pub uri_text: &'a str,
    /// Whether the URI stood between `<` and `>`.
    pub bracketed: bool,
    /// Parameters of the header (not those of the URI).
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// One address. Strict about what RFC 4475 shows as broken: unbalanced quotes (3.1.2.6), spaces within `<>`
    /// (3.1.2.14), a comma or quote in an unquoted display name (3.1.2.15), `?` or `,` in a URI without `<>` (3.1.2.13).
    pub fn parse(element: &'a [u8]) -> Option<NameAddr<'a>> {
        let raw = scan::trim(element);
        if raw.first() == Some(&b'"') {
            let end = scan::quoted_len(raw)?;
            let (display, rest) = raw.split_at_checked(end)?;
            return Self::bracketed(raw, display, scan::trim_start(rest));
        }
        match raw.iter().position(|byte| matches!(byte, b'<' | b'"' | b',' | b';')) {
            Some(at) if raw.get(at) == Some(&b'<') => {
                let (display, rest) = raw.split_at_checked(at)?;
                Self::bracketed(raw, scan::trim(display), rest)
            }
            Some(at) if raw.get(at) != Some(&b';') => None,
            at => {
                let (uri, params) = raw.split_at_checked(at.unwrap_or(raw.len()))?;
                let uri = scan::trim(uri);
                if uri.is_empty() || uri.iter().any(|byte| scan::is_lws(*byte) || *byte == b'?') {
                    return None;
                }
                Some(NameAddr {
                    raw,
                    display_raw: b"",
                    uri_text: scan::utf8(uri)?,
                    bracketed: false,
                    params: Params::new(params),
                })
            }
        }
    }

    fn bracketed(raw: &'a [u8], display_raw: &'a [u8], rest: &'a [u8]) -> Option<NameAddr<'a>> {
        let (uri, params) = scan::split_once(rest.strip_prefix(b"<")?, b'>')?;
        if uri.is_empty() || uri.iter().any(|byte| scan::is_lws(*byte)) {
            return None;
        }
        Some(NameAddr { raw, display_raw, uri_text: scan::utf8(uri)?, bracketed: true, params: Params::new(params) })
    }

    /// The URI, read.
    pub fn uri(&self) -> Option<Uri<'a>> {
        Uri::parse(self.uri_text).ok()
    }

    /// Display name without quotes and escapes; octets that are not UTF-8 are read as Latin-1. Empty if there is none.
    pub fn display_name(&self) -> Cow<'a, str> {
        if self.display_raw.first() == Some(&b'"') {
            scan::unescape_quoted(self.display_raw)
        } else {
            scan::text_lossy(scan::unfold(self.display_raw))
        }
    }

    /// `tag` of From and To; an empty one counts as none.
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// `expires` of a Contact, in seconds; `None` when absent or not a number of 32 bits.
    pub fn expires(&self) -> Option<u32> {
        scan::number_u32(self.params.get("expires")?.as_bytes())
    }

    /// `q` of a Contact in thousandths, 0 to 1000.
    pub fn q(&self) -> Option<u16> {
        let text = self.params.get("q")?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut thousandths = match whole {
            "0" => 0,
            "1" => 1000,
            _ => return None,
        };
        for (digit, weight) in fraction.bytes().zip([100, 10, 1]) {
            thousandths += u16::from(digit - b'0') * weight;
        }
        (thousandths <= 1000).then_some(thousandths)
    }

    /// `+sip.instance` without its quotes: `<urn:uuid:…>` (RFC 5626 §4.1).
    pub fn instance(&self) -> Option<&'a str> {
        self.params.get("+sip.instance")
    }

    /// `reg-id` (RFC 5626 §4.2), 1 to 2^31-1.
    pub fn reg_id(&self) -> Option<u32> {
        scan::number_u32(self.params.get("reg-id")?.as_bytes()).filter(|id| (1..1 << 31).contains(id))
    }

    /// Whether the URI carries `ob` (RFC 5626 §5.4).
    pub fn is_outbound(&self) -> bool {
        self.uri().is_some_and(|uri| uri.has_param("ob"))
    }
}

/// The Contact headers of a message.
#[derive(Debug, Clone)]
pub enum Contacts<'a> {
    /// No Contact header.
    None,
    /// `*` alone (RFC 3261 §10.2.2).
    Star,
    /// One or more addresses, in order.
    List(Vec<NameAddr<'a>>),
    /// Something that is neither.
    Malformed,
}
