//! Many runs one after another, or one again with its story: the command line of `make simulate` and `make crashes`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

/// Runs between two looks at the progress bar.
const SHOWN_EVERY: u64 = 100;

/// Which seeds are played.
#[derive(Debug, Args)]
pub struct Seeds {
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

/// What one run came to.
#[derive(Debug, Default)]
pub struct Played {
    /// What went wrong, if anything.
    pub fault: Option<String>,
    /// Its story, where it was asked for.
    pub story: Vec<String>,
    /// What happened in it, of the things worth counting.
    pub reached: Vec<String>,
}

/// Plays the seeds with `run` (its second argument: whether to tell the story). `kind` names a run and a seed of it,
/// `target` the make target that replays one. Stops at the first fault unless all were asked for.
pub fn play(seeds: &Seeds, kind: &str, target: &str, run: impl Fn(u64, bool) -> Played) -> ExitCode {
    if let Some(seed) = seeds.seed {
        let played = run(seed, true);
        played.story.iter().for_each(|line| println!("{line}"));
        println!("{kind}seed {seed}: {}", played.fault.as_deref().unwrap_or("no fault"));
        return if played.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let start = Instant::now();
    let progress = std::io::stderr().is_terminal();
    let mut failed = 0u64;
    let mut reached: BTreeMap<String, u64> = BTreeMap::new();
    for done in 1..=seeds.runs {
        let seed = seeds.from + done - 1;
        let played = run(seed, false);
        for what in played.reached {
            *reached.entry(what).or_default() += 1;
        }
        if let Some(fault) = played.fault {
            failed += 1;
            println!("{kind}seed {seed}: {fault}\n  replay: make {target} SEED={seed}");
            if !seeds.all {
                return ExitCode::FAILURE;
            }
        }
        if progress && done % SHOWN_EVERY == 0 {
            let share = done as f64 / seeds.runs as f64;
            let bar = "#".repeat((share * 40.0) as usize);
            let rate = done as f64 / start.elapsed().as_secs_f64();
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
    let seconds = start.elapsed().as_secs_f64().max(0.001);
    println!("{} {kind}runs, {failed} failed, {:.0} runs/s", seeds.runs, seeds.runs as f64 / seconds);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
