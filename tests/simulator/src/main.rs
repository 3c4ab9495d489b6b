//! `make simulate`: many runs, or one again.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Instant;

use clap::Parser;
use ringfork_simulator::world::run;

/// Drives whole forks through the pure core under a seeded virtual clock and checks its promises after each step.
#[derive(Parser)]
#[command(name = "simulate")]
struct Options {
    /// How many runs.
    #[arg(long, default_value_t = 20_000)]
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

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    if let Some(seed) = options.seed {
        let report = run(seed, true);
        report.story.iter().for_each(|line| println!("{line}"));
        return match report.fault {
            None => {
                println!("seed {seed}: no fault in {} steps", report.steps);
                std::process::ExitCode::SUCCESS
            }
            Some(fault) => {
                println!("seed {seed}: {fault}");
                std::process::ExitCode::FAILURE
            }
        };
    }
    let start = Instant::now();
    let progress = std::io::stderr().is_terminal();
    let (mut steps, mut failed) = (0, 0u64);
    let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
    for done in 0..options.runs {
        let seed = options.from + done;
        let report = run(seed, false);
        steps += report.steps;
        for what in report.reached {
            *reached.entry(what).or_default() += 1;
        }
        if let Some(fault) = report.fault {
            failed += 1;
            println!("seed {seed}: {fault}\n  replay: make simulate SEED={seed}");
            if !options.all {
                return std::process::ExitCode::FAILURE;
            }
        }
        if progress && done % 200 == 199 {
            let share = (done + 1) as f64 / options.runs as f64;
            let bar = "#".repeat((share * 40.0) as usize);
            let rate = (done + 1) as f64 / start.elapsed().as_secs_f64();
            eprint!("\r[{bar:<40}] {:3.0} %  {rate:.0} runs/s ", share * 100.0);
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
    println!(
        "{} runs, {failed} failed, {steps} steps, {:.0} runs/s",
        options.runs,
        options.runs as f64 / seconds.max(0.001)
    );
    if failed == 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
