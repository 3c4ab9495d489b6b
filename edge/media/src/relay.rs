//! Whom a stream is taken from and sent to: symmetric RTP, and silence (DESIGN "Media").
//!
//! Each party has a [`Source`] for RTP and one for RTCP, and one [`Silence`] for both. The shell asks
//! [`Source::accept`] for each datagram, sends to [`Source::target`], and looks at [`Silence::is_silent`] now and then.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// After so long without a packet from the learned source any source may be learned.
pub const RELEARN: Duration = Duration::from_secs(5);

/// Where one stream of one party comes from.
///
/// The first packet's source is taken. One that fits better takes its place at any time: best is the address in the
/// party's SDP, then another port of that host or of the host that its signalling comes from. A source that fits no
/// better takes its place only after [`RELEARN`] of silence, or once within [`RELEARN`] after an offer moved the party;
/// until then the former source is still heard, so that packets on their way do not lock the new one out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Source {
    signalled: Option<SocketAddr>,
    signalling: Option<IpAddr>,
    trusted: bool,
    learned: Option<SocketAddr>,
    heard: Option<Instant>,
    /// An offer has moved the party: another source may take over until then.
    moving: Option<Instant>,
}

impl Source {
    /// What the party's SDP says after an offer and answer: its address (`None`: it wants nothing), where its
    /// signalling comes from, and whether that address may be sent to before anything came from it (`--local-net`,
    /// trunk, peers, and what the address guard allows). The same again changes nothing.
    pub fn signal(&mut self, address: Option<SocketAddr>, signalling: IpAddr, trusted: bool, now: Instant) {
        if self.signalled != address && address.is_some() && self.learned.is_some() {
            self.moving = now.checked_add(RELEARN);
        }
        self.signalled = address;
        self.signalling = Some(signalling);
        self.trusted = trusted;
    }

    /// Whether a packet from `source` is the party's. Learns the source where it may.
    pub fn accept(&mut self, source: SocketAddr, now: Instant) -> bool {
        let takes = match (self.learned, self.heard) {
            (Some(learned), Some(_)) if learned == source => true,
            (Some(learned), Some(heard)) => {
                let (fits, fitted) = (self.fitness(source), self.fitness(learned));
                let moving = self.moving.is_some_and(|until| now < until);
                fits > fitted || now.saturating_duration_since(heard) >= RELEARN || (moving && fits == fitted)
            }
            _ => true,
        };
        if takes {
            if self.learned != Some(source) {
                self.moving = None;
            }
            self.learned = Some(source);
            self.heard = Some(now);
        }
        takes
    }

    /// Where to send: to the learned source; before the first packet to the signalled address, if it is the host that
    /// the signalling comes from or a trusted one. `None`: nowhere yet.
    pub fn target(&self) -> Option<SocketAddr> {
        self.learned.or_else(|| self.signalled.filter(|to| self.trusted || self.signalling == Some(to.ip())))
    }

    /// When a packet came last.
    pub fn heard(&self) -> Option<Instant> {
        self.heard
    }

    fn fitness(&self, source: SocketAddr) -> u8 {
        if self.signalled == Some(source) {
            2
        } else if self.signalling == Some(source.ip()) || self.signalled.is_some_and(|at| at.ip() == source.ip()) {
            1
        } else {
            0
        }
    }
}

/// Whether a bridged party has said nothing for too long, by RTP or RTCP: once for each silence.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    limit: Duration,
    since: Instant,
    held: bool,
    /// This silence was reported; the next one is another.
    reported: bool,
}

impl Silence {
    /// Counting from now, when the party is bridged.
    pub fn new(limit: Duration, now: Instant) -> Silence {
        Silence { limit, since: now, held: false, reported: false }
    }

    /// A packet came, or it counts anew for another reason: the party is bridged.
    pub fn heard(&mut self, now: Instant) {
        self.since = now;
        self.reported = false;
    }

    /// The call is held by either side, or no longer: on hold silence is no fault, and it counts anew afterwards.
    pub fn hold(&mut self, held: bool, now: Instant) {
        if self.held && !held {
            self.heard(now);
        }
        self.held = held;
    }

    /// Whether the limit has passed and this silence was not reported.
    pub fn is_silent(&self, now: Instant) -> bool {
        !self.held && !self.reported && now.saturating_duration_since(self.since) >= self.limit
    }

    /// This silence was reported.
    pub fn report(&mut self) {
        self.reported = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Any moment: the rules use differences only.
    #[allow(clippy::disallowed_methods)]
    fn moment() -> Instant {
        Instant::now()
    }

    fn source(signalled: &str, trusted: bool) -> (Source, Instant) {
        let now = moment();
        let mut source = Source::default();
        source.signal(Some(at(signalled)), at("192.0.2.1:5060").ip(), trusted, now);
        (source, now)
    }

    /// DESIGN "Media": before the first packet it sends only to where the signalling came from and to what is trusted.
    #[test]
    fn strangers_are_not_sent_to_first() {
        assert_eq!(source("198.51.100.9:4000", false).0.target(), None);
        assert_eq!(source("198.51.100.9:4000", true).0.target(), Some(at("198.51.100.9:4000")));
        assert_eq!(source("192.0.2.1:4000", false).0.target(), Some(at("192.0.2.1:4000")));
        assert_eq!(Source::default().target(), None);
    }

    /// DESIGN "Media": the first packet's source, preferring the signalled address and the signalling source's.
    #[test]
    fn better_sources_take_over() {
        let (mut source, now) = source("10.0.0.5:4000", false);
        assert!(source.accept(at("203.0.113.1:9"), now));
        assert_eq!(source.target(), Some(at("203.0.113.1:9")));
        assert!(source.accept(at("192.0.2.1:5000"), now), "the signalling source is better");
        for stranger in ["203.0.113.1:9", "192.0.2.1:5001", "10.0.0.5:4002"] {
            assert!(!source.accept(at(stranger), now), "{stranger}");
        }
        assert!(source.accept(at("10.0.0.5:4000"), now), "the signalled address is best");
        assert!(!source.accept(at("192.0.2.1:5000"), now));
        assert_eq!(source.target(), Some(at("10.0.0.5:4000")));
    }

    /// DESIGN "Media": it learns anew after 5 s of silence.
    #[test]
    fn silence_lets_another_in() {
        let (mut source, start) = source("192.0.2.1:4000", false);
        assert!(source.accept(at("192.0.2.1:4000"), start));
        let almost = start + RELEARN - Duration::from_millis(1);
        assert!(!source.accept(at("203.0.113.1:9"), almost));
        assert!(source.accept(at("203.0.113.1:9"), start + RELEARN));
        assert_eq!(source.target(), Some(at("203.0.113.1:9")));
    }

    /// DESIGN "Media": it learns anew after a new offer: once, soon, and not from a worse place.
    #[test]
    fn an_offer_lets_another_in() {
        let signalling = at("192.0.2.1:5060").ip();
        let (mut source, now) = source("10.0.0.5:4000", false);
        assert!(source.accept(at("192.0.2.1:5000"), now));
        source.signal(Some(at("10.0.0.5:4000")), signalling, false, now);
        assert!(!source.accept(at("192.0.2.1:5002"), now), "a refresh moves nobody");
        source.signal(Some(at("10.0.0.5:4002")), signalling, false, now);
        assert!(source.accept(at("192.0.2.1:5000"), now), "what was on its way is still heard");
        assert!(!source.accept(at("203.0.113.1:9"), now), "no stranger");
        assert!(source.accept(at("192.0.2.1:5002"), now));
        assert!(!source.accept(at("192.0.2.1:5000"), now), "once");
        source.signal(Some(at("10.0.0.5:4004")), signalling, false, now);
        let later = now + RELEARN - Duration::from_millis(1);
        assert!(source.accept(at("192.0.2.1:5002"), later));
        assert!(!source.accept(at("192.0.2.1:5004"), later + RELEARN / 2), "soon");
        // Hold and resume at the same place.
        source.signal(None, signalling, false, later);
        assert_eq!(source.target(), Some(at("192.0.2.1:5002")));
    }

    /// A silence is reported once; a packet, a bridge or a hold's end begins another.
    #[test]
    fn each_silence_is_reported_once() {
        let start = moment();
        let limit = Duration::from_secs(300);
        let mut silence = Silence::new(limit, start);
        silence.report();
        assert!(!silence.is_silent(start + limit * 9));
        silence.heard(start + limit);
        assert!(silence.is_silent(start + limit * 2));
        silence.report();
        silence.hold(true, start + limit * 3);
        silence.hold(false, start + limit * 4);
        assert!(silence.is_silent(start + limit * 5));
    }

    /// Issue 3: neither RTP nor RTCP for 300 s, not on hold.
    #[test]
    fn silence_is_measured() {
        let start = moment();
        let seconds = Duration::from_secs;
        let mut silence = Silence::new(seconds(300), start);
        assert!(!silence.is_silent(start + seconds(299)) && silence.is_silent(start + seconds(300)));
        silence.heard(start + seconds(200));
        assert!(!silence.is_silent(start + seconds(499)));
        silence.hold(true, start + seconds(300));
        assert!(!silence.is_silent(start + seconds(9000)));
        silence.hold(false, start + seconds(9000));
        silence.hold(false, start + seconds(9100));
        assert!(!silence.is_silent(start + seconds(9299)) && silence.is_silent(start + seconds(9300)));
    }
}
