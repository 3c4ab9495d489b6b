//! The built binary as a process: its lines, exit codes, files and signals (DESIGN "Running it").

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_ringfork");

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    // Whatever the tests run under must not configure what they test.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGFORK_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.args(words).stdin(Stdio::null());
    command
}

/// What this comes to, unless it takes longer than a minute: enough for anything here on any machine.
fn bounded<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    is_done.recv_timeout(Duration::from_secs(60)).ok()
}

fn signal(pid: u32, name: &str) {
    Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
}

fn output(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    bounded(move || child.wait_with_output().unwrap()).unwrap_or_else(|| {
        signal(pid, "-KILL");
        panic!("it did not end by itself")
    })
}

fn run(words: &[&str]) -> Output {
    output(&mut command(words))
}

/// The one line on stderr that names the fix.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("ringfork: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    lines[0].to_owned()
}

struct Running {
    child: Child,
    /// Its lines on stdout after the first.
    lines: mpsc::Receiver<String>,
    ready: String,
}

impl Running {
    fn start(words: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut child = command(&["serve"])
            .args(words)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().try_for_each(|line| sender.send(line.unwrap())));
        let mut running = Running { child, lines, ready: String::new() };
        running.ready = running.line().expect("it ended before it was ready");
        assert!(running.ready.starts_with("ready "), "{:?}", running.ready);
        running
    }

    /// Its next line; none: it has ended.
    fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("neither a line nor an end in a minute"),
        }
    }

    fn field(&self, name: &str) -> &str {
        self.ready.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap()
    }

    fn sip(&self) -> SocketAddr {
        self.field("sip").parse().unwrap()
    }

    fn get(&self, path: &str) -> (u16, String) {
        let address: SocketAddr = self.field("http").strip_prefix("http://").unwrap().parse().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Ends it in order; what else it printed must be nothing.
    fn end(mut self, name: &str) {
        signal(self.child.id(), name);
        assert_eq!(self.line(), None, "the ready line is the only one on stdout");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ANY: [&str; 4] = ["--sip", "127.0.0.1:0", "--http", "127.0.0.1:0"];

fn over(data: &str) -> Vec<&str> {
    ["--data", data].into_iter().chain(ANY).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn version_and_help_are_answered_on_stdout() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("ringfork "));
    let output = run(&["serve", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("--abuse-limit"));
}

#[test]
fn a_bad_option_or_value_is_one_line_and_exit_code_2() {
    for words in [&["serve", "--nosuch"][..], &["serve", "--http", "x"], &["serve", "--config", "/nonexistent"]] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        complaint(&output);
        assert!(output.stdout.is_empty());
    }
}

/// A variable is read from the real environment.
#[test]
fn a_variable_configures() {
    let output = output(command(&["serve"]).env("RINGFORK_RTP_PORTS", "9"));
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("RINGFORK_RTP_PORTS"));
}

/// The issue: a port in use gives one clear line.
#[test]
fn a_port_in_use_is_named() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap().to_string();
    let output = run(&["serve", "--data", "memory", "--sip", &address, "--http", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains(&format!("--sip {address}: the port is in use")));

    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let output = run(&["serve", "--data", "memory", "--sip", "127.0.0.1:0", "--http", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains(&format!("--http {address}: the port is in use")));
}

/// DESIGN "Running it": the ready line, the file that it names, health and metrics, and the end on SIGTERM.
#[test]
fn a_server_over_memory_leaves_nothing_behind() {
    let running = Running::start(&over("memory"), &[]);
    assert_ne!(running.sip().port(), 0);
    let credentials = PathBuf::from(running.field("credentials"));
    assert_eq!(mode(&credentials), 0o600);
    assert_eq!(mode(credentials.parent().unwrap()), 0o700);
    let text = std::fs::read_to_string(&credentials).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["account_sid"], running.field("account_sid"));
    assert!(json["auth_token"].as_str().unwrap().len() >= 16);

    let (status, body) = running.get("/health");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, json["status"].as_str()), (200, Some("ok")));
    let (status, body) = running.get("/metrics");
    assert_eq!(status, 200);
    for name in [
        "ringfork_calls",
        "ringfork_legs",
        "ringfork_media_ports",
        "ringfork_memory_rss_bytes",
        "ringfork_udp_kernel_drops_total",
    ] {
        assert!(body.lines().any(|line| line.starts_with(&format!("{name} "))), "{name} is missing:\n{body}");
    }
    running.end("-TERM");
    assert!(!credentials.parent().unwrap().exists());
}

/// DESIGN "Running it": a first start makes the account, a later one finds it; two at a time are not allowed.
#[test]
fn a_folder_keeps_the_account_and_has_one_process() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data").display().to_string();
    let first = Running::start(&over(&data), &[]);
    let account = first.field("account_sid").to_owned();
    assert_eq!(mode(&PathBuf::from(first.field("credentials"))), 0o600);

    let words: Vec<&str> = ["serve"].into_iter().chain(over(&data)).collect();
    let second = run(&words);
    assert_eq!(second.status.code(), Some(1));
    assert!(complaint(&second).contains("another ringfork runs on this folder"));
    first.end("-INT");

    let again = Running::start(&over(&data), &[]);
    assert_eq!(again.field("account_sid"), account);
    again.end("-TERM");

    let words: Vec<&str> = words.into_iter().chain(["--domain", "other.example"]).collect();
    let changed = run(&words);
    assert_eq!(changed.status.code(), Some(1));
    assert!(complaint(&changed).contains("--domain other.example"));
}

/// The issue: a damaged store gives one clear line.
#[test]
fn a_damaged_store_is_one_line() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    Running::start(&over(&data.display().to_string()), &[]).end("-TERM");
    for name in ["store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(data.join(name));
    }
    std::fs::write(data.join("store.db"), vec![b'x'; 64 * 1024]).unwrap();
    let data = data.display().to_string();
    let words: Vec<&str> = ["serve"].into_iter().chain(over(&data)).collect();
    let output = run(&words);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("store.db"), "{}", complaint(&output));
}

/// DESIGN "Running it": clients in bulk, before `ready`; a bad line is named and nothing is imported.
#[test]
fn a_bad_import_starts_nothing() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "alice,secret\nnonsense").unwrap();
    let path = file.path().display().to_string();
    let words: Vec<&str> = ["serve", "--import", &path].into_iter().chain(over("memory")).collect();
    let output = run(&words);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("line 2"));
}

/// An OPTIONS from this address, the so-manieth.
fn options(transport: &str, address: SocketAddr, number: usize) -> String {
    format!(
        "OPTIONS sip:ringfork.local SIP/2.0\r\nVia: SIP/2.0/{transport} {address};branch=z9hG4bKprocess{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@ringfork.local>;tag=1\r\nTo: <sip:ringfork.local>\r\n\
         Call-ID: process{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// `/metrics` shows what holds when it is asked, not what the core said last: each transaction at once.
#[test]
fn metrics_are_of_now() {
    let running = Running::start(&over("memory"), &[]);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for number in 1..=20 {
        udp.send_to(options("UDP", udp.local_addr().unwrap(), number).as_bytes(), running.sip()).unwrap();
        udp.recv(&mut [0; 2048]).unwrap();
        // RFC 3261 17.2.2: over UDP an answered one is kept for 32 s.
        let (_, body) = running.get("/metrics");
        let line = body.lines().find(|line| line.starts_with("ringfork_transactions ")).unwrap();
        assert_eq!(line, format!("ringfork_transactions {number}"));
    }
    running.end("-TERM");
}

/// The issue: SIP answers on UDP and TCP, on IPv4 and IPv6, under one configuration.
#[test]
fn options_are_answered_everywhere() {
    let mut words = over("memory");
    words.extend(["--sip", "[::1]:0", "--log-format", "json"]);
    let running = Running::start(&words, &[]);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    udp.send_to(options("UDP", udp.local_addr().unwrap(), 1).as_bytes(), running.sip()).unwrap();
    let mut buffer = [0; 2048];
    let length = udp.recv(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"SIP/2.0 200 "));

    let mut tcp = TcpStream::connect(running.sip()).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    tcp.write_all(options("TCP", tcp.local_addr().unwrap(), 2).as_bytes()).unwrap();
    tcp.read_exact(&mut buffer[..12]).unwrap();
    assert!(buffer.starts_with(b"SIP/2.0 200 "));
    drop(tcp);
    running.end("-TERM");
}
