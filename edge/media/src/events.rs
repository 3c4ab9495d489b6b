//! Telephone events (RFC 4733): keys as RTP payloads.

/// One report of an event (RFC 4733 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// 0-15 are keys (§3.2), further ones other signals.
    pub code: u8,
    /// The key was let go.
    pub end: bool,
    /// Level below 0 dBm0, in dB, 0-63.
    pub volume: u8,
    /// How long it has lasted, in units of the clock rate since the packet's timestamp.
    pub duration: u16,
}

impl Event {
    /// Reads a payload; further events in it are not read. `None` when it is too short.
    pub fn parse(data: &[u8]) -> Option<Event> {
        let [code, flags, d0, d1] = *data.first_chunk::<4>()?;
        Some(Event { code, end: flags & 0x80 != 0, volume: flags & 0x3f, duration: u16::from_be_bytes([d0, d1]) })
    }

    /// The payload.
    pub fn to_bytes(&self) -> [u8; 4] {
        let [d0, d1] = self.duration.to_be_bytes();
        [self.code, u8::from(self.end) << 7 | self.volume & 0x3f, d0, d1]
    }

    /// The key, where it is one: `0`-`9`, `*`, `#`, `A`-`D`.
    pub fn key(&self) -> Option<char> {
        KEYS.get(usize::from(self.code)).map(|key| char::from(*key))
    }

    /// The event's code for a key, in either case.
    pub fn code_of(key: char) -> Option<u8> {
        KEYS.iter().position(|each| char::from(*each) == key.to_ascii_uppercase()).map(|code| code as u8)
    }
}

/// RFC 4733 §3.2, table 3.
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_round_trip() {
        for (code, key) in "0123456789*#ABCD".chars().enumerate() {
            let event = Event { code: code as u8, end: code % 2 == 1, volume: 10, duration: 160 * code as u16 };
            assert_eq!(Event::parse(&event.to_bytes()), Some(event));
            assert_eq!((event.key(), Event::code_of(key.to_ascii_lowercase())), (Some(key), Some(code as u8)));
        }
        assert_eq!(
            Event::parse(&[11, 0x8a, 0x03, 0x20, 0xff]),
            Some(Event { code: 11, end: true, volume: 10, duration: 800 })
        );
        assert_eq!(Event::parse(&[1, 2, 3]), None);
        assert_eq!(Event { code: 16, end: false, volume: 0, duration: 0 }.key(), None);
        assert_eq!(Event::code_of('x'), None);
    }
}
