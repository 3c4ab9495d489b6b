//! The soak: thousands of forked calls at a steady rate against the edge over its file store. Memory must be flat after
//! the first tenth, and no call, leg, transaction or port may be left. `make soak CALLS=20000 RATE=10`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test program: a failure is its result.

use std::time::{Duration, Instant};

use ringfork_tests::cost::anonymous;
use ringfork_tests::edge::Edge;
use ringfork_tests::sipp::{Phone, Scenario, load};
use ringfork_tests::tally::Tally;

const DEVICES: usize = 3;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u32>().expect("usage: soak CALLS RATE"));
    let (calls, rate) = (arguments.next().unwrap_or(20_000), arguments.next().unwrap_or(10));
    assert!(calls / rate.max(1) < 3500, "the phones register for one hour: fewer calls, or more of them a second");

    let (base, tally) =
        Tally::start(r#"<Response><Dial><Client statusCallback="BASE/events">alice</Client></Dial></Response>"#).await;
    // On the disk, unlike other tests: what a write costs there is part of what is measured.
    let folder = tempfile::tempdir().unwrap();
    let edge = Edge::start_over(&folder.path().join("data"), "127.0.0.1:0", &[]).await;
    edge.create_number("1000", &format!("{base}/voice")).await;
    let password = edge.create_client("alice").await;
    let mut phones = Vec::new();
    for device in 0..DEVICES {
        let phone = Phone::register(&edge, "alice", &password).await;
        let scenario = Scenario::new().invited().answer("180 Ringing");
        phones.push(if device == 0 {
            phone.serve_forever(&scenario.pause(100).accept().recv("ACK").hung_up())
        } else {
            phone.serve_forever(&scenario.cancelled(true))
        });
    }

    println!("{calls} calls to {DEVICES} devices at {rate}/s");
    let caller =
        load(&edge, "1000", &Scenario::new().call().finally("200").ack().pause(200).hang_up(), calls, rate, false);
    let start = Instant::now();
    let expected = (calls as usize) * DEVICES;
    let (mut after_tenth, mut readings) = (0.0, Vec::new());
    let mut seen = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (over, wrong, callbacks) = {
            let tally = tally.lock().unwrap();
            let (over, wrong) = tally.state();
            (over, wrong, tally.callbacks)
        };
        let memory = anonymous(edge.pid()) / 1e6;
        println!(
            "{:6.0} s  {:6} legs over of {expected}  {wrong} open  {callbacks} callbacks  {memory:.1} MB  {} calls up",
            start.elapsed().as_secs_f64(),
            over,
            edge.metric("ringfork_calls").await,
        );
        if over * 10 >= expected {
            if after_tenth == 0.0 {
                after_tenth = memory;
            }
            readings.push(memory);
        }
        if over != seen.0 {
            seen = (over, Instant::now());
        }
        if over >= expected || seen.1.elapsed() > Duration::from_secs(60) {
            break;
        }
    }
    let (code, errors) = caller.finish().await;
    // Thousands of lines that say the same tell no more than the last of them.
    let errors = errors.lines().last().map(|line| line.chars().take(300).collect::<String>()).unwrap_or_default();
    edge.settled().await;
    edge.delete_clients().await;
    // Finished transactions linger for half a minute (RFC 3261 timers); nothing may be left after it.
    ringfork_tests::eventually("an empty transaction table", async || {
        (edge.metric("ringfork_transactions").await == 0.0).then_some(())
    })
    .await;
    let (over, wrong) = tally.lock().unwrap().state();
    let mut growth: Vec<f64> = readings.windows(2).map(|pair| pair[1] - pair[0]).collect();
    growth.sort_unstable_by(f64::total_cmp);
    let typical = growth.get(growth.len() / 2).copied().unwrap_or_default() * 1e6;
    let highest = readings.iter().copied().fold(0.0, f64::max);
    println!(
        "sipp ended with {code:?} {errors}; {over} legs over, {wrong} wrong; memory {after_tenth:.1} MB after the first tenth, at most {highest:.1} MB; {typical:.0} bytes more every 10 s at the median"
    );
    assert_eq!((over, wrong), (expected, 0), "every leg has one completed, last, without a gap");
    // A stall of the machine leaves a high-water mark in the allocator, once; a leak grows in every interval.
    assert!(typical < 4096.0 && highest < after_tenth * 2.0, "memory grew");
    drop(phones);
}
