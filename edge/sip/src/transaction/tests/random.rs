//! Random interleavings of everything that can happen to the layer. Whatever comes: no panic, each client transaction
//! has exactly one last event and none after it, every transaction ends, and nothing is left in any table.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// We send a request over this flow.
    Request { method: &'static str, flow: usize },
    /// A response to a request that we sent (any, also twice, also late).
    Answer { which: usize, code: u16, tag: &'static str },
    /// We cancel.
    Cancel { which: usize },
    /// A request comes.
    Incoming { method: &'static str, branch: &'static str, from_tag: &'static str, flow: usize },
    /// We answer a request (any, also twice, also late).
    Respond { which: usize, code: u16, stateless: bool },
    /// Time passes; timers fire on time.
    Pass { milliseconds: u64 },
    /// Time passes and nobody wakes the layer up in between.
    Sleep { milliseconds: u64 },
    /// A flow fails.
    Fail { flow: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let outgoing = prop::sample::select(vec!["INVITE", "INVITE", "BYE", "OPTIONS"]);
    let incoming = prop::sample::select(vec!["INVITE", "INVITE", "ACK", "ACK", "CANCEL", "REGISTER", "BYE"]);
    let code = prop::sample::select(vec![100, 180, 183, 200, 200, 302, 404, 486, 487, 500, 603]);
    let tag = prop::sample::select(vec!["x", "y"]);
    let branch = prop::sample::select(vec!["z9hG4bKa", "z9hG4bKb", "z9hG4bK", "old"]);
    let from_tag = prop::sample::select(vec!["them", "others"]);
    prop_oneof![
        3 => (outgoing, 0usize..3).prop_map(|(method, flow)| Step::Request { method, flow }),
        6 => (0usize..40, code.clone(), tag).prop_map(|(which, code, tag)| Step::Answer { which, code, tag }),
        2 => (0usize..8).prop_map(|which| Step::Cancel { which }),
        5 => (incoming, branch, from_tag, 0usize..3)
            .prop_map(|(method, branch, from_tag, flow)| Step::Incoming { method, branch, from_tag, flow }),
        4 => (0usize..8, code, any::<bool>())
            .prop_map(|(which, code, stateless)| Step::Respond { which, code, stateless }),
        3 => (0u64..9_000).prop_map(|milliseconds| Step::Pass { milliseconds }),
        1 => (0u64..70_000).prop_map(|milliseconds| Step::Sleep { milliseconds }),
        1 => (0usize..3).prop_map(|flow| Step::Fail { flow }),
    ]
}

/// What the user knows of its client transactions.
#[derive(Default)]
struct Known {
    invite: bool,
    succeeded: bool,
    over: bool,
}

struct World {
    layer: Transactions,
    now: Instant,
    clients: Vec<ClientKey>,
    known: HashMap<ClientKey, Known>,
    servers: Vec<(ServerKey, Bytes)>,
    sent: Vec<Bytes>,
}

fn flow(number: usize) -> Flow {
    match number {
        0 => udp(),
        1 => tcp(),
        _ => Flow::Udp { local: address("[2001:db8::1]:5060"), remote: address("[2001:db8::2]:5060") },
    }
}

impl World {
    fn new() -> Self {
        let now = crate::transaction::some_instant();
        let config = TransactionConfig { max_clients: 12, max_servers: 12, ..TransactionConfig::default() };
        Self {
            layer: Transactions::new(config, [3; 32], now),
            now,
            clients: Vec::new(),
            known: HashMap::new(),
            servers: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Request { method, flow: number } => {
                if let Ok(key) = self.layer.request(self.now, flow(number), "203.0.113.1", &outgoing(method)) {
                    self.clients.push(key);
                    let fresh = self.known.insert(key, Known { invite: method == "INVITE", ..Known::default() });
                    assert!(fresh.is_none(), "a key is given once");
                }
            }
            Step::Answer { which, code, tag } => {
                let requests: Vec<_> = self.sent.iter().filter(|sent| !sent.starts_with(b"SIP")).cloned().collect();
                if let Some(request) = requests.iter().rev().nth(which) {
                    let message = Message::parse(respond(request, code, tag)).unwrap();
                    self.layer.handle_message(self.now, udp(), message);
                }
            }
            Step::Cancel { which } => {
                if let Some(key) = self.clients.iter().rev().nth(which) {
                    let outcome = self.layer.cancel(self.now, *key, &["SIP;cause=200"]);
                    let known = &self.known[key];
                    if known.over || known.succeeded || !known.invite {
                        assert_eq!(outcome, CancelOutcome::Nothing);
                    }
                }
            }
            Step::Incoming { method, branch, from_tag, flow: number } => {
                let message = Message::parse(with_headers(method, branch, "", from_tag, 7)).unwrap();
                self.layer.handle_message(self.now, flow(number), message);
            }
            Step::Respond { which, code, stateless } => {
                if let Some((key, request)) = self.servers.iter().rev().nth(which) {
                    let response = respond(request, code, "us");
                    let _ = if stateless {
                        self.layer.respond_stateless(*key, response)
                    } else {
                        self.layer.respond(self.now, *key, response)
                    };
                }
            }
            Step::Pass { milliseconds } => self.pass(milliseconds),
            Step::Sleep { milliseconds } => {
                self.now += Duration::from_millis(milliseconds);
                self.layer.handle_timeout(self.now);
            }
            Step::Fail { flow: number } => self.layer.handle_flow_failed(self.now, flow(number)),
        }
        self.drain();
        assert!(self.layer.clients() <= 24 && self.layer.servers() <= 12);
        assert!(self.layer.timers() <= 4 * 36 + 1024);
    }

    fn pass(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(at) = self.layer.poll_timeout().filter(|at| *at <= end) {
            assert!(at >= self.now);
            self.now = at;
            self.layer.handle_timeout(at);
            self.drain();
            assert!(self.layer.poll_timeout().is_none_or(|next| next > at), "what was due is done");
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.layer.poll_transmit() {
            Message::parse_valid(transmit.payload.clone()).expect("what we send is well formed");
            self.sent.push(transmit.payload);
        }
        while let Some(event) = self.layer.poll_event() {
            match event {
                TransactionEvent::Request { key, message, .. } => self.servers.push((key, message.raw().clone())),
                TransactionEvent::Response { key, message } => {
                    let known = self.known.get_mut(&key).unwrap();
                    assert!(!known.over, "nothing comes after the last event");
                    match message.status().unwrap() {
                        100..=199 => assert!(!known.succeeded, "no provisional response after a 2xx"),
                        200..=299 if known.invite => known.succeeded = true,
                        _ => {
                            assert!(!known.succeeded, "no failure after a 2xx");
                            known.over = true;
                        }
                    }
                }
                TransactionEvent::Timeout { key } | TransactionEvent::TransportError { key } => {
                    let known = self.known.get_mut(&key).unwrap();
                    assert!(!known.over && !known.succeeded);
                    known.over = true;
                }
                TransactionEvent::Terminated { key } => {
                    let known = self.known.get_mut(&key).unwrap();
                    assert!(!known.over && known.succeeded && known.invite);
                    known.over = true;
                }
                TransactionEvent::Cancelled { key, .. } | TransactionEvent::Unacknowledged { key } => {
                    assert!(self.servers.iter().any(|(known, _)| *known == key));
                }
                TransactionEvent::Ack { .. } => {}
            }
        }
    }

    /// The user cancels and refuses what is left; then everything must end by itself.
    fn end(&mut self) {
        for key in self.clients.clone() {
            self.layer.cancel(self.now, key, &[]);
            self.drain();
        }
        for (key, request) in self.servers.clone() {
            let _ = self.layer.respond(self.now, key, respond(&request, 500, "us"));
            self.drain();
        }
        self.pass(200_000);
        assert!(self.known.values().all(|known| known.over), "each client transaction has its last event");
        assert_eq!((self.layer.clients(), self.layer.servers()), (0, 0));
        assert!(self.layer.by_identity.is_empty() && self.layer.by_merged.is_empty() && self.layer.by_flow.is_empty());
        assert_eq!(self.layer.poll_timeout(), None);
        assert_eq!(self.layer.timers(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// RFC 3261 §17: every transaction ends, and its user hears of each end once.
    #[test]
    fn whatever_comes_everything_ends_once(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.end();
    }
}
