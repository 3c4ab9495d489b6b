//! Trunks and `<Sip>`: addresses, further targets, credentials, session intervals (RCML.md part 2, 1.2).

use std::net::IpAddr;
use std::time::Duration;

use ringfork_rcml::program::Endpoint;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use super::net::{Net, Phone, config, sdp};
use crate::action::ResolvedTarget;
use crate::agent::Trunk;
use crate::control::EventKind;

const CHALLENGE: &str = "Digest realm=\"trunk\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"";

fn setup(targets: &[&str]) -> (Net, Phone, Vec<Phone>) {
    let mut config = config();
    config.trunk = Some(Trunk {
        uri: "sip:trunk.example:5070".into(),
        user: Some("user".into()),
        password: Some("pass".into()),
        caller_id: Some("+1900".into()),
    });
    let mut net = Net::with(config, Vec::new());
    let found =
        targets.iter().map(|address| ResolvedTarget { address: address.parse().unwrap(), tcp: false }).collect();
    net.hosts.insert("trunk.example".into(), found);
    net.dial(&[Endpoint::Number { digits: "+15550001".into() }]);
    let phones = targets.iter().map(|address| Phone::new("trunk", address)).collect();
    (net, Phone::new("+15557", "198.51.100.7:5060"), phones)
}

fn call(net: &mut Net, caller: &Phone) {
    net.send(caller, caller.invite("100", "t1", 1, "", &sdp(caller, "sendrecv")));
}

fn finish(mut net: Net, caller: &Phone) {
    let ok = net.take_code(caller, 200);
    net.send(caller, caller.request("ACK", 1, &ok, "", ""));
    net.send(caller, caller.request("BYE", 2, &ok, "", ""));
    net.assert_clean();
}

/// A target challenges the first INVITE; returns the second, which has credentials.
fn challenged(net: &mut Net, trunk: &Phone) -> Message {
    let first = net.take_method(trunk, Method::Invite);
    assert!(!first.has(HeaderName::ProxyAuthorization));
    net.send(trunk, trunk.respond_with(&first, 407, "c", &[(HeaderName::ProxyAuthenticate, CHALLENGE)], ""));
    net.take_method(trunk, Method::Ack);
    let proved = net.take_method(trunk, Method::Invite);
    assert!(proved.has(HeaderName::ProxyAuthorization));
    proved
}

fn completed(net: &Net) -> usize {
    net.events.iter().filter(|event| event.kind == EventKind::Completed).count()
}

/// RCML.md part 2, Number: Request-URI at the trunk, From and P-Asserted-Identity the caller's number.
#[test]
fn an_invite_to_the_trunk() {
    let (mut net, caller, trunk) = setup(&["203.0.113.90:5070"]);
    call(&mut net, &caller);
    let invite = net.take_method(&trunk[0], Method::Invite);
    assert_eq!(invite.request_uri(), Some("sip:+15550001@trunk.example:5070"));
    assert_eq!(invite.from().unwrap().uri_text, "sip:+15557@ringfork.local");
    let asserted = invite.addresses(HeaderName::PAssertedIdentity).next().unwrap();
    assert_eq!(asserted.uri_text, "sip:+15557@ringfork.local");
    net.send(&trunk[0], trunk[0].respond(&invite, 200, "p1", &sdp(&trunk[0], "sendrecv")));
    net.take_method(&trunk[0], Method::Ack);
    finish(net, &caller);
}

/// RCML.md 1.2: a 407 that we can answer is a new INVITE of the same leg: no second event. The BYE is challenged too.
#[test]
fn credentials_for_the_trunk() {
    let (mut net, caller, trunk) = setup(&["203.0.113.90:5070"]);
    let trunk = &trunk[0];
    call(&mut net, &caller);
    let first = net.take_method(trunk, Method::Invite);
    let challenge = [(HeaderName::ProxyAuthenticate, CHALLENGE)];
    net.send(trunk, trunk.respond_with(&first, 407, "c", &challenge, ""));
    net.take_method(trunk, Method::Ack);
    let again = net.take_method(trunk, Method::Invite);
    assert_eq!((again.call_id(), again.from_tag()), (first.call_id(), first.from_tag()));
    assert_eq!(again.cseq().unwrap().number, 2);
    assert!(again.text(HeaderName::ProxyAuthorization).unwrap().contains("username=\"user\""));
    net.send(trunk, trunk.respond(&again, 200, "p1", &sdp(trunk, "sendrecv")));
    let ack = net.take_method(trunk, Method::Ack);
    assert!(ack.has(HeaderName::ProxyAuthorization), "RFC 3261 §22.1");
    assert_eq!(net.events.iter().filter(|event| event.kind == EventKind::Initiated).count(), 1);
    let ok = net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    net.send(&caller, caller.request("BYE", 2, &ok, "", ""));
    let bye = net.take_method(trunk, Method::Bye);
    let stale = [(HeaderName::ProxyAuthenticate, "Digest realm=\"trunk\", nonce=\"n2\", qop=\"auth\", stale=true")];
    net.send(trunk, trunk.respond_with(&bye, 407, "p1", &stale, ""));
    let bye = net.take_method(trunk, Method::Bye);
    assert!(bye.text(HeaderName::ProxyAuthorization).unwrap().contains("nonce=\"n2\""));
    net.send(trunk, trunk.respond(&bye, 200, "p1", ""));
    net.assert_clean();
}

/// RFC 3261 §22.2: a trunk that asks for credentials anew at a digit gets that digit once more, before the next one.
#[test]
fn a_digit_that_the_trunk_challenges() {
    let (mut net, caller, trunk) = setup(&["203.0.113.90:5070"]);
    let trunk = &trunk[0];
    call(&mut net, &caller);
    let first = net.take_method(trunk, Method::Invite);
    net.send(trunk, trunk.respond_with(&first, 407, "c", &[(HeaderName::ProxyAuthenticate, CHALLENGE)], ""));
    net.take_method(trunk, Method::Ack);
    let invite = net.take_method(trunk, Method::Invite);
    net.send(trunk, trunk.respond(&invite, 200, "p1", &sdp(trunk, "sendrecv")));
    net.take_method(trunk, Method::Ack);
    let ok = net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    let kind = "Content-Type: application/dtmf-relay\r\n";
    for (cseq, key) in [(2, "Signal=1\r\n"), (3, "Signal=2\r\n")] {
        net.send(&caller, caller.request("INFO", cseq, &ok, kind, key));
        net.take_code(&caller, 200);
    }
    let info = net.take_method(trunk, Method::Info);
    assert!(info.text(HeaderName::ProxyAuthorization).unwrap().contains("nonce=\"n1\""));
    let stale = [(HeaderName::ProxyAuthenticate, "Digest realm=\"trunk\", nonce=\"n2\", qop=\"auth\", stale=true")];
    net.send(trunk, trunk.respond_with(&info, 407, "p1", &stale, ""));
    for (key, nonce) in [("Signal=1\r\n", "nonce=\"n2\""), ("Signal=2\r\n", "nonce=\"n2\"")] {
        let info = net.take_method(trunk, Method::Info);
        assert_eq!(info.body(), key.as_bytes());
        assert!(info.text(HeaderName::ProxyAuthorization).unwrap().contains(nonce));
        net.send(trunk, trunk.respond(&info, 200, "p1", ""));
    }
    net.send(&caller, caller.request("BYE", 4, &ok, "", ""));
    net.take_method(trunk, Method::Bye);
    net.assert_clean();
}

/// Wrong credentials end the leg: failed.
#[test]
fn refused_credentials() {
    let (mut net, caller, trunk) = setup(&["203.0.113.90:5070"]);
    let trunk = &trunk[0];
    call(&mut net, &caller);
    for _ in 0..2 {
        let invite = net.take_method(trunk, Method::Invite);
        net.send(trunk, trunk.respond_with(&invite, 407, "c", &[(HeaderName::ProxyAuthenticate, CHALLENGE)], ""));
    }
    net.take_code(&caller, 480);
    assert_eq!(completed(&net), 1);
    net.assert_clean();
}

/// RCML.md 1.2: 422 is answered with the interval that is asked for (RFC 4028 §7.3).
#[test]
fn an_interval_too_small() {
    let (mut net, caller, trunk) = setup(&["203.0.113.90:5070"]);
    let trunk = &trunk[0];
    call(&mut net, &caller);
    let first = net.take_method(trunk, Method::Invite);
    net.send(trunk, trunk.respond_with(&first, 422, "c", &[(HeaderName::MinSe, "3600")], ""));
    let again = net.take_method(trunk, Method::Invite);
    assert_eq!((again.session_expires().unwrap().interval, again.min_se()), (3600, Some(3600)));
    net.send(trunk, trunk.respond(&again, 200, "p1", &sdp(trunk, "sendrecv")));
    finish(net, &caller);
}

/// RFC 7616 §3.4: the INVITE after a 422 is a further request: its credentials are counted on.
#[test]
fn an_interval_too_small_for_a_trunk_that_challenges() {
    let (mut net, caller, trunk) = setup(&["203.0.113.90:5070"]);
    let trunk = &trunk[0];
    call(&mut net, &caller);
    let proved = challenged(&mut net, trunk);
    assert!(proved.text(HeaderName::ProxyAuthorization).unwrap().contains("nc=00000001"));
    net.send(trunk, trunk.respond_with(&proved, 422, "c", &[(HeaderName::MinSe, "3600")], ""));
    let again = net.take_method(trunk, Method::Invite);
    assert!(again.text(HeaderName::ProxyAuthorization).unwrap().contains("nc=00000002"));
    let stale = [(HeaderName::ProxyAuthenticate, "Digest realm=\"trunk\", nonce=\"n2\", qop=\"auth\", stale=true")];
    net.send(trunk, trunk.respond_with(&again, 407, "c", &stale, ""));
    let last = net.take_method(trunk, Method::Invite);
    assert_eq!(last.min_se(), Some(3600));
    net.send(trunk, trunk.respond(&last, 200, "p1", &sdp(trunk, "sendrecv")));
    finish(net, &caller);
}

/// RCML.md part 2: the next target on 503, and on 4 s without any response; a late 2xx of the former is ACKed and ended.
#[test]
fn further_targets() {
    let (mut net, caller, trunk) = setup(&["203.0.113.90:5070", "203.0.113.91:5070", "203.0.113.92:5070"]);
    call(&mut net, &caller);
    let first = net.take_method(&trunk[0], Method::Invite);
    net.send(&trunk[0], trunk[0].respond(&first, 503, "c", ""));
    let second = net.take_method(&trunk[1], Method::Invite);
    net.advance(Duration::from_millis(3_900));
    assert!(!net.has(&trunk[2], &Method::Invite));
    net.advance(Duration::from_millis(200));
    let third = net.take_method(&trunk[2], Method::Invite);
    net.send(&trunk[1], trunk[1].respond(&second, 200, "late", &sdp(&trunk[1], "sendrecv")));
    net.take_method(&trunk[1], Method::Ack);
    net.take_method(&trunk[1], Method::Bye);
    net.send(&trunk[2], trunk[2].respond(&third, 200, "p1", &sdp(&trunk[2], "sendrecv")));
    assert_eq!(net.events.iter().filter(|event| event.kind == EventKind::Initiated).count(), 1);
    finish(net, &caller);
}

/// RCML.md part 2: the next target also where each asks for credentials: each INVITE is a request of its own, with its own
/// answer to a challenge (RFC 3261 §22.2).
#[test]
fn further_targets_that_challenge() {
    for silent in [false, true] {
        let (mut net, caller, trunk) = setup(&["203.0.113.90:5070", "203.0.113.91:5070"]);
        call(&mut net, &caller);
        let proved = challenged(&mut net, &trunk[0]);
        if silent {
            net.advance(Duration::from_millis(4_100));
        } else {
            net.send(&trunk[0], trunk[0].respond(&proved, 503, "c", ""));
        }
        let proved = challenged(&mut net, &trunk[1]);
        net.send(&trunk[1], trunk[1].respond(&proved, 200, "p1", &sdp(&trunk[1], "sendrecv")));
        net.take_method(&trunk[1], Method::Ack);
        assert_eq!(completed(&net), 0);
        finish(net, &caller);
    }
}

/// RCML.md 1.2: an answer that comes too late, or from another branch of a fork, is released: its BYE has credentials of
/// its own (RFC 7616 §3.4: method and count are part of them), and a challenge to it is answered.
#[test]
fn credentials_of_an_answer_that_nobody_wants() {
    for late in [true, false] {
        let (mut net, caller, trunk) = setup(&["203.0.113.90:5070", "203.0.113.91:5070"]);
        call(&mut net, &caller);
        let proved = challenged(&mut net, &trunk[0]);
        let unwanted = trunk[0].respond(&proved, 200, "late", &sdp(&trunk[0], "sendrecv"));
        let wanted = if late {
            net.advance(Duration::from_millis(4_100));
            (&trunk[1], net.take_method(&trunk[1], Method::Invite))
        } else {
            (&trunk[0], proved.clone())
        };
        net.send(wanted.0, wanted.0.respond(&wanted.1, 200, "p1", &sdp(wanted.0, "sendrecv")));
        net.take_method(wanted.0, Method::Ack);
        net.send(&trunk[0], unwanted);
        let ack = net.take_method(&trunk[0], Method::Ack);
        assert_eq!(ack.text(HeaderName::ProxyAuthorization), proved.text(HeaderName::ProxyAuthorization));
        let bye = net.take_method(&trunk[0], Method::Bye);
        assert_eq!(bye.to_tag(), Some("late"));
        assert!(bye.text(HeaderName::ProxyAuthorization).unwrap().contains("nc=00000002"));
        let stale = [(HeaderName::ProxyAuthenticate, "Digest realm=\"trunk\", nonce=\"n2\", qop=\"auth\", stale=true")];
        net.send(&trunk[0], trunk[0].respond_with(&bye, 407, "late", &stale, ""));
        let again = net.take_method(&trunk[0], Method::Bye);
        assert_eq!(again.cseq().unwrap().number, bye.cseq().unwrap().number + 1);
        assert!(again.text(HeaderName::ProxyAuthorization).unwrap().contains("nonce=\"n2\""));
        // It is not tried for ever.
        let wrong = [(HeaderName::ProxyAuthenticate, CHALLENGE)];
        net.send(&trunk[0], trunk[0].respond_with(&again, 407, "late", &wrong, ""));
        assert!(!net.has(&trunk[0], &Method::Bye));
        finish(net, &caller);
    }
}

/// RCML.md 1.4: no address: `initiated`, then `completed` with failed. Timer B is 408: no-answer.
#[test]
fn no_address_and_no_answer() {
    let (mut net, caller, _) = setup(&[]);
    call(&mut net, &caller);
    net.take_code(&caller, 480);
    assert_eq!(completed(&net), 1);
    net.assert_clean();

    let (mut net, caller, _) = setup(&["203.0.113.90:5070"]);
    call(&mut net, &caller);
    net.advance(Duration::from_secs(33));
    net.take_code(&caller, 480);
    let last = net.events.last().unwrap();
    assert!(last.parameters.contains(&("CallStatus".into(), "no-answer".into())));
    net.assert_clean();
}

/// RCML.md 1.2: a 3xx is not followed.
#[test]
fn a_redirection_is_not_followed() {
    let (mut net, caller, trunk) = setup(&["203.0.113.90:5070"]);
    call(&mut net, &caller);
    let invite = net.take_method(&trunk[0], Method::Invite);
    net.send(&trunk[0], trunk[0].respond(&invite, 302, "c", ""));
    net.take_code(&caller, 480);
    let last = net.events.last().unwrap();
    assert!(last.parameters.contains(&("CallStatus".into(), "failed".into())));
    net.assert_clean();
}

/// DESIGN "SIP choices": requests to a trunk follow route set and Contact; its own requests find their dialog.
#[test]
fn the_route_set_is_followed() {
    let (mut net, caller, trunk) = setup(&["203.0.113.90:5070"]);
    call(&mut net, &caller);
    let invite = net.take_method(&trunk[0], Method::Invite);
    let proxy = Phone::new("proxy", "203.0.113.95:5080");
    let answer = trunk[0].respond_with(
        &invite,
        200,
        "p1",
        &[(HeaderName::RecordRoute, "<sip:203.0.113.95:5080;lr>")],
        &sdp(&trunk[0], "sendrecv"),
    );
    net.send(&trunk[0], answer);
    let ack: Message = net.take_method(&proxy, Method::Ack);
    assert_eq!(ack.request_uri(), Some("sip:trunk@203.0.113.90:5070"));
    assert_eq!(ack.addresses(HeaderName::Route).next().unwrap().uri_text, "sip:203.0.113.95:5080;lr");
    finish(net, &caller);
}

/// RCML.md part 2, Sip: each address passes the guard, else the leg fails, and a warning on it says why.
#[test]
fn a_sip_uri_that_the_guard_refuses() {
    let (mut net, caller, _) = setup(&[]);
    let refused: IpAddr = "169.254.169.254".parse().unwrap();
    net.refused.insert("metadata.example".into(), refused);
    net.dial(&[Endpoint::Sip { uri: "sip:carol@metadata.example".into(), username: None, password: None }]);
    call(&mut net, &caller);
    let event = net.events.iter().find(|event| event.kind == EventKind::Completed).unwrap();
    assert!(event.parameters.contains(&("CallStatus".to_owned(), "failed".to_owned())), "{:?}", event.parameters);
    let [notice] = net.notices.as_slice() else { panic!("{:?}", net.notices) };
    assert_eq!((notice.notice.code, notice.call), (13229, event.leg));
    assert!(notice.notice.message.contains("169.254.169.254"), "{}", notice.notice.message);
    net.take_code(&caller, 480);
    net.assert_clean();
}

/// RCML.md part 2, Sip: over TCP where its URI says so; the INVITE waits for the stream.
#[test]
fn a_sip_uri_over_tcp() {
    let (mut net, caller, _) = setup(&[]);
    let mut far = Phone::new("carol", "203.0.113.80:5060");
    far.connection = Some(1 << 63 | 1);
    net.hosts.insert("far.example".into(), vec![ResolvedTarget { address: far.address, tcp: true }]);
    net.dial(&[Endpoint::Sip { uri: "sip:carol@far.example;transport=tcp".into(), username: None, password: None }]);
    call(&mut net, &caller);
    let invite = net.take_method(&far, Method::Invite);
    assert_eq!(invite.request_uri(), Some("sip:carol@far.example;transport=tcp"));
    assert!(invite.contact().unwrap().uri_text.contains("transport=tcp"));
    assert!(!invite.has(HeaderName::PAssertedIdentity));
    net.send(&far, far.respond(&invite, 200, "p1", &sdp(&far, "sendrecv")));
    net.take_method(&far, Method::Ack);
    finish(net, &caller);
}
