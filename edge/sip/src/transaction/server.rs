//! Server transactions: matching requests (RFC 3261 §17.2.3), answering, and CANCEL (§9.2).

use std::time::Instant;

use bytes::Bytes;

use super::event::{RespondError, ServerKey, TransactionEvent};
use super::identity::Identity;
use super::invite_server::{self, InviteServer};
use super::layer::{NEVER, Side, Target, Transactions, arm, setting};
use super::machine::{Class, ServerInput, ServerSend, ServerStep, ServerTell, Setting};
use super::non_invite_server::{self, NonInviteServer};
use super::slab::Key;
use super::wire;
use crate::flow::{Flow, Transmit};
use crate::message::{Message, Method};

/// One server transaction.
#[derive(Debug)]
pub(super) struct Server {
    machine: Machine,
    /// Where its responses go.
    flow: Flow,
    identity: Identity,
    /// The most recent response; empty before the first one and where none will be repeated. A copy: builders leave room
    /// to spare, which would lie there for as long as the response does.
    last: Box<[u8]>,
    pub repeat_at: u64,
    pub expire_at: u64,
    invite: Option<Box<InviteExtra>>,
}

/// What only the transaction of an INVITE needs.
#[derive(Debug)]
struct InviteExtra {
    /// The INVITE and where it came from, until the first response: to make a 100.
    request: Option<(Flow, Message)>,
    merged: Option<Identity>,
    cancelled: bool,
}

#[derive(Debug, Clone, Copy)]
enum Machine {
    Invite(InviteServer),
    NonInvite(NonInviteServer),
}

impl Machine {
    fn on(&mut self, input: ServerInput, setting: Setting<'_>) -> ServerStep {
        match self {
            Machine::Invite(machine) => machine.on(input, setting),
            Machine::NonInvite(machine) => machine.on(input, setting),
        }
    }

    fn is_terminated(&self) -> bool {
        match self {
            Machine::Invite(machine) => machine.state == invite_server::State::Terminated,
            Machine::NonInvite(machine) => machine.state == non_invite_server::State::Terminated,
        }
    }

    /// Whether its last response may still have to be sent again.
    fn repeats_response(&self) -> bool {
        match self {
            Machine::Invite(machine) => {
                matches!(machine.state, invite_server::State::Proceeding | invite_server::State::Completed)
            }
            Machine::NonInvite(machine) => machine.state != non_invite_server::State::Terminated,
        }
    }
}

impl Transactions {
    /// Sends a response within its transaction, on the transaction's flow. In the state after an INVITE's 2xx, a 2xx
    /// may be sent again (its repetitions are the user's task, [`super::Retransmission`]).
    ///
    /// # Errors
    /// When the transaction is over, has had its final response, or these are not the bytes of a response.
    pub fn respond(&mut self, now: Instant, key: ServerKey, response: Bytes) -> Result<(), RespondError> {
        let class = wire::status(&response).and_then(Class::of).ok_or(RespondError::NotAResponse)?;
        self.timers.advance(now);
        let step = self.server_input(key.0, ServerInput::Respond(class)).ok_or(RespondError::Gone)?;
        if step.tell == ServerTell::Refused {
            return Err(RespondError::Final);
        }
        self.server_step(key.0, step, Some(response));
        Ok(())
    }

    /// Sends a final response and forgets the transaction at once, as if it never was: a repeated request is then a new
    /// one. For challenges (401, 407) and refusals of those who have shown no credentials, so that they cost no memory
    /// (RFC 3261 §26.3.2.4; §8.2.7 allows it for every request but CANCEL). The ACK of an INVITE answered so comes as
    /// [`TransactionEvent::Ack`].
    ///
    /// # Errors
    /// When the transaction is over, or these are not the bytes of a response.
    pub fn respond_stateless(&mut self, key: ServerKey, response: Bytes) -> Result<(), RespondError> {
        wire::status(&response).and_then(Class::of).ok_or(RespondError::NotAResponse)?;
        let flow = self.servers.get(key.0).ok_or(RespondError::Gone)?.flow;
        self.remove_server(key.0);
        self.transmit(flow, response);
        Ok(())
    }

    pub(super) fn on_request(&mut self, source: Flow, message: Message) {
        let Some((method, identity, flow)) = self.match_request(source, &message) else {
            self.counters.unusable += 1;
            return;
        };
        match method {
            Method::Ack => self.on_ack(source, identity, message),
            Method::Cancel => self.on_cancel(source, flow, identity, message),
            method => {
                if let Some(&key) = self.by_identity.get(&identity) {
                    self.on_repeated(key);
                    return;
                }
                self.on_new(source, flow, identity, method == Method::Invite, message);
            }
        }
    }

    /// The method, the transaction that the request belongs to (that of the INVITE for an ACK or CANCEL), and where
    /// responses go.
    fn match_request(&self, source: Flow, message: &Message) -> Option<(Method, Identity, Flow)> {
        let via = message.top_via()?;
        let method = message.method()?;
        let of = if matches!(method, Method::Ack | Method::Cancel) { &Method::Invite } else { method };
        let identity = self.identities.of_transaction(message, &via, of)?;
        Some((method.clone(), identity, wire::reply_flow_of(source, &via)))
    }

    fn on_repeated(&mut self, key: Key) {
        self.counters.repeated_requests += 1;
        if let Some(step) = self.server_input(key, ServerInput::Request) {
            self.server_step(key, step, None);
        }
    }

    fn on_new(&mut self, source: Flow, flow: Flow, identity: Identity, invite: bool, message: Message) {
        if self.servers.len() >= self.config.max_servers {
            self.counters.refused += 1;
            let retry_after = self.config.retry_after;
            let tag = format!("{:016x}", self.token());
            let response = wire::unavailable(&message, source, &tag, retry_after);
            self.transmit(flow, response);
            return;
        }
        let merged = if invite && self.config.detect_merged && message.to_tag().is_none() {
            self.identities.of_merged(&message)
        } else {
            None
        };
        if merged.is_some_and(|merged| self.by_merged.contains_key(&merged)) {
            self.counters.merged += 1;
            let tag = format!("{:016x}", self.token());
            let response = wire::plain(&message, 482, source, &tag);
            self.transmit(flow, response);
            return;
        }
        let setting = setting(&self.config, flow);
        let (machine, step, extra) = if invite {
            let (machine, step) = InviteServer::start(setting);
            let request = Some((source, message.clone()));
            (Machine::Invite(machine), step, Some(Box::new(InviteExtra { request, merged, cancelled: false })))
        } else {
            let (machine, step) = NonInviteServer::start(setting);
            (Machine::NonInvite(machine), step, None)
        };
        let Some(key) = self.insert_server(machine, flow, identity, extra) else { return };
        if let Some(merged) = merged {
            self.by_merged.insert(merged, key);
        }
        self.server_step(key, step, None);
        self.events.push_back(TransactionEvent::Request { key: ServerKey(key), flow, source, message });
    }

    /// RFC 3261 §17.2.3: an ACK matches the INVITE transaction whose branch it has, so that of a non-2xx response.
    fn on_ack(&mut self, source: Flow, identity: Identity, message: Message) {
        let step = self.by_identity.get(&identity).copied().and_then(|key| {
            let step = self.server_input(key, ServerInput::Ack)?;
            self.server_step(key, step, None);
            Some(step)
        });
        if step.is_none_or(|step| step.tell == ServerTell::Ack) {
            self.events.push_back(TransactionEvent::Ack { source, message });
        }
    }

    /// RFC 3261 §9.2: a CANCEL is a transaction of its own, answered here: 200 where there is an INVITE of its branch,
    /// whatever its state, else 481. The user hears of it only while it can still act on it.
    fn on_cancel(&mut self, source: Flow, flow: Flow, invite: Identity, message: Message) {
        let via = message.top_via();
        let own = via.and_then(|via| self.identities.of_transaction(&message, &via, &Method::Cancel));
        let Some(own) = own else {
            self.counters.unusable += 1;
            return;
        };
        if let Some(&key) = self.by_identity.get(&own) {
            self.on_repeated(key);
            return;
        }
        let Some(&invite) = self.by_identity.get(&invite) else {
            // Stateless: a repeated one gets the same answer.
            self.counters.stray_cancels += 1;
            let tag = format!("{:016x}", self.token());
            let response = wire::plain(&message, 481, source, &tag);
            self.transmit(flow, response);
            return;
        };
        let tag = self.servers.get(invite).and_then(|server| wire::to_tag(&server.last));
        let tag = tag.unwrap_or_else(|| self.tag(invite));
        let response = wire::plain(&message, 200, source, &tag);
        self.answer_cancel(flow, own, response);
        let Some(Server { machine: Machine::Invite(machine), invite: Some(extra), .. }) = self.servers.get_mut(invite)
        else {
            return;
        };
        if machine.state == invite_server::State::Proceeding && !extra.cancelled {
            extra.cancelled = true;
            self.events.push_back(TransactionEvent::Cancelled { key: ServerKey(invite), message });
        }
    }

    /// Answers a CANCEL in a transaction of its own; without one where the table is full.
    fn answer_cancel(&mut self, flow: Flow, identity: Identity, response: Bytes) {
        if self.servers.len() >= self.config.max_servers {
            self.transmit(flow, response);
            return;
        }
        let (machine, step) = NonInviteServer::start(setting(&self.config, flow));
        let Some(key) = self.insert_server(Machine::NonInvite(machine), flow, identity, None) else { return };
        self.server_step(key, step, None);
        if let Some(step) = self.server_input(key, ServerInput::Respond(Class::Success)) {
            self.server_step(key, step, Some(response));
        }
    }

    pub(super) fn server_timer(&mut self, key: Key, deadline: u64, repeat: bool) {
        let Some(server) = self.servers.get_mut(key) else { return };
        let (waits, input) = if repeat {
            (&mut server.repeat_at, ServerInput::Repeat)
        } else {
            (&mut server.expire_at, ServerInput::Expire)
        };
        if *waits != deadline {
            return;
        }
        *waits = NEVER;
        if let Some(step) = self.server_input(key, input) {
            self.counters.retransmissions += u64::from(step.send == ServerSend::Last);
            self.server_step(key, step, None);
        }
    }

    fn server_input(&mut self, key: Key, input: ServerInput) -> Option<ServerStep> {
        let server = self.servers.get_mut(key)?;
        Some(server.machine.on(input, setting(&self.config, server.flow)))
    }

    /// Carries out a step. `response` is what the user gave, if it gave something.
    fn server_step(&mut self, key: Key, step: ServerStep, response: Option<Bytes>) {
        let Some(server) = self.servers.get_mut(key) else { return };
        arm(&mut self.timers, step.repeat, &mut server.repeat_at, Target::ServerRepeat(key));
        arm(&mut self.timers, step.expire, &mut server.expire_at, Target::ServerExpire(key));
        let request = match (&mut server.invite, step.send) {
            (Some(extra), ServerSend::New | ServerSend::Trying) => extra.request.take(),
            _ => None,
        };
        let payload = match step.send {
            ServerSend::Nothing => Bytes::new(),
            ServerSend::Last => Bytes::copy_from_slice(&server.last),
            ServerSend::New => response.unwrap_or_default(),
            ServerSend::Trying => request.map(|(source, message)| wire::trying(&message, source)).unwrap_or_default(),
        };
        if !server.machine.repeats_response() {
            server.last = Box::default();
        } else if step.send != ServerSend::Last && !payload.is_empty() {
            server.last = Box::from(&*payload);
        }
        if !payload.is_empty() {
            self.transmits.push_back(Transmit { flow: server.flow, payload });
        }
        let ended = server.machine.is_terminated();
        if step.tell == ServerTell::Unacknowledged {
            self.events.push_back(TransactionEvent::Unacknowledged { key: ServerKey(key) });
        }
        if ended {
            self.remove_server(key);
        }
    }

    fn insert_server(
        &mut self,
        machine: Machine,
        flow: Flow,
        identity: Identity,
        invite: Option<Box<InviteExtra>>,
    ) -> Option<Key> {
        let server =
            Server { machine, flow, identity, last: Box::default(), repeat_at: NEVER, expire_at: NEVER, invite };
        let key = self.servers.insert(server)?;
        self.by_identity.insert(identity, key);
        if flow.is_reliable() {
            self.by_flow.insert((flow, Side::Server, key));
        }
        Some(key)
    }

    pub(super) fn remove_server(&mut self, key: Key) {
        let Some(server) = self.servers.remove(key) else { return };
        self.by_identity.remove(&server.identity);
        if let Some(merged) = server.invite.and_then(|extra| extra.merged) {
            self.by_merged.remove(&merged);
        }
        if server.flow.is_reliable() {
            self.by_flow.remove(&(server.flow, Side::Server, key));
        }
    }
}
