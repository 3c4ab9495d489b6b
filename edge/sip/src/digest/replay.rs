//! Which nonce counts have been used (RFC 7616 §5.12): a window of 64 counts for each nonce, in a bounded table.
//!
//! Nonces are kept in slots by the time of their issue. A slot goes as a whole when its nonces have expired, and the
//! oldest one goes early when the table is full: from then on its nonces count as expired, so their users are asked to
//! use a fresh one (`stale=true`). Memory is bounded and nobody is refused.

use std::collections::{BTreeMap, HashMap};

use super::nonce::Issued;

/// Slots over the life of a nonce.
const SLOTS: u64 = 10;

#[derive(Debug, Clone, Copy)]
struct Window {
    /// Highest count seen.
    highest: u32,
    /// Bit n: `highest - n` was seen.
    seen: u64,
}

pub(super) struct ReplayTable {
    slot_ms: u64,
    slots: BTreeMap<u64, HashMap<u64, Window>>,
    /// Nonces issued in earlier slots are expired.
    floor: u64,
    entries: usize,
    capacity: usize,
}

impl ReplayTable {
    /// For nonces that live `validity_ms`; at most `capacity` of them are remembered (at least one).
    pub(super) fn new(validity_ms: u64, capacity: usize) -> ReplayTable {
        ReplayTable {
            slot_ms: (validity_ms / SLOTS).max(1),
            slots: BTreeMap::new(),
            floor: 0,
            entries: 0,
            capacity: capacity.max(1),
        }
    }

    /// Forgets what was issued before `oldest_ms`: it is expired anyway.
    pub(super) fn forget_before(&mut self, oldest_ms: u64) {
        while let Some(slot) = self.slots.first_entry() {
            if (slot.key() + 1) * self.slot_ms > oldest_ms {
                break;
            }
            self.entries -= slot.remove().len();
        }
    }

    /// Whether this is the first use of that count of the nonce. `false`: used before, more than 63 counts behind, or
    /// of a nonce that has been forgotten.
    pub(super) fn first_use(&mut self, nonce: Issued, count: u32) -> bool {
        let slot = nonce.at_ms / self.slot_ms;
        if slot < self.floor {
            return false;
        }
        if let Some(window) = self.slots.get_mut(&slot).and_then(|slot| slot.get_mut(&nonce.random)) {
            return window.take(count);
        }
        while self.entries >= self.capacity {
            let Some((oldest, gone)) = self.slots.pop_first() else { break };
            self.entries -= gone.len();
            self.floor = self.floor.max(oldest + 1);
            if slot < self.floor {
                return false;
            }
        }
        self.slots.entry(slot).or_default().insert(nonce.random, Window { highest: count, seen: 1 });
        self.entries += 1;
        true
    }

    /// Nonces remembered now.
    pub(super) fn len(&self) -> usize {
        self.entries
    }
}

impl Window {
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = if ahead < 64 { self.seen << ahead | 1 } else { 1 };
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        if behind >= 64 || self.seen >> behind & 1 == 1 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn nonce(at_ms: u64, random: u64) -> Issued {
        Issued { at_ms, random }
    }

    #[test]
    fn counts_come_once_within_the_window() {
        let mut table = ReplayTable::new(300_000, 10);
        let n = nonce(1_000_000, 1);
        for (count, fresh) in
            [(1, true), (1, false), (3, true), (2, true), (2, false), (66, true), (2, false), (4, true)]
        {
            assert_eq!(table.first_use(n, count), fresh, "{count}");
        }
        assert!(table.first_use(n, u32::MAX));
        assert!(!table.first_use(n, 67));
        assert!(table.first_use(nonce(1_000_000, 2), 1), "another nonce has counts of its own");
    }

    #[test]
    fn a_full_table_forgets_the_oldest_slot_and_says_no() {
        let mut table = ReplayTable::new(100, 3);
        assert!(table.first_use(nonce(1000, 1), 1) && table.first_use(nonce(1001, 2), 1));
        assert!(table.first_use(nonce(1050, 3), 1));
        assert!(table.first_use(nonce(1060, 4), 1));
        assert_eq!(table.len(), 2);
        assert!(!table.first_use(nonce(1000, 1), 2), "forgotten: stale");
        assert!(!table.first_use(nonce(1002, 9), 1), "issued in the forgotten slot: stale");
        assert!(table.first_use(nonce(1050, 3), 2));
        for random in 10..100 {
            table.first_use(nonce(1061, random), 1);
            assert!(table.len() <= 3);
        }
    }

    #[test]
    fn expired_slots_go() {
        let mut table = ReplayTable::new(100, 1000);
        for at in 0..100 {
            table.first_use(nonce(1000 + at, at), 1);
        }
        table.forget_before(1050);
        assert_eq!(table.len(), 50);
        table.forget_before(2000);
        assert_eq!(table.len(), 0);
        assert!(table.slots.is_empty());
    }

    proptest! {
        /// Whatever the order, no count of a nonce is taken twice and the table stays bounded.
        #[test]
        fn never_twice(uses in prop::collection::vec((0u64..200, 0u64..4, 1u32..100), 1..400)) {
            let mut table = ReplayTable::new(100, 5);
            let mut taken = HashSet::new();
            for (at, random, count) in uses {
                // The random part names a nonce together with its time.
                let n = nonce(at, at * 10 + random);
                if table.first_use(n, count) {
                    prop_assert!(taken.insert((at, random, count)));
                }
                prop_assert!(table.len() <= 5);
            }
        }
    }
}
