//! RTP packets (RFC 3550 §5.1, RFC 3551): reading them with their padding and extensions, and writing plain ones.

/// Octets of a header without CSRC list and extension.
pub const HEADER: usize = 12;

/// The fields of a header that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// First packet after silence, or of an event.
    pub marker: bool,
    /// Payload type number, 0-127.
    pub payload: u8,
    /// Sequence number.
    pub sequence: u16,
    /// In units of the clock rate.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl Header {
    /// The twelve octets of a header without padding, extension and CSRC list.
    pub fn to_bytes(&self) -> [u8; HEADER] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [r0, r1, r2, r3] = self.ssrc.to_be_bytes();
        [0x80, u8::from(self.marker) << 7 | self.payload & 0x7f, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3]
    }
}

/// A packet as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its header.
    pub header: Header,
    /// What it carries, without padding.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram; `None` when it is no sound RTP packet: another version, cut short, or padded beyond itself.
    pub fn parse(datagram: &'a [u8]) -> Option<Packet<'a>> {
        let (fixed, mut data) = datagram.split_first_chunk::<HEADER>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3] = *fixed;
        if first >> 6 != 2 {
            return None;
        }
        data = data.get(usize::from(first & 0x0f) * 4..)?;
        if first & 0x10 != 0 {
            let ([_, _, l0, l1], rest) = data.split_first_chunk::<4>()?;
            data = rest.get(usize::from(u16::from_be_bytes([*l0, *l1])) * 4..)?;
        }
        if first & 0x20 != 0 {
            let padding = usize::from(*data.last()?);
            data = data.get(..data.len().checked_sub(padding).filter(|_| padding > 0)?)?;
        }
        let header = Header {
            marker: second & 0x80 != 0,
            payload: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([r0, r1, r2, r3]),
        };
        Some(Packet { header, data })
    }
}

/// Gives a datagram another payload type number and leaves all else; `false` when it is too short to have one.
pub fn set_payload(datagram: &mut [u8], payload: u8) -> bool {
    match datagram.get_mut(1) {
        Some(octet) => {
            *octet = *octet & 0x80 | payload & 0x7f;
            true
        }
        None => false,
    }
}

/// What a datagram carries, to be changed in place; nothing where [`Packet::parse`] gives none.
pub fn data_mut(datagram: &mut [u8]) -> &mut [u8] {
    let Some(packet) = Packet::parse(datagram) else { return &mut [] };
    // What is carried is a part of the datagram: where it begins is told by what is left behind it.
    let padding = match datagram.first() {
        Some(first) if first & 0x20 != 0 => datagram.last().copied().map_or(0, usize::from),
        _ => 0,
    };
    let length = packet.data.len();
    let end = datagram.len().saturating_sub(padding);
    datagram.get_mut(end.saturating_sub(length)..end).unwrap_or_default()
}

/// Puts another header in front of what a datagram carries; its version, padding, extension and CSRC list stay.
/// `false` when it is too short to have one.
pub fn set_header(datagram: &mut [u8], header: &Header) -> bool {
    match (datagram.get_mut(1..HEADER), header.to_bytes().get(1..)) {
        (Some(place), Some(octets)) => {
            place.copy_from_slice(octets);
            true
        }
        _ => false,
    }
}

/// Whether what came on a port is RTCP by its packet type (RFC 5761 §4): 192-223 where RTP has marker and payload type.
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if first >> 6 == 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn extensions_lists_and_padding_are_taken_off() {
        let header = Header { marker: true, payload: 101, sequence: 0x1234, timestamp: 0xdead_beef, ssrc: 7 };
        let mut plain = header.to_bytes().to_vec();
        plain.extend([1, 2, 3]);
        assert_eq!(Packet::parse(&plain), Some(Packet { header, data: &[1, 2, 3] }));
        let mut full = header.to_bytes().to_vec();
        full[0] |= 0x32;
        full.extend([0; 8]);
        full.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9, 1, 2, 3, 0, 2]);
        assert_eq!(Packet::parse(&full), Some(Packet { header, data: &[1, 2, 3] }));
        for cut in 0..full.len() {
            let _ = Packet::parse(&full[..cut]);
        }
        let mut other = full.clone();
        data_mut(&mut other).copy_from_slice(&[7, 8, 9]);
        let new = Header { marker: false, payload: 0, sequence: 5, timestamp: 6, ssrc: 8 };
        assert!(set_header(&mut other, &new) && !set_header(&mut [0x80; 11], &new));
        assert_eq!(Packet::parse(&other), Some(Packet { header: new, data: &[7, 8, 9] }));
        assert_eq!(Packet::parse(&full[..20]), None);
        full[0] &= 0x3f;
        assert_eq!(Packet::parse(&full), None);
        assert!(set_payload(&mut plain, 96));
        assert_eq!(Packet::parse(&plain).unwrap().header, Header { payload: 96, ..header });
        assert!(!set_payload(&mut [0x80], 96));
    }

    #[test]
    fn impossible_padding() {
        let mut packet = Header::default().to_bytes().to_vec();
        packet[0] |= 0x20;
        assert_eq!(Packet::parse(&packet), None);
        packet.push(0);
        assert_eq!(Packet::parse(&packet), None);
        *packet.last_mut().unwrap() = 2;
        assert_eq!(Packet::parse(&packet), None);
        *packet.last_mut().unwrap() = 1;
        assert_eq!(Packet::parse(&packet).unwrap().data, &[] as &[u8]);
    }

    proptest! {
        #[test]
        fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(packet) = Packet::parse(&octets) {
                prop_assert!(packet.data.len() <= octets.len() - HEADER);
            }
            let mut octets = octets;
            let length = Packet::parse(&octets).map_or(0, |packet| packet.data.len());
            prop_assert_eq!(data_mut(&mut octets).len(), length);
            let _ = is_rtcp(&octets);
        }
    }
}
