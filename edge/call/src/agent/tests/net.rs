//! A network in memory: the agent, the answers of its shell, and phones that are scripted message by message.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfork_rcml::evaluation::{self, Outcome, Response};
use ringfork_rcml::program::{Dial, DocumentRef, Endpoint, Events, Method as Http, Noun, Program, Step};
use ringfork_sip::build::ResponseBuilder;
use ringfork_sip::digest;
use ringfork_sip::flow::Flow;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use crate::action::{
    Action, Application, BindingRecord, BindingWrite, ClientEntry, Input, MediaAction, Now, NumberEntry, Ports,
    RefusedAddress, ResolvedTarget, StoreError, Token,
};
use crate::agent::core::Owner;
use crate::agent::{Agent, AgentConfig, Listener, Transport};
use crate::control::{Event, Notice, Write};

pub const EDGE: &str = "192.0.2.1:5060";
pub const DOMAIN: &str = "ringfork.local";

/// Counts what it lends.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<BTreeSet<u16>>>);

impl Ports for Pool {
    fn lease(&mut self) -> Option<u16> {
        let mut lent = self.0.lock().unwrap();
        let port = (20_000..20_200).step_by(2).find(|port| !lent.contains(port))?;
        lent.insert(port);
        Some(port)
    }

    fn release(&mut self, port: u16) {
        assert!(self.0.lock().unwrap().remove(&port), "port {port} released twice");
    }
}

impl Pool {
    pub fn lent(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Everything around the agent.
pub struct Net {
    pub agent: Agent<Pool>,
    pub pool: Pool,
    pub now: Now,
    /// What the agent has sent and no phone has taken yet.
    pub sent: VecDeque<(SocketAddr, Message)>,
    pub clients: HashMap<String, ClientEntry>,
    pub numbers: HashMap<String, NumberEntry>,
    pub hosts: HashMap<String, Vec<ResolvedTarget>>,
    /// Hosts that the guard refuses, where it is asked.
    pub refused: HashMap<String, IpAddr>,
    pub notices: Vec<Notice>,
    /// What every document holds,
    pub program: Program,
    /// but for these, by URL.
    pub programs: HashMap<&'static str, Program>,
    /// The documents that were asked for.
    pub asked: Vec<evaluation::Request>,
    pub media: Vec<MediaAction>,
    pub events: Vec<Arc<Event>>,
    pub writes: Vec<Write>,
    pub logs: Vec<String>,
    pub counts: HashMap<(&'static str, &'static str), u64>,
    /// Binding writes fail so, or (`Some(None)`) are never answered.
    pub binding_writes: Option<Option<StoreError>>,
    /// What was to be written of bindings, with the token of its answer.
    pub bound: Vec<(Token, Vec<BindingWrite>)>,
    pub lookups: u32,
    /// Events whose hand-over is not answered; `None`: it is, at once.
    pub held_events: Option<Vec<Token>>,
}

pub fn config() -> AgentConfig {
    let mut config = AgentConfig::new(DOMAIN, "AC00000000000000000000000000000001", [7; 32]);
    config.listeners = vec![
        Listener { address: EDGE.parse().unwrap(), transport: Transport::Udp },
        Listener { address: EDGE.parse().unwrap(), transport: Transport::Tcp },
    ];
    config.local_addresses = vec!["192.0.2.1".parse().unwrap()];
    config.peers = vec!["198.51.100.0/24".parse().unwrap()];
    config
}

impl Net {
    pub fn new() -> Net {
        Net::with(config(), Vec::new())
    }

    pub fn with(config: AgentConfig, bindings: Vec<BindingRecord>) -> Net {
        let pool = Pool::default();
        let now = Now { instant: Instant::now(), unix_ms: 1_800_000_000_000 };
        let agent = Agent::new(config, [3; 32], pool.clone(), now, bindings);
        let mut net = Net {
            agent,
            pool,
            now,
            sent: VecDeque::new(),
            clients: HashMap::new(),
            numbers: HashMap::new(),
            hosts: HashMap::new(),
            refused: HashMap::new(),
            notices: Vec::new(),
            program: Program::default(),
            programs: HashMap::new(),
            asked: Vec::new(),
            media: Vec::new(),
            events: Vec::new(),
            writes: Vec::new(),
            logs: Vec::new(),
            counts: HashMap::new(),
            binding_writes: None,
            bound: Vec::new(),
            lookups: 0,
            held_events: None,
        };
        for name in ["alice", "bob", "carol", "dave"] {
            net.add_client(name);
        }
        let voice = Application {
            document: DocumentRef { url: "http://app.example/voice".into(), method: Http::Post },
            fallback: None,
        };
        net.numbers.insert("100".into(), NumberEntry { number: "100".into(), voice: Some(voice) });
        net.drain();
        net
    }

    pub fn add_client(&mut self, name: &str) {
        let entry = ClientEntry {
            login: name.into(),
            ha1_md5: digest::ha1(digest::Hash::Md5, name, DOMAIN, "secret99"),
            ha1_sha256: digest::ha1(digest::Hash::Sha256, name, DOMAIN, "secret99"),
            voice: None,
            enabled: true,
        };
        self.clients.insert(name.into(), entry);
    }

    /// The number's document: one Dial of these nouns, with callbacks of all events.
    pub fn dial(&mut self, nouns: &[Endpoint]) {
        let callback = ringfork_rcml::program::Callback {
            url: "http://app.example/events".into(),
            method: Http::Post,
            events: Events::ALL,
        };
        let nouns = nouns
            .iter()
            .map(|endpoint| Noun {
                endpoint: endpoint.clone(),
                headers: vec![("X-Tenant".into(), "9".into())],
                screening: None,
                callback: Some(callback.clone()),
            })
            .collect();
        let dial = Dial {
            action: None,
            timeout: 30,
            time_limit: 14_400,
            caller_id: None,
            record: false,
            dial_music: None,
            nouns,
        };
        self.program = Program { steps: vec![Step::Dial(dial)] };
    }

    pub fn dial_clients(&mut self, names: &[&str]) {
        let nouns: Vec<_> = names.iter().map(|name| Endpoint::Client { identity: (*name).into() }).collect();
        self.dial(&nouns);
    }

    pub fn handle(&mut self, input: Input) {
        self.agent.handle(self.now, input);
        self.drain();
    }

    /// Does what the agent asks until it asks no more.
    pub fn drain(&mut self) {
        let mut answers = VecDeque::new();
        loop {
            while let Some(action) = self.agent.poll_action() {
                self.act(action, &mut answers);
            }
            match answers.pop_front() {
                Some(input) => self.agent.handle(self.now, input),
                None => return,
            }
        }
    }

    fn act(&mut self, action: Action, answers: &mut VecDeque<Input>) {
        match action {
            Action::Transmit(transmit) => {
                if transmit.payload.len() > 4 {
                    let message = Message::parse(transmit.payload.clone())
                        .unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(&transmit.payload)));
                    self.sent.push_back((transmit.flow.remote(), message));
                }
            }
            Action::Connect { connection, remote } => {
                let flow = Flow::Tcp { connection, local: EDGE.parse().unwrap(), remote };
                answers.push_back(Input::Connected { connection, flow });
            }
            Action::Resolve { token, host, guard, .. } => {
                let refused = self.refused.get(&host).filter(|_| guard);
                let targets = match refused {
                    Some(address) => Err(RefusedAddress(*address)),
                    None => Ok(self.hosts.get(&host).cloned().unwrap_or_default()),
                };
                answers.push_back(Input::Resolved { token, targets });
            }
            Action::Notify { notice } => self.notices.push(notice),
            Action::LookupClient { token, login } => {
                self.lookups += 1;
                answers.push_back(Input::Client { token, result: Ok(self.clients.get(&login).cloned()) });
            }
            Action::LookupNumber { token, number } => {
                answers.push_back(Input::Number { token, result: Ok(self.numbers.get(&number).cloned()) });
            }
            Action::WriteBindings { token, bindings } => {
                self.bound.push((token, bindings));
                match self.binding_writes {
                    None => answers.push_back(Input::Written { token, result: Ok(()) }),
                    Some(Some(error)) => answers.push_back(Input::Written { token, result: Err(error) }),
                    Some(None) => {}
                }
            }
            Action::WriteCall { token, write } => {
                self.writes.push(write);
                answers.push_back(Input::Written { token, result: Ok(()) });
            }
            Action::Evaluate { token, request } => {
                let program = self.programs.get(request.document.url.as_str()).unwrap_or(&self.program);
                let outcome = Outcome::Program(program.clone());
                self.asked.push(request);
                let response = Response { outcome, cookies: Vec::new(), notices: Vec::new() };
                answers.push_back(Input::Evaluated { token, result: Ok(response) });
            }
            Action::Deliver { token, event } => {
                self.events.push(event);
                match &mut self.held_events {
                    Some(held) => held.push(token),
                    None => answers.push_back(Input::HandedOver { token, accepted: true }),
                }
            }
            Action::Media(media) => self.media.push(media),
            Action::Log { message, call, .. } => {
                self.logs.push(call.map_or(message.clone(), |sid| format!("{sid}: {message}")));
            }
            Action::Count { metric, label, by } => *self.counts.entry((metric, label)).or_default() += by,
            Action::Close { .. } | Action::Finished { .. } => {}
        }
    }

    /// Lets time pass, firing what is due on the way.
    pub fn advance(&mut self, duration: Duration) {
        let until = self.now.instant + duration;
        while let Some(at) = self.agent.next_timeout().filter(|at| *at <= until) {
            self.step_to(at);
            self.handle(Input::Timeout);
        }
        self.step_to(until);
    }

    fn step_to(&mut self, at: Instant) {
        let passed = at.saturating_duration_since(self.now.instant);
        self.now.instant += passed;
        // Whole milliseconds up, so that a deadline in seconds is never seen too early.
        self.now.unix_ms += passed.as_micros().div_ceil(1000) as u64;
    }

    /// A datagram from a phone.
    pub fn send(&mut self, from: &Phone, payload: impl Into<Bytes>) {
        self.handle(Input::Packet { flow: from.flow(), payload: payload.into() });
    }

    /// The next message for a phone.
    pub fn take(&mut self, phone: &Phone) -> Message {
        self.find(phone, |_| true).unwrap_or_else(|| panic!("nothing for {}; sent: {:?}", phone.name, self.sent))
    }

    /// The next response of this code for a phone; those before it are dropped.
    pub fn take_code(&mut self, phone: &Phone, code: u16) -> Message {
        loop {
            let message = self.take(phone);
            if message.status() == Some(code) {
                return message;
            }
            assert!(
                message.status().is_some_and(|status| status < 200),
                "{}: {message:?} instead of {code}",
                phone.name
            );
        }
    }

    /// The next request of this method for a phone; what is before it is dropped.
    pub fn take_method(&mut self, phone: &Phone, method: Method) -> Message {
        self.find(phone, |message| message.is_method(&method))
            .unwrap_or_else(|| panic!("no {method} for {}; sent: {:?}", phone.name, self.sent))
    }

    pub fn has(&self, phone: &Phone, method: &Method) -> bool {
        self.sent.iter().any(|(to, message)| *to == phone.address && message.is_method(method))
    }

    fn find(&mut self, phone: &Phone, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        let at = self.sent.iter().position(|(to, message)| *to == phone.address && wanted(message))?;
        self.sent.remove(at).map(|(_, message)| message)
    }

    /// Registers a phone, answering its challenge.
    pub fn register(&mut self, phone: &Phone) {
        self.register_from(phone, 1);
    }

    /// The same with this CSeq and the next one: again.
    pub fn register_from(&mut self, phone: &Phone, cseq: u32) {
        let first = phone.register(cseq, "");
        self.send(phone, first);
        let challenge = self.take_code(phone, 401);
        let header =
            phone.credentials(&challenge, HeaderName::WwwAuthenticate, "Authorization", "REGISTER", DOMAIN_URI);
        let again = phone.register(cseq + 1, &header);
        self.send(phone, again);
        self.take_code(phone, 200);
    }

    /// Nothing is left anywhere, once the last transactions have run out.
    pub fn assert_clean(&mut self) {
        self.advance(Duration::from_secs(70));
        let gauges = self.agent.gauges();
        assert_eq!(self.pool.lent(), 0, "ports");
        assert_eq!(gauges.leased_ports, 0);
        assert_eq!((gauges.calls, gauges.legs, gauges.dialogs, gauges.waiting), (0, 0, 0, 0), "{gauges:?}");
        assert_eq!((self.agent.calls.up(), self.agent.calls.finishing()), (0, 0));
        assert_eq!(self.agent.core.invites.len(), 0);
        let owners = &self.agent.core.owners;
        assert!(owners.values().all(|owner| matches!(owner, Owner::KeepAlive(_))), "{owners:?}");
        assert_eq!(self.agent.core.legs, 0);
        let opened = self.media.iter().filter(|action| matches!(action, MediaAction::Open { .. })).count();
        let closed = self.media.iter().filter(|action| matches!(action, MediaAction::Close { .. })).count();
        assert_eq!(opened, closed);
    }
}

pub const DOMAIN_URI: &str = "sip:ringfork.local";

/// An offer or answer of PCMU, PCMA and digits.
pub fn sdp(phone: &Phone, direction: &str) -> String {
    sdp_of(phone, "0 8 101", direction)
}

/// With these payload numbers.
pub fn sdp_of(phone: &Phone, formats: &str, direction: &str) -> String {
    let ip = phone.address.ip();
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP {formats}\r\n\
         a=rtpmap:101 telephone-event/8000\r\na={direction}\r\n",
        phone.address.port() + 1000
    )
}

/// A scripted phone.
#[derive(Debug, Clone)]
pub struct Phone {
    pub name: String,
    pub address: SocketAddr,
    pub connection: Option<u64>,
}

impl Phone {
    pub fn new(name: &str, address: &str) -> Phone {
        Phone { name: name.into(), address: address.parse().unwrap(), connection: None }
    }

    pub fn flow(&self) -> Flow {
        let local = EDGE.parse().unwrap();
        match self.connection {
            None => Flow::Udp { local, remote: self.address },
            Some(connection) => Flow::Tcp { connection, local, remote: self.address },
        }
    }

    fn via(&self, branch: &str) -> String {
        let transport = if self.connection.is_some() { "TCP" } else { "UDP" };
        format!("Via: SIP/2.0/{transport} {};branch=z9hG4bK{}{branch};rport\r\n", self.address, self.name)
    }

    pub fn register(&self, cseq: u32, extra: &str) -> String {
        let (name, address) = (&self.name, self.address);
        format!(
            "REGISTER {DOMAIN_URI} SIP/2.0\r\n{}From: <sip:{name}@{DOMAIN}>;tag=r\r\nTo: <sip:{name}@{DOMAIN}>\r\n\
             Call-ID: reg-{address}\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{name}@{address}>\r\nMax-Forwards: 70\r\n\
             {extra}Content-Length: 0\r\n\r\n",
            self.via(&format!("r{cseq}-{}", address.port()))
        )
    }

    /// The header that answers a challenge, with its line end.
    pub fn credentials(&self, challenge: &Message, from: HeaderName, name: &str, method: &str, uri: &str) -> String {
        let mut client = digest::Client::new(self.name.as_str(), "secret99");
        let values: Vec<String> = challenge.fields_of(from).map(|field| field.text().into_owned()).collect();
        let mut attempt = digest::Attempt::default();
        let value = client.answer(&mut attempt, values.iter().map(String::as_str), method, uri, 4711).unwrap();
        format!("{name}: {value}\r\n")
    }

    /// An INVITE to the edge. `id` makes Call-ID and tag.
    pub fn invite(&self, called: &str, id: &str, cseq: u32, extra: &str, body: &str) -> String {
        let (name, address) = (&self.name, self.address);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "INVITE sip:{called}@{DOMAIN} SIP/2.0\r\n{}From: \"Ann\" <sip:{name}@{DOMAIN}>;tag=f{id}\r\n\
             To: <sip:{called}@{DOMAIN}>\r\nCall-ID: {id}\r\nCSeq: {cseq} INVITE\r\nContact: <sip:{name}@{address}>\r\n\
             Max-Forwards: 70\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            self.via(&format!("{id}i{cseq}")),
            body.len()
        )
    }

    /// CANCEL, or the ACK of a refusal, of [`Phone::invite`].
    pub fn cancel(&self, called: &str, id: &str, cseq: u32) -> String {
        let name = &self.name;
        format!(
            "CANCEL sip:{called}@{DOMAIN} SIP/2.0\r\n{}From: \"Ann\" <sip:{name}@{DOMAIN}>;tag=f{id}\r\n\
             To: <sip:{called}@{DOMAIN}>\r\nCall-ID: {id}\r\nCSeq: {cseq} CANCEL\r\nMax-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n",
            self.via(&format!("{id}i{cseq}"))
        )
    }

    /// A request within a dialog that this phone began: `answer` is any response with the edge's tag.
    pub fn request(&self, method: &str, cseq: u32, answer: &Message, extra: &str, body: &str) -> String {
        let from = answer.text(HeaderName::From).unwrap();
        let to = answer.text(HeaderName::To).unwrap();
        self.write(method, cseq, &from, &to, answer, extra, body)
    }

    /// A request within a dialog that the edge began with `invite`, answered under `tag`.
    pub fn request_back(
        &self,
        method: &str,
        cseq: u32,
        invite: &Message,
        tag: &str,
        extra: &str,
        body: &str,
    ) -> String {
        let from = format!("{};tag={tag}", invite.text(HeaderName::To).unwrap());
        let to = invite.text(HeaderName::From).unwrap();
        self.write(method, cseq, &from, &to, invite, extra, body)
    }

    #[allow(clippy::too_many_arguments)]
    fn write(&self, method: &str, cseq: u32, from: &str, to: &str, of: &Message, extra: &str, body: &str) -> String {
        let kind =
            if body.is_empty() || extra.contains("Content-Type") { "" } else { "Content-Type: application/sdp\r\n" };
        let target = of.contact().map_or(DOMAIN_URI.to_owned(), |contact| contact.uri_text.to_owned());
        let id = of.call_id().unwrap();
        let numbered = if method == "ACK" { "ACK" } else { method };
        format!(
            "{method} {target} SIP/2.0\r\n{}From: {from}\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: {cseq} {numbered}\r\n\
             Contact: <sip:{}@{}>\r\nMax-Forwards: 70\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            self.via(&format!("{id}{method}{cseq}")),
            self.name,
            self.address,
            body.len()
        )
    }

    /// A response of this phone to a request of the edge.
    pub fn respond(&self, request: &Message, code: u16, tag: &str, body: &str) -> Bytes {
        self.respond_with(request, code, tag, &[], body)
    }

    /// With further headers.
    pub fn respond_with(
        &self,
        request: &Message,
        code: u16,
        tag: &str,
        headers: &[(HeaderName, &str)],
        body: &str,
    ) -> Bytes {
        let mut builder = ResponseBuilder::new(request, code, EDGE.parse().unwrap(), Some(tag))
            .record_route(request)
            .header(HeaderName::Contact, format!("<sip:{}@{}>", self.name, self.address));
        for (name, value) in headers {
            builder = builder.header(*name, value);
        }
        if body.is_empty() { builder.build() } else { builder.body("application/sdp", body.to_owned()).build() }
    }
}
