//! The timer values of RFC 3261 §17 (table 4) and RFC 6026, and the queue that all timers of all transactions wait in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// T1, T2 and T4 (RFC 3261 §17.1.1.2 and §17.1.2.2), from which every other timer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round trip; first interval of each retransmission series. 500 ms.
    pub t1: Duration,
    /// Longest interval between retransmissions of a non-INVITE request or of a response to INVITE. 4 s.
    pub t2: Duration,
    /// How long a message may stay in the network. 5 s.
    pub t4: Duration,
    /// When a server INVITE transaction sends 100 by itself (RFC 3261 §17.2.1). 200 ms.
    pub trying: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            trying: Duration::from_millis(200),
        }
    }
}

impl Timers {
    /// 64*T1: timers B, F, H, J (unreliable), L, M, and the wait after CANCEL (RFC 3261 §9.1).
    pub fn timeout(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// Timer D over an unreliable transport: at least 32 s (RFC 3261 §17.1.1.2), and long enough for the server's
    /// timer H where T1 is larger than usual.
    pub fn timer_d(&self) -> Duration {
        self.timeout().max(Duration::from_secs(32))
    }

    /// Interval number `n` (from 0) of timer A: T1, doubled each time without limit.
    pub fn doubling(&self, n: u8) -> Duration {
        self.t1.saturating_mul(1 << n.min(16))
    }

    /// Interval number `n` (from 0) of timers E and G: T1, doubled each time up to T2.
    pub fn doubling_to_t2(&self, n: u8) -> Duration {
        self.doubling(n).min(self.t2)
    }
}

/// One timer that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<T> {
    /// Nanoseconds on the queue's own clock.
    pub deadline: u64,
    /// What it is for.
    pub target: T,
}

/// All waiting timers, first in, first out for each duration: transactions use about a dozen different durations, and
/// of two timers of one duration the one set earlier is due earlier. So setting and taking are O(1), and 200,000
/// lingering transactions cost no more per timer than ten.
///
/// A timer is never removed: whoever stops one notes that (it compares the deadline with what it holds) and the entry
/// is skipped when it comes up. Bound: a transaction sets each of its timers anew only when the previous one fired or
/// its state changed, at most four times in its life beside repetitions, so the queue is bounded by the bound on
/// transactions times the rate at which they are replaced within 64*T1; [`TimerQueue::compact`] bounds it hard.
#[derive(Debug)]
pub(super) struct TimerQueue<T> {
    origin: Instant,
    /// The latest time seen: a clock that steps back must not disturb the lists' order.
    clock: u64,
    lists: Vec<(u64, VecDeque<Entry<T>>)>,
    len: usize,
}

impl<T: Copy> TimerQueue<T> {
    pub fn new(origin: Instant) -> Self {
        Self { origin, clock: 0, lists: Vec::with_capacity(16), len: 0 }
    }

    /// Takes note of the time.
    pub fn advance(&mut self, now: Instant) {
        self.clock = self.clock.max(nanos(now.saturating_duration_since(self.origin)));
    }

    /// When a timer set now would be due.
    pub fn deadline(&self, after: Duration) -> u64 {
        self.clock.saturating_add(nanos(after))
    }

    /// Sets a timer from the noted time on, and returns its deadline, by which to recognise it.
    pub fn set(&mut self, after: Duration, target: T) -> u64 {
        let after = nanos(after);
        let entry = Entry { deadline: self.clock.saturating_add(after), target };
        self.len += 1;
        match self.lists.iter_mut().find(|(duration, _)| *duration == after) {
            Some((_, list)) => list.push_back(entry),
            None => self.lists.push((after, VecDeque::from([entry]))),
        }
        entry.deadline
    }

    /// The deadline of the first timer that `live` knows; those before it are forgotten.
    pub fn next(&mut self, live: impl Fn(&Entry<T>) -> bool) -> Option<Instant> {
        loop {
            let list = self.first()?;
            let entry = *self.front(list)?;
            if live(&entry) {
                return self.origin.checked_add(Duration::from_nanos(entry.deadline));
            }
            self.pop(list);
        }
    }

    /// Takes the first timer that is due at the noted time, whether it is still wanted or not.
    pub fn take_due(&mut self) -> Option<Entry<T>> {
        let list = self.first()?;
        if self.front(list)?.deadline > self.clock {
            return None;
        }
        self.pop(list)
    }

    /// Forgets all timers that `live` does not know, when there are more than `limit`.
    pub fn compact(&mut self, limit: usize, live: impl Fn(&Entry<T>) -> bool) {
        if self.len <= limit {
            return;
        }
        for (_, list) in &mut self.lists {
            list.retain(&live);
            list.shrink_to(list.len().saturating_mul(2));
        }
        self.len = self.lists.iter().map(|(_, list)| list.len()).sum();
    }

    /// Timers waiting, stopped ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    fn first(&self) -> Option<usize> {
        let fronts = self.lists.iter().enumerate().filter_map(|(i, (_, list))| Some((list.front()?.deadline, i)));
        fronts.min().map(|(_, i)| i)
    }

    fn front(&self, list: usize) -> Option<&Entry<T>> {
        self.lists.get(list)?.1.front()
    }

    fn pop(&mut self, list: usize) -> Option<Entry<T>> {
        let entry = self.lists.get_mut(list)?.1.pop_front()?;
        self.len -= 1;
        Some(entry)
    }
}

/// As nanoseconds; 584 years are enough.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_of_their_deadlines_whatever_their_duration() {
        let origin = crate::transaction::some_instant();
        let mut queue = TimerQueue::new(origin);
        queue.set(Duration::from_secs(32), 'c');
        queue.set(Duration::from_secs(4), 'a');
        queue.advance(origin + Duration::from_secs(1));
        queue.set(Duration::from_secs(32), 'd');
        queue.set(Duration::from_secs(4), 'b');
        let mut seen = Vec::new();
        while let Some(at) = queue.next(|_| true) {
            queue.advance(at);
            let entry = queue.take_due().unwrap();
            seen.push((entry.target, at.duration_since(origin).as_secs()));
            assert!(queue.take_due().is_none());
        }
        assert_eq!(seen, [('a', 4), ('b', 5), ('c', 32), ('d', 33)]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_disturb_the_order() {
        let origin = crate::transaction::some_instant();
        let mut queue = TimerQueue::new(origin);
        queue.advance(origin + Duration::from_secs(10));
        queue.set(Duration::from_secs(1), 'a');
        queue.advance(origin + Duration::from_secs(5));
        queue.set(Duration::from_secs(1), 'b');
        assert!(queue.take_due().is_none());
        queue.advance(origin + Duration::from_secs(11));
        assert_eq!(queue.take_due().unwrap().target, 'a');
        assert_eq!(queue.take_due().unwrap().target, 'b');
    }

    #[test]
    fn stopped_timers_are_forgotten() {
        let origin = crate::transaction::some_instant();
        let mut queue = TimerQueue::new(origin);
        for i in 0..100 {
            queue.set(Duration::from_secs(1 + i % 3), i);
        }
        queue.compact(100, |_| false);
        assert_eq!(queue.len(), 100, "within the limit nothing is done");
        queue.compact(99, |entry| entry.target == 7);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.next(|_| true), Some(origin + Duration::from_secs(2)));
        assert_eq!(queue.next(|_| false), None);
        assert_eq!(queue.len(), 0);
    }
}
