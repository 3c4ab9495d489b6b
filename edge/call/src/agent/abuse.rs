//! The per-source limit of `--abuse-limit`: it counts wrong credentials and unreadable messages only, and beyond it
//! the source's requests outside dialogs and registered flows are dropped for ten seconds.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Both the window in which offences are counted and the time of being dropped.
const WINDOW: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Source {
    /// Start of the window, or of the time of being dropped.
    since: Instant,
    offences: u32,
    blocked: bool,
}

/// What is known of sources that offended lately. Bounded: when it is full the source seen first is forgotten.
#[derive(Debug)]
pub struct Abuse {
    limit: u32,
    cap: usize,
    sources: HashMap<IpAddr, Source>,
    /// Sources by the start of their window, oldest first; an entry whose time differs from the table's is stale.
    order: VecDeque<(Instant, IpAddr)>,
}

/// One host: its IPv4 address, or its IPv6 /64 (one subscriber has all of it).
pub fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

impl Abuse {
    /// `limit` offences within ten seconds are suffered; 0: any number.
    pub fn new(limit: u32, cap: usize) -> Self {
        Abuse { limit, cap: cap.max(1), sources: HashMap::new(), order: VecDeque::new() }
    }

    /// Counts one offence. True when this one begins a time of being dropped.
    pub fn offence(&mut self, now: Instant, address: IpAddr) -> bool {
        if self.limit == 0 {
            return false;
        }
        self.expire(now);
        let key = source_of(address);
        if let Some(source) = self.sources.get_mut(&key) {
            source.offences = source.offences.saturating_add(1);
            if source.blocked || source.offences <= self.limit {
                return false;
            }
            source.blocked = true;
            source.since = now;
            self.order.push_back((now, key));
            return true;
        }
        if self.sources.len() >= self.cap {
            self.forget_oldest();
        }
        self.sources.insert(key, Source { since: now, offences: 1, blocked: false });
        self.order.push_back((now, key));
        false
    }

    /// Whether requests of this source outside dialogs and registered flows are dropped now.
    pub fn is_blocked(&mut self, now: Instant, address: IpAddr) -> bool {
        if self.sources.is_empty() {
            return false;
        }
        self.expire(now);
        self.sources.get(&source_of(address)).is_some_and(|source| source.blocked)
    }

    fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(since, _)| *since + WINDOW <= now) {
            self.forget_front();
        }
    }

    fn forget_oldest(&mut self) {
        while !self.order.is_empty() && !self.forget_front() {}
    }

    /// Takes the front of the order, and its source if that entry is its latest (true).
    fn forget_front(&mut self) -> bool {
        let Some((since, key)) = self.order.pop_front() else { return false };
        let latest = self.sources.get(&key).is_some_and(|source| source.since == since);
        if latest {
            self.sources.remove(&key);
        }
        latest
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // An instant to count from can only be had so.
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Issue 3, `--abuse-limit 20`: beyond it, ten seconds.
    #[test]
    fn dropped_for_ten_seconds_beyond_the_limit() {
        let start = Instant::now();
        let mut abuse = Abuse::new(3, 10);
        for _ in 0..3 {
            assert!(!abuse.offence(start, address(1)));
            assert!(!abuse.is_blocked(start, address(1)));
        }
        let later = start + Duration::from_secs(5);
        assert!(abuse.offence(later, address(1)));
        assert!(!abuse.offence(later, address(1)), "counted once per time of being dropped");
        assert!(abuse.is_blocked(later + Duration::from_millis(9_999), address(1)));
        assert!(!abuse.is_blocked(later, address(2)));
        assert!(!abuse.is_blocked(later + WINDOW, address(1)));
        assert!(abuse.sources.is_empty() && abuse.order.is_empty());
    }

    #[test]
    fn offences_older_than_the_window_do_not_count() {
        let start = Instant::now();
        let mut abuse = Abuse::new(1, 10);
        assert!(!abuse.offence(start, address(1)));
        assert!(!abuse.offence(start + WINDOW, address(1)));
        assert!(!abuse.is_blocked(start + WINDOW, address(1)));
    }

    #[test]
    fn zero_is_no_limit() {
        let start = Instant::now();
        let mut abuse = Abuse::new(0, 10);
        for _ in 0..100 {
            abuse.offence(start, address(1));
        }
        assert!(!abuse.is_blocked(start, address(1)));
    }

    /// The table is bounded whatever the number of sources.
    #[test]
    fn the_oldest_source_is_forgotten_when_full() {
        let start = Instant::now();
        let mut abuse = Abuse::new(1, 4);
        for last in 0..100 {
            abuse.offence(start + Duration::from_millis(u64::from(last)), address(last));
        }
        assert_eq!(abuse.sources.len(), 4);
        assert!(abuse.order.len() <= 8);
    }

    /// A host has a whole IPv6 /64.
    #[test]
    fn an_ipv6_source_is_its_prefix() {
        let start = Instant::now();
        let mut abuse = Abuse::new(1, 4);
        abuse.offence(start, "2001:db8::1".parse().unwrap());
        assert!(abuse.offence(start, "2001:db8::2".parse().unwrap()));
    }
}
