//! DESIGN "The split", "State in DynamoDB": what is written, in which order, and when events leave.

use ringfork_rcml::program::{Events, Noun};

use super::bench::*;
use crate::action::StoreError;
use crate::control::Write;

fn unsubscribed(identity: &str) -> Noun {
    Noun { callback: None, ..client(identity) }
}

fn names(t: &Bench) -> Vec<String> {
    let name = |write: &Write| match write {
        Write::PutParent { .. } => "put".to_owned(),
        Write::NameLegs { legs, .. } => format!("name {}", legs.len()),
        Write::Accept { .. } => "accept".to_owned(),
        Write::Parent { status, .. } => format!("parent {}", status.as_str()),
        Write::Leg { status, description, handed_over, event, .. } => format!(
            "leg {}{}{}{}",
            status.as_str(),
            if description.is_some() { " first" } else { "" },
            event.as_ref().map_or(String::new(), |event| format!(" event {}", event.sequence)),
            if handed_over.is_empty() { String::new() } else { format!(" clears {handed_over:?}") },
        ),
        Write::ClearEvents { handed_over, .. } => format!("clear {handed_over:?}"),
    };
    t.writes.iter().map(name).collect()
}

/// DESIGN "Few writes": an answered call with one device and no subscriber costs five.
#[test]
fn writes_of_a_call_without_subscriber() {
    let mut t = dialing(dial([unsubscribed("bob")]), &[("bob", 1)]);
    t.provisional(0, 180);
    t.answers(0);
    t.hangs_up(0);
    assert_eq!(names(&t), ["put", "name 1", "accept", "leg completed first", "parent completed"]);
}

/// DESIGN "Callbacks": the edge clears acknowledged events in the item's next write, the last in one of its own.
#[test]
fn writes_of_a_subscribed_leg() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.provisional(0, 180);
    t.refuses(0, 486);
    let expected = [
        "put",
        "name 1",
        "leg initiated first event 0",
        "leg ringing event 1 clears [0]",
        "leg busy event 2 clears [1]",
        "parent busy",
        "clear [2]",
    ];
    assert_eq!(names(&t), expected);
    assert!(t.finished);
}

/// DESIGN "Few writes": a leg's item is first written with its first subscribed event.
#[test]
fn the_first_subscribed_event_makes_the_item() {
    let events = Events { initiated: false, ringing: false, answered: true, completed: false };
    let mut t = dialing(dial([Noun { callback: Some(callback(events)), ..client("bob") }]), &[("bob", 1)]);
    t.answers(0);
    t.hangs_up(0);
    let legs: Vec<_> = names(&t).into_iter().filter(|name| name.starts_with("leg")).collect();
    assert_eq!(legs, ["leg in-progress first event 0", "leg completed clears [0]"]);
}

/// RCML.md 1.4 "Delivery", DESIGN "Callbacks": the answer of a leg in screening is written down where `completed` is
/// subscribed, since after the edge's death nothing else tells it; without screening the acceptance does.
#[test]
fn the_answer_of_a_screened_leg_is_written() {
    let events = Events { initiated: false, ringing: false, answered: false, completed: true };
    let legs = |noun: Noun| {
        let mut t = dialing(dial([Noun { callback: Some(callback(events)), ..noun }]), &[("bob", 1)]);
        t.answers(0);
        t.hangs_up(0);
        names(&t).into_iter().filter(|name| name.starts_with("leg")).collect::<Vec<_>>()
    };
    assert_eq!(legs(screened("bob", "http://web/screen")), ["leg in-progress first", "leg completed event 0"]);
    assert_eq!(legs(client("bob")), ["leg completed first event 0"]);
    let nobody = |noun: Noun| {
        let mut t = dialing(dial([Noun { callback: None, ..noun }]), &[("bob", 1)]);
        t.answers(0);
        t.hangs_up(0);
        names(&t).into_iter().filter(|name| name.starts_with("leg")).collect::<Vec<_>>()
    };
    assert_eq!(nobody(screened("bob", "http://web/screen")), ["leg completed first"]);
}

/// DESIGN "Callbacks": an event that was handed over unwritten is cleared by a write after its own, not by one that
/// goes before.
#[test]
fn an_unwritten_event_is_cleared_after_its_write() {
    let events = Events { initiated: false, ringing: false, answered: false, completed: true };
    let noun = Noun { callback: Some(callback(events)), ..screened("bob", "http://web/screen") };
    let mut t = dialing(dial([noun]), &[("bob", 1)]);
    t.store = Some(Err(StoreError::Unavailable));
    t.answers(0);
    t.hangs_up(0);
    t.pass(500);
    assert_eq!(t.events.len(), 1, "completed is handed over unwritten");
    t.store = Some(Ok(()));
    t.pass(60_000);
    let legs: Vec<_> =
        names(&t).into_iter().filter(|name| name.starts_with("leg") || name.starts_with("clear")).collect();
    assert!(
        legs.ends_with(&[
            "leg in-progress first".to_owned(),
            "leg completed event 0".to_owned(),
            "clear [0]".to_owned()
        ]),
        "{legs:?}"
    );
}

/// DESIGN "The split": an event not written within half a second is handed over unwritten, once, under the same key.
#[test]
fn an_unwritten_event_leaves_after_half_a_second() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.store = None;
    let before = t.events.len();
    t.provisional(0, 180);
    t.pass(499);
    assert_eq!(t.events.len(), before);
    t.pass(1);
    assert_eq!(t.events.len(), before + 1);
    assert!(t.counts.contains(&"call_events_unwritten_total"));
    t.written(Ok(()));
    assert_eq!(t.events.len(), before + 1);
}

/// DESIGN "Callbacks": the edge hands the event over right after the write.
#[test]
fn an_event_leaves_after_its_write() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.store = None;
    t.provisional(0, 180);
    let before = t.events.len();
    t.written(Ok(()));
    assert_eq!(t.events.len(), before + 1);
}

/// DESIGN "The split": writes of one SID are in order, one at a time; those of others do not wait.
#[test]
fn writes_of_one_sid_are_in_order() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 2)]);
    t.store = None;
    t.provisional(0, 180);
    t.refuses(0, 486);
    t.provisional(1, 180);
    assert_eq!(t.held_writes.len(), 2);
    t.written(Ok(()));
    assert_eq!(t.held_writes.len(), 2);
    assert!(matches!(&t.held_writes[1].1, Write::Leg { ended_unix_ms: Some(_), .. }));
}

/// DESIGN "The split": a write that fails is tried again behind the signalling, with the same content, ten times.
#[test]
fn a_failed_write_is_tried_again() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    let written = t.writes.len();
    t.store = Some(Err(StoreError::Unavailable));
    t.provisional(0, 180);
    assert_eq!(t.writes.len(), written + 1);
    t.pass(250);
    assert_eq!(t.writes.len(), written + 2);
    assert_eq!(t.writes[written], t.writes[written + 1]);
    t.pass_seconds(600);
    assert!(t.counts.contains(&"call_writes_given_up_total"));
    t.store = Some(Ok(()));
    t.pass_seconds(100);
    t.skip();
    assert!(t.finished);
}

/// DESIGN "The split": a store that is away holds nobody up for more than the two waits of 2 s, and the call ends.
#[test]
fn a_call_without_store() {
    let mut t = dialing_without_store();
    t.pass_seconds(2);
    t.says("invite 0");
    t.answers(0);
    t.pass_seconds(2);
    t.says("ring, answer 0, bridge 0");
    t.hangs_up(0);
    t.says("hang up");
    t.pass_seconds(1);
    assert_eq!(t.leg_events(0).len(), 3);
    t.pass_seconds(3600);
    assert!(t.finished);
}

fn dialing_without_store() -> Bench {
    let setup = Setup::new(vec![ringfork_rcml::program::Step::Dial(dial([client("bob")]))]);
    setup.devices("bob", 1).store(Some(Err(StoreError::Unavailable))).start()
}

/// DESIGN "Callbacks": an event that cannot be handed over is tried again and in the end stays with its item.
#[test]
fn a_refused_hand_over_is_tried_again() {
    let events = Events { initiated: true, ringing: false, answered: false, completed: false };
    let mut t = dialing(dial([Noun { callback: Some(callback(events)), ..client("bob") }]), &[("bob", 1)]);
    assert_eq!(t.events.len(), 1);
    let mut t2 = {
        let setup = Setup::new(vec![ringfork_rcml::program::Step::Dial(dial([client("bob")]))]).devices("bob", 1);
        setup.store(None).start()
    };
    t2.hand_over = Some(false);
    t2.release_store();
    t2.refuses(0, 486);
    t2.pass_seconds(120);
    let keys: std::collections::BTreeSet<_> = t2.events.iter().map(|event| event.idempotency_key()).collect();
    assert_eq!((keys.len(), t2.events.len()), (2, 12));
    assert!(t2.finished && !names(&t2).iter().any(|name| name.starts_with("clear")));
    t.refuses(0, 486);
    assert!(t.finished);
}

/// DESIGN "Callbacks": the call is kept until the last event was handed over; it then clears it.
#[test]
fn the_last_events_are_cleared() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.hand_over = None;
    t.refuses(0, 486);
    assert!(t.call.is_over() && !t.finished);
    t.pass_seconds(1080);
    t.handed_over(true);
    assert_eq!(names(&t).last().unwrap(), "clear [1]");
    assert!(t.finished);
}

/// An event handed over before its own write succeeded is cleared by a later write, not by that one.
#[test]
fn a_write_does_not_clear_its_own_event() {
    let mut t = dialing(dial([client("bob")]), &[("bob", 1)]);
    t.store = Some(Err(StoreError::Unavailable));
    t.provisional(0, 180);
    t.pass(600);
    t.store = Some(Ok(()));
    t.pass_seconds(1);
    t.refuses(0, 486);
    let legs: Vec<_> = names(&t).into_iter().filter(|name| name.contains("event 1") || name.contains("busy")).collect();
    assert!(legs.iter().filter(|name| name.contains("event 1")).all(|name| !name.contains("1]")), "{legs:?}");
    assert!(legs.iter().any(|name| name == "leg busy event 2 clears [1]"), "{legs:?}");
}
