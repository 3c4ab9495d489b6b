//! The header of a WAV file of 8 kHz, mono, 16 bits (RIFF, Multimedia Programming Interface and Data Specifications 1.0).

/// Octets of the header.
pub const HEADER: usize = 44;

/// The header in front of so many samples; beyond what the format can say (74 hours) the sizes stay at their greatest.
pub fn header(samples: u64) -> [u8; HEADER] {
    const RATE: u32 = 8000;
    let data = u32::try_from(samples.saturating_mul(2)).unwrap_or(u32::MAX - 1).min(u32::MAX - 37) & !1;
    let mut header = [0; HEADER];
    let parts: [&[u8]; 13] = [
        b"RIFF",
        &(data + 36).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16u32.to_le_bytes(),
        // PCM, one channel.
        &1u16.to_le_bytes(),
        &1u16.to_le_bytes(),
        &RATE.to_le_bytes(),
        &(RATE * 2).to_le_bytes(),
        &2u16.to_le_bytes(),
        &16u16.to_le_bytes(),
        b"data",
        &data.to_le_bytes(),
    ];
    for (place, octet) in header.iter_mut().zip(parts.into_iter().flatten()) {
        *place = *octet;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_its_sizes() {
        let one = header(8000);
        assert_eq!(&one[..4], b"RIFF");
        assert_eq!(one[4..8], 16_036u32.to_le_bytes());
        assert_eq!(&one[8..16], b"WAVEfmt ");
        assert_eq!(one[16..36], [16, 0, 0, 0, 1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0]);
        assert_eq!(&one[36..40], b"data");
        assert_eq!(one[40..44], 16_000u32.to_le_bytes());
        assert_eq!(header(u64::MAX)[..4], *b"RIFF");
    }
}
