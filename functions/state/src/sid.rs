//! SIDs: two letters and 32 lower-case hex digits, which hold creation time and shard, so that no index is needed to
//! find an item or to list by date (DESIGN "Few writes").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Shards that calls and notifications are spread over: one partition takes 1,000 write units a second.
/// Changing it makes stored calls unreachable.
pub const SHARDS: u8 = 8;

/// `CA` and 32 lower-case hex digits: the first eight are the creation time in Unix seconds, the next two the shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallSid(pub [u8; 16]);

impl CallSid {
    /// Creation time, seconds since the Unix epoch.
    pub fn created_unix(&self) -> u64 {
        let [a, b, c, d, ..] = self.0;
        u64::from(u32::from_be_bytes([a, b, c, d]))
    }

    /// Which of the [`SHARDS`] holds it.
    pub fn shard(&self) -> u8 {
        let [_, _, _, _, shard, ..] = self.0;
        shard % SHARDS
    }
}

impl fmt::Display for CallSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write_hex(*b"CA", &self.0))
    }
}

impl fmt::Debug for CallSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not a SID of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SID: two letters and 32 lower-case hex digits")]
pub struct BadSid;

impl FromStr for CallSid {
    type Err = BadSid;

    fn from_str(text: &str) -> Result<Self, BadSid> {
        parse("CA", text).map(CallSid)
    }
}

impl Serialize for CallSid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write_hex(*b"CA", &self.0))
    }
}

impl<'de> Deserialize<'de> for CallSid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A new SID of the kind that `prefix` (two ASCII letters) names, made at `unix_seconds`. The first random byte is
/// the shard.
pub fn new(prefix: [u8; 2], unix_seconds: u64, random: [u8; 12]) -> String {
    write_hex(prefix, &bytes(unix_seconds, random))
}

/// A new SID of a directory resource (`CL`, `AP`, `PN`): to the millisecond, so that lists are truly newest first.
pub fn resource(prefix: [u8; 2], unix_ms: u64, random: [u8; 10]) -> String {
    let [a, b, c, d, e, f, g, h, i, j] = random;
    let [high, low] = sub_second(unix_ms);
    new(prefix, unix_ms / 1000, [high, low, a, b, c, d, e, f, g, h, i, j])
}

/// The milliseconds beyond the second, as two bytes that sort.
pub(crate) fn sub_second(unix_ms: u64) -> [u8; 2] {
    u16::try_from(unix_ms % 1000).unwrap_or_default().to_be_bytes()
}

/// The bytes of a new SID; see [`new`].
pub fn bytes(unix_seconds: u64, random: [u8; 12]) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (time, rest) = bytes.split_at_mut(4);
    time.copy_from_slice(&u32::try_from(unix_seconds).unwrap_or(u32::MAX).to_be_bytes());
    rest.copy_from_slice(&random);
    bytes
}

/// Reads a SID with this prefix.
pub fn parse(prefix: &str, text: &str) -> Result<[u8; 16], BadSid> {
    let digits = text.strip_prefix(prefix).ok_or(BadSid)?.as_bytes();
    if digits.len() != 32 {
        return Err(BadSid);
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return Err(BadSid) };
        *byte = nibble(*high).ok_or(BadSid)? << 4 | nibble(*low).ok_or(BadSid)?;
    }
    Ok(bytes)
}

/// Creation time of a SID of any kind, seconds since the Unix epoch.
pub fn created_unix(sid: &str) -> Option<u64> {
    let prefix = sid.get(..2)?;
    parse(prefix, sid).ok().map(|bytes| CallSid(bytes).created_unix())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn write_hex(prefix: [u8; 2], bytes: &[u8; 16]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut text = String::with_capacity(34);
    text.extend(prefix.map(char::from));
    for byte in bytes {
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN "Few writes": the CallSid holds what its key needs.
    #[test]
    fn a_sid_holds_time_and_shard_and_reads_back() {
        let text = new(*b"CA", 1_700_000_000, [0xfb, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xab]);
        assert_eq!(text, "CA6553f100fb0102030405060708090aab");
        let sid: CallSid = text.parse().unwrap();
        assert_eq!((sid.created_unix(), sid.shard()), (1_700_000_000, 0xfb % SHARDS));
        assert_eq!(sid.to_string(), text);
        assert_eq!(created_unix(&text), Some(1_700_000_000));
    }

    /// RCML.md 3.1: `CA` and 32 lower-case hex digits, nothing else.
    #[test]
    fn what_is_no_sid_is_refused() {
        for text in
            ["", "CA", "CL6553f100fb0102030405060708090aab", "CA6553F100fb0102030405060708090aab", "CA6553f100", "CAé"]
        {
            assert_eq!(text.parse::<CallSid>(), Err(BadSid), "{text}");
        }
    }
}
