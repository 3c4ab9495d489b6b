//! The caller's INVITE until its final response: ringing, reliable provisional responses (RFC 3262), refusal, answer.

use bytes::Bytes;
use ringfork_media::sdp::{Description, Direction, SdpError, Terms};
use ringfork_sip::header::HeaderName;
use ringfork_sip::transaction::{Due, Retransmission, Timers as TransactionTimers};

use super::Call;
use super::exchange::refuse_offer;
use super::session::{Phase, RING_AGAIN, SDP, Session};
use super::{ALLOW, SUPPORTED};
use crate::action::{LogLevel, Ports};
use crate::agent::core::{Core, Party, Request, Timer};
use crate::agent::timers::TimerId;
use crate::control::signals::{CallInput, LegId};

/// Who called.
#[derive(Debug)]
pub struct Caller {
    /// Its dialog, from the INVITE on.
    pub session: Session,
    /// Its INVITE, until the final response.
    pub ringing: Option<Box<Ringing>>,
    /// Max-Forwards of its INVITE.
    pub max_forwards: u8,
    /// The offer of its INVITE.
    pub offer: Option<Description>,
}

/// An INVITE without a final response.
#[derive(Debug)]
pub struct Ringing {
    /// The INVITE.
    pub request: Request,
    /// It requires 100rel: every provisional response but 100 is sent reliably.
    pub reliably: bool,
    /// What waits for its PRACK.
    pub unpracked: Option<Unpracked>,
    /// RSeq of the last reliable response.
    pub rseq: u32,
    /// 180 is repeated by this timer.
    pub again: Option<TimerId>,
    /// The INVITE's own Expires.
    pub expires: Option<TimerId>,
    /// The answer waits for the PRACK of a response with our description (RFC 3262 §3, §5).
    pub answer: Option<Answer>,
    /// A 183 with our answer.
    pub early: Early,
    /// Control was told that the caller gave up: nothing but a refusal is possible.
    pub cancelled: bool,
}

/// What the 200 is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A leg's media.
    With(LegId),
    /// Media of our own.
    Alone,
}

/// Media of ours before the answer.
#[derive(Debug)]
pub enum Early {
    /// None.
    Not,
    /// The 183 waits for the PRACK of a response before it (RFC 3262 §3).
    Owed,
    /// It was sent with this answer, which stands.
    Sent(Bytes),
}

/// A reliable provisional response.
#[derive(Debug)]
pub struct Unpracked {
    response: Bytes,
    series: Retransmission,
    timer: Option<TimerId>,
    /// It carries our offer.
    offered: bool,
    /// It carries our offer or our answer: the 200 waits for its PRACK (RFC 3262 §5).
    described: bool,
}

impl Ringing {
    /// No 200 may leave yet (RFC 3262 §5).
    fn waits_for_prack(&self) -> bool {
        self.unpracked.as_ref().is_some_and(|unpracked| unpracked.described)
    }
}

impl Call {
    /// 180 to the caller, or the 183 of early media, and again each minute.
    pub fn ring<P: Ports>(&mut self, core: &mut Core<P>) {
        self.alert(core, None);
    }

    /// 183 with our answer to the caller's offer, if that can be answered; a caller without an offer rings.
    pub fn early_media<P: Ports>(&mut self, core: &mut Core<P>) {
        let session = &mut self.caller.session;
        let Some(ringing) = self.caller.ringing.as_mut().filter(|ringing| !ringing.cancelled) else { return };
        let Some(offer) = &self.caller.offer else { return self.ring(core) };
        if let Early::Sent(_) = ringing.early {
            return;
        }
        if ringing.unpracked.is_some() {
            ringing.early = Early::Owed;
            return;
        }
        match session.sdp.make_answer(offer, &Terms::standard()) {
            Ok(body) => {
                session.show_media(core);
                ringing.early = Early::Sent(body.clone());
                self.alert(core, Some(body));
            }
            Err(error) => {
                ringing.early = Early::Not;
                self.log(core, LogLevel::Warn, format!("The caller rings without early media: {error}"));
                self.ring(core);
            }
        }
    }

    /// A provisional response: 183 once there are early media, with `answer` the first time; else 180.
    fn alert<P: Ports>(&mut self, core: &mut Core<P>, answer: Option<Bytes>) {
        let key = self.key;
        let session = &mut self.caller.session;
        let Some(ringing) = &mut self.caller.ringing else { return };
        core.set(&mut ringing.again, RING_AGAIN, Timer::Ring(key));
        if ringing.unpracked.is_some() || ringing.cancelled {
            return;
        }
        let (code, answer) = match &ringing.early {
            // Where nothing is repeated until it is acknowledged, each 183 says it.
            Early::Sent(body) => (183, answer.or_else(|| (!ringing.reliably).then(|| body.clone()))),
            Early::Not | Early::Owed => (180, None),
        };
        let mut builder = core
            .response(&ringing.request, code, Some(&session.dialog.local_tag))
            .record_route(&ringing.request.message)
            .header(HeaderName::Contact, core.contact(session.flow))
            .header(HeaderName::Allow, ALLOW);
        if !ringing.reliably {
            let response = match answer {
                Some(answer) => builder.body(SDP, answer).build(),
                None => builder.build(),
            };
            return core.respond(&ringing.request, response);
        }
        ringing.rseq += 1;
        builder = builder.header(HeaderName::Require, "100rel").header_display(HeaderName::RSeq, ringing.rseq);
        // RFC 3262 §5: without an offer in the INVITE, ours is in the first reliable response.
        let offered = self.caller.offer.is_none() && !session.sdp.is_agreed();
        let description = if offered { Some(session.sdp.make_offer(&Terms::standard())) } else { answer };
        let described = description.is_some();
        let response = match description {
            Some(body) => builder.body(SDP, body).build(),
            None => builder.build(),
        };
        let series = Retransmission::of_provisional(core.now.instant, &TransactionTimers::default());
        let mut timer = None;
        core.set_at(&mut timer, series.deadline(), Timer::Reliable(key));
        ringing.unpracked = Some(Unpracked { response: response.clone(), series, timer, offered, described });
        core.respond(&ringing.request, response);
    }

    /// The reliable response is due again (RFC 3262 §3).
    pub fn repeat_reliable<P: Ports>(&mut self, core: &mut Core<P>) {
        let Some(ringing) = &mut self.caller.ringing else { return };
        let Some(unpracked) = &mut ringing.unpracked else { return };
        match unpracked.series.poll(core.now.instant) {
            Due::GiveUp => return self.give_up(core, 504),
            Due::Send => core.respond(&ringing.request, unpracked.response.clone()),
            Due::Nothing => {}
        }
        let deadline = unpracked.series.deadline();
        core.timers.reset(&mut unpracked.timer, deadline, Timer::Reliable(self.key));
    }

    /// PRACK (RFC 3262 §3, §5).
    pub fn on_prack<P: Ports>(&mut self, core: &mut Core<P>, request: &Request) {
        let session = &mut self.caller.session;
        let Some(ringing) = &mut self.caller.ringing else { return core.refuse(request, 481) };
        let invite = ringing.request.message.cseq().map(|cseq| cseq.number);
        let matches = request.message.rack().is_some_and(|rack| rack.rseq == ringing.rseq && Some(rack.cseq) == invite);
        let Some(mut unpracked) = ringing.unpracked.take_if(|_| matches) else { return core.refuse(request, 481) };
        core.timers.clear(&mut unpracked.timer);
        let response = core.response(request, 200, None).header(HeaderName::Supported, SUPPORTED);
        if unpracked.offered {
            if let Err(error) = session.sdp.accept_answer(request.message.body()) {
                core.respond(request, response.build());
                self.log(core, LogLevel::Warn, format!("The caller's answer in PRACK is not usable: {error}"));
                return self.give_up(core, 488);
            }
            session.show_media(core);
            core.respond(request, response.build());
        } else if request.message.body().is_empty() {
            core.respond(request, response.build());
        } else if session.sdp.is_agreed() {
            // A further offer (RFC 3262 §5). Before the bridge we answer ourselves.
            let answer = Description::parse(request.message.body())
                .and_then(|offer| session.sdp.answer_ourselves(&offer, Direction::SendRecv));
            match answer {
                Ok(answer) => {
                    core.respond(request, response.body(SDP, answer).build());
                    session.show_media(core);
                }
                Err(error) => refuse_offer(core, request, error),
            }
        } else {
            // An offer while that of the INVITE has no answer yet (RFC 3264 §4): no.
            core.refuse(request, 488);
        }
        // Refused or not, the response is acknowledged: what waited for that goes on.
        match ringing.answer.take() {
            Some(Answer::With(leg)) => self.answer_with(core, leg),
            Some(Answer::Alone) => self.answer_alone(core),
            None if matches!(ringing.early, Early::Owed) => self.early_media(core),
            None => {}
        }
    }

    /// CANCEL, the INVITE's Expires, or BYE before the answer: control decides, and refuses with 487. A 200 that waits
    /// for a PRACK then leaves no more: what comes before it wins (RCML.md 1.5).
    pub fn caller_gave_up(&mut self) {
        let Some(ringing) = &mut self.caller.ringing else { return };
        if !ringing.cancelled {
            ringing.cancelled = true;
            self.tell(CallInput::CallerCancelled);
        }
    }

    /// The caller's INVITE cannot be answered for a reason of its own: it gets this code, control hears that it is gone.
    fn give_up<P: Ports>(&mut self, core: &mut Core<P>, code: u16) {
        let Some(ringing) = &self.caller.ringing else { return };
        let cancelled = ringing.cancelled;
        self.refuse_caller(core, code, None);
        if !cancelled {
            self.tell(CallInput::CallerRefused);
        }
    }

    /// The final refusal of the caller's INVITE.
    pub fn refuse_caller<P: Ports>(&mut self, core: &mut Core<P>, code: u16, warning: Option<SdpError>) {
        let Some(ringing) = self.end_ringing(core) else { return };
        let session = &mut self.caller.session;
        let mut builder = core.response(&ringing.request, code, Some(&session.dialog.local_tag));
        if code == 503 {
            builder = builder.header_display(HeaderName::RetryAfter, 5);
        }
        if let Some(error) = warning {
            builder = builder.header(HeaderName::Warning, error.warning(&core.config.domain));
        }
        core.respond(&ringing.request, builder.build());
        session.gone(core);
    }

    /// 200 with this leg's media.
    pub fn answer_with<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId) {
        let terms = self.session(Party::Leg(leg)).and_then(|leg| leg.sdp.remote_terms());
        let Some(ringing) = &mut self.caller.ringing else { return };
        let Some(terms) = terms else { return self.give_up(core, 500) };
        if ringing.waits_for_prack() {
            ringing.answer = Some(Answer::With(leg));
            return;
        }
        self.answer(core, terms);
    }

    /// 200 for media of our own.
    pub fn answer_alone<P: Ports>(&mut self, core: &mut Core<P>) {
        let Some(ringing) = &mut self.caller.ringing else { return };
        if ringing.waits_for_prack() {
            ringing.answer = Some(Answer::Alone);
            return;
        }
        self.answer(core, Terms::standard());
    }

    fn answer<P: Ports>(&mut self, core: &mut Core<P>, terms: Terms) {
        let Some(ringing) = self.caller.ringing.as_ref().filter(|ringing| !ringing.cancelled) else { return };
        let session = &mut self.caller.session;
        let body = match &self.caller.offer {
            // What a 183 said stands: once more in the 200, or, acknowledged by PRACK, said already (RFC 6337 §2.2).
            Some(_) if let Early::Sent(body) = &ringing.early => (!ringing.reliably).then(|| body.clone()),
            Some(offer) => match session.sdp.make_answer(offer, &terms) {
                Ok(body) => Some(body),
                Err(error) => {
                    self.log(core, LogLevel::Warn, format!("The caller cannot be answered: {error}"));
                    return self.give_up(core, 488);
                }
            },
            // The exchange was in a reliable 180 and its PRACK.
            None if session.sdp.is_agreed() => None,
            None => Some(session.sdp.make_offer(&terms)),
        };
        let Some(ringing) = self.end_ringing(core) else { return };
        let session = &mut self.caller.session;
        let builder = session.success(core, &ringing.request);
        let response = match body {
            Some(body) => builder.body(SDP, body).build(),
            None => builder.build(),
        };
        let offered = self.caller.offer.is_none() && !session.sdp.is_agreed();
        session.send_success(core, &ringing.request, response, offered);
        if session.sdp.is_agreed() {
            session.show_media(core);
        }
        // Before whatever else control has not heard yet: the 200 came first.
        self.inbox.push_front(CallInput::CallerAnswered);
    }

    /// A leg is over: an answer with its media is no more to be had.
    pub fn take_answer_back(&mut self, leg: LegId) {
        if let Some(ringing) = &mut self.caller.ringing {
            ringing.answer.take_if(|waiting| *waiting == Answer::With(leg));
        }
    }

    /// Ends the time of provisional responses.
    fn end_ringing<P: Ports>(&mut self, core: &mut Core<P>) -> Option<Box<Ringing>> {
        let mut ringing = self.caller.ringing.take()?;
        core.invites.remove(&ringing.request.key);
        core.timers.clear(&mut ringing.again);
        core.timers.clear(&mut ringing.expires);
        if let Some(unpracked) = &mut ringing.unpracked {
            core.timers.clear(&mut unpracked.timer);
        }
        Some(ringing)
    }

    /// BYE to an answered caller.
    pub fn hang_up_caller<P: Ports>(&mut self, core: &mut Core<P>) {
        if self.caller.ringing.is_some() {
            return self.refuse_caller(core, 487, None);
        }
        if self.caller.session.phase == Phase::Live {
            self.caller.session.hang_up(core);
        }
    }
}
