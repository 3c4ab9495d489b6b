//! What both kinds of simulated phones share: a confirmed dialog, requests within it, and retransmission.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::plan::Habits;
use crate::text::{Text, finish, retransmissions, sdp};

/// When a phone wants to be woken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timer {
    /// Send the message with this key again; how often it was sent.
    Again(String, usize),
    /// The provisional response is due.
    Provisional(String),
    /// The final response is due.
    Final(String),
    /// Give up or hang up.
    Leave(String),
    /// Hold the call.
    Hold(String),
    /// Take it back.
    Resume(String),
    /// Refresh the session.
    Refresh(String),
    /// Send a digit.
    Digit(String),
    /// Never send or hear anything again.
    Vanish,
}

/// What a phone does in one moment.
#[derive(Debug, Default)]
pub struct Doing {
    /// Datagrams to the edge.
    pub sends: Vec<Vec<u8>>,
    /// Wake-ups, milliseconds from now.
    pub timers: Vec<(u64, Timer)>,
}

/// Messages that are repeated until something ends them.
#[derive(Debug, Default)]
pub struct Repeats(HashMap<String, (Vec<u8>, Vec<u64>)>);

impl Repeats {
    /// Sends now and again until [`Repeats::stop`].
    pub fn start(&mut self, doing: &mut Doing, key: String, message: Vec<u8>, cap: u64) {
        let times = retransmissions(cap);
        doing.sends.push(message.clone());
        if let Some(first) = times.first() {
            doing.timers.push((*first, Timer::Again(key.clone(), 0)));
        }
        self.0.insert(key, (message, times));
    }

    /// No more of this one.
    pub fn stop(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    /// Whether repetitions are still to come.
    pub fn under_way(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The time of a repetition has come.
    pub fn again(&mut self, doing: &mut Doing, key: String, count: usize) {
        let Some((message, times)) = self.0.get(&key) else { return };
        doing.sends.push(message.clone());
        match (times.get(count), times.get(count + 1)) {
            (Some(this), Some(next)) => doing.timers.push((next - this, Timer::Again(key, count + 1))),
            _ => {
                self.0.remove(&key);
            }
        }
    }
}

/// A dialog from one side.
#[derive(Debug, Clone)]
pub struct Session {
    /// Where this phone is.
    pub own: SocketAddr,
    /// Call-ID.
    pub call_id: String,
    /// Our From value (with tag) in our own requests.
    pub local: String,
    /// Their To value (with tag) in our own requests.
    pub remote: String,
    /// Their Contact.
    pub target: String,
    /// Route set, in the order of our requests.
    pub routes: Vec<String>,
    /// Our last CSeq.
    pub cseq: u32,
    /// Our own INVITE within the dialog that has no final response yet.
    pub inviting: Option<u32>,
    /// A BYE was sent or came.
    pub over: bool,
    /// SDP versions used.
    pub version: u32,
    /// The last direction offered or answered.
    pub direction: &'static str,
    /// What it does.
    pub habits: Habits,
}

/// Methods that a phone says it takes.
pub fn allow(habits: &Habits) -> &'static str {
    if habits.update {
        "INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, INFO, OPTIONS"
    } else {
        "INVITE, ACK, CANCEL, BYE, PRACK, INFO, OPTIONS"
    }
}

impl Session {
    /// A request within the dialog with a CSeq of its own.
    pub fn request(&mut self, method: &str, extra: &[(&str, &str)], body: Option<&str>) -> (u32, Vec<u8>) {
        self.cseq += 1;
        (self.cseq, self.request_with(method, self.cseq, extra, body))
    }

    /// A request within the dialog with this CSeq (an ACK repeats its INVITE's).
    pub fn request_with(&self, method: &str, cseq: u32, extra: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
        let mut head = format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{}{cseq}{method}\r\nMax-Forwards: 70\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{}>\r\n",
            self.target,
            self.own,
            self.call_id.replace('@', "-"),
            self.local,
            self.remote,
            self.call_id,
            self.own,
        );
        for route in &self.routes {
            head.push_str(&format!("Route: {route}\r\n"));
        }
        finish(head, extra, body)
    }

    /// A re-INVITE, or UPDATE, with this direction.
    pub fn reinvite(&mut self, doing: &mut Doing, repeats: &mut Repeats, direction: &'static str) {
        if self.over || self.inviting.is_some() {
            return;
        }
        self.version += 1;
        self.direction = direction;
        self.offer(doing, repeats);
    }

    /// Offers what is offered already, which refreshes the session.
    pub fn refresh(&mut self, doing: &mut Doing, repeats: &mut Repeats) {
        if !self.over && self.inviting.is_none() {
            self.offer(doing, repeats);
        }
    }

    fn offer(&mut self, doing: &mut Doing, repeats: &mut Repeats) {
        let body = sdp(self.own, self.version, self.direction);
        let method = if self.habits.update { "UPDATE" } else { "INVITE" };
        let expires = self.habits.interval.map(|seconds| format!("{};refresher=uac", seconds.max(90)));
        let mut extra = vec![("Supported", "timer"), ("Allow", allow(&self.habits))];
        if let Some(expires) = expires.as_deref().filter(|_| self.habits.refreshes) {
            extra.push(("Session-Expires", expires));
        }
        let (cseq, message) = self.request(method, &extra, Some(&body));
        self.inviting = Some(cseq);
        repeats.start(doing, format!("{}/{cseq}/{method}", self.call_id), message, 64_000);
    }

    /// A digit by INFO.
    pub fn digit(&mut self, doing: &mut Doing, repeats: &mut Repeats) {
        if self.over {
            return;
        }
        let (cseq, message) = self.request("INFO", &[], Some("Signal=1\r\nDuration=160\r\n"));
        let message = String::from_utf8_lossy(&message).replacen("application/sdp", "application/dtmf-relay", 1);
        repeats.start(doing, format!("{}/{cseq}/INFO", self.call_id), message.into_bytes(), 4000);
    }

    /// The wake-ups of a call that is up. `expires`: the Session-Expires agreed on, and whether refreshing is ours.
    pub fn begin(&self, doing: &mut Doing, expires: Option<(u64, bool)>) {
        if let Some(after) = self.habits.digit {
            doing.timers.push((after, Timer::Digit(self.call_id.clone())));
        }
        if let Some((seconds, true)) = expires {
            for round in 1..=8 {
                doing.timers.push((round * seconds * 500, Timer::Refresh(self.call_id.clone())));
            }
        }
    }

    /// A BYE, repeated until it is answered.
    pub fn hang_up(&mut self, doing: &mut Doing, repeats: &mut Repeats) {
        if self.over {
            return;
        }
        self.over = true;
        let (cseq, message) = self.request("BYE", &[], None);
        repeats.start(doing, format!("{}/{cseq}/BYE", self.call_id), message, 4000);
    }

    /// A response to one of our requests within the dialog. Gives the status of a re-INVITE that just ended.
    pub fn responded(&mut self, doing: &mut Doing, repeats: &mut Repeats, response: &Text) -> Option<u16> {
        let (cseq, method) = response.cseq();
        let status = response.status()?;
        let key = format!("{}/{cseq}/{method}", self.call_id);
        if method == "INVITE" {
            repeats.stop(&key);
            if status < 200 {
                return None;
            }
            // A refusal's ACK has the Via of its INVITE (RFC 3261 §17.1.1.3), a 2xx's one of its own.
            let mut ack = self.request_with("ACK", cseq, &[], None);
            if status >= 300 {
                ack = String::from_utf8_lossy(&ack)
                    .replacen(&format!("{cseq}ACK\r\n"), &format!("{cseq}INVITE\r\n"), 1)
                    .into();
            }
            doing.sends.push(ack);
            if self.inviting == Some(cseq) {
                self.inviting = None;
                return Some(status);
            }
        } else if status >= 200 {
            repeats.stop(&key);
            if method == "UPDATE" && self.inviting == Some(cseq) {
                self.inviting = None;
                return Some(status);
            }
        }
        None
    }

    /// A request of the other side within the dialog (INVITE, UPDATE, BYE, INFO, OPTIONS). Its response, where one is due.
    pub fn requested(&mut self, doing: &mut Doing, repeats: &mut Repeats, request: &Text) -> Option<Vec<u8>> {
        let contact = format!("<sip:{}>", self.own);
        let method = request.method()?;
        match method {
            "BYE" => {
                self.over = true;
                Some(request.response(200, "", &[], None))
            }
            "INVITE" | "UPDATE" => {
                if self.over {
                    return Some(request.response(481, "", &[], None));
                }
                if self.inviting.is_some() && (method == "INVITE" || !request.body.is_empty()) {
                    return Some(request.response(491, "", &[], None));
                }
                let direction = ["sendonly", "recvonly", "inactive"]
                    .into_iter()
                    .find(|direction| request.body.contains(&format!("a={direction}")))
                    .map_or("sendrecv", |direction| match direction {
                        "sendonly" => "recvonly",
                        "recvonly" => "sendonly",
                        other => other,
                    });
                if !request.body.is_empty() {
                    self.version += 1;
                    self.direction = direction;
                }
                let body = sdp(self.own, self.version, self.direction);
                let body = (method == "INVITE" || !request.body.is_empty()).then_some(body.as_str());
                let mut extra = vec![("Contact", contact.as_str()), ("Allow", allow(&self.habits))];
                let expires = request.get("Session-Expires").map(str::to_owned);
                if let Some(expires) = &expires {
                    extra.push(("Session-Expires", expires));
                    extra.push(("Require", "timer"));
                }
                let response = request.response(200, "", &extra, body);
                if method == "INVITE" {
                    let key = format!("{}/{}/re200", self.call_id, request.cseq().0);
                    repeats.start(doing, key, response, 4000);
                    return None;
                }
                Some(response)
            }
            _ => Some(request.response(200, "", &[("Contact", &contact)], None)),
        }
    }
}
