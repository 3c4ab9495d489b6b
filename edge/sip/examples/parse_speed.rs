//! Cost of reading and answering one message, beside rsip in the same run: nanoseconds of CPU and allocations.
//!
//! `cargo run --release -p ringfork-sip --example parse_speed`. Numbers depend on the machine; the ratios hardly do.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use bytes::Bytes;
use ringfork_sip::{Message, ResponseBuilder};
use rsip::headers::ToTypedHeader;
use rsip::message::HeadersExt;

const INVITE_HEAD: &str = "INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.33:5060;branch=z9hG4bKnashds8;rport\r\n\
    Max-Forwards: 70\r\n\
    To: \"Bob\" <sip:bob@biloxi.example.com>\r\n\
    From: \"Alice\" <sip:alice@atlanta.example.com>;tag=1928301774\r\n\
    Call-ID: a84b4c76e66710c38c9de1d3ab4e5f60@pc33.atlanta.example.com\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@192.0.2.33:5060;transport=udp>\r\n\
    Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, UPDATE, INFO, NOTIFY, REFER, MESSAGE, SUBSCRIBE\r\n\
    Supported: replaces, 100rel, timer, outbound, path\r\n\
    Session-Expires: 1800;refresher=uac\r\n\
    Min-SE: 90\r\n\
    User-Agent: Softphone/6.3.1 (Linux; x86_64)\r\n\
    Accept: application/sdp, application/dtmf-relay\r\n\
    Privacy: none\r\n\
    Authorization: Digest username=\"alice\", realm=\"ringfork.local\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", \
    uri=\"sip:bob@biloxi.example.com\", response=\"6629fae49393a05397450978507c4ef1\", algorithm=MD5, qop=auth, \
    nc=00000001, cnonce=\"0a4f113b\"\r\n\
    Content-Type: application/sdp\r\n";

const SDP: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.33\r\ns=-\r\nc=IN IP4 192.0.2.33\r\nt=0 0\r\n\
    m=audio 49170 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

const REGISTER: &str = "REGISTER sip:ringfork.local SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.33:5060;branch=z9hG4bKnashds9;rport\r\n\
    Max-Forwards: 70\r\n\
    To: <sip:alice@ringfork.local>\r\n\
    From: <sip:alice@ringfork.local>;tag=456248\r\n\
    Call-ID: 843817637684230@998sdasdh09\r\n\
    CSeq: 1826 REGISTER\r\n\
    Contact: <sip:alice@192.0.2.33:5060>;expires=600\r\n\
    Authorization: Digest username=\"alice\", realm=\"ringfork.local\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", \
    uri=\"sip:ringfork.local\", response=\"6629fae49393a05397450978507c4ef1\", algorithm=MD5, qop=auth, nc=00000001, \
    cnonce=\"0a4f113b\"\r\n\
    User-Agent: Softphone/6.3.1 (Linux; x86_64)\r\n\
    Content-Length: 0\r\n\r\n";

/// CPU time of this thread so far, nanoseconds, as Linux counts it: other load on the machine does not show in it.
fn cpu_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Best of several rounds: nanoseconds and allocations of one call.
fn measure<T>(mut run: impl FnMut() -> T) -> (f64, f64) {
    const CALLS: u32 = 20_000;
    let mut best = u64::MAX;
    for _ in 0..15 {
        let start = cpu_time();
        for _ in 0..CALLS {
            black_box(run());
        }
        best = best.min(cpu_time() - start);
    }
    let allocations = allocation_counter::measure(|| drop(black_box(run()))).count_total;
    (best as f64 / f64::from(CALLS), allocations as f64)
}

fn row(what: &str, ours: (f64, f64), theirs: Option<(f64, f64)>) {
    print!("{what:<34} {:>7.0} ns {:>5.1} allocations", ours.0, ours.1);
    match theirs {
        Some(theirs) => {
            println!("   rsip {:>7.0} ns {:>5.1}   {:>5.1} times", theirs.0, theirs.1, theirs.0 / ours.0);
        }
        None => println!(),
    }
}

/// What every request is asked for.
fn typed(message: &Message) -> usize {
    let via = message.top_via().unwrap();
    via.branch().map_or(0, str::len)
        + message.from().unwrap().tag().map_or(0, str::len)
        + message.to().unwrap().uri_text.len()
        + message.cseq().unwrap().number as usize
        + message.contact().unwrap().uri().unwrap().user().map_or(0, str::len)
        + message.uri().unwrap().user().map_or(0, str::len)
}

fn typed_by_rsip(message: &rsip::SipMessage) -> usize {
    message.via_header().unwrap().typed().unwrap().branch().map_or(0, |branch| branch.value().len())
        + message.from_header().unwrap().typed().unwrap().tag().map_or(0, |tag| tag.value().len())
        + message.to_header().unwrap().typed().unwrap().params.len()
        + message.cseq_header().unwrap().typed().unwrap().seq as usize
        + message.contact_header().unwrap().typed().unwrap().params.len()
}

fn main() {
    let invite = format!("{INVITE_HEAD}Content-Length: {}\r\n\r\n{SDP}", SDP.len());
    let source = "192.0.2.33:5060".parse().unwrap();
    for (name, text) in [("INVITE", invite.as_str()), ("REGISTER", REGISTER)] {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        println!("{name}, {} octets", bytes.len());
        let rsip = || rsip::SipMessage::try_from(text.as_bytes()).unwrap();
        let ours = || Message::parse(bytes.clone()).unwrap();
        row("  parse", measure(ours), Some(measure(rsip)));
        row("  parse, validate", measure(|| Message::parse_valid(bytes.clone()).unwrap()), None);
        let theirs = measure(|| {
            let message = rsip();
            (typed_by_rsip(&message), message)
        });
        let own = measure(|| {
            let message = ours();
            (typed(&message), message)
        });
        row("  parse, typed Via From To CSeq …", own, Some(theirs));
        let message = ours();
        row("  clone", measure(|| message.clone()), None);
        row("  200 built from it", measure(|| ResponseBuilder::new(&message, 200, source, Some("tag")).build()), None);
    }
}
