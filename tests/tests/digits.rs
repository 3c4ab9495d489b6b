//! Digits by each method from real clients into `<Gather>`, also with a tenth of all packets lost, and across a bridge
//! (RCML.md part 2, "Gather"; issue 4). The entries are 20 digits typed fast, 40 ms of tone and 40 ms between them where
//! the phone can, with the same key twice and more.
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use std::path::Path;

use ringfork_tests::baresip::{ADDRESS, Softphone, in_namespace, tenths_at, tone_file};
use ringfork_tests::edge::Edge;
use ringfork_tests::keys::{Ear, Press, Typing, typed};
use ringfork_tests::losses::Losses;
use ringfork_tests::script::{Endpoint, Sip, sdp};
use ringfork_tests::sipp::{Place, Run, Scenario, call_from};
use ringfork_tests::web::{Answer, Web};

/// 20 digits; the last one ends the entry.
const ENTRY: &str = "11223344556677889900";
/// The same key many times over.
const REPEATED: &str = "00000777777788800000";
/// An entry that its `#` ends, and what it comes to.
const ENDED: (&str, &str) = ("*12*3300#", "*12*3300");

const RELAY: &str = "application/dtmf-relay";
const PLAIN: &str = "application/dtmf";

/// An edge at this address, and numbers whose callers type.
struct Numbers {
    edge: Edge,
    web: Web,
    folder: tempfile::TempDir,
    taken: u16,
}

impl Numbers {
    async fn start(ip: &str) -> Numbers {
        let folder = tempfile::tempdir().unwrap();
        let edge = Edge::start_over(&folder.path().join("data"), &format!("{ip}:5060"), &[]).await;
        Numbers { edge, web: Web::start().await, folder, taken: 0 }
    }

    /// Another number, and the ports of its caller. What is nested in its Gather: `prompts`.
    async fn another(&mut self, prompts: &str) -> (String, Place) {
        self.taken += 1;
        let number = (2000 + self.taken).to_string();
        let gather = format!(
            r##"<Response><Gather finishOnKey="#" numDigits="20" timeout="10" action="BASE/digits/{number}">{prompts}</Gather></Response>"##
        );
        self.web.document(&format!("/voice/{number}"), &gather);
        self.web.document(&format!("/digits/{number}"), r#"<Response><Pause length="60"/></Response>"#);
        self.edge.create_number(&number, &self.web.url(&format!("/voice/{number}"))).await;
        (number, Place { sip: 7000 + 10 * self.taken, media: 12_000 + 10 * self.taken })
    }

    /// What came of the entry at a number: once, and so.
    async fn assert_entered(&self, number: &str, expected: &str, how: &str) {
        let requests = self.web.wait(&format!("/digits/{number}"), 1).await;
        let digits: Vec<_> = requests.iter().map(|request| request.parameter("Digits")).collect();
        assert_eq!(digits, [expected], "{how}");
    }

    fn capture(&self, number: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("{number}.pcap"))
    }
}

/// A caller that types by RTP, hears the Gather out and hangs up.
fn by_rtp(typing: Typing, keys: &str, capture: &Path) -> Scenario {
    let lasts = typing.write(keys, capture).as_millis() as u32;
    let call = Scenario::new().call().events_as(typing.payload).finally("200").ack();
    call.play(capture).pause(lasts + 400).hang_up()
}

/// A caller that types by INFO, each as soon as the one before it is answered.
fn by_info(content_type: &str, keys: &str) -> Scenario {
    let body = |key: char| match content_type {
        RELAY => format!("Signal={key}\nDuration=40\n"),
        _ => format!("{key}\n"),
    };
    let call = Scenario::new().call().finally("200").ack();
    (2..).zip(keys.chars()).fold(call, |call, (cseq, key)| call.info(cseq, content_type, &body(key)))
}

/// The same, which then hangs up.
fn entry_by_info(content_type: &str, keys: &str) -> Scenario {
    by_info(content_type, keys).pause(200).hang_up_as(2 + keys.len() as u32)
}

/// What is entered: its keys, and what the action is to get.
fn entries() -> [(&'static str, &'static str); 3] {
    [(ENTRY, ENTRY), (REPEATED, REPEATED), ENDED]
}

type Entering = (Run, String, &'static str, String);

/// Waits for entries that are under way at once.
async fn assert_all_entered(numbers: &Numbers, entering: Vec<Entering>) {
    for (_, number, expected, how) in &entering {
        numbers.assert_entered(number, expected, how).await;
    }
    for (run, ..) in entering {
        run.succeed().await;
    }
    numbers.edge.settled().await;
}

/// RFC 4733 with the payload number 101 and another one, with the marker bit and without, and as sipp itself types.
#[test]
fn entries_by_rtp() {
    in_namespace("entries_by_rtp_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that entries_by_rtp makes"]
async fn entries_by_rtp_inside() {
    let mut numbers = Numbers::start("127.0.0.1").await;
    let mut entering = Vec::new();
    for (payload, marker) in [(101, true), (101, false), (96, true), (96, false)] {
        for (keys, expected) in entries() {
            let (number, place) = numbers.another("").await;
            let typing = Typing { payload, marker };
            let scenario = by_rtp(typing, keys, &numbers.capture(&number));
            let run = call_from(&numbers.edge, &number, &scenario, place);
            entering.push((run, number, expected, format!("{typing:?}")));
        }
    }
    for (keys, expected) in entries() {
        let (number, place) = numbers.another("").await;
        let call = Scenario::new().call().events_as(96).finally("200").ack();
        let run = call_from(&numbers.edge, &number, &call.play_keys(keys, 50).pause(3500).hang_up(), place);
        entering.push((run, number, expected, "sipp's own".into()));
    }
    assert_all_entered(&numbers, entering).await;
}

/// SIP INFO by both content types.
#[test]
fn entries_by_info() {
    in_namespace("entries_by_info_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that entries_by_info makes"]
async fn entries_by_info_inside() {
    let mut numbers = Numbers::start("127.0.0.1").await;
    let mut entering = Vec::new();
    for content_type in [RELAY, PLAIN] {
        for (keys, expected) in entries() {
            let (number, place) = numbers.another("").await;
            let run = call_from(&numbers.edge, &number, &entry_by_info(content_type, keys), place);
            entering.push((run, number, expected, content_type.into()));
        }
    }
    assert_all_entered(&numbers, entering).await;
}

/// One packet in ten is lost each way: every tenth, ten times with another one at the beginning; and four in a row of
/// forty, which leave one packet of a press. RFC 4733 §2.5.1.4 sends the end three times for this.
#[test]
fn entries_by_rtp_with_losses() {
    in_namespace("entries_by_rtp_with_losses_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that entries_by_rtp_with_losses makes"]
async fn entries_by_rtp_with_losses_inside() {
    let mut numbers = Numbers::start("127.0.0.1").await;
    let losses = Losses::new();
    let mut entering = Vec::new();
    for phase in 0..10 {
        let row = 4 * phase;
        for lost in [format!("inc mod 10 == {phase}"), format!("inc mod 40 == {row}-{}", row + 3)] {
            let (number, place) = numbers.another("").await;
            losses.lose(&format!("udp sport {}", place.media), &lost);
            losses.lose(&format!("udp dport {}", place.media), &lost);
            let typing = Typing { payload: if phase % 3 == 0 { 96 } else { 101 }, marker: phase % 2 == 0 };
            let entry = if phase % 2 == 0 { ENTRY } else { REPEATED };
            let scenario = by_rtp(typing, entry, &numbers.capture(&number));
            let run = call_from(&numbers.edge, &number, &scenario, place);
            entering.push((run, number, entry, format!("{typing:?}, lost: {lost}")));
        }
    }
    assert_all_entered(&numbers, entering).await;
    losses.assert_each_lost();
}

/// The same for INFO: what is lost is sent again (RFC 3261 §17.1.2), and counts once.
#[test]
fn entries_by_info_with_losses() {
    in_namespace("entries_by_info_with_losses_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that entries_by_info_with_losses makes"]
async fn entries_by_info_with_losses_inside() {
    let mut numbers = Numbers::start("127.0.0.1").await;
    let losses = Losses::new();
    let mut entering = Vec::new();
    for phase in 0..10 {
        let (number, place) = numbers.another("").await;
        for (port, phase) in [("sport", phase), ("dport", (phase + 5) % 10)] {
            losses.lose(&format!("udp {port} {}", place.sip), &format!("inc mod 10 == {phase}"));
        }
        let content_type = if phase % 2 == 0 { RELAY } else { PLAIN };
        let entry = if phase % 4 < 2 { ENTRY } else { REPEATED };
        let run = call_from(&numbers.edge, &number, &entry_by_info(content_type, entry), place);
        entering.push((run, number, entry, format!("{content_type}, lost: {phase}")));
    }
    assert_all_entered(&numbers, entering).await;
    losses.assert_each_lost();
}

/// A real softphone's keys, typed while it hears a prompt: without a loss, and with every tenth packet lost each way.
#[test]
fn entries_by_a_softphone() {
    in_namespace("entries_by_a_softphone_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that entries_by_a_softphone makes"]
async fn entries_by_a_softphone_inside() {
    const PROMPT: f64 = 1230.0;
    let mut numbers = Numbers::start(ADDRESS).await;
    numbers.web.answer("/prompt.wav", Answer::File("audio/wav", tone_file(PROMPT as u32, 20)));
    let prompts = format!("<Play>{}</Play>", numbers.web.url("/prompt.wav"));
    let losses = Losses::new();
    let mut phones = Vec::new();
    for (index, (lost, keys, expected)) in (0u16..).zip([
        (None, ENDED.0, ENDED.1),
        (Some(0), ENTRY, ENTRY),
        (Some(3), REPEATED, REPEATED),
        (Some(7), ENTRY, ENTRY),
    ]) {
        let login = format!("phone{index}");
        let password = numbers.edge.create_client(&login).await;
        let (number, _) = numbers.another(&prompts).await;
        let port = 6710 + 20 * index;
        if let Some(lost) = lost {
            let (first, last) = Softphone::rtp_ports(port).into_inner();
            for packets in [
                format!("udp sport {first}-{last}"),
                format!("udp dport {first}-{last}"),
                format!("udp sport {port}"),
                format!("udp dport {port}"),
            ] {
                losses.lose(&packets, &format!("inc mod 10 == {lost}"));
            }
        }
        let account = Softphone::account(&numbers.edge, &login, &password);
        let phone = Softphone::start(&account, port, 440, &[&format!("/dial sip:{number}@ringfork.local")]);
        phones.push((phone, number, keys, expected, lost));
    }
    for (phone, _, keys, ..) in &phones {
        ringfork_tests::eventually("the prompt", async || (tenths_at(&phone.heard(), PROMPT).len() >= 3).then_some(()))
            .await;
        for key in keys.chars() {
            phone.press(key).await;
        }
    }
    for (phone, number, _, expected, lost) in &mut phones {
        numbers.assert_entered(number, expected, &format!("lost: {lost:?}")).await;
        phone.close().await;
    }
    numbers.edge.settled().await;
}

/// A scripted phone that is registered as `bob`.
async fn bob(numbers: &Numbers) -> Endpoint {
    let password = numbers.edge.create_client("bob").await;
    let mut phone = Endpoint::udp(numbers.edge.sip, "127.0.0.1").await;
    let contact = phone.contact("bob");
    phone.register("bob", &password, &contact, &[]).await.expect(200);
    phone
}

/// A number that dials a client.
async fn dialing(numbers: &Numbers, client: &str) {
    let dial = format!("<Response><Dial><Client>{client}</Client></Dial></Response>");
    numbers.web.document("/dial", &dial);
    numbers.edge.create_number("1000", &numbers.web.url("/dial")).await;
}

/// Answers with telephone events under this number at this ear.
async fn accept(phone: &mut Endpoint, invite: &Sip, ear: &Ear, payload: u8, allow: &str) {
    let body = sdp(phone.local.ip())
        .replace("m=audio 40000", &format!("m=audio {}", ear.local.port()))
        .replace("0 8 101", &format!("0 8 {payload}"))
        .replace("rtpmap:101 ", &format!("rtpmap:{payload} "));
    let headers = [
        format!("Contact: {}", phone.contact("bob")),
        format!("Allow: {allow}"),
        "Content-Type: application/sdp".to_owned(),
    ];
    phone.reply(invite, "200 OK", "ear", &headers, &body).await;
    phone.request("ACK").await;
}

/// All that a stream of presses must be: in order, one stream, each with its end three times (RFC 4733 §2.5.1).
fn assert_typed(presses: &[Press], expected: &str, duration: u16) {
    assert_eq!(typed(presses), expected);
    for press in presses {
        assert_eq!((press.ssrc, press.ends), (presses[0].ssrc, 3), "{press:?}");
        assert!(press.durations.is_sorted() && press.durations.last() == Some(&duration), "{press:?}");
        assert!(press.sequence.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{press:?}");
    }
    let apart = |pair: &[Press]| pair[1].timestamp.wrapping_sub(pair[0].timestamp);
    assert!(presses.windows(2).all(|pair| apart(pair) >= duration.into()), "{presses:?}");
}

const PLACE: Place = Place { sip: 7000, media: 12_000 };

/// RFC 4733 across the bridge: packets are relayed as they are, under the number that the other party chose.
#[test]
fn events_are_relayed() {
    in_namespace("events_are_relayed_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that events_are_relayed makes"]
async fn events_are_relayed_inside() {
    let numbers = Numbers::start("127.0.0.1").await;
    let mut phone = bob(&numbers).await;
    dialing(&numbers, "bob").await;
    for (theirs, ours) in [(101, 101), (96, 101), (101, 97)] {
        let ear = Ear::open("127.0.0.1").await;
        let typing = Typing { payload: theirs, marker: true };
        let scenario = by_rtp(typing, ENTRY, &numbers.capture("1000"));
        let run = call_from(&numbers.edge, "1000", &scenario, PLACE);
        let invite = phone.request("INVITE").await;
        assert!(invite.body.contains(&format!("rtpmap:{theirs} telephone-event/8000")), "{invite:#?}");
        accept(&mut phone, &invite, &ear, ours, "INVITE, ACK, BYE, CANCEL").await;
        let presses = ear.presses(ENTRY.len(), ours).await;
        assert_typed(&presses, ENTRY, 320);
        assert!(presses.iter().all(|press| press.marker && press.durations == [160, 320, 320, 320, 320]));
        let bye = phone.request("BYE").await;
        phone.ok(&bye).await;
        run.succeed().await;
        numbers.edge.settled().await;
    }
}

/// INFO across the bridge to a party that takes none: as RFC 4733 says, in the order in which they came, however fast.
#[test]
fn info_becomes_events() {
    in_namespace("info_becomes_events_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that info_becomes_events makes"]
async fn info_becomes_events_inside() {
    let numbers = Numbers::start("127.0.0.1").await;
    let mut phone = bob(&numbers).await;
    dialing(&numbers, "bob").await;
    let losses = Losses::new();
    for port in ["sport", "dport"] {
        losses.lose(&format!("udp {port} {}", PLACE.sip), "inc mod 10 == 4");
    }
    for (content_type, payload) in [(RELAY, 101), (PLAIN, 96)] {
        let ear = Ear::open("127.0.0.1").await;
        // It stays until all was heard: a key lasts 160 ms, its pause included.
        let run = call_from(&numbers.edge, "1000", &by_info(content_type, ENTRY).hung_up(), PLACE);
        let invite = phone.request("INVITE").await;
        accept(&mut phone, &invite, &ear, payload, "INVITE, ACK, BYE, CANCEL").await;
        let presses = ear.presses(ENTRY.len(), payload).await;
        assert_typed(&presses, ENTRY, 800);
        assert!(presses.iter().all(|press| press.marker && press.sequence.len() == 7));
        let mut dialog = ringfork_tests::script::Dialog::of_callee(&invite, "ear");
        phone.hang_up(&mut dialog).await;
        run.succeed().await;
        numbers.edge.settled().await;
    }
    losses.assert_each_lost();
}

/// What a softphone says that it got, in order: by `received DTMF: '5'` or `received event: '5' (end=0)`.
fn received(phone: &Softphone, line: &str) -> String {
    let log = phone.log();
    let keys = log.lines().filter(|text| !text.contains("end=1"));
    keys.filter_map(|text| text.split_once(line)?.1.chars().next()).collect()
}

/// INFO across the bridge to a softphone that takes it, with packets lost: each digit arrives once and in order, though
/// each INFO is a transaction of its own (RFC 6086 §4.4). Then by the content type that it refuses, which becomes
/// RFC 4733; and RFC 4733 from its other party.
#[test]
fn a_softphone_gets_digits() {
    in_namespace("a_softphone_gets_digits_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that a_softphone_gets_digits makes"]
async fn a_softphone_gets_digits_inside() {
    let numbers = Numbers::start(ADDRESS).await;
    let password = numbers.edge.create_client("alice").await;
    let mut alice = Softphone::start(&Softphone::account(&numbers.edge, "alice", &password), 6710, 440, &[]);
    ringfork_tests::eventually("a registration", async || {
        (numbers.edge.metric("ringfork_bindings").await == 1.0).then_some(())
    })
    .await;
    dialing(&numbers, "alice").await;
    let losses = Losses::new();
    // Its answers are not lost: it counts an INFO that comes again because of that twice (it has no transaction for it).
    losses.lose("udp dport 6710", "inc mod 10 == 7");
    losses.lose(&format!("udp sport {}", PLACE.sip), "inc mod 10 == 2");
    losses.lose(&format!("udp dport {}", PLACE.sip), "inc mod 10 == 7");
    losses.lose(&format!("udp sport {}", PLACE.media), "inc mod 10 == 5");
    let typing = Typing { payload: 101, marker: false };
    let (info, event) = ("received DTMF: '", "received event: '");
    let by_events = by_rtp(typing, REPEATED, &numbers.capture("1000"));
    let mut expected = (String::new(), String::new());
    for (scenario, by_info, by_event) in [
        (by_info(RELAY, ENTRY).hung_up(), ENTRY, ""),
        (by_info(PLAIN, ENTRY).hung_up(), "", ENTRY),
        (by_events, "", REPEATED),
    ] {
        expected.0.push_str(by_info);
        expected.1.push_str(by_event);
        let run = call_from(&numbers.edge, "1000", &scenario, PLACE);
        ringfork_tests::eventually("all digits", async || {
            let received = (received(&alice, info).len(), received(&alice, event).len());
            (received.0 >= expected.0.len() && received.1 >= expected.1.len()).then_some(())
        })
        .await;
        // A caller that types by INFO stays until all was heard: what was lost is late.
        if by_event != REPEATED {
            alice.command("hangup", "").await;
        }
        run.succeed().await;
        numbers.edge.settled().await;
    }
    alice.close().await;
    assert_eq!((received(&alice, info), received(&alice, event)), expected);
    losses.assert_each_lost();
}
