//! The back-to-back user agent: packets in, packets and requests out. No sockets, no clock.
//!
//! # Drain rule
//! After each [`Agent::handle`] the caller takes every action with [`Agent::poll_action`] until it gives `None`,
//! then sleeps until [`Agent::next_timeout`] or the next input. Calling `handle` with actions left is a fault of the
//! caller (asserted in debug builds), since actions are to be done in order.
//!
//! # Shape
//! [`core`] holds what everything here works with. A message goes through the transaction layer; a request outside
//! dialogs to [`inbound`], one within a dialog to its [`Call`](crate::ua::Call), a response to the owner of its
//! transaction. What that tells control of the call is handed in, and what control commands is carried out, in
//! [`outputs`].

mod abuse;
mod calls;
mod checks;
mod config;
pub(crate) mod core;
mod directory;
pub(crate) mod hop;
pub(crate) mod inbound;
mod keepalive;
mod outputs;
pub(crate) mod register;
pub(crate) mod slab;
pub(crate) mod timers;
mod turns;

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // An instant to count from can only be had so.
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringfork_sip::build::ResponseBuilder;
use ringfork_sip::digest;
use ringfork_sip::flow::{Flow, Transmit};
use ringfork_sip::message::{Fault, Message};
use ringfork_sip::transaction::{ClientKey, TransactionEvent, reply_flow};

pub use config::{AgentConfig, Caps, DigestPolicy, Listener, Transport, Trunk};

use self::abuse::Abuse;
pub use self::abuse::source_of;
use self::calls::Calls;
use self::core::{Core, Owner, Party, Pending, Request, Timer};
use self::directory::Cache;
use self::hop::{Unsent, Waiter};
use self::keepalive::KeepAlive;
use self::timers::TimerId;
use crate::action::{Action, BindingRecord, ClientEntry, Input, LogLevel, MediaId, Now, NumberEntry, Ports, Token};
use crate::control::signals::CallInput;
use crate::control::{API_VERSION, CallConfig, CallSid};
use crate::ua::Call;
use crate::ua::exchange::Outcome;

/// How long a nonce of ours may be used, milliseconds.
const NONCE_VALIDITY_MS: u64 = 300_000;
/// How many nonces' use counts are kept.
const NONCES: usize = 200_000;

/// Sizes of the agent's tables, for metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Calls (parents) that are not over; one that only waits for its last writes and events is.
    pub calls: usize,
    /// Calls that are over and wait for their last writes and events.
    pub finishing: usize,
    /// Legs whose INVITE is under way or answered.
    pub legs: usize,
    /// SIP transactions, those that only absorb retransmissions included.
    pub transactions: usize,
    /// Confirmed and early dialogs.
    pub dialogs: usize,
    /// Registered bindings.
    pub bindings: usize,
    /// Port pairs lent by [`Ports`].
    pub leased_ports: usize,
    /// Requests to the shell without an answer.
    pub waiting: usize,
    /// Timers of the agent (not those of transactions).
    pub timers: usize,
}

/// The whole core of an edge.
pub struct Agent<P: Ports> {
    core: Core<P>,
    calls: Calls,
    control: Arc<CallConfig>,
    digest: digest::Server,
    clients: Cache<ClientEntry>,
    numbers: Cache<NumberEntry>,
    abuse: Abuse,
    keepalive: KeepAlive,
    registering: HashMap<String, turns::Turns>,
    probes: HashMap<(String, String), TimerId>,
    bindings_due: Option<TimerId>,
    draining: bool,
    lease: bool,
}

impl<P: Ports> Agent<P> {
    /// An agent with the bindings that the store held when this edge started. The same seed and inputs give the
    /// same actions. Take the first actions before the first input.
    pub fn new(config: AgentConfig, seed: [u8; 32], ports: P, now: Now, bindings: Vec<BindingRecord>) -> Self {
        let offer = match config.digest {
            DigestPolicy::Both => digest::Offer::Both,
            DigestPolicy::Md5 => digest::Offer::Md5,
        };
        let control = Arc::new(CallConfig {
            account_sid: config.account_sid.clone(),
            recordings_url: format!(
                "{}/restcomm/{API_VERSION}/Accounts/{}/Recordings",
                config.public_url.trim_end_matches('/'),
                config.account_sid
            ),
            trunk_caller_id: config.trunk.as_ref().and_then(|trunk| trunk.caller_id.clone()),
            languages: config.languages,
            voices: config.voices,
        });
        let mut agent = Agent {
            calls: Calls::default(),
            control,
            digest: digest::Server::new(config.domain.as_str(), &config.nonce_key, offer, NONCE_VALIDITY_MS, NONCES),
            clients: Cache::new(config.caps.cached_clients),
            numbers: Cache::new(config.caps.cached_clients),
            abuse: Abuse::new(config.abuse_limit, config.caps.sources),
            keepalive: KeepAlive::default(),
            registering: HashMap::new(),
            probes: HashMap::new(),
            bindings_due: None,
            draining: false,
            lease: true,
            core: Core::new(config, seed, ports, now),
        };
        agent.load(bindings);
        agent.core.flush();
        agent
    }

    /// Tells the agent what happened. See the drain rule.
    pub fn handle(&mut self, now: Now, input: Input) {
        debug_assert!(self.core.actions.is_empty(), "drain poll_action before the next handle");
        self.core.now = now;
        match input {
            Input::Packet { flow, payload } => self.on_packet(flow, payload),
            Input::Unframed { flow, head } => self.on_unframed(flow, head),
            Input::Connected { connection, flow } => {
                match self.core.stream_opened(connection, flow) {
                    Some(waiters) => {
                        self.core.connections.insert(connection, flow);
                        self.on_stream(waiters, Some(flow));
                    }
                    // It took too long: nobody waits for it any more.
                    None => self.core.actions.push_back(Action::Close { flow }),
                }
            }
            Input::FlowClosed { connection } => self.on_flow_closed(connection),
            Input::Resolved { token, targets } => match self.core.pending.remove(&token) {
                Some(Pending::LegTargets { call, leg }) => {
                    if let Some(call) = self.calls.get_mut(call) {
                        call.leg_located(&mut self.core, leg, targets);
                    }
                    self.pump(call);
                }
                Some(Pending::MediaHost { call, party, name }) => {
                    self.with_call(call, |call, core| {
                        call.media_host_found(core, party, name, &targets.unwrap_or_default())
                    });
                }
                Some(Pending::Route(deferred)) => self.core.route_resolved(*deferred, &targets.unwrap_or_default()),
                _ => {}
            },
            Input::Client { token, result } => {
                let found = result.map(|entry| {
                    entry.map(|entry| {
                        let login = entry.login.clone();
                        self.clients.put(now.instant, &login, entry)
                    })
                });
                if let Some(Pending::Request(waiting)) = self.core.pending.remove(&token) {
                    self.client_found(*waiting, found);
                }
            }
            Input::Number { token, result } => {
                if let Some(Pending::Number(waiting, asked)) = self.core.pending.remove(&token) {
                    let found = result.map(|entry| entry.map(|entry| self.numbers.put(now.instant, &asked, entry)));
                    self.number_found(*waiting, found);
                }
            }
            Input::Written { token, result } => match self.core.pending.remove(&token) {
                Some(Pending::Control { call, ticket }) => self.tell(call, CallInput::Written { ticket, result }),
                Some(Pending::Bindings(aor)) => self.bindings_written(&aor, result),
                _ => {}
            },
            Input::Evaluated { token, result } => {
                if let Some((call, ticket)) = self.answer_to_control(token) {
                    self.tell(call, CallInput::Evaluated { ticket, result });
                }
            }
            Input::HandedOver { token, accepted } => {
                if let Some((call, ticket)) = self.answer_to_control(token) {
                    self.tell(call, CallInput::HandedOver { ticket, accepted });
                }
            }
            Input::ClientChanged { login, deleted } => {
                self.clients.forget(&login);
                if deleted {
                    self.end_bindings_of(&login);
                }
            }
            Input::NumberChanged { number } => {
                let plain = number.trim_start_matches('+');
                self.numbers.retain(|name, entry| entry.number != number && name.trim_start_matches('+') != plain);
            }
            Input::ApplicationChanged => {
                self.clients.retain(|_, entry| entry.voice.is_none());
                self.numbers.retain(|_, _| false);
            }
            Input::MediaSilent { media } => self.with_party(media, Call::on_silence),
            Input::Digit { media, key } => {
                self.with_party(media, |call, core, party| call.on_press(core, party, key));
            }
            Input::Played { media, play, result } => {
                self.with_party(media, |call, _, party| {
                    if call.other(party).is_none() {
                        call.tell(CallInput::Played { party, play, result });
                    }
                });
            }
            Input::Recorded { recording, seconds, end } => {
                if let Some(call) = self.core.recordings.remove(&recording) {
                    self.tell(call, CallInput::Recorded { recording, seconds, end });
                }
            }
            Input::Lease { held } => self.lease = held,
            Input::Drain => self.draining = true,
            Input::Timeout => {
                self.core.txns.handle_timeout(now.instant);
                self.run();
                while let Some(timer) = self.core.timers.pop_due(now.instant) {
                    self.on_timer(timer);
                }
            }
        }
        self.run();
    }

    fn answer_to_control(&mut self, token: Token) -> Option<(slab::Key, crate::control::signals::Ticket)> {
        match self.core.pending.remove(&token)? {
            Pending::Control { call, ticket } => Some((call, ticket)),
            _ => None,
        }
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.core.actions.pop_front()
    }

    /// When [`Input::Timeout`] is due; `None`: nothing is waited for.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        self.core.txns.poll_timeout().into_iter().chain(self.core.timers.next()).min()
    }

    /// Whether a stream must stay up although it is silent: a client is registered over it, or has a dialog that nothing
    /// else leads to (RFC 5626). To trunks and peers a new one can be opened.
    pub fn needs(&self, flow: &Flow) -> bool {
        let Flow::Tcp { connection, .. } = *flow else { return true };
        let from = (connection, slab::Key::FIRST, Party::Caller);
        self.core.on_streams.range(from..).next().is_some_and(|(on, ..)| *on == connection)
            || self.core.bindings.of_flow(flow).next().is_some()
    }

    /// Sizes of its tables.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            calls: self.calls.iter().filter(|(_, call)| !call.finished && !call.control.is_over()).count(),
            finishing: self.calls.finishing(),
            legs: self.calls.iter().map(|(_, call)| call.live_legs()).sum(),
            transactions: self.core.txns.clients() + self.core.txns.servers(),
            dialogs: self.core.dialogs.len(),
            bindings: self.core.bindings.len(),
            leased_ports: self.core.leased(),
            waiting: self.core.pending.len() + self.core.streams.opening(),
            timers: self.core.timers.len(),
        }
    }

    /// Takes what the transaction layer has to say until it is silent.
    fn run(&mut self) {
        loop {
            self.core.flush();
            if let Some(event) = self.core.txns.poll_event() {
                self.on_event(event);
            } else if let Some(Unsent { owner, level, why }) = self.core.failed.pop_front() {
                let sid = self.sid_of(&owner);
                self.core.log(level, sid, why);
                self.on_lost(owner, false);
            } else {
                return;
            }
        }
    }

    /// The call or leg that a request of ours is for.
    fn sid_of(&mut self, owner: &Owner) -> Option<CallSid> {
        let (call, party) = match owner {
            Owner::Leg { call, leg } => (call, Party::Leg(*leg)),
            Owner::Dialog { call, party, .. } => (call, *party),
            _ => return None,
        };
        let call = self.calls.get_mut(*call)?;
        match party {
            Party::Caller => Some(call.sid),
            Party::Leg(leg) => Some(call.leg_mut(leg)?.sid),
        }
    }

    // ---- packets ----

    fn on_packet(&mut self, flow: Flow, payload: Bytes) {
        let registered = self.keepalive.touch(self.core.now.instant, &flow);
        if let Flow::Tcp { connection, .. } = flow {
            self.core.connections.entry(connection).or_insert(flow);
        }
        if payload.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            // RFC 5626 §3.5.1: a double CRLF on a stream is answered with one.
            if flow.is_reliable() && payload.len() >= 4 {
                let payload = Bytes::from_static(b"\r\n");
                self.core.actions.push_back(Action::Transmit(Transmit { flow, payload }));
            }
            return;
        }
        let source = flow.remote().ip();
        let message = match Message::parse_valid(payload) {
            Ok(message) => message,
            Err(fault) => return self.on_fault(flow, &fault, registered),
        };
        if message.is_request()
            && message.to_tag().is_none()
            && self.abuse.is_blocked(self.core.now.instant, source)
            && !self.is_registered(registered, &flow)
        {
            return self.core.count("dropped_requests_total", "abuse");
        }
        self.core.txns.handle_message(self.core.now.instant, flow, message);
    }

    fn is_registered(&self, watched: bool, flow: &Flow) -> bool {
        watched || self.core.bindings.of_flow(flow).next().is_some()
    }

    /// A message that cannot be processed: refused where it can be answered.
    fn on_fault(&mut self, flow: Flow, fault: &Fault, registered: bool) {
        let source = flow.remote();
        if self.abuse.is_blocked(self.core.now.instant, source.ip()) && !self.is_registered(registered, &flow) {
            return self.core.count("dropped_requests_total", "abuse");
        }
        // An unknown method or version is readable.
        if !matches!(fault.status, 501 | 505) {
            self.offend(source.ip(), "unreadable");
        }
        let tag = format!("{:016x}", self.core.random_u64());
        if let (Some(request), Some(builder)) = (fault.answerable(), ResponseBuilder::for_fault(fault, source, &tag)) {
            let to = reply_flow(flow, request);
            self.core.txns.send_stateless(to, builder.build());
        }
    }

    fn on_unframed(&mut self, flow: Flow, head: Bytes) {
        match Message::parse_valid(head) {
            Err(fault) => self.on_fault(flow, &fault, false),
            Ok(_) => self.offend(flow.remote().ip(), "unreadable"),
        }
        self.core.flush();
        self.core.actions.push_back(Action::Close { flow });
    }

    /// Counts an offence against `--abuse-limit`.
    fn offend(&mut self, source: IpAddr, what: &'static str) {
        self.core.count("offences_total", what);
        if self.abuse.offence(self.core.now.instant, source) {
            self.core.count("sources_blocked_total", "");
            self.core.log(LogLevel::Warn, None, format!("{source} is ignored for 10 s: too many offences"));
        }
    }

    // ---- transactions ----

    fn on_event(&mut self, event: TransactionEvent) {
        match event {
            TransactionEvent::Request { key, flow, source, message } => {
                self.on_request(Request { key, flow, source, message });
            }
            TransactionEvent::Cancelled { key, .. } => self.on_cancelled(key),
            TransactionEvent::Ack { message, .. } => self.on_ack(&message),
            TransactionEvent::Unacknowledged { .. } => {}
            TransactionEvent::Response { key, message } => self.on_response(key, &message),
            TransactionEvent::Timeout { key } => {
                if let Some(owner) = self.core.owners.remove(&key) {
                    self.on_lost(owner, true);
                }
            }
            TransactionEvent::TransportError { key } => {
                if let Some(owner) = self.core.owners.remove(&key) {
                    self.on_lost(owner, false);
                }
            }
            TransactionEvent::Terminated { key } => {
                self.core.owners.remove(&key);
            }
        }
    }

    fn on_ack(&mut self, message: &Message) {
        let tag = message.to_tag().and_then(|tag| u64::from_str_radix(tag, 16).ok());
        let Some((key, party)) = tag.and_then(|tag| self.core.dialogs.get(&tag)).copied() else { return };
        if let Some(call) = self.calls.get_mut(key) {
            call.on_ack(&mut self.core, party, message);
        }
        self.pump(key);
    }

    fn on_response(&mut self, key: ClientKey, message: &Message) {
        let Some(code) = message.status() else { return };
        let Some(owner) = self.core.owners.remove(&key) else { return };
        let provisional = code < 200;
        match owner {
            Owner::Leg { call, leg } => {
                if provisional {
                    self.core.owners.insert(key, Owner::Leg { call, leg });
                }
                if let Some(call) = self.calls.get_mut(call) {
                    call.on_leg_response(&mut self.core, leg, key, message);
                }
                self.pump(call);
            }
            Owner::Answered(mut answered) => {
                if (200..300).contains(&code) {
                    answered.on_success(&mut self.core, message);
                }
                self.core.owners.insert(key, Owner::Answered(answered));
            }
            Owner::Abandoned(mut abandoned) => {
                if (200..300).contains(&code) {
                    abandoned.on_success(&mut self.core, message);
                }
                if code < 300 {
                    self.core.owners.insert(key, Owner::Abandoned(abandoned));
                }
            }
            Owner::Dialog { call, party, serial } if provisional => {
                self.core.owners.insert(key, Owner::Dialog { call, party, serial });
            }
            Owner::Dialog { call, party, serial } => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.on_outcome(&mut self.core, party, serial, Outcome::Response(key, message));
                }
                self.pump(call);
            }
            owner @ (Owner::KeepAlive(_) | Owner::Probe { .. } | Owner::Farewell(_)) if provisional => {
                self.core.owners.insert(key, owner);
            }
            Owner::Farewell(farewell) => farewell.on_response(&mut self.core, message),
            Owner::KeepAlive(flow) => self.keepalive_answered(flow, true),
            Owner::Probe { aor, key } => self.probe_answered(aor, key),
        }
    }

    /// A request of ours got no final response: in time (`timeout`), or because it could not be sent.
    fn on_lost(&mut self, owner: Owner, timeout: bool) {
        match owner {
            Owner::Leg { call, leg } => {
                if let Some(call) = self.calls.get_mut(call) {
                    if timeout {
                        call.leg_timed_out(&mut self.core, leg);
                    } else {
                        call.leg_failed(&mut self.core, leg);
                    }
                }
                self.pump(call);
            }
            Owner::Dialog { call, party, serial } => {
                if let Some(call) = self.calls.get_mut(call) {
                    let outcome = if timeout { Outcome::Timeout } else { Outcome::Unsent };
                    call.on_outcome(&mut self.core, party, serial, outcome);
                }
                self.pump(call);
            }
            Owner::KeepAlive(flow) => self.keepalive_answered(flow, false),
            Owner::Answered(_) | Owner::Abandoned(_) | Owner::Farewell(_) | Owner::Probe { .. } => {}
        }
    }

    // ---- flows ----

    fn on_stream(&mut self, waiters: Vec<Waiter>, flow: Option<Flow>) {
        for waiter in waiters {
            if let Waiter::Leg { call, leg } = waiter {
                if let Some(call) = self.calls.get_mut(call) {
                    call.leg_stream(&mut self.core, leg, flow);
                }
                self.pump(call);
            }
        }
    }

    fn on_flow_closed(&mut self, connection: u64) {
        let waiters = self.core.stream_closed(connection);
        self.on_stream(waiters, None);
        if let Some(flow) = self.core.connections.remove(&connection) {
            self.end_flow(&flow);
            self.core.flush();
            self.core.txns.handle_flow_failed(self.core.now.instant, flow);
            self.run();
            let reached: Vec<_> = self
                .core
                .on_streams
                .range((connection, slab::Key::FIRST, Party::Caller)..)
                .take_while(|(on, ..)| *on == connection)
                .map(|(_, key, party)| (*key, *party))
                .collect();
            for (key, party) in reached {
                self.with_call(key, |call, core| call.flow_closed(core, party));
            }
        }
    }

    // ---- time ----

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Control(key) => {
                if let Some(call) = self.calls.get_mut(key) {
                    call.wake = None;
                }
                self.tell(key, CallInput::Timeout);
            }
            Timer::Ring(key) => self.with_call(key, |call, core| call.ring(core)),
            Timer::CallerExpires(key) => self.with_call(key, |call, _| call.caller_gave_up()),
            Timer::Reliable(key) => self.with_call(key, |call, core| call.repeat_reliable(core)),
            Timer::Unacked(key, party) => self.with_call(key, |call, core| call.on_unacked(core, party)),
            Timer::Session(key, party) => self.with_call(key, |call, core| call.on_session_timer(core, party)),
            Timer::Outgoing(key, party) => self.with_call(key, |call, core| call.outgoing_is_late(core, party)),
            Timer::Adrift(key, party) => self.with_call(key, |call, core| call.still_adrift(core, party)),
            Timer::Glare(key, party) => self.with_call(key, |call, core| call.after_glare(core, party)),
            Timer::NoResponse(key, leg) => self.with_call(key, |call, core| call.leg_silent(core, leg)),
            Timer::KeepAlive(flow) => self.keepalive_due(flow),
            Timer::Bindings => self.bindings_are_due(),
            Timer::Probe { aor, key } => self.probe_failed(aor, key),
            Timer::Connecting(connection) => self.on_flow_closed(connection),
            Timer::Registering { aor, serial } => self.register_is_late(&aor, serial),
        }
    }

    fn with_call(&mut self, key: slab::Key, act: impl FnOnce(&mut Call, &mut Core<P>)) {
        if let Some(call) = self.calls.get_mut(key) {
            act(call, &mut self.core);
        }
        self.pump(key);
    }

    /// What the media shell heard of a party.
    fn with_party(&mut self, media: MediaId, act: impl FnOnce(&mut Call, &mut Core<P>, Party)) {
        let Some((key, party)) = self.core.heard.get(&media).copied() else { return };
        self.with_call(key, |call, core| act(call, core, party));
    }
}
