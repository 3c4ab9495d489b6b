//! The two retransmission series that belong to the user of a transaction, not to the transaction: the 2xx of an
//! INVITE until its ACK (RFC 3261 §13.3.1.4), and a reliable provisional response until its PRACK (RFC 3262 §3).

use std::time::{Duration, Instant};

use super::timers::Timers;

/// When to send something again, until it is acknowledged or 64*T1 have passed. It holds no bytes: the user sends
/// them, over an unreliable *and* over a reliable transport (both RFCs: the next hop may be a proxy that is not).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retransmission {
    /// When to send again.
    next: Instant,
    interval: Duration,
    /// Longest interval, if there is one.
    ceiling: Option<Duration>,
    /// When to give up.
    end: Instant,
}

/// What a [`Retransmission`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send it again.
    Send,
    /// 64*T1 have passed: a 2xx without ACK ends the dialog with BYE (RFC 3261 §13.3.1.4), a provisional response
    /// without PRACK ends the INVITE with a 5xx (RFC 3262 §3). Said at every later call too.
    GiveUp,
}

impl Retransmission {
    /// A 2xx sent at `now`: again after T1, doubled up to T2 (RFC 3261 §13.3.1.4).
    pub fn of_success(now: Instant, timers: &Timers) -> Self {
        Self { next: now + timers.t1, interval: timers.t1, ceiling: Some(timers.t2), end: now + timers.timeout() }
    }

    /// A reliable provisional response sent at `now`: again after T1, doubled each time (RFC 3262 §3).
    pub fn of_provisional(now: Instant, timers: &Timers) -> Self {
        Self { next: now + timers.t1, interval: timers.t1, ceiling: None, end: now + timers.timeout() }
    }

    /// When [`Retransmission::poll`] has something to say next.
    pub fn deadline(&self) -> Instant {
        self.next.min(self.end)
    }

    /// What is due at `now`. Call it at [`Retransmission::deadline`]; a late call sends once, not once for each
    /// instant that it missed.
    pub fn poll(&mut self, now: Instant) -> Due {
        if now >= self.end {
            return Due::GiveUp;
        }
        if now < self.next {
            return Due::Nothing;
        }
        self.interval = self.interval.saturating_mul(2);
        if let Some(ceiling) = self.ceiling {
            self.interval = self.interval.min(ceiling);
        }
        self.next = now + self.interval;
        Due::Send
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(mut series: Retransmission, start: Instant) -> (Vec<u128>, u128) {
        let mut sent = Vec::new();
        loop {
            let at = series.deadline();
            assert_eq!(series.poll(at - Duration::from_nanos(1)), Due::Nothing);
            match series.poll(at) {
                Due::Send => sent.push(at.duration_since(start).as_millis()),
                Due::GiveUp => return (sent, at.duration_since(start).as_millis()),
                Due::Nothing => panic!("the deadline has something to say"),
            }
        }
    }

    /// RFC 3261 §13.3.1.4: T1, doubling up to T2, for 64*T1.
    #[test]
    fn success_is_repeated_from_t1_to_t2_for_64_t1() {
        let start = crate::transaction::some_instant();
        let (sent, end) = series(Retransmission::of_success(start, &Timers::default()), start);
        assert_eq!(sent, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!(end, 32000);
    }

    /// RFC 3262 §3: T1, doubling without limit, for 64*T1.
    #[test]
    fn reliable_provisional_is_repeated_with_doubling_intervals_for_64_t1() {
        let start = crate::transaction::some_instant();
        let (sent, end) = series(Retransmission::of_provisional(start, &Timers::default()), start);
        assert_eq!(sent, [500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!(end, 32000);
    }

    #[test]
    fn a_late_poll_sends_once() {
        let start = crate::transaction::some_instant();
        let mut series = Retransmission::of_success(start, &Timers::default());
        assert_eq!(series.poll(start + Duration::from_secs(8)), Due::Send);
        assert_eq!(series.poll(start + Duration::from_secs(8)), Due::Nothing);
        assert_eq!(series.deadline(), start + Duration::from_secs(9));
        assert_eq!(series.poll(start + Duration::from_secs(40)), Due::GiveUp);
        assert_eq!(series.poll(start + Duration::from_secs(50)), Due::GiveUp);
    }
}
