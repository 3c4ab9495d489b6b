//! One case for each rule that the torture messages of RFC 4475 and RFC 5118 check, in messages of our own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;
use ringfork_sip::header::{HeaderName, Rport};
use ringfork_sip::message::limits;
use ringfork_sip::{Contacts, Fault, Host, Message, Method, ResponseBuilder, Scheme};

fn parse(text: impl AsRef<[u8]>) -> Result<Message, Fault> {
    Message::parse_valid(Bytes::copy_from_slice(text.as_ref()))
}

/// A sound request whose header fields can be replaced one by one: a name given empty is left out.
fn request(line: &str, changes: &[(&str, &str)]) -> String {
    let method = line.split(' ').next().unwrap();
    let cseq = format!("1 {method}");
    let defaults = [
        ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKr"),
        ("Max-Forwards", "70"),
        ("From", "<sip:a@example.com>;tag=f"),
        ("To", "<sip:b@example.com>"),
        ("Call-ID", "c1"),
        ("CSeq", &cseq),
    ];
    let mut text = format!("{line}\r\n");
    for (name, value) in defaults {
        if !changes.iter().any(|(changed, _)| *changed == name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for (name, value) in changes.iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n"
}

const OPTIONS: &str = "OPTIONS sip:b@example.com SIP/2.0";

fn options(changes: &[(&str, &str)]) -> Result<Message, Fault> {
    parse(request(OPTIONS, changes))
}

/// The fault of a request that is refused and can be answered.
fn refused(result: Result<Message, Fault>) -> (u16, &'static str) {
    let fault = result.expect_err("refused");
    assert!(fault.answerable().is_some(), "{fault:?} cannot be answered");
    (fault.status, fault.reason)
}

/// RFC 3261 §7.3.1 (RFC 4475 §3.1.1.1): folds, white space around the colon, compact names, leading zeros.
#[test]
fn folds_white_space_and_compact_names() {
    let message = parse(
        "OPTIONS sip:b@example.com SIP/2.0\r\n\
         TO :\r\n sip:b@example.com ;   tag    = 1918181833n\r\n\
         from   : \"J Rosenberg \\\\\\\"\"       <sip:j@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n\
         MaX-fOrWaRdS: 0068\r\n\
         i: c1\r\n\
         cseq: 0009\r\n  OPTIONS\r\n\
         Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2 : 5070 ;branch=390skdjuw\r\n\
         s :\r\n\
         NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n\
         v:  SIP  / 2.0  / TCP     host.example.com   ;\r\n  branch  =   z9hG4bK9ikj8 ,\r\n \
          SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n\
         m:\"Quoted string \\\"\\\"\" <sip:j@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n\
         \r\n",
    )
    .unwrap();
    assert_eq!(message.to_tag(), Some("1918181833n"));
    assert_eq!(message.from_tag(), Some("98asjd8"));
    assert_eq!(message.from().unwrap().display_name(), "J Rosenberg \\\"");
    assert_eq!(message.max_forwards(), Some(68));
    assert_eq!(message.cseq().unwrap().number, 9);
    let vias: Vec<_> = message
        .via_values()
        .map(|via| ringfork_sip::Via::parse(via).unwrap())
        .map(|via| (via.transport, via.branch()))
        .collect();
    assert_eq!(vias, [("UDP", Some("390skdjuw")), ("TCP", Some("z9hG4bK9ikj8")), ("UDP", Some("z9hG4bK30239"))]);
    assert_eq!(message.top_via().unwrap().port, Some(5070));
    let other = message.fields_named("newfangledheader").next().unwrap();
    assert_eq!(other.text(), "newfangled value continued newfangled value");
    assert_eq!(message.text(HeaderName::Subject).unwrap(), "");
    let contact = message.contact().unwrap();
    assert_eq!(contact.display_name(), "Quoted string \"\"");
    assert_eq!((contact.q(), contact.params.get("newparam")), (Some(330), Some("newvalue")));
}

/// RFC 3261 §7.1 (RFC 4475 §3.1.1.2, §3.1.1.5): any token is a method, case and escapes count.
#[test]
fn methods_are_any_token_and_case_sensitive() {
    for method in ["!interesting-Method0123456789_*+`.%indeed'~", "RE%47IST%45R", "register", "Invite"] {
        let message = parse(request(&format!("{method} sip:b@example.com SIP/2.0"), &[])).unwrap();
        assert_eq!(message.method().unwrap().as_str(), method);
        assert!(matches!(message.method(), Some(Method::Extension(_))), "{method}");
        assert_eq!(message.method().unwrap().to_rsip(), None);
    }
    assert!(parse(request("REG(STER sip:b@example.com SIP/2.0", &[])).unwrap_err().answerable().is_none());
    for method in [rsip::Method::Invite, rsip::Method::PRack, rsip::Method::Register] {
        assert_eq!(Method::from(method).to_rsip(), Some(method));
        assert_eq!(Method::from_token(method.to_string().as_bytes()), Some(Method::from(method)));
    }
}

/// RFC 4475 §3.1.1.2: controls in a quoted display name, and every odd character of a user part and password.
#[test]
fn odd_characters_where_they_are_allowed() {
    let uri =
        "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com";
    let message = parse(request(
        &format!("OPTIONS {uri} SIP/2.0"),
        &[("To", "\"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <sip:b@example.com>"), ("Extra", "\u{a0}\u{0}x")],
    ))
    .unwrap();
    let uri = message.uri().unwrap();
    assert_eq!(uri.user(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(uri.password(), Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
    assert_eq!(uri.host(), Host::Domain("example.com"));
    assert_eq!(message.to().unwrap().display_name(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
}

/// RFC 3261 §7.3.1: a value that is not UTF-8 is kept exactly and shown as Latin-1.
#[test]
fn values_that_are_not_utf8() {
    let mut raw = request(OPTIONS, &[("From", "\"?\" <sip:a@example.com>;tag=f"), ("Subject", "?")]).into_bytes();
    for byte in raw.iter_mut().filter(|byte| **byte == b'?') {
        *byte = 0xe9;
    }
    let message = parse(&raw).unwrap();
    assert_eq!(message.from().unwrap().display_name(), "é");
    assert_eq!(message.text(HeaderName::Subject).unwrap(), "é");
    let answer = ResponseBuilder::new(&message, 200, "192.0.2.1:5060".parse().unwrap(), Some("t")).build();
    assert!(answer.windows(7).any(|window| window == b": \"\xe9\" <"), "{}", answer.escape_ascii());
}

/// RFC 3261 §19.1.2 (RFC 4475 §3.1.1.3, §3.1.1.4, §3.1.1.9): escapes stay as sent; `%00` and `;` are part of the user.
#[test]
fn escapes_in_the_user_part() {
    for (text, user, plain) in [
        ("sip:sips%3Auser%40example.com@example.net", "sips%3Auser%40example.com", "sips:user@example.com"),
        ("sip:null-%00-null@example.com", "null-%00-null", "null-\0-null"),
        ("sip:user;par=u%40example.net@example.com", "user;par=u%40example.net", "user;par=u@example.net"),
        ("sip:john.doe@example.com", "john.doe", "john.doe"),
        ("sip:+1.555@example.com", "+1.555", "+1.555"),
        ("sip:%e9@example.com", "%e9", "é"),
    ] {
        let message = parse(request(&format!("OPTIONS {text} SIP/2.0"), &[])).unwrap();
        let uri = message.uri().unwrap();
        assert_eq!((uri.user(), uri.user_unescaped().as_deref()), (Some(user), Some(plain)), "{text}");
        assert_eq!(uri.to_string(), text);
    }
}

/// RFC 3261 §20.10 (RFC 4475 §3.1.1.6): nothing need stand between a display name and `<`.
#[test]
fn no_space_before_the_angle() {
    let message = options(&[("From", "caller<sip:a@example.com>;tag=323")]).unwrap();
    assert_eq!(message.from().unwrap().display_name(), "caller");
    assert_eq!(message.from_tag(), Some("323"));
}

/// RFC 4475 §3.1.1.7: long values are taken up to the limits of [`limits`], and refused beyond, with an answer.
#[test]
fn limits_are_kept() {
    let long = "x".repeat(limits::LINE - 20);
    assert!(options(&[("Subject", &long)]).is_ok());
    assert_eq!(refused(options(&[("Subject", &"x".repeat(limits::LINE))])).0, 400);
    assert_eq!(refused(options(&[("Subject", &"x\r\n y".repeat(limits::LINE / 4))])).0, 400);
    assert_eq!(refused(options(&vec![("Subject", "x"); limits::FIELDS])).0, 400);
    assert!(options(&vec![("Subject", "x"); limits::FIELDS - 10]).is_ok());
    let body = "x".repeat(limits::BODY + 1);
    assert_eq!(refused(parse(request(OPTIONS, &[]) + &body)).0, 513);
    let fault = parse(request(&format!("OPTIONS sip:{long}{long}@example.com SIP/2.0"), &[])).unwrap_err();
    assert_eq!(fault.status, 414);
    assert!(parse("x".repeat(limits::MESSAGE + 1)).unwrap_err().answerable().is_none());
}

/// RFC 3261 §18.3, §20.14 (RFC 4475 §3.1.1.8, §3.1.2.2, §3.1.2.3, §3.3.9): the body is what Content-Length says.
#[test]
fn content_length_in_a_datagram() {
    let with = |value: &str| parse(request(OPTIONS, &[("Content-Length", value)]) + "12345678");
    assert_eq!(with("3").unwrap().body(), b"123");
    assert_eq!(with("0008").unwrap().body(), b"12345678");
    assert_eq!(with("0").unwrap().body(), b"");
    assert_eq!(parse(request(OPTIONS, &[]) + "12345678").unwrap().body(), b"12345678");
    assert_eq!(with("3").unwrap().body_bytes(), Bytes::from_static(b"123"));
    assert_eq!(refused(with("9")), (400, "Content-Length exceeds the message"));
    for broken in ["-999", "+3", "3 4", "0x3", "3,3", "3;x", "99999999999999999999999", "٣", "3\r\n 4"] {
        assert_eq!(refused(with(broken)), (400, "Malformed Content-Length"), "{broken}");
    }
    let twice =
        |first: &str, second: &str| parse(request(OPTIONS, &[("Content-Length", first), ("l", second)]) + "12345678");
    assert_eq!(twice("3", "03").unwrap().body(), b"123");
    assert_eq!(refused(twice("3", "4")), (400, "Conflicting Content-Length"));
}

/// RFC 3261 §20.42 (RFC 4475 §3.1.1.10): any transport can stand in a Via.
#[test]
fn transports_known_and_unknown() {
    use rsip::Transport as T;
    for (transport, known) in [("UDP", Some(T::Udp)), ("tls", Some(T::Tls)), ("SCTP", Some(T::Sctp)), ("UNKNOWN", None)]
    {
        let via = format!("SIP/2.0/{transport} t1.example.com;branch=z9hG4bK1");
        let message = options(&[("Via", &via)]).unwrap();
        let via = message.top_via().unwrap();
        assert_eq!((via.transport, via.rsip_transport()), (transport, known));
    }
}

/// RFC 3261 §7.4 (RFC 4475 §3.1.1.11): a body is octets.
#[test]
fn binary_bodies_are_exact() {
    let body: Vec<u8> = (0..=255).collect();
    let head = request(OPTIONS, &[("Content-Type", "multipart/mixed;boundary=7a9cbec02ceef655")]);
    let message = parse([head.as_bytes(), &body].concat()).unwrap();
    assert_eq!(message.body(), body);
    let kind = message.content_type().unwrap();
    assert!(kind.is("Multipart", "MIXED"));
    assert_eq!(kind.params.get("boundary"), Some("7a9cbec02ceef655"));
}

fn response(line: &str, cseq: &str) -> Result<Message, Fault> {
    parse(format!(
        "{line}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKr\r\nFrom: <sip:a@b>;tag=f\r\nTo: <sip:b@b>;tag=t\r\n\
         Call-ID: c1\r\nCSeq: {cseq}\r\n\r\n"
    ))
}

/// RFC 3261 §7.2 (RFC 4475 §3.1.1.12, §3.1.1.13, §3.1.2.19): reason phrases are any octets or none; codes are three
/// digits. A broken response is never answered.
#[test]
fn status_lines() {
    let reason = "= 2**3 * 5**2 но сто девяносто девять - простое";
    let message = response(&format!("SIP/2.0 200 {reason}"), "1 INVITE").unwrap();
    assert_eq!((message.status(), message.reason_phrase()), (Some(200), reason.as_bytes()));
    assert_eq!(message.rsip_status(), Some(rsip::StatusCode::OK));
    assert!(message.is_response() && message.method().is_none());
    assert_eq!(response("SIP/2.0 100 ", "1 INVITE").unwrap().reason_phrase(), b"");
    assert_eq!(response("SIP/2.0 100", "1 INVITE").unwrap().status(), Some(100));
    assert_eq!(response("sip/2.0 486 Busy", "1 INVITE").unwrap().status(), Some(486));
    for line in
        ["SIP/2.0 4294967301 x", "SIP/2.0 99 x", "SIP/2.0 700 x", "SIP/2.0 2e0 x", "SIP/2.0  200 OK", "SIP/7.0 200 OK"]
    {
        assert!(response(line, "1 INVITE").unwrap_err().answerable().is_none(), "{line}");
    }
    // RFC 4475 §3.1.2.5.
    assert!(response("SIP/2.0 503 x", "9292394834772304023312 OPTIONS").unwrap_err().answerable().is_none());
    assert!(response("SIP/2.0 503 x", "1 OPTIONS\r\nRetry-After: 949302838503028349304023988").is_err());
}

/// RFC 4475 §3.1.2.1: empty parameters and elements.
#[test]
fn extraneous_separators() {
    assert_eq!(refused(options(&[("Via", "SIP/2.0/UDP 192.0.2.15;;,;,,")])), (400, "Malformed Via"));
    assert_eq!(refused(options(&[("Contact", "\"Joe\" <sip:joe@example.org>;;;;")])), (400, "Malformed Contact"));
    assert_eq!(refused(options(&[("Contact", "<sip:joe@example.org>,")])), (400, "Malformed Contact"));
}

/// RFC 3261 §8.1.1.5, §20.22, §20.19 (RFC 4475 §3.1.2.4): numbers within their ranges.
#[test]
fn numbers_out_of_range() {
    for (name, bad, good) in [
        ("CSeq", "2147483648 OPTIONS", "2147483647 OPTIONS"),
        ("CSeq", "36893488147419103232 OPTIONS", "0 OPTIONS"),
        ("CSeq", "-1 OPTIONS", "00000000000000000000001 OPTIONS"),
        ("CSeq", "1", "1\tOPTIONS"),
        ("Max-Forwards", "256", "255"),
        ("Max-Forwards", "x", "0"),
        ("Expires", "4294967296", "4294967295"),
        ("Contact", "<sip:a@b>;expires=280297596632815", "<sip:a@b>;expires=4294967295"),
    ] {
        assert_eq!(refused(options(&[(name, bad)])).0, 400, "{name}: {bad}");
        assert!(options(&[(name, good)]).is_ok(), "{name}: {good}");
    }
    // What is no number at all counts as absent (RFC 3261 §10.2.1.1; RFC 2543 allowed dates).
    assert_eq!(options(&[("Expires", "Thu, 01 Dec 1994 16:00:00 GMT")]).unwrap().expires(), None);
}

/// RFC 3261 §25.1 (RFC 4475 §3.1.2.6, §3.1.2.13-15): addresses that cannot be read for certain.
#[test]
fn malformed_addresses() {
    for bad in [
        "\"Mr. J. User <sip:b@example.com>",
        "\"Watson, Thomas\" < sip:t.watson@example.org >",
        "Bell, Alexander <sip:a.g.bell@example.com>",
        "<sip:b@example.com",
        "\"x\" sip:b@example.com",
        "sip:b@example.com?Route=%3Csip:x%3E",
        "sip:a b@example.com",
        "<sip:b@>",
        "<sip:@example.com>",
        "<sip:b@example.com:99999>",
        "<sip:a@b@example.com>",
        "<b@example.com>",
        "<sip:b@example.com>;tag=",
        "<sip:b@example.com>;tag",
        "<sip:b@example.com>;a=<b",
        "<>",
        "",
    ] {
        for name in ["To", "From"] {
            let text = request(OPTIONS, &[(name, if bad.is_empty() { " " } else { bad })]);
            assert_eq!(refused(parse(text)).0, 400, "{name}: {bad}");
        }
    }
    let contact = "sip:user@example.com?Route=%3Csip:sip.example.com%3E";
    assert_eq!(refused(options(&[("Contact", contact)])), (400, "Malformed Contact"));
    // Escaped headers are fine in a Contact within `<>` (RFC 4475 §3.3.14).
    let message = options(&[("Contact", &format!("<{contact}>"))]).unwrap();
    assert_eq!(message.contact().unwrap().uri().unwrap().headers_text(), Some("Route=%3Csip:sip.example.com%3E"));
}

/// RFC 3261 §7.1 (RFC 4475 §3.1.2.7-11, §3.1.2.16, RFC 5118 §4.2): request lines.
#[test]
fn request_lines() {
    for (line, status) in [
        ("OPTIONS <sip:b@example.com> SIP/2.0", 400),
        ("OPTIONS sip:b@example.com; lr SIP/2.0", 400),
        ("OPTIONS  sip:b@example.com  SIP/2.0", 400),
        ("OPTIONS sip:b@example.com SIP/2.0  ", 400),
        ("OPTIONS sip:b@example.com\tSIP/2.0", 400),
        ("OPTIONS sip:b@example.com", 400),
        ("OPTIONS SIP/2.0", 400),
        ("OPTIONS", 400),
        ("OPTIONS sip:b@example.com?Route=%3Csip:example.com%3E SIP/2.0", 400),
        ("OPTIONS sip:2001:db8::10 SIP/2.0", 400),
        ("OPTIONS sip:b@exa%mple.com SIP/2.0", 400),
        ("OPTIONS sip:%4@example.com SIP/2.0", 400),
        ("OPTIONS sip:b@example.com SIP/7.0", 505),
        ("OPTIONS sip:b@example.com SIP/2.00", 505),
    ] {
        assert_eq!(refused(parse(request(line, &[]))).0, status, "{line}");
    }
    assert!(parse(request("OPTIONS sip:b@example.com sip/2.0", &[])).is_ok());
    // The Via of another version can still be answered.
    let seven = [("Via", "SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw")];
    assert_eq!(refused(parse(request("OPTIONS sip:b@example.com SIP/7.0", &seven))).0, 505);
}

/// RFC 3261 §8.1.1.5 (RFC 4475 §3.1.2.17, §3.1.2.18): the CSeq names the method.
#[test]
fn cseq_method_must_match() {
    assert_eq!(refused(options(&[("CSeq", "8 INVITE")])).0, 400);
    assert_eq!(refused(options(&[("CSeq", "8 options")])).0, 400);
    let unknown = request("NEWMETHOD sip:b@example.com SIP/2.0", &[("CSeq", "8 INVITE")]);
    assert_eq!(refused(parse(unknown)).0, 501);
}

/// RFC 3261 §8.1.1 (RFC 4475 §3.3.1, §3.3.8): required fields, each once; what cannot be answered is not.
#[test]
fn required_fields_once() {
    for name in ["From", "To", "Call-ID", "CSeq"] {
        assert_eq!(refused(options(&[(name, "")])).0, 400, "{name} missing");
        let again = match name {
            "CSeq" => "1 OPTIONS",
            "Call-ID" => "c1",
            _ => "<sip:x@y>;tag=1",
        };
        assert_eq!(refused(options(&[(name, again), (name, again)])).0, 400, "{name} twice");
    }
    assert_eq!(refused(options(&[("Max-Forwards", "1"), ("Max-Forwards", "1")])).0, 400);
    assert!(options(&[("Max-Forwards", "")]).is_ok());
    let fault = options(&[("Via", "")]).unwrap_err();
    assert!(fault.status == 400 && fault.answerable().is_none());
    let ack = request("ACK sip:b@example.com SIP/2.0", &[("To", "")]);
    assert!(parse(ack).unwrap_err().answerable().is_none(), "an ACK is never answered");
}

/// RFC 3261 §19.1 (RFC 4475 §3.3.2-4): other schemes are readable; what to answer is decided above.
#[test]
fn other_schemes() {
    for (uri, scheme, text) in [
        ("nobodyKnowsThisScheme:totallyopaquecontent", Scheme::Other, "nobodyKnowsThisScheme"),
        ("soap.beep://192.0.2.103:3002", Scheme::Other, "soap.beep"),
        ("tel:+1-201-555-0123;phone-context=example.com", Scheme::Tel, "tel"),
        ("SIPS:b@example.com", Scheme::Sips, "SIPS"),
    ] {
        let message = parse(request(&format!("OPTIONS {uri} SIP/2.0"), &[])).unwrap();
        let read = message.uri().unwrap();
        assert_eq!((read.scheme(), read.scheme_text()), (scheme, text));
    }
    let message = options(&[("To", "<isbn:2983792873>"), ("From", "<http://www.example.com>;tag=1")]).unwrap();
    assert_eq!(message.to().unwrap().uri().unwrap().scheme(), Scheme::Other);
}

/// RFC 2543 (RFC 4475 §3.4.1): no branch, no Max-Forwards, no tags.
#[test]
fn requests_of_rfc_2543() {
    let old =
        [("Via", "SIP/2.0/UDP iftgw.example.com"), ("Max-Forwards", ""), ("From", "<sip:+1@x.example.com;user=phone>")];
    let message = options(&old).unwrap();
    assert!(!message.top_via().unwrap().has_rfc3261_branch());
    assert_eq!(message.from_tag(), None);
    // RFC 4475 §3.2.1: the bare cookie names nothing.
    let bare = options(&[("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK")]).unwrap();
    assert!(!bare.top_via().unwrap().has_rfc3261_branch());
}

/// RFC 3261 §10.2.2: `*` stands alone.
#[test]
fn contact_star() {
    assert!(matches!(options(&[("Contact", "*")]).unwrap().contacts(), Contacts::Star));
    assert!(matches!(options(&[]).unwrap().contacts(), Contacts::None));
    let mixed = options(&[("Contact", "*"), ("m", "<sip:a@b>")]).unwrap();
    assert!(matches!(mixed.contacts(), Contacts::Malformed));
    let list = options(&[("Contact", "\"a, <b>\" <sip:a@b;x=1>;q=1.0 , sip:c@d;unknown=1"), ("m", "<sip:e,g@f>")]);
    let list = list.unwrap();
    let Contacts::List(contacts) = list.contacts() else { panic!("{:?}", list.contacts()) };
    let uris: Vec<_> = contacts.iter().map(|contact| contact.uri_text).collect();
    assert_eq!(uris, ["sip:a@b;x=1", "sip:c@d", "sip:e,g@f"]);
    assert_eq!(contacts[0].display_name(), "a, <b>");
}

/// RFC 5118 §4.1, §4.3, §4.4, §4.5, §4.9, §4.10: IPv6 in URIs and Via.
#[test]
fn ipv6() {
    let address = |text: &str| Host::V6(text.parse::<Ipv6Addr>().unwrap());
    for (uri, host, port) in [
        ("sip:[2001:db8::10]", "2001:db8::10", None),
        ("sip:[2001:db8::10:5070]", "2001:db8::10:5070", None),
        ("sip:user@[2001:db8::10]:5070", "2001:db8::10", Some(5070)),
        ("sip:user@[::ffff:192.0.2.2]", "::ffff:192.0.2.2", None),
        ("sip:user@[2001:db8:::192.0.2.1]", "2001:db8::192.0.2.1", None),
        ("sip:user@[2001:DB8::9:1]", "2001:db8::9:1", None),
    ] {
        let message = parse(request(&format!("OPTIONS {uri} SIP/2.0"), &[])).unwrap();
        let read = message.uri().unwrap();
        assert_eq!((read.host(), read.port()), (address(host), port), "{uri}");
    }
    for bad in ["sip:[2001:db8::10", "sip:[]", "sip:[2001:db8::10]x", "sip:[2001:::db8:::1]", "sip:[192.0.2.1]"] {
        assert_eq!(refused(parse(request(&format!("OPTIONS {bad} SIP/2.0"), &[]))).0, 400, "{bad}");
    }
    for received in ["2001:db8::9:255", "[2001:db8::9:255]"] {
        let via = format!("SIP/2.0/UDP [2001:db8::9:1]:5080;received={received};branch=z9hG4bKas3");
        let message = options(&[("Via", &via)]).unwrap();
        let via = message.top_via().unwrap();
        assert_eq!(via.received(), Some("2001:db8::9:255".parse::<IpAddr>().unwrap()));
        assert_eq!((via.host, via.port, via.branch()), (address("2001:db8::9:1"), Some(5080), Some("z9hG4bKas3")));
    }
}

/// RFC 3261 §7.5, and bare LF as some devices send it.
#[test]
fn line_ends() {
    let text = request(OPTIONS, &[("Content-Length", "2")]) + "ab";
    assert_eq!(parse(format!("\r\n\r\n{text}")).unwrap().body(), b"ab");
    assert_eq!(parse(text.replace("\r\n", "\n")).unwrap().body(), b"ab");
    let cut = text.trim_end_matches("\r\nab");
    assert_eq!(refused(parse(cut)), (400, "Missing end of header fields"));
    for junk in ["", "\r\n", "\0\0\0\0", "hello", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\u{1}\u{1}", ":\r\n\r\n"] {
        assert!(parse(junk).unwrap_err().answerable().is_none(), "{junk:?}");
    }
    for line in ["no colon", ": no name", "bad name: x", "a\"b: x"] {
        let text = text.replacen("Via:", &format!("{line}\r\nVia:"), 1);
        assert_eq!(refused(parse(text)), (400, "Malformed header field"), "{line}");
    }
}

/// RFC 3581 §4, RFC 3261 §18.2.1, §18.2.2 and DESIGN "SIP choices": what a response says of its request's source, and
/// where it goes.
#[test]
fn top_via_and_target_of_a_response() {
    use ringfork_sip::build::response_target;
    for (via, source, printed, target) in [
        // The host is the source address: nothing is added, the Via's port counts.
        (
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
            "192.0.2.1:9",
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
            "192.0.2.1:5060",
        ),
        ("SIP/2.0/UDP 192.0.2.1:7;branch=z9", "192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:7;branch=z9", "192.0.2.1:7"),
        ("SIP/2.0/UDP 192.0.2.1:0;branch=z9", "192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:0;branch=z9", "192.0.2.1:9"),
        // rport was asked for.
        (
            "SIP/2.0/UDP 192.0.2.1;rport;branch=z9",
            "192.0.2.1:9",
            "SIP/2.0/UDP 192.0.2.1;rport=9;branch=z9;received=192.0.2.1",
            "192.0.2.1:9",
        ),
        // A name or another address.
        (
            "SIP/2.0/UDP h.example.com:7;branch=z9",
            "192.0.2.1:9",
            "SIP/2.0/UDP h.example.com:7;branch=z9;received=192.0.2.1",
            "192.0.2.1:9",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1:7;branch=z9",
            "192.0.2.1:9",
            "SIP/2.0/UDP 10.0.0.1:7;branch=z9;received=192.0.2.1",
            "192.0.2.1:9",
        ),
        // What the sender says of itself there does not count.
        (
            "SIP/2.0/UDP 10.0.0.1;received=1.2.3.4;maddr=5.6.7.8;rport=3;branch=z9",
            "192.0.2.1:9",
            "SIP/2.0/UDP 10.0.0.1;maddr=5.6.7.8;rport=9;branch=z9;received=192.0.2.1",
            "192.0.2.1:9",
        ),
        (
            "SIP/2.0/UDP [2001:db8::1]:7;branch=z9",
            "[2001:db8::1]:9",
            "SIP/2.0/UDP [2001:db8::1]:7;branch=z9",
            "[2001:db8::1]:7",
        ),
        (
            "SIP/2.0/UDP 192.0.2.1:7;branch=z9",
            "[::ffff:192.0.2.1]:9",
            "SIP/2.0/UDP 192.0.2.1:7;branch=z9",
            "[::ffff:192.0.2.1]:7",
        ),
        (
            "SIP/2.0/UDP h;branch=z9",
            "[2001:db8::2]:9",
            "SIP/2.0/UDP h;branch=z9;received=2001:db8::2",
            "[2001:db8::2]:9",
        ),
    ] {
        let message = options(&[("Via", via)]).unwrap();
        let source = source.parse().unwrap();
        let answer = Message::parse(ResponseBuilder::new(&message, 200, source, Some("t")).build()).unwrap();
        assert_eq!(answer.text(HeaderName::Via).unwrap(), printed);
        assert_eq!(response_target(&message, source), target.parse().unwrap(), "{via}");
    }
    assert_eq!(
        options(&[("Via", "SIP/2.0/UDP a;rport=;branch=z9")]).unwrap().top_via().unwrap().rport(),
        Some(Rport::Requested)
    );
}

/// RFC 3261 §8.2.6: what a response copies, and that To gets a tag only where it has none.
#[test]
fn responses_copy_their_request() {
    let source = "192.0.2.1:5060".parse().unwrap();
    let message = options(&[("To", "sip:b@example.com;x=1"), ("Timestamp", "54")]).unwrap();
    let read = |code, tag| Message::parse(ResponseBuilder::new(&message, code, source, tag).build()).unwrap();
    assert_eq!(read(200, Some("t1")).text(HeaderName::To).unwrap(), "sip:b@example.com;x=1;tag=t1");
    assert_eq!(read(100, None).text(HeaderName::To).unwrap(), "sip:b@example.com;x=1");
    assert!(read(100, None).has(HeaderName::Timestamp) && !read(200, None).has(HeaderName::Timestamp));
    let tagged = options(&[("To", "<sip:b@example.com>;tag=own")]).unwrap();
    let answer = Message::parse(ResponseBuilder::new(&tagged, 200, source, Some("t1")).build()).unwrap();
    assert_eq!(answer.to_tag(), Some("own"));
    // A fault's answer carries the Via, From, To, Call-ID and CSeq that could be read.
    let fault = options(&[("To", "\"open <sip:b@example.com>"), ("CSeq", "x")]).unwrap_err();
    let answer = ResponseBuilder::for_fault(&fault, source, "t1").unwrap().build();
    let answer = Message::parse(answer).unwrap();
    assert_eq!((answer.status(), answer.reason_phrase()), (Some(400), b"Malformed To".as_slice()));
    assert_eq!(answer.text(HeaderName::To).unwrap(), "\"open <sip:b@example.com>");
    assert_eq!(answer.call_id(), Some("c1"));
}

/// Found by fuzzing: a refusal is not many times the size of what it refuses, whatever stands in the Via.
#[test]
fn refusals_do_not_amplify() {
    let text = request(OPTIONS, &[("Via", &format!("SIP/2.0/UDP a;branch=z9{}", ",".repeat(8000)))]);
    let fault = parse(&text).unwrap_err();
    let answer = ResponseBuilder::for_fault(&fault, "192.0.2.1:5060".parse().unwrap(), "t").unwrap().build();
    assert!(answer.len() < text.len() + 100, "{} for {}", answer.len(), text.len());
    assert!(Message::parse(answer).is_ok());
}

/// Nothing given to a builder starts a line of its own or a second length.
#[test]
fn builders_cannot_be_injected() {
    let message = options(&[]).unwrap();
    let evil = "x\r\nEvil: 1\r\n\r\nbody\0";
    let bytes = ResponseBuilder::with_reason(&message, 200, evil, "192.0.2.1:5060".parse().unwrap(), Some(evil))
        .header(HeaderName::Contact, evil)
        .header(HeaderName::ContentLength, "5")
        .header_named("content-length", "5")
        .header_named("L", "5")
        .header_named("Ev il:\r\n", evil)
        .header_named("\r\n", evil)
        .header_display(HeaderName::Server, evil)
        .body(evil, "12")
        .build();
    let request = ringfork_sip::RequestBuilder::new(Method::Invite, evil)
        .via(rsip::Transport::Udp, evil, evil)
        .address(HeaderName::From, Some(evil), evil, Some(evil))
        .call_id(evil)
        .cseq(1)
        .header_display(HeaderName::ContentLength, 5)
        .build();
    for bytes in [bytes, request] {
        let message = Message::parse(bytes.clone()).unwrap();
        assert!(message.fields_named("Evil").all(|field| field.text().starts_with("x  Evil")), "{message:?}");
        assert_eq!(message.fields_of(HeaderName::ContentLength).count(), 1);
        let length = message.number(HeaderName::ContentLength).unwrap() as usize;
        assert_eq!(message.body().len(), length);
        assert!(bytes.ends_with(message.body()) && !bytes.contains(&0));
    }
}

/// Values of RFC 3262, 3326, 4028, 3323 and 3261 §20.33.
#[test]
fn small_values() {
    let message = options(&[
        ("Session-Expires", "1800 ; Refresher=UAS"),
        ("Min-SE", "90;x=y"),
        ("RAck", "776656 1  INVITE"),
        ("RSeq", "4294967295"),
        ("Retry-After", "120 (I'm in a (nested) meeting) ;duration=3600"),
        ("Reason", "SIP ;cause=200 ;text=\"Call completed elsewhere\", Q.850;cause=16"),
        ("Privacy", "id; Critical"),
        ("Diversion", "\"x\" <sip:+15551234@h>;reason=no-answer"),
        ("Supported", "a,,b ,\tC"),
        ("Require", ""),
        ("Allow", " "),
    ])
    .unwrap();
    assert_eq!(message.session_expires().unwrap().refresher, Some(ringfork_sip::header::Refresher::Uas));
    assert_eq!((message.min_se(), message.rseq()), (Some(90), Some(u32::MAX)));
    let rack = message.rack().unwrap();
    assert_eq!((rack.rseq, rack.cseq, rack.method), (776_656, 1, Method::Invite));
    let retry = message.retry_after().unwrap();
    assert_eq!((retry.seconds, retry.params.get("duration")), (120, Some("3600")));
    let reasons: Vec<_> = message.reasons().map(|reason| (reason.protocol, reason.cause, reason.text())).collect();
    assert_eq!(reasons[0], ("SIP", Some(200), Some("Call completed elsewhere".into())));
    assert_eq!(reasons[1], ("Q.850", Some(16), None));
    assert!(message.has_privacy("ID") && message.has_privacy("critical") && !message.has_privacy("user"));
    let diverted = message.addresses(HeaderName::Diversion).next().unwrap();
    assert_eq!(diverted.uri().unwrap().user(), Some("+15551234"));
    assert_eq!(message.tokens(HeaderName::Supported).collect::<Vec<_>>(), ["a", "b", "C"]);
    assert!(message.has_token(HeaderName::Supported, "c") && message.tokens(HeaderName::Allow).next().is_none());
}

/// A clone shares everything; credentials do not show in Debug output.
#[test]
fn clones_share_and_debug_is_short() {
    let message = options(&[("Authorization", "Digest response=\"secret\"")]).unwrap();
    assert_eq!(message.clone().raw().as_ptr(), message.raw().as_ptr());
    assert_eq!(format!("{message:?}"), "Message(OPTIONS sip:b@example.com)");
}
