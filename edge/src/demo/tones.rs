//! The sounds of the demonstration: the tones that phones send, the prompt as a WAV file, and how both are recognised.

use std::time::Duration;

/// Samples of one second.
const RATE: usize = 8000;
/// What is judged at once: 20 ms, in which multiples of 50 Hz are told apart.
const FRAME: usize = 160;
/// The notes of the prompt, hertz and milliseconds; no phone's tone is near them.
const PROMPT: [(f64, usize); 3] = [(800.0, 600), (1000.0, 600), (1200.0, 700)];
/// Of full scale 32 767.
const LEVEL: f64 = 8000.0;
/// A frame is the prompt's when so much of it is one note.
const CLEAR: f64 = 0.5;

/// How loud a tone is at a moment, counted in samples.
pub(super) fn sample(hertz: f64, moment: f64) -> i16 {
    (LEVEL * (std::f64::consts::TAU * hertz * moment / RATE as f64).sin()) as i16
}

/// The prompt as a file: 8 kHz, mono, 16 bits.
pub(super) fn prompt() -> Vec<u8> {
    let samples = PROMPT.iter().flat_map(|(hertz, milliseconds)| {
        (0..milliseconds * RATE / 1000).map(|moment| sample(*hertz, moment as f64).to_le_bytes())
    });
    let samples: Vec<u8> = samples.flatten().collect();
    let mut file = ringfork_media::wav::header(samples.len() as u64 / 2).to_vec();
    file.extend(samples);
    file
}

/// How much of this sound is the prompt.
pub(super) fn prompt_in(samples: &[f64]) -> Duration {
    let heard = |frame: &&[f64]| PROMPT.iter().any(|(hertz, _)| strength(frame, *hertz) > CLEAR);
    let samples: usize = samples.chunks(FRAME).filter(heard).map(<[f64]>::len).sum();
    Duration::from_micros(samples as u64 * 125)
}

/// How much of the sound is at this frequency (Goertzel), 0 to 1.
pub(super) fn strength(samples: &[f64], hertz: f64) -> f64 {
    let energy: f64 = samples.iter().map(|sample| sample * sample).sum();
    if energy == 0.0 {
        return 0.0;
    }
    let turn = std::f64::consts::TAU * hertz / RATE as f64;
    let (mut before, mut last) = (0.0, 0.0);
    for sample in samples {
        let next = sample + 2.0 * turn.cos() * last - before;
        before = last;
        last = next;
    }
    let power = last * last + before * before - 2.0 * turn.cos() * last * before;
    (2.0 * power / (energy * samples.len() as f64)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_told_from_silence_ringing_and_the_phones() {
        let file = prompt();
        let (header, samples) = file.split_at(ringfork_media::wav::HEADER);
        assert_eq!(header[40..44], (samples.len() as u32).to_le_bytes());
        let samples: Vec<f64> =
            samples.chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]]))).collect();
        assert_eq!(prompt_in(&samples), Duration::from_millis(1900));
        assert_eq!(prompt_in(&samples[..8000]), Duration::from_secs(1));
        for other in [0.0, 425.0, 440.0, 480.0, 620.0] {
            let tone: Vec<f64> = (0..8000).map(|moment| f64::from(sample(other, f64::from(moment)))).collect();
            assert_eq!(prompt_in(&tone), Duration::ZERO, "{other} Hz");
        }
    }
}
