//! How RTP payload type numbers are rewritten on the way from one party to the other.
//!
//! Each dialog has its own numbering (RFC 3264 §5.1, §8.3.2): the numbers that we wrote towards a party are those that
//! it sends to us, and the numbers in its own SDP are those that it wants to receive. The relay hands packets on
//! untouched as long as both sides use the same numbers, which is nearly always so, because each leg's offer repeats
//! the caller's numbers. They differ where a party answers with numbers of its own, or where a re-INVITE numbers a
//! codec otherwise than the other dialog did before.
//!
//! Where one party sends G.711 by a law that the other does not take, its sound becomes that of the other law. No other
//! codec is ever turned into another.
//!
//! Telephone events and comfort noise do not go to a party that did not agree to them (RFC 3264 §6.1): its number for them
//! may mean anything to it, or noise.

use crate::g711::Law;
use crate::rtp;
use crate::sdp::{AgreedCodec, Session};

/// What one payload number becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    from: u8,
    /// `None`: it goes no further.
    to: Option<u8>,
    /// The law that the sound is in, where it must become the other.
    law: Option<Law>,
}

/// Payload type numbers to rewrite in one direction. The empty map (the default) changes nothing and costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PayloadMap(Vec<Entry>);

impl PayloadMap {
    /// What packets of `from` need so that `to` understands them.
    pub fn between(from: &Session, to: &Session) -> PayloadMap {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known: Vec<u8> = Vec::new();
        let target = |sending: &AgreedCodec| {
            let same = to.codecs().find(|c| c.codec.same_format(&sending.codec)).map(|c| (c.send, None));
            same.or_else(|| {
                let law = sending.codec.law()?;
                to.codecs().find(|c| c.codec.law().is_some()).map(|c| (c.send, Some(law)))
            })
            .map(|(number, law)| (Some(number), law))
            .or_else(|| (to.is_agreed() && !sending.codec.is_speech()).then_some((None, None)))
        };
        let mut add = |from: u8, (to, law): (Option<u8>, Option<Law>)| {
            if !known.contains(&from) {
                known.push(from);
                if Some(from) != to || law.is_some() {
                    entries.push(Entry { from, to, law });
                }
            }
        };
        for sending in from.codecs() {
            if let Some(target) = target(sending) {
                add(sending.receive, target);
            }
        }
        // A party that sends by its own numbers instead of ours is understood where that cannot be mistaken.
        for sending in from.codecs() {
            if let Some(target) = target(sending) {
                add(sending.send, target);
            }
        }
        PayloadMap(entries)
    }

    /// The number to send for a received one (0-127); `None`: it is not sent.
    pub fn apply(&self, payload: u8) -> Option<u8> {
        self.0.iter().find(|entry| entry.from == payload).map_or(Some(payload), |entry| entry.to)
    }

    /// Makes an RTP datagram one that the other party understands. False: it is not to be sent to it.
    #[must_use]
    pub fn rewrite(&self, datagram: &mut [u8]) -> bool {
        let Some(payload) = datagram.get(1).map(|octet| octet & 0x7f) else { return true };
        let Some(entry) = self.0.iter().find(|entry| entry.from == payload) else { return true };
        let Some(to) = entry.to else { return false };
        rtp::set_payload(datagram, to);
        if let Some(law) = entry.law {
            for code in rtp::data_mut(datagram) {
                *code = law.transcode(*code);
            }
        }
        true
    }

    /// Whether nothing is rewritten.
    pub fn is_identity(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::sdp::{Description, Direction, Terms};

    fn offer(formats: &str) -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {formats}\r\na=rtpmap:101 telephone-event/8000\r\n"
        )
    }

    fn party(formats: &str) -> Session {
        let mut session = Session::new(1, Ipv4Addr::LOCALHOST.into(), 20_000);
        let offer = Description::parse(offer(formats).as_bytes()).unwrap();
        session.answer_ourselves(&offer, Direction::SendRecv).unwrap();
        session
    }

    /// Issue 4: G.711 is transcoded between parties where the law differs, and nothing else is touched.
    #[test]
    fn laws_that_differ_are_transcoded() {
        let (mu, a, both) = (party("0 101"), party("8 101"), party("8 0 101"));
        assert!(PayloadMap::between(&mu, &mu).is_identity() && PayloadMap::between(&mu, &both).is_identity());
        let map = PayloadMap::between(&mu, &a);
        let codes: Vec<u8> = (0..=255).collect();
        let mut packet = rtp::Header { marker: true, payload: 0, ..rtp::Header::default() }.to_bytes().to_vec();
        packet.extend(&codes);
        assert!(map.rewrite(&mut packet));
        assert_eq!(packet[1], 0x88);
        assert!(packet[12..].iter().zip(&codes).all(|(to, from)| *to == Law::Mu.transcode(*from)));
        let mut event = vec![0x80, 101, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        let before = event.clone();
        assert!(map.rewrite(&mut event));
        assert_eq!(event, before);
        // Of a party with both laws the one that the other lacks becomes the one that it has.
        let map = PayloadMap::between(&both, &mu);
        assert_eq!([8, 0, 101].map(|number| map.apply(number)), [Some(0), Some(0), Some(101)]);
        assert!(map.rewrite(&mut [0x80]) && map.rewrite(&mut []));
    }

    /// RFC 3264 §6.1: telephone events and comfort noise go only to a party that agreed to them; nobody knows yet what one
    /// agrees to whose answer is still to come.
    #[test]
    fn what_a_party_did_not_agree_to_is_dropped() {
        let mut all = Session::new(1, Ipv4Addr::LOCALHOST.into(), 20_000);
        let offer = Description::parse(offer("0 13 101").as_bytes()).unwrap();
        all.make_answer(&offer, &Terms::of(&offer)).unwrap();
        let plain = party("0");
        let map = PayloadMap::between(&all, &plain);
        assert_eq!([0, 13, 101].map(|number| map.apply(number)), [Some(0), None, None]);
        let mut event = vec![0x80, 101, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        assert!(!map.rewrite(&mut event));
        assert!(PayloadMap::between(&plain, &all).is_identity());
        let open = Session::new(1, Ipv4Addr::LOCALHOST.into(), 20_000);
        assert!(PayloadMap::between(&all, &open).is_identity());
    }
}
