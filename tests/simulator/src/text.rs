//! The little SIP that simulated phones speak: messages as text, read line by line. Deliberately not the parser and
//! printer under test.

/// A message as a phone sees it.
#[derive(Debug, Clone)]
pub struct Text {
    /// First line.
    pub start: String,
    /// Header lines in order, names as written.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Text {
    /// Reads a message; `None` where it is not one.
    pub fn read(bytes: &[u8]) -> Option<Text> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())))
            .collect::<Option<Vec<_>>>()?;
        let text = Text { start, headers, body: body.to_owned() };
        let length: usize = text.get("Content-Length")?.parse().ok()?;
        (length == text.body.len()).then_some(text)
    }

    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// Method of a request.
    pub fn method(&self) -> Option<&str> {
        let (method, _) = self.start.split_once(' ')?;
        (!method.starts_with("SIP/")).then_some(method)
    }

    /// Status of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// Call-ID; empty where it is missing.
    pub fn call_id(&self) -> &str {
        self.get("Call-ID").unwrap_or_default()
    }

    /// Number and method of CSeq.
    pub fn cseq(&self) -> (u32, &str) {
        let (number, method) = self.get("CSeq").and_then(|value| value.split_once(' ')).unwrap_or(("0", ""));
        (number.parse().unwrap_or(0), method)
    }

    /// Branch of the top Via.
    pub fn branch(&self) -> &str {
        let via = self.get("Via").unwrap_or_default();
        via.split(';').find_map(|part| part.trim().strip_prefix("branch=")).unwrap_or_default()
    }

    /// Tag of a From or To value.
    pub fn tag(value: &str) -> Option<&str> {
        value
            .rsplit_once(">")
            .map_or(value, |(_, rest)| rest)
            .split(';')
            .find_map(|part| part.trim().strip_prefix("tag="))
    }

    /// The URI in angle brackets of Contact.
    pub fn contact(&self) -> Option<&str> {
        self.get("Contact")?.split_once('<')?.1.split_once('>').map(|(uri, _)| uri)
    }

    /// A response to this request. `tag` is added to its To where that has none.
    pub fn response(&self, status: u16, tag: &str, extra: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
        let mut out = format!("SIP/2.0 {status} X\r\n");
        for via in self.all("Via") {
            out.push_str(&format!("Via: {via}\r\n"));
        }
        for route in self.all("Record-Route") {
            out.push_str(&format!("Record-Route: {route}\r\n"));
        }
        let to = self.get("To").unwrap_or_default();
        let to = if Text::tag(to).is_none() && status > 100 { format!("{to};tag={tag}") } else { to.to_owned() };
        out.push_str(&format!(
            "From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n",
            self.get("From").unwrap_or_default(),
            self.call_id(),
            self.get("CSeq").unwrap_or_default(),
        ));
        finish(out, extra, body)
    }
}

/// A request line and header lines, finished with these further headers and this SDP body.
pub fn finish(mut head: String, extra: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    for (name, value) in extra {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = body.unwrap_or_default();
    if !body.is_empty() {
        head.push_str("Content-Type: application/sdp\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    head.into_bytes()
}

/// An offer or answer of one G.711 line.
pub fn sdp(address: std::net::SocketAddr, version: u32, direction: &str) -> String {
    let (ip, port) = (address.ip(), 30000 + (address.port() % 1000) * 2);
    format!(
        "v=0\r\no=phone 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 8 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    )
}

/// Retransmission times of RFC 3261 over UDP, milliseconds after the first sending: T1, doubled up to `cap`, for 64 T1.
pub fn retransmissions(cap: u64) -> Vec<u64> {
    let (mut times, mut next, mut step) = (Vec::new(), 500, 500);
    while next < 32_000 {
        times.push(next);
        step = (step * 2).min(cap);
        next += step;
    }
    times
}
