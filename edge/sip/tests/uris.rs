//! URIs: parts, comparison (RFC 3261 §19.1.4), making.

#![allow(clippy::unwrap_used)]

use ringfork_sip::{Host, Uri, UriBuf};

fn same(a: &str, b: &str) -> bool {
    let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
    assert_eq!(a.is_equivalent(&b), b.is_equivalent(&a), "{a} {b}");
    assert!(a.is_equivalent(&a) && b.is_equivalent(&b));
    a.is_equivalent(&b)
}

/// RFC 3261 §19.1.4: the pairs that it gives as equivalent, and some more.
#[test]
fn equivalent() {
    for (a, b) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::0:1]"),
        ("SIP:a@b", "sip:a@b"),
        ("tel:+1-201-555-0123", "tel:+1(201)5550123"),
        ("urn:x:y", "URN:x:y"),
    ] {
        assert!(same(a, b), "{a} {b}");
    }
}

/// RFC 3261 §19.1.4: the pairs that it gives as different, and some more.
#[test]
fn different() {
    for (a, b) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:a@b", "sips:a@b"),
        ("sip:a@b", "sip:b"),
        ("sip:a:x@b", "sip:a:y@b"),
        ("sip:a%40c@b", "sip:a@b"),
        // An escaped reserved character is not that character.
        ("sip:a%3Bx@b", "sip:a;x@b"),
        ("tel:+12015550123", "tel:+12015550124"),
        ("tel:123;phone-context=a", "tel:123"),
        ("urn:x:y", "urn:x:Y"),
    ] {
        assert!(!same(a, b), "{a} {b}");
    }
}

/// Parameters may not be repeated (RFC 3261 §19.1.1) and do not come in hundreds; both are compared without surprise.
#[test]
fn odd_parameters_compare() {
    assert!(same("sip:h;maddr=a;maddr=b", "sip:h;maddr=a;maddr=b"));
    let many = format!("sip:h{}", ";a=b".repeat(40));
    assert!(same(&many, &many) && !same(&many, "sip:h"));
}

#[test]
fn parts() {
    let uri = Uri::parse("sips:al%20ice;x:pw@Example.COM:5061;transport=tcp;lr;a=b?Subject=x&y=z").unwrap();
    assert_eq!((uri.user(), uri.password()), (Some("al%20ice;x"), Some("pw")));
    assert_eq!((uri.host(), uri.port()), (Host::Domain("Example.COM"), Some(5061)));
    assert_eq!((uri.transport(), uri.param("LR"), uri.param("b")), (Some("tcp"), Some(""), None));
    assert!(uri.is_loose_router());
    assert_eq!(uri.headers_text(), Some("Subject=x&y=z"));
    assert_eq!(uri.to_request_uri(), "sips:al%20ice;x:pw@Example.COM:5061;transport=tcp;lr;a=b");
    let uri = Uri::parse("sip:h;method=INVITE;lr?a=b").unwrap();
    assert_eq!(uri.to_request_uri(), "sip:h;lr");
    for bad in ["", "sip:", "sip", ":x", "sip:a b@c", "sip:h:", "sip:h:x", "sip:h:65536", "1:x", "sip:a@b>", "tel:"] {
        assert!(Uri::parse(bad).is_err(), "{bad}");
    }
}

/// RFC 3261 §19.1.2: plain text is escaped where it has to be.
#[test]
fn made_from_plain_text() {
    let host = Host::from("2001:db8::1".parse::<std::net::IpAddr>().unwrap());
    let uri = UriBuf::sip(Some("a b@c:50%"), &host, Some(5060)).unwrap().with_param("x=y", Some("z;é"));
    assert_eq!(uri.as_str(), "sip:a%20b%40c%3A50%25@[2001:db8::1]:5060;x%3Dy=z%3B%C3%A9");
    assert_eq!(uri.as_uri().user_unescaped().unwrap(), "a b@c:50%");
    assert_eq!(UriBuf::sip(None, &Host::Domain("example.com"), None).unwrap().as_str(), "sip:example.com");
    assert!(UriBuf::sip(None, &Host::Domain("exa mple"), None).is_err());
    assert!("mailto:x@y".parse::<UriBuf>().is_ok());
}
