//! Every message of RFC 4475 and RFC 5118 sent to the running edge over UDP and over TCP, each answer held against the
//! index of the messages' folder, and after each message a sign of life. The folder lies beside the repository;
//! without it there is nothing to do here (the parser's own suite has a case of its own for each rule).
//!
//! Shows: DESIGN "SIP choices" (where answers go), and that no message harms the edge.
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfork_tests::edge::Edge;
use ringfork_tests::script::{Draft, Endpoint, SILENCE};

/// An answer that has not come in this time is taken as silence: then the table shows it.
const ANSWER: Duration = Duration::from_secs(8);

/// One line of the index.
struct Case {
    file: String,
    is_response: bool,
    expect: String,
    allowed: String,
    bytes: Vec<u8>,
}

/// What over TCP cannot be as over UDP, with the reason.
const STREAM: [(&str, &str, &str); 2] = [
    ("clerr", "silence", "the octets that Content-Length promises may still come: RFC 4475 3.1.2.2 lets a stream wait"),
    ("dblreq", "two answers", "on a stream what follows Content-Length is the next message (RFC 3261 18.3)"),
];

fn cases() -> Option<Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/sip-torture");
    let Ok(index) = std::fs::read_to_string(folder.join("INDEX.tsv")) else {
        eprintln!("no torture messages beside this checkout ({}): nothing to do", folder.display());
        return None;
    };
    let lines = index.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    Some(lines.map(|line| case(&folder, line)).collect())
}

fn case(folder: &Path, line: &str) -> Case {
    let columns: Vec<&str> = line.split('\t').collect();
    let [file, _, kind, _, expect, allowed, ..] = columns[..] else { panic!("{line}") };
    Case {
        file: file.to_owned(),
        is_response: kind == "response",
        expect: expect.to_owned(),
        allowed: allowed.to_owned(),
        bytes: wire_bytes(&folder.join(file)),
    }
}

/// The bytes as they are to be sent, as the folder's README says: `baddn` lacks its blank line; RFC 5118's files have
/// bare LF, two of them no blank line, and three a wrong Content-Length.
fn wire_bytes(path: &PathBuf) -> Vec<u8> {
    let raw = std::fs::read(path).unwrap();
    if path.ends_with("baddn.dat") {
        return [&raw, b"\r\n".as_slice()].concat();
    }
    if !path.parent().unwrap().ends_with("rfc5118") {
        return raw;
    }
    let text = String::from_utf8(raw).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let body = body.replace('\n', "\r\n");
    let lines = head.lines().map(|line| {
        let name = line.split(':').next().unwrap().trim().to_ascii_lowercase();
        if name == "content-length" || name == "l" {
            return format!("Content-Length: {}\r\n", body.len());
        }
        format!("{line}\r\n")
    });
    let head: String = lines.collect();
    format!("{head}\r\n{body}").into_bytes()
}

impl Case {
    fn name(&self) -> &str {
        self.file.rsplit('/').next().unwrap().trim_end_matches(".dat")
    }

    fn is_fine(&self, status: u16) -> bool {
        std::iter::once(self.expect.as_str()).chain(self.allowed.split(',')).any(|answer| match answer {
            // As a well-formed request: whatever its sense gets, but neither malformed nor a fault of ours.
            "any" | "accept" => (200..500).contains(&status) && status != 400,
            code => code.parse() == Ok(status),
        })
    }
}

/// What came back.
struct Outcome {
    /// Status codes, in order; a repetition of the same response counts once.
    answers: Vec<u16>,
    closed: bool,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let answers: Vec<String> = self.answers.iter().map(ToString::to_string).collect();
        let text = if answers.is_empty() { "silence".to_owned() } else { answers.join(" ") };
        f.pad(&if self.closed { format!("{text}, closed") } else { text })
    }
}

/// Sends OPTIONS from an endpoint and takes what comes until its 200: on one flow the edge answers in order.
async fn collect(endpoint: &mut Endpoint, wait_for_answer: bool) -> Outcome {
    let options = Draft::new("OPTIONS", "sip:ringfork.local", "sip:probe@ringfork.local");
    endpoint.send(&options).await;
    let mut outcome = Outcome { answers: Vec::new(), closed: false };
    let mut seen = Vec::new();
    let mut alive = false;
    let mut within = ANSWER;
    while let Some(message) = endpoint.next_within(within).await {
        if message.get("Call-ID") == Some(&options.call_id) {
            assert_eq!(message.status(), 200, "{message:#?}");
            alive = true;
        } else if message.status() >= 200
            && !seen.contains(&(message.start.clone(), message.get("CSeq").map(str::to_owned)))
        {
            seen.push((message.start.clone(), message.get("CSeq").map(str::to_owned)));
            outcome.answers.push(message.status());
        }
        if alive && (!wait_for_answer || !outcome.answers.is_empty()) {
            // What else there was to say was said before the OPTIONS was answered, but for look-ups.
            within = Duration::from_millis(100);
        }
    }
    outcome.closed = endpoint.is_closed();
    outcome
}

async fn over_udp(edge: &Edge, case: &Case) -> (Outcome, bool) {
    let mut endpoint = Endpoint::udp(edge.sip, "127.0.0.1").await;
    endpoint.send_bytes(&case.bytes).await;
    let outcome = collect(&mut endpoint, !case.is_response).await;
    let fine = match outcome.answers[..] {
        [] => case.is_response,
        [status] => !case.is_response && case.is_fine(status),
        _ => false,
    };
    (outcome, fine)
}

async fn over_tcp(edge: &Edge, case: &Case) -> (Outcome, bool) {
    let mut endpoint = Endpoint::tcp(edge.sip, "127.0.0.1").await;
    endpoint.send_bytes(&case.bytes).await;
    if case.name() == "clerr" {
        let silent = endpoint.next_within(SILENCE).await.is_none();
        return (Outcome { answers: Vec::new(), closed: false }, silent);
    }
    let mut outcome = collect(&mut endpoint, !case.is_response).await;
    if ["ncl", "mcl01"].contains(&case.name()) {
        // Where the frame cannot be told the stream must end after its 400.
        endpoint.ended().await;
        outcome.closed = true;
    }
    let fine = match outcome.answers[..] {
        [] => case.is_response,
        [status] => !case.is_response && case.is_fine(status),
        [first, _] => case.name() == "dblreq" && case.is_fine(first),
        _ => false,
    };
    (outcome, fine)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_gets_its_answer() {
    let Some(cases) = cases() else { return };
    // More than twenty of these are unreadable: the source would be dropped for it.
    let edge = Edge::start(&["--abuse-limit", "0"]).await;
    let mut alive = Endpoint::udp(edge.sip, "127.0.0.1").await;
    // A second edge for streams: to the first the same message again is a retransmission (RFC 3261 17.2.3).
    let second = Edge::start(&["--abuse-limit", "0"]).await;
    let mut alive_too = Endpoint::udp(second.sip, "127.0.0.1").await;
    let (mut udp, mut tcp) = (0, 0);
    let mut table = format!("{:<32} {:<8} {:<12} {:<14} {:<14}\n", "message", "expect", "allowed", "UDP", "TCP");
    for case in &cases {
        let (over_udp, udp_fine) = over_udp(&edge, case).await;
        let (over_tcp, tcp_fine) = over_tcp(&second, case).await;
        let options = Draft::new("OPTIONS", "sip:ringfork.local", "sip:probe@ringfork.local");
        alive.ask(&options).await.expect(200);
        alive_too.ask(&options).await.expect(200);
        udp += usize::from(udp_fine);
        tcp += usize::from(tcp_fine);
        let mark = |fine: bool| if fine { "" } else { "  <-- WRONG" };
        let note = STREAM.iter().find(|(name, ..)| *name == case.name());
        eprintln!("{}: {over_udp} | {over_tcp}", case.name());
        table.push_str(&format!(
            "{:<32} {:<8} {:<12} {over_udp:<14} {over_tcp:<14}{}{}{}\n",
            case.name(),
            case.expect,
            case.allowed,
            if udp_fine { "" } else { "  <-- UDP WRONG" },
            mark(tcp_fine),
            note.map_or(String::new(), |(_, what, why)| format!("  TCP: {what}: {why}")),
        ));
    }
    println!(
        "{table}UDP {udp} of {}, TCP {tcp} of {} ({} of them named above)",
        cases.len(),
        cases.len(),
        STREAM.len()
    );
    assert_eq!(cases.len(), 61);
    assert_eq!((udp, tcp), (61, 61), "\n{table}");
    edge.settled().await;
    second.settled().await;
}
