//! `make bench`, the sound: streams relayed between parties, beside rtpengine (userspace) in the same run; streams
//! played to callers; and how soon a prompt starts. The server runs on CPU 0, the load on CPU 1 (tests/bench/run.sh
//! pins it). Figures only: it asserts nothing but that every call came up. `streams 300 relay` runs the relay alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // A test program: a failure is its result.

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringfork_tests::baresip::tone_file;
use ringfork_tests::cost::cpu;
use ringfork_tests::edge::{Edge, PEER};
use ringfork_tests::load::{answer, value};
use ringfork_tests::web::{Answer, Web};

const PACKET: Duration = Duration::from_millis(20);
/// Address of the called side.
const CALLED: &str = "127.0.0.3";

fn pin(pid: u32) {
    Command::new("taskset").args(["-acp", "0", &pid.to_string()]).stdout(Stdio::null()).status().unwrap();
}

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

fn description(rtp: SocketAddr) -> String {
    let (ip, port) = (rtp.ip(), rtp.port());
    format!(
        "v=0\r\no=b 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )
}

/// Where a description wants its sound.
fn rtp_of(text: &str) -> SocketAddr {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).expect("a description");
    let port = field("m=audio ").split(' ').next().unwrap();
    format!("{}:{port}", field("c=IN IP4 ").trim()).parse().unwrap()
}

/// One caller's call: where its sound goes, its BYE, and when its 200 came.
struct Call {
    rtp: SocketAddr,
    bye: String,
    answered: Instant,
}

fn call(server: SocketAddr, own: &UdpSocket, rtp: SocketAddr, called: &str, id: &str) -> Call {
    let address = own.local_addr().unwrap();
    let head = |method: &str, target: &str, cseq: u32, to: &str| {
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{id}{method};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:+15550001111@{address}>;tag=a\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:c@{address}>\r\n"
        )
    };
    let target = format!("sip:{called}@{server}");
    let body = description(rtp);
    let invite = head("INVITE", &target, 1, &format!("<{target}>"))
        + &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut buffer = [0; 4096];
    for _ in 0..50 {
        own.send_to(invite.as_bytes(), server).unwrap();
        while let Ok((length, _)) = own.recv_from(&mut buffer) {
            let answered = Instant::now();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if value(&text, "Call-ID") != id || text.starts_with("SIP/2.0 1") {
                continue;
            }
            assert!(text.starts_with("SIP/2.0 200"), "{id}: {text}");
            let contact = value(&text, "Contact").trim_start_matches('<').split('>').next().unwrap().to_owned();
            let within = |method: &str, cseq: u32| {
                head(method, &contact, cseq, value(&text, "To")) + "Content-Length: 0\r\n\r\n"
            };
            own.send_to(within("ACK", 1).as_bytes(), server).unwrap();
            return Call { rtp: rtp_of(&text), bye: within("BYE", 2), answered };
        }
    }
    panic!("{id} was not answered");
}

/// Answers every INVITE at once; gives the places where each wants its sound.
fn called_side(own: UdpSocket, rtp: SocketAddr, stop: Arc<AtomicBool>) -> std::sync::mpsc::Receiver<SocketAddr> {
    let (places, given) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let contact = format!("Contact: <sip:b@{}>\r\n", own.local_addr().unwrap());
        let mut buffer = [0; 4096];
        let mut seen = std::collections::HashSet::new();
        while !stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = own.recv_from(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let reply = match text.split(' ').next() {
                Some("INVITE") => {
                    if seen.insert(value(&text, "Call-ID").to_owned()) {
                        let _ = places.send(rtp_of(&text));
                    }
                    answer(&text, "200 OK", &format!("{contact}Content-Type: application/sdp\r\n"), &description(rtp))
                }
                Some("BYE" | "OPTIONS" | "CANCEL") => answer(&text, "200 OK", "", ""),
                _ => continue,
            };
            own.send_to(reply.as_bytes(), from).unwrap();
        }
    });
    given
}

fn nanoseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// Sends a packet of 20 ms on each stream each way, and takes what the relay hands on: CPU seconds, packets handed on
/// and lost, and the relay's delay at its median and 99.9th percentile, in microseconds.
fn relay(server: u32, pairs: &[(SocketAddr, SocketAddr)], a: &UdpSocket, b: &UdpSocket, seconds: u32) -> [f64; 5] {
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

fn print_relay(name: &str, streams: usize, [spent, count, lost, middle, late]: [f64; 5]) -> f64 {
    let each = spent * 1e6 / count;
    println!(
        "{name:10} relay of {streams} calls: {each:.2} us CPU a packet, {count} packets, {lost} lost, {middle:.0} us at the median, {late:.0} us at 99.9 %"
    );
    each
}

/// `count` calls to the number at once, all playing: CPU of a stream, and how far two packets are from 20 ms apart.
async fn playing(edge: &Edge, web: &Web, sip: &UdpSocket, rtp: &UdpSocket, count: u32) {
    web.document("/voice", r#"<Response><Play loop="0">BASE/tone.wav</Play></Response>"#);
    web.answer("/tone.wav", Answer::File("audio/wav", tone_file(1000, 10)));
    let own = rtp.local_addr().unwrap();
    let calls: Vec<Call> = (0..count)
        .map(|at| tokio::task::block_in_place(|| call(edge.sip, sip, own, "1000", &format!("play{at}"))))
        .collect();
    let spent = cpu(edge.pid());
    let start = Instant::now();
    let mut last: std::collections::HashMap<u32, Instant> = std::collections::HashMap::new();
    let (mut errors, mut buffer) = (Vec::new(), [0; 2048]);
    while start.elapsed() < Duration::from_secs(10) {
        let Ok((length, _)) = rtp.recv_from(&mut buffer) else { continue };
        let now = Instant::now();
        let ssrc = u32::from_be_bytes(buffer[8..12].try_into().unwrap());
        if length == 172
            && let Some(before) = last.insert(ssrc, now)
        {
            errors.push((now - before).abs_diff(PACKET));
        }
    }
    let spent = cpu(edge.pid()) - spent;
    errors.sort_unstable();
    let at = |share: f64| errors[((errors.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "ringfork   playing to {count}: {} streams heard, {:.3} % of a CPU each, spacing error {:.3} ms at the median, {:.3} ms at 99.9 %",
        last.len(),
        spent * 10.0 / f64::from(count),
        at(0.5),
        at(0.999)
    );
    for call in calls {
        sip.send_to(call.bye.as_bytes(), edge.sip).unwrap();
    }
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

fn rtpengine(folder: &std::path::Path) -> Child {
    Command::new("taskset")
        .args(["-c", "0", "rtpengine", "--table=-1", "--interface=127.0.0.6", "--listen-ng=127.0.0.6:2223"])
        .args([
            "--port-min=30000",
            "--port-max=39999",
            "--num-threads=2",
            "--foreground",
            "--log-stderr",
            "--log-level=3",
        ])
        .arg(format!("--pidfile={}", folder.join("rtpengine.pid").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("rtpengine is not installed")
}

/// A call on rtpengine by its control protocol: bencoded dictionaries over UDP.
fn rtpengine_call(control: &UdpSocket, at: usize, a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    let text = |value: &str| format!("{}:{value}", value.len());
    let ask = |command: &str, rtp: SocketAddr| {
        let mut fields =
            vec![("call-id", format!("c{at}")), ("command", command.to_owned()), ("from-tag", "f".to_owned())];
        fields.push(("sdp", description(rtp)));
        if command == "answer" {
            fields.push(("to-tag", "t".to_owned()));
        }
        let body: String = fields.iter().map(|(name, value)| text(name) + &text(value)).collect();
        let mut buffer = [0; 4096];
        for attempt in 0..50 {
            control.send_to(format!("{at}{command}{attempt} d{body}e").as_bytes(), "127.0.0.6:2223").unwrap();
            if let Ok((length, _)) = control.recv_from(&mut buffer) {
                let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
                assert!(answer.contains("6:result2:ok"), "{answer}");
                return rtp_of(&answer[answer.find("v=0").unwrap()..]);
            }
        }
        panic!("rtpengine does not answer");
    };
    let to_b = ask("offer", a);
    let to_a = ask("answer", b);
    // Each party sends to the address that was given to it.
    (to_a, to_b)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let streams: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(300);
    let folder = tempfile::tempdir().unwrap();
    let edge = Edge::start(&[]).await;
    let web = Web::start().await;
    pin(edge.pid());
    edge.create_number("1000", &web.url("/voice")).await;

    let (sip, a) = (socket(&format!("{PEER}:0")), socket(&format!("{PEER}:0")));
    let b = socket(&format!("{CALLED}:0"));
    let relay_only = std::env::args().nth(2).is_some_and(|part| part == "relay");
    if !relay_only {
        playing(&edge, &web, &sip, &a, u32::try_from(streams).unwrap()).await;
        edge.settled().await;
    }

    for cached in if relay_only { &[][..] } else { &[false, true] } {
        let cached = *cached;
        let mut times = Vec::new();
        for round in 0..20 {
            let path = if cached { "/cached.wav".to_owned() } else { format!("/new{round}.wav") };
            web.answer(&path, Answer::File("audio/wav", tone_file(1000, 2)));
            web.document("/voice", &format!("<Response><Play>BASE{path}</Play></Response>"));
            let id = format!("first{cached}{round}");
            times.push(tokio::task::block_in_place(|| first_sound(&edge, &sip, &a, &id)));
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
    edge.settled().await;

    // The called side is a <Sip> address, so that no registration is needed.
    let stop = Arc::new(AtomicBool::new(false));
    let phone = socket(&format!("{CALLED}:0"));
    web.document(
        "/voice",
        &format!("<Response><Dial><Sip>sip:b@{}</Sip></Dial></Response>", phone.local_addr().unwrap()),
    );
    let places = called_side(phone, b.local_addr().unwrap(), stop.clone());
    let mut calls = Vec::new();
    let mut pairs = Vec::new();
    for at in 0..streams {
        let up = tokio::task::block_in_place(|| {
            call(edge.sip, &sip, a.local_addr().unwrap(), "1000", &format!("relay{at}"))
        });
        pairs.push((up.rtp, places.recv_timeout(Duration::from_secs(5)).unwrap()));
        calls.push(up);
    }
    let ours = relay(edge.pid(), &pairs, &a, &b, 10);
    for call in calls {
        sip.send_to(call.bye.as_bytes(), edge.sip).unwrap();
    }
    edge.settled().await;
    stop.store(true, Ordering::Relaxed);
    drop(edge);
    let ours = print_relay("ringfork", streams, ours);

    let mut peer = rtpengine(folder.path());
    let control = socket("127.0.0.2:0");
    let pairs: Vec<_> =
        (0..streams).map(|at| rtpengine_call(&control, at, a.local_addr().unwrap(), b.local_addr().unwrap())).collect();
    let theirs = print_relay("rtpengine", streams, relay(peer.id(), &pairs, &a, &b, 10));
    Command::new("kill").arg(peer.id().to_string()).status().unwrap();
    peer.wait().unwrap();
    println!("\nCPU of a relayed packet, ringfork to rtpengine (userspace): {:.2}", ours / theirs);
}
