//! The few messages that the layer makes itself, branches and Vias, and what it reads of messages that are only bytes.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

use crate::build::{RequestBuilder, ResponseBuilder, via_target};
use crate::flow::Flow;
use crate::header::via::MAGIC_COOKIE;
use crate::header::{HeaderName, Via};
use crate::message::Message;

/// Where the responses to a request go (RFC 3261 §18.2.2, RFC 3581 §4): over a stream back over it; over UDP from the
/// socket that it came to, to its source or the port of its top Via (see [`crate::build::response_target`]).
pub fn reply_flow(source: Flow, request: &Message) -> Flow {
    request.top_via().map_or(source, |via| reply_flow_of(source, &via))
}

/// [`reply_flow`] of a request whose top Via is read already.
pub(super) fn reply_flow_of(source: Flow, via: &Via<'_>) -> Flow {
    match source {
        Flow::Tcp { .. } => source,
        Flow::Udp { local, remote } => Flow::Udp { local, remote: via_target(via, remote) },
    }
}

/// A branch that says where its transaction is: cookie, 8 hex digits of its place, 16 of its token.
pub(super) fn branch(index: u32, token: u64) -> String {
    let mut digits = [0u8; 24];
    let bytes = index.to_be_bytes().into_iter().chain(token.to_be_bytes());
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
            *digit = if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) };
        }
    }
    let mut branch = String::with_capacity(MAGIC_COOKIE.len() + digits.len());
    branch.push_str(MAGIC_COOKIE);
    branch.push_str(std::str::from_utf8(&digits).unwrap_or_default());
    branch
}

/// Place and token of a branch that [`branch`] made.
pub(super) fn parse_branch(branch: &str) -> Option<(u32, u64)> {
    let digits = branch.strip_prefix(MAGIC_COOKIE)?;
    if digits.len() != 24 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let (index, token) = digits.split_at_checked(8)?;
    Some((u32::from_str_radix(index, 16).ok()?, u64::from_str_radix(token, 16).ok()?))
}

/// `request` with a Via of ours on top (RFC 3261 §8.1.1.7, RFC 3581 §3).
pub(super) fn with_via(request: &[u8], flow: Flow, sent_by: &str, branch: &str) -> Bytes {
    let line = request.iter().position(|byte| *byte == b'\n').map_or(request.len(), |at| at + 1);
    let (line, rest) = request.split_at_checked(line).unwrap_or((request, b""));
    let transport = if flow.is_reliable() { "TCP" } else { "UDP" };
    let mut out = BytesMut::with_capacity(request.len() + sent_by.len() + branch.len() + 40);
    out.put_slice(line);
    // Writing to memory does not fail.
    let _ = write!(out, "Via: SIP/2.0/{transport} {sent_by};branch={branch};rport\r\n");
    out.put_slice(rest);
    out.freeze()
}

/// The first word of a message: the method of a request.
pub(super) fn method(request: &[u8]) -> Option<&[u8]> {
    let end = request.iter().take(64).position(|byte| *byte == b' ')?;
    request.get(..end).filter(|method| !method.is_empty())
}

/// The status code of a response.
pub(super) fn status(response: &[u8]) -> Option<u16> {
    let code = response.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    std::str::from_utf8(code).ok()?.parse().ok()
}

/// The ACK of a non-2xx response (RFC 3261 §17.1.1.3).
pub(super) fn ack(invite: &Bytes, response: &Message) -> Option<Bytes> {
    let invite = Message::parse(invite.clone()).ok()?;
    Some(RequestBuilder::ack_for(&invite, response).build())
}

/// The CANCEL of an INVITE (RFC 3261 §9.1) with its Reason headers (RFC 3326).
pub(super) fn cancel(invite: &Bytes, reasons: &[&str]) -> Option<Bytes> {
    let invite = Message::parse(invite.clone()).ok()?;
    let mut cancel = RequestBuilder::cancel_for(&invite);
    for reason in reasons {
        cancel.push(HeaderName::Reason, reason);
    }
    Some(cancel.build())
}

/// 100 (RFC 3261 §8.2.6.1: Timestamp is copied, no To tag).
pub(super) fn trying(invite: &Message, source: Flow) -> Bytes {
    ResponseBuilder::new(invite, 100, source.remote(), None).copy(invite, HeaderName::Timestamp).build()
}

/// A response without further headers.
pub(super) fn plain(request: &Message, code: u16, source: Flow, to_tag: &str) -> Bytes {
    ResponseBuilder::new(request, code, source.remote(), Some(to_tag)).build()
}

/// 503 with Retry-After.
pub(super) fn unavailable(request: &Message, source: Flow, to_tag: &str, retry_after: u32) -> Bytes {
    ResponseBuilder::new(request, 503, source.remote(), Some(to_tag))
        .header_display(HeaderName::RetryAfter, retry_after)
        .build()
}

/// The To tag of a response of ours.
pub(super) fn to_tag(response: &[u8]) -> Option<String> {
    if response.is_empty() {
        return None;
    }
    Message::parse(Bytes::copy_from_slice(response)).ok()?.to_tag().map(str::to_owned)
}
