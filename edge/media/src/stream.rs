//! One outgoing stream towards one party, whatever it carries: sound of our own and packets relayed from others under
//! one SSRC, with sequence numbers and timestamps that go on (RFC 3550 §5.1), so that no phone starts anew.
//!
//! Numbers of relayed packets are moved by a constant, so that what the other party lost, or what came in another
//! order, looks as it was. The constant is chosen anew where the origin changes: at a bridge, after sound of our own in
//! a bridge, and where the other party begins another stream; the packet there has the marker bit.

use std::time::{Duration, Instant};

use crate::rtp::Header;
use crate::tone::{SAMPLES, STEP_MS};

/// RFC 3550 §A.1 (`MAX_DROPOUT`): a sequence number that jumps further ahead begins another stream.
const FORWARD: i16 = 3000;
/// The same for one that lies further back (`MAX_MISORDER`, more generous: all of it may come late, nothing is read).
const BACKWARD: i16 = -500;
/// So far back a stream that was taken over may still have packets on their way.
const TAKEN_OVER: i64 = 100;

/// The stream.
#[derive(Debug, Clone)]
pub struct Stream {
    ssrc: u32,
    /// Of the newest packet, or, before the first, of the one that would have been before it.
    sequence: u16,
    timestamp: u32,
    /// When the newest packet was due or came; none: there was none.
    at: Option<Instant>,
    link: Option<Link>,
}

/// How numbers of the stream that is relayed now become ours.
#[derive(Debug, Clone, Copy)]
struct Link {
    ssrc: u32,
    /// To be added.
    sequence: u16,
    timestamp: u32,
    /// Its newest sequence number, and how many numbers that is after the first one of the link.
    newest: u16,
    age: i64,
}

impl Stream {
    /// A stream with these first numbers, which are random (RFC 3550 §5.1).
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Stream {
        let (sequence, timestamp) = (sequence.wrapping_sub(1), timestamp.wrapping_sub(SAMPLES as u32));
        Stream { ssrc, sequence, timestamp, at: None, link: None }
    }

    /// Takes over a stream that was relayed untouched so far, after the packet with this header.
    pub fn taken_over(last: &Header, now: Instant) -> Stream {
        let Header { ssrc, sequence, timestamp, .. } = *last;
        let link = Link { ssrc, sequence: 0, timestamp: 0, newest: sequence, age: TAKEN_OVER };
        Stream { ssrc, sequence, timestamp, at: Some(now), link: Some(link) }
    }

    /// The header of our own 20 ms of sound that are due then. Steps left out since the last one (the party took
    /// nothing, the machine stood still) are a gap in the timestamps.
    pub fn own(&mut self, payload: u8, due: Instant) -> Header {
        let (samples, joined) = match (self.at, self.link.take()) {
            (None, _) => (SAMPLES as u32, true),
            (Some(at), None) => {
                let step = u128::from(STEP_MS);
                let steps = (due.saturating_duration_since(at).as_millis() + step / 2) / step;
                (u32::try_from(steps.max(1)).unwrap_or(1).wrapping_mul(SAMPLES as u32), steps > 1)
            }
            (Some(at), Some(_)) => (samples_since(at, due), true),
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(samples);
        self.at = Some(due);
        self.header(payload, joined)
    }

    /// The header of a further packet about the event that the last [`Stream::own`] began: the event's timestamp stays.
    pub fn further(&mut self, payload: u8) -> Header {
        self.sequence = self.sequence.wrapping_add(1);
        self.header(payload, false)
    }

    /// The header under which a packet of the other party goes on. `None`: it is from before what was sent since.
    pub fn relayed(&mut self, header: &Header, now: Instant) -> Option<Header> {
        let known = self.link.as_mut().filter(|link| link.ssrc == header.ssrc).and_then(|link| {
            let ahead = header.sequence.wrapping_sub(link.newest).cast_signed();
            (BACKWARD..=FORWARD).contains(&ahead).then_some((link, ahead))
        });
        if let Some((link, ahead)) = known {
            let place = link.age + i64::from(ahead);
            if place < 0 {
                return None;
            }
            let sequence = header.sequence.wrapping_add(link.sequence);
            let timestamp = header.timestamp.wrapping_add(link.timestamp);
            if ahead > 0 {
                link.newest = header.sequence;
                link.age = place;
                self.sequence = sequence;
                self.timestamp = timestamp;
                self.at = Some(now);
            }
            return Some(Header { sequence, timestamp, ssrc: self.ssrc, ..*header });
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.at.map_or(SAMPLES as u32, |at| samples_since(at, now)));
        self.at = Some(now);
        self.link = Some(Link {
            ssrc: header.ssrc,
            sequence: self.sequence.wrapping_sub(header.sequence),
            timestamp: self.timestamp.wrapping_sub(header.timestamp),
            newest: header.sequence,
            age: 0,
        });
        Some(Header { payload: header.payload, ..self.header(header.payload, true) })
    }

    fn header(&self, payload: u8, marker: bool) -> Header {
        Header { marker, payload, sequence: self.sequence, timestamp: self.timestamp, ssrc: self.ssrc }
    }
}

/// At least a packet's worth: what was sent before is heard to its end.
fn samples_since(at: Instant, now: Instant) -> u32 {
    let passed = now.saturating_duration_since(at).min(Duration::from_secs(100_000));
    u32::try_from(passed.as_micros() * 8 / 1000).unwrap_or(0).max(SAMPLES as u32)
}

#[cfg(test)]
mod tests {
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

    fn theirs(ssrc: u32, sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload: 8, sequence, timestamp, ssrc }
    }

    /// Issue 4: RTP timestamps and SSRC continuous over prompt, silence and bridge.
    #[test]
    fn a_bridge_goes_on_where_the_prompt_ended() {
        let start = moment();
        let mut stream = Stream::new(7, 65_534, u32::MAX - 159);
        let first = stream.own(0, start);
        assert_eq!((first.marker, first.sequence, first.timestamp, first.ssrc), (true, 65_534, u32::MAX - 159, 7));
        let second = stream.own(0, start + ms(20));
        assert_eq!((second.marker, second.sequence, second.timestamp), (false, 65_535, 0));
        let relayed = stream.relayed(&theirs(99, 500, 1_000_000), start + ms(45)).unwrap();
        assert_eq!(relayed, Header { marker: true, payload: 8, sequence: 0, timestamp: 200, ssrc: 7 });
        // 501 is lost; 503 comes before 502.
        let later = stream.relayed(&theirs(99, 503, 1_000_480), start + ms(100)).unwrap();
        assert_eq!((later.marker, later.sequence, later.timestamp), (false, 3, 680));
        let late = stream.relayed(&theirs(99, 502, 1_000_320), start + ms(101)).unwrap();
        assert_eq!((late.sequence, late.timestamp), (2, 520));
        assert_eq!(stream.relayed(&theirs(99, 499, 999_840), start + ms(102)), None, "before the bridge");
        let own = stream.own(0, start + ms(140));
        assert_eq!((own.marker, own.sequence, own.timestamp), (true, 4, 680 + 320));
        let other = stream.relayed(&theirs(100, 9, 5), start + ms(150)).unwrap();
        assert_eq!((other.marker, other.sequence, other.timestamp), (true, 5, 1160));
        // The party's phone begins anew under the same SSRC.
        let anew = stream.relayed(&theirs(100, 40_000, 77), start + ms(190)).unwrap();
        assert_eq!((anew.marker, anew.sequence, anew.timestamp), (true, 6, 1480));
    }

    /// A caller that heard a leg first and is then played something hears one stream.
    #[test]
    fn what_was_relayed_untouched_is_taken_over() {
        let start = moment();
        let mut stream = Stream::taken_over(&theirs(99, 500, 1600), start);
        assert_eq!(stream.relayed(&theirs(99, 501, 1760), start), Some(theirs(99, 501, 1760)));
        assert_eq!(stream.relayed(&theirs(99, 499, 1440), start), Some(theirs(99, 499, 1440)));
        let own = stream.own(0, start + ms(20));
        assert_eq!((own.marker, own.sequence, own.timestamp, own.ssrc), (true, 502, 1920, 99));
    }

    /// RFC 4733 §2.5.1.2: all packets of an event have its timestamp.
    #[test]
    fn an_event_has_one_timestamp() {
        let start = moment();
        let mut stream = Stream::new(7, 1, 160);
        stream.own(0, start);
        let event = stream.own(101, start + ms(20));
        assert_eq!((event.sequence, event.timestamp), (2, 320));
        assert_eq!((stream.further(101).sequence, stream.further(101).timestamp), (3, 320));
        assert_eq!(stream.own(0, start + ms(80)).timestamp, 320 + 3 * 160);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Own,
        Event(u8),
        Rest(u16),
        Relay { ssrc: u32, skip: u16 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec(
            prop_oneof![
                4 => Just(Step::Own),
                1 => (0u8..9).prop_map(Step::Event),
                1 => (0u16..900).prop_map(Step::Rest),
                6 => (1u32..3, prop_oneof![5 => Just(1u16), 1 => 1u16..200]).prop_map(|(ssrc, skip)| Step::Relay { ssrc, skip }),
            ],
            0..200,
        )
    }

    proptest! {
        /// One SSRC; the sequence goes up by one, and in a bridge by what the other party lost; time never goes back.
        #[test]
        fn continuity(sequence: u16, timestamp: u32, origins: [(u16, u32); 2], steps in steps()) {
            let mut now = moment();
            let mut stream = Stream::new(7, sequence, timestamp);
            let mut origins = origins;
            let mut last: Option<Header> = None;
            let mut linked = None;
            for step in steps {
                now += ms(20);
                let mut sent = Vec::new();
                let mut gap = 1;
                match step {
                    Step::Own => { linked = None; sent.push(stream.own(0, now)) }
                    Step::Event(further) => {
                        linked = None;
                        sent.push(stream.own(101, now));
                        for _ in 0..further { now += ms(20); sent.push(stream.further(101)); }
                    }
                    Step::Rest(more) => now += ms(more.into()),
                    Step::Relay { ssrc, skip } => {
                        let (sequence, timestamp) = &mut origins[ssrc as usize - 1];
                        *sequence = sequence.wrapping_add(skip);
                        *timestamp = timestamp.wrapping_add(160 * u32::from(skip));
                        // Numbers that the origin used up while another was heard are nothing that was lost.
                        if linked == Some(ssrc) { gap = skip; }
                        linked = Some(ssrc);
                        sent.push(stream.relayed(&theirs(ssrc, *sequence, *timestamp), now).unwrap());
                    }
                }
                for header in sent {
                    prop_assert_eq!(header.ssrc, 7);
                    match last {
                        None => prop_assert!(header.marker && header.sequence == sequence && header.timestamp == timestamp),
                        Some(last) => {
                            prop_assert_eq!(header.sequence, last.sequence.wrapping_add(gap));
                            prop_assert!(header.timestamp.wrapping_sub(last.timestamp).cast_signed() >= 0);
                        }
                    }
                    gap = 1;
                    last = Some(header);
                }
            }
        }
    }
}
