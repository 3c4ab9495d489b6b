//! Properties over arbitrary and over damaged messages.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod exercise;

use exercise::{exercise, framed};
use proptest::prelude::*;
use ringfork_sip::header::{HeaderName, NameAddr, Via};
use ringfork_sip::{Contacts, Method, RequestBuilder, Uri};

const SEED: &str = "INVITE sip:bob;x%20@[2001:db8::1]:5062;transport=tcp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5080;rport;branch=z9hG4bK776asdhds, SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKx\r\n\
    v: SIP/2.0/TLS c.example.com;received=2001:db8::9\r\nMax-Forwards: 70\r\n\
    f: \"Al \\\"X\\\" ice, A.\" <sip:alice@atlanta.example.com;user=phone>;tag=1928301774\r\n\
    To: Bob\r\n  <sip:bob@biloxi.example.com>\r\nCall-ID : a84b4c76e66710@pc33\r\nCSeq: 314159 INVITE\r\n\
    m: <sip:alice@pc33.example.com;ob?a=b>;q=0.7;expires=60;+sip.instance=\"<urn:uuid:1,2;3>\";reg-id=1, <tel:+1>\r\n\
    Record-Route: <sip:p1;lr>,<sip:p2;lr>\r\nRoute: <sip:p3;lr>\r\nSupported: 100rel , timer\r\n\
    x: 1800;refresher=uac\r\nReason: SIP;cause=200;text=\"a;b\"\r\nRetry-After: 5 (x)\r\nRAck: 1 2 INVITE\r\n\
    Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";

/// The seed and the torture messages, where they are.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![SEED.as_bytes().to_vec()];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/sip-torture");
    for part in ["rfc4475", "rfc5118"] {
        let Ok(files) = std::fs::read_dir(folder.join(part)) else { continue };
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        seeds.extend(files.into_iter().map(|file| std::fs::read(file).unwrap()));
    }
    seeds
}

/// One change to some bytes: overwrite, insert, delete, or copy a piece of them elsewhere.
fn damage(mut bytes: Vec<u8>, changes: &[(u8, prop::sample::Index, prop::sample::Index, u8)]) -> Vec<u8> {
    // Bytes that mean something to the parser are the interesting ones.
    const SPECIAL: &[u8] = b"\r\n \t:;,<>\"\\@[]%?=/*0-\0\xff";
    for (kind, at, other, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let (at, other) = (at.index(bytes.len()), other.index(bytes.len()));
        let special = SPECIAL[usize::from(*byte) % SPECIAL.len()];
        match kind % 5 {
            0 => bytes[at] = special,
            1 => bytes.insert(at, special),
            2 => bytes[at] = *byte,
            3 => drop(bytes.drain(at..(at + usize::from(*byte % 16)).min(bytes.len()))),
            _ => {
                let piece: Vec<u8> = bytes[other..(other + usize::from(*byte)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(u8, prop::sample::Index, prop::sample::Index, u8)>> {
    prop::collection::vec(any::<(u8, prop::sample::Index, prop::sample::Index, u8)>(), 1..12)
}

fn token() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(b"abcXYZ019-.!%*_+`'~".as_slice()), 1..12)
        .prop_map(|bytes| String::from_utf8(bytes).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        exercise(&bytes);
        let _ = framed(&[&bytes]);
    }

    #[test]
    fn arbitrary_text_after_a_request_line(text in "[ -~\r\n\t]{0,400}") {
        exercise(format!("INVITE sip:a@b SIP/2.0\r\nVia: {text}").as_bytes());
        let _ = (Uri::parse(&text).is_ok(), Via::parse(text.as_bytes()), NameAddr::parse(text.as_bytes()));
    }

    #[test]
    fn damaged_messages_do_not_panic(seed in prop::sample::select(seeds()), changes in changes()) {
        exercise(&damage(seed, &changes));
    }

    /// However a stream is cut, the same comes out of it.
    #[test]
    fn chunking_changes_nothing(
        first in prop::sample::select(seeds()),
        second in prop::sample::select(seeds()),
        changes in changes(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let stream = damage([first, second].concat(), &changes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([stream.len()]) {
            chunks.push(&stream[from..cut]);
            from = cut;
        }
        prop_assert_eq!(framed(&chunks), framed(&[&stream]));
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(framed(&bytes), framed(&[&stream]));
    }

    /// What a builder writes is read back as it was given.
    #[test]
    fn printed_is_read_back(
        method in token(),
        user in "\\PC{1,20}",
        display in "\\PC{0,20}",
        tag in token(),
        call_id in token(),
        number in 0u32..1 << 31,
        hops in any::<u8>(),
        subject in "[!-~]([ -~]{0,40}[!-~])?",
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let uri = ringfork_sip::UriBuf::sip(Some(&user), &ringfork_sip::Host::Domain("example.com"), Some(5070)).unwrap();
        let message = RequestBuilder::new(Method::from_token(method.as_bytes()).unwrap(), uri.as_str())
            .via(rsip::Transport::Tcp, "[2001:db8::7]:5061", "z9hG4bKx")
            .max_forwards(hops)
            .address(HeaderName::From, Some(&display), uri.as_str(), Some(&tag))
            .address(HeaderName::To, None, "sips:h", None)
            .address(HeaderName::Contact, None, uri.as_str(), None)
            .call_id(&call_id)
            .cseq(number)
            .header(HeaderName::Subject, &subject)
            .header_named("X-Own", &subject)
            .body("text/plain", body.clone())
            .build_message()
            .unwrap();
        message.validate().unwrap();
        prop_assert_eq!(message.method().unwrap().as_str(), method);
        prop_assert_eq!(message.uri().unwrap().user_unescaped().unwrap(), user);
        prop_assert_eq!(message.from().unwrap().display_name(), display);
        prop_assert_eq!(message.from_tag(), Some(tag.as_str()));
        prop_assert_eq!(message.call_id(), Some(call_id.as_str()));
        prop_assert_eq!(message.cseq().unwrap().number, number);
        prop_assert_eq!(message.max_forwards(), Some(hops));
        prop_assert_eq!(message.text(HeaderName::Subject).unwrap(), subject.clone());
        prop_assert_eq!(message.fields_named("x-own").next().unwrap().text(), subject);
        prop_assert_eq!(message.body(), body);
        prop_assert!(matches!(message.contacts(), Contacts::List(list) if list.len() == 1));
    }
}
