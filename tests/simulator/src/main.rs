//! `make simulate`: many runs, or one again.

use std::process::ExitCode;

use clap::Parser;
use ringfork_simulator::campaign::{Played, Seeds, play};
use ringfork_simulator::world::run;

/// Drives whole forks through the pure core under a seeded virtual clock and checks its promises after each step.
#[derive(Parser)]
#[command(name = "simulate")]
struct Options {
    #[command(flatten)]
    seeds: Seeds,
}

fn main() -> ExitCode {
    play(&Options::parse().seeds, "", "simulate", |seed, tell| {
        let report = run(seed, tell);
        let reached = report.reached.into_iter().map(str::to_owned).collect();
        Played { fault: report.fault, story: report.story, reached }
    })
}
