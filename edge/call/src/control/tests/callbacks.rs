//! RCML.md 1.4: events, their order, their parameters, and what `completed` carries.

use ringfork_rcml::program::{Events, Method};

use super::bench::*;
use crate::control::CallerInfo;
use crate::control::signals::{CallInput, LegId};

/// RCML.md 1.4: the four events of an answered leg, numbered from 0 in the order fired.
#[test]
fn the_events_of_an_answered_leg() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.provisional(0, 180);
    t.provisional(0, 183);
    t.answers(0);
    t.pass_seconds(3);
    t.hangs_up(0);
    let expected = ["Initiated initiated", "Ringing ringing", "Answered in-progress", "Completed completed"];
    assert_eq!(t.leg_events(0), expected);
    assert_eq!(t.events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(t.completed(0), ("completed".into(), "3".into()));
}

/// RCML.md 1.4 and 3.1: every parameter of a leg's event, in order, and none beyond.
#[test]
fn every_parameter_of_an_event() {
    let caller = CallerInfo {
        from_user: Some("+15557".into()),
        display_name: Some("Ann".into()),
        called: "+15550".into(),
        forwarded_from: Some("+15559".into()),
        headers: vec![("X-Own".into(), "no".into())],
        ..CallerInfo::default()
    };
    let mut noun = client("bob");
    noun.headers = vec![("X-Tenant".into(), "7".into())];
    let verbs = vec![ringfork_rcml::program::Step::Dial(dial([noun]))];
    let mut t = Setup::new(verbs).caller(caller).devices("bob", 1).start();
    t.pass(999);
    t.refuses(0, 486);
    let (leg, parent) = (t.invites[0].sid.to_string(), t.call.sid().to_string());
    let expected = [
        ("CallSid", leg.as_str()),
        ("AccountSid", "AC1"),
        ("From", "+15557"),
        ("To", "client:bob"),
        ("CallStatus", "busy"),
        ("ApiVersion", "2012-04-24"),
        ("Direction", "outbound-dial"),
        ("CallerName", "Ann"),
        ("SipHeader_X-Tenant", "7"),
        ("CallDuration", "0"),
        ("Timestamp", "Mon, 15 Aug 2005 15:52:01 +0000"),
        ("CallbackSource", "call-progress-events"),
        ("SequenceNumber", "1"),
        ("ParentCallSid", parent.as_str()),
    ];
    let sent: Vec<_> = t.events[1].parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(sent, expected);
    assert_eq!((t.events[1].url.as_str(), t.events[1].method), (CALLBACK, Method::Post));
    assert_eq!(parameter(&t.events[0].parameters, "CallDuration"), "(absent)");
}

/// RCML.md 1.4: what `completed` carries for each way in which a leg ends unanswered.
#[test]
fn the_status_of_a_refused_leg() {
    let busy = [486, 600, 603].map(|code| (code, "busy"));
    let no_answer = [408, 480, 487].map(|code| (code, "no-answer"));
    let failed = [300, 302, 400, 404, 488, 500, 503, 604, 606].map(|code| (code, "failed"));
    for (code, status) in busy.into_iter().chain(no_answer).chain(failed) {
        let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
        t.refuses(0, code);
        assert_eq!(t.completed(0), (status.into(), "0".into()), "{code}");
    }
}

/// RCML.md 1.4: a leg whose INVITE cannot be delivered has initiated and then completed with failed.
#[test]
fn an_undeliverable_leg() {
    let mut t = dialing(dial([number("+15551")]), &[]);
    t.input(CallInput::LegUndeliverable { leg: LegId(0) });
    assert_eq!(t.leg_events(0), ["Initiated initiated", "Completed failed"]);
}

/// RCML.md 1.4: a 200 OK without a usable audio answer: failed, duration 0, no `answered`.
#[test]
fn an_unusable_answer() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.provisional(0, 183);
    t.input(CallInput::LegUnusable { leg: LegId(0) });
    assert_eq!(t.leg_events(0), ["Initiated initiated", "Ringing ringing", "Completed failed"]);
    assert_eq!(t.completed(0).1, "0");
}

/// RCML.md 1.4 "Decided": SequenceNumber counts the events that are sent; each subset of the four.
#[test]
fn the_sequence_counts_what_is_sent() {
    for bits in 0..16u8 {
        let has = |bit: u8| bits & (1 << bit) != 0;
        let events = Events { initiated: has(0), ringing: has(1), answered: has(2), completed: has(3) };
        let noun = ringfork_rcml::program::Noun { callback: Some(callback(events)), ..client("bob") };
        let mut t = dialing(dial([noun]), &[("bob", 1)]);
        t.provisional(0, 180);
        t.answers(0);
        t.hangs_up(0);
        let sequence: Vec<_> = t.events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequence, (0..bits.count_ones()).collect::<Vec<_>>());
        assert!(t.finished);
    }
}

/// DESIGN "State in DynamoDB": no subscriber, no event.
#[test]
fn without_subscriber_there_is_no_event() {
    let noun = ringfork_rcml::program::Noun { callback: None, ..client("bob") };
    let mut t = dialing(dial([noun]), &[("bob", 1)]);
    t.answers(0);
    t.hangs_up(0);
    assert!(t.events.is_empty() && t.finished);
}

/// RCML.md "Terms": durations are whole seconds, rounded down.
#[test]
fn durations_are_rounded_down() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.answers(0);
    t.pass(1_999);
    t.hangs_up(0);
    assert_eq!(t.completed(0).1, "1");
}

/// RCML.md 3.3: the idempotency key is that of one event.
#[test]
fn each_event_has_a_key_of_its_own() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 3)]);
    (0..3).for_each(|leg| t.provisional(leg, 180));
    t.cancels();
    let keys: std::collections::BTreeSet<_> = t.events.iter().map(|event| event.idempotency_key()).collect();
    assert_eq!((keys.len(), t.events.len()), (9, 9));
}
