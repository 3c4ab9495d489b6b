//! Requests.

use std::fmt::Display;

use bytes::Bytes;

use super::writer::Writer;
use crate::header::HeaderName;
use crate::message::{Fault, Message, Method};

/// The value of an address header that is kept, as [`RequestBuilder::address`] writes it.
pub fn address_value(display: Option<&str>, uri: &str, tag: Option<&str>) -> Vec<u8> {
    let mut writer = Writer::with_capacity(128);
    write_address(&mut writer, display, uri, tag);
    writer.into_value()
}

fn write_address(writer: &mut Writer, display: Option<&str>, uri: &str, tag: Option<&str>) {
    if let Some(display) = display.filter(|display| !display.is_empty()) {
        writer.value(quote(display).as_bytes());
        writer.raw(" ");
    }
    writer.raw("<");
    writer.word(uri.as_bytes());
    writer.raw(">");
    if let Some(tag) = tag {
        writer.raw(";tag=");
        writer.word(tag.as_bytes());
    }
}

/// Writes a request. Fields come out in the order in which they are given.
#[derive(Debug, Clone)]
pub struct RequestBuilder {
    writer: Writer,
    method: Method,
    body: Bytes,
}

impl RequestBuilder {
    /// Starts with the request line.
    pub fn new(method: impl Into<Method>, uri: &str) -> RequestBuilder {
        let method = method.into();
        let mut writer = Writer::new();
        writer.raw(method.as_str());
        writer.raw(" ");
        writer.word(uri.as_bytes());
        writer.raw(" SIP/2.0\r\n");
        RequestBuilder { writer, method, body: Bytes::new() }
    }

    /// The ACK of a final response other than 2xx (RFC 3261 §17.1.1.3): Request-URI, top Via, From, Call-ID, Route and
    /// CSeq number of the INVITE, To of the response.
    pub fn ack_for(invite: &Message, response: &Message) -> RequestBuilder {
        Self::hop_by_hop(Method::Ack, invite, response)
    }

    /// The CANCEL of a request (RFC 3261 §9.1): its Request-URI, top Via, From, To, Call-ID, Route and CSeq number.
    pub fn cancel_for(request: &Message) -> RequestBuilder {
        Self::hop_by_hop(Method::Cancel, request, request)
    }

    fn hop_by_hop(method: Method, request: &Message, to: &Message) -> RequestBuilder {
        let mut builder = RequestBuilder::new(method, request.request_uri().unwrap_or_default());
        if let Some(via) = request.via_values().next() {
            builder.writer.name(HeaderName::Via);
            builder.writer.copied(via);
            builder.writer.crlf();
        }
        builder = builder.max_forwards(70);
        builder.writer.copy(request, HeaderName::From);
        builder.writer.copy(to, HeaderName::To);
        builder.writer.copy(request, HeaderName::CallId);
        builder.writer.copy(request, HeaderName::Route);
        builder.cseq(request.cseq().map_or(0, |cseq| cseq.number))
    }

    /// A Via with `rport` (RFC 3581 §3). `transport` is `UDP`, `TCP`, …; `sent_by` host and port, for example a
    /// `SocketAddr`.
    #[must_use]
    pub fn via(mut self, transport: rsip::Transport, sent_by: impl Display, branch: &str) -> Self {
        self.writer.raw("Via: SIP/2.0/");
        self.writer.display(transport);
        self.writer.raw(" ");
        self.writer.display(sent_by);
        self.writer.raw(";branch=");
        self.writer.word(branch.as_bytes());
        self.writer.raw(";rport\r\n");
        self
    }

    /// An address header: `"display" <uri>;tag=…`. The display name is plain text and gets quoted and escaped.
    #[must_use]
    pub fn address(mut self, name: HeaderName, display: Option<&str>, uri: &str, tag: Option<&str>) -> Self {
        self.writer.name(name);
        write_address(&mut self.writer, display, uri, tag);
        self.writer.crlf();
        self
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(mut self, id: &str) -> Self {
        self.writer.name(HeaderName::CallId);
        self.writer.word(id.as_bytes());
        self.writer.crlf();
        self
    }

    /// CSeq with this request's method.
    #[must_use]
    pub fn cseq(mut self, number: u32) -> Self {
        self.writer.name(HeaderName::CSeq);
        self.writer.display(number);
        self.writer.raw(" ");
        self.writer.raw(self.method.as_str());
        self.writer.crlf();
        self
    }

    /// Max-Forwards.
    #[must_use]
    pub fn max_forwards(mut self, hops: u8) -> Self {
        self.writer.name(HeaderName::MaxForwards);
        self.writer.display(hops);
        self.writer.crlf();
        self
    }

    /// Any header. Content-Length is passed over: it is written by [`RequestBuilder::build`].
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

    /// [`RequestBuilder::header`] without moving.
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

    /// The message, read back: for those who keep it to build an ACK or CANCEL from.
    ///
    /// # Errors
    /// When what was given does not make a message (no white space is possible in a URI, but it can be empty).
    pub fn build_message(self) -> Result<Message, Fault> {
        Message::parse(self.build())
    }
}

/// A quoted string (RFC 3261 §25.1).
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}
