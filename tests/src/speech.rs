//! Speech found again in a recording: by its length, and by how its energy goes up and down with the words.
//!
//! A line changes little of that: it filters, quantizes and shifts, and may cut or double a few milliseconds. Another
//! text, a tone or silence goes up and down elsewhere.

use std::process::Command;

use crate::baresip::samples;

/// Steps of a second in which energy is compared.
const BLOCKS: usize = 10;
/// Steps of a second by which a recording is shifted to find the speech.
const SHIFTS: usize = 100;
/// Loudness of a block that counts as sound: a softphone's silence is far below, a word far above.
const LOUD: f64 = 200.0;

/// Sound at its sampling rate.
pub struct Sound {
    samples: Vec<i16>,
    rate: usize,
}

/// A place in a recording.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Where it begins, hundredths of a second.
    pub at: usize,
    /// Correlation of the energies, up to 1.
    pub likeness: f64,
}

/// What flite itself makes of a text with this voice.
pub fn flite(voice: &str, text: &str) -> Sound {
    let file = tempfile::Builder::new().suffix(".wav").tempfile().unwrap();
    let status = Command::new("flite").args(["-voice", voice, "-t", text, "-o"]).arg(file.path()).status();
    assert!(status.expect("flite is not installed: run tests/tools.sh or `make test`").success());
    let wav = std::fs::read(file.path()).unwrap();
    let rate = wav.get(24..28).expect("a WAV's header").try_into().unwrap();
    Sound { samples: samples(&wav), rate: u32::from_le_bytes(rate) as usize }
}

/// What a softphone heard.
pub fn heard(samples: Vec<i16>) -> Sound {
    Sound { samples, rate: 8000 }
}

fn loudness(samples: &[i16]) -> f64 {
    (samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
}

/// Pearson's correlation.
fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (a, b) = (mean(one), mean(other));
    let (mut both, mut of_one, mut of_other) = (0.0, 0.0, 0.0);
    for (x, y) in one.iter().zip(other) {
        both += (x - a) * (y - b);
        of_one += (x - a).powi(2);
        of_other += (y - b).powi(2);
    }
    if of_one == 0.0 || of_other == 0.0 { 0.0 } else { both / (of_one * of_other).sqrt() }
}

impl Sound {
    /// Its length, hundredths of a second.
    pub fn length(&self) -> usize {
        self.samples.len() * SHIFTS / self.rate
    }

    /// Loudness of each tenth of a second from this sample on.
    fn energy(&self, from: usize) -> impl Iterator<Item = f64> {
        let samples = self.samples.get(from..).unwrap_or_default();
        samples.chunks_exact(self.rate / BLOCKS).map(loudness)
    }

    /// Where in it this is heard best, among the beginnings in this range, hundredths of a second.
    pub fn find(&self, what: &Sound, range: std::ops::Range<usize>) -> Found {
        let wanted: Vec<f64> = what.energy(0).collect();
        let mut best = Found { at: range.start, likeness: 0.0 };
        for at in range {
            let here: Vec<f64> = self.energy(at * self.rate / SHIFTS).take(wanted.len()).collect();
            if here.len() < wanted.len() {
                break;
            }
            let likeness = correlation(&wanted, &here);
            if likeness > best.likeness {
                best = Found { at, likeness };
            }
        }
        best
    }

    /// From the first to the last that is heard between two places, hundredths of a second; `None`: silence.
    pub fn sounding(&self, range: std::ops::Range<usize>) -> Option<std::ops::Range<usize>> {
        let step = self.rate / SHIFTS;
        let is_loud =
            |at: &usize| self.samples.get(at * step..(at + 1) * step).is_some_and(|samples| loudness(samples) > LOUD);
        let first = range.clone().find(is_loud)?;
        let last = range.rev().find(is_loud)?;
        Some(first..last + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise whose loudness is another each tenth of a second.
    fn words(seed: u32, tenths: usize) -> Vec<i16> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let mut samples = Vec::new();
        for _ in 0..tenths {
            let loud = 300 + next() % 8000;
            samples.extend((0..800).map(|_| (next() % loud) as i16 - (loud / 2) as i16));
        }
        samples
    }

    #[test]
    fn speech_is_found_where_it_is_and_only_there() {
        let said = words(1, 30);
        let mut line = vec![0; 8000 * 2 + 240];
        line.extend(said.iter().map(|sample| sample / 2));
        line.extend(vec![0; 16_000]);
        let (said, line) = (heard(said), heard(line));
        let all = 0..line.length();
        let found = line.find(&said, all.clone());
        assert_eq!(found.at, 203);
        assert!(found.likeness > 0.99);
        assert!(line.find(&heard(words(2, 30)), all.clone()).likeness < 0.8);
        let sounding = line.sounding(all).unwrap();
        assert!(sounding.start.abs_diff(203) <= 1 && sounding.end.abs_diff(503) <= 1, "{sounding:?}");
        assert!(line.sounding(0..200).is_none());
    }
}
