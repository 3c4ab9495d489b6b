//! G.711 (ITU-T G.711, 1988): both laws, both ways, on 16-bit samples, bit for bit as the ITU's own software (G.191)
//! does it: of a negative sample the one's complement is taken, so that every interval is closed at its lower end.

/// One of the two companding laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Law {
    /// µ-law, `PCMU`, static payload type 0.
    Mu,
    /// A-law, `PCMA`, static payload type 8.
    A,
}

impl Law {
    /// The code of a sample.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => encode_mu(sample),
            Law::A => encode_a(sample),
        }
    }

    /// The sample of a code.
    pub fn decode(self, code: u8) -> i16 {
        let table = match self {
            Law::Mu => &FROM_MU,
            Law::A => &FROM_A,
        };
        table[usize::from(code)]
    }

    /// What silence is coded as.
    pub const fn silence(self) -> u8 {
        match self {
            Law::Mu => 0xff,
            Law::A => 0xd5,
        }
    }

    /// The static payload type (RFC 3551 §6).
    pub const fn payload(self) -> u8 {
        match self {
            Law::Mu => 0,
            Law::A => 8,
        }
    }

    /// The code of the other law for the same sample.
    pub fn transcode(self, code: u8) -> u8 {
        match self {
            Law::Mu => Law::A.encode(self.decode(code)),
            Law::A => Law::Mu.encode(self.decode(code)),
        }
    }
}

/// Samples of all codes; 512 octets each.
static FROM_MU: [i16; 256] = {
    let mut samples = [0; 256];
    let mut code = 0;
    while code < 256 {
        samples[code] = decode_mu(code as u8);
        code += 1;
    }
    samples
};
static FROM_A: [i16; 256] = {
    let mut samples = [0; 256];
    let mut code = 0;
    while code < 256 {
        samples[code] = decode_a(code as u8);
        code += 1;
    }
    samples
};

/// Segments double in width from 32 steps of 4 on; 33 is the distance that makes their bounds powers of two.
const fn encode_mu(sample: i16) -> u8 {
    let magnitude = if sample < 0 { !sample } else { sample } as u16;
    let mut biased = (magnitude >> 2) + 33;
    if biased > 0x1fff {
        biased = 0x1fff;
    }
    let segment = (biased.ilog2() - 5) as u16;
    let step = biased >> (segment + 1) & 0x0f;
    let code = !(segment << 4 | step) as u8;
    if sample < 0 { code & 0x7f } else { code | 0x80 }
}

const fn decode_mu(code: u8) -> i16 {
    let bits = !code;
    let segment = (bits >> 4 & 7) as i16;
    let step = (bits & 0x0f) as i16;
    let magnitude = (((step << 1) + 33) << (segment + 2)) - 132;
    if code < 0x80 { -magnitude } else { magnitude }
}

/// Two segments of 16 steps of 16, then segments that double in width.
const fn encode_a(sample: i16) -> u8 {
    let magnitude = (if sample < 0 { !sample } else { sample } as u16) >> 4;
    let code = if magnitude < 32 {
        magnitude as u8
    } else {
        let segment = magnitude.ilog2() as u16 - 3;
        (segment << 4 | magnitude >> (segment - 1) & 0x0f) as u8
    };
    (if sample < 0 { code } else { code | 0x80 }) ^ 0x55
}

const fn decode_a(code: u8) -> i16 {
    let bits = code ^ 0x55;
    let segment = (bits >> 4 & 7) as i16;
    let step = ((bits & 0x0f) as i16) << 4 | 8;
    let magnitude = if segment == 0 { step } else { (step + 256) << (segment - 1) };
    if bits < 0x80 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lower bounds of the 128 intervals of one sign, and the value that each is decoded as, from the columns of G.711's
    /// tables: segments given by the first bound, the number of steps and their width, all in the table's own unit.
    fn intervals(segments: &[(i32, i32, i32)], unit: i32) -> Vec<(i32, i32)> {
        let mut intervals = Vec::new();
        for (start, steps, width) in segments {
            for step in 0..*steps {
                let low = start + step * width;
                intervals.push((low * unit, (2 * low + width) * unit / 2));
            }
        }
        intervals
    }

    fn check(law: Law, intervals: &[(i32, i32)], index: fn(u8) -> usize) {
        assert_eq!(intervals.len(), 128);
        for sample in i16::MIN..=i16::MAX {
            let code = law.encode(sample);
            let magnitude = i32::from(if sample < 0 { !sample } else { sample });
            let expected = intervals.iter().rposition(|(low, _)| *low <= magnitude).unwrap();
            assert_eq!((index(code), code >= 0x80), (expected, sample >= 0), "{law:?} {sample}");
            let (_, value) = intervals[expected];
            assert_eq!(i32::from(law.decode(code)), if sample < 0 { -value } else { value }, "{law:?} {sample}");
        }
    }

    /// G.711 table 2 (µ-law, values of 14 bits): the first step is half, from 0 to 1, and is decoded as 0.
    #[test]
    fn mu_law_by_the_table() {
        let mut segments = vec![(1, 15, 2)];
        let mut start = 31;
        for segment in 1..8 {
            let width = 2 << segment;
            segments.push((start, 16, width));
            start += 16 * width;
        }
        assert_eq!(start, 8159);
        let mut intervals = intervals(&segments, 4);
        intervals.insert(0, (0, 0));
        check(Law::Mu, &intervals, |code| usize::from(!code & 0x7f));
    }

    /// G.711 table 1 (A-law, values of 13 bits).
    #[test]
    fn a_law_by_the_table() {
        let mut segments = vec![(0, 32, 2)];
        let mut start = 64;
        for segment in 2..8 {
            let width = 1 << segment;
            segments.push((start, 16, width));
            start += 16 * width;
        }
        assert_eq!(start, 4096);
        check(Law::A, &intervals(&segments, 8), |code| usize::from((code ^ 0x55) & 0x7f));
    }

    #[test]
    fn known_codes() {
        assert_eq!(
            [0, -1, 32_767, -32_768, 4, -4, -5].map(|s| Law::Mu.encode(s)),
            [0xff, 0x7f, 0x80, 0, 0xfe, 0x7f, 0x7e]
        );
        assert_eq!([0, -1, 32_767, -32_768].map(|s| Law::A.encode(s)), [0xd5, 0x55, 0xaa, 0x2a]);
        assert_eq!([0xff, 0x7f, 0x80, 0x00].map(|c| Law::Mu.decode(c)), [0, 0, 32_124, -32_124]);
        assert_eq!([0xd5, 0x55, 0xaa, 0x2a].map(|c| Law::A.decode(c)), [8, -8, 32_256, -32_256]);
        for law in [Law::Mu, Law::A] {
            assert_eq!(law.encode(0), law.silence());
            for code in 0..=255u8 {
                // Only µ-law's minus zero is not met again.
                let again = law.encode(law.decode(code));
                assert!(again == code || (law, code) == (Law::Mu, 0x7f), "{law:?} {code:#x}");
            }
        }
        assert_eq!(Law::Mu.transcode(0xff), 0xd5);
    }
}
