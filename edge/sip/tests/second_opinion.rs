//! rsip as second opinion: where both accept a message, both must say the same of it, except for what is known to be
//! wrong in rsip 0.4.0. [`known_faults`] is the list; each entry is shown to be one, so that an entry which a later
//! version mends is struck off.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;
use ringfork_sip::header::HeaderName;
use ringfork_sip::{Message, NameAddr};
use rsip::headers::ToTypedHeader;
use rsip::message::{HasHeaders, HeadersExt};
use rsip::prelude::UntypedHeader;

/// What the two say differently of a message that both accept; `None` when one of them refuses it.
fn disagreements(raw: &[u8]) -> Option<Vec<String>> {
    let ours = Message::parse_valid(Bytes::copy_from_slice(raw)).ok()?;
    let theirs = rsip::SipMessage::try_from(raw).ok()?;
    let mut out = Vec::new();
    let mut compare = |what: &str, ours: Option<String>, theirs: Option<String>| {
        if ours != theirs {
            out.push(format!("{what}: {ours:?} / {theirs:?}"));
        }
    };
    match &theirs {
        rsip::SipMessage::Request(request) => {
            compare("method", ours.method().map(ToString::to_string), Some(request.method.to_string()));
            let uri = ours.uri().unwrap();
            compare("uri user", uri.user().map(Into::into), request.uri.user().map(Into::into));
            compare("uri host", Some(uri.host().to_string()), Some(request.uri.host().to_string()));
            compare("uri port", uri.port().map(|p| p.to_string()), request.uri.port().map(|p| p.to_string()));
        }
        rsip::SipMessage::Response(response) => {
            compare("status", ours.status().map(|c| c.to_string()), Some(response.status_code.code().to_string()));
        }
    }
    let address = |address: Option<NameAddr<'_>>| {
        let address = address.unwrap();
        let uri = address.uri().unwrap();
        // rsip leaves the quotes on.
        let display = (!address.display_raw.is_empty()).then(|| String::from_utf8_lossy(address.display_raw));
        format!("{display:?} {:?} {} {:?}", uri.user(), uri.host(), address.tag())
    };
    let theirs_address = |display: &Option<String>, uri: &rsip::Uri, tag: Option<String>| {
        format!("{display:?} {:?} {} {tag:?}", uri.user(), uri.host())
    };
    if let Ok(from) = theirs.from_header().and_then(|from| from.typed()) {
        let tag = from.tag().map(|tag| tag.value().to_owned());
        compare("from", Some(address(ours.from())), Some(theirs_address(&from.display_name, &from.uri, tag)));
    }
    if let Ok(to) = theirs.to_header().and_then(|to| to.typed()) {
        let tag = to.tag().map(|tag| tag.value().to_owned());
        compare("to", Some(address(ours.to())), Some(theirs_address(&to.display_name, &to.uri, tag)));
    }
    compare("call-id", ours.call_id().map(Into::into), theirs.call_id_header().ok().map(|id| id.value().to_owned()));
    if let Ok(cseq) = theirs.cseq_header().and_then(|cseq| cseq.typed()) {
        let own = ours.cseq().unwrap();
        compare("cseq", Some(format!("{} {}", own.number, own.method)), Some(format!("{} {}", cseq.seq, cseq.method)));
    }
    match theirs.via_header().and_then(|via| via.typed()) {
        Ok(via) => {
            let own = ours.top_via().unwrap();
            compare("via host", Some(own.host.to_string()), Some(via.uri.host().to_string()));
            compare("via port", own.port.map(|p| p.to_string()), via.uri.port().map(|p| p.to_string()));
            compare("via transport", Some(own.transport.to_uppercase()), Some(via.transport.to_string()));
            compare("branch", own.branch().map(Into::into), via.branch().map(|branch| branch.value().to_owned()));
        }
        Err(error) => compare("via", Some(String::new()), Some(error.to_string())),
    }
    let contacts = theirs.headers().iter().filter(|header| matches!(header, rsip::Header::Contact(_))).count();
    compare("contacts", Some(ours.list(HeaderName::Contact).count().to_string()), Some(contacts.to_string()));
    compare("body", Some(ours.body().escape_ascii().to_string()), Some(theirs.body().escape_ascii().to_string()));
    Some(out)
}

/// A sound INVITE with these lines changed.
fn invite(request_uri: &str, changes: &[(&str, &str)], body: &str) -> String {
    let defaults = [
        ("Via", "SIP/2.0/UDP pc33.example.com:5070;branch=z9hG4bK776"),
        ("Max-Forwards", "70"),
        ("To", "<sip:bob@biloxi.example.com>"),
        ("From", "Alice <sip:alice@atlanta.example.com>;tag=1928"),
        ("Call-ID", "a84b4c76e66710"),
        ("CSeq", "314 INVITE"),
        ("Contact", "<sip:alice@pc33.example.com>"),
    ];
    let mut text = format!("INVITE {request_uri} SIP/2.0\r\n");
    for (name, value) in defaults {
        match changes.iter().find(|(changed, _)| changed.eq_ignore_ascii_case(name)) {
            Some((name, value)) => text.push_str(&format!("{name}: {value}\r\n")),
            None => text.push_str(&format!("{name}: {value}\r\n")),
        }
    }
    for (name, value) in changes.iter().filter(|(name, _)| !defaults.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)))
    {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n" + body
}

/// What rsip 0.4.0 accepts and reads wrongly: what it is, the message, and what the two differ in.
fn known_faults() -> Vec<(&'static str, String, &'static [&'static str])> {
    const URI: &str = "sip:bob@biloxi.example.com";
    vec![
        (
            "a dot in the user part makes user and host one host",
            invite("sip:john.doe@example.com", &[], ""),
            &["uri user", "uri host"],
        ),
        ("`tel:` is read as a host with a port", invite("tel:123", &[], ""), &["uri user", "uri host", "uri port"]),
        (
            "headers of a URI are part of its host",
            invite(URI, &[("To", "<sip:bob@biloxi.example.com?a=b>")], ""),
            &["to"],
        ),
        (
            "a parameter that it cannot read ends the parameters: the branch is lost",
            invite(URI, &[("Via", "SIP/2.0/UDP pc33.example.com;received=2001:db8::1;branch=z9hG4bK776")], ""),
            &["branch"],
        ),
        ("Content-Length does not end the body", invite(URI, &[("Content-Length", "2")], "abcd"), &["body"]),
        ("compact names are unknown", invite(URI, &[("Contact", "<sip:a@b>"), ("m", "<sip:c@d>")], ""), &["contacts"]),
        ("a comma list is one value", invite(URI, &[("Contact", "<sip:a@b>, <sip:c@d>")], ""), &["contacts"]),
    ]
}

#[test]
fn known_faults_are_still_there_and_no_more_than_they_say() {
    for (what, text, differing) in known_faults() {
        let found = disagreements(text.as_bytes());
        let found: Option<Vec<String>> =
            found.map(|found| found.iter().map(|one| one.split(':').next().unwrap().to_owned()).collect());
        assert_eq!(found.as_deref().unwrap_or(&["refused".to_owned()]), differing, "{what}");
    }
}

#[test]
fn ordinary_messages_are_agreed_on() {
    let uri = "sip:bob@biloxi.example.com";
    for text in [
        invite(uri, &[], ""),
        invite("sip:192.0.2.7:5071", &[("Content-Length", "4")], "v=0\n"),
        invite("sips:bob@biloxi.example.com;lr", &[("Via", "SIP/2.0/TLS 192.0.2.1;branch=z9;rport")], ""),
        invite(uri, &[("From", "\"Alice B\" <sip:alice@192.0.2.1>;tag=x;y=z")], ""),
        invite(uri, &[("To", "sip:bob@biloxi.example.com;tag=77")], ""),
        invite(uri, &[("Subject", "a, b; c"), ("X-Own", "\"x")], ""),
        invite(uri, &[], "").replacen("INVITE sip:bob@biloxi.example.com SIP/2.0", "SIP/2.0 486 Busy Here", 1),
    ] {
        assert_eq!(disagreements(text.as_bytes()), Some(Vec::new()), "{text}");
    }
}

/// The torture messages, where they are: both accept few of them, and differ on those in known ways.
#[test]
fn torture_messages_are_agreed_on_or_known() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/sip-torture/rfc4475");
    let Ok(files) = std::fs::read_dir(&folder) else { return eprintln!("no torture files beside this checkout") };
    let mut found: Vec<String> = files
        .map(|file| file.unwrap().path())
        .filter_map(|path| {
            let differing = disagreements(&std::fs::read(&path).unwrap())?;
            let differing: Vec<&str> = differing.iter().map(|one| one.split(':').next().unwrap()).collect();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (!differing.is_empty()).then(|| format!("{name}: {}", differing.join(", ")))
        })
        .collect();
    found.sort();
    assert_eq!(found, TORTURE_DIFFERENCES);
}

/// All by faults of [`known_faults`]: dots in users, compact names, the body's length, and URIs of other schemes, which
/// rsip reads as if they were SIP's.
const TORTURE_DIFFERENCES: &[&str] = &[
    "dblreq: from, to, call-id, body",
    "invut: to",
    "novelsc: uri host, uri port",
    "regaut01: from, to",
    "regescrt: contacts",
    "unksm2: from",
];

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z][a-zA-Z0-9]{0,8}"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9]{0,6}(\\.[a-z][a-z0-9]{0,5}){0,2}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Messages of the kind that rsip is made for.
    #[test]
    fn plain_messages_are_agreed_on(
        (user, from, tag, branch, call_id) in (word(), word(), word(), word(), word()),
        (hosts, ports) in ([host(), host(), host()], [1u16.., 1u16..]),
        display in prop::option::of("[a-zA-Z]{1,8}( [a-zA-Z]{1,8})?"),
        quoted in any::<bool>(),
        number in 0u32..1 << 31,
        body in "[ -~\r\n]{0,60}",
    ) {
        let display = match (display, quoted) {
            (Some(display), true) => format!("\"{display}\" "),
            (Some(display), false) => format!("{display} "),
            (None, _) => String::new(),
        };
        let [a, b, c] = hosts;
        let [port, via_port] = ports;
        let text = invite(
            &format!("sip:{user}@{a}:{port}"),
            &[
                ("Via", &format!("SIP/2.0/TCP {c}:{via_port};branch={branch};rport")),
                ("From", &format!("{display}<sip:{from}@{b}>;tag={tag}")),
                ("Call-ID", &format!("{call_id}@{c}")),
                ("CSeq", &format!("{number} INVITE")),
                ("Content-Length", &body.len().to_string()),
            ],
            &body,
        );
        prop_assert_eq!(disagreements(text.as_bytes()), Some(Vec::new()), "{}", text);
    }
}
