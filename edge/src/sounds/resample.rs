//! Sampling rates: any to 8 kHz, by a windowed sinc in polyphase form, fed chunk by chunk.
//!
//! Ours rather than a package: sixty lines for one fixed ratio, without the adapters that general ones bring.

use std::f64::consts::PI;

use super::RATE;

/// Zero crossings of the sinc on each side: what passes is flat to 3.4 kHz, aliases are 70 dB down.
const CROSSINGS: f64 = 24.0;
/// Where the filter cuts, as a share of half the lower rate.
const CUT: f64 = 0.92;
/// Phases at most; ratios that need more (odd rates) take the nearest one.
const PHASES: u64 = 512;

/// One stream of samples at another rate.
pub struct Resampler {
    /// Output samples per [`Resampler::down`] input samples.
    up: u64,
    down: u64,
    phases: u64,
    taps: usize,
    /// `phases` times `taps` coefficients.
    filter: Vec<f32>,
    /// Input that is still needed; its first sample is the first that the next output needs.
    input: Vec<f32>,
    /// Where between two input samples the next output lies, in units of `1 / up`.
    place: u64,
    /// Samples taken in, and given out.
    taken: u64,
    given: u64,
}

impl Resampler {
    /// From this rate (in Hz, not 0) to 8 kHz.
    pub fn new(rate: u32) -> Self {
        let (from, to) = (u64::from(rate.max(1)), u64::from(RATE));
        let common = gcd(from, to);
        let (up, down) = (to / common, from / common);
        let phases = up.min(PHASES);
        // In cycles per input sample.
        let cut = 0.5 * CUT * (up as f64 / down as f64).min(1.0);
        let half = (CROSSINGS / (2.0 * cut)).ceil();
        let taps = if up == down { 1 } else { half as usize * 2 };
        let mut filter = Vec::with_capacity(phases as usize * taps);
        for phase in 0..phases {
            let fraction = phase as f64 / phases as f64;
            let one: Vec<f64> =
                (0..taps).map(|tap| coefficient(tap as f64 - half + 1.0 - fraction, cut, half)).collect();
            // A constant stays what it is, in every phase.
            let sum: f64 = one.iter().sum();
            filter.extend(one.iter().map(|value| if taps == 1 { 1.0 } else { (value / sum) as f32 }));
        }
        // The first output lies on the first input: before it there is silence.
        let input = vec![0.0; if taps == 1 { 0 } else { taps / 2 - 1 }];
        Resampler { up, down, phases, taps, filter, input, place: 0, taken: 0, given: 0 }
    }

    /// Takes samples of -1 to 1 in and appends what has become certain.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<i16>) {
        self.taken += samples.len() as u64;
        self.input.extend_from_slice(samples);
        self.run(u64::MAX, out);
    }

    /// The end: appends the rest.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        let whole = (self.taken * self.up).div_ceil(self.down);
        self.input.resize(self.input.len() + self.taps, 0.0);
        self.run(whole, out);
    }

    fn run(&mut self, whole: u64, out: &mut Vec<i16>) {
        let mut start = 0;
        while self.given < whole {
            let Some(window) = self.input.get(start..start + self.taps) else { break };
            let phase = (self.place * self.phases / self.up) as usize;
            let filter = self.filter.get(phase * self.taps..).unwrap_or_default();
            let sum: f32 = window.iter().zip(filter).map(|(sample, factor)| sample * factor).sum();
            out.push((sum * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16);
            self.given += 1;
            self.place += self.down;
            start += (self.place / self.up) as usize;
            self.place %= self.up;
            if start > self.input.len() {
                break;
            }
        }
        // A step may lead beyond what is there: the rest of it is skipped when it comes.
        let gone = start.min(self.input.len());
        self.input.drain(..gone);
        self.place += (start - gone) as u64 * self.up;
        if self.place >= self.up && !self.input.is_empty() {
            let skip = ((self.place / self.up) as usize).min(self.input.len());
            self.input.drain(..skip);
            self.place -= skip as u64 * self.up;
        }
    }
}

/// The ideal filter under a Blackman window.
fn coefficient(at: f64, cut: f64, half: f64) -> f64 {
    if at.abs() >= half {
        return 0.0;
    }
    let x = 2.0 * cut * at;
    let sinc = if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) };
    let turn = PI * at / half;
    sinc * (0.42 + 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos())
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hertz: f64, seconds: f64) -> Vec<f32> {
        let count = (f64::from(rate) * seconds) as usize;
        (0..count).map(|n| (0.5 * (2.0 * PI * hertz * n as f64 / f64::from(rate)).sin()) as f32).collect()
    }

    fn resampled(rate: u32, samples: &[f32], chunk: usize) -> Vec<i16> {
        let (mut resampler, mut out) = (Resampler::new(rate), Vec::new());
        samples.chunks(chunk).for_each(|chunk| resampler.push(chunk, &mut out));
        resampler.finish(&mut out);
        out
    }

    /// Root mean square in the middle, as a share of full scale.
    fn level(samples: &[i16]) -> f64 {
        let middle = &samples[400..samples.len() - 400];
        let sum: f64 = middle.iter().map(|sample| (f64::from(*sample) / 32_768.0).powi(2)).sum();
        (sum / middle.len() as f64).sqrt()
    }

    /// Every rate that files have gives the same tone at the same time, whatever the chunks.
    #[test]
    fn a_tone_stays_what_it_is() {
        for rate in
            [6000, 8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 44_101, 48_000, 96_000, 192_000]
        {
            let out = resampled(rate, &tone(rate, 1000.0, 0.5), 700);
            assert!(out.len().abs_diff(4000) <= 1, "{rate}: {}", out.len());
            let ideal = resampled(8000, &tone(8000, 1000.0, 0.5), 4000);
            let far = out.iter().zip(&ideal).skip(300).take(3400).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far.unwrap() < 160, "{rate}: off by {far:?}");
            assert_eq!(out, resampled(rate, &tone(rate, 1000.0, 0.5), 1), "{rate}: chunks do not matter");
        }
    }

    /// What a line cannot carry does not come back as another tone.
    #[test]
    fn what_lies_above_is_gone() {
        for (rate, hertz) in [(16_000, 5000.0), (44_100, 4700.0), (48_000, 9000.0), (44_100, 15_000.0)] {
            let out = resampled(rate, &tone(rate, hertz, 0.5), 1000);
            assert!(level(&out) < 0.001, "{rate}: {hertz} Hz is heard: {}", level(&out));
        }
        for (rate, hertz) in [(16_000, 3400.0), (44_100, 300.0), (48_000, 3400.0)] {
            let share = level(&resampled(rate, &tone(rate, hertz, 0.5), 1000)) / (0.5 / 2f64.sqrt());
            assert!((0.97..1.03).contains(&share), "{rate}: {hertz} Hz at {share}");
        }
    }

    #[test]
    fn sound_of_a_line_is_not_touched() {
        let samples: Vec<i16> = (-300..300).map(|n| n * 109).collect();
        let floats: Vec<f32> = samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
        assert_eq!(resampled(8000, &floats, 7), samples);
    }
}
