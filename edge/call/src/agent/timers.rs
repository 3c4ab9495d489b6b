//! Timers as data: what is due when, in the order of time and then of being set.

use std::collections::BTreeMap;
use std::time::Instant;

/// Names one timer that is set, to cancel it. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId(Instant, u64);

impl TimerId {
    /// When it is due.
    pub fn at(self) -> Instant {
        self.0
    }
}

/// A queue of timers. Cancelling removes at once, so the queue is as long as what is waited for.
#[derive(Debug)]
pub struct Timers<K> {
    queue: BTreeMap<TimerId, K>,
    next: u64,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { queue: BTreeMap::new(), next: 0 }
    }
}

impl<K> Timers<K> {
    /// Sets a timer.
    pub fn set(&mut self, at: Instant, kind: K) -> TimerId {
        self.next += 1;
        let id = TimerId(at, self.next);
        self.queue.insert(id, kind);
        id
    }

    /// Cancels a timer; one that has fired already is no fault.
    pub fn cancel(&mut self, id: TimerId) {
        self.queue.remove(&id);
    }

    /// Cancels the timer in `slot`, if there is one.
    pub fn clear(&mut self, slot: &mut Option<TimerId>) {
        if let Some(id) = slot.take() {
            self.cancel(id);
        }
    }

    /// Sets the timer in `slot` anew, cancelling what was there.
    pub fn reset(&mut self, slot: &mut Option<TimerId>, at: Instant, kind: K) {
        self.clear(slot);
        *slot = Some(self.set(at, kind));
    }

    /// Takes the next timer that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|(id, _)| id.0)
    }

    /// How many are set.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // An instant to count from can only be had so.
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timers_fire_in_order_and_cancelled_ones_never() {
        let start = Instant::now();
        let mut timers = Timers::default();
        let late = timers.set(start + Duration::from_secs(2), "late");
        timers.set(start + Duration::from_secs(1), "first");
        timers.set(start + Duration::from_secs(1), "second");
        assert_eq!(timers.next(), Some(start + Duration::from_secs(1)));
        assert_eq!(timers.pop_due(start), None);
        timers.cancel(late);
        let due = start + Duration::from_secs(5);
        assert_eq!(
            [timers.pop_due(due), timers.pop_due(due), timers.pop_due(due)],
            [Some("first"), Some("second"), None]
        );
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn a_slot_holds_one_timer() {
        let start = Instant::now();
        let mut timers = Timers::default();
        let mut slot = None;
        timers.reset(&mut slot, start, 1);
        timers.reset(&mut slot, start, 2);
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.pop_due(start), Some(2));
        timers.clear(&mut slot);
        assert_eq!(slot, None);
    }
}
