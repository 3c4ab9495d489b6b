//! Responses to received requests (RFC 3261 §8.2.6), and where they go.

use std::fmt::Display;
use std::net::SocketAddr;

use bytes::Bytes;

use super::reason::reason_phrase;
use super::writer::Writer;
use crate::header::{HeaderName, List, Rport, Via};
use crate::message::{Fault, Message};

/// Writes a response: status line, the request's Via (with `received` and `rport`), From, To, Call-ID and CSeq, then
/// the fields given.
#[derive(Debug, Clone)]
pub struct ResponseBuilder {
    writer: Writer,
    body: Bytes,
}

impl ResponseBuilder {
    /// Starts a response. `source` is where the request came from: its top Via gets `received` where the sent-by host
    /// is not that address or `rport` was asked for (RFC 3261 §18.2.1, RFC 3581 §4), and `rport`. `to_tag` is added
    /// to To unless one is there or it is `None` (100).
    pub fn new(request: &Message, code: u16, source: SocketAddr, to_tag: Option<&str>) -> ResponseBuilder {
        Self::with_reason(request, code, reason_phrase(code), source, to_tag)
    }

    /// With another reason phrase.
    pub fn with_reason(
        request: &Message,
        code: u16,
        reason: &str,
        source: SocketAddr,
        to_tag: Option<&str>,
    ) -> ResponseBuilder {
        let mut writer = Writer::new();
        writer.raw("SIP/2.0 ");
        writer.display(code.clamp(100, 699));
        writer.raw(" ");
        writer.value(reason.as_bytes());
        writer.crlf();
        write_vias(&mut writer, request, source);
        // Where a field that stands once is there several times, the first serves for the refusal.
        writer.copy_first(request, HeaderName::From);
        if let Some(field) = request.field(HeaderName::To) {
            writer.name(HeaderName::To);
            writer.copied_value(&field);
            let tagged = request.to().is_none_or(|to| to.params.has("tag"));
            if let Some(tag) = to_tag.filter(|_| !tagged) {
                writer.raw(";tag=");
                writer.word(tag.as_bytes());
            }
            writer.crlf();
        }
        writer.copy_first(request, HeaderName::CallId);
        writer.copy_first(request, HeaderName::CSeq);
        // RFC 3261 §8.2.6.1: a 100 repeats it.
        if code == 100 {
            writer.copy_first(request, HeaderName::Timestamp);
        }
        ResponseBuilder { writer, body: Bytes::new() }
    }

    /// The refusal of an unreadable request, if it can be answered. The To gets `to_tag`.
    pub fn for_fault(fault: &Fault, source: SocketAddr, to_tag: &str) -> Option<ResponseBuilder> {
        let request = fault.answerable()?;
        Some(Self::with_reason(request, fault.status, fault.reason, source, Some(to_tag)))
    }

    /// Copies Record-Route: for responses that make a dialog (RFC 3261 §12.1.1).
    #[must_use]
    pub fn record_route(self, request: &Message) -> Self {
        self.copy(request, HeaderName::RecordRoute)
    }

    /// Any header. Content-Length is passed over: it is written by [`ResponseBuilder::build`].
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl AsRef<[u8]>) -> Self {
        self.push(name, value);
        self
    }

    /// Any header whose value is printed.
    #[must_use]
    pub fn header_display(mut self, name: HeaderName, value: impl Display) -> Self {
        self.writer.field_display(name, value);
        self
    }

    /// A header that [`HeaderName`] does not know.
    #[must_use]
    pub fn header_named(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.writer.field_named(name, value.as_ref());
        self
    }

    /// [`ResponseBuilder::header`] without moving.
    pub fn push(&mut self, name: HeaderName, value: impl AsRef<[u8]>) {
        self.writer.field(name, value.as_ref());
    }

    /// All headers of this name as they are in another message.
    #[must_use]
    pub fn copy(mut self, from: &Message, name: HeaderName) -> Self {
        self.writer.copy(from, name);
        self
    }

    /// The body and its type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.writer.field(HeaderName::ContentType, content_type.as_bytes());
        self.body = body.into();
        self
    }

    /// The message's bytes.
    pub fn build(self) -> Bytes {
        self.writer.finish(&self.body)
    }
}

/// All Vias as they stand, the top one with what we saw of the sender. Lists are not split into lines: an answer to
/// thousands of commas must not be many times their size.
fn write_vias(writer: &mut Writer, request: &Message, source: SocketAddr) {
    let mut fields = request.fields_of(HeaderName::Via).skip_while(|field| field.value_raw.is_empty());
    if let Some(field) = fields.next() {
        let mut list = List::new(field.value_raw);
        let top = list.next().unwrap_or_default();
        writer.name(HeaderName::Via);
        match Via::parse(top) {
            Some(via) => write_top_via(writer, &via, source),
            None => writer.copied(top),
        }
        if let Some(rest) = list.rest() {
            writer.raw(", ");
            writer.copied(rest);
        }
        writer.crlf();
    }
    for field in fields {
        writer.name(HeaderName::Via);
        writer.copied_value(&field);
        writer.crlf();
    }
}

fn write_top_via(writer: &mut Writer, via: &Via<'_>, source: SocketAddr) {
    let ip = source.ip().to_canonical();
    let rport = via.params.has("rport");
    let received = rport || via.host.ip().map(|host| host.to_canonical()) != Some(ip);
    if !received {
        return writer.copied(via.raw);
    }
    let head = via.raw.len() - via.params.raw().len();
    writer.copied(via.raw.get(..head).unwrap_or(via.raw));
    for param in via.params.iter() {
        if param.name.eq_ignore_ascii_case(b"received") {
            continue;
        }
        writer.raw(";");
        writer.copied(param.name);
        if param.name.eq_ignore_ascii_case(b"rport") {
            writer.raw("=");
            writer.display(source.port());
        } else if let Some(value) = param.value {
            writer.raw("=");
            writer.copied(value);
        }
    }
    writer.raw(";received=");
    writer.display(ip);
}

/// Where a response to a request that came over UDP from `source` goes: always to that address; to its port where
/// `rport` was asked for (RFC 3581 §4) or the Via's host is not that address (a NAT or a name), else to the Via's port
/// (RFC 3261 §18.2.2). `maddr` is not honoured: a response would go to an address of the sender's choice.
pub fn response_target(request: &Message, source: SocketAddr) -> SocketAddr {
    request.top_via().map_or(source, |via| via_target(&via, source))
}

/// [`response_target`] of a request with this top Via.
pub fn via_target(via: &Via<'_>, source: SocketAddr) -> SocketAddr {
    let asked = matches!(via.rport(), Some(Rport::Requested | Rport::Port(_)));
    if asked || via.host.ip().map(|host| host.to_canonical()) != Some(source.ip().to_canonical()) {
        return source;
    }
    match via.port_or_default() {
        0 => source,
        port => SocketAddr::new(source.ip(), port),
    }
}
