//! Keys as RTP packets (RFC 4733): typed into a capture file that sipp plays, and heard by a socket of the test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::PATIENCE;

/// Codes of keys (RFC 4733 §3.2).
const KEYS: &str = "0123456789*#ABCD";
/// How long a key sounds, and how long nothing does after it: what fast fingers and auto-dialers do.
const TONE_MS: u32 = 40;
const GAP_MS: u32 = 40;
/// Sound before the first key and after the last one.
const LEAD_MS: u32 = 100;
/// Samples in a millisecond.
const RATE: u32 = 8;

/// How a phone types.
#[derive(Debug, Clone, Copy)]
pub struct Typing {
    /// Payload number of telephone events.
    pub payload: u8,
    /// Whether the first packet of a press has the marker bit, as RFC 4733 §2.5.1.1 wants. Some phones never set it.
    pub marker: bool,
}

impl Typing {
    /// Writes a capture of a phone that sends sound and, in its place, these keys: for each the beginning, one update,
    /// and the end three times. Gives how long it lasts.
    pub fn write(self, keys: &str, path: &Path) -> Duration {
        let mut capture = Capture::new();
        let lead = |capture: &mut Capture, from: u32| {
            for at in (from..from + LEAD_MS).step_by(20) {
                capture.sound(at);
            }
        };
        lead(&mut capture, 0);
        let mut at = LEAD_MS;
        for key in keys.chars() {
            let code = KEYS.chars().position(|each| each == key).expect("a key") as u8;
            let event = |end: bool, duration_ms: u32| {
                let [high, low] = ((duration_ms * RATE) as u16).to_be_bytes();
                [code, u8::from(end) << 7 | 10, high, low]
            };
            for (after, marker, end) in
                [(0, self.marker, false), (20, false, false), (40, false, true), (40, false, true), (40, false, true)]
            {
                let lasted = (after + 20).min(TONE_MS);
                capture.packet(at + after, at, self.payload, marker, &event(end, lasted));
            }
            for after in (TONE_MS..TONE_MS + GAP_MS).step_by(20) {
                capture.sound(at + after);
            }
            at += TONE_MS + GAP_MS;
        }
        lead(&mut capture, at);
        std::fs::write(path, capture.bytes).unwrap();
        Duration::from_millis((at + LEAD_MS).into())
    }
}

/// A capture file (libpcap's format) of one RTP stream over UDP, IPv4 and Ethernet.
struct Capture {
    bytes: Vec<u8>,
    sequence: u16,
}

impl Capture {
    fn new() -> Capture {
        let mut bytes = Vec::new();
        bytes.extend(0xa1b2_c3d4u32.to_le_bytes());
        bytes.extend([2, 0, 4, 0]);
        bytes.extend([0; 8]);
        bytes.extend(65_535u32.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        Capture { bytes, sequence: 4711 }
    }

    /// 20 ms of silence by the µ-law.
    fn sound(&mut self, at_ms: u32) {
        self.packet(at_ms, at_ms, 0, at_ms == 0, &[0xff; 160]);
    }

    /// A packet sent at one moment that tells of another.
    fn packet(&mut self, at_ms: u32, of_ms: u32, payload: u8, marker: bool, data: &[u8]) {
        let mut rtp = vec![0x80, u8::from(marker) << 7 | payload];
        rtp.extend(self.sequence.to_be_bytes());
        rtp.extend((77_000 + of_ms * RATE).to_be_bytes());
        rtp.extend(0x5eed_cafeu32.to_be_bytes());
        rtp.extend(data);
        self.sequence = self.sequence.wrapping_add(1);
        let udp = rtp.len() as u16 + 8;
        let length = u32::from(udp) + 20 + 14;
        self.bytes.extend((at_ms / 1000).to_le_bytes());
        self.bytes.extend((at_ms % 1000 * 1000).to_le_bytes());
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(length.to_le_bytes());
        // Ethernet: no addresses, IPv4.
        self.bytes.extend([0; 12]);
        self.bytes.extend([0x08, 0x00]);
        // IPv4: no checksum; sipp sends what is behind this header.
        self.bytes.extend([0x45, 0]);
        self.bytes.extend((udp + 20).to_be_bytes());
        self.bytes.extend([0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        // UDP.
        self.bytes.extend(4000u16.to_be_bytes());
        self.bytes.extend(4000u16.to_be_bytes());
        self.bytes.extend(udp.to_be_bytes());
        self.bytes.extend([0, 0]);
        self.bytes.extend(rtp);
    }
}

/// One press as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    /// The key.
    pub key: char,
    /// RTP timestamp of all its packets.
    pub timestamp: u32,
    /// The stream it is in.
    pub ssrc: u32,
    /// Sequence numbers, in the order in which they came.
    pub sequence: Vec<u16>,
    /// Durations that its packets told, in samples.
    pub durations: Vec<u16>,
    /// How many of its packets told of its end.
    pub ends: usize,
    /// Whether its first packet had the marker bit.
    pub marker: bool,
}

/// Where a scripted phone hears.
pub struct Ear {
    socket: UdpSocket,
    /// What its session description is to name.
    pub local: SocketAddr,
    presses: Vec<Press>,
    known: HashMap<(u32, u32), usize>,
}

impl Ear {
    /// At a free port of this address.
    pub async fn open(ip: &str) -> Ear {
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        let local = socket.local_addr().unwrap();
        Ear { socket, local, presses: Vec::new(), known: HashMap::new() }
    }

    /// Waits for so many presses under this payload number, each to its third end packet, and gives them in order.
    pub async fn presses(mut self, count: usize, payload: u8) -> Vec<Press> {
        let mut buffer = [0; 2048];
        let end = tokio::time::Instant::now() + PATIENCE;
        while self.presses.len() < count || self.presses.iter().any(|press| press.ends < 3) {
            let received = tokio::time::timeout_at(end, self.socket.recv(&mut buffer)).await;
            let Ok(length) = received else {
                panic!("{count} presses under {payload} were to be heard; these were: {:#?}", self.presses)
            };
            // An ICMP error of something sent earlier is no packet.
            if let Ok(length) = length {
                self.packet(&buffer[..length], payload);
            }
        }
        self.presses
    }

    fn packet(&mut self, packet: &[u8], payload: u8) {
        let &[0x80, second, s0, s1, t0, t1, t2, t3, a, b, c, d, code, flags, d0, d1] = packet else { return };
        if second & 0x7f != payload {
            return;
        }
        let (timestamp, ssrc) = (u32::from_be_bytes([t0, t1, t2, t3]), u32::from_be_bytes([a, b, c, d]));
        let presses = &mut self.presses;
        let place = *self.known.entry((ssrc, timestamp)).or_insert_with(|| {
            let key = KEYS.chars().nth(code.into()).expect("a key");
            let (sequence, durations) = (Vec::new(), Vec::new());
            presses.push(Press { key, timestamp, ssrc, sequence, durations, ends: 0, marker: second & 0x80 != 0 });
            presses.len() - 1
        });
        let press = &mut presses[place];
        press.sequence.push(u16::from_be_bytes([s0, s1]));
        press.durations.push(u16::from_be_bytes([d0, d1]));
        press.ends += usize::from(flags & 0x80 != 0);
    }
}

/// The keys of presses.
pub fn typed(presses: &[Press]) -> String {
    presses.iter().map(|press| press.key).collect()
}
