//! The ringing tone that an answered caller hears while legs ring (RCML.md part 2): 425 Hz, one second on, four off
//! (ITU-T E.180), in 20 ms packets.

use std::f32::consts::TAU;
use std::sync::LazyLock;
use std::time::Duration;

use ringfork_media::g711::Law;

/// One packet's time.
pub const STEP: Duration = Duration::from_millis(20);
/// Samples in a packet at 8 kHz.
const SAMPLES: usize = 160;
/// RTP header (RFC 3550 §5.1) and payload.
const PACKET: usize = 12 + SAMPLES;
/// Packets of tone, and of a whole cycle.
const ON: u32 = 50;
const CYCLE: u32 = 250;
/// A comfortable level: about -16 dBm0.
const AMPLITUDE: f32 = 5000.0;

/// 425 Hz repeats after 40 ms (17 periods), that is two packets.
static MU_LAW: LazyLock<[[u8; SAMPLES]; 2]> = LazyLock::new(|| frames(mu_law));
static A_LAW: LazyLock<[[u8; SAMPLES]; 2]> = LazyLock::new(|| frames(a_law));

fn frames(encode: fn(i16) -> u8) -> [[u8; SAMPLES]; 2] {
    let mut frames = [[0; SAMPLES]; 2];
    for (index, sample) in frames.as_flattened_mut().iter_mut().enumerate() {
        let value = AMPLITUDE * (TAU * 425.0 * index as f32 / 8000.0).sin();
        *sample = encode(value as i16);
    }
    frames
}

/// The stream of one session.
#[derive(Debug)]
pub struct Tone {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    step: u32,
}

impl Default for Tone {
    fn default() -> Self {
        // RFC 3550 §5.1: SSRC, first sequence number and first timestamp are random.
        let mut seed = [0u8; 10];
        let _ = getrandom::fill(&mut seed);
        let [a, b, c, d, e, f, g, h, i, j] = seed;
        Tone {
            ssrc: u32::from_be_bytes([a, b, c, d]),
            timestamp: u32::from_be_bytes([e, f, g, h]),
            sequence: u16::from_be_bytes([i, j]),
            step: 0,
        }
    }
}

impl Tone {
    /// The packet of the next 20 ms, by this law, under this payload number (RFC 3551 §4.5.14).
    pub fn next_packet(&mut self, law: Law, number: u8) -> [u8; PACKET] {
        let (sound, silence) = match law {
            Law::Mu => (&*MU_LAW, 0xff),
            Law::A => (&*A_LAW, 0xd5),
        };
        let mut packet = [silence; PACKET];
        let marker = if self.step == 0 { 0x80 } else { 0 };
        let (header, payload) = packet.split_at_mut(12);
        header.copy_from_slice(&{
            let [s0, s1] = self.sequence.to_be_bytes();
            let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
            let [r0, r1, r2, r3] = self.ssrc.to_be_bytes();
            [0x80, marker | number & 0x7f, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3]
        });
        if self.step % CYCLE < ON {
            let [even, odd] = sound;
            payload.copy_from_slice(if self.step % 2 == 0 { even } else { odd });
        }
        self.step = self.step.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(SAMPLES as u32);
        packet
    }
}

/// ITU-T G.711 µ-law of one 16-bit sample.
fn mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80u8 } else { 0 };
    let magnitude = sample.unsigned_abs().min(32_635) + 132;
    let exponent = (magnitude.ilog2() as u8).saturating_sub(7);
    let mantissa = (magnitude >> (exponent + 3)) as u8 & 0x0f;
    !(sign | exponent << 4 | mantissa)
}

/// ITU-T G.711 A-law of one 16-bit sample.
fn a_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80u8 };
    let magnitude = if sample < 0 { !sample } else { sample }.unsigned_abs() >> 4;
    let exponent = (magnitude.checked_ilog2().unwrap_or(0) as u8).saturating_sub(3);
    let code = match exponent {
        0 => magnitude as u8,
        _ => (exponent << 4) | (magnitude >> (exponent - 1)) as u8 & 0x0f,
    };
    (sign | code) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_follow_each_other() {
        let mut tone = Tone::default();
        let (first, second) = (tone.next_packet(Law::Mu, 0), tone.next_packet(Law::Mu, 0));
        assert_eq!((first[0], first[1], second[1]), (0x80, 0x80, 0));
        let sequence = |packet: &[u8; PACKET]| u16::from_be_bytes([packet[2], packet[3]]);
        let timestamp = |packet: &[u8; PACKET]| u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        assert_eq!(sequence(&second), sequence(&first).wrapping_add(1));
        assert_eq!(timestamp(&second), timestamp(&first).wrapping_add(160));
    }

    /// RCML.md part 2: a ringing tone; ITU-T E.180: it has a cadence.
    #[test]
    fn it_sounds_for_a_second_and_rests_for_four() {
        let mut tone = Tone::default();
        let heard: Vec<bool> =
            (0..250).map(|_| tone.next_packet(Law::A, 8)[12..].iter().any(|byte| *byte != 0xd5)).collect();
        assert!(heard[..50].iter().all(|on| *on) && heard[50..].iter().all(|on| !*on));
    }

    /// ITU-T G.711, tables 1 and 2: the codes at the ends and around nothing.
    #[test]
    fn the_laws_at_their_ends() {
        assert_eq!((mu_law(0), mu_law(32_767), mu_law(-32_768)), (0xff, 0x80, 0x00));
        assert_eq!((a_law(0), a_law(-1), a_law(32_767), a_law(-32_768)), (0xd5, 0x55, 0xaa, 0x2a));
    }
}
