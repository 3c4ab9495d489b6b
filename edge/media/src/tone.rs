//! The ringing tone that an answered caller hears while legs ring (RCML.md part 2), as G.711 of 20 ms each.

use std::f64::consts::TAU;
use std::sync::{Arc, LazyLock};

use crate::g711::Law;

/// Milliseconds in a packet.
pub const STEP_MS: u32 = 20;
/// Samples in a packet, at 8 kHz.
pub const SAMPLES: usize = 160;

/// Peak of the tone, about -16 dBm0.
const AMPLITUDE: f64 = 5000.0;

/// Which tone (ITU-T E.180, supplement 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ringing {
    /// 425 Hz, one second on, four off: most of Europe.
    #[default]
    Europe,
    /// 440 and 480 Hz together, two seconds on, four off: North America.
    NorthAmerica,
}

impl Ringing {
    /// Packets of sound, and of a whole cycle.
    const fn cadence(self) -> (u32, u32) {
        match self {
            Ringing::Europe => (1000 / STEP_MS, 5000 / STEP_MS),
            Ringing::NorthAmerica => (2000 / STEP_MS, 6000 / STEP_MS),
        }
    }

    /// The packets after which the waves repeat: 425 Hz after 40 ms, 440 and 480 Hz together after 100 ms.
    fn frames(self, law: Law) -> &'static [[u8; SAMPLES]] {
        static EUROPE: LazyLock<[Vec<[u8; SAMPLES]>; 2]> =
            LazyLock::new(|| [Law::Mu, Law::A].map(|l| render(&[425.0], 2, l)));
        static AMERICA: LazyLock<[Vec<[u8; SAMPLES]>; 2]> =
            LazyLock::new(|| [Law::Mu, Law::A].map(|l| render(&[440.0, 480.0], 5, l)));
        let [mu, a] = match self {
            Ringing::Europe => &*EUROPE,
            Ringing::NorthAmerica => &*AMERICA,
        };
        match law {
            Law::Mu => mu,
            Law::A => a,
        }
    }
}

fn render(frequencies: &[f64], packets: usize, law: Law) -> Vec<[u8; SAMPLES]> {
    let mut frames = vec![[0; SAMPLES]; packets];
    for (at, code) in frames.as_flattened_mut().iter_mut().enumerate() {
        let waves = frequencies.iter().map(|frequency| (TAU * frequency * at as f64 / 8000.0).sin());
        *code = law.encode((waves.sum::<f64>() / frequencies.len() as f64 * AMPLITUDE).round() as i16);
    }
    frames
}

/// Where a ringing tone is in its cycle: pauses are silence, so that NAT mappings and jitter buffers stay.
#[derive(Debug, Clone)]
pub struct Tone {
    ringing: Ringing,
    step: u32,
}

impl Tone {
    /// From the start of its sound.
    pub fn new(ringing: Ringing) -> Tone {
        Tone { ringing, step: 0 }
    }

    /// The next 20 ms by this law; `None`: silence.
    pub fn next_frame(&mut self, law: Law) -> Option<&'static [u8; SAMPLES]> {
        let (sound, cycle) = self.ringing.cadence();
        let frames = self.ringing.frames(law);
        let frame = if self.step < sound { frames.get(self.step as usize % frames.len()) } else { None };
        self.step = (self.step + 1) % cycle;
        frame
    }
}

/// What is heard before a recording: 1000 Hz for half a second.
pub fn beep() -> Arc<[i16]> {
    static BEEP: LazyLock<Arc<[i16]>> = LazyLock::new(|| {
        (0..4000).map(|at| ((TAU * 1000.0 * f64::from(at) / 8000.0).sin() * AMPLITUDE).round() as i16).collect()
    });
    BEEP.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Power at one frequency over a whole second (Goertzel).
    fn power(samples: &[i16], frequency: f64) -> f64 {
        let turn = 2.0 * (TAU * frequency / 8000.0).cos();
        let (mut a, mut b) = (0.0, 0.0);
        for sample in samples {
            (a, b) = (f64::from(*sample) + turn * a - b, a);
        }
        (a * a + b * b - turn * a * b) / (samples.len() as f64).powi(2)
    }

    #[test]
    fn the_right_frequencies_and_cadence() {
        for (ringing, tones, on, cycle) in
            [(Ringing::Europe, &[425.0][..], 50, 250), (Ringing::NorthAmerica, &[440.0, 480.0][..], 100, 300)]
        {
            for law in [Law::Mu, Law::A] {
                let mut tone = Tone::new(ringing);
                let mut samples = Vec::new();
                for at in 0..2 * cycle {
                    let frame = tone.next_frame(law);
                    assert_eq!(frame.is_none(), at % cycle >= on, "{at}");
                    let silence = [law.silence(); SAMPLES];
                    samples.extend(frame.unwrap_or(&silence).iter().map(|code| law.decode(*code)));
                }
                let second = &samples[..8000];
                let total: f64 = second.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 8000.0;
                let in_tones: f64 = tones.iter().map(|frequency| 2.0 * power(second, *frequency)).sum();
                assert!(in_tones > 0.99 * total, "{ringing:?} {law:?} {in_tones} {total}");
            }
        }
    }

    #[test]
    fn a_beep_is_a_thousand_hertz() {
        let samples = beep();
        assert_eq!(samples.len(), 4000);
        let total: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 4000.0;
        assert!(2.0 * power(&samples, 1000.0) > 0.99 * total);
    }
}
