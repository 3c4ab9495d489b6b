//! `make crashes`: many crash runs, or one again.

use std::process::ExitCode;

use clap::Parser;
use ringfork_crashes::run::run;
use ringfork_simulator::campaign::{Played, Seeds, play};

/// Kills the simulated edge at seeded moments and checks what its store and the next edge make of it.
#[derive(Parser)]
#[command(name = "crashes")]
struct Options {
    #[command(flatten)]
    seeds: Seeds,
}

fn main() -> ExitCode {
    play(&Options::parse().seeds, "crash ", "crashes", |seed, tell| {
        let report = run(seed, tell);
        Played { fault: report.fault, story: report.story, reached: report.reached.into_iter().collect() }
    })
}
