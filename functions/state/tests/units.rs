//! What the store costs, counted by the engine (DESIGN "State in DynamoDB"): calls, registrations, lookups.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "suite/samples.rs"]
mod samples;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringfork_state::dynamodb::{DynamoStore, Meter, client_with};
use ringfork_state::{
    Binding, Bindings, CallStatus, CallWrite, Calls, Directory, DirectoryAdmin, Edges, EventKind, Events, Expect,
    Renewal,
};
use samples::{
    accept, application, binding, call_sid, callback, client, event, first_leg, leg_description, long_url, next_leg,
    now, number, owner, planned, put_parent,
};

/// Units by operation, in order.
#[derive(Default)]
struct Counted(Mutex<Vec<(&'static str, f64)>>);

impl Meter for Counted {
    fn consumed(&self, _table: &'static str, operation: &'static str, units: f64) {
        self.0.lock().unwrap().push((operation, units));
    }
}

impl Counted {
    fn take(&self) -> Vec<f64> {
        self.0.lock().unwrap().drain(..).map(|(_, units)| units).collect()
    }
}

/// Over the embedded engine, or over the emulator that `RINGFORK_TEST_DYNAMODB` names.
async fn counted() -> (DynamoStore, Arc<Counted>) {
    let endpoint = match std::env::var("RINGFORK_TEST_DYNAMODB") {
        Ok(endpoint) => endpoint,
        Err(_) => {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(dynoxide::server::serve_on(listener, dynoxide::Database::memory().unwrap()));
            endpoint
        }
    };
    let mut random = String::new();
    for byte in samples::random12() {
        random.push_str(&byte.to_string());
    }
    let prefix = format!("u{}-{random}", std::process::id());
    let counted = Arc::new(Counted::default());
    let store = DynamoStore::new(client_with(&endpoint, None, Duration::from_secs(30)), &prefix);
    let store = store.with_meter(counted.clone());
    store.create_tables().await.unwrap();
    (store, counted)
}

/// DESIGN "Few writes": each step of a call is one write of one unit, with a URL of 300 characters and no event yet
/// handed over; the index of open parents costs one more at the call's put and at its settling.
#[tokio::test]
async fn a_call_with_a_long_callback_url_costs_twelve_units() {
    let (store, counted) = counted().await;
    let (parent, leg, me, url) = (call_sid(now()), call_sid(now()), owner(1), long_url());
    assert_eq!(url.len(), 300);
    let about = leg_description(parent, leg);
    let fired = |sequence, kind, status| Some(event(&about, sequence, kind, status, &url));
    let over = |settled| CallWrite::Parent {
        parent,
        status: CallStatus::Completed,
        answered_unix_ms: Some(now() * 1000),
        ended_unix_ms: Some(now() * 1000),
        settled,
    };
    let ringing = next_leg(leg, CallStatus::Ringing, fired(1, EventKind::Ringing, CallStatus::Ringing), &[]);
    let answered = next_leg(leg, CallStatus::InProgress, fired(2, EventKind::Answered, CallStatus::InProgress), &[]);
    let completed = next_leg(leg, CallStatus::Completed, fired(3, EventKind::Completed, CallStatus::Completed), &[]);
    let initiated = fired(0, EventKind::Initiated, CallStatus::Initiated);
    let name = CallWrite::NameLegs { parent, legs: vec![planned(leg, Some(callback(&url, Events::ALL)))] };
    let clear = CallWrite::ClearEvents { leg, handed_over: vec![0, 1, 2, 3] };
    let writes = [
        (1, put_parent(parent), 2.0),
        (2, name, 1.0),
        (1, first_leg(&about, CallStatus::Initiated, initiated), 1.0),
        (2, ringing, 1.0),
        (3, accept(parent, leg, now() * 1000), 1.0),
        (3, answered, 1.0),
        (4, completed, 1.0),
        (4, over(false), 1.0),
        (5, clear, 1.0),
        (5, CallWrite::Settle { parent }, 2.0),
    ];
    let mut total = 0.0;
    for (version, write, units) in &writes {
        store.write(&me, *version, write).await.unwrap();
        assert_eq!(counted.take(), [*units], "{write:?}");
        total += units;
    }
    assert!((total - 12.0_f64).abs() < 0.01, "{total}");
}

/// DESIGN "Few writes": an item stays under 1 KB, a parent with ten legs and the accepted one included.
#[tokio::test]
async fn a_parent_with_ten_legs_stays_under_a_kilobyte() {
    for clients in [1, 10] {
        let (store, counted) = counted().await;
        let (parent, me) = (call_sid(now()), owner(1));
        store.write(&me, 1, &put_parent(parent)).await.unwrap();
        let mut legs: Vec<_> =
            (0..10).map(|_| planned(call_sid(now()), Some(callback(&long_url(), Events::ALL)))).collect();
        for (place, leg) in legs.iter_mut().enumerate() {
            leg.to = format!("client:agent{:03}", place % clients);
        }
        let first = legs[0].sid;
        store.write(&me, 2, &CallWrite::NameLegs { parent, legs }).await.unwrap();
        counted.take();
        store.write(&me, 3, &accept(parent, first, now() * 1000)).await.unwrap();
        let over = CallWrite::Parent {
            parent,
            status: CallStatus::Completed,
            answered_unix_ms: Some(now() * 1000),
            ended_unix_ms: Some(now() * 1000),
            settled: false,
        };
        store.write(&me, 4, &over).await.unwrap();
        assert_eq!(counted.take(), [1.0, 1.0], "{clients} clients");
    }
}

/// DESIGN "binding": about 24 units per device-day for refreshes every 60 s or 600 s. A refresh is written only when
/// what is stored would not outlive it; what is stored outlives the granted expiry by an hour.
#[tokio::test]
async fn a_device_day_of_refreshes_costs_about_24_units() {
    const DAY: u64 = 86_400;
    for every in [60, 600] {
        let (store, counted) = counted().await;
        let me = owner(1);
        let (mut version, mut stored_until, mut units) = (None, 0, 0.0);
        for at in (0..DAY).step_by(every) {
            let expires_at = at + 600;
            if expires_at <= stored_until {
                continue;
            }
            stored_until = expires_at + 3600;
            let cseq = u32::try_from(at).unwrap();
            let refreshed = Binding { cseq, expires_at, stored_until, ..binding("alice", "<urn:uuid:1>;reg-id=1") };
            let expect = version.map_or(Expect::Absent, Expect::Version);
            version = Some(store.put(&me, &refreshed, expect).await.unwrap());
            let [one] = counted.take()[..] else { panic!("more than one operation") };
            assert!((one - 1.0_f64).abs() < 0.01, "a refresh of {one} units");
            units += one;
        }
        assert!((20.0..=24.0).contains(&units), "{units} units a day for a refresh every {every} s");
    }
}

/// A lookup by the edge costs half a read unit, and half more where an application is followed.
#[tokio::test]
async fn lookups_and_renewals_are_cheap() {
    let (store, counted) = counted().await;
    let menu = application(Some("https://example.com/menu"));
    store.create_application(&menu).await.unwrap();
    let mut desk = number("1000", 1);
    desk.voice.application_sid = Some(menu.sid);
    store.create_number(&desk).await.unwrap();
    counted.take();
    store.create_client(&client("alice", 1)).await.unwrap();
    // A transaction costs twice its two writes; AWS's local emulator reports it once.
    let local_emulator = std::env::var("RINGFORK_TEST_DYNAMODB").is_ok();
    assert_eq!(counted.take(), [if local_emulator { 2.0 } else { 4.0 }]);
    store.client("alice").await.unwrap().unwrap();
    assert_eq!(counted.take(), [0.5]);
    store.number("1000").await.unwrap().unwrap();
    assert_eq!(counted.take(), [0.5, 0.5]);
    let me = store.start("edge-a", &["192.0.2.1:5060".to_owned()], 1).await.unwrap().owner;
    counted.take();
    store.renew(&me, &Renewal::default()).await.unwrap();
    assert_eq!(counted.take(), [1.0]);
}
