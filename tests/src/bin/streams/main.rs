//! `make bench`, the sound: streams played to callers and streams relayed between parties, each beside rtpengine
//! (userspace) in the same run; and how soon a prompt starts. The server runs on CPU 0, the load on CPU 1
//! (tests/bench/run.sh pins it). Figures only: it asserts nothing but that every call came up. `streams 300 relay` runs
//! the relay alone, `streams 300 play` the playing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // A test program: a failure is its result.

mod parties;
mod playing;
mod relaying;
mod rtpengine;

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringfork_tests::baresip::{tone_file, write_tone};
use ringfork_tests::edge::{Edge, PEER};
use ringfork_tests::web::{Answer, Web};

use parties::{call, called_side, socket};
use playing::{Heard, listen};
use relaying::{print_relay, relay};
use rtpengine::Rtpengine;

const PACKET: Duration = Duration::from_millis(20);
/// Address of the called side.
const CALLED: &str = "127.0.0.3";
/// Calls that hear a prompt one after another.
const PROMPTS: u32 = 20;

fn pin(pid: u32) {
    Command::new("taskset").args(["-acp", "0", &pid.to_string()]).stdout(Stdio::null()).status().unwrap();
}

/// `count` calls to the number at once, all playing.
async fn playing(edge: &Edge, web: &Web, sip: &UdpSocket, rtp: &UdpSocket, count: usize) -> Heard {
    web.document("/voice", r#"<Response><Play loop="0">BASE/tone.wav</Play></Response>"#);
    web.answer("/tone.wav", Answer::File("audio/wav", tone_file(1000, 30)));
    let own = rtp.local_addr().unwrap();
    let heard = tokio::task::block_in_place(|| {
        let calls: Vec<_> = (0..count).map(|at| call(edge.sip, sip, own, "1000", &format!("play{at}"))).collect();
        let heard = listen(edge.pid(), rtp);
        for call in calls {
            sip.send_to(call.bye.as_bytes(), edge.sip).unwrap();
        }
        heard
    });
    edge.settled().await;
    heard
}

/// The same by rtpengine. The other party of each call is nobody.
fn playing_by_rtpengine(rtp: &UdpSocket, count: usize) -> Heard {
    let peer = Rtpengine::start();
    let file = tempfile::Builder::new().suffix(".wav").tempfile().unwrap();
    write_tone(file.path(), 1000, 30);
    let nobody = socket(&format!("{CALLED}:0"));
    for at in 0..count {
        peer.call(at, rtp.local_addr().unwrap(), nobody.local_addr().unwrap());
        peer.play(at, file.path());
    }
    listen(peer.pid(), rtp)
}

/// From the 200 to the first packet that is not silence.
fn first_sound(edge: &Edge, sip: &UdpSocket, rtp: &UdpSocket, id: &str) -> Duration {
    let call = call(edge.sip, sip, rtp.local_addr().unwrap(), "1000", id);
    let mut buffer = [0; 2048];
    let first = loop {
        let Ok((length, from)) = rtp.recv_from(&mut buffer) else { continue };
        if from == call.rtp && length > 12 && buffer[12..length].iter().any(|octet| octet | 0x80 != 0xff) {
            break call.answered.elapsed();
        }
    };
    sip.send_to(call.bye.as_bytes(), edge.sip).unwrap();
    first
}

/// The same number called again and again: milliseconds from the 200 to the first sound, cached or not.
fn prompts(edge: &Edge, web: &Web, sip: &UdpSocket, rtp: &UdpSocket, cached: bool) {
    let mut times = Vec::new();
    for round in 0..PROMPTS {
        let path = if cached { "/cached.wav".to_owned() } else { format!("/new{round}.wav") };
        web.answer(&path, Answer::File("audio/wav", tone_file(1000, 2)));
        web.document("/voice", &format!("<Response><Play>BASE{path}</Play></Response>"));
        times.push(first_sound(edge, sip, rtp, &format!("first{cached}{round}")));
    }
    times.drain(..usize::from(cached)); // The first fills the cache.
    times.sort_unstable();
    println!(
        "ringfork   from 200 to the first sound of a prompt, {}: {:.1} ms at the median, {:.1} ms at most",
        if cached { "cached" } else { "not cached" },
        times[times.len() / 2].as_secs_f64() * 1e3,
        times.last().unwrap().as_secs_f64() * 1e3
    );
}

/// Calls that are bridged, and what the relay did with their sound. The called side is a `<Sip>` address, so that no
/// registration is needed.
async fn relaying(edge: &Edge, web: &Web, sip: &UdpSocket, [a, b]: [&UdpSocket; 2], count: usize) -> [f64; 5] {
    let stop = Arc::new(AtomicBool::new(false));
    let phone = socket(&format!("{CALLED}:0"));
    let target = phone.local_addr().unwrap();
    web.document("/voice", &format!("<Response><Dial><Sip>sip:b@{target}</Sip></Dial></Response>"));
    let places = called_side(phone, b.local_addr().unwrap(), stop.clone());
    let figures = tokio::task::block_in_place(|| {
        let mut calls = Vec::new();
        let mut pairs = Vec::new();
        for at in 0..count {
            let up = call(edge.sip, sip, a.local_addr().unwrap(), "1000", &format!("relay{at}"));
            pairs.push((up.rtp, places.recv_timeout(Duration::from_secs(5)).unwrap()));
            calls.push(up);
        }
        let figures = relay(edge.pid(), &pairs, a, b, 10);
        for call in calls {
            sip.send_to(call.bye.as_bytes(), edge.sip).unwrap();
        }
        figures
    });
    edge.settled().await;
    stop.store(true, Ordering::Relaxed);
    figures
}

fn relaying_by_rtpengine([a, b]: [&UdpSocket; 2], count: usize) -> [f64; 5] {
    let peer = Rtpengine::start();
    let own = |socket: &UdpSocket| socket.local_addr().unwrap();
    let pairs: Vec<_> = (0..count).map(|at| peer.call(at, own(a), own(b))).collect();
    relay(peer.pid(), &pairs, a, b, 10)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let streams: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(300);
    let part = arguments.next();
    if part.as_deref() == Some("wake") {
        return playing::wake();
    }
    let does = |what: &str| part.as_deref().is_none_or(|part| part == what);

    let edge = Edge::start(&[]).await;
    let web = Web::start().await;
    pin(edge.pid());
    edge.create_number("1000", &web.url("/voice")).await;
    let sip = socket(&format!("{PEER}:0"));
    let (a, b) = (socket(&format!("{PEER}:0")), socket(&format!("{CALLED}:0")));

    if does("play") {
        playing::floor();
        let ours = playing(&edge, &web, &sip, &a, streams).await.print("ringfork");
        let theirs = playing_by_rtpengine(&a, streams).print("rtpengine");
        for cached in [false, true] {
            tokio::task::block_in_place(|| prompts(&edge, &web, &sip, &a, cached));
        }
        edge.settled().await;
        println!(
            "\nringfork to rtpengine (userspace): CPU of a playing stream {:.2}, spacing error at 99.9 % {:.2}\n",
            ours.1 / theirs.1,
            ours.0 / theirs.0
        );
    }
    if does("relay") {
        let ours = print_relay("ringfork", streams, relaying(&edge, &web, &sip, [&a, &b], streams).await);
        let theirs = print_relay("rtpengine", streams, relaying_by_rtpengine([&a, &b], streams));
        println!("\nringfork to rtpengine (userspace): CPU of a relayed packet {:.2}", ours / theirs);
    }
}
