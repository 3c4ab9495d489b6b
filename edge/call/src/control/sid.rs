//! Call SIDs: 4 bytes creation time, 1 byte shard, 11 bytes of entropy (see [`CallSid`]).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::CallSid;

impl CallSid {
    /// A new SID for a call created at `unix_ms` (milliseconds since the Unix epoch). Entropy is the caller's.
    pub fn generate(unix_ms: u64, rng: &mut impl Rng) -> CallSid {
        let mut bytes = [0u8; 16];
        rng.fill_bytes(&mut bytes);
        // Seconds wrap in 2106; the store reads them modulo 2^32 as well.
        let seconds = u32::try_from((unix_ms / 1000) & u64::from(u32::MAX)).unwrap_or_default();
        let [a, b, c, d] = seconds.to_be_bytes();
        let [_, _, _, _, shard, rest @ ..] = bytes;
        let mut sid = [a, b, c, d, shard, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (slot, byte) in sid.iter_mut().skip(5).zip(rest) {
            *slot = byte;
        }
        CallSid(sid)
    }

    /// Creation time in Unix seconds, as the SID says.
    pub fn created(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The shard that the SID says.
    pub fn shard(self) -> u8 {
        let [_, _, _, _, shard, ..] = self.0;
        shard
    }
}

/// The source of a call's leg SIDs: seeded once from the core's entropy.
pub(super) struct SidSource(ChaCha8Rng);

impl SidSource {
    pub(super) fn new(rng: &mut impl Rng) -> SidSource {
        let mut seed = [0u8; 32];
        rng.fill_bytes(&mut seed);
        SidSource(ChaCha8Rng::from_seed(seed))
    }

    pub(super) fn next(&mut self, unix_ms: u64) -> CallSid {
        CallSid::generate(unix_ms, &mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RCML.md 3.1: `CA` and 32 lower-case hex digits; the first eight are the creation time, two more the shard.
    #[test]
    fn a_sid_holds_its_creation_time_and_shard() {
        let mut source = SidSource::new(&mut ChaCha8Rng::seed_from_u64(7));
        let sid = source.next(1_700_000_000_999);
        assert_eq!(sid.created(), 1_700_000_000);
        let text = sid.to_string();
        assert_eq!(text.len(), 34);
        assert!(text.starts_with(&format!("CA{:08x}{:02x}", 1_700_000_000, sid.shard())));
        assert!(text.bytes().skip(2).all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    }

    #[test]
    fn sids_of_one_second_differ_and_spread_over_shards() {
        let mut source = SidSource::new(&mut ChaCha8Rng::seed_from_u64(8));
        let sids: std::collections::BTreeSet<_> = (0..2000).map(|_| source.next(5_000)).collect();
        assert_eq!(sids.len(), 2000);
        let shards: std::collections::BTreeSet<_> = sids.iter().map(|sid| sid.shard()).collect();
        assert!(shards.len() > 250);
    }
}
