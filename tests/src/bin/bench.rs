//! `make bench`: what REGISTER, forked calls and a binding cost, beside Kamailio in the same run, as ratios.
//! The server runs on CPU 0, the load on CPU 1 (tests/bench/run.sh pins them). Never a test: it asserts nothing but
//! that every call ended as it should.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test program: a failure is its result.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ringfork_tests::cost::{cpu, memory};
use ringfork_tests::load::{self, DOMAIN, PASSWORD, Rounds, called_side, calls, registers};
use tokio::net::UdpSocket;

const SERVER: &str = "127.0.10.1:5060";
const AORS: u32 = 200;
const FORKS: [u32; 3] = [1, 3, 10];

/// CPU milliseconds for one transaction or call, memory and latency, by name.
type Figures = Vec<(String, f64)>;

async fn measure(name: &str, server: &Child, scale: u32) -> Figures {
    let target: SocketAddr = SERVER.parse().unwrap();
    let pid = server.id();
    let caller = UdpSocket::bind("127.0.10.2:6000").await.unwrap();
    let called = Arc::new(UdpSocket::bind("127.0.10.3:6001").await.unwrap());
    let mut figures = Figures::new();
    let mut note = |what: String, figure: f64| {
        println!("{name:10} {what:32} {figure:10.4}");
        figures.push((what, figure));
    };

    // A device of each client, once; then refreshes are measured.
    let before = memory(pid);
    let mut rounds = Rounds::new();
    let fill = registers(target, &called, &mut rounds, (AORS * 10, 1), 2000, AORS * 10).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    note("bytes for a binding".into(), (memory(pid) - before) / f64::from(fill.done.max(1)));
    let start = cpu(pid);
    let outcome = registers(target, &called, &mut rounds, (AORS * 10, 1), 1000, 5000 * scale).await;
    note("REGISTER, CPU ms".into(), (cpu(pid) - start) * 1000.0 / f64::from(outcome.done.max(1)));
    assert_eq!(outcome.failed, 0, "registrations failed");

    for fork in FORKS {
        let outcome = registers(target, &called, &mut rounds, (AORS, fork), 1000, AORS * fork).await;
        assert_eq!(outcome.failed, 0, "registrations failed");
        let cancels = Arc::new(AtomicU32::new(0));
        let phones = tokio::spawn(called_side(called.clone(), cancels.clone()));
        calls(target, &caller, &format!("w{fork}"), AORS, 100, 100).await; // warm
        cancels.store(0, Ordering::Relaxed);
        let start = cpu(pid);
        let outcome = calls(target, &caller, &format!("m{fork}"), AORS, 300, 1500 * scale).await;
        let spent = cpu(pid) - start;
        assert_eq!(outcome.failed, 0, "calls failed");
        // What our own full sockets dropped comes again after half a second.
        let losers = outcome.done * (fork - 1);
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if cancels.load(Ordering::Relaxed) >= losers {
                break;
            }
        }
        assert_eq!(cancels.load(Ordering::Relaxed), losers, "a loser was not cancelled once");
        note(format!("call to {fork}, CPU ms"), spent * 1000.0 / f64::from(outcome.done));
        let at =
            |share: f64| outcome.latencies[(outcome.latencies.len() as f64 * share) as usize].as_secs_f64() * 1000.0;
        note(format!("call to {fork}, INVITE to 180 p50 ms"), at(0.50));
        note(format!("call to {fork}, INVITE to 180 p95 ms"), at(0.95));
        phones.abort();
    }
    figures
}

fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", program]).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A server that does not outlive its measurement, whatever ends that. Kamailio's main process ends the others.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

async fn answering() {
    let socket = UdpSocket::bind("127.0.10.2:0").await.unwrap();
    let own = socket.local_addr().unwrap();
    let options = format!(
        "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKo;rport\r\nMax-Forwards: 70\r\nFrom: <sip:o@{DOMAIN}>;tag=o\r\n\
         To: <sip:{DOMAIN}>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let mut buffer = [0; 2048];
    for _ in 0..100 {
        socket.send_to(options.as_bytes(), SERVER).await.unwrap();
        if tokio::time::timeout(Duration::from_millis(200), socket.recv_from(&mut buffer))
            .await
            .is_ok_and(|got| got.is_ok())
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the server does not answer on {SERVER}");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let scale: u32 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let folder = tempfile::tempdir().unwrap();
    let import = folder.path().join("clients.csv");
    let clients: String = (0..AORS * 10).map(|number| format!("{},{PASSWORD}\n", load::user(number))).collect();
    std::fs::write(&import, clients).unwrap();
    let binary = ringfork_tests::edge::binary();

    let ringfork = pinned(binary.to_str().unwrap())
        .args(["serve", "--data", "memory", "--sip", SERVER, "--http", "127.0.0.1:0", "--domain", DOMAIN])
        .args(["--digest", "md5", "--peer", "127.0.10.2/32", "--import", import.to_str().unwrap()])
        .spawn()
        .unwrap();
    let ringfork = Server(ringfork);
    answering().await;
    let ours = measure("ringfork", &ringfork.0, scale).await;
    drop(ringfork);

    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/kamailio.cfg");
    let kamailio = pinned("kamailio")
        .args(["-f", config, "-DD", "-E", "-m", "512", "-M", "16", "-Y"])
        .arg(folder.path())
        .args(["-P"])
        .arg(folder.path().join("pid"))
        .spawn()
        .expect("kamailio is not installed");
    let kamailio = Server(kamailio);
    answering().await;
    let theirs = measure("kamailio", &kamailio.0, scale).await;
    drop(kamailio);

    println!("\n{:34} {:>10} {:>10} {:>8}", "", "ringfork", "kamailio", "ratio");
    for ((what, own), (_, other)) in ours.iter().zip(&theirs) {
        println!("{what:34} {own:10.4} {other:10.4} {:8.2}", own / other);
    }
}
