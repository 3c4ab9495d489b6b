//! Files for tests.

/// A WAV file of this format (RIFF): code 1 PCM, 6 A-law, 7 µ-law.
pub fn wav(code: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
    let frame = channels * bits / 8;
    let size = |octets: usize| (octets as u32).to_le_bytes();
    // Whatever is not PCM says how much more its format says: nothing.
    let more: &[u8] = if code == 1 { &[] } else { &[0, 0] };
    let mut file = Vec::new();
    for part in [
        b"RIFF".as_slice(),
        &size(data.len() + 36 + more.len()),
        b"WAVEfmt ",
        &size(16 + more.len()),
        &code.to_le_bytes(),
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &(rate * u32::from(frame)).to_le_bytes(),
        &frame.to_le_bytes(),
        &bits.to_le_bytes(),
        more,
        b"data",
        &size(data.len()),
        data,
    ] {
        file.extend_from_slice(part);
    }
    file
}

/// Samples of a tone.
pub fn tone(rate: u32, hertz: f64, samples: usize) -> Vec<i16> {
    let step = 2.0 * std::f64::consts::PI * hertz / f64::from(rate);
    (0..samples).map(|n| (12_000.0 * (step * n as f64).sin()).round() as i16).collect()
}

/// As they lie in a file.
pub fn octets(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// What share of a sound's power lies at this frequency (Goertzel).
pub fn share(samples: &[i16], hertz: f64) -> f64 {
    let turn = 2.0 * std::f64::consts::PI * hertz / 8000.0;
    let (mut a, mut b, mut power) = (0.0, 0.0, 0.0);
    for sample in samples {
        let x = f64::from(*sample);
        power += x * x;
        let next = x + 2.0 * turn.cos() * a - b;
        b = a;
        a = next;
    }
    2.0 * (a * a + b * b - 2.0 * turn.cos() * a * b) / (power * samples.len() as f64).max(1.0)
}
