//! Requests of a party within its dialog, by method.

use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use super::session::{Phase, retry_after};
use super::{ALLOW, Call, SUPPORTED};
use crate::action::Ports;
use crate::agent::core::{Core, Party, Request};

impl Call {
    /// A request within a dialog of ours, found by our tag.
    pub fn on_request<P: Ports>(&mut self, core: &mut Core<P>, party: Party, request: Request) {
        if let Party::Leg(leg) = party
            && self.session(party).is_none()
        {
            if !self.on_early_request(core, leg, &request) {
                core.refuse(&request, 481);
            }
            return;
        }
        let unanswered = party == Party::Caller && self.caller.ringing.is_some();
        let Some(session) = self.session_mut(party) else { return core.refuse(&request, 481) };
        if !session.dialog.is_of(&request.message) || session.phase == Phase::Gone {
            return core.refuse(&request, 481);
        }
        let Some(number) = request.message.cseq().map(|cseq| cseq.number) else { return core.refuse(&request, 400) };
        if !session.dialog.accept_cseq(number) {
            return core.refuse(&request, 500);
        }
        let method = request.message.method().cloned();
        if matches!(method, Some(Method::Invite | Method::Update)) {
            session.follow(core, request.flow);
        }
        match method {
            Some(Method::Bye) => self.on_bye(core, party, &request),
            Some(Method::Prack) if party == Party::Caller => self.on_prack(core, &request),
            Some(Method::Prack) => core.refuse(&request, 481),
            Some(Method::Invite | Method::Update) if session.phase != Phase::Live => core.refuse(&request, 481),
            // RFC 3261 §14.2, RFC 3311 §5.2.
            Some(Method::Invite) if unanswered => {
                let wait = retry_after(core);
                core.refuse_for_now(&request, 500, wait);
            }
            Some(Method::Update) if unanswered && !request.message.body().is_empty() => {
                let wait = retry_after(core);
                core.refuse_for_now(&request, 500, wait);
            }
            Some(Method::Invite | Method::Update) => self.on_offer(core, party, request),
            Some(Method::Info) => self.on_info(core, party, &request),
            Some(Method::Options) => {
                let response = core
                    .response(&request, 200, None)
                    .header(HeaderName::Allow, ALLOW)
                    .header(HeaderName::Supported, SUPPORTED)
                    .header(HeaderName::Accept, "application/sdp")
                    .build();
                core.respond(&request, response);
            }
            _ => {
                let response = core.response(&request, 405, None).header(HeaderName::Allow, ALLOW).build();
                core.respond(&request, response);
            }
        }
    }

    fn on_bye<P: Ports>(&mut self, core: &mut Core<P>, party: Party, request: &Request) {
        core.refuse(request, 200);
        // RFC 3261 §15: a caller may end its early dialog so; the INVITE then gets its 487.
        if party == Party::Caller && self.caller.ringing.is_some() {
            return self.caller_gave_up();
        }
        let Some(session) = self.session_mut(party) else { return };
        let was_live = session.phase == Phase::Live;
        session.gone(core);
        if was_live {
            self.lost(core, party);
        }
    }

    /// An ACK of a 2xx of ours.
    pub fn on_ack<P: Ports>(&mut self, core: &mut Core<P>, party: Party, message: &Message) {
        let Some(session) = self.session_mut(party) else { return };
        let Some(cseq) = message.cseq().filter(|_| session.dialog.is_of(message)) else { return };
        let Some(offered) = session.acked(core, cseq.number) else { return };
        if session.phase == Phase::Ending {
            return session.leave(core);
        }
        if offered {
            self.on_answer_in_ack(core, party, message.body());
        } else {
            self.align(core);
        }
    }

    /// A 2xx of ours is due again.
    pub fn on_unacked<P: Ports>(&mut self, core: &mut Core<P>, party: Party) {
        let Some(session) = self.session_mut(party) else { return };
        if session.repeat_success(core) {
            return;
        }
        // RFC 3261 §13.3.1.4: no ACK in 64*T1 ends the dialog with BYE.
        let was_live = session.phase == Phase::Live;
        session.give_up_ack(core);
        if was_live {
            self.lost(core, party);
        }
    }

    /// The session timer of a party fired.
    pub fn on_session_timer<P: Ports>(&mut self, core: &mut Core<P>, party: Party) {
        let Some(session) = self.session_mut(party) else { return };
        if session.on_timer(core) {
            return;
        }
        session.hang_up(core);
        self.lost(core, party);
    }
}
