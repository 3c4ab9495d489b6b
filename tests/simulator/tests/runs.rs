//! A bounded number of simulated runs; `make simulate RUNS=…` makes as many as asked.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ringfork_simulator::world::run;

const SEEDS: u64 = 2000;

/// What the runs of these seeds must come to, each at least once: where one is not reached any more, what is promised
/// of it is not tested any more.
const SITUATIONS: [&str; 74] = [
    "a REGISTER has a wrong password",
    "a REGISTER is accepted",
    "a REGISTER is challenged",
    "a REGISTER is out of order",
    "a binding cannot be written",
    "a client is rung at one binding",
    "a client is rung at several bindings",
    "a deleted client registers",
    "a device is silent",
    "a nonce is stale",
    "a party alone with us is silent",
    "a phone moves while a call rings",
    "a phone's connection ends",
    "all bindings are removed",
    "an eleventh binding is refused",
    "an expiry is too brief",
    "bindings are fetched",
    "nobody of a client is registered",
    "the connection of a ringing phone ends",
    "a 200 after another leg was accepted",
    "a 200 crosses a CANCEL",
    "a 200 is repeated",
    "a 422 of a leg is answered",
    "a bridge is recorded",
    "a call is refused with 503",
    "a callee leaves its screening",
    "a challenge of a leg is answered",
    "a digit is passed on",
    "a hangup ends a recording",
    "a leg hears something",
    "a party is recorded",
    "a party re-INVITEs",
    "a party refuses with 491",
    "a party sends UPDATE",
    "a party sends a digit",
    "a recording ends",
    "a reliable 18x is acknowledged",
    "a screening document cannot be had",
    "a screening document is refused for its Dial",
    "a screening's time is up",
    "a sound fails",
    "a sound is cut",
    "a sound is heard",
    "a trunk's next target is tried",
    "accepted",
    "action: busy",
    "action: canceled",
    "action: completed",
    "action: failed",
    "action: no-answer",
    "an action learns of a recording",
    "an action's answer accepts",
    "an answered caller hears ringing",
    "another wins while a leg screens",
    "bridged",
    "busy",
    "cancelled elsewhere",
    "cancelled, nobody won",
    "completed",
    "failed",
    "no-answer",
    "screening declines",
    "screening goes on",
    "the Dial's timeout passes while a leg screens",
    "the caller cancels",
    "the caller cancels while an acceptance or PRACK is awaited",
    "the caller hears something",
    "the caller leaves while a leg screens",
    "the end of a screening document accepts",
    "we carry an offer by UPDATE",
    "we re-INVITE",
    "we refresh by UPDATE",
    "we refuse with 422",
    "we refuse with 491",
];

/// RCML.md 1.2-1.5 hold in every run of these seeds, and these runs come to every situation listed.
#[test]
fn promises_hold() {
    let next = AtomicU64::new(1);
    let reached = Mutex::new(BTreeSet::new());
    let fault = Mutex::new(None::<(u64, String)>);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS || fault.lock().unwrap().is_some() {
                        return;
                    }
                    let report = run(seed, false);
                    reached.lock().unwrap().extend(report.reached);
                    if let Some(what) = report.fault {
                        fault.lock().unwrap().get_or_insert((seed, what));
                    }
                }
            });
        }
    });
    if let Some((seed, fault)) = fault.into_inner().unwrap() {
        panic!("seed {seed}: {fault}; replay with `make simulate SEED={seed}`");
    }
    let reached = reached.into_inner().unwrap();
    let missed: Vec<_> = SITUATIONS.iter().filter(|situation| !reached.contains(*situation)).collect();
    assert!(missed.is_empty(), "no run of these seeds comes to {missed:?}");
    let unlisted: Vec<_> = reached.iter().filter(|situation| !SITUATIONS.contains(situation)).collect();
    assert!(unlisted.is_empty(), "not in the list: {unlisted:?}");
}

/// The same seed plays the same run, to the last line of its story.
#[test]
fn seeds_repeat() {
    for seed in [3, 77, 1234] {
        assert_eq!(run(seed, true).story, run(seed, true).story);
    }
}
