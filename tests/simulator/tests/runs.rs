//! A bounded number of simulated runs; `make simulate RUNS=…` makes as many as asked.

use ringfork_simulator::world::run;

/// RCML.md 1.2-1.5 hold in every run of these seeds.
#[test]
fn promises_hold() {
    for seed in 1..=600 {
        if let Some(fault) = run(seed, false).fault {
            panic!("seed {seed}: {fault}; replay with `make simulate SEED={seed}`");
        }
    }
}

/// The same seed plays the same run, to the last line of its story.
#[test]
fn seeds_repeat() {
    for seed in [3, 77, 1234] {
        assert_eq!(run(seed, true).story, run(seed, true).story);
    }
}
