//! Streams relayed between two parties: what a packet costs, and how long it is kept.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringfork_tests::cost::cpu;

use crate::PACKET;

fn nanoseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// Sends a packet of 20 ms on each stream each way, and takes what the relay hands on: CPU seconds, packets handed on
/// and lost, and the relay's delay at its median and 99.9th percentile, in microseconds.
pub fn relay(server: u32, pairs: &[(SocketAddr, SocketAddr)], a: &UdpSocket, b: &UdpSocket, seconds: u32) -> [f64; 5] {
    let stop = Arc::new(AtomicBool::new(false));
    let receivers: Vec<_> = [a, b]
        .into_iter()
        .map(|socket| {
            let (socket, stop) = (socket.try_clone().unwrap(), stop.clone());
            std::thread::spawn(move || {
                let mut delays = Vec::new();
                let mut buffer = [0; 2048];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
                    if length == 172 {
                        let sent = u64::from_be_bytes(buffer[12..20].try_into().unwrap());
                        delays.push(nanoseconds().saturating_sub(sent));
                    }
                }
                delays
            })
        })
        .collect();
    // What is sent before both sides are learnt is not counted: one round of it.
    let mut packet = [0xff; 172];
    packet[..2].copy_from_slice(&[0x80, 0]);
    let mut sent = 0u64;
    let mut spent = 0.0;
    let start = Instant::now();
    for round in 0..seconds * 50 + 5 {
        if round == 5 {
            spent = cpu(server);
        }
        for (index, (to_a, to_b)) in pairs.iter().enumerate() {
            let due = start + PACKET * round + PACKET.mul_f64(index as f64 / pairs.len() as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&(round * 160).to_be_bytes());
            packet[8..12].copy_from_slice(&(index as u32 + 1).to_be_bytes());
            for (socket, target) in [(a, to_a), (b, to_b)] {
                packet[12..20].copy_from_slice(&nanoseconds().to_be_bytes());
                socket.send_to(&packet, target).unwrap();
                sent += u64::from(round >= 5);
            }
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    spent = cpu(server) - spent;
    stop.store(true, Ordering::Relaxed);
    let mut delays: Vec<u64> = receivers.into_iter().flat_map(|receiver| receiver.join().unwrap()).collect();
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    let lost = sent.saturating_sub(delays.len() as u64);
    [spent, delays.len() as f64, lost as f64, at(0.5), at(0.999)]
}

/// Prints what [`relay`] measured; gives microseconds of CPU a packet.
pub fn print_relay(name: &str, streams: usize, [spent, count, lost, middle, late]: [f64; 5]) -> f64 {
    let each = spent * 1e6 / count;
    println!(
        "{name:10} relay of {streams} calls: {each:.2} us CPU a packet, {count} packets, {lost} lost, {middle:.0} us at the median, {late:.0} us at 99.9 %"
    );
    each
}
