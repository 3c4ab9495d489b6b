//! An ordinary INVITE, read and answered.

use bytes::Bytes;
use ringfork_sip::header::{HeaderName, Rport};
use ringfork_sip::{Host, Message, Method, RequestBuilder, ResponseBuilder};

const INVITE: &str = "INVITE sip:bob@biloxi.example.com;transport=tcp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5080;rport;branch=z9hG4bK776asdhds, SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKx\r\n\
    v: SIP/2.0/TLS c.example.com\r\n\
    Max-Forwards: 70\r\n\
    f: \"Al \\\"X\\\" ice, A.\" <sip:alice@atlanta.example.com;user=phone>;tag=1928301774\r\n\
    To: Bob\r\n  <sip:bob@biloxi.example.com>\r\n\
    Call-ID : a84b4c76e66710@pc33\r\n\
    CSeq: 314159 INVITE\r\n\
    m: <sip:alice@pc33.example.com;ob>;q=0.7;expires=60;+sip.instance=\"<urn:uuid:1,2;3>\";reg-id=1\r\n\
    Record-Route: <sip:p1;lr>,<sip:p2;lr>\r\n\
    Supported: 100rel , timer\r\n\
    x: 1800;refresher=uac\r\n\
    X-Own: one\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 4\r\n\
    \r\n\
    v=0\nignored";

#[test]
fn reads_an_invite() {
    let message = Message::parse_valid(Bytes::from_static(INVITE.as_bytes())).unwrap();
    assert_eq!(message.method(), Some(&Method::Invite));
    assert_eq!(message.uri().unwrap().host(), Host::Domain("biloxi.example.com"));
    let via = message.top_via().unwrap();
    assert_eq!((via.branch(), via.port, via.rport()), (Some("z9hG4bK776asdhds"), Some(5080), Some(Rport::Requested)));
    assert_eq!(message.via_values().count(), 3);
    assert_eq!(message.from().unwrap().display_name(), "Al \"X\" ice, A.");
    assert_eq!(message.from_tag(), Some("1928301774"));
    assert_eq!(message.to().unwrap().uri_text, "sip:bob@biloxi.example.com");
    assert_eq!(message.to().unwrap().display_name(), "Bob");
    assert_eq!(message.call_id(), Some("a84b4c76e66710@pc33"));
    assert_eq!(message.cseq().unwrap().number, 314_159);
    let contact = message.contact().unwrap();
    assert_eq!(contact.instance(), Some("<urn:uuid:1,2;3>"));
    assert_eq!((contact.q(), contact.expires(), contact.reg_id()), (Some(700), Some(60), Some(1)));
    assert!(contact.is_outbound());
    assert_eq!(message.addresses(HeaderName::RecordRoute).count(), 2);
    assert!(message.has_token(HeaderName::Supported, "timer"));
    assert_eq!(message.session_expires().unwrap().interval, 1800);
    assert_eq!(message.fields_named("x-own").next().unwrap().text(), "one");
    assert_eq!(message.body(), b"v=0\n");
}

#[test]
fn answers_an_invite() {
    let request = Message::parse(Bytes::from_static(INVITE.as_bytes())).unwrap();
    let bytes = ResponseBuilder::new(&request, 180, "198.51.100.7:4242".parse().unwrap(), Some("tt"))
        .record_route(&request)
        .header(HeaderName::Contact, "<sip:x@y>\r\nEvil: 1")
        .build();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(
        text,
        "SIP/2.0 180 Ringing\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5080;rport=4242;branch=z9hG4bK776asdhds;received=198.51.100.7, \
         SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKx\r\n\
         Via: SIP/2.0/TLS c.example.com\r\n\
         From: \"Al \\\"X\\\" ice, A.\" <sip:alice@atlanta.example.com;user=phone>;tag=1928301774\r\n\
         To: Bob <sip:bob@biloxi.example.com>;tag=tt\r\n\
         Call-ID: a84b4c76e66710@pc33\r\n\
         CSeq: 314159 INVITE\r\n\
         Record-Route: <sip:p1;lr>,<sip:p2;lr>\r\n\
         Contact: <sip:x@y>  Evil: 1\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn builds_a_request_that_reads_back() {
    let message = RequestBuilder::new(Method::Invite, "sip:bob@192.0.2.4")
        .via(rsip::Transport::Udp, "192.0.2.1:5060", "z9hG4bKabc")
        .max_forwards(69)
        .address(HeaderName::From, Some("A \"b\""), "sip:a@b", Some("t1"))
        .address(HeaderName::To, None, "sip:bob@192.0.2.4", None)
        .call_id("cid")
        .cseq(7)
        .body("application/sdp", "v=0\r\n")
        .build_message()
        .unwrap();
    message.validate().unwrap();
    assert_eq!(message.body(), b"v=0\r\n");
    assert_eq!(message.from().unwrap().display_name(), "A \"b\"");
    let cancel = RequestBuilder::cancel_for(&message).build_message().unwrap();
    cancel.validate().unwrap();
    assert_eq!(cancel.top_via().unwrap().branch(), Some("z9hG4bKabc"));
    assert_eq!(cancel.cseq().unwrap().method, Method::Cancel);
}
