//! A scripted SIP endpoint over UDP or TCP, one message at a time: for what sipp cannot say or check, such as exact
//! headers, several transports in one call, digest gone wrong, and messages that are no messages.
//!
//! It does nothing by itself but answer the edge's keep-alive OPTIONS; the test writes the ladder.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use md5::{Digest, Md5};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::{BUSY_PAUSE, BUSY_TRIES, PATIENCE};

/// How long nothing must come for silence to be believed. Loopback and an idle edge: anything due is there long before.
pub const SILENCE: Duration = Duration::from_millis(1500);

/// Makes branches, tags and Call-IDs unlike any other.
static COUNTER: AtomicU64 = AtomicU64::new(1);

fn unique() -> String {
    format!("{:x}x{:x}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// One message as it came.
#[derive(Debug, Clone)]
pub struct Sip {
    /// Request or status line.
    pub start: String,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Sip {
    /// Reads one message; compact names are not used by the edge.
    pub fn parse(bytes: &[u8]) -> Sip {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Sip { start, headers, body: body.to_owned() }
    }

    /// The status code of a response, 0 of a request.
    pub fn status(&self) -> u16 {
        self.start.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)).map_or(0, |code| code.parse().unwrap())
    }

    /// The method of a request, empty of a response.
    pub fn method(&self) -> &str {
        if self.status() == 0 { self.start.split(' ').next().unwrap_or_default() } else { "" }
    }

    /// The Request-URI of a request.
    pub fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The first header of this name, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// The first header of this name; panics where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// Every header of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let name = name.to_ascii_lowercase();
        self.headers.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The URI of the Contact.
    pub fn contact_uri(&self) -> &str {
        let contact = self.header("Contact");
        contact.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(contact, |(uri, _)| uri)
    }

    /// A parameter of a challenge or credentials, without quotes.
    pub fn parameter_of<'a>(value: &'a str, name: &str) -> Option<&'a str> {
        value.split([',', ' ']).map(str::trim).find_map(|part| {
            let (key, value) = part.split_once('=')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim_matches('"'))
        })
    }

    /// Asserts the status; returns the message for more.
    #[track_caller]
    pub fn expect(self, status: u16) -> Sip {
        assert_eq!(self.status(), status, "{self:#?}");
        self
    }
}

/// A request before it is sent: what is set here, and the rest by custom.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Method.
    pub method: String,
    /// Request-URI.
    pub uri: String,
    /// Value of From, with its tag.
    pub from: String,
    /// Value of To.
    pub to: String,
    /// Value of Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// Value of Max-Forwards.
    pub max_forwards: u8,
    /// Further header lines, `Name: value`.
    pub headers: Vec<String>,
    /// Body; its headers are among `headers`.
    pub body: String,
}

impl Draft {
    /// A request outside dialogs from `from` (a URI) to `uri`.
    pub fn new(method: &str, uri: &str, from: &str) -> Draft {
        Draft {
            method: method.to_owned(),
            uri: uri.to_owned(),
            from: format!("<{from}>;tag=f{}", unique()),
            to: format!("<{uri}>"),
            call_id: unique(),
            cseq: 1,
            max_forwards: 70,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// Adds a header line.
    #[must_use]
    pub fn with(mut self, line: impl Into<String>) -> Draft {
        self.headers.push(line.into());
        self
    }
}

/// A dialog of the calling side, or of the called one.
#[derive(Debug, Clone)]
pub struct Dialog {
    local: String,
    remote: String,
    target: String,
    call_id: String,
    cseq: u32,
}

impl Dialog {
    /// The caller's, by the 200 that it got.
    pub fn of_caller(answer: &Sip) -> Dialog {
        Dialog {
            local: answer.header("From").to_owned(),
            remote: answer.header("To").to_owned(),
            target: answer.contact_uri().to_owned(),
            call_id: answer.header("Call-ID").to_owned(),
            cseq: cseq(answer),
        }
    }

    /// The callee's, by the INVITE that it got and the tag that it gave.
    pub fn of_callee(invite: &Sip, tag: &str) -> Dialog {
        Dialog {
            local: format!("{};tag={tag}", invite.header("To")),
            remote: invite.header("From").to_owned(),
            target: invite.contact_uri().to_owned(),
            call_id: invite.header("Call-ID").to_owned(),
            cseq: 0,
        }
    }

    /// The next request in it.
    pub fn draft(&mut self, method: &str) -> Draft {
        if method != "ACK" {
            self.cseq += 1;
        }
        Draft {
            method: method.to_owned(),
            uri: self.target.clone(),
            from: self.local.clone(),
            to: self.remote.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            max_forwards: 70,
            headers: Vec::new(),
            body: String::new(),
        }
    }
}

fn cseq(message: &Sip) -> u32 {
    message.header("CSeq").split(' ').next().unwrap().parse().unwrap()
}

enum Wire {
    Udp(UdpSocket),
    Tcp { stream: TcpStream, buffer: Vec<u8>, closed: bool },
}

/// A scripted endpoint.
pub struct Endpoint {
    wire: Wire,
    /// Where it is.
    pub local: SocketAddr,
    /// Where it sends to.
    pub remote: SocketAddr,
    /// CRLFs that came on a stream between messages: pongs (RFC 5626 §3.5.1).
    pub pongs: u32,
    kept: VecDeque<Sip>,
}

impl Endpoint {
    /// Over UDP, from a free port of this address.
    pub async fn udp(edge: SocketAddr, ip: &str) -> Endpoint {
        Endpoint::udp_at(edge, SocketAddr::new(ip.parse().unwrap(), 0)).await
    }

    /// Over UDP, from this very address and port.
    pub async fn udp_at(edge: SocketAddr, local: SocketAddr) -> Endpoint {
        let socket = UdpSocket::bind(local).await.unwrap();
        let local = socket.local_addr().unwrap();
        Endpoint { wire: Wire::Udp(socket), local, remote: edge, pongs: 0, kept: VecDeque::new() }
    }

    /// Over TCP, connected from this address.
    pub async fn tcp(edge: SocketAddr, ip: &str) -> Endpoint {
        let ip: IpAddr = ip.parse().unwrap();
        let socket =
            if ip.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }.unwrap();
        socket.bind(SocketAddr::new(ip, 0)).unwrap();
        let stream = socket.connect(edge).await.unwrap();
        let local = stream.local_addr().unwrap();
        let wire = Wire::Tcp { stream, buffer: Vec::new(), closed: false };
        Endpoint { wire, local, remote: edge, pongs: 0, kept: VecDeque::new() }
    }

    /// Whether it is a stream.
    pub fn is_tcp(&self) -> bool {
        matches!(self.wire, Wire::Tcp { .. })
    }

    /// Its Contact for a user: `<sip:user@address>`.
    pub fn contact(&self, user: &str) -> String {
        let transport = if self.is_tcp() { ";transport=tcp" } else { "" };
        format!("<sip:{user}@{}{transport}>", self.local)
    }

    /// Sends bytes as they are. A stream that the edge has closed is not a failure here.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Udp(socket) => drop(socket.send_to(bytes, self.remote).await.unwrap()),
            Wire::Tcp { stream, .. } => drop(stream.write_all(bytes).await),
        }
    }

    /// Sends a request with a Via of its own; gives the branch.
    pub async fn send(&mut self, draft: &Draft) -> String {
        let branch = format!("z9hG4bK{}", unique());
        self.send_as(draft, &branch).await;
        branch
    }

    /// Sends a request with this branch: CANCEL, ACK of a refusal, or a retransmission.
    pub async fn send_as(&mut self, draft: &Draft, branch: &str) {
        let transport = if self.is_tcp() { "TCP" } else { "UDP" };
        let mut text = format!(
            "{} {} SIP/2.0\r\nVia: SIP/2.0/{transport} {};branch={branch};rport\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {}\r\nMax-Forwards: {}\r\n",
            draft.method,
            draft.uri,
            self.local,
            draft.from,
            draft.to,
            draft.call_id,
            draft.cseq,
            draft.method,
            draft.max_forwards
        );
        for line in &draft.headers {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{}", draft.body.len(), draft.body));
        self.send_bytes(text.as_bytes()).await;
    }

    /// Answers a request: Via, From, To (with `tag`), Call-ID and CSeq are taken from it.
    pub async fn reply(&mut self, request: &Sip, status: &str, tag: &str, headers: &[String], body: &str) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for via in request.all("Via") {
            text.push_str(&format!("Via: {via}\r\n"));
        }
        for route in request.all("Record-Route") {
            text.push_str(&format!("Record-Route: {route}\r\n"));
        }
        let to = request.header("To");
        let to = if to.contains(";tag=") || tag.is_empty() { to.to_owned() } else { format!("{to};tag={tag}") };
        text.push_str(&format!(
            "From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n",
            request.header("From"),
            request.header("Call-ID"),
            request.header("CSeq")
        ));
        for line in headers {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        self.send_bytes(text.as_bytes()).await;
    }

    /// Answers an INVITE with 180.
    pub async fn ring(&mut self, invite: &Sip, tag: &str) {
        let contact = format!("Contact: {}", self.contact("phone"));
        self.reply(invite, "180 Ringing", tag, &[contact], "").await;
    }

    /// Answers an INVITE with 200 and SDP; gives the dialog.
    pub async fn accept(&mut self, invite: &Sip, tag: &str) -> Dialog {
        let headers = [format!("Contact: {}", self.contact("phone")), "Content-Type: application/sdp".to_owned()];
        let body = sdp(self.local.ip());
        self.reply(invite, "200 OK", tag, &headers, &body).await;
        Dialog::of_callee(invite, tag)
    }

    /// Answers any request with 200.
    pub async fn ok(&mut self, request: &Sip) {
        self.reply(request, "200 OK", "ok", &[], "").await;
    }

    /// The next message within this time, if one comes. The edge's own OPTIONS are answered unseen.
    pub async fn next_within(&mut self, within: Duration) -> Option<Sip> {
        if let Some(kept) = self.kept.pop_front() {
            return Some(kept);
        }
        let end = tokio::time::Instant::now() + within;
        loop {
            let read = tokio::time::timeout_at(end, self.read()).await.ok()??;
            if read.method() == "OPTIONS" {
                self.ok(&read).await;
                continue;
            }
            return Some(read);
        }
    }

    /// Reads one message; `None`: the stream has ended.
    async fn read(&mut self) -> Option<Sip> {
        match &mut self.wire {
            Wire::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                loop {
                    // An ICMP error of an earlier datagram is not a message.
                    let Ok((length, _)) = socket.recv_from(&mut buffer).await else { continue };
                    if buffer[..length].iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
                        return Some(Sip::parse(&buffer[..length]));
                    }
                }
            }
            Wire::Tcp { stream, buffer, closed } => loop {
                while buffer.starts_with(b"\r\n") {
                    buffer.drain(..2);
                    self.pongs += 1;
                }
                if let Some(message) = take_message(buffer) {
                    return Some(message);
                }
                if *closed {
                    return None;
                }
                let mut part = [0; 4096];
                match stream.read(&mut part).await {
                    Ok(length) if length > 0 => buffer.extend_from_slice(&part[..length]),
                    _ => *closed = true,
                }
            },
        }
    }

    /// Waits for CRLFs on a stream and gives how many came so far.
    pub async fn pong(&mut self) -> u32 {
        let before = self.pongs;
        let end = tokio::time::Instant::now() + PATIENCE;
        while self.pongs == before && tokio::time::Instant::now() < end {
            if let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(50), self.read()).await {
                self.kept.push_back(message);
            }
        }
        self.pongs
    }

    /// Waits for the end of the stream; whatever comes before is dropped.
    pub async fn ended(&mut self) {
        tokio::time::timeout(PATIENCE, async { while self.read().await.is_some() {} })
            .await
            .expect("the edge did not close the stream");
    }

    /// Whether the edge was seen to close this stream.
    pub fn is_closed(&self) -> bool {
        matches!(self.wire, Wire::Tcp { closed: true, .. })
    }

    /// Whether nothing comes for [`SILENCE`].
    pub async fn is_silent(&mut self) -> bool {
        self.next_within(SILENCE).await.is_none()
    }

    /// Waits for a request of this method; responses and repeated INVITEs before it are dropped.
    pub async fn request(&mut self, method: &str) -> Sip {
        let mut seen = Vec::new();
        let end = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < end {
            let Some(message) = self.next_within(PATIENCE).await else { break };
            if message.method() == method {
                return message;
            }
            seen.push(message);
        }
        panic!("no {method} came to {}, but: {seen:#?}", self.local);
    }

    /// Waits for the final response of this request (or for a provisional one above 100 where `provisional`).
    async fn response(&mut self, call_id: &str, cseq: &str, provisional: bool) -> Sip {
        let mut seen = Vec::new();
        let end = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < end {
            let Some(message) = self.next_within(PATIENCE).await else { break };
            let ours = message.get("Call-ID") == Some(call_id) && message.get("CSeq") == Some(cseq);
            if ours && (message.status() >= 200 || provisional && message.status() > 100) {
                return message;
            }
            seen.push(message);
        }
        panic!("no response to {cseq} came to {}, but: {seen:#?}", self.local);
    }

    /// Waits for the final response to what was sent.
    pub async fn final_of(&mut self, draft: &Draft) -> Sip {
        self.response(&draft.call_id, &format!("{} {}", draft.cseq, draft.method), false).await
    }

    /// Waits for the 180 to an INVITE (a final response is given too).
    pub async fn ringing_of(&mut self, draft: &Draft) -> Sip {
        self.response(&draft.call_id, &format!("{} {}", draft.cseq, draft.method), true).await
    }

    /// Sends a request and gives its final response; a refused INVITE is acknowledged.
    pub async fn ask(&mut self, draft: &Draft) -> Sip {
        let branch = self.send(draft).await;
        let response = self.final_of(draft).await;
        if draft.method == "INVITE" && response.status() >= 300 {
            self.ack_refusal(draft, &branch, &response).await;
        }
        response
    }

    /// ACK of a refusal (RFC 3261 §17.1.1.3).
    pub async fn ack_refusal(&mut self, draft: &Draft, branch: &str, response: &Sip) {
        let mut ack = draft.clone();
        ack.method = "ACK".to_owned();
        ack.to = response.header("To").to_owned();
        ack.headers.clear();
        ack.body.clear();
        self.send_as(&ack, branch).await;
    }

    /// Gives up an INVITE that was sent under this branch: 200 to the CANCEL, 487 to the INVITE.
    pub async fn cancel(&mut self, invite: &Draft, branch: &str) {
        let mut cancel = invite.clone();
        cancel.method = "CANCEL".to_owned();
        cancel.headers.clear();
        cancel.body.clear();
        self.send_as(&cancel, branch).await;
        self.final_of(&cancel).await.expect(200);
        let refusal = self.final_of(invite).await.expect(487);
        self.ack_refusal(invite, branch, &refusal).await;
    }

    /// Sends a request, answers its challenge (MD5) and gives the second response; `draft` is what was sent last.
    pub async fn ask_as(&mut self, login: &str, password: &str, draft: &mut Draft) -> Sip {
        let challenge = self.ask(draft).await;
        if !matches!(challenge.status(), 401 | 407) {
            return challenge;
        }
        authorize(draft, &challenge, login, password);
        self.ask(draft).await
    }

    /// Sends an INVITE, answers its challenge, and leaves the rest to the test.
    pub async fn call_as(&mut self, login: &str, password: &str, draft: &mut Draft) -> String {
        let challenge = self.ask(draft).await.expect(407);
        authorize(draft, &challenge, login, password);
        self.send(draft).await
    }

    /// REGISTERs a login of `ringfork.local` with this Contact and these further headers; gives the final response, the
    /// last one where the store was slow.
    pub async fn register(&mut self, login: &str, password: &str, contact: &str, more: &[&str]) -> Sip {
        let mut tries = 0;
        loop {
            let mut draft = register(login, contact);
            draft.headers.extend(more.iter().map(|line| (*line).to_owned()));
            let response = self.ask_as(login, password, &mut draft).await;
            tries += 1;
            if !matches!(response.status(), 500 | 503) || tries > BUSY_TRIES {
                return response;
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }

    /// An INVITE with SDP from a user to a user of the edge.
    pub fn invite(&self, from: &str, to: &str) -> Draft {
        let mut draft =
            Draft::new("INVITE", &format!("sip:{to}@ringfork.local"), &format!("sip:{from}@ringfork.local"))
                .with(format!("Contact: {}", self.contact(from)))
                .with("Content-Type: application/sdp");
        draft.body = sdp(self.local.ip());
        draft
    }

    /// Acknowledges a 200 and gives the caller's dialog.
    pub async fn ack(&mut self, answer: &Sip) -> Dialog {
        let mut dialog = Dialog::of_caller(answer);
        let ack = dialog.draft("ACK");
        self.send(&ack).await;
        dialog
    }

    /// Hangs up and waits for the 200.
    pub async fn hang_up(&mut self, dialog: &mut Dialog) {
        let bye = dialog.draft("BYE");
        self.ask(&bye).await.expect(200);
    }
}

/// A REGISTER of a login of `ringfork.local`.
pub fn register(login: &str, contact: &str) -> Draft {
    let aor = format!("sip:{login}@ringfork.local");
    let mut draft = Draft::new("REGISTER", "sip:ringfork.local", &aor);
    draft.to = format!("<{aor}>");
    draft.with(format!("Contact: {contact}"))
}

/// Answers a challenge with MD5 (RFC 7616): the request again, with credentials and the next CSeq.
pub fn authorize(draft: &mut Draft, challenge: &Sip, login: &str, password: &str) {
    let (name, header) = match challenge.status() {
        401 => ("WWW-Authenticate", "Authorization"),
        _ => ("Proxy-Authenticate", "Proxy-Authorization"),
    };
    let md5 = challenge
        .all(name)
        .into_iter()
        .find(|value| Sip::parameter_of(value, "algorithm").is_none_or(|value| value.eq_ignore_ascii_case("MD5")))
        .unwrap_or_else(|| panic!("no MD5 challenge in {challenge:#?}"));
    let nonce = Sip::parameter_of(md5, "nonce").unwrap();
    let realm = Sip::parameter_of(md5, "realm").unwrap();
    let value = credentials(realm, nonce, login, password, &draft.method, &draft.uri, 1);
    draft.headers.retain(|line| !line.starts_with(&format!("{header}:")));
    draft.headers.push(format!("{header}: {value}"));
    draft.cseq += 1;
}

/// Digest credentials, MD5 with qop=auth.
pub fn credentials(
    realm: &str,
    nonce: &str,
    login: &str,
    password: &str,
    method: &str,
    uri: &str,
    count: u32,
) -> String {
    let cnonce = unique();
    let response = digest_response(realm, nonce, login, password, method, uri, count, &cnonce);
    format!(
        "Digest username=\"{login}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", algorithm=MD5, cnonce=\"{cnonce}\", qop=auth, nc={count:08x}"
    )
}

/// The response that these credentials must hold (RFC 7616 §3.4.1).
#[allow(clippy::too_many_arguments)] // They are the formula's.
pub fn digest_response(
    realm: &str,
    nonce: &str,
    login: &str,
    password: &str,
    method: &str,
    uri: &str,
    count: u32,
    cnonce: &str,
) -> String {
    let ha1 = md5_hex(&format!("{login}:{realm}:{password}"));
    let ha2 = md5_hex(&format!("{method}:{uri}"));
    md5_hex(&format!("{ha1}:{nonce}:{count:08x}:{cnonce}:auth:{ha2}"))
}

fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SDP of a party with G.711 at this address; nothing listens there.
pub fn sdp(ip: IpAddr) -> String {
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    )
}

/// Takes one whole message off a stream's buffer.
fn take_message(buffer: &mut Vec<u8>) -> Option<Sip> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let length = Sip::parse(&buffer[..head]).get("Content-Length").map_or(0, |text| text.parse::<usize>().unwrap());
    if buffer.len() < head + length {
        return None;
    }
    let message = Sip::parse(&buffer[..head + length]);
    buffer.drain(..head + length);
    Some(message)
}
