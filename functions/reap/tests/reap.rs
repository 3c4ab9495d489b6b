//! What becomes of a dead edge's calls (RCML.md 1.4, DESIGN "Callbacks" and "Time").

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../state/tests/suite/samples.rs"]
mod samples;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ringfork_reap::{Deliverer, Now, Reaper, Report};
use ringfork_state::memory::MemoryStore;
use ringfork_state::{
    Call, CallQueries, CallSid, CallStatus, CallWrite, CallbackEvent, Calls, EdgeRecord, EdgeStart, Edges, EventKind,
    Events, Owner, Reaping, Renewal, Result, StoreError,
};
use samples::{accept, call_sid, callback, event, first_leg, leg_description, next_leg, planned, put_parent};

const URL: &str = "https://example.com/status";

/// The edge's clock at its start, and the second in which the calls of these tests begin.
const START: u64 = 1_700_000_000;

/// Receives events as a customer would.
#[derive(Default)]
struct Customer {
    received: Mutex<Vec<CallbackEvent>>,
    refuses: AtomicBool,
}

#[async_trait]
impl Deliverer for Customer {
    async fn deliver(&self, event: CallbackEvent) -> bool {
        self.received.lock().unwrap().push(event);
        !self.refuses.load(Ordering::Relaxed)
    }
}

impl Customer {
    /// What came, by key; a repetition must be the same.
    fn counted(&self) -> BTreeMap<String, CallbackEvent> {
        let mut counted = BTreeMap::new();
        for event in self.received.lock().unwrap().iter() {
            if let Some(before) = counted.insert(event.idempotency_key(), event.clone()) {
                assert_eq!(before, *event, "a repetition differs");
            }
        }
        counted
    }

    /// Number, kind and status of a leg's events, in the order of their numbers.
    fn story(&self, leg: CallSid) -> Vec<(u32, EventKind, String)> {
        let mut story: Vec<_> = self
            .counted()
            .into_values()
            .filter(|event| event.leg == leg)
            .map(|event| (event.sequence, event.kind, parameter(&event, "CallStatus")))
            .collect();
        story.sort();
        story
    }
}

fn parameter(event: &CallbackEvent, name: &str) -> String {
    event.parameters.iter().find(|(one, _)| one == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

/// A store that fails for good after so many operations of the reaper: a crash in that place.
struct Crashing {
    store: MemoryStore,
    left: AtomicUsize,
}

impl Crashing {
    fn step(&self) -> Result<()> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| StoreError::Unavailable("crashed".to_owned()))
    }
}

#[async_trait]
impl Reaping for Crashing {
    async fn claim(&self, seen: &EdgeRecord) -> Result<EdgeStart> {
        self.step()?;
        self.store.claim(seen).await
    }
    async fn open_calls(&self, edge: &str, after: Option<CallSid>, limit: usize) -> Result<Vec<CallSid>> {
        self.step()?;
        self.store.open_calls(edge, after, limit).await
    }
    async fn read_calls(&self, sids: &[CallSid]) -> Result<Vec<Call>> {
        self.step()?;
        self.store.read_calls(sids).await
    }
    async fn replace_call(&self, call: &Call) -> Result<()> {
        self.step()?;
        self.store.replace_call(call).await
    }
    async fn reaped(&self, edge: &str, below_epoch: u64) -> Result<()> {
        self.step()?;
        self.store.reaped(edge, below_epoch).await
    }
}

fn reaper(store: &MemoryStore, customer: &Arc<Customer>) -> Reaper {
    Reaper::new(Arc::new(store.clone()), Arc::new(store.clone()), customer.clone())
}

fn at(instant: Instant) -> Now {
    Now { instant, unix_ms: (START + 500) * 1000 }
}

/// The legs of one interrupted call.
struct Scene {
    parent: CallSid,
    bridged: CallSid,
    ringing: CallSid,
    named: CallSid,
    over: CallSid,
    quiet: CallSid,
}

/// A call with one leg bridged, one ringing, one named only, one over whose last event is not handed over, and one that
/// nobody subscribed to. The edge renewed last 100 s after its start.
async fn interrupted(store: &MemoryStore) -> (Owner, Scene) {
    let me = store.start("edge-a", &[], START * 1000).await.unwrap().owner;
    let [parent, bridged, ringing, named, over, quiet] = [(); 6].map(|()| call_sid(START + 10));
    let all = Some(callback(URL, Events::ALL));
    store.write(&me, 1, &put_parent(parent)).await.unwrap();
    let mut plan: Vec<_> = [bridged, ringing, named, over].map(|leg| planned(leg, all.clone())).into_iter().collect();
    plan.push(planned(quiet, None));
    store.write(&me, 2, &CallWrite::NameLegs { parent, legs: plan }).await.unwrap();
    for leg in [bridged, ringing, over] {
        let about = leg_description(parent, leg);
        let fired = |sequence, kind, status| Some(event(&about, sequence, kind, status, URL));
        let first = fired(0, EventKind::Initiated, CallStatus::Initiated);
        store.write(&me, 1, &first_leg(&about, CallStatus::Initiated, first)).await.unwrap();
        let second = fired(1, EventKind::Ringing, CallStatus::Ringing);
        store.write(&me, 2, &next_leg(leg, CallStatus::Ringing, second, &[0])).await.unwrap();
    }
    let about = leg_description(parent, over);
    let last = event(&about, 2, EventKind::Completed, CallStatus::Busy, URL);
    let CallWrite::Leg { leg, first, status, answered_unix_ms, event, handed_over, .. } =
        next_leg(over, CallStatus::Busy, Some(last), &[1])
    else {
        unreachable!()
    };
    let ended_unix_ms = Some((START + 15) * 1000);
    let last = CallWrite::Leg { leg, first, status, answered_unix_ms, ended_unix_ms, event, handed_over };
    store.write(&me, 3, &last).await.unwrap();
    // Accepted 20 s after the start; the write of the leg's answer was still behind.
    store.write(&me, 3, &accept(parent, bridged, (START + 20) * 1000 + 400)).await.unwrap();
    let answered = CallWrite::Parent {
        parent,
        status: CallStatus::InProgress,
        answered_unix_ms: Some((START + 20) * 1000 + 500),
        ended_unix_ms: None,
        settled: false,
    };
    store.write(&me, 4, &answered).await.unwrap();
    let renewal = Renewal { now_unix_ms: (START + 100) * 1000, ..Renewal::default() };
    store.renew(&me, &renewal).await.unwrap();
    (me, Scene { parent, bridged, ringing, named, over, quiet })
}

async fn check(store: &MemoryStore, customer: &Customer, scene: &Scene) {
    use EventKind::{Answered, Completed, Initiated, Ringing};
    let story = |leg| customer.story(leg);
    let steps = |steps: &[(u32, EventKind, &str)]| {
        steps.iter().map(|(n, kind, status)| (*n, *kind, (*status).to_owned())).collect::<Vec<_>>()
    };
    // What was cleared is not repeated; what was not, is.
    let bridged = [(1, Ringing, "ringing"), (2, Answered, "in-progress"), (3, Completed, "completed")];
    assert_eq!(story(scene.bridged), steps(&bridged));
    assert_eq!(story(scene.ringing), steps(&[(1, Ringing, "ringing"), (2, Completed, "failed")]));
    assert_eq!(story(scene.named), steps(&[(0, Initiated, "initiated"), (1, Completed, "failed")]));
    assert_eq!(story(scene.over), steps(&[(2, Completed, "busy")]));
    assert_eq!(story(scene.quiet), []);

    // DESIGN "Time": a dead edge's call ends at its last renewal: that gives CallDuration.
    let counted = customer.counted();
    let completed = |leg: CallSid| &counted[&format!("{leg}-completed")];
    assert_eq!(parameter(completed(scene.bridged), "CallDuration"), "79");
    assert_eq!(parameter(completed(scene.named), "CallDuration"), "0");
    let of_bridged = completed(scene.bridged);
    assert_eq!(parameter(of_bridged, "ParentCallSid"), scene.parent.to_string());
    assert_eq!(parameter(of_bridged, "CallerName"), "Carol Example");
    assert_eq!(parameter(of_bridged, "SequenceNumber"), "3");
    assert_eq!(parameter(of_bridged, "Timestamp"), "Tue, 14 Nov 2023 22:21:40 +0000");
    let of_named = completed(scene.named);
    assert_eq!(
        (parameter(of_named, "From"), parameter(of_named, "To")),
        ("client:carol".into(), "client:alice".into())
    );
    let names = |event: &CallbackEvent| event.parameters.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(of_named), names(of_bridged));

    let state = |sid| async move { store.call(sid).await.unwrap().unwrap() };
    let parent = state(scene.parent).await;
    assert_eq!((parent.status, parent.ended_unix_ms), (CallStatus::Completed, Some((START + 100) * 1000)));
    assert!(!parent.open);
    let outcomes = [
        (scene.bridged, CallStatus::Completed),
        (scene.ringing, CallStatus::Failed),
        (scene.named, CallStatus::Failed),
        (scene.over, CallStatus::Busy),
        (scene.quiet, CallStatus::Failed),
    ];
    for (leg, status) in outcomes {
        let leg = state(leg).await;
        assert_eq!((leg.status, leg.events.as_slice()), (status, [].as_slice()));
        assert!(leg.ended_unix_ms.is_some());
        assert_eq!(leg.description.parent, Some(scene.parent));
    }
    assert_eq!(store.open_calls("edge-a", None, 10).await, Ok(vec![]));
}

/// RCML.md 1.4: the death of an edge loses no `completed`.
#[tokio::test]
async fn a_dead_edges_calls_are_closed_and_told_of() {
    let store = MemoryStore::new();
    let (me, scene) = interrupted(&store).await;
    let customer = Arc::new(Customer::default());
    let reaper = reaper(&store, &customer);
    let start = Instant::now();
    assert_eq!(reaper.run(at(start)).await, Ok(Report::default()));
    assert_eq!(reaper.run(at(start + Duration::from_secs(29))).await, Ok(Report::default()));
    let report = reaper.run(at(start + Duration::from_secs(60))).await.unwrap();
    assert_eq!(report, Report { claimed: 1, ended: 1, handed_over: 8, left: 0 });
    check(&store, &customer, &scene).await;
    // It lives after all: its writes fail.
    let late = CallWrite::NameLegs { parent: scene.parent, legs: vec![] };
    assert_eq!(store.write(&me, 5, &late).await, Err(StoreError::Stale));
    assert_eq!(store.renew(&me, &Renewal::default()).await, Err(StoreError::Stale));
    // Not to a leg either that was over by itself.
    let late = CallWrite::ClearEvents { leg: scene.over, handed_over: vec![2] };
    assert_eq!(store.write(&me, 4, &late).await, Err(StoreError::Stale));
    let late = first_leg(&leg_description(scene.parent, scene.named), CallStatus::Initiated, None);
    assert_eq!(store.write(&me, 1, &late).await, Err(StoreError::Stale));
    // And nothing is left to do.
    assert_eq!(reaper.run(at(start + Duration::from_secs(120))).await, Ok(Report::default()));
    assert!(store.edges().await.unwrap()[0].unreaped.is_empty());
    assert_eq!(customer.received.lock().unwrap().len(), 8);
}

/// DESIGN "Time": an edge that starts under its own id closes what the former one left at once, and nothing else.
#[tokio::test]
async fn a_restarted_edge_closes_its_former_calls_at_once() {
    let store = MemoryStore::new();
    let (_, scene) = interrupted(&store).await;
    let customer = Arc::new(Customer::default());
    let start = store.start("edge-a", &[], (START + 400) * 1000).await.unwrap();
    let living = call_sid(START + 401);
    store.write(&start.owner, 1, &put_parent(living)).await.unwrap();
    let reaper = reaper(&store, &customer);
    let report = reaper.recover("edge-a", &start.unreaped, at(Instant::now())).await.unwrap();
    assert_eq!(report, Report { claimed: 0, ended: 1, handed_over: 8, left: 0 });
    assert_eq!(store.open_calls("edge-a", None, 10).await, Ok(vec![living]));
    store.write(&start.owner, 2, &CallWrite::Settle { parent: living }).await.unwrap();
    check(&store, &customer, &scene).await;
    assert_eq!(store.edges().await.unwrap()[0].unreaped.len(), 1);
    assert_eq!(reaper.run(at(Instant::now())).await, Ok(Report::default()));
    assert!(store.edges().await.unwrap()[0].unreaped.is_empty());
}

/// Whatever the place in which a reaper dies, the next one loses nothing and repeats nothing under another key or body.
#[tokio::test]
async fn a_reaper_may_die_in_any_place() {
    let mut places = 0;
    loop {
        let store = MemoryStore::new();
        let (_, scene) = interrupted(&store).await;
        let customer = Arc::new(Customer::default());
        let start = Instant::now();
        let crashing = Arc::new(Crashing { store: store.clone(), left: AtomicUsize::new(places) });
        let first = Reaper::new(Arc::new(store.clone()), crashing.clone(), customer.clone());
        first.run(at(start)).await.unwrap();
        let died = first.run(at(start + Duration::from_secs(30))).await;
        let survived = died.is_ok_and(|report| report.left == 0 && report.claimed == 1);
        // Another process, later, by another clock.
        let second = reaper(&store, &customer);
        for seconds in [100, 140, 200] {
            let now = Now { instant: start + Duration::from_secs(seconds), unix_ms: (START + 500) * 1000 };
            second.run(now).await.unwrap();
        }
        check(&store, &customer, &scene).await;
        if survived {
            break;
        }
        places += 1;
    }
    assert!(places > 20, "only {places} places");
}

/// DESIGN "Callbacks": hands over again what was never cleared.
#[tokio::test]
async fn what_was_not_taken_over_is_handed_over_again() {
    let store = MemoryStore::new();
    let (_, scene) = interrupted(&store).await;
    let customer = Arc::new(Customer::default());
    customer.refuses.store(true, Ordering::Relaxed);
    let start = store.start("edge-a", &[], (START + 400) * 1000).await.unwrap();
    let reaper = reaper(&store, &customer);
    let report = reaper.recover("edge-a", &start.unreaped, at(Instant::now())).await.unwrap();
    assert_eq!(report, Report { claimed: 0, ended: 1, handed_over: 0, left: 1 });
    assert_eq!(reaper.run(at(Instant::now())).await.unwrap().left, 1);
    assert_eq!(store.edges().await.unwrap()[0].unreaped.len(), 1);
    customer.refuses.store(false, Ordering::Relaxed);
    let report = reaper.run(at(Instant::now())).await.unwrap();
    assert_eq!(report, Report { claimed: 0, ended: 0, handed_over: 8, left: 0 });
    assert_eq!(customer.received.lock().unwrap().len(), 24);
    check(&store, &customer, &scene).await;
}

/// RCML.md 1.4: only subscribed events are sent, numbered as they are sent.
#[tokio::test]
async fn only_what_was_subscribed_to_is_sent() {
    let store = MemoryStore::new();
    let me = store.start("edge-a", &[], START * 1000).await.unwrap().owner;
    let (parent, leg, other) = (call_sid(START), call_sid(START), call_sid(START));
    store.write(&me, 1, &put_parent(parent)).await.unwrap();
    let only = |bits| Some(callback(URL, Events::from(bits)));
    let legs = vec![planned(leg, only(8)), planned(other, only(1))];
    store.write(&me, 2, &CallWrite::NameLegs { parent, legs }).await.unwrap();
    store.write(&me, 3, &accept(parent, leg, (START + 1) * 1000)).await.unwrap();
    let start = store.start("edge-a", &[], (START + 60) * 1000).await.unwrap();
    let customer = Arc::new(Customer::default());
    reaper(&store, &customer).recover("edge-a", &start.unreaped, at(Instant::now())).await.unwrap();
    assert_eq!(customer.story(leg), [(0, EventKind::Completed, "completed".to_owned())]);
    assert_eq!(customer.story(other), [(0, EventKind::Initiated, "initiated".to_owned())]);
    // A call is answered by the acceptance of a leg.
    assert_eq!(store.call(parent).await.unwrap().unwrap().status, CallStatus::Completed);
}

/// DESIGN "Callbacks": answered: completed; else failed.
#[tokio::test]
async fn a_caller_who_was_not_answered_ends_failed() {
    let store = MemoryStore::new();
    let me = store.start("edge-a", &[], START * 1000).await.unwrap().owner;
    let parent = call_sid(START);
    store.write(&me, 1, &put_parent(parent)).await.unwrap();
    let start = store.start("edge-a", &[], (START + 60) * 1000).await.unwrap();
    reaper(&store, &Arc::default()).recover("edge-a", &start.unreaped, at(Instant::now())).await.unwrap();
    let call = store.call(parent).await.unwrap().unwrap();
    // The edge never renewed after the call came: it ends no earlier than it began.
    assert_eq!((call.status, call.ended_unix_ms), (CallStatus::Failed, Some(call.description.created_unix_ms)));
}

/// A reaper's events carry what the leg's own would have: its X- headers too (RCML.md 3.1).
#[tokio::test]
async fn a_named_legs_events_carry_its_headers() {
    let store = MemoryStore::new();
    let me = store.start("edge-a", &[], START * 1000).await.unwrap().owner;
    let (parent, leg) = (call_sid(START), call_sid(START));
    store.write(&me, 1, &put_parent(parent)).await.unwrap();
    let mut plan = planned(leg, Some(callback(URL, Events::ALL)));
    plan.sip_headers = vec![("X-Tenant".to_owned(), "7".to_owned())];
    store.write(&me, 2, &CallWrite::NameLegs { parent, legs: vec![plan] }).await.unwrap();
    let start = store.start("edge-a", &[], (START + 60) * 1000).await.unwrap();
    let customer = Arc::new(Customer::default());
    reaper(&store, &customer).recover("edge-a", &start.unreaped, at(Instant::now())).await.unwrap();
    let counted = customer.counted();
    assert_eq!(counted.len(), 2);
    assert!(counted.values().all(|event| parameter(event, "SipHeader_X-Tenant") == "7"));
}

/// The reaper within an edge does not take that edge for dead, others it does.
#[tokio::test]
async fn an_edge_does_not_reap_itself() {
    let store = MemoryStore::new();
    store.start("edge-a", &[], START * 1000).await.unwrap();
    store.start("edge-b", &[], START * 1000).await.unwrap();
    let reaper = reaper(&store, &Arc::default()).sparing("edge-a");
    let start = Instant::now();
    reaper.run(at(start)).await.unwrap();
    assert_eq!(reaper.run(at(start + Duration::from_secs(31))).await.unwrap().claimed, 1);
    let edges = store.edges().await.unwrap();
    assert_eq!((edges[0].live, edges[1].live), (true, false));
}
