//! One party's dialog with everything that runs in it: its media, its offers and answers, its session timer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfork_media::sdp::{Description, Direction, Session as Sdp};
use ringfork_sip::build::{RequestBuilder, ResponseBuilder};
use ringfork_sip::flow::Flow;
use ringfork_sip::header::{HeaderName, Refresher};
use ringfork_sip::message::{Message, Method};
use ringfork_sip::transaction::{ClientKey, Due, Retransmission, Timers as TransactionTimers};

use super::adrift::Home;
use super::info::{Digits, Pressed};
use super::invite::{self, Abandoned, Authorization};
use super::leg::Credentials;
use super::session_timer::{self, Agreed, Asked, Side};
use super::{ALLOW, SUPPORTED};
use crate::action::Ports;
use crate::agent::core::{Core, Media, Owner, Party, Request, Timer};
use crate::agent::hop::{Deferred, Route};
use crate::agent::slab::Key;
use crate::agent::timers::TimerId;
use ringfork_sip::dialog::{Dialog, Initiated};

/// `application/sdp`.
pub const SDP: &str = "application/sdp";

/// Why we sent a re-INVITE or UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The other party's offer (or its wish for one) passed on: the answer goes back to it.
    Passed,
    /// Session refresh.
    Refresh,
    /// To bring this dialog to what the other party has.
    Align,
}

/// A request of ours within the dialog that has no final response yet.
#[derive(Debug)]
pub struct Outgoing {
    /// Names it in [`Owner::Dialog`].
    pub serial: u64,
    /// INVITE or UPDATE.
    pub method: Method,
    /// Its CSeq.
    pub cseq: u32,
    /// Why.
    pub purpose: Purpose,
    /// It carries an offer of ours.
    pub offered: bool,
    /// Its body, for the same again with credentials.
    pub body: Option<Bytes>,
    /// Nobody waits for the answer any more (the other party cancelled).
    pub cancelled: bool,
    /// It is cancelled when it takes too long.
    pub guard: Option<TimerId>,
}

/// A re-INVITE or UPDATE of the party that waits for the other party's answer.
#[derive(Debug)]
pub struct Incoming {
    /// The request.
    pub request: Request,
    /// Its offer; `None`: it asks for one.
    pub offer: Option<Description>,
}

/// A 2xx of ours that waits for its ACK.
#[derive(Debug)]
pub struct Unacked {
    /// CSeq of the INVITE.
    pub cseq: u32,
    response: Bytes,
    flow: Flow,
    series: Retransmission,
    timer: Option<TimerId>,
    /// The 2xx carries an offer: the answer comes in the ACK.
    pub offered: bool,
}

/// A 2xx of the party to an offerless re-INVITE: its ACK waits for the other party's answer.
#[derive(Debug)]
pub struct OwedAck {
    /// CSeq of the INVITE.
    pub cseq: u32,
    /// The offer in the 2xx.
    pub offer: Description,
    /// The INVITE's transaction, whose repeated 2xx get this ACK again.
    pub key: ClientKey,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Up, or coming up.
    Live,
    /// To be ended once the ACK of our 2xx is there (RFC 3261 §15).
    Ending,
    /// Our BYE is under way.
    Leaving,
    /// Nothing is left of it.
    Gone,
}

/// One party's dialog.
#[derive(Debug)]
pub struct Session {
    pub key: Key,
    pub party: Party,
    pub dialog: Dialog,
    /// Over what a client is reached; what the dialog of any other party began on.
    pub flow: Flow,
    /// Where a client is registered, if it came over a stream.
    pub home: Home,
    /// Its stream has ended: when it is given up.
    pub adrift: Option<TimerId>,
    pub route: Route,
    pub authorization: Authorization,
    /// For a trunk or `<Sip>` that asks.
    pub credentials: Option<Box<Credentials>>,
    pub media: Option<Media>,
    pub sdp: Sdp,
    /// The host that its session description names, and its address.
    pub named: Option<Box<(String, IpAddr)>>,
    /// The party takes UPDATE (its Allow says so).
    pub update: bool,
    /// The party takes INFO: its Allow does not say otherwise.
    pub info: bool,
    pub outgoing: Option<Outgoing>,
    pub incoming: Option<Incoming>,
    pub unacked: Option<Unacked>,
    pub owed_ack: Option<OwedAck>,
    pub agreed: Option<Agreed>,
    pub phase: Phase,
    /// When an unrefreshed session of ours is over.
    end: Option<Instant>,
    timer: Option<TimerId>,
    pub glare: Option<TimerId>,
    /// Tries left to align this dialog with the other party's.
    pub aligning: u8,
    /// The BYE under way.
    leaving: Option<u64>,
    /// A request was repeated with credentials already; reset by a success.
    pub proved: bool,
    /// Digits on their way to the party by INFO.
    pub digits: Digits,
    /// Keys that the party has pressed.
    pub pressed: Pressed,
}

impl Session {
    /// A session in a dialog.
    pub fn new(key: Key, party: Party, dialog: Dialog, flow: Flow, route: Route, sdp: Sdp) -> Session {
        Session {
            key,
            party,
            dialog,
            flow,
            home: None,
            adrift: None,
            route,
            authorization: None,
            credentials: None,
            media: None,
            sdp,
            named: None,
            update: false,
            info: true,
            outgoing: None,
            incoming: None,
            unacked: None,
            owed_ack: None,
            agreed: None,
            phase: Phase::Live,
            end: None,
            timer: None,
            glare: None,
            aligning: 3,
            leaving: None,
            proved: false,
            digits: Digits::default(),
            pressed: Pressed::default(),
        }
    }

    /// Whether no exchange is under way: nothing of ours, nothing of theirs, nothing unacknowledged.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Live
            && self.outgoing.is_none()
            && self.incoming.is_none()
            && self.unacked.is_none()
            && self.owed_ack.is_none()
    }

    /// How further 2xx of its INVITE with this CSeq are cleaned up.
    pub fn stray(&self, cseq: u32) -> Abandoned {
        Abandoned {
            route: self.route,
            flow: self.flow,
            ours: Initiated {
                call_id: self.dialog.call_id.clone(),
                local: self.dialog.local.clone(),
                local_tag: self.dialog.local_tag.clone(),
                cseq,
                target: self.dialog.target.clone(),
            },
            ended: Vec::new(),
            cseq: self.dialog.local_cseq,
            authorization: self.authorization.clone(),
            credentials: self.credentials.clone(),
        }
    }

    /// New credentials for a request of ours where the peer asked for some before; the ACK repeats an INVITE's.
    pub(super) fn authorize<P: Ports>(&mut self, core: &mut Core<P>, method: &Method) {
        let random = core.random_u64();
        if let Some(credentials) = &mut self.credentials {
            self.authorization = credentials.again(method.as_str(), &self.dialog.target, random);
        }
    }

    /// Notes what a message of the party says of itself: UPDATE and INFO in Allow.
    pub fn learn(&mut self, message: &Message) {
        if message.has(HeaderName::Allow) {
            self.update = message.has_token(HeaderName::Allow, "UPDATE");
            self.info = message.has_token(HeaderName::Allow, "INFO");
        }
    }

    /// Sends a re-INVITE or UPDATE of ours.
    pub fn send<P: Ports>(&mut self, core: &mut Core<P>, method: Method, purpose: Purpose, body: Option<Bytes>) {
        self.authorize(core, &method);
        self.write(core, method, purpose, body);
    }

    fn write<P: Ports>(&mut self, core: &mut Core<P>, method: Method, purpose: Purpose, body: Option<Bytes>) {
        if self.adrift.is_some() {
            self.come_back(core);
        }
        let cseq = self.dialog.next_cseq();
        let serial = core.serial();
        let mut builder = self
            .dialog
            .request(method.clone(), cseq)
            .header(HeaderName::Contact, core.contact(self.flow))
            .header(HeaderName::Allow, ALLOW)
            .header(HeaderName::Supported, SUPPORTED)
            .header(HeaderName::UserAgent, &core.config.server);
        builder = self.add_session_timer(builder);
        if let Some((name, value)) = &self.authorization {
            builder.push(*name, value);
        }
        let request = match &body {
            Some(body) => builder.body(SDP, body.clone()).build(),
            None => builder.build(),
        };
        let owner = Owner::Dialog { call: self.key, party: self.party, serial };
        let offered = body.is_some();
        let mut guard = None;
        if method == Method::Invite {
            core.set(&mut guard, REINVITE, Timer::Outgoing(self.key, self.party));
        }
        self.outgoing = Some(Outgoing { serial, method, cseq, purpose, offered, body, cancelled: false, guard });
        let deferred = Deferred { flow: self.flow, request, owner: Some(owner), ack: false };
        core.send_routed(self.route, self.dialog.next_hop(), deferred);
    }

    /// Session-Expires of a request of ours: the roles stay (RFC 4028 §7.4).
    fn add_session_timer(&self, builder: RequestBuilder) -> RequestBuilder {
        let Some(agreed) = self.agreed else { return builder };
        let refresher = if agreed.ours { "uac" } else { "uas" };
        builder
            .header_display(HeaderName::SessionExpires, format_args!("{};refresher={refresher}", agreed.interval))
            .header_display(HeaderName::MinSe, session_timer::MIN_SE)
    }

    /// Sends the ACK of a 2xx to a re-INVITE of ours; returns it without its Via.
    pub fn send_ack<P: Ports>(&mut self, core: &mut Core<P>, cseq: u32, answer: Option<Bytes>) -> Bytes {
        let request = invite::ack(&self.dialog, cseq, &self.authorization, answer);
        let deferred = Deferred { flow: self.flow, request: request.clone(), owner: None, ack: true };
        core.send_routed(self.route, self.dialog.next_hop(), deferred);
        request
    }

    /// The beginning of a 2xx to INVITE or UPDATE of the party, session timer included.
    pub fn success<P: Ports>(&mut self, core: &Core<P>, request: &Request) -> ResponseBuilder {
        let mut builder = core
            .response(request, 200, Some(&self.dialog.local_tag))
            .record_route(&request.message)
            .header(HeaderName::Contact, core.contact(self.flow))
            .header(HeaderName::Allow, ALLOW)
            .header(HeaderName::Supported, SUPPORTED);
        // What is too small was refused before. A 2xx without Session-Expires turns a session timer off (RFC 4028 §7.2).
        self.agreed = None;
        if let Ok(Some((interval, side))) = session_timer::answer(asked(&request.message)) {
            self.agreed = Some(Agreed { interval, ours: side == Side::Uas });
            let refresher = if side == Side::Uas { "uas" } else { "uac" };
            builder =
                builder.header_display(HeaderName::SessionExpires, format_args!("{interval};refresher={refresher}"));
            if side == Side::Uac {
                builder = builder.header(HeaderName::Require, "timer");
            }
        }
        builder
    }

    /// Sends a 2xx to an INVITE and keeps it until its ACK (RFC 3261 §13.3.1.4).
    pub fn send_success<P: Ports>(&mut self, core: &mut Core<P>, request: &Request, response: Bytes, offered: bool) {
        core.invites.remove(&request.key);
        core.respond(request, response.clone());
        let series = Retransmission::of_success(core.now.instant, &TransactionTimers::default());
        let mut timer = None;
        core.set_at(&mut timer, series.deadline(), Timer::Unacked(self.key, self.party));
        let cseq = request.message.cseq().map_or(0, |cseq| cseq.number);
        if let Some(mut old) = self.unacked.take() {
            core.timers.clear(&mut old.timer);
        }
        self.unacked = Some(Unacked { cseq, response, flow: request.flow, series, timer, offered });
        self.restart_timer(core);
    }

    /// The 2xx is due again. False: its ACK never came.
    pub fn repeat_success<P: Ports>(&mut self, core: &mut Core<P>) -> bool {
        let Some(unacked) = &mut self.unacked else { return true };
        match unacked.series.poll(core.now.instant) {
            Due::GiveUp => return false,
            Due::Send => {
                core.txns.send_stateless(unacked.flow, unacked.response.clone());
                core.flush();
            }
            Due::Nothing => {}
        }
        let deadline = unacked.series.deadline();
        core.timers.reset(&mut unacked.timer, deadline, Timer::Unacked(self.key, self.party));
        true
    }

    /// The ACK of this CSeq came. `None`: it is not awaited. `Some(true)`: it must carry the answer.
    pub fn acked<P: Ports>(&mut self, core: &mut Core<P>, cseq: u32) -> Option<bool> {
        let mut unacked = self.unacked.take_if(|unacked| unacked.cseq == cseq)?;
        core.timers.clear(&mut unacked.timer);
        Some(unacked.offered)
    }

    /// Notes what a 2xx of the party to a request of ours says of session timers: without Session-Expires the session
    /// has none, or no longer (RFC 4028 §7.2).
    pub fn agree_timer(&mut self, response: &Message) {
        self.agreed = response.session_expires().map(|expires| {
            let interval = expires.interval.max(session_timer::MIN_SE);
            Agreed { interval, ours: expires.refresher != Some(Refresher::Uas) }
        });
    }

    /// Starts the session timer anew, or stops it: after each 2xx to INVITE or UPDATE (RFC 4028 §7.2, §9).
    pub fn restart_timer<P: Ports>(&mut self, core: &mut Core<P>) {
        let Some(agreed) = self.agreed else {
            self.end = None;
            return core.timers.clear(&mut self.timer);
        };
        self.end = Some(core.now.instant + agreed.end());
        core.set(&mut self.timer, agreed.due(), Timer::Session(self.key, self.party));
    }

    /// The session timer fired. False: the session expired and ends (RFC 4028 §10).
    pub fn on_timer<P: Ports>(&mut self, core: &mut Core<P>) -> bool {
        self.timer = None;
        if self.phase != Phase::Live {
            return true;
        }
        let ours = self.agreed.is_some_and(|agreed| agreed.ours);
        if !ours || self.end.is_some_and(|end| core.now.instant >= end) {
            return false;
        }
        self.refresh(core);
        true
    }

    /// Sends a refresh. While an exchange is under way it waits: a success is one itself, a refusal is none.
    pub fn refresh<P: Ports>(&mut self, core: &mut Core<P>) {
        let Some(end) = self.end.filter(|_| self.phase == Phase::Live) else { return };
        let ready = self.is_idle() && self.glare.is_none();
        let next = if ready { end } else { end.min(core.now.instant + BUSY) };
        core.set_at(&mut self.timer, next, Timer::Session(self.key, self.party));
        if !ready {
            return;
        }
        if self.update {
            self.send(core, Method::Update, Purpose::Refresh, None);
        } else if let Some(terms) = self.sdp.local_terms() {
            let body = self.sdp.make_offer(&terms);
            self.send(core, Method::Invite, Purpose::Refresh, Some(body));
        }
    }

    /// Sets the wait of RFC 3261 §14.1 after a 491. We made the Call-ID of legs, not of callers.
    pub fn wait_for_glare<P: Ports>(&mut self, core: &mut Core<P>) {
        let wait = match self.party {
            Party::Leg(_) => core.random_ms(210..=400),
            Party::Caller => core.random_ms(0..=200),
        };
        core.set(&mut self.glare, wait * 10, Timer::Glare(self.key, self.party));
    }

    /// Ends the dialog from our side: BYE, now or at the ACK of our 2xx. The media are released at once.
    pub fn hang_up<P: Ports>(&mut self, core: &mut Core<P>) {
        self.quiet(core);
        if self.phase != Phase::Live && self.phase != Phase::Ending {
            return;
        }
        // RFC 3261 §15: the callee must not send BYE before the ACK, or the timeout of its 2xx.
        if self.unacked.is_some() {
            self.phase = Phase::Ending;
            return;
        }
        self.leave(core);
    }

    /// Sends the BYE.
    pub fn leave<P: Ports>(&mut self, core: &mut Core<P>) {
        if let Some(mut unacked) = self.unacked.take() {
            core.timers.clear(&mut unacked.timer);
        }
        // A party without a flow gets no BYE, unless it has come back in the meantime.
        if self.adrift.is_some() && !self.come_back(core) {
            return self.gone(core);
        }
        self.settle_ack(core);
        self.authorize(core, &Method::Bye);
        let request = invite::bye(&mut self.dialog, &self.authorization, &core.config.server);
        let serial = core.serial();
        self.leaving = Some(serial);
        self.phase = Phase::Leaving;
        let owner = Owner::Dialog { call: self.key, party: self.party, serial };
        let deferred = Deferred { flow: self.flow, request, owner: Some(owner), ack: false };
        core.send_routed(self.route, self.dialog.next_hop(), deferred);
    }

    /// The ACK of our 2xx never came: BYE all the same.
    pub fn give_up_ack<P: Ports>(&mut self, core: &mut Core<P>) {
        self.unacked = None;
        if self.phase == Phase::Live {
            self.hang_up(core);
        } else if self.phase == Phase::Ending {
            self.leave(core);
        }
    }

    /// The BYE was challenged: once more with credentials. False: there are none that could help.
    pub fn leave_again<P: Ports>(&mut self, core: &mut Core<P>, response: &Message) -> bool {
        if !self.prove(core, "BYE", response) {
            return false;
        }
        let request = invite::bye(&mut self.dialog, &self.authorization, &core.config.server);
        let serial = core.serial();
        self.leaving = Some(serial);
        let owner = Owner::Dialog { call: self.key, party: self.party, serial };
        let deferred = Deferred { flow: self.flow, request, owner: Some(owner), ack: false };
        core.send_routed(self.route, self.dialog.next_hop(), deferred);
        true
    }

    /// A request within the dialog was challenged: once more with credentials.
    pub fn send_again<P: Ports>(&mut self, core: &mut Core<P>, ours: &Outgoing, response: &Message) -> bool {
        if !self.prove(core, ours.method.as_str(), response) {
            return false;
        }
        self.write(core, ours.method.clone(), ours.purpose, ours.body.clone());
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.cancelled = ours.cancelled;
        }
        true
    }

    pub(super) fn prove<P: Ports>(&mut self, core: &mut Core<P>, method: &str, response: &Message) -> bool {
        let random = core.random_u64();
        let Some(credentials) = self.credentials.as_mut().filter(|_| !self.proved) else { return false };
        self.authorization = credentials.answer(response, method, &self.dialog.target, random);
        self.proved = self.authorization.is_some();
        self.proved
    }

    /// RFC 4028 §7.4: 422 to a refresh; the interval is raised. False: it cannot be.
    pub fn raise_interval(&mut self, response: &Message) -> bool {
        let Some(wanted) = response.min_se() else { return false };
        match &mut self.agreed {
            Some(agreed) if wanted > agreed.interval && wanted <= 86_400 => {
                agreed.interval = wanted;
                true
            }
            _ => false,
        }
    }

    /// Whether our refresh is due and was not done.
    pub fn is_refresh_due<P: Ports>(&self, core: &Core<P>) -> bool {
        let (Some(agreed), Some(end)) = (self.agreed, self.end) else { return false };
        agreed.ours && core.now.instant + agreed.end() >= end + agreed.due()
    }

    /// Sends the ACK that waits for an answer of the other party, which will not come: every 2xx is ACKed (RFC 3261
    /// §13.2.2.4).
    pub fn settle_ack<P: Ports>(&mut self, core: &mut Core<P>) {
        if let Some(owed) = self.owed_ack.take() {
            let answer = self.sdp.answer_ourselves(&owed.offer, Direction::Inactive).ok();
            let ack = self.send_ack(core, owed.cseq, answer);
            core.keep_ack(owed.key, ack);
        }
    }

    /// Whether this is the BYE under way.
    pub fn is_leaving(&self, serial: u64) -> bool {
        self.leaving == Some(serial)
    }

    /// The party ended it, or nothing more can be done about it.
    pub fn gone<P: Ports>(&mut self, core: &mut Core<P>) {
        self.quiet(core);
        if let Some(mut unacked) = self.unacked.take() {
            core.timers.clear(&mut unacked.timer);
        }
        self.phase = Phase::Gone;
        self.unwatch_flow(core);
        core.drop_tag(&self.dialog.local_tag);
    }

    /// Gives our re-INVITE up that has no final response: without CANCEL it could stay so for ever (RFC 3261 §9.1).
    pub fn cancel_outgoing<P: Ports>(&mut self, core: &mut Core<P>) {
        let Some(outgoing) = self.outgoing.as_mut().filter(|outgoing| outgoing.method == Method::Invite) else {
            return;
        };
        core.timers.clear(&mut outgoing.guard);
        let serial = outgoing.serial;
        core.cancel_dialog_request(serial);
    }

    /// Stops what runs for a session that is over: media, timers, and the party's own request (RFC 3261 §15.1.2: 487).
    fn quiet<P: Ports>(&mut self, core: &mut Core<P>) {
        core.close_media(&mut self.media);
        self.digits.drop_waiting();
        self.cancel_outgoing(core);
        core.timers.clear(&mut self.timer);
        core.timers.clear(&mut self.glare);
        if let Some(incoming) = self.incoming.take() {
            core.invites.remove(&incoming.request.key);
            core.refuse(&incoming.request, 487);
        }
    }
}

/// What a request says about session timers.
pub fn asked(request: &Message) -> Asked {
    Asked {
        interval: request.session_expires().map(|expires| {
            let side = expires.refresher.map(|refresher| match refresher {
                Refresher::Uac => Side::Uac,
                Refresher::Uas => Side::Uas,
            });
            (expires.interval, side)
        }),
        min_se: request.min_se(),
        supported: request.has_token(HeaderName::Supported, "timer") || request.has_token(HeaderName::Require, "timer"),
    }
}

/// 0 to 10 seconds, for a Retry-After after glare (RFC 3261 §14.2).
pub fn retry_after<P: Ports>(core: &mut Core<P>) -> u32 {
    core.random_ms(0..=10).as_millis() as u32
}

/// How long a re-INVITE of ours may go without a final response.
const REINVITE: Duration = Duration::from_secs(60);

/// How long a refresh waits for an exchange before it looks again.
const BUSY: Duration = Duration::from_secs(2);

/// One minute between repeated 180s (RFC 3261 §13.3.1.1).
pub const RING_AGAIN: Duration = Duration::from_secs(60);
