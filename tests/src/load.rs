//! The load of `make bench`: registrations and forked calls over one UDP socket a side, with as little work as can be,
//! so that the server under test is what costs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use tokio::net::UdpSocket;

/// Password of every client.
pub const PASSWORD: &str = "secret";
/// Domain and realm.
pub const DOMAIN: &str = "bench.test";

/// What a phase showed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Transactions or calls that ended as they should.
    pub done: u32,
    /// Those that did not.
    pub failed: u32,
    /// Times from INVITE to 180, sorted.
    pub latencies: Vec<Duration>,
    /// CANCELs that the called side got: must be (devices - 1) for each call.
    pub cancels: u32,
}

/// A header's value; empty where it is absent.
pub fn value<'a>(text: &'a str, name: &str) -> &'a str {
    text.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map_or("", str::trim)
}

/// All lines of a header.
pub fn lines<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.split("\r\n").filter(move |line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
}

fn quoted<'a>(text: &'a str, name: &str) -> &'a str {
    text.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(value, _)| value)
}

fn hex(text: &str) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn register(own: SocketAddr, user: &str, device: u32, cseq: u32, authorization: &str) -> String {
    format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKr{user}{device}{cseq};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@{DOMAIN}>;tag=r\r\nTo: <sip:{user}@{DOMAIN}>\r\nCall-ID: {user}-{device}\r\nCSeq: {cseq} REGISTER\r\n\
         Contact: <sip:{user}-{device}@{own}>\r\nExpires: 3600\r\n{authorization}Content-Length: 0\r\n\r\n"
    )
}

fn authorization(challenge: &str, user: &str) -> String {
    let nonce = quoted(challenge, "nonce");
    let one = hex(&format!("{user}:{DOMAIN}:{PASSWORD}"));
    let two = hex(&format!("REGISTER:sip:{DOMAIN}"));
    let response = hex(&format!("{one}:{nonce}:00000001:bench:auth:{two}"));
    format!(
        "Authorization: Digest username=\"{user}\",realm=\"{DOMAIN}\",nonce=\"{nonce}\",uri=\"sip:{DOMAIN}\",\
         response=\"{response}\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"bench\"\r\n"
    )
}

/// A user of the benchmark.
pub fn user(number: u32) -> String {
    format!("u{number:06}")
}

/// The last CSeq of each client's devices, by their numbers: a registrar takes none twice (RFC 3261 §10.3).
pub type Rounds = HashMap<(u32, u32), u32>;

/// Registers `devices` contacts of each of `aors` clients, again and again, `rate` pairs of requests a second, until
/// `total` pairs are done.
pub async fn registers(
    server: SocketAddr,
    own: &UdpSocket,
    rounds: &mut Rounds,
    (aors, devices): (u32, u32),
    rate: u32,
    total: u32,
) -> Outcome {
    let address = own.local_addr().unwrap();
    let mut outcome = Outcome::default();
    let mut sent = 0u32;
    let start = Instant::now();
    let mut buffer = [0; 4096];
    let mut quiet = Instant::now();
    while outcome.done + outcome.failed < total {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        while sent < total.min(due + 1) {
            let (number, device) = ((sent / devices) % aors, sent % devices);
            let cseq = rounds.entry((number, device)).and_modify(|cseq| *cseq += 2).or_insert(1);
            own.send_to(register(address, &user(number), device, *cseq, "").as_bytes(), server).await.unwrap();
            sent += 1;
        }
        let wait = tokio::time::timeout(Duration::from_millis(1), own.recv_from(&mut buffer)).await;
        let Ok(Ok((length, _))) = wait else {
            if quiet.elapsed() > Duration::from_secs(3) && sent == total {
                outcome.failed = total - outcome.done;
            }
            continue;
        };
        quiet = Instant::now();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let call_id = value(&text, "Call-ID");
        let Some((name, device)) = call_id.split_once('-') else { continue };
        let (number, device) = (name[1..].parse::<u32>().unwrap(), device.parse::<u32>().unwrap());
        let cseq: u32 = value(&text, "CSeq").split(' ').next().unwrap().parse().unwrap();
        if text.starts_with("SIP/2.0 401") {
            let challenge = lines(&text, "WWW-Authenticate").find(|line| !line.contains("SHA-256")).unwrap_or_default();
            let request = register(address, name, device, cseq + 1, &authorization(challenge, name));
            own.send_to(request.as_bytes(), server).await.unwrap();
        } else if text.starts_with("SIP/2.0 200") {
            outcome.done += 1;
        } else if !text.starts_with("SIP/2.0 1") {
            outcome.failed += 1;
            eprintln!("{number}: {}", text.lines().next().unwrap_or_default());
        }
    }
    outcome
}

const SDP: &str =
    "v=0\r\no=b 1 1 IN IP4 127.0.10.2\r\ns=-\r\nc=IN IP4 127.0.10.2\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\n";

/// A response to this request.
pub fn answer(request: &str, status: &str, extra: &str, body: &str) -> String {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "Record-Route", "From"] {
        for line in lines(request, name) {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    let to = value(request, "To");
    let tag = if to.contains("tag=") { "" } else { ";tag=b" };
    out.push_str(&format!(
        "To: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{extra}Content-Length: {}\r\n\r\n{body}",
        value(request, "Call-ID"),
        value(request, "CSeq"),
        body.len()
    ));
    out
}

/// The called side: device 0 of each client rings and answers after 100 ms, the others ring until they are cancelled.
/// Ends with the task; counts CANCELs.
pub async fn called_side(own: std::sync::Arc<UdpSocket>, cancels: std::sync::Arc<std::sync::atomic::AtomicU32>) {
    let address = own.local_addr().unwrap();
    let mut buffer = [0; 4096];
    let mut invites: HashMap<String, (String, SocketAddr)> = HashMap::new();
    let mut due: std::collections::VecDeque<(Instant, String)> = std::collections::VecDeque::new();
    loop {
        while due.front().is_some_and(|(at, _)| *at <= Instant::now()) {
            let Some((_, key)) = due.pop_front() else { break };
            if let Some((invite, from)) = invites.get(&key) {
                let contact = format!("Contact: <sip:b@{address}>\r\nContent-Type: application/sdp\r\n");
                own.send_to(answer(invite, "200 OK", &contact, SDP).as_bytes(), from).await.unwrap();
            }
        }
        let wait = tokio::time::timeout(Duration::from_millis(2), own.recv_from(&mut buffer)).await;
        let Ok(Ok((length, from))) = wait else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let branch = value(&text, "Via").split("branch=").nth(1).unwrap_or_default().split([';', ',']).next().unwrap();
        let key = format!("{} {branch}", value(&text, "Call-ID"));
        let method = text.split(' ').next().unwrap_or_default();
        match method {
            "INVITE" => {
                let contact = format!("Contact: <sip:b@{address}>\r\n");
                own.send_to(answer(&text, "180 Ringing", &contact, "").as_bytes(), from).await.unwrap();
                let uri = text.split(' ').nth(1).unwrap_or_default();
                if uri.contains("-0@") {
                    due.push_back((Instant::now() + Duration::from_millis(100), key.clone()));
                }
                invites.insert(key, (text, from));
            }
            "CANCEL" => {
                cancels.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                own.send_to(answer(&text, "200 OK", "", "").as_bytes(), from).await.unwrap();
                if let Some((invite, from)) = invites.remove(&key) {
                    own.send_to(answer(&invite, "487 Request Terminated", "", "").as_bytes(), from).await.unwrap();
                }
            }
            "BYE" | "OPTIONS" => {
                own.send_to(answer(&text, "200 OK", "", "").as_bytes(), from).await.unwrap();
            }
            _ => {
                invites.remove(&key);
            }
        }
    }
}

struct Call {
    sent: Instant,
    bye_at: Option<Instant>,
    state: String,
}

/// Places `total` calls, `rate` a second, to clients `0..aors`; each talks 50 ms and hangs up.
pub async fn calls(server: SocketAddr, own: &UdpSocket, run: &str, aors: u32, rate: u32, total: u32) -> Outcome {
    let address = own.local_addr().unwrap();
    let mut outcome = Outcome::default();
    let mut up: HashMap<String, Call> = HashMap::new();
    let mut byes: std::collections::VecDeque<(Instant, String)> = std::collections::VecDeque::new();
    let start = Instant::now();
    let (mut sent, mut buffer) = (0u32, [0; 4096]);
    while outcome.done + outcome.failed < total {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        while sent < total.min(due + 1) {
            let (called, call_id) = (user(sent % aors), format!("c{run}-{sent}"));
            let invite = format!(
                "INVITE sip:{called}@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{call_id};rport\r\nMax-Forwards: 70\r\n\
                 From: <sip:c0@{DOMAIN}>;tag=a\r\nTo: <sip:{called}@{DOMAIN}>\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\
                 Contact: <sip:c0@{address}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
                SDP.len()
            );
            own.send_to(invite.as_bytes(), server).await.unwrap();
            up.insert(call_id, Call { sent: Instant::now(), bye_at: None, state: String::new() });
            sent += 1;
        }
        while byes.front().is_some_and(|(at, _)| *at <= Instant::now()) {
            let Some((_, call_id)) = byes.pop_front() else { break };
            if let Some(call) = up.get(&call_id) {
                let bye = call.state.replace("{m}", "BYE").replace("{n}", "2");
                own.send_to(bye.as_bytes(), server).await.unwrap();
            }
        }
        let wait = tokio::time::timeout(Duration::from_millis(1), own.recv_from(&mut buffer)).await;
        let Ok(Ok((length, _))) = wait else {
            if sent == total && start.elapsed() > Duration::from_secs_f64(f64::from(total) / f64::from(rate) + 10.0) {
                outcome.failed = total - outcome.done;
            }
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let call_id = value(&text, "Call-ID").to_owned();
        let Some(call) = up.get_mut(&call_id) else { continue };
        let cseq = value(&text, "CSeq");
        match text.get(8..11) {
            Some("180") if call.bye_at.is_none() && call.state.is_empty() => {
                outcome.latencies.push(call.sent.elapsed());
                call.state.push(' ');
            }
            Some("200") if cseq == "1 INVITE" => {
                let target =
                    value(&text, "Contact").trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
                let mut head = String::new();
                let mut routes: Vec<&str> = lines(&text, "Record-Route").collect();
                routes.reverse();
                for route in routes {
                    head.push_str(&route.replace("Record-Route", "Route"));
                    head.push_str("\r\n");
                }
                call.state = format!(
                    "{{m}} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{call_id}{{m}};rport\r\nMax-Forwards: 70\r\n{head}\
                     From: <sip:c0@{DOMAIN}>;tag=a\r\nTo: {}\r\nCall-ID: {call_id}\r\nCSeq: {{n}} {{m}}\r\nContent-Length: 0\r\n\r\n",
                    value(&text, "To")
                );
                let ack = call.state.replace("{m}", "ACK").replace("{n}", "1");
                own.send_to(ack.as_bytes(), server).await.unwrap();
                if call.bye_at.is_none() {
                    let at = Instant::now() + Duration::from_millis(50);
                    call.bye_at = Some(at);
                    byes.push_back((at, call_id));
                }
            }
            Some("200") if cseq.ends_with("BYE") => {
                up.remove(&call_id);
                outcome.done += 1;
            }
            Some(code) if code >= "300" => {
                eprintln!("{call_id}: {}", text.lines().next().unwrap_or_default());
                up.remove(&call_id);
                outcome.failed += 1;
            }
            _ => {}
        }
    }
    outcome.latencies.sort_unstable();
    outcome
}
