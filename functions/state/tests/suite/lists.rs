//! Lists of calls and notifications (RCML.md 3.4).

use ringfork_state::{
    Call, CallFilter, CallSid, CallStatus, CallWrite, Cursor, Level, Notification, NotificationFilter, Page,
    PageRequest,
};

use super::Store;
use super::samples::{ACCOUNT, call_sid, first_leg, leg_description, now, owner, planned, put_parent};

fn sids(page: &Page<Call>) -> Vec<CallSid> {
    page.items.iter().map(|call| call.description.sid).collect()
}

/// Puts parents that were made so many seconds ago and returns them newest first.
async fn parents(store: &impl Store, ages: &[u64]) -> Vec<CallSid> {
    let mut parents = Vec::new();
    for age in ages {
        let parent = call_sid(now() - age);
        store.write(&owner(1), 1, &put_parent(parent)).await.unwrap();
        parents.push(parent);
    }
    parents.sort_unstable_by(|a, b| b.cmp(a));
    parents
}

pub async fn calls_are_listed_newest_first(store: impl Store) {
    assert_eq!(store.calls(&CallFilter::default(), &PageRequest::default()).await, Ok(Page::empty()));
    // Three time buckets, all shards, several in one second.
    let ages: Vec<u64> = (0..25).map(|place| place / 2 * 150_000 + 1).collect();
    let all = parents(&store, &ages).await;
    let ask = |size, cursor| PageRequest { size, cursor };
    let page = store.calls(&CallFilter::default(), &ask(100, Cursor::Newest)).await.unwrap();
    assert_eq!((sids(&page), page.next, page.previous), (all.clone(), None, None));
    let (mut cursor, mut seen, mut last) = (Cursor::Newest, Vec::new(), None);
    loop {
        let page = store.calls(&CallFilter::default(), &ask(4, cursor)).await.unwrap();
        seen.extend(sids(&page));
        match page.next.clone() {
            Some(next) => cursor = next,
            None => {
                last = last.or(Some(page));
                break;
            }
        }
    }
    assert_eq!(seen, all);
    // And back again.
    let last = last.unwrap();
    assert_eq!(sids(&last), all[24..]);
    let back = store.calls(&CallFilter::default(), &ask(4, last.previous.unwrap())).await.unwrap();
    assert_eq!(sids(&back), all[20..24]);
    let back = store.calls(&CallFilter::default(), &ask(30, back.previous.unwrap())).await.unwrap();
    assert_eq!((sids(&back), back.previous), (all[..20].to_vec(), None));
}

pub async fn calls_are_filtered(store: impl Store) {
    let all = parents(&store, &[10, 20, 100_000, 3_000_000]).await;
    let over = CallWrite::Parent {
        parent: all[1],
        status: CallStatus::Completed,
        answered_unix_ms: None,
        ended_unix_ms: Some(1),
        settled: true,
    };
    store.write(&owner(1), 2, &over).await.unwrap();
    let ask = |filter: CallFilter| {
        let store = store.clone();
        async move { sids(&store.calls(&filter, &PageRequest::default()).await.unwrap()) }
    };
    assert_eq!(ask(CallFilter { status: Some(CallStatus::Completed), ..CallFilter::default() }).await, [all[1]]);
    assert_eq!(ask(CallFilter { from: Some("client:carol".to_owned()), ..CallFilter::default() }).await, all);
    assert_eq!(ask(CallFilter { to: Some("nobody".to_owned()), ..CallFilter::default() }).await, []);
    let (from, until) = (Some(all[2].created_unix()), Some(all[0].created_unix()));
    assert_eq!(ask(CallFilter { created_from: from, ..CallFilter::default() }).await, all[..3]);
    assert_eq!(ask(CallFilter { created_until: until, ..CallFilter::default() }).await, all[1..]);
    assert_eq!(ask(CallFilter { created_from: from, created_until: until, ..CallFilter::default() }).await, all[1..3]);
}

pub async fn legs_are_listed_by_their_parent(store: impl Store) {
    let parent = call_sid(now() - 4_000_000);
    let other = call_sid(now());
    store.write(&owner(1), 1, &put_parent(parent)).await.unwrap();
    // 130 legs, made long after their parent: more than one batch of keys.
    let mut legs: Vec<_> = (0..130).map(|_| call_sid(now() - 5)).collect();
    let plan = legs.iter().map(|leg| planned(*leg, None)).collect();
    store.write(&owner(1), 2, &CallWrite::NameLegs { parent, legs: plan }).await.unwrap();
    for leg in &legs {
        store.write(&owner(1), 1, &first_leg(&leg_description(parent, *leg), CallStatus::Busy, None)).await.unwrap();
    }
    legs.sort_unstable_by(|a, b| b.cmp(a));
    let filter = CallFilter { parent: Some(parent), ..CallFilter::default() };
    let page = store.calls(&filter, &PageRequest { size: 100, cursor: Cursor::Newest }).await.unwrap();
    assert_eq!(sids(&page), legs[..100]);
    let rest = store.calls(&filter, &PageRequest { size: 100, cursor: page.next.unwrap() }).await.unwrap();
    assert_eq!((sids(&rest), rest.next), (legs[100..].to_vec(), None));
    let filter = CallFilter { parent: Some(other), ..CallFilter::default() };
    assert_eq!(store.calls(&filter, &PageRequest::default()).await, Ok(Page::empty()));
}

fn notification(call: CallSid, unix_ms: u64, place: u8) -> Notification {
    Notification {
        sid: Notification::new_sid(call, unix_ms, [place; 9]),
        account_sid: ACCOUNT.to_owned(),
        call,
        unix_ms,
        level: if place.is_multiple_of(2) { Level::Error } else { Level::Warning },
        code: 11200,
        message: format!("the document could not be had: {place}"),
        url: Some("https://example.com/voice".to_owned()),
        line: (place == 3).then_some(14),
    }
}

pub async fn notifications_are_listed(store: impl Store) {
    let calls = [call_sid(now() - 100), call_sid(now() - 90)];
    let mut all = Vec::new();
    for place in 0..8_u8 {
        let made = notification(calls[usize::from(place % 2)], (now() - 80) * 1000 + u64::from(place) * 1000, place);
        store.notify(&made).await.unwrap();
        all.insert(0, made);
    }
    let everything = NotificationFilter::default();
    let page = store.notifications(&everything, &PageRequest { size: 5, cursor: Cursor::Newest }).await.unwrap();
    assert_eq!(page.items, all[..5]);
    let rest = store.notifications(&everything, &PageRequest { size: 5, cursor: page.next.unwrap() }).await.unwrap();
    assert_eq!((rest.items.as_slice(), rest.next), (&all[5..], None));
    let own = NotificationFilter { call: Some(calls[0]), ..NotificationFilter::default() };
    let own = store.notifications(&own, &PageRequest::default()).await.unwrap();
    assert_eq!(own.items.iter().map(|one| one.call).collect::<Vec<_>>(), [calls[0]; 4]);
    let late = NotificationFilter { from: Some(now() - 76), ..NotificationFilter::default() };
    assert!(store.notifications(&late, &PageRequest::default()).await.unwrap().items.len() <= 4);
    assert_eq!(store.notification(&all[3].sid).await, Ok(Some(all[3].clone())));
    assert_eq!(store.notification("NO1").await, Ok(None));
}

pub async fn a_notification_is_kept_once(store: impl Store) {
    let call = call_sid(now());
    let mut made = notification(call, now() * 1000, 1);
    made.message = "ü".repeat(2000);
    store.notify(&made).await.unwrap();
    store.notify(&made).await.unwrap();
    let page = store.notifications(&NotificationFilter::default(), &PageRequest::default()).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].message, "ü".repeat(500));
}
