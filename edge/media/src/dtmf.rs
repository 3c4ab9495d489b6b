//! Keys as RFC 4733 says: taken from a party once per press, and sent to it.

use std::collections::VecDeque;

use crate::events::Event;
use crate::rtp::Header;

/// Presses that a late packet is still known to belong to.
const REMEMBERED: usize = 16;
/// RFC 4733 §2.5.1.3: a press that lasts longer than its duration field can say goes on under a new timestamp, so much
/// later.
const SEGMENT: u32 = 0xffff;

/// A press as the wire names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Press {
    ssrc: u32,
    timestamp: u32,
    code: u8,
}

/// Reads keys from one party. Which packets of a press are lost does not matter as long as one comes: whatever is first
/// heard of a new timestamp is the press, and all else about it, repeated end packets and late ones too, is not.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    recent: VecDeque<Press>,
}

impl Receiver {
    /// Takes a packet of telephone events; the key where it tells of a new press.
    pub fn packet(&mut self, header: &Header, data: &[u8]) -> Option<char> {
        let event = Event::parse(data)?;
        let key = event.key()?;
        let press = Press { ssrc: header.ssrc, timestamp: header.timestamp, code: event.code };
        if self.recent.contains(&press) {
            return None;
        }
        let before = Press { timestamp: press.timestamp.wrapping_sub(SEGMENT), ..press };
        let goes_on = self.recent.contains(&before);
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(press);
        (!goes_on).then_some(key)
    }
}

/// Keys that may wait to be sent; one more is refused.
pub const WAITING: usize = 64;
/// Steps of 20 ms that a key sounds: 100 ms.
const TONE: u16 = 5;
/// The steps of a key with the pause after it: 60 ms, at least 50.
const CYCLE: u16 = 8;
/// RFC 4733 §2.5.1.4: the end is sent three times.
const ENDS: u16 = 3;
/// In dB below 0 dBm0.
const VOLUME: u8 = 10;
/// Samples of a step.
const STEP: u16 = 160;

/// What is sent in one step of 20 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed {
    /// The first packet of its press: a new timestamp.
    pub first: bool,
    /// The payload.
    pub event: Event,
}

/// Sends keys to one party, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    waiting: VecDeque<u8>,
    /// The key that is sent, and the steps it had.
    current: Option<(u8, u16)>,
}

impl Sender {
    /// Puts a key behind those that wait; false: it is none, or too many wait.
    pub fn push(&mut self, key: char) -> bool {
        match Event::code_of(key) {
            Some(code) if self.waiting.len() < WAITING => {
                self.waiting.push_back(code);
                true
            }
            _ => false,
        }
    }

    /// Whether nothing is left to be sent.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    /// Whether a key sounds or its end is being repeated: nothing else is sent then.
    pub fn is_sounding(&self) -> bool {
        self.current.is_some_and(|(_, step)| step < TONE + ENDS - 1)
    }

    /// What to send in this step of 20 ms; `None`: sound.
    pub fn step(&mut self) -> Option<Keyed> {
        let (code, step) = match self.current {
            Some(current) => current,
            None => (self.waiting.pop_front()?, 0),
        };
        self.current = (step + 1 < CYCLE).then_some((code, step + 1));
        let end = step + 1 >= TONE;
        let duration = STEP * (step + 1).min(TONE);
        let event = Event { code, end, volume: VOLUME, duration };
        (step < TONE + ENDS - 1).then_some(Keyed { first: step == 0, event })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: &str = "0123456789*#ABCD";

    fn header(sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload: 101, sequence, timestamp, ssrc: 5 }
    }

    /// What a phone sends for a press of so many steps of 20 ms: updates, then the end three times.
    fn press(key: char, timestamp: u32, steps: u16) -> Vec<(u32, Event)> {
        let code = Event::code_of(key).unwrap();
        let packet = |step: u16, end| (timestamp, Event { code, end, volume: 10, duration: 160 * step });
        let mut packets: Vec<_> = (1..steps).map(|step| packet(step, false)).collect();
        packets.extend([packet(steps, true); 3]);
        packets
    }

    fn heard<'a>(packets: impl IntoIterator<Item = &'a (u32, Event)>) -> String {
        let mut receiver = Receiver::default();
        let packets = packets.into_iter().enumerate();
        packets
            .filter_map(|(at, (timestamp, event))| receiver.packet(&header(at as u16, *timestamp), &event.to_bytes()))
            .collect()
    }

    /// Issue 4: a 20-digit entry typed fast, 40 ms tones with 40 ms between them, is complete and in order, the same key
    /// twice too.
    #[test]
    fn twenty_digits_typed_fast() {
        let typed = "11223344556677889900";
        let packets: Vec<_> = typed.chars().zip(0u32..).flat_map(|(key, at)| press(key, 1000 + at * 640, 2)).collect();
        assert_eq!(heard(&packets), typed);
    }

    /// RFC 4733 §2.5.1.3: a key held for longer than 8 s is one press.
    #[test]
    fn a_long_press_is_one() {
        let code = Event::code_of('7').unwrap();
        let long = |start: u32, duration| (start, Event { code, end: false, volume: 10, duration });
        let packets =
            [long(0, 160), long(0, 0xffff), long(0xffff, 160), long(2 * 0xffff, 160), long(3 * 0xffff + 1, 160)];
        assert_eq!(heard(&packets), "77");
    }

    #[test]
    fn what_is_no_key_is_nothing() {
        let mut receiver = Receiver::default();
        assert_eq!(receiver.packet(&header(1, 1), &[1, 2, 3]), None);
        assert_eq!(receiver.packet(&header(1, 1), &[16, 0, 0, 0]), None);
        assert_eq!(receiver.packet(&header(1, 1), &[11, 0x80, 0, 0]), Some('#'));
    }

    /// RFC 4733 §2.5.1: updates every 20 ms, the end three times, 100 ms of tone, at least 50 ms of pause.
    #[test]
    fn a_key_is_sent() {
        let mut sender = Sender::default();
        assert!(sender.is_idle() && sender.push('5') && sender.push('#') && !sender.push('x'));
        let steps: Vec<Option<Keyed>> = (0..16).map(|_| sender.step()).collect();
        let durations: Vec<_> = steps.iter().map(|s| s.map(|s| (s.event.duration, s.event.end, s.first))).collect();
        let one = [
            Some((160, false, true)),
            Some((320, false, false)),
            Some((480, false, false)),
            Some((640, false, false)),
            Some((800, true, false)),
            Some((800, true, false)),
            Some((800, true, false)),
            None,
        ];
        assert_eq!(durations, [one, one].concat());
        assert_eq!((steps[0].unwrap().event.key(), steps[8].unwrap().event.key()), (Some('5'), Some('#')));
        assert!(sender.is_idle() && sender.step().is_none());
        assert_eq!((0..100).filter(|_| sender.push('1')).count(), WAITING);
    }

    fn presses() -> impl Strategy<Value = Vec<(char, u16, u16)>> {
        prop::collection::vec((prop::sample::select(KEYS.chars().collect::<Vec<_>>()), 2u16..30, 1u16..10), 1..25)
    }

    proptest! {
        /// Issue 4: every loss that leaves a packet of each press gives exactly the keys, in order; so do repetitions
        /// and packets that come a little late.
        #[test]
        fn any_loss(presses in presses(), kept in prop::collection::vec(any::<u64>(), 25), double in any::<u64>(), swap in any::<u64>()) {
            let mut packets = Vec::new();
            let (mut timestamp, mut typed) = (u32::MAX - 3000, String::new());
            for ((key, steps, pause), kept) in presses.iter().zip(kept) {
                let all = press(*key, timestamp, *steps);
                let mut left: Vec<_> = all.iter().enumerate().filter(|(at, _)| kept >> at & 1 == 1).map(|(_, p)| *p).collect();
                if left.is_empty() {
                    left.push(all[kept as usize % all.len()]);
                }
                // Among packets of one press any order does.
                if swap & 1 == 1 { left.reverse(); }
                // A late packet of a press that was heard, after the next has begun.
                let straggler = left.last().copied();
                packets.extend(left);
                if double >> (typed.len() % 64) & 1 == 1 { packets.extend(straggler); }
                timestamp = timestamp.wrapping_add(160 * u32::from(steps + pause));
                typed.push(*key);
            }
            if swap & 2 == 2 {
                // A repeated end packet of the press before comes after the first packet of the next one.
                for at in 2..packets.len() {
                    if packets[at].0 != packets[at - 1].0 && packets[at - 1].0 == packets[at - 2].0 { packets.swap(at, at - 1); }
                }
            }
            prop_assert_eq!(heard(&packets), typed);
        }

        #[test]
        fn any_octets(data in prop::collection::vec(any::<u8>(), 0..12), timestamp: u32) {
            let _ = Receiver::default().packet(&header(0, timestamp), &data);
        }
    }
}
