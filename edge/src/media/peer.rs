//! Whom a session sends to and takes packets from: symmetric RTP (DESIGN "Media").

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// After so long without a packet another source may be learned.
const RELEARN: Duration = Duration::from_secs(5);

/// One stream (RTP or RTCP) of one party.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peer {
    signalled: Option<SocketAddr>,
    signalling: Option<IpAddr>,
    /// The address in the SDP may be sent to before anything came from it.
    trusted: bool,
    learned: Option<SocketAddr>,
    heard: Option<Instant>,
}

impl Peer {
    /// What an offer or answer said: the party may have moved, so a new source may be learned.
    pub fn signal(&mut self, address: Option<SocketAddr>, signalling: IpAddr, trusted: bool) {
        if self.signalled != address {
            self.heard = None;
        }
        self.signalled = address;
        self.signalling = Some(signalling);
        self.trusted = trusted;
    }

    /// Whether a packet from `source` is the party's; learns the source where it may.
    pub fn accept(&mut self, source: SocketAddr, now: Instant) -> bool {
        let silent = self.heard.is_none_or(|heard| now.duration_since(heard) >= RELEARN);
        let known = self.learned == Some(source) && self.heard.is_some();
        let better = self.learned.is_none_or(|learned| self.rank(source) > self.rank(learned));
        if known || silent || better {
            self.learned = Some(source);
            self.heard = Some(now);
            true
        } else {
            false
        }
    }

    /// The signalled address is better than the signalling source's, and that better than any other.
    fn rank(&self, source: SocketAddr) -> u8 {
        match source {
            _ if self.signalled == Some(source) => 2,
            _ if self.signalling == Some(source.ip()) => 1,
            _ => 0,
        }
    }

    /// Where to send: the learned source, before the first packet the signalled address where that is allowed.
    pub fn target(&self) -> Option<SocketAddr> {
        match (self.heard, self.learned) {
            (Some(_), Some(learned)) => Some(learned),
            _ => self.signalled.filter(|address| self.trusted || self.signalling == Some(address.ip())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// DESIGN "Media": before the first packet only to the address that the signalling came from.
    #[test]
    fn nothing_is_sent_to_a_stranger_before_it_spoke() {
        let mut peer = Peer::default();
        peer.signal(Some(at("198.51.100.9:4000")), "192.0.2.1".parse().unwrap(), false);
        assert_eq!(peer.target(), None);
        peer.signal(Some(at("198.51.100.9:4000")), "192.0.2.1".parse().unwrap(), true);
        assert_eq!(peer.target(), Some(at("198.51.100.9:4000")));
        peer.signal(Some(at("192.0.2.1:4000")), "192.0.2.1".parse().unwrap(), false);
        assert_eq!(peer.target(), Some(at("192.0.2.1:4000")));
    }

    /// DESIGN "Media": takes the first packet's source, prefers the signalled, learns anew only after 5 s of silence.
    #[test]
    fn the_source_is_learned_once() {
        let start = Instant::now();
        let mut peer = Peer::default();
        peer.signal(Some(at("10.0.0.5:4000")), "192.0.2.1".parse().unwrap(), false);
        assert!(peer.accept(at("203.0.113.1:9"), start));
        assert!(peer.accept(at("192.0.2.1:5000"), start), "the signalling source is preferred");
        assert_eq!(peer.target(), Some(at("192.0.2.1:5000")));
        assert!(!peer.accept(at("203.0.113.1:9"), start));
        assert!(!peer.accept(at("192.0.2.1:5001"), start));
        assert!(peer.accept(at("192.0.2.1:5001"), start + RELEARN));
        peer.signal(Some(at("10.0.0.5:4002")), "192.0.2.1".parse().unwrap(), false);
        assert!(peer.accept(at("203.0.113.1:9"), start + RELEARN), "learns anew after a new offer");
    }
}
