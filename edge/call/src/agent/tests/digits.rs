//! Digits by SIP INFO (RCML.md part 2, Gather; RFC 6086): told to control, or carried over a bridge.

use std::time::Duration;

use ringfork_rcml::program::{DocumentRef, Gather, Method as Http, Program, Screening, Step};
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use super::calls::{ring, setup};
use super::dialogs::{body, bridged, finish};
use super::net::{Net, Phone, sdp, sdp_of};
use crate::action::{Input, MediaAction, MediaId};

const RELAY: &str = "Content-Type: application/dtmf-relay\r\n";
const PLAIN: &str = "Content-Type: application/dtmf\r\n";
const ACTION: &str = "http://app.example/digits";

/// One Gather that ends with `#`.
fn gather() -> Step {
    Step::Gather(Box::new(Gather {
        action: DocumentRef { url: ACTION.into(), method: Http::Post },
        prompts: Vec::new(),
        timeout: 5,
        finish_on_key: Some('#'),
        num_digits: None,
        action_on_empty_result: false,
    }))
}

/// What the Gather's action was asked with.
fn gathered(net: &Net) -> Option<&str> {
    let request = net.asked.iter().find(|request| request.document.url == ACTION)?;
    request.parameters.iter().find(|(name, _)| name == "Digits").map(|(_, digits)| digits.as_str())
}

/// Keys that the media shell is to send, and to whom.
fn keys(net: &Net) -> Vec<(MediaId, char)> {
    let key = |action: &MediaAction| match action {
        MediaAction::Key { media, key } => Some((*media, *key)),
        _ => None,
    };
    net.media.iter().filter_map(key).collect()
}

/// The caller's media session and the leg's.
fn sessions(net: &Net) -> (MediaId, MediaId) {
    let bridge = net.media.iter().find_map(|action| match action {
        MediaAction::Bridge { a, b, .. } => Some((*a, *b)),
        _ => None,
    });
    bridge.expect("a bridge")
}

/// The media session of the caller whose keys are told.
fn attended(net: &Net) -> MediaId {
    let media = net.media.iter().find_map(|action| match action {
        MediaAction::Attend { media } => Some(*media),
        _ => None,
    });
    media.expect("an attended caller")
}

/// A caller in a Gather, and its 200.
fn gathering() -> (Net, Phone, Message) {
    let (mut net, caller, _) = setup(&[]);
    net.program = Program { steps: vec![gather()] };
    net.programs.insert(ACTION, Program { steps: vec![Step::Hangup] });
    ring(&mut net, &caller, &[]);
    let ok = net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    (net, caller, ok)
}

/// docs/operations.md "Limits": a caller whose phone is gone is found in a verb that waits for it, not on hold.
#[test]
fn a_caller_that_is_gone() {
    let (mut net, caller, ok) = gathering();
    let media = attended(&net);
    net.send(&caller, caller.request("INVITE", 2, &ok, "", &sdp(&caller, "sendonly")));
    net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 2, &ok, "", ""));
    net.handle(Input::MediaSilent { media });
    assert_eq!(net.agent.gauges().calls, 1, "on hold");
    net.send(&caller, caller.request("INVITE", 3, &ok, "", &sdp(&caller, "sendrecv")));
    net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 3, &ok, "", ""));
    net.handle(Input::MediaSilent { media });
    let bye = net.take_method(&caller, Method::Bye);
    net.send(&caller, caller.respond(&bye, 200, "", ""));
    assert_eq!(net.agent.gauges().legs, 0);
    net.advance(Duration::from_secs(64));
    net.assert_clean();
}

/// RCML.md part 2, Gather: keys of both content types, and those of RFC 4733 among them, in the order in which they came.
#[test]
fn an_entry_of_the_caller() {
    let (mut net, caller, ok) = gathering();
    let media = attended(&net);
    for (cseq, kind, text) in [
        (2, RELAY, "Signal=1\r\nDuration=40\r\n"),
        (3, PLAIN, "1"),
        (4, RELAY, "Signal=10\r\nDuration=40"),
        (5, PLAIN, "a\r\n"),
    ] {
        let info = caller.request("INFO", cseq, &ok, kind, text);
        net.send(&caller, info.clone());
        net.take_code(&caller, 200);
        // Our 200 was lost: the same request once more is the same key.
        net.send(&caller, info);
        net.take_code(&caller, 200);
    }
    net.handle(Input::Digit { media, key: '7' });
    net.send(&caller, caller.request("INFO", 6, &ok, RELAY, "Signal=#\r\nDuration=40\r\n"));
    net.take_code(&caller, 200);
    assert_eq!(gathered(&net), Some("11*A7"));
    net.take_method(&caller, Method::Bye);
    net.assert_clean();
}

/// RCML.md part 2, Gather: a phone that tells each press in both forms has pressed once, whichever comes first.
#[test]
fn a_press_told_twice() {
    let (mut net, caller, ok) = gathering();
    let media = attended(&net);
    let mut cseq = 1;
    for (key, by_info_first) in [('1', false), ('1', true), ('2', false), ('2', false), ('3', true), ('#', true)] {
        cseq += 1;
        let info = caller.request("INFO", cseq, &ok, RELAY, &format!("Signal={key}\r\n"));
        if !by_info_first {
            net.handle(Input::Digit { media, key });
        }
        net.send(&caller, info);
        net.take_code(&caller, 200);
        if by_info_first {
            net.handle(Input::Digit { media, key });
        }
    }
    assert_eq!(gathered(&net), Some("11223"));
    net.take_method(&caller, Method::Bye);
    net.assert_clean();
}

/// The same form twice is two presses; and so is the other form, once the first is long past.
#[test]
fn presses_of_one_form() {
    let (mut net, caller, ok) = gathering();
    let media = attended(&net);
    net.handle(Input::Digit { media, key: '1' });
    net.handle(Input::Digit { media, key: '1' });
    net.advance(Duration::from_millis(4100));
    for (cseq, key) in [(2, '1'), (3, '2'), (4, '2'), (5, '#')] {
        net.send(&caller, caller.request("INFO", cseq, &ok, PLAIN, &key.to_string()));
        net.take_code(&caller, 200);
    }
    assert_eq!(gathered(&net), Some("11122"));
    net.take_method(&caller, Method::Bye);
    net.assert_clean();
}

/// In a bridge the telephone events of a party are relayed where the other agreed to them: its INFOs of the same presses
/// are not passed on too. Before its first event nobody knows that there will be one.
#[test]
fn a_press_told_twice_in_a_bridge() {
    let (mut net, caller, bob, ok, _) = bridged();
    let (from_caller, _) = sessions(&net);
    for (cseq, key, by_info_first) in [(2, '1', false), (3, '2', true), (4, '3', false)] {
        if !by_info_first {
            net.handle(Input::Digit { media: from_caller, key });
        }
        net.send(&caller, caller.request("INFO", cseq, &ok, PLAIN, &key.to_string()));
        net.take_code(&caller, 200);
        if by_info_first {
            net.handle(Input::Digit { media: from_caller, key });
        }
    }
    assert!(!net.has(&bob, &Method::Info) && keys(&net).is_empty());
    finish(net, &caller, &ok);
}

/// RFC 3264 §6.1: a party that did not agree to telephone events gets by INFO what the other one presses by them.
#[test]
fn a_party_without_telephone_events() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    let invites = ring(&mut net, &caller, &phones);
    net.send(bob, bob.respond(&invites[0], 200, "p1", &sdp_of(bob, "0 8", "sendrecv")));
    net.take_method(bob, Method::Ack);
    let ok = net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    let (from_caller, _) = sessions(&net);
    for (cseq, key) in [(2, '1'), (3, '#')] {
        net.handle(Input::Digit { media: from_caller, key });
        // Its INFO of the same press is not a second one.
        net.send(&caller, caller.request("INFO", cseq, &ok, PLAIN, &key.to_string()));
        net.take_code(&caller, 200);
        let info = net.take_method(bob, Method::Info);
        assert_eq!(body(&info), format!("Signal={key}\r\nDuration=100\r\n"));
        assert_eq!(format!("Content-Type: {}\r\n", info.text(HeaderName::ContentType).unwrap()), RELAY);
        net.send(bob, bob.respond(&info, 200, "p1", ""));
        assert!(!net.has(bob, &Method::Info));
    }
    finish(net, &caller, &ok);
}

/// RCML.md 1.3: a leg in screening presses its keys by INFO too; they are not the caller's.
#[test]
fn an_entry_of_a_leg_in_screening() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    let document = DocumentRef { url: "http://app.example/screen".into(), method: Http::Post };
    if let Some(Step::Dial(dial)) = net.program.steps.first_mut() {
        dial.nouns[0].screening = Some(Screening { document, timeout: 60 });
    }
    net.programs.insert("http://app.example/screen", Program { steps: vec![gather(), Step::Hangup] });
    net.programs.insert(ACTION, Program::default());
    let invites = ring(&mut net, &caller, &phones);
    net.send(bob, bob.respond(&invites[0], 200, "p1", &sdp(bob, "sendrecv")));
    net.take_method(bob, Method::Ack);
    net.send(bob, bob.request_back("INFO", 1, &invites[0], "p1", RELAY, "Signal=4\r\n"));
    net.take_code(bob, 200);
    net.send(bob, bob.request_back("INFO", 2, &invites[0], "p1", PLAIN, "#"));
    net.take_code(bob, 200);
    assert_eq!(gathered(&net), Some("4"));
    let ok = net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    assert!(!net.has(&caller, &Method::Info));
    finish(net, &caller, &ok);
}

/// RFC 6086 §4.2.2: a body of another type gets 415 with what we take, an Info Package 469; a digit body that names no
/// key of ours is received all the same, and so is an INFO without a body. RFC 3261 §12.2.2: an unknown dialog 481, a
/// request that another overtook 500.
#[test]
fn what_is_no_digit() {
    let (mut net, caller, ok) = gathering();
    for (cseq, kind, text, code) in [
        (2, RELAY, "Signal=16\r\nDuration=200\r\n", 200),
        (3, RELAY, "Signal=\r\n", 200),
        (4, RELAY, "\u{fe}\u{ff}\r\n\r\n=", 200),
        (5, PLAIN, "12", 200),
        (6, PLAIN, "", 200),
        (7, "", "", 200),
        (8, "Content-Type: application/media_control+xml\r\n", "<media_control/>", 415),
        (9, "", "v=0", 415),
        (12, "Info-Package: dtmf\r\nContent-Type: application/dtmf-relay\r\n", "Signal=9\r\n", 469),
        (10, RELAY, "Signal=9\r\n", 500),
    ] {
        net.send(&caller, caller.request("INFO", cseq, &ok, kind, text));
        let response = net.take_code(&caller, code);
        match code {
            415 => assert_eq!(
                response.text(HeaderName::Accept).as_deref(),
                Some("application/dtmf-relay, application/dtmf")
            ),
            469 => assert_eq!(response.text(HeaderName::RecvInfo).as_deref(), Some("")),
            _ => {}
        }
    }
    let foreign = caller.request("INFO", 13, &ok, RELAY, "Signal=9\r\n").replace("tag=fc1", "tag=other");
    net.send(&caller, foreign);
    net.take_code(&caller, 481);
    net.send(&caller, caller.request("INFO", 14, &ok, RELAY, "Signal=3\r\n"));
    net.take_code(&caller, 200);
    net.advance(Duration::from_secs(5));
    assert_eq!(gathered(&net), Some("3"));
    net.take_method(&caller, Method::Bye);
    net.assert_clean();
}

/// RCML.md part 2: in a bridge digits are passed on as they came; other INFOs are not.
#[test]
fn digits_are_passed_on() {
    let (mut net, caller, bob, ok, invite) = bridged();
    for (cseq, kind, text) in [(2, RELAY, "Signal=5\r\nDuration=160\r\n"), (3, PLAIN, "6"), (4, RELAY, "Signal=16")] {
        net.send(&caller, caller.request("INFO", cseq, &ok, kind, text));
        net.take_code(&caller, 200);
        let info = net.take_method(&bob, Method::Info);
        assert_eq!(body(&info), text);
        assert_eq!(format!("Content-Type: {}\r\n", info.text(HeaderName::ContentType).unwrap()), kind);
        net.send(&bob, bob.respond(&info, 200, "p1", ""));
    }
    net.send(&bob, bob.request_back("INFO", 1, &invite, "p1", "Content-Type: text/html\r\n", "x"));
    net.take_code(&bob, 415);
    assert!(!net.has(&caller, &Method::Info) && keys(&net).is_empty());
    finish(net, &caller, &ok);
}

/// RFC 6086 §4.4, RFC 3261 §12.2.2: INFO has no order of its own, and a party must refuse one that another overtook: the
/// next digit leaves when the one before it is answered, so that a lost packet delays the entry and nothing more.
#[test]
fn digits_are_passed_on_in_order() {
    let (mut net, caller, bob, ok, _) = bridged();
    let typed = "11223344556677889900";
    for (cseq, key) in (2..).zip(typed.chars()) {
        net.send(&caller, caller.request("INFO", cseq, &ok, PLAIN, &key.to_string()));
        net.take_code(&caller, 200);
    }
    let (mut heard, mut last) = (String::new(), 0);
    for place in 0..typed.len() {
        let mut info = net.take_method(&bob, Method::Info);
        assert!(!net.has(&bob, &Method::Info), "one at a time");
        if place % 10 == 3 {
            // It was lost on the way.
            net.advance(Duration::from_millis(600));
            info = net.take_method(&bob, Method::Info);
        }
        let cseq = info.cseq().unwrap().number;
        assert!(cseq > last);
        last = cseq;
        heard.push_str(&body(&info));
        net.send(&bob, bob.respond(&info, 200, "p1", ""));
    }
    assert_eq!(heard, typed);
    finish(net, &caller, &ok);
}

/// RCML.md part 2: a party whose Allow lacks INFO gets the digit as RFC 4733 says.
#[test]
fn a_party_that_takes_no_info() {
    let (mut net, caller, bob, ok, invite) = bridged();
    let (to_caller, _) = sessions(&net);
    for (cseq, kind, text) in [(1, RELAY, "Signal=11\r\n"), (2, PLAIN, "8"), (3, RELAY, "Signal=16\r\n")] {
        net.send(&bob, bob.request_back("INFO", cseq, &invite, "p1", kind, text));
        net.take_code(&bob, 200);
    }
    assert_eq!(keys(&net), [(to_caller, '#'), (to_caller, '8')]);
    assert!(!net.has(&caller, &Method::Info));
    // It was offered telephone events, and took them.
    let formats = net.media.iter().rev().find_map(|action| match action {
        MediaAction::Peer { media, formats, .. } if *media == to_caller => Some(formats.clone()),
        _ => None,
    });
    assert_eq!(formats.unwrap().keys, Some(101));
    finish(net, &caller, &ok);
}

/// The same of a party that refuses the one that it is asked; the digits that wait lose nothing by it. Some phones take
/// one of the two content types, and say 488 to the other.
#[test]
fn a_party_that_refuses_info() {
    for code in [400, 405, 415, 469, 488, 501] {
        let (mut net, caller, bob, ok, _) = bridged();
        let (_, to_bob) = sessions(&net);
        for (cseq, key) in (2..).zip(["1", "2", "2", "3"]) {
            net.send(&caller, caller.request("INFO", cseq, &ok, PLAIN, key));
            net.take_code(&caller, 200);
        }
        let info = net.take_method(&bob, Method::Info);
        net.send(&bob, bob.respond(&info, 200, "p1", ""));
        let info = net.take_method(&bob, Method::Info);
        net.send(&bob, bob.respond(&info, code, "p1", ""));
        assert_eq!(keys(&net), [(to_bob, '2'), (to_bob, '2'), (to_bob, '3')]);
        net.send(&caller, caller.request("INFO", 6, &ok, PLAIN, "4"));
        assert_eq!(keys(&net).last(), Some(&(to_bob, '4')));
        assert!(!net.has(&bob, &Method::Info));
        finish(net, &caller, &ok);
    }
}

/// One that takes no telephone events either loses what it refuses, and nothing else.
#[test]
fn a_party_that_takes_no_digits() {
    let (mut net, caller, phones) = setup(&["bob"]);
    let bob = &phones[0];
    let invites = ring(&mut net, &caller, &phones);
    net.send(bob, bob.respond(&invites[0], 200, "p1", &sdp_of(bob, "0 8", "sendrecv")));
    net.take_method(bob, Method::Ack);
    let ok = net.take_code(&caller, 200);
    net.send(&caller, caller.request("ACK", 1, &ok, "", ""));
    for (cseq, key) in [(2, "1"), (3, "2")] {
        net.send(&caller, caller.request("INFO", cseq, &ok, PLAIN, key));
        net.take_code(&caller, 200);
    }
    for (code, key) in [(500, "1"), (200, "2")] {
        let info = net.take_method(bob, Method::Info);
        assert_eq!(body(&info), key);
        net.send(bob, bob.respond(&info, code, "p1", ""));
    }
    assert!(keys(&net).is_empty());
    assert!(net.logs.iter().any(|line| line.contains("answered with 500")));
    finish(net, &caller, &ok);
}

/// A party that answers no INFO keeps its call; digits from half a minute ago are not sent. At most 64 wait.
#[test]
fn a_party_that_answers_no_info() {
    let (mut net, caller, bob, ok, _) = bridged();
    for cseq in 2..68 {
        net.send(&caller, caller.request("INFO", cseq, &ok, PLAIN, "1"));
        net.take_code(&caller, 200);
    }
    assert_eq!(net.logs.iter().filter(|line| line.contains("too many wait")).count(), 2);
    net.advance(Duration::from_secs(33));
    net.sent.clear();
    net.advance(Duration::from_secs(33));
    assert!(!net.has(&bob, &Method::Info) && keys(&net).is_empty());
    assert_eq!(net.agent.gauges().calls, 1);
    net.send(&caller, caller.request("INFO", 70, &ok, PLAIN, "5"));
    let info = net.take_method(&bob, Method::Info);
    assert_eq!(body(&info), "5");
    // The call ends while it is under way.
    net.send(&caller, caller.request("INFO", 71, &ok, PLAIN, "6"));
    net.send(&caller, caller.request("BYE", 90, &ok, "", ""));
    net.take_method(&bob, Method::Bye);
    net.send(&bob, bob.respond(&info, 200, "p1", ""));
    assert!(!net.has(&bob, &Method::Info));
    net.assert_clean();
}
