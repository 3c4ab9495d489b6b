//! `make crashes`: many crash runs, or one again.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use ringfork_crashes::run::run;

/// Kills the simulated edge at seeded moments and checks what its store and the next edge make of it.
#[derive(Parser)]
#[command(name = "crashes")]
struct Options {
    /// How many runs.
    #[arg(long, default_value_t = 10_000)]
    runs: u64,
    /// First seed of many runs.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Play this one seed and tell its story.
    #[arg(long)]
    seed: Option<u64>,
    /// Go on after a fault, and say how many seeds fail.
    #[arg(long)]
    all: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(seed) = options.seed {
        let report = run(seed, true);
        report.story.iter().for_each(|line| println!("{line}"));
        println!("seed {seed}: {}", report.fault.as_deref().unwrap_or("no fault"));
        return if report.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let start = Instant::now();
    let progress = std::io::stderr().is_terminal();
    let mut failed = 0u64;
    let mut reached: BTreeMap<String, u64> = BTreeMap::new();
    for done in 0..options.runs {
        let seed = options.from + done;
        let report = run(seed, false);
        for what in report.reached {
            *reached.entry(what).or_default() += 1;
        }
        if let Some(fault) = report.fault {
            failed += 1;
            println!("crash seed {seed}: {fault}\n  replay: make crashes SEED={seed}");
            if !options.all {
                return ExitCode::FAILURE;
            }
        }
        if progress && done % 100 == 99 {
            let rate = (done + 1) as f64 / start.elapsed().as_secs_f64();
            eprint!("\r{:3.0} %  {rate:.0} runs/s ", (done + 1) as f64 * 100.0 / options.runs as f64);
            let _ = std::io::stderr().flush();
        }
    }
    if progress {
        eprintln!();
    }
    for (what, runs) in &reached {
        println!("  {runs:8} runs: {what}");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{} crash runs, {failed} failed, {:.0} runs/s", options.runs, options.runs as f64 / seconds.max(0.001));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
