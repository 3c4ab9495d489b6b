//! Streams played to parties: how even their packets come, what a stream costs, and how soon a prompt starts.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use ringfork_tests::cost::cpu;

use crate::PACKET;

const HEARD: Duration = Duration::from_secs(10);

/// What was heard of streams that were all playing.
pub struct Heard {
    streams: usize,
    /// CPU seconds of the server.
    spent: f64,
    /// How far each two packets of a stream were from 20 ms apart, sorted.
    errors: Vec<Duration>,
}

/// Listens for ten seconds to what is played to `rtp` by the process.
pub fn listen(server: u32, rtp: &UdpSocket) -> Heard {
    // What came while the streams were set up tells nothing of their pace.
    let mut buffer = [0; 2048];
    let settled = Instant::now() + Duration::from_secs(1);
    while Instant::now() < settled {
        let _ = rtp.recv_from(&mut buffer);
    }
    let (start, before) = (Instant::now(), cpu(server));
    let mut last: HashMap<u32, Instant> = HashMap::new();
    let mut errors = Vec::new();
    while start.elapsed() < HEARD {
        let Ok((length, _)) = rtp.recv_from(&mut buffer) else { continue };
        let now = Instant::now();
        let ssrc = u32::from_be_bytes(buffer[8..12].try_into().unwrap());
        if length == 172
            && let Some(before) = last.insert(ssrc, now)
        {
            errors.push((now - before).abs_diff(PACKET));
        }
    }
    errors.sort_unstable();
    Heard { streams: last.len(), spent: cpu(server) - before, errors }
}

impl Heard {
    /// Prints it; gives the 99.9th percentile of the spacing error in ms, and the share of a CPU that a stream took.
    pub fn print(&self, name: &str) -> (f64, f64) {
        let at = |share: f64| at(&self.errors, share).as_secs_f64() * 1e3;
        let each = self.spent / HEARD.as_secs_f64() / self.streams as f64;
        println!(
            "{name:10} playing to {}: {:.3} % of a CPU each, {} packets, spacing error {:.3} ms at the median, {:.3} at 99 %, {:.3} at 99.9 %",
            self.streams,
            each * 100.0,
            self.errors.len(),
            at(0.5),
            at(0.99),
            at(0.999)
        );
        (at(0.999), each)
    }
}

fn at(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// What the machine itself does to a thread that only wakes each 20 ms: the error of its spacing. Run on CPU 0 by
/// [`floor`] while nothing else is there, so that a virtual machine's own stalls are not taken for the server's.
pub fn wake() {
    let start = Instant::now();
    let (mut last, mut errors) = (start, Vec::new());
    for round in 1..=HEARD.as_millis() as u32 {
        let due = start + Duration::from_millis(1) * round;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        errors.push((now - last).abs_diff(Duration::from_millis(1)));
        last = now;
    }
    errors.sort_unstable();
    println!(
        "the machine: a thread that wakes each ms and does nothing: spacing error {:.3} ms at the median, {:.3} at 99 %, {:.3} at 99.9 %, {:.3} at most",
        at(&errors, 0.5).as_secs_f64() * 1e3,
        at(&errors, 0.99).as_secs_f64() * 1e3,
        at(&errors, 0.999).as_secs_f64() * 1e3,
        at(&errors, 1.0).as_secs_f64() * 1e3,
    );
}

/// Runs [`wake`] on CPU 0, with the load's CPU as busy as it is in the measurements.
pub fn floor() {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new("taskset").args(["-c", "0"]).arg(program).args(["0", "wake"]).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        let busy = Instant::now() + Duration::from_millis(1);
        while Instant::now() < busy {}
        std::thread::sleep(Duration::from_millis(1));
    }
}
