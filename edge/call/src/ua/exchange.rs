//! Offers and answers within answered dialogs (RFC 3261 §14, RFC 3311): what we answer ourselves, what is carried to the
//! other party of a bridge and back, and glare.

use bytes::Bytes;
use ringfork_media::sdp::{Description, Direction, SdpError, Terms};
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};
use ringfork_sip::transaction::ClientKey;

use super::Call;
use super::invite::AnsweredInvite;
use super::session::{Incoming, Outgoing, OwedAck, Phase, Purpose, SDP, retry_after};
use crate::action::{LogLevel, Ports};
use crate::agent::core::{Core, Owner, Party, Request};
use crate::agent::inbound::Invited;

/// How a request of ours ended.
pub enum Outcome<'a> {
    /// A final response.
    Response(ClientKey, &'a Message),
    /// None came: 408 (RFC 3261 §8.1.3.1).
    Timeout,
    /// It could not be sent: 503.
    Unsent,
}

impl Outcome<'_> {
    pub(super) fn code(&self) -> u16 {
        match self {
            Outcome::Response(_, response) => response.status().unwrap_or(500),
            Outcome::Timeout => 408,
            Outcome::Unsent => 503,
        }
    }
}

impl Call {
    /// A re-INVITE or UPDATE of a party in an answered dialog.
    pub fn on_offer<P: Ports>(&mut self, core: &mut Core<P>, party: Party, request: Request) {
        let is_invite = request.message.is_method(&Method::Invite);
        let unacked = self.caller.session.unacked.is_some();
        let Some(session) = self.session_mut(party) else { return core.refuse(&request, 481) };
        session.learn(&request.message);
        session.dialog.refresh_target(&request.message);
        if session.incoming.is_some() {
            let wait = retry_after(core);
            return core.refuse_for_now(&request, 500, wait);
        }
        let has_body = !request.message.body().is_empty();
        if !has_body && !is_invite {
            // A refresh without a description changes nothing (RFC 4028 §7.4).
            return self.succeed(core, party, &request, None, false);
        }
        // RFC 3261 §14.2, RFC 3311 §5.2: glare. Also while our offer in a 2xx waits for its answer, and, for a leg,
        // until the caller's ACK of our 200.
        let busy = session.outgoing.as_ref().is_some_and(|ours| ours.offered || ours.method == Method::Invite)
            || session.owed_ack.is_some()
            || session.unacked.as_ref().is_some_and(|unacked| unacked.offered)
            || (party != Party::Caller && unacked && self.bridge.is_some());
        if busy {
            return core.refuse(&request, 491);
        }
        if !has_body {
            return self.on_offerless(core, party, request);
        }
        let offer = match Description::parse(request.message.body()) {
            Ok(offer) => offer,
            Err(error) => return refuse_offer(core, &request, error),
        };
        let Some(session) = self.session_mut(party) else { return };
        let refresh = session.sdp.changes_nothing(&offer);
        let other = self.other(party);
        match other {
            Some(other) if !refresh => self.pass_offer(core, party, other, request, Some(offer)),
            _ => self.answer_ourselves(core, party, &request, &offer, refresh),
        }
    }

    /// A re-INVITE that asks for an offer: passed on as one in a bridge, else answered with an offer of our own.
    fn on_offerless<P: Ports>(&mut self, core: &mut Core<P>, party: Party, request: Request) {
        if let Some(other) = self.other(party) {
            return self.pass_offer(core, party, other, request, None);
        }
        let Some(session) = self.session_mut(party) else { return };
        let terms = session.sdp.local_terms().unwrap_or_else(Terms::standard).with_direction(Direction::SendRecv);
        let body = session.sdp.make_offer(&terms);
        self.succeed(core, party, &request, Some(body), true);
    }

    fn answer_ourselves<P: Ports>(
        &mut self,
        core: &mut Core<P>,
        party: Party,
        request: &Request,
        offer: &Description,
        refresh: bool,
    ) {
        let Some(session) = self.session_mut(party) else { return };
        let direction = if refresh { session.sdp.direction() } else { Direction::SendRecv };
        match session.sdp.answer_ourselves(offer, direction) {
            Ok(body) => {
                self.succeed(core, party, request, Some(body), false);
                self.agreed(core, party);
            }
            Err(error) => refuse_offer(core, request, error),
        }
    }

    /// The 2xx to a re-INVITE or UPDATE.
    fn succeed<P: Ports>(
        &mut self,
        core: &mut Core<P>,
        party: Party,
        request: &Request,
        body: Option<Bytes>,
        offered: bool,
    ) {
        let Some(session) = self.session_mut(party) else { return };
        let builder = session.success(core, request);
        let response = match body {
            Some(body) => builder.body(SDP, body).build(),
            None => builder.build(),
        };
        if request.message.is_method(&Method::Invite) {
            session.send_success(core, request, response, offered);
        } else {
            core.respond(request, response);
            session.restart_timer(core);
        }
    }

    /// Carries an offer, or the wish for one, to the other party.
    fn pass_offer<P: Ports>(
        &mut self,
        core: &mut Core<P>,
        party: Party,
        other: Party,
        request: Request,
        offer: Option<Description>,
    ) {
        let key = self.key;
        let is_invite = request.message.is_method(&Method::Invite);
        let Some(there) = self.session_mut(other) else { return core.refuse(&request, 491) };
        if !there.is_idle() {
            return core.refuse(&request, 491);
        }
        // Our own plan to align the two is overtaken.
        core.timers.clear(&mut there.glare);
        let body = offer.as_ref().map(|offer| there.sdp.make_offer(&Terms::of(offer)));
        let method = if is_invite || !there.update { Method::Invite } else { Method::Update };
        there.send(core, method, Purpose::Passed, body);
        if is_invite {
            core.invites.insert(request.key, Invited::Again { call: key, party });
        }
        if let Some(session) = self.session_mut(party) {
            session.incoming = Some(Incoming { request, offer });
        }
    }

    /// CANCEL of a re-INVITE that was passed on.
    pub fn exchange_cancelled<P: Ports>(&mut self, core: &mut Core<P>, party: Party) {
        let Some(session) = self.session_mut(party) else { return };
        let Some(incoming) = session.incoming.take() else { return };
        core.refuse(&incoming.request, 487);
        if let Some(there) = self.other(party).and_then(|other| self.session_mut(other))
            && let Some(outgoing) = &mut there.outgoing
        {
            outgoing.cancelled = true;
            there.cancel_outgoing(core);
        }
    }

    /// A request of ours within a dialog has ended.
    pub fn on_outcome<P: Ports>(&mut self, core: &mut Core<P>, party: Party, serial: u64, outcome: Outcome<'_>) {
        let Some(session) = self.session_mut(party) else { return };
        let code = outcome.code();
        if session.is_leaving(serial) {
            if let Outcome::Response(_, response) = outcome
                && matches!(code, 401 | 407)
                && session.leave_again(core, response)
            {
                return;
            }
            return session.gone(core);
        }
        if session.digits.is_under_way(serial) {
            return self.on_info_outcome(core, party, outcome);
        }
        let Some(mut ours) = session.outgoing.take_if(|ours| ours.serial == serial) else { return };
        core.timers.clear(&mut ours.guard);
        if let Outcome::Response(_, response) = outcome
            && matches!(code, 401 | 407)
            && session.phase == Phase::Live
            && session.send_again(core, &ours, response)
        {
            return;
        }
        match outcome {
            Outcome::Response(key, response) if (200..300).contains(&code) => {
                self.on_accepted(core, party, ours, key, response);
            }
            Outcome::Response(_, response)
                if code == 422 && session.phase == Phase::Live && session.raise_interval(response) =>
            {
                session.send(core, ours.method, ours.purpose, ours.body);
            }
            _ => self.on_refused(core, party, ours, code),
        }
    }

    /// 2xx to a re-INVITE or UPDATE of ours.
    fn on_accepted<P: Ports>(
        &mut self,
        core: &mut Core<P>,
        party: Party,
        ours: Outgoing,
        key: ClientKey,
        response: &Message,
    ) {
        let Some(session) = self.session_mut(party) else { return };
        session.proved = false;
        session.learn(response);
        session.dialog.refresh_target(response);
        let is_invite = ours.method == Method::Invite;
        let live = session.phase == Phase::Live;
        if is_invite {
            let answered = AnsweredInvite {
                remote_tag: session.dialog.remote_tag.clone(),
                ack: None,
                next_hop: session.dialog.next_hop().to_owned(),
                stray: session.stray(ours.cseq),
            };
            core.owners.insert(key, Owner::Answered(Box::new(answered)));
        }
        if is_invite && !ours.offered {
            return self.on_offer_in_answer(core, party, ours, key, response);
        }
        if is_invite {
            let ack = session.send_ack(core, ours.cseq, None);
            core.keep_ack(key, ack);
        }
        if !live {
            return;
        }
        session.agree_timer(response);
        session.restart_timer(core);
        let answer = if ours.offered { session.sdp.accept_answer(response.body()) } else { Ok(()) };
        match ours.purpose {
            Purpose::Passed if !ours.cancelled => self.pass_answer(core, party, answer),
            _ => {
                if answer.is_ok() && ours.offered {
                    self.agreed(core, party);
                }
                self.align(core);
            }
        }
    }

    /// The answer of `party` to an offer passed on goes back to the one that made it.
    fn pass_answer<P: Ports>(&mut self, core: &mut Core<P>, party: Party, answer: Result<(), SdpError>) {
        let Some(origin) = self.other(party) else { return };
        let terms = self.session(party).and_then(|session| session.sdp.remote_terms());
        let Some(session) = self.session_mut(origin) else { return };
        let Some(Incoming { request, offer }) = session.incoming.take() else { return };
        core.invites.remove(&request.key);
        let made = match (answer, &offer, &terms) {
            (Ok(()), Some(offer), Some(terms)) => session.sdp.make_answer(offer, terms),
            (Err(error), _, _) => Err(error),
            _ => Err(SdpError::NoOffer),
        };
        match made {
            Ok(body) => {
                self.succeed(core, origin, &request, Some(body), false);
                self.agreed(core, party);
                self.agreed(core, origin);
            }
            Err(error) => {
                refuse_offer(core, &request, error);
                // The other party may have taken what this one did not get: back to what it had.
                self.align(core);
            }
        }
    }

    /// 2xx to an offerless re-INVITE passed on: its offer goes to the one that asked; our ACK waits for its answer.
    fn on_offer_in_answer<P: Ports>(
        &mut self,
        core: &mut Core<P>,
        party: Party,
        ours: Outgoing,
        key: ClientKey,
        response: &Message,
    ) {
        let Some(session) = self.session_mut(party) else { return };
        let offer = Description::parse(response.body());
        let wanted = !ours.cancelled && session.phase == Phase::Live;
        session.agree_timer(response);
        session.restart_timer(core);
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => {
                let ack = session.send_ack(core, ours.cseq, None);
                core.keep_ack(key, ack);
                self.log(core, LogLevel::Warn, format!("An offer is not usable: {error}"));
                if let Some(origin) = self.other(party) {
                    self.refuse_incoming(core, origin, 488);
                }
                return;
            }
        };
        let origin = self.other(party).filter(|_| wanted);
        let request = origin
            .and_then(|origin| self.session_mut(origin))
            .and_then(|session| session.incoming.take())
            .map(|incoming| incoming.request);
        let Some(session) = self.session_mut(party) else { return };
        match (origin, request) {
            (Some(origin), Some(request)) => {
                core.invites.remove(&request.key);
                session.owed_ack = Some(OwedAck { cseq: ours.cseq, offer: offer.clone(), key });
                if let Some(there) = self.session_mut(origin) {
                    let body = there.sdp.make_offer(&Terms::of(&offer));
                    self.succeed(core, origin, &request, Some(body), true);
                }
            }
            _ => {
                let direction = session.sdp.direction();
                let answer = session.sdp.answer_ourselves(&offer, direction).ok();
                let ack = session.send_ack(core, ours.cseq, answer);
                core.keep_ack(key, ack);
            }
        }
    }

    /// The answer in an ACK, to our offer in a 2xx.
    pub fn on_answer_in_ack<P: Ports>(&mut self, core: &mut Core<P>, party: Party, body: &[u8]) {
        let Some(session) = self.session_mut(party) else { return };
        let mut usable = session.sdp.accept_answer(body);
        let terms = session.sdp.remote_terms();
        let other = self.other(party);
        if usable.is_ok()
            && let (Some(other), Some(terms)) = (other, &terms)
            && let Some(there) = self.session_mut(other)
            && let Some(owed) = there.owed_ack.take()
        {
            match there.sdp.make_answer(&owed.offer, terms) {
                Ok(answer) => {
                    let ack = there.send_ack(core, owed.cseq, Some(answer));
                    core.keep_ack(owed.key, ack);
                    self.agreed(core, other);
                }
                Err(error) => {
                    there.owed_ack = Some(owed);
                    usable = Err(error);
                }
            }
        }
        if let Err(error) = usable {
            self.log(core, LogLevel::Warn, format!("The answer in an ACK is not usable: {error}"));
            if let Some(session) = self.session_mut(party) {
                session.hang_up(core);
            }
            return self.lost(core, party);
        }
        self.agreed(core, party);
        self.align(core);
    }

    /// A request of ours was refused.
    fn on_refused<P: Ports>(&mut self, core: &mut Core<P>, party: Party, ours: Outgoing, code: u16) {
        let Some(session) = self.session_mut(party) else { return };
        if ours.offered {
            session.sdp.withdraw_offer();
        }
        if session.phase != Phase::Live {
            return;
        }
        // RFC 3261 §12.2.1.2: the dialog is no more, or its party is not there.
        let dead = matches!(code, 408 | 481);
        if ours.purpose == Purpose::Passed && !ours.cancelled {
            if let Some(origin) = self.other(party) {
                // A challenge is between us and its sender; a redirection is not followed.
                let passed = match code {
                    300..=399 | 401 | 407 => 488,
                    code => code,
                };
                self.refuse_incoming(core, origin, passed);
            }
        } else if code == 491
            && let Some(session) = self.session_mut(party)
        {
            session.wait_for_glare(core);
        }
        if dead && let Some(session) = self.session_mut(party) {
            session.hang_up(core);
            self.lost(core, party);
        }
    }

    /// A re-INVITE of ours takes too long.
    pub fn outgoing_is_late<P: Ports>(&mut self, core: &mut Core<P>, party: Party) {
        if let Some(session) = self.session_mut(party) {
            session.cancel_outgoing(core);
        }
    }

    /// The wait after a 491 is over.
    pub fn after_glare<P: Ports>(&mut self, core: &mut Core<P>, party: Party) {
        if let Some(session) = self.session_mut(party) {
            session.glare = None;
            if session.is_refresh_due(core) {
                session.refresh(core);
            }
        }
        self.align(core);
    }

    pub(super) fn refuse_incoming<P: Ports>(&mut self, core: &mut Core<P>, party: Party, code: u16) {
        let Some(session) = self.session_mut(party) else { return };
        if let Some(incoming) = session.incoming.take() {
            core.invites.remove(&incoming.request.key);
            core.refuse(&incoming.request, code);
        }
    }

    /// An exchange is complete: the media shell learns of it.
    fn agreed<P: Ports>(&mut self, core: &mut Core<P>, party: Party) {
        if let Some(session) = self.session(party) {
            session.show_media(core);
        }
        if self.other(party).is_some() {
            self.relay(core);
        }
    }
}

/// 488 with the reason.
pub fn refuse_offer<P: Ports>(core: &mut Core<P>, request: &Request, error: SdpError) {
    core.invites.remove(&request.key);
    let tag = core.txns.local_tag(request.key);
    let response =
        core.response(request, 488, Some(&tag)).header(HeaderName::Warning, error.warning(&core.config.domain)).build();
    core.respond(request, response);
}
