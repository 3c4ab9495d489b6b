//! `<Number>` through a trunk, `<Sip>`, and whom a client's call reaches (RCML.md part 2, "Number", "Sip" and "What the
//! caller's phone gets"; 3.1 "Privacy"; 1.4, legs that cannot be delivered). The trunk is a scripted endpoint, which
//! checks each header.
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use std::net::SocketAddr;

use ringfork_tests::edge::{Edge, PEER};
use ringfork_tests::script::{Endpoint, Sip, digest_response};
use ringfork_tests::sipp::{Scenario, call};
use ringfork_tests::web::{Request, Web};

/// The number that is called.
const NUMBER: &str = "+15551230000";

/// A port for a trunk, free a moment ago, at an address that no other test uses.
fn place(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), ringfork_tests::sipp::free_port(ip))
}

/// An edge with these options and a number that runs this document.
async fn start(options: &[&str], document: &str) -> (Edge, Web) {
    let edge = Edge::start(options).await;
    let web = Web::start().await;
    web.document("/voice", document);
    edge.create_number(NUMBER, &web.url("/voice")).await;
    (edge, web)
}

fn dial(attributes: &str, noun: &str) -> String {
    format!(r#"<Response><Dial action="/action" {attributes}>{noun}</Dial></Response>"#)
}

const TO_NUMBER: &str = r#"<Number statusCallback="/events">+1 (555) 000-7777</Number>"#;

fn statuses(events: &[Request]) -> Vec<&str> {
    events.iter().map(|event| event.parameter("CallStatus")).collect()
}

/// The trunk accepts; the caller hangs up; gives the INVITE that the trunk got last.
async fn complete(caller: &mut Endpoint, draft: &ringfork_tests::script::Draft, trunk: &mut Endpoint, invite: &Sip) {
    trunk.ring(invite, "trunk").await;
    trunk.accept(invite, "trunk").await;
    let answer = caller.final_of(draft).await.expect(200);
    let mut dialog = caller.ack(&answer).await;
    let ack = trunk.request("ACK").await;
    // RFC 3261 §12.2.1.1: by Contact.
    assert_eq!(ack.uri(), trunk.contact("phone").trim_matches(['<', '>']));
    let bye = dialog.draft("BYE");
    caller.send(&bye).await;
    let theirs = trunk.request("BYE").await;
    trunk.ok(&theirs).await;
    caller.final_of(&bye).await.expect(200);
}

/// RCML.md part 2, "Number": visual separators are removed; From is callerId, else the caller's `From` where it is a
/// number, else the trunk's own, also as P-Asserted-Identity; 3.1: with privacy only the trunk gets the identity.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_goes_through_the_trunk() {
    let at = place("127.0.0.21");
    let mut trunk = Endpoint::udp_at("127.0.0.1:9".parse().unwrap(), at).await;
    let uri = format!("sip:{at}");
    let (edge, web) = start(&["--trunk", &uri, "--trunk-caller-id", "+15559990000"], &dial("", TO_NUMBER)).await;
    trunk.remote = edge.sip;
    web.document("/as", &dial(r#"callerId="+15558880000""#, TO_NUMBER));
    edge.create_number("2000", &web.url("/as")).await;
    let mut caller = Endpoint::udp(edge.sip, PEER).await;

    let plain = caller.invite("+15550001111", NUMBER);
    let named = caller.invite("bob", NUMBER);
    let shown = caller.invite("+15550001111", "2000");
    let hidden = caller.invite("+15550001111", NUMBER).with("Privacy: id");
    for (draft, user, asserted, privacy) in [
        (plain, "sip:+15550001111@ringfork.local", "+15550001111", None),
        (named, "sip:+15559990000@ringfork.local", "+15559990000", None),
        (shown, "sip:+15558880000@ringfork.local", "+15558880000", None),
        (hidden, "sip:anonymous@anonymous.invalid", "+15550001111", Some("id")),
    ] {
        caller.send(&draft).await;
        let invite = trunk.request("INVITE").await;
        assert_eq!(invite.uri(), format!("sip:+15550007777@{at}"));
        assert!(invite.header("From").contains(&format!("<{user}>")), "{invite:#?}");
        if privacy.is_some() {
            assert!(invite.header("From").starts_with("\"Anonymous\" <"), "{invite:#?}");
        }
        assert!(
            invite.header("P-Asserted-Identity").contains(&format!("<sip:{asserted}@ringfork.local>")),
            "{invite:#?}"
        );
        assert_eq!(invite.get("Privacy"), privacy);
        assert_eq!(invite.header("Max-Forwards"), "69");
        assert_eq!(invite.header("Expires"), "35");
        complete(&mut caller, &draft, &mut trunk, &invite).await;
    }
    let legs = web.completed("/events", 4).await;
    assert_eq!(legs.len(), 4);
    for events in legs.values() {
        assert_eq!(statuses(events), ["initiated", "ringing", "in-progress", "completed"]);
        // RCML.md 3.1, "Leg": the number as dialed, without separators.
        assert_eq!(events[0].parameter("To"), "+15550007777");
    }
    let mut froms: Vec<_> = legs.values().map(|events| events[0].parameter("From").to_owned()).collect();
    froms.sort();
    assert_eq!(froms, ["+15550001111", "+15558880000", "anonymous", "bob"]);
    edge.settled().await;
}

/// RCML.md 1.2: a 401 or 407 that we can answer is a new INVITE of the same leg: same CallSid, no second event.
#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_challenges() {
    for (status, challenge, header) in [
        ("401 Unauthorized", "WWW-Authenticate", "Authorization"),
        ("407 Proxy Authentication Required", "Proxy-Authenticate", "Proxy-Authorization"),
    ] {
        let at = place("127.0.0.22");
        let mut trunk = Endpoint::udp_at("127.0.0.1:9".parse().unwrap(), at).await;
        let uri = format!("sip:{at}");
        let options = ["--trunk", &uri, "--trunk-user", "ringfork", "--trunk-password", "trunk secret"];
        let (edge, web) = start(&options, &dial("", TO_NUMBER)).await;
        trunk.remote = edge.sip;
        let mut caller = Endpoint::udp(edge.sip, PEER).await;
        let draft = caller.invite("+15550001111", NUMBER);
        caller.send(&draft).await;
        let first = trunk.request("INVITE").await;
        assert_eq!(first.get(header), None);
        let line = format!("{challenge}: Digest realm=\"carrier\", nonce=\"abc123\", qop=\"auth\", algorithm=MD5");
        trunk.reply(&first, status, "c", &[line], "").await;
        trunk.request("ACK").await;
        let second = trunk.request("INVITE").await;
        let value = second.header(header);
        let field = |name| Sip::parameter_of(value, name).unwrap_or_else(|| panic!("no {name} in {value}"));
        assert_eq!((field("username"), field("realm"), field("nonce")), ("ringfork", "carrier", "abc123"));
        assert_eq!(field("uri"), second.uri());
        let expected = digest_response(
            "carrier",
            "abc123",
            "ringfork",
            "trunk secret",
            "INVITE",
            second.uri(),
            1,
            field("cnonce"),
        );
        assert_eq!((field("response"), field("nc")), (expected.as_str(), "00000001"));
        assert_eq!(second.header("Call-ID"), first.header("Call-ID"));
        assert!(!edge.log().contains("trunk secret"));
        complete(&mut caller, &draft, &mut trunk, &second).await;
        let legs = web.completed("/events", 1).await;
        assert_eq!(legs.len(), 1);
        assert_eq!(statuses(legs.values().next().unwrap()), ["initiated", "ringing", "in-progress", "completed"]);
        edge.settled().await;
    }
}

/// RCML.md 1.2: credentials that are wrong end the leg; it is not asked for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_takes_no_credentials() {
    let at = place("127.0.0.23");
    let mut trunk = Endpoint::udp_at("127.0.0.1:9".parse().unwrap(), at).await;
    let uri = format!("sip:{at}");
    let options = ["--trunk", &uri, "--trunk-user", "ringfork", "--trunk-password", "wrong"];
    let (edge, web) = start(&options, &dial("", TO_NUMBER)).await;
    trunk.remote = edge.sip;
    let mut caller = Endpoint::udp(edge.sip, PEER).await;
    let draft = caller.invite("+15550001111", NUMBER);
    caller.send(&draft).await;
    for nonce in ["one", "two"] {
        let invite = trunk.request("INVITE").await;
        let line = format!("WWW-Authenticate: Digest realm=\"carrier\", nonce=\"{nonce}\", qop=\"auth\"");
        trunk.reply(&invite, "401 Unauthorized", "c", &[line], "").await;
        trunk.request("ACK").await;
    }
    let legs = web.completed("/events", 1).await;
    assert_eq!(statuses(legs.values().next().unwrap()), ["initiated", "failed"]);
    assert_eq!(web.wait("/action", 1).await[0].parameter("DialCallStatus"), "failed");
    caller.final_of(&draft).await.expect(480);
}

/// RCML.md 1.4 and part 2: without a trunk the leg fails, with `initiated` and `completed`.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_trunk_the_leg_fails() {
    let (edge, web) = start(&[], &dial("", TO_NUMBER)).await;
    call(&edge, NUMBER, &Scenario::new().call().finally("480")).succeed().await;
    let legs = web.completed("/events", 1).await;
    let events = legs.values().next().unwrap();
    assert_eq!(statuses(events), ["initiated", "failed"]);
    assert_eq!(events[1].parameter("CallDuration"), "0");
    let action = &web.wait("/action", 1).await[0];
    assert_eq!(action.parameter("DialCallStatus"), "failed");
    assert_eq!(action.parameter("DialCallSid"), events[0].parameter("CallSid"));
    edge.settled().await;
}

/// A trunk of two targets: a name's two addresses, `localhost` on IPv4 and IPv6.
struct TwoTargets {
    edge: Edge,
    web: Web,
    caller: Endpoint,
    draft: ringfork_tests::script::Draft,
    /// The one that was tried first, and its INVITE.
    first: Endpoint,
    invite: Sip,
    second: Endpoint,
}

/// The caller calls, and the first target has got its INVITE.
async fn two_targets() -> TwoTargets {
    let port = ringfork_tests::sipp::free_port("::1");
    let six: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    let four: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let listener = format!("[::1]:{}", ringfork_tests::sipp::free_port("::1"));
    let uri = format!("sip:localhost:{port}");
    let (edge, web) = start(&["--trunk", &uri, "--sip", &listener], &dial("", TO_NUMBER)).await;
    let mut six = Endpoint::udp_at(listener.parse().unwrap(), six).await;
    let mut four = Endpoint::udp_at(edge.sip, four).await;
    let mut caller = Endpoint::udp(edge.sip, PEER).await;
    let draft = caller.invite("+15550001111", NUMBER);
    caller.send(&draft).await;
    let (invite, first, second) = tokio::select! {
        invite = six.request("INVITE") => (invite, six, four),
        invite = four.request("INVITE") => (invite, four, six),
    };
    TwoTargets { edge, web, caller, draft, first, invite, second }
}

/// The INVITE of the second target.
async fn next_target(second: &mut Endpoint, invite: &Sip) -> Sip {
    let again = second.request("INVITE").await;
    assert_ne!(again.header("Call-ID"), invite.header("Call-ID"));
    again
}

/// RCML.md 1.2: the next target is an INVITE of the same leg: one CallSid, each event once.
async fn is_one_leg(web: &Web) {
    let legs = web.completed("/events", 1).await;
    assert_eq!(legs.len(), 1, "the same leg");
    assert_eq!(statuses(legs.values().next().unwrap()), ["initiated", "ringing", "in-progress", "completed"]);
}

/// RCML.md part 2, "Number": the next target on 503.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_target_on_503() {
    let TwoTargets { edge, web, mut caller, draft, mut first, invite, mut second } = two_targets().await;
    first.reply(&invite, "503 Service Unavailable", "busy", &[], "").await;
    first.request("ACK").await;
    let again = next_target(&mut second, &invite).await;
    complete(&mut caller, &draft, &mut second, &again).await;
    is_one_leg(&web).await;
    edge.settled().await;
}

/// RCML.md part 2, "Number": the next target after 4 s without any response; a late 2xx of the former is ACKed and
/// BYEd.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_target_after_silence() {
    let TwoTargets { edge, web, mut caller, draft, mut first, invite, mut second } = two_targets().await;
    let again = next_target(&mut second, &invite).await;
    first.accept(&invite, "late").await;
    first.request("ACK").await;
    let bye = first.request("BYE").await;
    assert!(bye.header("To").ends_with("tag=late"), "{bye:#?}");
    first.ok(&bye).await;
    complete(&mut caller, &draft, &mut second, &again).await;
    is_one_leg(&web).await;
    edge.settled().await;
}

/// RCML.md part 2, "Sip": a SIP URI is rung, under the address guard: with `--allow-private-urls` loopback may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_sip_uri_is_rung_under_the_guard() {
    for tcp in [false, true] {
        let at = place("127.0.0.24");
        let transport = if tcp { ";transport=tcp" } else { "" };
        let noun = format!(r#"<Sip statusCallback="/events">sip:carol@{at}{transport}?X-Order=7</Sip>"#);
        if tcp {
            // A stream that nobody takes: undeliverable.
            let (edge, web) = start(&[], &dial("", &noun)).await;
            call(&edge, NUMBER, &Scenario::new().call().finally("480")).succeed().await;
            let legs = web.completed("/events", 1).await;
            assert_eq!(statuses(legs.values().next().unwrap()), ["initiated", "failed"]);
            continue;
        }
        let mut carol = Endpoint::udp_at("127.0.0.1:9".parse().unwrap(), at).await;
        let (edge, web) = start(&[], &dial("", &noun)).await;
        carol.remote = edge.sip;
        let mut caller = Endpoint::udp(edge.sip, PEER).await;
        let draft = caller.invite("+15550001111", NUMBER);
        caller.send(&draft).await;
        let invite = carol.request("INVITE").await;
        assert_eq!(invite.uri(), format!("sip:carol@{at}"));
        assert_eq!(invite.get("P-Asserted-Identity"), None, "only a trunk gets it");
        complete(&mut caller, &draft, &mut carol, &invite).await;
        let legs = web.completed("/events", 1).await;
        let events = legs.values().next().unwrap();
        assert_eq!(statuses(events), ["initiated", "ringing", "in-progress", "completed"]);
        assert_eq!(events[0].parameter("To"), "carol");
        edge.settled().await;
    }
}

/// RCML.md 3.2: without `--allow-private-urls` nothing on loopback is asked or rung. The document itself is refused
/// first, since no server here is public: the caller gets 500. (That a `<Sip>` is refused by itself is the resolver's test.)
#[tokio::test(flavor = "multi_thread")]
async fn the_guard_refuses_loopback() {
    let at = place("127.0.0.25");
    let mut carol = Endpoint::udp_at("127.0.0.1:9".parse().unwrap(), at).await;
    let noun = format!(r#"<Sip statusCallback="/events">sip:carol@{at}</Sip>"#);
    let (edge, web) = start(&["--allow-private-urls=false"], &dial("", &noun)).await;
    carol.remote = edge.sip;
    call(&edge, NUMBER, &Scenario::new().call().finally("500")).succeed().await;
    assert!(web.all().is_empty(), "{:#?}", web.all());
    assert!(carol.is_silent().await);
    edge.settled().await;
}

/// RCML.md part 2: whom a client's call reaches: a number of the account, else another client, nothing else; no way to
/// the trunk.
#[tokio::test(flavor = "multi_thread")]
async fn whom_a_clients_call_reaches() {
    let at = place("127.0.0.26");
    let mut trunk = Endpoint::udp_at("127.0.0.1:9".parse().unwrap(), at).await;
    let uri = format!("sip:{at}");
    let (edge, web) = start(&["--trunk", &uri], &dial("", r#"<Client statusCallback="/events">bob</Client>"#)).await;
    trunk.remote = edge.sip;
    let alice = edge.create_client("alice").await;
    let bob = edge.create_client("bob").await;
    let mut phone = Endpoint::udp(edge.sip, "127.0.0.1").await;
    let contact = phone.contact("bob");
    phone.register("bob", &bob, &contact, &[]).await.expect(200);
    let mut caller = Endpoint::udp(edge.sip, "127.0.0.1").await;
    for target in [NUMBER, "bob"] {
        let mut draft = caller.invite("alice", target);
        caller.call_as("alice", &alice, &mut draft).await;
        let invite = phone.request("INVITE").await;
        assert!(invite.header("From").contains("<sip:alice@ringfork.local>"), "{invite:#?}");
        complete(&mut caller, &draft, &mut phone, &invite).await;
    }
    let legs = web.completed("/events", 1).await;
    assert_eq!(legs.values().next().unwrap()[0].parameter("From"), "client:alice");
    // Both calls and both legs are there; the second pair without any document.
    assert_eq!(web.requests("/voice").len(), 1);
    let calls = edge.rest("GET", "/Calls.json?To=client%3Abob", &[]).await;
    assert!(calls["calls"].as_array().unwrap().len() >= 2, "{calls}");
    // A client without binding, and numbers of the world.
    let mut draft = caller.invite("bob", "alice");
    caller.ask_as("bob", &bob, &mut draft).await.expect(480);
    let mut draft = caller.invite("alice", "+15550007777");
    caller.ask_as("alice", &alice, &mut draft).await.expect(404);
    assert!(trunk.is_silent().await);
    edge.settled().await;
}

/// RCML.md part 2: a client's own VoiceUrl comes first, whatever it dials.
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_own_voice_url() {
    let (edge, web) = start(&[], "<Response><Reject/></Response>").await;
    web.document("/own", r#"<Response><Reject reason="busy"/></Response>"#);
    let url = web.url("/own");
    edge.rest("POST", "/Clients.json", &[("Login", "dora"), ("Password", "Secret-dora-1"), ("VoiceUrl", &url)]).await;
    let mut caller = Endpoint::udp(edge.sip, "127.0.0.1").await;
    for target in [NUMBER, "anything"] {
        let mut draft = caller.invite("dora", target);
        caller.ask_as("dora", "Secret-dora-1", &mut draft).await.expect(486);
    }
    let requests = web.requests("/own");
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].parameter("From"), "client:dora");
    assert_eq!(requests[1].parameter("To"), "anything");
    assert_eq!(requests[1].parameter("Direction"), "inbound");
    assert!(web.requests("/voice").is_empty());
    edge.settled().await;
}
