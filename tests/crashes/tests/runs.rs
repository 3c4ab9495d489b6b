//! A bounded number of crash runs; `make crashes CRASHES=…` makes as many as asked.
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use std::collections::BTreeMap;

use ringfork_crashes::run::run;

/// Moments that these seeds must reach: a run that never kills the edge there proves nothing about it.
const MOMENTS: [&str; 20] = [
    "a dead edge's late write is refused",
    "a dead edge's write arrives before its item is closed",
    "a refused event waits for a later run",
    "an event is repeated after a crash",
    "killed while recovering",
    "killed: accepted, the caller's 200 not sent",
    "killed: before legs are named",
    "killed: before the parent is written",
    "killed: before the parent's write is asked",
    "killed: between write and hand-over",
    "killed: bridged",
    "killed: completed written, not handed over",
    "killed: in screening",
    "killed: in screening, answered not subscribed",
    "killed: legs named, none rung",
    "killed: nothing open",
    "reaped: completed",
    "reaped: failed",
    "stored registrations ring after a crash",
    "the reaper goes on beside the next life's calls",
];

/// RCML.md 1.4 "Delivery": the death of an edge loses no `completed`; DESIGN "State in DynamoDB": a stale edge's writes
/// fail; DESIGN "Time": a dead edge's call ends at its last renewal.
#[test]
fn promises_survive_the_edge() {
    let mut reached: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 1..=800 {
        let report = run(seed, false);
        if let Some(fault) = report.fault {
            panic!("crash seed {seed}: {fault}; replay with `make crashes SEED={seed}`");
        }
        for what in report.reached {
            *reached.entry(what).or_default() += 1;
        }
    }
    for moment in MOMENTS {
        assert!(reached.contains_key(moment), "never reached: {moment}; reached: {reached:#?}");
    }
}

/// The same seed plays the same run, to the last line of its story.
#[test]
fn seeds_repeat() {
    for seed in [3, 77, 1234] {
        assert_eq!(run(seed, true).story, run(seed, true).story);
    }
}
