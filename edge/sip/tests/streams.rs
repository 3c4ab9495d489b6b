//! The stream framer (RFC 3261 §18.3, §20.14; RFC 5626 §4.4.1).

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use ringfork_sip::Message;
use ringfork_sip::framing::{Frame, Framer, FramingError, is_keep_alive};
use ringfork_sip::message::limits;

fn message(length: &str, body: &str) -> String {
    format!(
        "OPTIONS sip:b@c SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\n\
         Call-ID: x\r\nCSeq: 1 OPTIONS\r\n{length}\r\n{body}"
    )
}

/// Everything that comes out when `bytes` arrive in pieces of `size`.
fn frames(bytes: &[u8], size: usize) -> (Vec<Frame>, Option<FramingError>) {
    let mut framer = Framer::new();
    let mut out = Vec::new();
    for chunk in bytes.chunks(size.max(1)) {
        framer.push(chunk);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => out.push(frame),
                Ok(None) => break,
                Err(error) => return (out, Some(error)),
            }
        }
    }
    (out, None)
}

fn bodies(bytes: &[u8]) -> Vec<Bytes> {
    let (frames, error) = frames(bytes, usize::MAX);
    assert_eq!(error, None);
    frames
        .into_iter()
        .filter_map(|frame| match frame {
            Frame::Message(message) => Some(Message::parse_valid(message).unwrap().body_bytes()),
            Frame::Ping => None,
        })
        .collect()
}

#[test]
fn messages_end_where_content_length_says() {
    let two = message("Content-Length: 3\r\n", "abc") + &message("l : 0002\r\n", "de") + &message("", "");
    assert_eq!(bodies(two.as_bytes()), ["abc", "de", ""]);
    // A body that looks like a request stays a body.
    let inner = message("Content-Length: 0\r\n", "");
    let outer = message(&format!("Content-Length :{}\r\n", inner.len()), &inner);
    assert_eq!(bodies(outer.as_bytes()), std::slice::from_ref(&inner));
    // The value may be folded, and the name in any case; another header's continuation is no header.
    let folded = message("CONTENT-LENGTH:\r\n 3\r\nSubject: x\r\n Content-Length: 99\r\n", "abc");
    assert_eq!(bodies(folded.as_bytes()), ["abc"]);
    let bare = message("Content-Length: 3\r\n", "abc").replace("\r\n", "\n");
    assert_eq!(bodies(bare.as_bytes()), ["abc"]);
}

/// RFC 5626 §4.4.1: a double CRLF is a ping; a single one is nothing (RFC 3261 §7.5).
#[test]
fn keep_alives() {
    let one = message("Content-Length: 0\r\n", "");
    let stream = format!("\r\n\r\n{one}\r\n\r\n\r\n\r\n\r\n{one}\r\n{one}\r\n");
    for size in [1, 2, 3, usize::MAX] {
        let (frames, error) = frames(stream.as_bytes(), size);
        let kinds: String = frames.iter().map(|frame| if *frame == Frame::Ping { 'p' } else { 'm' }).collect();
        assert_eq!((kinds.as_str(), error), ("pmppmm", None), "{size}");
    }
    assert!(is_keep_alive(b"\r\n\r\n") && is_keep_alive(b"\0\0\0\0") && is_keep_alive(b"") && !is_keep_alive(b"\r\nx"));
}

/// RFC 3261 §18.3, RFC 4475 §3.1.2.3, §3.3.9: what has no certain end is answered from its head, and nothing follows.
#[test]
fn streams_that_cannot_be_framed() {
    let long = format!("Subject: {}\r\n", "x".repeat(1000)).repeat(70);
    for (text, reason) in [
        (message("Content-Length: -999\r\n", "abc"), "Malformed Content-Length"),
        (message("Content-Length: 1 2\r\n", "abc"), "Malformed Content-Length"),
        (message("Content-Length: 1\r\n 2\r\n", "abc"), "Malformed Content-Length"),
        (message("Content-Length: 3\r\nl: 4\r\n", "abc"), "Conflicting Content-Length"),
        (message(&format!("Content-Length: {}\r\n", limits::BODY + 1), "abc"), "Body too long"),
        (message("Content-Length: 99999999999999999999999\r\n", "abc"), "Malformed Content-Length"),
        (message(&long, ""), "Header fields too long"),
        ("x".repeat(limits::HEAD + 1), "Header fields too long"),
    ] {
        for size in [1000, usize::MAX] {
            let (frames, error) = frames(text.as_bytes(), size);
            let error = error.unwrap();
            assert_eq!((frames.len(), error.reason), (0, reason));
            // The head alone gives the refusal.
            let fault = Message::parse_valid(error.head.clone()).unwrap_err();
            if !text.starts_with('x') {
                assert!(matches!(fault.status, 400 | 513), "{fault}");
                assert!(fault.answerable().is_some());
            }
        }
    }
    let mut framer = Framer::new();
    framer.push(message("l: x\r\n", "").as_bytes());
    assert!(framer.next_frame().is_err());
    framer.push(message("l: 0\r\n", "").as_bytes());
    assert_eq!((framer.next_frame(), framer.pending()), (Ok(None), 0));
}

/// The same frames come out however the stream is cut.
#[test]
fn chunks_do_not_matter() {
    let stream =
        message("Content-Length: 3\r\n", "abc") + "\r\n\r\n" + &message("l: 0\r\n", "") + "\n" + &message("", "");
    let whole = frames(stream.as_bytes(), usize::MAX);
    for size in 1..stream.len() {
        assert_eq!(frames(stream.as_bytes(), size), whole, "{size}");
    }
}
