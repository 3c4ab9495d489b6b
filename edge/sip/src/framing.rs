//! Messages out of a byte stream (RFC 3261 §18.3): a message ends where its Content-Length says.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::header::{HeaderName, scan};
use crate::message::limits;

/// Whether a datagram is a keep-alive and no message: nothing in it but CR, LF and NUL, as phones send them to hold a
/// NAT mapping. It wants no answer and is no fault of the sender.
pub fn is_keep_alive(datagram: &[u8]) -> bool {
    datagram.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// One thing found in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, for [`crate::Message::parse`].
    Message(Bytes),
    /// CRLF CRLF between messages: a keep-alive that is answered with one CRLF (RFC 5626 §4.4.1).
    Ping,
}

/// The stream cannot be read on: answer `head` with 400 where it can be read (it goes through [`crate::Message::parse`]
/// and fails there for the same reason), then close.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct FramingError {
    /// What is wrong.
    pub reason: &'static str,
    /// Start line and header fields, as far as they came.
    pub head: Bytes,
}

/// Cuts a stream into messages. Feed with [`Framer::push`], then take with [`Framer::next_frame`] until it has none.
/// Holds at most one message's worth ([`limits::MESSAGE`]) and what one push added.
///
/// A message without Content-Length has no body here: RFC 3261 §20.14 requires the header on streams, and there is no
/// other end to be found.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// Octets at the start of `buffer` that are known to hold no end of a head.
    searched: usize,
    /// Octets of the head (blank line included) and of the body, once the head is complete.
    sizes: Option<(usize, usize)>,
    /// An error was reported: nothing follows it.
    failed: bool,
}

impl Framer {
    /// An empty one.
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Adds what was read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.failed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Octets that wait for more.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next message or keep-alive; `None` until more is pushed.
    ///
    /// # Errors
    /// When the stream cannot be framed: a Content-Length that is not a number, two that differ, a head or body beyond
    /// the limits. Nothing follows an error.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.failed {
            return Ok(None);
        }
        let (head, body) = match self.sizes {
            Some(sizes) => sizes,
            None => {
                if self.skip_line_ends() {
                    return Ok(Some(Frame::Ping));
                }
                let Some(head) = self.find_head() else {
                    if self.buffer.len() > limits::HEAD {
                        return Err(self.fail("Header fields too long", self.buffer.len()));
                    }
                    return Ok(None);
                };
                if head > limits::HEAD {
                    return Err(self.fail("Header fields too long", head));
                }
                let body = match content_length(self.buffer.get(..head).unwrap_or_default()) {
                    Ok(body) => body,
                    Err(reason) => return Err(self.fail(reason, head)),
                };
                if body > limits::BODY {
                    return Err(self.fail("Body too long", head));
                }
                self.sizes = Some((head, body));
                (head, body)
            }
        };
        if self.buffer.len() < head + body {
            return Ok(None);
        }
        self.sizes = None;
        self.searched = 0;
        Ok(Some(Frame::Message(self.buffer.split_to(head + body).freeze())))
    }

    fn fail(&mut self, reason: &'static str, head: usize) -> FramingError {
        self.failed = true;
        let head = head.min(self.buffer.len());
        let head = self.buffer.split_to(head).freeze();
        self.buffer = BytesMut::new();
        FramingError { reason, head }
    }

    /// Drops line ends before a message; says whether a double CRLF was among them. A single one is dropped only when
    /// something else follows it, since it may be the first half of a ping.
    fn skip_line_ends(&mut self) -> bool {
        loop {
            match &*self.buffer {
                [b'\r', b'\n', b'\r', b'\n', ..] => {
                    self.buffer.advance(4);
                    return true;
                }
                [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return false,
                [b'\r' | b'\n', ..] => self.buffer.advance(1),
                _ => return false,
            }
        }
    }

    /// Octets up to and with the blank line.
    fn find_head(&mut self) -> Option<usize> {
        let mut at = self.searched;
        while let Some(found) = self.buffer.get(at..).and_then(|rest| memchr(b'\n', rest)) {
            let next = at + found + 1;
            match self.buffer.get(next..) {
                Some([b'\n', ..]) => return Some(next + 1),
                Some([b'\r', b'\n', ..]) => return Some(next + 2),
                // Not enough yet to tell: look at this line end again.
                Some([] | [b'\r']) => {
                    self.searched = at + found;
                    return None;
                }
                _ => at = next,
            }
        }
        self.searched = self.buffer.len();
        None
    }
}

/// What the head says of the body's size, read by the same rules as the parser's.
fn content_length(head: &[u8]) -> Result<usize, &'static str> {
    let mut found = None;
    let mut lines = head.split(|byte| *byte == b'\n').skip(1).peekable();
    while let Some(line) = lines.next() {
        let Some((name, value)) = scan::split_once(line, b':') else { continue };
        if line.first().is_none_or(|byte| matches!(byte, b' ' | b'\t'))
            || HeaderName::from_bytes(scan::trim(name)) != HeaderName::ContentLength
        {
            continue;
        }
        let mut value = scan::trim(value);
        // The number may stand on a continuation line.
        while let Some(next) = lines.next_if(|line| line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'))) {
            match (value.is_empty(), scan::trim(next)) {
                (true, more) => value = more,
                (false, []) => {}
                (false, _) => return Err("Malformed Content-Length"),
            }
        }
        let length = scan::number(value).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or("Malformed Content-Length")?;
        if found.is_some_and(|found| found != length) {
            return Err("Conflicting Content-Length");
        }
        found = Some(length);
    }
    Ok(found.unwrap_or(0))
}
