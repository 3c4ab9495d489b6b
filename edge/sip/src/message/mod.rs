//! A received SIP message: the bytes as they came and a table of where things are in them.
//!
//! [`Message::parse`] finds the spans in one pass and copies nothing; values are read when they are asked for. A clone
//! is two reference counts. [`Message::validate`] is the second step for requests that start something: it reads the
//! fields that every request must have and refuses what RFC 4475 §3.1.2 shows as broken.

mod fault;
mod method;
mod parse;
mod validate;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

pub use fault::Fault;
pub use method::{Extension, Method};

use crate::header::{
    CSeq, Contacts, ContentType, HeaderName, List, NameAddr, RAck, Reason, RetryAfter, SessionExpires, Via, scan,
};
use crate::uri::{Uri, UriError};

/// What a message may hold; beyond it is refused. The framer keeps to the same numbers.
pub mod limits {
    /// Octets of start line and header fields together.
    pub const HEAD: usize = 64 * 1024;
    /// Octets of one header field with its folds, or of the start line.
    pub const LINE: usize = 8 * 1024;
    /// Header fields.
    pub const FIELDS: usize = 250;
    /// Octets of a body.
    pub const BODY: usize = 64 * 1024;
    /// Octets of everything.
    pub const MESSAGE: usize = HEAD + BODY;
}

/// No header of this name.
const NO_ENTRY: u8 = u8::MAX;

/// A message, request or response.
#[derive(Clone)]
pub struct Message {
    raw: Bytes,
    head: Arc<Head>,
}

/// Where things are.
struct Head {
    start: Start,
    entries: SmallVec<[Entry; 24]>,
    /// Index of the first entry of each name.
    first: [u8; HeaderName::COUNT],
    body: Span,
}

/// The start line.
enum Start {
    Request { method: Method, uri: Span },
    Response { code: u16, reason: Span },
}

/// One header field.
#[derive(Clone, Copy)]
struct Entry {
    name_at: u32,
    value: Span,
    name_len: u16,
    id: HeaderName,
}

/// Octets from `start` to before `end`.
#[derive(Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One header field as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which one.
    pub name: HeaderName,
    /// Its name as sent.
    pub name_raw: &'a [u8],
    /// Its value as sent, trimmed; folds are still inside.
    pub value_raw: &'a [u8],
}

impl<'a> Field<'a> {
    /// The value with folds read as one space (RFC 3261 §7.3.1).
    pub fn value(&self) -> Cow<'a, [u8]> {
        scan::unfold(self.value_raw)
    }

    /// The value as text; octets that are not UTF-8 are read as Latin-1.
    pub fn text(&self) -> Cow<'a, str> {
        scan::text_lossy(self.value())
    }
}

impl Message {
    /// Reads one datagram, or one message that the framer cut out of a stream.
    ///
    /// # Errors
    /// [`Fault`], which says what to answer, if anything.
    pub fn parse(raw: Bytes) -> Result<Message, Fault> {
        parse::parse(raw)
    }

    /// [`Message::parse`], and [`Message::validate`] if it is a request.
    ///
    /// # Errors
    /// [`Fault`], which says what to answer, if anything.
    pub fn parse_valid(raw: Bytes) -> Result<Message, Fault> {
        let message = Message::parse(raw)?;
        message.validate()?;
        Ok(message)
    }

    /// The bytes as received (with what may stand before the start line and after the body).
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.head.start, Start::Request { .. })
    }

    /// Whether it is a response.
    pub fn is_response(&self) -> bool {
        !self.is_request()
    }

    /// Method of a request.
    pub fn method(&self) -> Option<&Method> {
        match &self.head.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// Whether it is a request of this method.
    pub fn is_method(&self, method: &Method) -> bool {
        self.method() == Some(method)
    }

    /// Request-URI as sent; `None` for a response or when it is not UTF-8.
    pub fn request_uri(&self) -> Option<&str> {
        match &self.head.start {
            Start::Request { uri, .. } => scan::utf8(uri.of(&self.raw)),
            Start::Response { .. } => None,
        }
    }

    /// Request-URI, read.
    ///
    /// # Errors
    /// When it is malformed, or this is a response.
    pub fn uri(&self) -> Result<Uri<'_>, UriError> {
        Uri::parse(self.request_uri().ok_or(UriError::Character)?)
    }

    /// Status code of a response, 100 to 699.
    pub fn status(&self) -> Option<u16> {
        match self.head.start {
            Start::Response { code, .. } => Some(code),
            Start::Request { .. } => None,
        }
    }

    /// Status code in rsip's vocabulary.
    pub fn rsip_status(&self) -> Option<rsip::StatusCode> {
        self.status().map(rsip::StatusCode::from)
    }

    /// Reason phrase of a response as sent; may be empty and need not be UTF-8.
    pub fn reason_phrase(&self) -> &[u8] {
        match &self.head.start {
            Start::Response { reason, .. } => reason.of(&self.raw),
            Start::Request { .. } => b"",
        }
    }

    /// Body; empty if there is none.
    pub fn body(&self) -> &[u8] {
        self.head.body.of(&self.raw)
    }

    /// Body as a share of the message's buffer.
    pub fn body_bytes(&self) -> Bytes {
        let Span { start, end } = self.head.body;
        let (start, end) = (start as usize, end as usize);
        if end <= self.raw.len() && start <= end { self.raw.slice(start..end) } else { Bytes::new() }
    }

    fn field_of(&self, entry: &Entry) -> Field<'_> {
        let start = entry.name_at as usize;
        Field {
            name: entry.id,
            name_raw: self.raw.get(start..start + usize::from(entry.name_len)).unwrap_or_default(),
            value_raw: entry.value.of(&self.raw),
        }
    }

    /// Every header field, in order.
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = Field<'_>> + Clone {
        self.head.entries.iter().map(|entry| self.field_of(entry))
    }

    /// Header fields of one name, in order. Not for [`HeaderName::Other`]: see [`Message::fields_named`].
    pub fn fields_of(&self, name: HeaderName) -> impl Iterator<Item = Field<'_>> + Clone {
        let from = match self.head.first.get(name as usize) {
            Some(&NO_ENTRY) | None => self.head.entries.len(),
            Some(&index) => usize::from(index),
        };
        let entries = self.head.entries.get(from..).unwrap_or_default();
        entries.iter().filter(move |entry| entry.id == name).map(|entry| self.field_of(entry))
    }

    /// Header fields by the text of their name, for names that [`HeaderName`] does not know.
    pub fn fields_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Field<'a>> {
        self.fields().filter(move |field| field.name_raw.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The first header field of this name.
    pub fn field(&self, name: HeaderName) -> Option<Field<'_>> {
        let index = *self.head.first.get(name as usize)?;
        if index == NO_ENTRY {
            return None;
        }
        self.head.entries.get(usize::from(index)).map(|entry| self.field_of(entry))
    }

    /// Whether there is such a header.
    pub fn has(&self, name: HeaderName) -> bool {
        self.field(name).is_some()
    }

    /// Value of the first header of this name as received, folds inside.
    pub fn value_raw(&self, name: HeaderName) -> Option<&[u8]> {
        self.field(name).map(|field| field.value_raw)
    }

    /// Value of the first header of this name as text.
    pub fn text(&self, name: HeaderName) -> Option<Cow<'_, str>> {
        self.field(name).map(|field| field.text())
    }

    /// The elements of a comma list over all headers of this name, in order (RFC 3261 §7.3.1).
    pub fn list(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> + Clone {
        self.fields_of(name).flat_map(|field| List::new(field.value_raw))
    }

    /// The tokens of a comma list (Supported, Require, Allow, …); what is not UTF-8 or empty is passed over.
    pub fn tokens(&self, name: HeaderName) -> impl Iterator<Item = &str> + Clone {
        self.list(name).filter(|element| !element.is_empty()).filter_map(scan::utf8)
    }

    /// Whether a comma list has this token, without regard to case.
    pub fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.tokens(name).any(|each| each.eq_ignore_ascii_case(token))
    }

    /// The Via elements as received, top first.
    pub fn via_values(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.list(HeaderName::Via)
    }

    /// The top Via.
    pub fn top_via(&self) -> Option<Via<'_>> {
        self.via_values().next().and_then(Via::parse)
    }

    /// From.
    pub fn from(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.value_raw(HeaderName::From)?)
    }

    /// To.
    pub fn to(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.value_raw(HeaderName::To)?)
    }

    /// `tag` of From.
    pub fn from_tag(&self) -> Option<&str> {
        self.from()?.tag()
    }

    /// `tag` of To.
    pub fn to_tag(&self) -> Option<&str> {
        self.to()?.tag()
    }

    /// Call-ID, as sent and case-sensitive.
    pub fn call_id(&self) -> Option<&str> {
        scan::utf8(self.value_raw(HeaderName::CallId)?).filter(|id| !id.is_empty())
    }

    /// CSeq.
    pub fn cseq(&self) -> Option<CSeq> {
        CSeq::parse(self.value_raw(HeaderName::CSeq)?)
    }

    /// Contact headers.
    pub fn contacts(&self) -> Contacts<'_> {
        let mut list = Vec::new();
        let mut star = false;
        for element in self.list(HeaderName::Contact) {
            if element == b"*" {
                star = true;
            } else if let Some(contact) = NameAddr::parse(element) {
                list.push(contact);
            } else {
                return Contacts::Malformed;
            }
        }
        match (star, list.is_empty()) {
            (true, true) => Contacts::Star,
            (true, false) => Contacts::Malformed,
            (false, true) => Contacts::None,
            (false, false) => Contacts::List(list),
        }
    }

    /// The first Contact: the remote target of a dialog (RFC 3261 §12.1).
    pub fn contact(&self) -> Option<NameAddr<'_>> {
        self.list(HeaderName::Contact).next().and_then(NameAddr::parse)
    }

    /// The addresses of a list header (Route, Record-Route, Path, P-Asserted-Identity, Diversion, …), in order;
    /// malformed ones are passed over.
    pub fn addresses(&self, name: HeaderName) -> impl Iterator<Item = NameAddr<'_>> + Clone {
        self.list(name).filter_map(NameAddr::parse)
    }

    /// A header that is one number: Max-Forwards, Expires, Min-Expires, RSeq, Content-Length, … `None` when absent, not
    /// a number, or beyond 32 bits. Parameters after it are ignored (Min-SE has them, RFC 4028 §5).
    pub fn number(&self, name: HeaderName) -> Option<u32> {
        scan::number_u32(crate::header::values::split_params(self.value_raw(name)?).0)
    }

    /// Max-Forwards, 0 to 255.
    pub fn max_forwards(&self) -> Option<u8> {
        u8::try_from(self.number(HeaderName::MaxForwards)?).ok()
    }

    /// Expires, seconds.
    pub fn expires(&self) -> Option<u32> {
        self.number(HeaderName::Expires)
    }

    /// Content-Type.
    pub fn content_type(&self) -> Option<ContentType<'_>> {
        ContentType::parse(self.value_raw(HeaderName::ContentType)?)
    }

    /// Session-Expires (RFC 4028 §4).
    pub fn session_expires(&self) -> Option<SessionExpires> {
        SessionExpires::parse(self.value_raw(HeaderName::SessionExpires)?)
    }

    /// Min-SE, seconds (RFC 4028 §5).
    pub fn min_se(&self) -> Option<u32> {
        self.number(HeaderName::MinSe)
    }

    /// RSeq (RFC 3262 §7.1).
    pub fn rseq(&self) -> Option<u32> {
        self.number(HeaderName::RSeq)
    }

    /// RAck (RFC 3262 §7.2).
    pub fn rack(&self) -> Option<RAck> {
        RAck::parse(self.value_raw(HeaderName::RAck)?)
    }

    /// Retry-After.
    pub fn retry_after(&self) -> Option<RetryAfter<'_>> {
        RetryAfter::parse(self.value_raw(HeaderName::RetryAfter)?)
    }

    /// Reason headers (RFC 3326), in order.
    pub fn reasons(&self) -> impl Iterator<Item = Reason<'_>> {
        self.list(HeaderName::Reason).filter_map(Reason::parse)
    }

    /// Whether Privacy asks for this (`id`, `user`, …, RFC 3323 §4.2).
    pub fn has_privacy(&self, value: &str) -> bool {
        self.fields_of(HeaderName::Privacy)
            .flat_map(|field| field.value_raw.split(|byte| matches!(byte, b';' | b',')))
            .any(|each| scan::trim(each).eq_ignore_ascii_case(value.as_bytes()))
    }
}

impl std::fmt::Debug for Message {
    /// Only the start line: header fields hold credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.head.start {
            Start::Request { method, .. } => {
                write!(f, "Message({method} {})", self.request_uri().unwrap_or_default().escape_debug())
            }
            Start::Response { code, .. } => write!(f, "Message({code} {})", self.reason_phrase().escape_ascii()),
        }
    }
}
