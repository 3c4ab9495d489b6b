//! One clock for all streams: a wheel of twenty slots of a millisecond each, so that hundreds of streams leave in
//! twenty small groups instead of one burst. Deadlines are absolute: what is late once does not make the next late.

use std::time::{Duration, Instant};

use ringfork_media::tone::STEP_MS;

/// Slots of the wheel: each has the same millisecond of every 20.
const SLOTS: usize = STEP_MS as usize;
/// A new stream gets the emptiest of so many next slots: it is heard soon, and the slots fill evenly.
const CHOICE: u64 = 5;
/// Steps that were missed for longer are left out instead of being caught up in a burst: the machine stood still.
const PATIENCE: u64 = 200;

/// The wheel. Its members are the places of sessions.
#[derive(Debug)]
pub struct Wheel {
    epoch: Instant,
    /// The millisecond after the epoch that is next.
    next: u64,
    slots: [Vec<usize>; SLOTS],
    count: usize,
}

impl Wheel {
    pub fn new(now: Instant) -> Wheel {
        Wheel { epoch: now, next: 0, slots: Default::default(), count: 0 }
    }

    /// Puts a member in; it is not in yet. Returns its slot.
    pub fn add(&mut self, member: usize, now: Instant) -> usize {
        if self.count == 0 {
            self.next = self.next.max(self.millisecond(now));
        }
        let first = self.next;
        let slot = (first..first + CHOICE)
            .map(|ms| (ms % SLOTS as u64) as usize)
            .min_by_key(|slot| self.slots.get(*slot).map_or(0, Vec::len))
            .unwrap_or(0);
        if let Some(members) = self.slots.get_mut(slot) {
            members.push(member);
            self.count += 1;
        }
        slot
    }

    /// Takes a member out of its slot.
    pub fn remove(&mut self, slot: usize, member: usize) {
        if let Some(members) = self.slots.get_mut(slot)
            && let Some(at) = members.iter().position(|each| *each == member)
        {
            members.swap_remove(at);
            self.count -= 1;
        }
    }

    /// When the next group is due.
    pub fn due(&self) -> Option<Instant> {
        let ms = self.next_group()?;
        Some(self.epoch + Duration::from_millis(ms))
    }

    /// The next group that is due by now: when it was, and its members, put into `members`.
    pub fn pop(&mut self, now: Instant, members: &mut Vec<usize>) -> Option<Instant> {
        let current = self.millisecond(now);
        if current.saturating_sub(self.next) > PATIENCE {
            self.next = current;
        }
        let ms = self.next_group().filter(|ms| *ms <= current)?;
        self.next = ms + 1;
        members.clear();
        members.extend_from_slice(self.slots.get((ms % SLOTS as u64) as usize)?);
        Some(self.epoch + Duration::from_millis(ms))
    }

    fn next_group(&self) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let occupied = |ms: &u64| self.slots.get((*ms % SLOTS as u64) as usize).is_some_and(|slot| !slot.is_empty());
        (self.next..self.next + SLOTS as u64).find(occupied)
    }

    fn millisecond(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Issue 4: exact 20 ms pacing, whenever the thread looks; no burst of all streams.
    #[test]
    fn each_member_is_due_every_twenty_milliseconds() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        for member in 0..300 {
            wheel.add(member, start + ms(member as u64 / 3));
        }
        let mut times: Vec<Vec<Instant>> = vec![Vec::new(); 300];
        let mut members = Vec::new();
        for look in (0..1000).step_by(7) {
            let mut last = None;
            while let Some(due) = wheel.pop(start + ms(look), &mut members) {
                assert!(last.is_none_or(|last| due > last) && due <= start + ms(look));
                assert!((1..=60).contains(&members.len()), "{}", members.len());
                last = Some(due);
                members.iter().for_each(|member| times[*member].push(due));
            }
            assert!(wheel.due().unwrap() > start + ms(look));
        }
        for times in times {
            assert!(times.len() >= 49);
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] == ms(20)));
        }
    }

    #[test]
    fn a_machine_that_stood_still_does_not_burst() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let slot = wheel.add(7, start);
        let mut members = Vec::new();
        assert!(wheel.pop(start, &mut members).is_some() && wheel.pop(start, &mut members).is_none());
        let later = start + ms(100_000);
        let caught_up = std::iter::from_fn(|| wheel.pop(later, &mut members)).count();
        assert!(caught_up <= 1, "{caught_up}");
        wheel.remove(slot, 7);
        assert_eq!(wheel.due(), None);
    }
}
