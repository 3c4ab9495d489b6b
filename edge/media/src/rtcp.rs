//! RTCP (RFC 3550 §6): whether a datagram is sound, and what its reports say of loss and jitter.

/// What one reception report block says (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Whose packets it is about.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost since the beginning; negative when packets came twice.
    pub lost: i32,
    /// Highest sequence number with its cycles.
    pub highest: u32,
    /// In units of the clock rate.
    pub jitter: u32,
}

/// What a datagram holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// The sender of the first packet.
    pub ssrc: u32,
    /// Packets that it says it has sent, from a sender report.
    pub sent: Option<u32>,
    /// The first report block.
    pub report: Option<Report>,
    /// It has a BYE (RFC 3550 §6.6): the stream ends; the call does not.
    pub bye: bool,
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const BYE: u8 = 203;

/// Reads a compound datagram, or a single packet (RFC 5506). `None` when it is not sound (RFC 3550 §A.2): another
/// version, a type outside 192-223, lengths that do not add up, padding before the last packet, a report shorter than
/// its blocks.
pub fn parse(datagram: &[u8]) -> Option<Summary> {
    let mut summary: Option<Summary> = None;
    let mut rest = datagram;
    while !rest.is_empty() {
        let ([first, kind, l0, l1], _) = rest.split_first_chunk::<4>()?;
        let length = (usize::from(u16::from_be_bytes([*l0, *l1])) + 1) * 4;
        let (packet, after) = rest.split_at_checked(length)?;
        let padded = first & 0x20 != 0;
        if first >> 6 != 2 || !(192..=223).contains(kind) || (padded && !after.is_empty()) {
            return None;
        }
        let body = packet.get(4..)?;
        let found = summary.get_or_insert(Summary { ssrc: word(body, 0).unwrap_or(0), ..Summary::default() });
        let blocks = usize::from(first & 0x1f);
        let block = match *kind {
            SENDER_REPORT => {
                found.sent = Some(word(body, 16)?);
                Some(24)
            }
            RECEIVER_REPORT => Some(4),
            BYE => {
                found.bye = true;
                None
            }
            _ => None,
        };
        if let Some(start) = block {
            let reports = body.get(start..)?;
            if reports.len() < blocks * 24 {
                return None;
            }
            if blocks > 0 && found.report.is_none() {
                found.report = read_report(reports);
            }
        }
        rest = after;
    }
    summary
}

fn read_report(block: &[u8]) -> Option<Report> {
    let loss = word(block, 4)?;
    Some(Report {
        ssrc: word(block, 0)?,
        fraction_lost: (loss >> 24) as u8,
        // 24 bits with a sign.
        lost: ((loss << 8) as i32) >> 8,
        highest: word(block, 8)?,
        jitter: word(block, 12)?,
    })
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk::<4>().map(|chunk| u32::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compound() -> Vec<u8> {
        let mut octets = vec![0x81, 200, 0, 12];
        for value in [7u32, 1, 2, 3, 50, 8000, 9, 0x40ff_fffe, 70_000, 12, 0, 0] {
            octets.extend(value.to_be_bytes());
        }
        octets.extend([0x81, 202, 0, 1, 0, 0, 0, 7, 0xa1, 203, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4]);
        octets
    }

    #[test]
    fn reports_are_read() {
        let octets = compound();
        let report = Report { ssrc: 9, fraction_lost: 64, lost: -2, highest: 70_000, jitter: 12 };
        assert_eq!(parse(&octets), Some(Summary { ssrc: 7, sent: Some(50), report: Some(report), bye: true }));
        assert_eq!(parse(&[0x80, 201, 0, 1, 0, 0, 0, 5]).unwrap().ssrc, 5);
    }

    #[test]
    fn unsound_ones_are_not() {
        let octets = compound();
        for cut in 1..octets.len() {
            // Whole packets in front are sound by themselves.
            assert_eq!(parse(&octets[..cut]).is_some(), [52, 60].contains(&cut), "{cut}");
        }
        for (at, value) in [(0, 0x41), (1, 100), (0, 0xa1), (0, 0x82), (3, 13), (3, 5)] {
            let mut bent = octets.clone();
            bent[at] = value;
            assert_eq!(parse(&bent), None, "{at} {value}");
        }
        assert_eq!(parse(&[]), None);
    }

    proptest! {
        #[test]
        fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..80), kind in 199u8..205, length in 0u8..20) {
            let _ = parse(&octets);
            let mut shaped = vec![0x81, kind, 0, length];
            shaped.extend(octets);
            let _ = parse(&shaped);
        }
    }
}
