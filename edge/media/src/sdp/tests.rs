//! Rules of RFC 3264 and DESIGN "Media", each by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use crate::g711::Law;
use crate::payload::PayloadMap;

const CALLER: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
    m=audio 49170 RTP/AVP 9 8 0 96 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:96 opus/48000/2\r\n\
    a=fmtp:96 useinbandfec=1;stereo=0\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n\
    a=rtcp:49171\r\na=rtcp-mux\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:xxxx\r\n\
    a=candidate:1 1 UDP 2130706431 192.0.2.10 49170 typ host\r\na=ssrc:1 cname:x\r\na=sendrecv\r\n\
    m=video 51372 RTP/AVP 31\r\na=rtpmap:31 H261/90000\r\n";

fn us(id: u64) -> Session {
    Session::new(id << 2, IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 20000)
}

fn parse(body: &str) -> Description {
    Description::parse(body.as_bytes()).unwrap()
}

fn text(body: bytes::Bytes) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

/// A body with one audio line at 192.0.2.20:30000.
fn body(formats: &str, attributes: &[&str]) -> String {
    let mut body = format!(
        "v=0\r\no=bob 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio 30000 RTP/AVP {formats}\r\n"
    );
    for attribute in attributes {
        body.push_str(&format!("a={attribute}\r\n"));
    }
    body
}

/// Caller and leg after `CALLER` was offered to both and the leg answered `answer`.
fn connected(answer: &str) -> (Session, Session, String) {
    let offer = parse(CALLER);
    let (mut caller, mut leg) = (us(1), us(2));
    leg.make_offer(&Terms::for_leg(CallerMedia::Offered(&offer), false).unwrap());
    leg.accept_answer(answer.as_bytes()).unwrap();
    let answered = caller.make_answer(&offer, &leg.remote_terms().unwrap()).unwrap();
    (caller, leg, text(answered))
}

fn payloads(description: &Description) -> Vec<u8> {
    description.audio().codecs.iter().map(|c| c.payload).collect()
}

#[test]
fn reads_the_audio_line() {
    let caller = parse(CALLER);
    let audio = caller.audio();
    assert_eq!(audio.rtp().unwrap().to_string(), "192.0.2.10:49170");
    assert_eq!(payloads(&caller), [9, 8, 0, 96, 101]);
    assert_eq!(audio.codecs[1], Codec::pcma());
    assert_eq!(audio.codecs[3].channels, 2);
    assert_eq!(audio.codecs[3].fmtp.as_deref(), Some("useinbandfec=1;stereo=0"));
    assert_eq!(audio.telephone_event().unwrap().payload, 101);
    assert_eq!((audio.ptime, audio.direction), (Some(20), Direction::SendRecv));
    assert!(!caller.is_hold());
}

/// DESIGN "Media": the caller's codecs in order with their payload numbers, our address and port; ICE, rtcp-mux, a=rtcp,
/// crypto, candidate and other lines are dropped.
#[test]
fn a_legs_offer_is_the_callers_without_its_transport() {
    let offer = text(us(5).make_offer(&Terms::for_leg(CallerMedia::Offered(&parse(CALLER)), false).unwrap()));
    assert_eq!(
        offer,
        "v=0\r\no=- 5 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
         m=audio 20000 RTP/AVP 9 8 0 96 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1;stereo=0\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    );
}

/// DESIGN "Media": a noun with `url` or a recorded Dial is offered only what we decode.
#[test]
fn decodable_only_keeps_g711_and_events() {
    let terms = Terms::for_leg(CallerMedia::Offered(&parse(CALLER)), true).unwrap();
    assert_eq!(terms.codecs.iter().map(|c| c.payload).collect::<Vec<_>>(), [8, 0, 101]);
    let opus = parse(&body("96 101", &["rtpmap:96 opus/48000/2", "rtpmap:101 telephone-event/8000"]));
    assert_eq!(Terms::for_leg(CallerMedia::Offered(&opus), true), Err(SdpError::NoCodec));
    assert!(Terms::for_leg(CallerMedia::Offered(&opus), false).is_ok());
}

/// Issue 3: an INVITE without SDP: legs are offered PCMU, PCMA and telephone-event; our 200 offers the caller what the
/// accepted leg answered; the ACK's answer is checked.
#[test]
fn a_caller_without_offer() {
    let (mut caller, mut leg) = (us(1), us(2));
    let offer = text(leg.make_offer(&Terms::for_leg(CallerMedia::Nothing, false).unwrap()));
    assert!(offer.contains("m=audio 20000 RTP/AVP 0 8 101\r\n"), "{offer}");
    leg.accept_answer(body("8 101", &["rtpmap:101 telephone-event/8000"]).as_bytes()).unwrap();
    let offer = text(caller.make_offer(&leg.remote_terms().unwrap()));
    assert!(offer.contains("m=audio 20000 RTP/AVP 8 101\r\n"), "{offer}");
    assert_eq!(caller.accept_answer(body("0", &[]).as_bytes()), Err(SdpError::NoCodec));
    assert!(!caller.is_agreed());
    caller.accept_answer(body("8", &[]).as_bytes()).unwrap();
    assert_eq!(caller.g711(), Some((Law::A, 8)));
    assert_eq!(caller.telephone_event(), None);
}

/// DESIGN "Media": for a caller whose offer was answered already, the codecs agreed with it.
#[test]
fn an_answered_caller_gives_its_agreed_codecs() {
    let mut caller = us(1);
    caller.make_answer(&parse(CALLER), &Terms::standard()).unwrap();
    let terms = Terms::for_leg(CallerMedia::Answered(&caller), false).unwrap();
    assert_eq!(terms.codecs.iter().map(|c| c.payload).collect::<Vec<_>>(), [8, 0, 101]);
}

/// Issue 4: a leg that takes only the other law can be had too: the relay transcodes.
#[test]
fn an_answered_callers_leg_is_offered_both_laws() {
    let mut caller = us(1);
    let offer = body("0 101", &["rtpmap:101 telephone-event/8000"]);
    caller.make_answer(&parse(&offer), &Terms::standard()).unwrap();
    let mut leg = us(2);
    leg.make_offer(&Terms::for_leg(CallerMedia::Answered(&caller), true).unwrap());
    leg.accept_answer(body("8 101", &["rtpmap:101 telephone-event/8000"]).as_bytes()).unwrap();
    let (there, back) = (PayloadMap::between(&caller, &leg), PayloadMap::between(&leg, &caller));
    assert_eq!((there.apply(0), back.apply(8), there.apply(101)), (Some(8), Some(0), Some(101)));
}

/// Issue 4: the same for a caller that was not answered yet: it is answered with its own law.
#[test]
fn an_offer_of_one_law_reaches_a_leg_of_the_other() {
    let offer = parse(&body("0 101", &["rtpmap:101 telephone-event/8000"]));
    let terms = Terms::for_leg(CallerMedia::Offered(&offer), false).unwrap();
    assert_eq!(terms.codecs.iter().map(|c| c.payload).collect::<Vec<_>>(), [0, 101, 8]);
    let (mut caller, mut leg) = (us(1), us(2));
    leg.make_offer(&terms);
    leg.accept_answer(body("8 101", &["rtpmap:101 telephone-event/8000"]).as_bytes()).unwrap();
    let answer = text(caller.make_answer(&offer, &leg.remote_terms().unwrap()).unwrap());
    assert!(answer.contains("m=audio 20000 RTP/AVP 0 101\r\n"), "{answer}");
    let (there, back) = (PayloadMap::between(&caller, &leg), PayloadMap::between(&leg, &caller));
    assert_eq!((there.apply(0), back.apply(8), there.apply(101)), (Some(8), Some(0), Some(101)));
    // A codec that both have is never given up for that.
    let (mut caller, both) = (us(1), parse(&body("9 0", &[])));
    let answer = text(caller.make_answer(&both, &Terms::of(&parse(&body("8 9", &[])))).unwrap());
    assert!(answer.contains("RTP/AVP 9\r\n"), "{answer}");
}

/// RFC 3264 §6: as many media lines as offered, the refused ones with port 0; codecs in the offer's order with its
/// payload numbers.
#[test]
fn the_answer_has_the_offers_lines() {
    let (caller, leg, answer) = connected(&body(
        "0 8 97 101",
        &["rtpmap:97 opus/48000/2", "fmtp:97 stereo=1", "rtpmap:101 telephone-event/8000", "fmtp:101 0-15"],
    ));
    assert!(answer.contains("m=audio 20000 RTP/AVP 8 0 96 101\r\n"), "{answer}");
    assert!(answer.contains("a=fmtp:96 stereo=1\r\n") && answer.contains("a=fmtp:101 0-15\r\n"), "{answer}");
    assert!(answer.ends_with("a=sendrecv\r\nm=video 0 RTP/AVP 31\r\n"), "{answer}");
    assert_eq!(caller.telephone_event(), Some((101, 101)));
    // The leg numbered opus otherwise than we offered it: it sends 96 and wants 97.
    let opus = leg.codecs().find(|c| c.codec.name == "opus").unwrap();
    assert_eq!((opus.receive, opus.send), (96, 97));
    assert_eq!(PayloadMap::between(&caller, &leg).apply(96), Some(97));
    assert_eq!(PayloadMap::between(&leg, &caller).apply(97), Some(96));
    assert_eq!(PayloadMap::between(&leg, &caller).apply(0), Some(0));
}

#[test]
fn equal_numbers_need_no_rewriting() {
    let (caller, leg, _) = connected(&body("0 101", &["rtpmap:101 telephone-event/8000"]));
    assert!(PayloadMap::between(&caller, &leg).is_identity());
    assert!(PayloadMap::between(&leg, &caller).is_identity());
}

/// RFC 3264 §6.1: each direction of an offer is answered by what it allows.
#[test]
fn directions_are_mirrored() {
    use Direction::*;
    for (offered, other, answered) in [
        (SendRecv, SendRecv, SendRecv),
        (SendOnly, RecvOnly, RecvOnly),
        (SendOnly, SendRecv, RecvOnly),
        (SendOnly, Inactive, Inactive),
        (RecvOnly, SendOnly, SendOnly),
        (RecvOnly, SendRecv, SendOnly),
        (Inactive, SendRecv, Inactive),
        (SendRecv, RecvOnly, RecvOnly),
        (SendRecv, Inactive, Inactive),
        (RecvOnly, RecvOnly, Inactive),
    ] {
        let mut session = us(1);
        let offer = parse(&body("0", &[offered.as_str()]));
        assert_eq!(offer.audio().direction, offered);
        let answer = session.make_answer(&offer, &Terms::standard().with_direction(other)).unwrap();
        assert_eq!(parse(&text(answer)).audio().direction, answered, "{offered:?} {other:?}");
        assert_eq!(session.direction(), answered);
        assert_eq!(session.on_hold(), answered != SendRecv);
    }
}

/// RFC 3264 §8.4, RFC 2543 B.5: `c=0.0.0.0` is a hold; the direction of a session line counts where the media has none.
#[test]
fn holds() {
    let old = body("0", &[]).replace("c=IN IP4 192.0.2.20", "c=IN IP4 0.0.0.0");
    let description = parse(&old);
    assert!(description.is_hold());
    assert_eq!(description.audio().direction, Direction::SendOnly);
    assert_eq!(description.audio().rtp(), None);
    let session_level = CALLER.replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n").replace("a=sendrecv\r\n", "");
    assert_eq!(parse(&session_level).audio().direction, Direction::Inactive);
    let both = CALLER.replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n");
    assert_eq!(parse(&both).audio().direction, Direction::SendRecv);
}

/// Issue 3: a re-INVITE with an offer (hold) is carried to the other party and its answer back.
#[test]
fn a_hold_is_carried() {
    let (mut caller, mut leg, _) = connected(&body("8 101", &["rtpmap:101 telephone-event/8000"]));
    let hold = parse(&CALLER.replace("a=sendrecv", "a=sendonly").replace("m=video 51372", "m=video 0"));
    assert!(!caller.changes_nothing(&hold));
    let offer = text(leg.make_offer(&Terms::of(&hold)));
    assert!(offer.contains("o=- 2 2 IN") && offer.contains("a=sendonly\r\n"), "{offer}");
    leg.accept_answer(body("8 101", &["rtpmap:101 telephone-event/8000", "recvonly"]).as_bytes()).unwrap();
    let answer = text(caller.make_answer(&hold, &leg.remote_terms().unwrap()).unwrap());
    assert!(answer.contains("o=- 1 2 IN") && answer.contains("a=recvonly\r\n"), "{answer}");
    assert!(caller.on_hold() && leg.on_hold());
    assert!(!caller.direction().sends() && caller.direction().receives());
    assert!(leg.direction().sends() && !leg.direction().receives());
}

/// Issue 3: a refresh that changes nothing we answer ourselves; RFC 3264 §8: our version stays with the same body.
#[test]
fn refreshes_change_nothing() {
    let (mut caller, mut leg, first) = connected(&body("8", &[]));
    let refresh = parse(&CALLER.replace("m=video 51372", "m=video 0").replace("2890844526 IN", "2890844527 IN"));
    assert!(caller.changes_nothing(&refresh));
    let direction = caller.direction();
    assert_eq!(text(caller.answer_ourselves(&refresh, direction).unwrap()), first);
    // The callee's refresh offers what it answered.
    assert!(leg.changes_nothing(&parse(&body("8", &[]))));
    let direction = leg.direction();
    let answer = text(leg.answer_ourselves(&parse(&body("8", &[])), direction).unwrap());
    assert!(answer.contains("m=audio 20000 RTP/AVP 8\r\n"), "{answer}");
    for changed in [body("8", &["sendonly"]), body("0", &[]), body("8", &[]).replace("30000", "30002")] {
        assert!(!leg.changes_nothing(&parse(&changed)), "{changed}");
    }
}

/// Issue 3: a failure there is passed back and changes nothing.
#[test]
fn a_refused_offer_changes_nothing() {
    let (caller, mut leg, _) = connected(&body("8", &[]));
    let before = leg.remote_terms();
    leg.make_offer(&Terms::of(&parse(CALLER)).with_direction(Direction::Inactive));
    assert_eq!(leg.accept_answer(body("18", &[]).as_bytes()), Err(SdpError::NoCodec));
    leg.withdraw_offer();
    assert_eq!(leg.accept_answer(body("8", &[]).as_bytes()), Err(SdpError::NoOffer));
    assert_eq!((leg.remote_terms(), leg.direction()), (before, Direction::SendRecv));
    let mut caller = caller;
    let unknown = parse(&body("18", &[]));
    assert_eq!(caller.make_answer(&unknown, &leg.remote_terms().unwrap()), Err(SdpError::NoCodec));
    assert_eq!(caller.g711(), Some((Law::A, 8)));
}

/// RFC 3264 §8.3.2: within a dialog a dynamic number keeps its codec.
#[test]
fn numbers_keep_their_meaning() {
    let (mut caller, mut leg, _) =
        connected(&body("96 101", &["rtpmap:96 opus/48000/2", "rtpmap:101 telephone-event/8000"]));
    // The callee's re-INVITE uses 96 for events and 111 for opus; to the caller 96 is opus and 101 events for good.
    let offer = parse(&body(
        "111 96 97",
        &["rtpmap:111 opus/48000/2", "rtpmap:96 telephone-event/8000", "rtpmap:97 iLBC/8000"],
    ));
    let carried = text(caller.make_offer(&Terms::of(&offer)));
    assert!(carried.contains("m=audio 20000 RTP/AVP 96 101 97\r\n"), "{carried}");
    assert!(
        carried.contains("a=rtpmap:96 opus/48000/2\r\n") && carried.contains("a=rtpmap:101 telephone-event/8000\r\n")
    );
    assert!(carried.ends_with("m=video 0 RTP/AVP 31\r\n"), "RFC 3264 §8: the lines of the dialog stay: {carried}");
    caller
        .accept_answer(body("96 101", &["rtpmap:96 opus/48000/2", "rtpmap:101 telephone-event/8000"]).as_bytes())
        .unwrap();
    let answer = text(leg.make_answer(&offer, &caller.remote_terms().unwrap()).unwrap());
    assert!(answer.contains("m=audio 20000 RTP/AVP 111 96\r\n"), "{answer}");
    let (there, back) = (PayloadMap::between(&caller, &leg), PayloadMap::between(&leg, &caller));
    assert_eq!([there.apply(96), there.apply(101)], [Some(111), Some(96)]);
    assert_eq!([back.apply(111), back.apply(96)], [Some(96), Some(101)]);
}

/// RCML.md part 2 and DESIGN "Media": no usable audio line, T.38, or SAVP only: 488 with a Warning.
#[test]
fn unusable_offers() {
    let with =
        |line: &str| format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{line}\r\n");
    for (body, reason) in [
        (with("m=video 4000 RTP/AVP 31"), SdpError::NoAudio),
        (with("m=image 4000 udptl t38"), SdpError::NoAudio),
        (with("m=audio 4000 udptl t38"), SdpError::Transport),
        (with("m=audio 0 RTP/AVP 0"), SdpError::NoAudio),
        (with("m=audio 4000 RTP/SAVP 0"), SdpError::Transport),
        (with("m=audio 4000 UDP/TLS/RTP/SAVPF 0"), SdpError::Transport),
        (with("m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000"), SdpError::NoCodec),
        (with("m=audio 4000 RTP/AVP 99"), SdpError::NoCodec),
        (with("m=audio 4000 RTP/AVP"), SdpError::Malformed),
        (with("m=audio 4000 RTP/AVP 0").replace("192.0.2.1\r\nt", "224.2.1.1/127\r\nt"), SdpError::Address),
        (with("m=audio 4000 RTP/AVP 0").replace("c=IN IP4 192.0.2.1\r\n", ""), SdpError::Address),
        (with(""), SdpError::NoAudio),
        ("hello".to_owned(), SdpError::NoAudio),
        (with(&"m=audio 0 RTP/AVP 0\r\n".repeat(MAX_MEDIA + 1)), SdpError::TooLarge),
        (with(&"a=x\r\n".repeat(MAX_BODY)), SdpError::TooLarge),
    ] {
        assert_eq!(Description::parse(body.as_bytes()), Err(reason), "{body:.200}");
    }
    assert_eq!(SdpError::Transport.warning("ringfork.local"), "302 ringfork.local \"Audio needs RTP/AVP\"");
}

/// The first usable audio line is taken, whatever stands before it; the others are refused.
#[test]
fn the_first_usable_line_wins() {
    let offer = parse(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\nc=IN IP4 192.0.2.1\r\n\
         m=image 4002 udptl t38\r\nc=IN IP4 192.0.2.1\r\nm=audio 4004 RTP/AVPF 8 0\r\nc=IN IP4 192.0.2.2\r\n\
         m=audio 4006 RTP/AVP 0\r\nc=IN IP4 192.0.2.3\r\n",
    );
    assert_eq!(offer.audio().rtp().unwrap().to_string(), "192.0.2.2:4004");
    let answer = text(us(1).make_answer(&offer, &Terms::standard()).unwrap());
    let lines: Vec<_> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        ["m=audio 0 RTP/SAVP 0", "m=image 0 udptl t38", "m=audio 20000 RTP/AVPF 8 0", "m=audio 0 RTP/AVP 0"]
    );
}

/// RFC 5118 §4.6, §4.8, §4.9 and RFC 4475 §3.1.1.1: their bodies are read.
#[test]
fn torture_bodies() {
    let ipv6 = "v=0\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\ns=Live video feed for today's meeting\n\
        c=IN IP6 2001:db8::20\nt=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\na=rtpmap:2 G726-32/8000\n\
        m=video 6024 RTP/AVP 107\na=rtpmap:107 H263-1998/90000\n";
    assert_eq!(parse(ipv6).audio().rtp().unwrap().to_string(), "[2001:db8::20]:6000");
    let mapped = ipv6.replace("2001:db8::20", "::ffff:192.0.2.2");
    assert_eq!(parse(&mapped).audio().rtp().unwrap().to_string(), "192.0.2.2:6000");
    let mixed = "v=0\no=bob 280744730 28977631 IN IP4 host.example.com\ns=\nt=0 0\nm=audio 22334 RTP/AVP 0\n\
        c=IN IP4 192.0.2.1\nm=video 6024 RTP/AVP 107\nc=IN IP6 2001:db8::1\na=rtpmap:107 H263-1998/90000\n";
    assert_eq!(parse(mixed).audio().rtp().unwrap().to_string(), "192.0.2.1:22334");
    let old = "v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\nt=0 0\r\n\
        m=audio 49217 RTP/AVP 0 12\r\nm=video 3227 RTP/AVP 31\r\na=rtpmap:31 LPC\r\n";
    assert_eq!(payloads(&parse(old)), [0, 12]);
}

/// Host names, IPv6, and bodies that break RFC 8866 where it does not matter.
#[test]
fn tolerated_bodies() {
    let named = parse(&body("0", &[]).replace("c=IN IP4 192.0.2.20", "c=IN IP4 media.example.com"));
    assert_eq!(named.audio().host, Host::Name("media.example.com".into()));
    assert_eq!((named.audio().rtp(), named.audio().direction), (None, Direction::SendRecv));
    for (from, to) in [
        ("o=bob 1 1 IN", "o=bob 1 -1 IN"),
        ("o=bob 1 1 IN", "o=bob 1 99999999999999999999999 IN"),
        ("o=bob 1 1 IN IP4 192.0.2.20\r\n", ""),
        ("o=bob 1 1 IN", "o=bob the phone 1 1 IN"),
        ("t=0 0\r\n", ""),
        ("t=0 0\r\n", "t=0 0\r\nb=AS:x\r\n"),
        ("s=-\r\n", "s=-\r\ns=-\r\n"),
        ("v=0\r\n", "\r\nv=0\r\n"),
        ("v=0\r\n", ""),
        ("\r\n", "\n"),
        ("\r\n", "\r"),
        ("\r\n", "  \r\n"),
        ("m=audio 30000 RTP/AVP", "m=audio  30000  RTP/AVP "),
        ("c=IN IP4", "c= IN  IP4"),
    ] {
        let bent = body("0 101", &["rtpmap:101  telephone-event/8000 ", "ptime:20"]).replace(from, to);
        let description = Description::parse(bent.as_bytes()).unwrap_or_else(|e| panic!("{e}: {bent}"));
        assert_eq!(payloads(&description), [0, 101], "{bent}");
        assert_eq!(description.audio().ptime, Some(20), "{bent}");
    }
    let mut latin = body("0", &[]).into_bytes();
    let at = latin.iter().position(|b| *b == b's').unwrap() + 2;
    latin.insert(at, 0xe9);
    assert_eq!(payloads(&Description::parse(&latin).unwrap()), [0]);
}

#[test]
fn writes_ipv6() {
    let mut session = Session::new(8, IpAddr::V6(Ipv6Addr::LOCALHOST), 20002);
    let offer = text(session.make_offer(&Terms::standard()));
    assert!(offer.contains("o=- 2 1 IN IP6 ::1\r\n") && offer.contains("c=IN IP6 ::1\r\n"), "{offer}");
    assert_eq!(parse(&offer).audio().rtp().unwrap().to_string(), "[::1]:20002");
}

/// RFC 4867 §8.3.1: AMR with another payload layout is another format.
#[test]
fn amr_layouts_do_not_mix() {
    let mut session = us(1);
    session.make_offer(&Terms::of(&parse(&body("97", &["rtpmap:97 AMR/8000", "fmtp:97 octet-align=1"]))));
    assert_eq!(session.accept_answer(body("97", &["rtpmap:97 AMR/8000"]).as_bytes()), Err(SdpError::NoCodec));
    let aligned = body("97", &["rtpmap:97 amr/8000/1", "fmtp:97 mode-set=7; octet-align=1"]);
    assert_eq!(session.accept_answer(aligned.as_bytes()), Ok(()));
}

/// Redundancy formats name other numbers and are not passed on.
#[test]
fn redundancy_is_dropped() {
    let offer = parse(&body("121 0", &["rtpmap:121 red/8000", "fmtp:121 0/0"]));
    assert_eq!(payloads(&offer), [0]);
}

mod properties {
    use proptest::prelude::*;

    use super::super::*;
    use super::us;
    use crate::payload::PayloadMap;

    const NAMES: [&str; 7] =
        ["opus/48000/2", "telephone-event/8000", "PCMU/8000", "iLBC/8000", "AMR/8000", "G722/8000", "speex/16000"];

    fn direction() -> impl Strategy<Value = Direction> {
        (any::<bool>(), any::<bool>()).prop_map(|(send, receive)| Direction::new(send, receive))
    }

    /// A body with one usable audio line somewhere among others; PCMU or PCMA is always there.
    fn body() -> impl Strategy<Value = String> {
        let formats = prop::collection::vec((96u8..104, 0..NAMES.len()), 0..6);
        (formats, direction(), 0usize..3, 0usize..3, any::<bool>(), prop::option::of(10u32..60)).prop_map(
            |(formats, direction, before, after, mu, ptime)| {
                let other = "m=video 4000 RTP/AVP 31\r\n";
                let mut body = "v=0\r\no=x 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n".to_owned();
                body.push_str(&other.repeat(before));
                body.push_str("m=audio 4002 RTP/AVP");
                for (number, _) in &formats {
                    body.push_str(&format!(" {number}"));
                }
                body.push_str(if mu { " 0\r\n" } else { " 8 0\r\n" });
                for (number, name) in &formats {
                    body.push_str(&format!("a=rtpmap:{number} {}\r\n", NAMES[*name]));
                }
                if let Some(ptime) = ptime {
                    body.push_str(&format!("a=ptime:{ptime}\r\n"));
                }
                body.push_str(&format!("a={}\r\n", direction.as_str()));
                body.push_str(&other.repeat(after));
                body
            },
        )
    }

    /// The `m=` lines of a body.
    fn lines(body: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(body).unwrap();
        text.lines().filter(|line| line.starts_with("m=")).map(str::to_owned).collect()
    }

    fn version(body: &[u8]) -> u64 {
        let text = std::str::from_utf8(body).unwrap();
        text.lines().nth(1).unwrap().split(' ').nth(2).unwrap().parse().unwrap()
    }

    proptest! {
        /// Whatever comes, it is read or refused.
        #[test]
        fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Description::parse(&octets);
        }

        /// Lines of the right shape with anything in them; a body with a hole or a wrong octet.
        #[test]
        fn bent_bodies(
            body in body(),
            soup in prop::collection::vec("(v=0|o=|s=|c=IN IP[46] |t=|m=(audio|video) |a=(rtpmap|fmtp|ptime):)[ -~]{0,30}", 0..12),
            at in any::<prop::sample::Index>(),
            octet in any::<u8>(),
        ) {
            let _ = Description::parse(soup.join("\n").as_bytes());
            let mut bent = body.into_bytes();
            let at = at.index(bent.len());
            bent[at] = octet;
            let _ = Description::parse(&bent);
            bent.remove(at);
            if let Ok(offer) = Description::parse(&bent)
                && let Ok(answer) = us(1).make_answer(&offer, &Terms::of(&offer))
            {
                prop_assert!(Description::parse(&answer).is_ok());
            }
        }

        /// RFC 3264 §6: an answer has the offer's lines, only codecs and directions that were offered, and no other
        /// stream in use.
        #[test]
        fn answers_fit_offers(offer in body(), other in body(), wish in direction()) {
            let described = Description::parse(offer.as_bytes()).unwrap();
            let terms = Terms::of(&Description::parse(other.as_bytes()).unwrap()).with_direction(wish);
            let mut session = us(1);
            let Ok(answer) = session.make_answer(&described, &terms) else { return Ok(()) };
            let (asked, told) = (lines(offer.as_bytes()), lines(&answer));
            prop_assert_eq!(asked.len(), told.len());
            prop_assert_eq!(told.iter().filter(|line| !line.contains(" 0 RTP")).count(), 1);
            let read = Description::parse(&answer).unwrap();
            for codec in &read.audio().codecs {
                let offered = described.audio().codecs.iter().find(|each| each.payload == codec.payload).unwrap();
                prop_assert!(offered.same_format(codec));
                prop_assert!(terms.codecs.iter().any(|each| each.same_format(codec)));
            }
            let (ours, theirs) = (read.audio().direction, described.audio().direction);
            prop_assert!(!ours.sends() || (theirs.receives() && wish.sends()));
            prop_assert!(!ours.receives() || (theirs.sends() && wish.receives()));
            prop_assert_eq!(session.direction(), ours);
        }

        /// Any exchange of offers between two bridged parties: versions never fall and rise just when our body changes
        /// (RFC 3264 §8), our offers give a number the codec that it had last in the dialog (§8.3.2), the lines of a dialog never become fewer,
        /// and every packet that a party may send arrives under a number that the other understands as the same codec.
        #[test]
        fn bridged_sessions(offers in prop::collection::vec((any::<bool>(), body(), body()), 1..8)) {
            let mut sides = [us(1), us(2)];
            let mut last: [Option<(u64, String)>; 2] = [None, None];
            let mut meanings: [std::collections::HashMap<u8, Codec>; 2] = Default::default();
            let mut counts = [0, 0];
            let mut check = |side: usize, body: &[u8], our_offer: bool, said: &[Codec]| {
                for codec in said {
                    meanings[side].insert(codec.payload, codec.clone());
                }
                let (now, text) = (version(body), String::from_utf8(body.to_vec()).unwrap());
                let tail = text.split_once("s=-").unwrap().1.to_owned();
                if let Some((before, former)) = &last[side] {
                    assert_eq!(now - before, u64::from(*former != tail));
                }
                last[side] = Some((now, tail));
                let count = lines(body).len();
                assert!(count >= counts[side]);
                counts[side] = count;
                for codec in &Description::parse(body).unwrap().audio().codecs {
                    let meant = meanings[side].insert(codec.payload, codec.clone());
                    assert!(!our_offer || meant.is_none_or(|meant| meant.same_format(codec)), "{codec:?}");
                }
            };
            for (from_first, offer, answer) in offers {
                let (this, other) = if from_first { (0, 1) } else { (1, 0) };
                let offer = Description::parse(offer.as_bytes()).unwrap();
                if offer.lines.len() < sides[this].remote().map_or(0, |remote| remote.lines.len()) {
                    continue;
                }
                let carried = sides[other].make_offer(&Terms::of(&offer));
                check(other, &carried, true, &[]);
                // The other answers with what it knows of the offer, under the offer's numbers.
                let mut answering = us(9);
                let wish = Terms::of(&Description::parse(answer.as_bytes()).unwrap());
                let read = Description::parse(&carried).unwrap();
                let Ok(answer) = answering.make_answer(&read, &wish) else {
                    sides[other].withdraw_offer();
                    continue;
                };
                if sides[other].accept_answer(&answer).is_err() {
                    sides[other].withdraw_offer();
                    continue;
                }
                let terms = sides[other].remote_terms().unwrap();
                let Ok(told) = sides[this].make_answer(&offer, &terms) else { continue };
                check(this, &told, false, &offer.audio().codecs);
                check(other, &carried, false, &Description::parse(&answer).unwrap().audio().codecs);
                for (from, to) in [(this, other), (other, this)] {
                    let map = PayloadMap::between(&sides[from], &sides[to]);
                    for codec in sides[from].codecs() {
                        if let Some(meant) = sides[to].codecs().find(|each| each.codec.same_format(&codec.codec)) {
                            let arrives = map.apply(codec.receive).unwrap();
                            let heard = sides[to].codecs().find(|each| each.send == arrives).unwrap();
                            prop_assert!(heard.codec.same_format(&meant.codec), "{codec:?} arrives as {arrives}");
                        }
                    }
                }
            }
        }
    }
}

/// What a party wants is told from what it only followed: the answer to a hold of ours is no hold of its own.
#[test]
fn following_a_hold_is_not_holding() {
    let mut leg = us(1);
    leg.make_offer(&Terms::standard().with_direction(Direction::SendOnly));
    leg.accept_answer(body("0", &["recvonly"]).as_bytes()).unwrap();
    assert_eq!(leg.remote_direction(), Some(Direction::SendRecv));
    leg.make_offer(&Terms::standard());
    leg.accept_answer(body("0", &["sendonly"]).as_bytes()).unwrap();
    assert_eq!(leg.remote_direction(), Some(Direction::SendOnly));
    let offer = parse(&body("0", &["recvonly"]));
    leg.make_answer(&offer, &Terms::standard()).unwrap();
    assert_eq!(leg.remote_direction(), Some(Direction::RecvOnly));
}
