//! What must hold for any bytes whatever: shared by the property tests and the fuzz targets (`tests/fuzz`).

use bytes::Bytes;
use ringfork_sip::framing::{Frame, Framer};
use ringfork_sip::header::{HeaderName, NameAddr, Via};
use ringfork_sip::{Message, RequestBuilder, ResponseBuilder};

/// Reads everything that can be read of a message, so that a panic in any accessor shows.
fn read_all(message: &Message) {
    for field in message.fields() {
        let _ = (field.value(), field.text(), NameAddr::parse(field.value_raw), Via::parse(field.value_raw));
        if let Some(address) = NameAddr::parse(field.value_raw) {
            let _ = (address.display_name(), address.q(), address.expires(), address.instance(), address.reg_id());
            let _ = (address.tag(), address.is_outbound(), address.params.is_well_formed());
            if let Some(uri) = address.uri() {
                let _ = (uri.user_unescaped(), uri.params().count(), uri.to_request_uri(), uri.is_loose_router());
                assert!(uri.is_equivalent(&uri), "{uri}");
            }
        }
    }
    for name in HeaderName::ALL {
        assert_eq!(message.fields_of(*name).next(), message.field(*name));
        let _ = (message.list(*name).count(), message.tokens(*name).count(), message.number(*name));
    }
    let _ = (message.uri().is_ok(), message.contacts(), message.cseq(), message.call_id(), message.content_type());
    let _ = (message.session_expires(), message.rack(), message.retry_after(), message.reasons().count());
    if let Some(via) = message.top_via() {
        let _ = (via.received(), via.rport(), via.ttl(), via.rsip_transport(), via.port_or_default());
    }
    let body = message.body();
    assert_eq!(message.body_bytes(), body);
}

/// Parses, reads, and answers; whatever is answered must itself be readable and carry nothing that was not sent.
pub fn exercise(bytes: &[u8]) {
    let source = "192.0.2.9:4000".parse().unwrap();
    let answer = match Message::parse_valid(Bytes::copy_from_slice(bytes)) {
        Ok(message) => {
            read_all(&message);
            if !message.is_request() {
                return;
            }
            let _ = ringfork_sip::build::response_target(&message, source);
            let answer = ResponseBuilder::new(&message, 180, source, Some("tt")).record_route(&message).build();
            let answer = Message::parse_valid(answer).expect("the answer to a sound request is sound");
            assert_eq!(answer.to().unwrap().uri_text, message.to().unwrap().uri_text);
            assert_eq!(answer.via_values().count(), message.via_values().count());
            assert_eq!(answer.top_via().unwrap().branch(), message.top_via().unwrap().branch());
            assert_eq!(answer.cseq(), message.cseq());
            assert!(answer.to_tag().is_some());
            let _ = Message::parse(RequestBuilder::cancel_for(&message).build());
            return;
        }
        Err(fault) => {
            if let Some(message) = &fault.message {
                read_all(message);
            }
            ResponseBuilder::for_fault(&fault, source, "tt").map(ResponseBuilder::build)
        }
    };
    if let Some(answer) = answer {
        // Compact names and bare line ends grow by a few octets a field.
        let most = bytes.len() + 300 + 8 * ringfork_sip::message::limits::FIELDS;
        assert!(answer.len() < most, "{} octets in answer to {}", answer.len(), bytes.len());
        match Message::parse(answer) {
            Ok(answer) => assert!(answer.status().is_some_and(|code| code >= 400)),
            // What was refused for its size is copied at its size.
            Err(fault) => assert!(fault.reason.contains("too long"), "{fault:?}"),
        }
    }
}

/// Everything that comes out of the framer, as text that two runs can be compared by.
pub fn framed(chunks: &[&[u8]]) -> Vec<String> {
    let mut framer = Framer::new();
    let mut out = Vec::new();
    for chunk in chunks {
        framer.push(chunk);
        loop {
            match framer.next_frame() {
                Ok(Some(Frame::Ping)) => out.push("ping".to_owned()),
                Ok(Some(Frame::Message(message))) => {
                    // No message's body is shorter or longer than what the framer took: nothing can hide behind it.
                    if let Ok(message) = Message::parse(message.clone()) {
                        assert!(message.raw().ends_with(message.body()));
                        let head = message.raw().len() - message.body().len();
                        assert!(message.raw()[..head].ends_with(b"\n"));
                        if message.has(HeaderName::ContentLength) {
                            assert_eq!(message.number(HeaderName::ContentLength), Some(message.body().len() as u32));
                        } else {
                            assert!(message.body().is_empty());
                        }
                    }
                    out.push(message.escape_ascii().to_string());
                }
                Ok(None) => break,
                Err(error) => {
                    out.push(error.reason.to_owned());
                    return out;
                }
            }
        }
    }
    out
}
