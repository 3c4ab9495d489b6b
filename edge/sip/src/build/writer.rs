//! The buffer that both builders write into.

use std::fmt::{Display, Write};

use bytes::{Bytes, BytesMut};

use crate::header::{HeaderName, scan};
use crate::message::{Field, Message};

/// Start line and header fields so far.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    buffer: BytesMut,
}

impl Writer {
    pub(super) fn new() -> Writer {
        Writer::with_capacity(1024)
    }

    pub(super) fn with_capacity(bytes: usize) -> Writer {
        Writer { buffer: BytesMut::with_capacity(bytes) }
    }

    /// A value alone, where no message is written.
    pub(super) fn into_value(self) -> Vec<u8> {
        self.buffer.into()
    }

    /// Trusted text: constants of ours.
    pub(super) fn raw(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    /// A number or address, whose printed form has no line ends.
    pub(super) fn display(&mut self, value: impl Display) {
        // Writing to memory does not fail.
        let _ = write!(Cleaned(&mut self.buffer), "{value}");
    }

    /// A value: line ends and NUL become spaces.
    pub(super) fn value(&mut self, value: &[u8]) {
        if value.iter().any(|byte| is_forbidden(*byte)) {
            self.buffer.extend(value.iter().map(|byte| if is_forbidden(*byte) { b' ' } else { *byte }));
        } else {
            self.buffer.extend_from_slice(value);
        }
    }

    /// A word that may not hold white space or controls: they are dropped.
    pub(super) fn word(&mut self, word: &[u8]) {
        if word.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            self.buffer.extend(word.iter().filter(|byte| **byte > b' ' && **byte != 0x7f));
        } else {
            self.buffer.extend_from_slice(word);
        }
    }

    pub(super) fn crlf(&mut self) {
        self.raw("\r\n");
    }

    pub(super) fn name(&mut self, name: HeaderName) {
        self.raw(name.as_str());
        self.raw(": ");
    }

    /// A whole field. Nothing for a name that is not for builders (see [`is_allowed`]).
    pub(super) fn field(&mut self, name: HeaderName, value: &[u8]) {
        if is_allowed(name) {
            self.name(name);
            self.value(value);
            self.crlf();
        }
    }

    /// A whole field whose value is printed.
    pub(super) fn field_display(&mut self, name: HeaderName, value: impl Display) {
        if is_allowed(name) {
            self.name(name);
            self.display(value);
            self.crlf();
        }
    }

    /// A whole field whose name we have no number for. Characters that no name can have are dropped from it.
    pub(super) fn field_named(&mut self, name: &str, value: &[u8]) {
        let name: Vec<u8> = name.bytes().filter(|byte| scan::is_token_byte(*byte)).collect();
        if name.is_empty() || HeaderName::from_bytes(&name) == HeaderName::ContentLength {
            return;
        }
        self.buffer.extend_from_slice(&name);
        self.raw(": ");
        self.value(value);
        self.crlf();
    }

    /// A received value, unfolded. A NUL in a quoted pair is legal and stays; a bare CR does not.
    pub(super) fn copied_value(&mut self, field: &Field<'_>) {
        self.buffer.extend_from_slice(&field.value());
    }

    /// All received fields of this name, one line each, in order.
    pub(super) fn copy(&mut self, from: &Message, name: HeaderName) {
        if !is_allowed(name) {
            return;
        }
        for field in from.fields_of(name) {
            self.name(name);
            self.copied_value(&field);
            self.crlf();
        }
    }

    /// The first received field of this name.
    pub(super) fn copy_first(&mut self, from: &Message, name: HeaderName) {
        if let Some(field) = from.field(name) {
            self.name(name);
            self.copied_value(&field);
            self.crlf();
        }
    }

    /// Received bytes that lie within one value.
    pub(super) fn copied(&mut self, raw: &[u8]) {
        self.buffer.extend_from_slice(&scan::unfold(raw));
    }

    /// Ends the header fields and adds the body.
    pub(super) fn finish(mut self, body: &[u8]) -> Bytes {
        self.name(HeaderName::ContentLength);
        self.display(body.len());
        self.raw("\r\n\r\n");
        self.buffer.extend_from_slice(body);
        self.buffer.freeze()
    }
}

/// Content-Length is the writer's own, and [`HeaderName::Other`] has no text.
const fn is_allowed(name: HeaderName) -> bool {
    !matches!(name, HeaderName::ContentLength | HeaderName::Other)
}

const fn is_forbidden(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

/// Formatting with the same rule as [`Writer::value`].
struct Cleaned<'a>(&'a mut BytesMut);

impl Write for Cleaned<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if text.bytes().any(is_forbidden) {
            self.0.extend(text.bytes().map(|byte| if is_forbidden(byte) { b' ' } else { byte }));
        } else {
            self.0.extend_from_slice(text.as_bytes());
        }
        Ok(())
    }
}
