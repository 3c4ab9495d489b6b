//! The parties of the measured calls: plain sockets that speak just enough SIP.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringfork_tests::load::{answer, value};

/// A socket whose reads give up after 200 ms.
pub fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// The description of a party that takes PCMU here.
pub fn description(rtp: SocketAddr) -> String {
    let (ip, port) = (rtp.ip(), rtp.port());
    format!(
        "v=0\r\no=b 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )
}

/// Where a description wants its sound.
pub fn rtp_of(text: &str) -> SocketAddr {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).expect("a description");
    let port = field("m=audio ").split(' ').next().unwrap();
    format!("{}:{port}", field("c=IN IP4 ").trim()).parse().unwrap()
}

/// One caller's call: where its sound goes, its BYE, and when its 200 came.
pub struct Call {
    pub rtp: SocketAddr,
    pub bye: String,
    pub answered: Instant,
}

/// Places a call as a trunk's peer would and waits for its 200.
pub fn call(server: SocketAddr, own: &UdpSocket, rtp: SocketAddr, called: &str, id: &str) -> Call {
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
pub fn called_side(own: UdpSocket, rtp: SocketAddr, stop: Arc<AtomicBool>) -> std::sync::mpsc::Receiver<SocketAddr> {
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
