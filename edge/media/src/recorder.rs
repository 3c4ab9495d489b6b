//! What one or two parties say, mixed into one track by the time it came.
//!
//! A packet's place is given by its timestamp as long as that agrees with the time of its arrival to within
//! [`TOLERANCE`] samples, so that jitter moves nothing; else by its arrival. Samples are final when that time has
//! passed; where nothing came there is silence.

use std::collections::VecDeque;
use std::time::Instant;

use crate::rtp::Header;

/// Samples in a second.
pub const RATE: u64 = 8000;
/// How far a packet's timestamp and its arrival may be apart, samples: 100 ms.
pub const TOLERANCE: u64 = 800;
/// Samples of a frame.
const FRAME: usize = 160;
/// A frame whose mean power is that of this amplitude is not silence: -44 dB below full scale.
const LOUD: i64 = 200;

/// When a recording ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Whole seconds.
    pub max_seconds: u32,
    /// Whole seconds of silence.
    pub silence_seconds: Option<u32>,
}

/// What ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The silence at its end is not part of it.
    Silence,
    /// Its longest time has passed.
    Full,
}

/// Where a party's timestamps lie.
#[derive(Debug, Clone, Copy)]
struct Track {
    ssrc: u32,
    timestamp: u32,
    /// The place of the sample with that timestamp.
    place: u64,
}

/// One recording.
#[derive(Debug, Clone)]
pub struct Recorder {
    start: Instant,
    limits: Limits,
    tracks: [Option<Track>; 2],
    /// Samples that are not final yet; the first is at `done`.
    open: VecDeque<i32>,
    done: u64,
    /// The end of the last frame that was not silence.
    loud: u64,
}

impl Recorder {
    /// Begins now.
    pub fn new(limits: Limits, now: Instant) -> Recorder {
        Recorder { start: now, limits, tracks: [None; 2], open: VecDeque::new(), done: 0, loud: 0 }
    }

    /// How many samples are final.
    pub fn length(&self) -> u64 {
        self.done
    }

    /// A packet of one party (`other`: the second one), decoded.
    pub fn packet(&mut self, other: bool, header: &Header, samples: impl ExactSizeIterator<Item = i16>, now: Instant) {
        let arrival = self.place(now);
        let [first, second] = &mut self.tracks;
        let track = if other { second } else { first };
        let told = track.filter(|track| track.ssrc == header.ssrc).and_then(|track| {
            let ahead = header.timestamp.wrapping_sub(track.timestamp).cast_signed();
            track.place.checked_add_signed(ahead.into())
        });
        let place = match told {
            Some(place) if place.abs_diff(arrival) <= TOLERANCE => place,
            _ => arrival,
        };
        *track = Some(Track { ssrc: header.ssrc, timestamp: header.timestamp, place });
        // What is final already is too late; what lies ahead is bounded by the tolerance and the packet's length.
        let late = usize::try_from(self.done.saturating_sub(place)).unwrap_or(usize::MAX);
        let at = usize::try_from(place.saturating_sub(self.done)).unwrap_or(usize::MAX);
        let wanted = at.saturating_add(samples.len().saturating_sub(late));
        // Nothing can lie further ahead than what was not asked for in time.
        if wanted > self.open.len() && wanted < 60 * RATE as usize {
            self.open.resize(wanted, 0);
        }
        for (sum, sample) in self.open.iter_mut().skip(at).zip(samples.skip(late)) {
            *sum = sum.saturating_add(i32::from(sample));
        }
    }

    /// Appends what has become final; how it ended, if it has: then this was the last, and the recording is
    /// [`Recorder::length`] samples long, which may be fewer than were given.
    pub fn take(&mut self, now: Instant, into: &mut Vec<i16>) -> Option<Ended> {
        let whole = self.place(now).saturating_sub(TOLERANCE);
        self.advance(whole, into)
    }

    /// Ends it now: appends the rest.
    pub fn finish(&mut self, now: Instant, into: &mut Vec<i16>) -> Option<Ended> {
        let whole = self.place(now);
        let ended = self.advance(whole, into);
        if ended.is_none() && whole > self.done {
            let rest = usize::try_from(whole - self.done).unwrap_or(0).min(FRAME);
            self.frame(rest, into);
        }
        ended
    }

    /// Whole frames up to there.
    fn advance(&mut self, until: u64, into: &mut Vec<i16>) -> Option<Ended> {
        let full = u64::from(self.limits.max_seconds) * RATE;
        while self.done + FRAME as u64 <= until.min(full) {
            self.frame(FRAME, into);
            let silence = self.limits.silence_seconds.map(|seconds| u64::from(seconds) * RATE);
            if silence.is_some_and(|silence| self.done - self.loud >= silence) {
                self.done = self.loud;
                return Some(Ended::Silence);
            }
        }
        (self.done >= full).then_some(Ended::Full)
    }

    fn frame(&mut self, length: usize, into: &mut Vec<i16>) {
        let there = length.min(self.open.len());
        let mut power = 0i64;
        into.extend(self.open.drain(..there).map(|sum| {
            let sample = sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            power += i64::from(sample) * i64::from(sample);
            sample
        }));
        into.extend(std::iter::repeat_n(0, length - there));
        self.done += length as u64;
        if power >= LOUD * LOUD * length as i64 {
            self.loud = self.done;
        }
    }

    fn place(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start).as_micros();
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(RATE) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Any moment: the rules use differences only.
    #[allow(clippy::disallowed_methods)]
    fn moment() -> Instant {
        Instant::now()
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn header(ssrc: u32, timestamp: u32) -> Header {
        Header { timestamp, ssrc, ..Header::default() }
    }

    const HOUR: Limits = Limits { max_seconds: 3600, silence_seconds: None };

    /// RCML.md 1.1 `record`: both parties, one track.
    #[test]
    fn two_parties_are_mixed_by_time() {
        let start = moment();
        let mut recorder = Recorder::new(HOUR, start);
        let mut out = Vec::new();
        recorder.packet(false, &header(1, 9000), [100; 160].into_iter(), start + ms(20));
        // 30 ms late, but its timestamp says where it belongs.
        recorder.packet(true, &header(2, 50), [10; 160].into_iter(), start + ms(20));
        recorder.packet(true, &header(2, 210), [20; 160].into_iter(), start + ms(70));
        // Loud on both sides.
        recorder.packet(false, &header(1, 9480), [30_000; 160].into_iter(), start + ms(80));
        recorder.packet(true, &header(2, 530), [30_000; 160].into_iter(), start + ms(80));
        assert_eq!(recorder.take(start + ms(119), &mut out), None);
        assert!(out.is_empty(), "not final yet");
        assert_eq!(recorder.finish(start + ms(107), &mut out), None);
        let expected = [[0i16; 160], [110; 160], [20; 160], [0; 160], [i16::MAX; 160]].concat();
        assert_eq!(out[..800], expected);
        assert_eq!((out.len(), recorder.length()), (856, 856));
    }

    /// A party whose clock jumps is heard where it speaks.
    #[test]
    fn timestamps_that_do_not_fit_are_not_believed() {
        let start = moment();
        let mut recorder = Recorder::new(HOUR, start);
        recorder.packet(false, &header(1, 0), [1; 160].into_iter(), start);
        recorder.packet(false, &header(1, 4_000_000_000), [2; 160].into_iter(), start + ms(20));
        recorder.packet(false, &header(3, 7), [3; 160].into_iter(), start + ms(40));
        let mut out = Vec::new();
        recorder.finish(start + ms(60), &mut out);
        assert_eq!(out, [[1i16; 160], [2; 160], [3; 160]].concat());
    }

    /// RCML.md part 2, Record: `timeout` of silence ends it and is not part of it; `maxLength` ends it.
    #[test]
    fn silence_and_length_end_it() {
        let start = moment();
        let mut recorder = Recorder::new(Limits { max_seconds: 10, silence_seconds: Some(2) }, start);
        let mut out = Vec::new();
        for step in 0..50 {
            recorder.packet(false, &header(1, 160 * step), [1000; 160].into_iter(), start + ms(20 * u64::from(step)));
        }
        assert_eq!(recorder.take(start + ms(3080), &mut out), None);
        assert_eq!(recorder.take(start + ms(3100), &mut out), Some(Ended::Silence));
        assert_eq!(recorder.length(), RATE);
        let mut recorder = Recorder::new(Limits { max_seconds: 1, silence_seconds: Some(2) }, start);
        let mut out = Vec::new();
        assert_eq!(recorder.take(start + ms(5000), &mut out), Some(Ended::Full));
        assert_eq!((recorder.length(), out.len()), (RATE, 8000));
    }

    proptest! {
        /// Whatever comes and whenever: the track is as long as the time, and what is kept open is bounded.
        #[test]
        fn any_packets(packets in prop::collection::vec((any::<bool>(), any::<u32>(), 0u64..3000, 0usize..400), 0..100)) {
            let start = moment();
            let mut now = start;
            let mut recorder = Recorder::new(Limits { max_seconds: 100_000, silence_seconds: None }, start);
            let mut out = Vec::new();
            for (other, timestamp, pause, length) in packets {
                now += ms(pause);
                recorder.packet(other, &header(1, timestamp), vec![9i16; length].into_iter(), now);
                recorder.take(now, &mut out);
                prop_assert!(recorder.open.len() <= 4 * TOLERANCE as usize);
            }
            recorder.finish(now, &mut out);
            prop_assert_eq!(out.len() as u64, now.duration_since(start).as_millis() as u64 * 8);
        }
    }
}
