//! Calls, legs and their events (DESIGN "State in DynamoDB").

use ringfork_state::call::Accepted;
use ringfork_state::{Call, CallDescription, CallStatus, CallWrite, EventKind, Events, Method, StoreError};

use super::Store;
use super::samples::{
    accept, call_sid, callback, event, first_leg, leg_description, next_leg, now, owner, parent_description, planned,
    put_parent,
};

const URL: &str = "https://example.com/status";

pub async fn a_call_is_written_step_by_step(store: impl Store) {
    let (parent, leg) = (call_sid(now()), call_sid(now()));
    let me = owner(1);
    store.write(&me, 1, &put_parent(parent)).await.unwrap();
    let plan = vec![planned(leg, Some(callback(URL, Events::ALL)))];
    store.write(&me, 2, &CallWrite::NameLegs { parent, legs: plan.clone() }).await.unwrap();
    store.write(&me, 3, &accept(parent, leg, 77)).await.unwrap();
    let answered = CallWrite::Parent {
        parent,
        status: CallStatus::InProgress,
        answered_unix_ms: Some(80),
        ended_unix_ms: None,
        settled: false,
    };
    store.write(&me, 4, &answered).await.unwrap();
    let ended = CallWrite::Parent {
        parent,
        status: CallStatus::Completed,
        answered_unix_ms: None,
        ended_unix_ms: Some(90),
        settled: true,
    };
    store.write(&me, 5, &ended).await.unwrap();
    let call = store.call(parent).await.unwrap().unwrap();
    assert_eq!(call.description, parent_description(parent));
    assert_eq!((call.status, call.version, call.open), (CallStatus::Completed, 5, false));
    assert_eq!((call.answered_unix_ms, call.ended_unix_ms), (Some(80), Some(90)));
    assert_eq!((call.legs, call.plan), (vec![leg], plan));
    assert_eq!(call.accepted, Some(Accepted { leg, unix_ms: 77 }));
    assert_eq!(store.call(leg).await, Ok(None));
}

/// The acceptance of a leg answers the call, unless it was answered before.
pub async fn acceptance_answers_the_call(store: impl Store) {
    for before in [None, Some(40)] {
        let (parent, leg) = (call_sid(now()), call_sid(now()));
        store.write(&owner(1), 1, &put_parent(parent)).await.unwrap();
        let prompted = CallWrite::Parent {
            parent,
            status: CallStatus::InProgress,
            answered_unix_ms: before,
            ended_unix_ms: None,
            settled: false,
        };
        store.write(&owner(1), 2, &prompted).await.unwrap();
        store.write(&owner(1), 3, &accept(parent, leg, 77)).await.unwrap();
        let call = store.call(parent).await.unwrap().unwrap();
        assert_eq!((call.status, call.answered_unix_ms), (CallStatus::InProgress, before.or(Some(77))));
    }
}

/// DESIGN: a write whose answer was lost is tried again.
pub async fn each_write_may_be_repeated(store: impl Store) {
    let (parent, leg) = (call_sid(now()), call_sid(now()));
    let about = leg_description(parent, leg);
    let me = owner(1);
    let first = event(&about, 0, EventKind::Initiated, CallStatus::Initiated, URL);
    let second = event(&about, 1, EventKind::Ringing, CallStatus::Ringing, URL);
    let writes = [
        (1, put_parent(parent)),
        (2, CallWrite::NameLegs { parent, legs: vec![planned(leg, None)] }),
        (1, first_leg(&about, CallStatus::Initiated, Some(first))),
        (2, next_leg(leg, CallStatus::Ringing, Some(second.clone()), &[0])),
    ];
    for (version, write) in &writes {
        store.write(&me, *version, write).await.unwrap();
        store.write(&me, *version, write).await.unwrap();
    }
    assert_eq!(store.call(parent).await.unwrap().unwrap().legs, [leg]);
    let stored = store.call(leg).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.next_sequence, stored.events), (2, 2, vec![second]));
}

/// DESIGN: a stale edge's writes fail.
pub async fn another_epoch_is_stale(store: impl Store) {
    let (parent, leg) = (call_sid(now()), call_sid(now()));
    store.write(&owner(2), 1, &put_parent(parent)).await.unwrap();
    for former in [owner(1), owner(3)] {
        assert_eq!(store.write(&former, 1, &put_parent(parent)).await, Err(StoreError::Stale));
        let name = CallWrite::NameLegs { parent, legs: vec![planned(leg, None)] };
        assert_eq!(store.write(&former, 2, &name).await, Err(StoreError::Stale));
    }
    assert_eq!(store.call(parent).await.unwrap().unwrap().version, 1);
}

pub async fn a_write_out_of_turn_is_refused(store: impl Store) {
    let (parent, leg) = (call_sid(now()), call_sid(now()));
    assert_eq!(store.write(&owner(1), 2, &accept(parent, leg, 1)).await, Err(StoreError::NotFound));
    assert_eq!(store.write(&owner(1), 1, &accept(parent, leg, 1)).await, Err(StoreError::NotFound));
    store.write(&owner(1), 1, &put_parent(parent)).await.unwrap();
    assert_eq!(store.write(&owner(1), 3, &accept(parent, leg, 1)).await, Err(StoreError::Conflict));
    store.write(&owner(1), 2, &accept(parent, leg, 1)).await.unwrap();
    assert_eq!(store.write(&owner(1), 1, &put_parent(parent)).await, Err(StoreError::Conflict));
}

/// RCML.md 1.4: a repetition has the same method, URL and body.
pub async fn events_come_back_as_they_were(store: impl Store) {
    let (parent, leg) = (call_sid(now()), call_sid(now()));
    let mut about = leg_description(parent, leg);
    about.sip_headers = vec![("X-Tenant".to_owned(), "7, \"seven\"".to_owned()), ("X-É".to_owned(), "ü".to_owned())];
    let me = owner(1);
    let kinds = [
        (EventKind::Initiated, CallStatus::Initiated),
        (EventKind::Ringing, CallStatus::Ringing),
        (EventKind::Answered, CallStatus::InProgress),
        (EventKind::Completed, CallStatus::Busy),
    ];
    let mut events = Vec::new();
    for (sequence, (kind, status)) in (0_u32..).zip(kinds) {
        let fired = event(&about, sequence, kind, status, URL);
        events.push(fired.clone());
        let write = if sequence == 0 {
            first_leg(&about, status, Some(fired))
        } else {
            next_leg(leg, status, Some(fired), &[])
        };
        store.write(&me, u64::from(sequence) + 1, &write).await.unwrap();
        let stored = store.call(leg).await.unwrap().unwrap();
        assert_eq!(stored.events, events);
        assert_eq!((stored.status, stored.next_sequence), (status, sequence + 1));
    }
    store.write(&me, 5, &CallWrite::ClearEvents { leg, handed_over: vec![0, 2] }).await.unwrap();
    let stored = store.call(leg).await.unwrap().unwrap();
    assert_eq!(stored.events, [events[1].clone(), events[3].clone()]);
    assert_eq!((stored.description, stored.next_sequence, stored.version), (about, 4, 5));
    store.write(&me, 6, &CallWrite::ClearEvents { leg, handed_over: vec![1, 3] }).await.unwrap();
    assert_eq!(store.call(leg).await.unwrap().unwrap().events, []);
}

pub async fn odd_events_come_back_as_they_were(store: impl Store) {
    let (parent, leg) = (call_sid(now()), call_sid(now()));
    let about = leg_description(parent, leg);
    let mut first = event(&about, 0, EventKind::Initiated, CallStatus::Initiated, URL);
    first.method = Method::Get;
    first.parameters.reverse();
    first.parameters.push(("Extra".to_owned(), "1".to_owned()));
    let mut second = event(&about, 1, EventKind::Completed, CallStatus::Failed, URL);
    second.method = Method::Get;
    second.parameters.retain(|(name, _)| name != "CallStatus");
    store.write(&owner(1), 1, &first_leg(&about, CallStatus::Initiated, Some(first.clone()))).await.unwrap();
    store.write(&owner(1), 2, &next_leg(leg, CallStatus::Failed, Some(second.clone()), &[])).await.unwrap();
    assert_eq!(store.call(leg).await.unwrap().unwrap().events, [first, second]);
}

pub async fn the_dial_before_is_still_known(store: impl Store) {
    let parent = call_sid(now());
    let legs: Vec<_> = (0..6).map(|_| call_sid(now())).collect();
    let me = owner(1);
    store.write(&me, 1, &put_parent(parent)).await.unwrap();
    let plan = |range: std::ops::Range<usize>| {
        legs[range].iter().map(|leg| planned(*leg, Some(callback(URL, Events::from(9))))).collect::<Vec<_>>()
    };
    for (version, range) in [(2, 0..2), (3, 2..4), (4, 4..6)] {
        store.write(&me, version, &CallWrite::NameLegs { parent, legs: plan(range) }).await.unwrap();
    }
    let call = store.call(parent).await.unwrap().unwrap();
    assert_eq!((call.plan, call.plan_before, call.legs), (plan(4..6), plan(2..4), legs));
}

pub async fn open_calls_are_found_until_settled(store: impl Store) {
    let me = owner(1);
    let parents: Vec<_> = (0..20_u64).map(|place| call_sid(now() - 100 + place)).collect();
    for parent in &parents {
        store.write(&me, 1, &put_parent(*parent)).await.unwrap();
    }
    assert_eq!(store.open_calls("edge-b", None, 100).await, Ok(vec![]));
    assert_eq!(store.open_calls("edge-a", None, 100).await.unwrap(), parents);
    let first = store.open_calls("edge-a", None, 7).await.unwrap();
    assert_eq!(first, parents[..7]);
    assert_eq!(store.open_calls("edge-a", first.last().copied(), 7).await.unwrap(), parents[7..14]);
    for (place, parent) in parents.iter().enumerate() {
        let over = CallWrite::Parent {
            parent: *parent,
            status: CallStatus::Completed,
            answered_unix_ms: None,
            ended_unix_ms: Some(1),
            settled: place % 2 == 0,
        };
        store.write(&me, 2, &over).await.unwrap();
    }
    assert_eq!(store.open_calls("edge-a", None, 100).await.unwrap().len(), 10);
    for parent in parents.iter().skip(1).step_by(2) {
        store.write(&me, 3, &CallWrite::Settle { parent: *parent }).await.unwrap();
    }
    assert_eq!(store.open_calls("edge-a", None, 100).await, Ok(vec![]));
    assert!(!store.call(parents[1]).await.unwrap().unwrap().open);
}

pub async fn a_reaper_replaces_under_the_version(store: impl Store) {
    let (parent, leg) = (call_sid(now()), call_sid(now()));
    let me = owner(1);
    store.write(&me, 1, &put_parent(parent)).await.unwrap();
    let found = store.read_calls(&[parent, leg]).await.unwrap();
    let [seen] = found.as_slice() else { panic!("{found:?}") };
    let closed =
        Call { status: CallStatus::Failed, owner: owner(2), version: 2, ended_unix_ms: Some(5), ..seen.clone() };
    store.replace_call(&closed).await.unwrap();
    assert_eq!(store.replace_call(&closed).await, Err(StoreError::Conflict));
    assert_eq!(store.call(parent).await, Ok(Some(closed)));
    // The edge that is taken for dead, but lives, is shut out.
    assert_eq!(store.write(&me, 2, &accept(parent, leg, 1)).await, Err(StoreError::Stale));
    let about: CallDescription = leg_description(parent, leg);
    let mut made = Call::new("AC1".to_owned(), about.clone(), CallStatus::Failed, owner(2));
    made.events = vec![];
    store.replace_call(&made).await.unwrap();
    assert_eq!(store.replace_call(&made).await, Err(StoreError::Conflict));
    assert_eq!(store.write(&me, 1, &first_leg(&about, CallStatus::Initiated, None)).await, Err(StoreError::Stale));
    assert_eq!(store.read_calls(&[leg]).await, Ok(vec![made]));
}
