//! Who is dead: an edge whose counter of renewals has not moved for 30 s on the judge's own clock. Clocks are never
//! compared (DESIGN "Time").

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ringfork_state::EdgeRecord;

/// The lease: three renewals missed.
pub const LEASE: Duration = Duration::from_secs(30);

/// When each edge was first seen at its present counter. A judge that forgets (a cold start) waits anew: it errs on the
/// side of the living.
#[derive(Debug, Default)]
pub struct Observations {
    seen: HashMap<String, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    epoch: u64,
    beat: u64,
    since: Instant,
}

impl Observations {
    /// Takes note of the edges as they are now and returns those whose lease has run out.
    pub fn judge(&mut self, now: Instant, edges: &[EdgeRecord]) -> Vec<EdgeRecord> {
        self.seen.retain(|id, _| edges.iter().any(|edge| edge.live && edge.id == *id));
        let mut dead = Vec::new();
        for edge in edges.iter().filter(|edge| edge.live) {
            let fresh = Seen { epoch: edge.epoch, beat: edge.beat, since: now };
            let seen = self.seen.entry(edge.id.clone()).or_insert(fresh);
            if (seen.epoch, seen.beat) != (edge.epoch, edge.beat) {
                *seen = fresh;
            } else if now.saturating_duration_since(seen.since) >= LEASE {
                dead.push(edge.clone());
            }
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(epoch: u64, beat: u64) -> EdgeRecord {
        EdgeRecord {
            id: "edge-a".to_owned(),
            epoch,
            beat,
            renewed_unix_ms: 0,
            live: true,
            unreaped: Vec::new(),
            addresses: Vec::new(),
            load: 0,
            draining: false,
        }
    }

    /// DESIGN "Time": judged by a counter unchanged over 30 s.
    #[test]
    fn dead_is_who_did_not_renew_for_thirty_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut judge = Observations::default();
        assert_eq!(judge.judge(at(0), &[edge(1, 5)]), []);
        assert_eq!(judge.judge(at(29), &[edge(1, 5)]), []);
        assert_eq!(judge.judge(at(30), &[edge(1, 5)]), [edge(1, 5)]);
        // A renewal in between starts the wait anew, and so does a restart.
        assert_eq!(judge.judge(at(31), &[edge(1, 6)]), []);
        assert_eq!(judge.judge(at(60), &[edge(1, 6)]), []);
        assert_eq!(judge.judge(at(62), &[edge(2, 6)]), []);
        assert_eq!(judge.judge(at(91), &[edge(2, 6)]), []);
        assert_eq!(judge.judge(at(92), &[edge(2, 6)]), [edge(2, 6)]);
    }

    #[test]
    fn who_stopped_in_order_is_never_dead() {
        let start = Instant::now();
        let mut judge = Observations::default();
        let stopped = EdgeRecord { live: false, ..edge(1, 5) };
        judge.judge(start, std::slice::from_ref(&stopped));
        assert_eq!(judge.judge(start + Duration::from_secs(3600), &[stopped]), []);
        assert!(judge.seen.is_empty());
    }
}
