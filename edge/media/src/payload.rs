//! How RTP payload type numbers are rewritten on the way from one party to the other.
//!
//! Each dialog has its own numbering (RFC 3264 §5.1, §8.3.2): the numbers that we wrote towards a party are those that
//! it sends to us, and the numbers in its own SDP are those that it wants to receive. The relay hands packets on
//! untouched as long as both sides use the same numbers, which is nearly always so, because each leg's offer repeats
//! the caller's numbers. They differ where a party answers with numbers of its own, or where a re-INVITE numbers a
//! codec otherwise than the other dialog did before.

use crate::sdp::Session;

/// Payload type numbers to rewrite in one direction. The empty map (the default) changes nothing and costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PayloadMap(Vec<(u8, u8)>);

impl PayloadMap {
    /// What packets of `from` need so that `to` understands them.
    pub fn between(from: &Session, to: &Session) -> PayloadMap {
        let mut pairs: Vec<(u8, u8)> = Vec::new();
        let mut known: Vec<u8> = Vec::new();
        for sending in from.codecs() {
            let Some(target) = to.codecs().find(|c| c.codec.same_format(&sending.codec)) else { continue };
            known.push(sending.receive);
            if sending.receive != target.send {
                pairs.push((sending.receive, target.send));
            }
        }
        // A party that sends by its own numbers instead of ours is understood where that cannot be mistaken.
        for sending in from.codecs() {
            let Some(target) = to.codecs().find(|c| c.codec.same_format(&sending.codec)) else { continue };
            if !known.contains(&sending.send) {
                known.push(sending.send);
                if sending.send != target.send {
                    pairs.push((sending.send, target.send));
                }
            }
        }
        PayloadMap(pairs)
    }

    /// The number to send for a received one (0-127).
    pub fn apply(&self, payload: u8) -> u8 {
        self.0.iter().find(|(from, _)| *from == payload).map_or(payload, |(_, to)| *to)
    }

    /// Whether nothing is rewritten.
    pub fn is_identity(&self) -> bool {
        self.0.is_empty()
    }
}
