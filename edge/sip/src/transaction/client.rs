//! Client transactions: sending requests, matching responses (RFC 3261 §17.1.3), ACK and CANCEL.
//!
//! A branch of ours holds the place of its transaction in the table and an unguessable number, so a response finds its
//! transaction without a lookup by text, and nobody who has not seen the request can answer it.

use std::time::Instant;

use bytes::Bytes;

use super::event::{CancelOutcome, ClientKey, RequestError, TransactionEvent};
use super::invite_client::{self, InviteClient};
use super::layer::{NEVER, Side, Target, Transactions, arm, setting};
use super::machine::{Class, ClientInput, ClientSend, ClientStep, ClientTell, Setting};
use super::non_invite_client::{self, NonInviteClient};
use super::slab::Key;
use super::wire;
use crate::flow::{Flow, Transmit};
use crate::message::{Message, Method};

/// One client transaction.
#[derive(Debug)]
pub(super) struct Client {
    machine: Machine,
    flow: Flow,
    /// The unguessable part of its branch.
    token: u64,
    /// What it may have to send again, or to make an ACK or CANCEL of: the request; in Completed the ACK.
    message: Bytes,
    pub repeat_at: u64,
    pub expire_at: u64,
    cancel: Cancel,
}

#[derive(Debug, Clone, Copy)]
enum Machine {
    Invite(InviteClient),
    NonInvite(NonInviteClient),
}

/// How a transaction stands to a CANCEL.
#[derive(Debug)]
enum Cancel {
    /// Not cancelled.
    No,
    /// To be cancelled once there is a provisional response, with these Reason headers.
    Held(Box<[String]>),
    /// Cancelled by this transaction, which may be over.
    By(Key),
    /// It is itself the CANCEL of another: its user is told nothing.
    Itself,
}

impl Machine {
    fn on(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match self {
            Machine::Invite(machine) => machine.on(input, setting),
            Machine::NonInvite(machine) => machine.on(input, setting),
        }
    }

    fn is_terminated(&self) -> bool {
        match self {
            Machine::Invite(machine) => machine.state == invite_client::State::Terminated,
            Machine::NonInvite(machine) => machine.state == non_invite_client::State::Terminated,
        }
    }

    /// Whether its bytes may still be wanted: the request, to send it again or to make an ACK or CANCEL from it; in
    /// Completed the ACK.
    fn needs_message(&self, reliable: bool) -> bool {
        use invite_client::State as Invite;
        use non_invite_client::State as NonInvite;
        match self {
            Machine::Invite(machine) => {
                matches!(machine.state, Invite::Calling | Invite::Proceeding | Invite::Completed)
            }
            Machine::NonInvite(machine) => {
                !reliable && matches!(machine.state, NonInvite::Trying | NonInvite::Proceeding)
            }
        }
    }
}

impl Client {
    /// The Reason headers of a CANCEL that was held back, if this is the moment to send it. A final response drops it.
    fn take_held_cancel(&mut self) -> Option<Box<[String]>> {
        let Machine::Invite(InviteClient { state, .. }) = self.machine else { return None };
        if state == invite_client::State::Calling || !matches!(self.cancel, Cancel::Held(_)) {
            return None;
        }
        match std::mem::replace(&mut self.cancel, Cancel::No) {
            Cancel::Held(reasons) if state == invite_client::State::Proceeding => Some(reasons),
            _ => None,
        }
    }
}

impl Transactions {
    /// Starts a client transaction and sends its request over `flow`. `request` is complete but for its own Via, which
    /// is put on top here: `sent_by` (host, and port where it is not 5060, as the peer shall see us), a new branch, and
    /// `rport`.
    ///
    /// # Errors
    /// When too many are under way, or these are not the bytes of a request (ACK and CANCEL make none).
    pub fn request(
        &mut self,
        now: Instant,
        flow: Flow,
        sent_by: &str,
        request: &[u8],
    ) -> Result<ClientKey, RequestError> {
        let invite = match wire::method(request) {
            Some(b"INVITE") => true,
            None | Some(b"ACK" | b"CANCEL" | b"SIP/2.0") => return Err(RequestError::NotARequest),
            Some(_) => false,
        };
        if self.clients.len() >= self.config.max_clients {
            return Err(RequestError::Full);
        }
        self.timers.advance(now);
        let token = self.token();
        let key = self.clients.next_key().ok_or(RequestError::Full)?;
        let message = wire::with_via(request, flow, sent_by, &wire::branch(key.index, token));
        let setting = setting(&self.config, flow);
        let (machine, step) = if invite {
            let (machine, step) = InviteClient::start(setting);
            (Machine::Invite(machine), step)
        } else {
            let (machine, step) = NonInviteClient::start(setting);
            (Machine::NonInvite(machine), step)
        };
        let key = self.insert_client(machine, flow, token, message, Cancel::No).ok_or(RequestError::Full)?;
        self.client_step(key, step, None);
        Ok(ClientKey(key))
    }

    /// Cancels an INVITE (RFC 3261 §9.1): now, or as soon as there is a provisional response. `reasons` are values of
    /// Reason headers (RFC 3326), such as `SIP;cause=200;text="Call completed elsewhere"`. Its user goes on waiting for
    /// the final response (487, or a 2xx that crossed the CANCEL), which comes as any other; if none comes within
    /// 64*T1 of the CANCEL there is `Timeout`. What becomes of the CANCEL itself is no event.
    pub fn cancel(&mut self, now: Instant, key: ClientKey, reasons: &[&str]) -> CancelOutcome {
        self.timers.advance(now);
        let Some(client) = self.clients.get_mut(key.0) else { return CancelOutcome::Nothing };
        let Machine::Invite(machine) = client.machine else { return CancelOutcome::Nothing };
        if !matches!(client.cancel, Cancel::No) {
            return CancelOutcome::Nothing;
        }
        match machine.state {
            invite_client::State::Calling => {
                client.cancel = Cancel::Held(reasons.iter().map(|reason| (*reason).to_owned()).collect());
                CancelOutcome::HeldBack
            }
            invite_client::State::Proceeding => {
                self.send_cancel(key.0, reasons);
                CancelOutcome::Sent
            }
            _ => CancelOutcome::Nothing,
        }
    }

    /// RFC 3261 §17.1.3: by branch and CSeq method. §8.1.3.3: a response with more than one Via is not for us. §18.1.2:
    /// nor is one whose sent-by is not ours; the number in the branch proves more than that would.
    pub(super) fn on_response(&mut self, message: Message) {
        let Some((key, class)) = self.match_response(&message) else {
            self.counters.stray_responses += 1;
            return;
        };
        self.client_input(key, ClientInput::Response(class), Some(message));
    }

    fn match_response(&self, message: &Message) -> Option<(Key, Class)> {
        let class = Class::of(message.status()?)?;
        if message.via_values().nth(1).is_some() {
            return None;
        }
        let via = message.top_via()?;
        let (index, token) = wire::parse_branch(via.branch()?)?;
        let (key, client) = self.clients.at(index).filter(|(_, client)| client.token == token)?;
        let method = message.cseq()?.method;
        match (&client.machine, method) {
            (Machine::Invite(_), Method::Invite) => Some((key, class)),
            (Machine::Invite(_), Method::Cancel) => match client.cancel {
                Cancel::By(cancel) => Some((cancel, class)),
                _ => None,
            },
            (Machine::Invite(_), _) | (Machine::NonInvite(_), Method::Invite | Method::Cancel) => None,
            (Machine::NonInvite(_), _) => Some((key, class)),
        }
    }

    pub(super) fn client_timer(&mut self, key: Key, deadline: u64, repeat: bool) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let (waits, input) = if repeat {
            (&mut client.repeat_at, ClientInput::Repeat)
        } else {
            (&mut client.expire_at, ClientInput::Expire)
        };
        if *waits != deadline {
            return;
        }
        *waits = NEVER;
        if repeat {
            self.counters.retransmissions += 1;
        }
        self.client_input(key, input, None);
    }

    pub(super) fn client_flow_failed(&mut self, key: Key) {
        self.client_input(key, ClientInput::TransportError, None);
    }

    fn client_input(&mut self, key: Key, input: ClientInput, response: Option<Message>) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let step = client.machine.on(input, setting(&self.config, client.flow));
        self.client_step(key, step, response);
    }

    /// Carries out a step.
    fn client_step(&mut self, key: Key, step: ClientStep, response: Option<Message>) {
        let Some(client) = self.clients.get_mut(key) else { return };
        arm(&mut self.timers, step.repeat, &mut client.repeat_at, Target::ClientRepeat(key));
        arm(&mut self.timers, step.expire, &mut client.expire_at, Target::ClientExpire(key));
        let flow = client.flow;
        match step.send {
            ClientSend::Nothing => {}
            ClientSend::Request => self.transmits.push_back(Transmit { flow, payload: client.message.clone() }),
            ClientSend::Ack => {
                // The first final response turns the kept INVITE into its ACK; a repeated one finds it made.
                if let (ClientTell::Response, Some(response)) = (step.tell, &response) {
                    client.message = wire::ack(&client.message, response).unwrap_or_default();
                }
                if !client.message.is_empty() {
                    self.transmits.push_back(Transmit { flow, payload: client.message.clone() });
                }
            }
        }
        if !client.machine.needs_message(flow.is_reliable()) {
            client.message = Bytes::new();
        }
        let ended = client.machine.is_terminated();
        let silent = matches!(client.cancel, Cancel::Itself);
        let held = client.take_held_cancel();
        if ended {
            self.remove_client(key);
        }
        if !silent {
            let key = ClientKey(key);
            match (step.tell, response) {
                (ClientTell::Response, Some(message)) => {
                    self.events.push_back(TransactionEvent::Response { key, message });
                }
                (ClientTell::Timeout, _) => self.events.push_back(TransactionEvent::Timeout { key }),
                (ClientTell::TransportError, _) => self.events.push_back(TransactionEvent::TransportError { key }),
                (ClientTell::Terminated, _) => self.events.push_back(TransactionEvent::Terminated { key }),
                (ClientTell::Nothing, Some(_)) if step.send == ClientSend::Nothing => {
                    self.counters.stray_responses += 1;
                }
                (ClientTell::Response | ClientTell::Nothing, _) => {}
            }
        }
        if let Some(reasons) = held {
            let reasons: Vec<&str> = reasons.iter().map(String::as_str).collect();
            self.send_cancel(key, &reasons);
        }
    }

    /// RFC 3261 §9.1: the CANCEL is a transaction of its own under the INVITE's branch, and from now on the INVITE waits
    /// 64*T1 at most.
    fn send_cancel(&mut self, key: Key, reasons: &[&str]) {
        let Some(client) = self.clients.get(key) else { return };
        let (flow, token) = (client.flow, client.token);
        let Some(message) = wire::cancel(&client.message, reasons) else { return };
        let (machine, step) = NonInviteClient::start(setting(&self.config, flow));
        let Some(cancel) = self.insert_client(Machine::NonInvite(machine), flow, token, message, Cancel::Itself) else {
            return;
        };
        if let Some(client) = self.clients.get_mut(key) {
            client.cancel = Cancel::By(cancel);
        }
        self.client_step(cancel, step, None);
        self.client_input(key, ClientInput::CancelSent, None);
    }

    fn insert_client(
        &mut self,
        machine: Machine,
        flow: Flow,
        token: u64,
        message: Bytes,
        cancel: Cancel,
    ) -> Option<Key> {
        let client = Client { machine, flow, token, message, repeat_at: NEVER, expire_at: NEVER, cancel };
        let key = self.clients.insert(client)?;
        self.by_flow.insert((flow, Side::Client, key));
        Some(key)
    }

    /// Forgets a transaction, and with an INVITE its CANCEL, which has nothing left to do.
    fn remove_client(&mut self, key: Key) {
        let Some(client) = self.clients.remove(key) else { return };
        self.by_flow.remove(&(client.flow, Side::Client, key));
        if let Cancel::By(cancel) = client.cancel {
            self.remove_client(cancel);
        }
    }
}
