//! The ringing tone that an answered caller hears while legs ring (RCML.md part 2), as G.711 packets of 20 ms.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use crate::g711::Law;
use crate::rtp::{HEADER, Header};

/// Milliseconds in a packet.
pub const STEP_MS: u32 = 20;
/// Samples in a packet, at 8 kHz.
pub const SAMPLES: usize = 160;
/// Octets of a packet.
pub const PACKET: usize = HEADER + SAMPLES;

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

/// One stream of ringing. It sends silence in the pauses, so that NAT mappings and jitter buffers stay.
#[derive(Debug, Clone)]
pub struct Tone {
    ringing: Ringing,
    header: Header,
    step: u32,
}

impl Tone {
    /// A stream with these first numbers, which are random (RFC 3550 §5.1).
    pub fn new(ringing: Ringing, ssrc: u32, sequence: u16, timestamp: u32) -> Tone {
        Tone { ringing, header: Header { marker: true, payload: 0, sequence, timestamp, ssrc }, step: 0 }
    }

    /// The packet of the next 20 ms, by this law and under this payload number.
    pub fn next_packet(&mut self, law: Law, payload: u8) -> [u8; PACKET] {
        let mut packet = [law.silence(); PACKET];
        let (head, data) = packet.split_at_mut(HEADER);
        head.copy_from_slice(&Header { payload, ..self.header }.to_bytes());
        let (sound, cycle) = self.ringing.cadence();
        let frames = self.ringing.frames(law);
        if self.step < sound
            && let Some(frame) = frames.get(self.step as usize % frames.len())
        {
            data.copy_from_slice(frame);
        }
        self.step = (self.step + 1) % cycle;
        self.header.marker = false;
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(SAMPLES as u32);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Packet;

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
                let mut tone = Tone::new(ringing, 1, 65_534, u32::MAX - 100);
                let packets: Vec<[u8; PACKET]> = (0..2 * cycle).map(|_| tone.next_packet(law, law.payload())).collect();
                let mut samples = Vec::new();
                for (at, packet) in packets.iter().enumerate() {
                    let packet = Packet::parse(packet).unwrap();
                    assert_eq!(packet.header.marker, at == 0);
                    assert_eq!(packet.header.sequence, 65_534u16.wrapping_add(at as u16));
                    assert_eq!(packet.header.timestamp, (u32::MAX - 100).wrapping_add(160 * at as u32));
                    assert_eq!((packet.header.payload, packet.header.ssrc), (law.payload(), 1));
                    let silent = packet.data.iter().all(|code| *code == law.silence());
                    assert_eq!(silent, at % cycle >= on, "{at}");
                    samples.extend(packet.data.iter().map(|code| law.decode(*code)));
                }
                let second = &samples[..8000];
                let total: f64 = second.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 8000.0;
                let in_tones: f64 = tones.iter().map(|frequency| 2.0 * power(second, *frequency)).sum();
                assert!(in_tones > 0.99 * total, "{ringing:?} {law:?} {in_tones} {total}");
            }
        }
    }
}
