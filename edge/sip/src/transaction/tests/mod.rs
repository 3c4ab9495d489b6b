//! The layer in virtual time: what goes out and what the user is told, each with its instant.

mod cancel;
mod client;
mod layer;
mod random;
mod server;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::build::ResponseBuilder;
use crate::flow::{Flow, Transmit};
use crate::message::Message;

/// A layer, a clock, and what came out of it.
pub(super) struct Lab {
    pub layer: Transactions,
    start: Instant,
    pub now: Instant,
    /// `milliseconds, what`: `> INVITE` for a transmit, the event otherwise.
    log: Vec<(u128, String)>,
    /// All transmits, in order.
    pub sent: Vec<Transmit>,
    /// All server keys of requests, in order.
    pub requests: Vec<ServerKey>,
    pub flow: Flow,
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn udp() -> Flow {
    Flow::Udp { local: address("192.0.2.1:5060"), remote: address("198.51.100.7:5070") }
}

pub(super) fn tcp() -> Flow {
    Flow::Tcp { connection: 9, local: address("192.0.2.1:5060"), remote: address("198.51.100.7:40000") }
}

impl Lab {
    pub fn new(flow: Flow) -> Self {
        Self::with(flow, TransactionConfig::default())
    }

    pub fn with(flow: Flow, config: TransactionConfig) -> Self {
        let start = crate::transaction::some_instant();
        let layer = Transactions::new(config, [7; 32], start);
        Self { layer, start, now: start, log: Vec::new(), sent: Vec::new(), requests: Vec::new(), flow }
    }

    /// Lets time pass up to this many milliseconds after the start.
    pub fn until(&mut self, milliseconds: u64) {
        let end = self.start + Duration::from_millis(milliseconds);
        while let Some(at) = self.layer.poll_timeout().filter(|at| *at <= end) {
            assert!(at >= self.now, "timers are not in the past");
            self.now = at;
            self.layer.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    /// Takes all that comes out.
    pub fn drain(&mut self) {
        let at = self.now.duration_since(self.start).as_millis();
        while let Some(transmit) = self.layer.poll_transmit() {
            self.log.push((at, format!("> {}", name(&transmit.payload))));
            self.sent.push(transmit);
        }
        while let Some(event) = self.layer.poll_event() {
            let text = match &event {
                TransactionEvent::Request { key, message, .. } => {
                    self.requests.push(*key);
                    format!("Request {}", name(message.raw()))
                }
                TransactionEvent::Cancelled { .. } => "Cancelled".to_owned(),
                TransactionEvent::Ack { .. } => "Ack".to_owned(),
                TransactionEvent::Unacknowledged { .. } => "Unacknowledged".to_owned(),
                TransactionEvent::Response { message, .. } => format!("Response {}", name(message.raw())),
                TransactionEvent::Timeout { .. } => "Timeout".to_owned(),
                TransactionEvent::TransportError { .. } => "TransportError".to_owned(),
                TransactionEvent::Terminated { .. } => "Terminated".to_owned(),
            };
            self.log.push((at, text));
        }
    }

    /// What came out since the last call, as `milliseconds what`.
    pub fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log).into_iter().map(|(at, what)| format!("{at} {what}")).collect()
    }

    /// Sends a request.
    pub fn request(&mut self, method: &str) -> ClientKey {
        let key = self.layer.request(self.now, self.flow, "203.0.113.1", &outgoing(method)).unwrap();
        self.drain();
        key
    }

    /// A message comes.
    pub fn receive(&mut self, bytes: Bytes) {
        self.layer.handle_message(self.now, self.flow, Message::parse_valid(bytes).unwrap());
        self.drain();
    }

    /// A response to the most recent request of this method comes.
    pub fn answered(&mut self, method: &str, code: u16, tag: &str) {
        let request = self.last_sent(method);
        self.receive(respond(&request, code, tag));
    }

    /// The most recent message sent whose name is this one.
    pub fn last_sent(&self, what: &str) -> Bytes {
        self.sent.iter().rev().find(|transmit| name(&transmit.payload) == what).unwrap().payload.clone()
    }

    /// The user answers the most recent request.
    pub fn respond(&mut self, request: &Bytes, code: u16) -> Result<(), RespondError> {
        let key = *self.requests.last().unwrap();
        let result = self.layer.respond(self.now, key, respond(request, code, "us"));
        self.drain();
        result
    }

    /// Nothing is left in any table.
    pub fn assert_empty(&mut self) {
        assert_eq!((self.layer.clients(), self.layer.servers()), (0, 0));
        assert_eq!(self.layer.poll_timeout(), None);
        assert_eq!(self.layer.timers(), 0);
        assert!(self.layer.by_identity.is_empty() && self.layer.by_merged.is_empty() && self.layer.by_flow.is_empty());
    }
}

/// Method of a request, code of a response.
pub(super) fn name(bytes: &[u8]) -> String {
    let line = String::from_utf8_lossy(bytes);
    let mut words = line.split(' ');
    match words.next() {
        Some("SIP/2.0") => words.next().unwrap().to_owned(),
        word => word.unwrap().to_owned(),
    }
}

/// A request of ours, without Via.
pub(super) fn outgoing(method: &str) -> Bytes {
    Bytes::from(format!(
        "{method} sip:bob@198.51.100.7:5070;ob SIP/2.0\r\nMax-Forwards: 70\r\nRoute: <sip:p1.example;lr>, <sip:p2.example;lr>\r\n\
         From: <sip:a@ringfork.local>;tag=us\r\nTo: <sip:bob@ringfork.local>\r\nCall-ID: c1@us\r\nCSeq: 42 {method}\r\n\
         Contact: <sip:us@203.0.113.1>\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// A request to us, under this branch (with its `z9hG4bK`, if any).
pub(super) fn incoming(method: &str, branch: &str) -> Bytes {
    with_headers(method, branch, "", "them", 7)
}

pub(super) fn with_headers(method: &str, branch: &str, to_tag: &str, from_tag: &str, cseq: u32) -> Bytes {
    Bytes::from(format!(
        "{method} sip:+15550100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP phone.example:5070;branch={branch};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:bob@ringfork.local>;tag={from_tag}\r\nTo: <sip:+15550100@ringfork.local>{to_tag}\r\n\
         Call-ID: c2@them\r\nCSeq: {cseq} {method}\r\nContact: <sip:bob@198.51.100.7:5070>\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// A response to it.
pub(super) fn respond(request: &Bytes, code: u16, tag: &str) -> Bytes {
    let request = Message::parse(request.clone()).unwrap();
    ResponseBuilder::new(&request, code, address("198.51.100.7:5070"), Some(tag)).build()
}
