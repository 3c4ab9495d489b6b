//! A leg: from its INVITE over provisional responses, challenges and further targets to its answer or refusal.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ringfork_media::sdp::{CallerMedia, Session as Sdp, Terms};
use ringfork_sip::build::{RequestBuilder, address_value};
use ringfork_sip::digest;
use ringfork_sip::flow::Flow;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};
use ringfork_sip::transaction::ClientKey;
use ringfork_sip::uri::{Uri, UriBuf, escape};

use super::invite::{self, Abandoned, AnsweredInvite};
use super::session::{SDP, Session};
use super::session_timer::{INTERVAL, MIN_SE};
use super::{ALLOW, Call, SUPPORTED};
use crate::action::{Action, LogLevel, Ports, RefusedAddress, ResolvedTarget};
use crate::agent::core::{Core, Media, Owner, Party, Pending, Timer};
use crate::agent::hop::{Deferred, Route, Waiter, Way, host_text};
use crate::agent::timers::TimerId;
use crate::control::CallSid;
use crate::control::signals::{CallInput, Invite, LegId, Target};
use ringfork_sip::dialog::{Dialog, Initiated};

/// How long a trunk's target may be silent before the next one is tried (RCML.md part 2, Number).
const NO_RESPONSE: Duration = Duration::from_secs(4);
/// Early dialogs kept of one INVITE; further forks are answered without one.
const MAX_EARLY: usize = 16;
/// `Reason` of the CANCEL when another leg was accepted (RCML.md 1.2).
const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// Whom we called.
#[derive(Debug)]
pub struct Leg {
    pub sid: CallSid,
    pub state: LegState,
}

/// How far a leg is.
#[derive(Debug)]
pub enum LegState {
    /// Waits for addresses or a stream.
    Locating(Box<Outbound>),
    /// Its INVITE is under way.
    Inviting(Box<Outbound>),
    /// It has answered.
    Answered(Box<Session>),
    /// Nothing is left of it.
    Over,
}

/// What the INVITEs of a leg are made from.
pub struct Outbound {
    invite: Box<Invite>,
    media: Option<Media>,
    /// What is offered; the body is made once our address is known.
    terms: Terms,
    sdp: Option<(Sdp, Bytes)>,
    uri: String,
    to: String,
    path: Vec<String>,
    route: Route,
    targets: VecDeque<ResolvedTarget>,
    credentials: Option<Box<Credentials>>,
    max_forwards: u8,
    interval: u32,
    min_se: u32,
    attempt: Option<Attempt>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// Credentials for a trunk or `<Sip>`, and how often its challenges were answered.
#[derive(Clone)]
pub struct Credentials {
    client: digest::Client,
    attempt: digest::Attempt,
    header: HeaderName,
}

impl Credentials {
    /// Answers a 401 or 407: the header to add.
    pub fn answer(&mut self, response: &Message, method: &str, uri: &str, random: u64) -> invite::Authorization {
        let (challenge, header) = match response.status() {
            Some(401) => (HeaderName::WwwAuthenticate, HeaderName::Authorization),
            _ => (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization),
        };
        self.header = header;
        let values: Vec<String> = response.fields_of(challenge).map(|field| field.text().into_owned()).collect();
        let values = values.iter().map(String::as_str);
        self.client.answer(&mut self.attempt, values, method, uri, random).ok().map(|value| (header, value))
    }

    /// Credentials for a further request by the last challenge; challenges of it are answered as those of any request.
    pub fn again(&mut self, method: &str, uri: &str, random: u64) -> invite::Authorization {
        self.attempt = digest::Attempt::default();
        self.prove(method, uri, random)
    }

    /// Credentials by the last challenge for a request beside the one under way: its own challenge is not answered.
    fn prove(&mut self, method: &str, uri: &str, random: u64) -> invite::Authorization {
        self.client.authorize(method, uri, random).map(|value| (self.header, value))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// One INVITE on the way.
#[derive(Debug)]
struct Attempt {
    key: Option<ClientKey>,
    flow: Flow,
    /// What it says of the dialogs that it makes.
    ours: Initiated,
    authorization: invite::Authorization,
    /// Any response came.
    heard: bool,
    silence: Option<TimerId>,
    early: Vec<Early>,
}

/// An early dialog of an INVITE.
#[derive(Debug)]
struct Early {
    tag: String,
    dialog: Dialog,
    rseq: Option<u32>,
    /// Set once a reliable provisional response brought the answer.
    sdp: Option<Sdp>,
}

impl Leg {
    /// Its session, once answered.
    pub fn session(&self) -> Option<&Session> {
        match &self.state {
            LegState::Answered(session) => Some(session),
            _ => None,
        }
    }

    /// Its session, once answered.
    pub fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            LegState::Answered(session) => Some(session),
            _ => None,
        }
    }
}

impl Call {
    /// Sends the INVITE of a leg, or reports it undeliverable.
    pub fn invite_leg<P: Ports>(&mut self, core: &mut Core<P>, invite: Box<Invite>) {
        let leg = invite.leg;
        let index = usize::from(leg.0);
        let sid = invite.sid;
        while self.legs.len() <= index {
            self.legs.push(Leg { sid, state: LegState::Over });
        }
        let outbound = match self.plan(core, invite) {
            Ok(outbound) => outbound,
            Err(reason) => {
                core.log(LogLevel::Warn, Some(sid), reason);
                return self.tell(CallInput::LegUndeliverable { leg });
            }
        };
        core.legs += 1;
        let route = outbound.route;
        let target = outbound.uri.clone();
        let flow = outbound.attempt.as_ref().map(|attempt| attempt.flow);
        if let Some(place) = self.legs.get_mut(index) {
            *place = Leg { sid, state: LegState::Locating(Box::new(outbound)) };
        }
        match flow {
            Some(flow) => self.start(core, leg, flow, None),
            None => self.locate(core, leg, &target, route),
        }
    }

    /// What the INVITE is made from; `Err`: why it cannot be sent.
    fn plan<P: Ports>(&mut self, core: &mut Core<P>, invite: Box<Invite>) -> Result<Outbound, String> {
        if core.legs >= core.config.caps.legs {
            return Err("Too many legs: not rung".to_owned());
        }
        let session = &self.caller.session;
        let media = match &self.caller.offer {
            _ if session.sdp.is_agreed() => CallerMedia::Answered(&session.sdp),
            Some(offer) => CallerMedia::Offered(offer),
            None => CallerMedia::Nothing,
        };
        let terms =
            Terms::for_leg(media, invite.decodable_only).map_err(|error| format!("Nothing to offer: {error}"))?;
        let (uri, to, path, flow, route, credentials) = match &invite.target {
            Target::Binding { aor, key } => {
                let binding = core.bindings.get(aor, key).ok_or("The binding is gone")?;
                let to = own_uri(aor, &core.config.domain);
                let uri = Uri::parse(binding.contact()).map_err(|_| "The contact is no URI")?.to_request_uri();
                let path = binding.path().map(str::to_owned).collect();
                (uri, to, path, Some(binding.flow()), Route::Flow, None)
            }
            Target::Trunk { number } => {
                let trunk = core.config.trunk.as_ref().ok_or("There is no trunk")?;
                let uri = Uri::parse(&trunk.uri).map_err(|_| "The trunk is no URI")?;
                let text = with_user(&uri, number);
                let credentials = trunk.user.clone().zip(trunk.password.clone());
                (text.clone(), text, Vec::new(), None, Route::Follow, credentials)
            }
            Target::Uri { uri, username, password } => {
                let parsed = Uri::parse(uri).map_err(|_| "The address is no URI")?;
                if !parsed.is_sip() {
                    return Err("The address is no SIP URI".to_owned());
                }
                let text = parsed.to_request_uri();
                let credentials = username.clone().zip(password.clone());
                (text.clone(), text, Vec::new(), None, Route::Guarded, credentials)
            }
        };
        let media = core.open_media().ok_or("No port is left for its media")?;
        let credentials = credentials.map(|(user, password)| {
            Box::new(Credentials {
                client: digest::Client::new(user, password),
                attempt: digest::Attempt::default(),
                header: HeaderName::Authorization,
            })
        });
        Ok(Outbound {
            media: Some(media),
            terms,
            sdp: None,
            uri,
            to,
            path,
            route,
            targets: VecDeque::new(),
            credentials,
            max_forwards: self.caller.max_forwards.saturating_sub(1),
            interval: INTERVAL,
            min_se: MIN_SE,
            attempt: flow.map(|flow| Attempt::new(flow, Initiated::default())),
            invite,
        })
    }

    /// Asks for the addresses of a trunk or `<Sip>` (RFC 3263).
    fn locate<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId, target: &str, route: Route) {
        let Ok(uri) = Uri::parse(target) else { return self.undeliverable(core, leg) };
        let tcp = uri.transport().is_some_and(|transport| transport.eq_ignore_ascii_case("tcp"));
        let (host, port) = (host_text(&uri), uri.port());
        let token = core.token(Pending::LegTargets { call: self.key, leg });
        core.actions.push_back(Action::Resolve { token, host, port, tcp, guard: route == Route::Guarded });
    }

    /// The addresses are there, or one of them may not be called.
    pub fn leg_located<P: Ports>(
        &mut self,
        core: &mut Core<P>,
        leg: LegId,
        targets: Result<Vec<ResolvedTarget>, RefusedAddress>,
    ) {
        let Some(Leg { state: LegState::Locating(outbound), .. }) = self.leg_mut(leg) else { return };
        match targets {
            Ok(targets) => {
                outbound.targets = targets.into();
                self.next_target(core, leg);
            }
            Err(RefusedAddress(address)) => {
                if self.end_leg(core, leg) {
                    self.tell(CallInput::LegForbidden { leg, address });
                }
            }
        }
    }

    /// Tries the next target; without one the leg is undeliverable.
    fn next_target<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId) {
        let key = self.key;
        while let Some(outbound) = self.outbound(leg) {
            let Some(target) = outbound.targets.pop_front() else { break };
            match core.way_for_leg(target, Waiter::Leg { call: key, leg }) {
                Way::Known(flow) => return self.start(core, leg, flow, None),
                Way::Opening => return self.wait_for_stream(leg),
                Way::None => {}
            }
        }
        self.undeliverable(core, leg);
    }

    fn wait_for_stream(&mut self, leg: LegId) {
        let Some(place) = self.leg_mut(leg) else { return };
        place.state = match std::mem::replace(&mut place.state, LegState::Over) {
            LegState::Inviting(outbound) | LegState::Locating(outbound) => LegState::Locating(outbound),
            other => other,
        };
    }

    /// The stream that a leg waited for is up, or could not be opened.
    pub fn leg_stream<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId, flow: Option<Flow>) {
        if !matches!(self.leg_mut(leg), Some(Leg { state: LegState::Locating(_), .. })) {
            return;
        }
        match flow {
            Some(flow) => self.start(core, leg, flow, None),
            None => self.next_target(core, leg),
        }
    }

    fn outbound(&mut self, leg: LegId) -> Option<&mut Outbound> {
        match &mut self.leg_mut(leg)?.state {
            LegState::Locating(outbound) | LegState::Inviting(outbound) => Some(outbound),
            _ => None,
        }
    }

    /// Sends an INVITE: the first over this flow, or the same again with what was asked for.
    fn start<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId, flow: Flow, again: Option<invite::Authorization>) {
        let key = self.key;
        let Some(place) = self.leg_mut(leg) else { return };
        let sid = place.sid;
        let (LegState::Locating(mut outbound) | LegState::Inviting(mut outbound)) =
            std::mem::replace(&mut place.state, LegState::Over)
        else {
            return;
        };
        let former = outbound.attempt.take();
        let ours = match (former, &again) {
            (Some(former), Some(_)) => Initiated { cseq: former.ours.cseq + 1, ..former.ours },
            (former, _) => {
                if let Some(mut former) = former {
                    core.timers.clear(&mut former.silence);
                    core.drop_tag(&former.ours.local_tag);
                }
                if let Some(credentials) = &mut outbound.credentials {
                    credentials.attempt = digest::Attempt::default();
                }
                let tag = core.new_tag(key, Party::Leg(leg));
                Initiated {
                    call_id: core.new_call_id(),
                    local: outbound.from(&core.config.domain, &tag),
                    local_tag: tag,
                    cseq: 1,
                    target: outbound.uri.clone(),
                }
            }
        };
        let mut attempt = Attempt::new(flow, ours);
        attempt.authorization = again.flatten();
        let request = outbound.write(core, &attempt);
        attempt.key = core.request(flow, &request, Some(Owner::Leg { call: key, leg }), Some(sid));
        if attempt.key.is_some() && !outbound.targets.is_empty() {
            core.set(&mut attempt.silence, NO_RESPONSE, Timer::NoResponse(key, leg));
        }
        let sent = attempt.key.is_some();
        outbound.attempt = Some(attempt);
        if let Some(place) = self.leg_mut(leg) {
            place.state = LegState::Inviting(outbound);
        }
        if !sent {
            self.undeliverable(core, leg);
        }
    }

    /// The target has not responded at all: the next one. The former's late 2xx is ACKed and ended.
    pub fn leg_silent<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId) {
        let Some(outbound) = self.outbound(leg) else { return };
        if outbound.attempt.as_ref().is_none_or(|attempt| attempt.heard) || outbound.targets.is_empty() {
            return;
        }
        outbound.abandon(core, &[]);
        self.next_target(core, leg);
    }

    /// The INVITE has no place to go.
    pub fn undeliverable<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId) {
        if self.end_leg(core, leg) {
            self.tell(CallInput::LegUndeliverable { leg });
        }
    }

    /// Forgets a leg that has not answered; what its INVITE still brings is cleaned up apart from the call.
    fn end_leg<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId) -> bool {
        let Some(place) = self.leg_mut(leg) else { return false };
        if !matches!(place.state, LegState::Locating(_) | LegState::Inviting(_)) {
            return false;
        }
        if let LegState::Locating(mut outbound) | LegState::Inviting(mut outbound) =
            std::mem::replace(&mut place.state, LegState::Over)
        {
            outbound.close(core);
            core.legs -= 1;
        }
        true
    }

    /// Cancels a leg that has not answered (RFC 3261 §9.1).
    pub fn cancel_leg<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId, elsewhere: bool) {
        if let Some(outbound) = self.outbound(leg) {
            outbound.abandon(core, if elsewhere { &[ELSEWHERE] } else { &[] });
        }
        self.end_leg(core, leg);
    }

    /// BYE to a leg that has answered.
    pub fn bye_leg<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId) {
        if self.bridge == Some(leg) {
            self.unbridge(core);
        }
        self.take_answer_back(leg);
        if let Some(session) = self.session_mut(Party::Leg(leg)) {
            session.hang_up(core);
        }
    }

    /// No final response (Timer B): as a 408 (RFC 3261 §8.1.3.1).
    pub fn leg_timed_out<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId) {
        let more = self.outbound(leg).is_some_and(|outbound| !outbound.targets.is_empty());
        if more {
            return self.next_target(core, leg);
        }
        if self.end_leg(core, leg) {
            self.tell(CallInput::LegRefused { leg, code: 408 });
        }
    }

    /// The flow failed under the INVITE.
    pub fn leg_failed<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId) {
        self.next_target(core, leg);
    }

    /// A response to the INVITE of a leg.
    pub fn on_leg_response<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId, key: ClientKey, response: &Message) {
        let Some(code) = response.status() else { return };
        let Some(outbound) = self.outbound(leg) else { return };
        let Some(attempt) = outbound.attempt.as_mut().filter(|attempt| attempt.key == Some(key)) else { return };
        attempt.heard = true;
        core.timers.clear(&mut attempt.silence);
        match code {
            100 => {}
            101..=199 => {
                if outbound.on_provisional(core, response) {
                    self.tell(CallInput::LegProvisional { leg, code });
                }
            }
            200..=299 => self.on_leg_success(core, leg, key, response),
            _ => self.on_leg_refused(core, leg, code, response),
        }
    }

    fn on_leg_success<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId, key: ClientKey, response: &Message) {
        let call = self.key;
        let Some(place) = self.leg_mut(leg) else { return };
        let LegState::Inviting(mut outbound) = std::mem::replace(&mut place.state, LegState::Over) else { return };
        let Some(attempt) = outbound.attempt.take() else { return };
        core.legs -= 1;
        let tag = response.to_tag().unwrap_or_default();
        let early = attempt.early.into_iter().find(|early| early.tag == tag);
        let mut dialog = Dialog::of_uac(response, &attempt.ours);
        let invite_cseq = attempt.ours.cseq;
        let mut sdp = None;
        if let Some(early) = early {
            dialog.local_cseq = dialog.local_cseq.max(early.dialog.local_cseq);
            sdp = early.sdp;
        }
        let mut usable = sdp.is_some();
        let mut sdp = match (sdp, outbound.sdp.take()) {
            (Some(sdp), _) => sdp,
            (None, Some((sdp, _))) => sdp,
            (None, None) => core.new_sdp(attempt.flow, 0),
        };
        if !usable {
            match sdp.accept_answer(response.body()) {
                Ok(()) => usable = true,
                Err(error) => core.log(LogLevel::Warn, Some(place.sid), format!("The answer is not usable: {error}")),
            }
        }
        let mut session = Box::new(Session::new(call, Party::Leg(leg), dialog, attempt.flow, outbound.route, sdp));
        session.authorization = attempt.authorization;
        session.credentials = outbound.credentials.take();
        session.media = outbound.media.take();
        if attempt.flow.is_reliable()
            && let Target::Binding { aor, key } = &outbound.invite.target
        {
            session.home = Some(Box::new((aor.clone(), key.clone())));
        }
        session.watch_flow(core);
        session.learn(response);
        session.agree_timer(response);
        let ack = session.send_ack(core, invite_cseq, None);
        let answered = AnsweredInvite {
            remote_tag: tag.to_owned(),
            ack: Some(ack),
            next_hop: session.dialog.next_hop().to_owned(),
            stray: session.stray(invite_cseq),
        };
        core.owners.insert(key, Owner::Answered(Box::new(answered)));
        session.restart_timer(core);
        let input = if usable {
            session.show_media(core);
            CallInput::LegAnswered { leg }
        } else {
            session.hang_up(core);
            CallInput::LegUnusable { leg }
        };
        place.state = LegState::Answered(session);
        self.tell(input);
    }

    fn on_leg_refused<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId, code: u16, response: &Message) {
        let Some(outbound) = self.outbound(leg) else { return };
        let Some(attempt) = &outbound.attempt else { return };
        let flow = attempt.flow;
        match code {
            401 | 407 => {
                let random = core.random_u64();
                let uri = outbound.uri.clone();
                let header = outbound
                    .credentials
                    .as_mut()
                    .and_then(|credentials| credentials.answer(response, "INVITE", &uri, random));
                if header.is_some() {
                    return self.start(core, leg, flow, Some(header));
                }
            }
            // RFC 4028 §7.3: again with the interval that is asked for.
            422 => {
                let wanted = response.min_se().unwrap_or_default();
                if wanted > outbound.min_se && wanted <= 86_400 {
                    outbound.min_se = wanted;
                    outbound.interval = outbound.interval.max(wanted);
                    let random = core.random_u64();
                    let uri = &outbound.uri;
                    let authorization =
                        outbound.credentials.as_mut().and_then(|credentials| credentials.again("INVITE", uri, random));
                    return self.start(core, leg, flow, Some(authorization));
                }
            }
            503 if !outbound.targets.is_empty() => return self.next_target(core, leg),
            _ => {}
        }
        if self.end_leg(core, leg) {
            self.tell(CallInput::LegRefused { leg, code });
        }
    }

    /// A request of the callee before its 2xx. False: there is no such early dialog.
    pub fn on_early_request<P: Ports>(
        &mut self,
        core: &mut Core<P>,
        leg: LegId,
        request: &crate::agent::core::Request,
    ) -> bool {
        let Some(outbound) = self.outbound(leg) else { return false };
        let Some(attempt) = &mut outbound.attempt else { return false };
        let message = &request.message;
        let Some(early) = attempt.early.iter_mut().find(|early| early.dialog.is_of(message)) else { return false };
        let Some(cseq) = message.cseq() else { return false };
        if !early.dialog.accept_cseq(cseq.number) {
            core.refuse(request, 500);
            return true;
        }
        match message.method() {
            Some(Method::Update) if message.body().is_empty() => {
                let response = core
                    .response(request, 200, None)
                    .header(HeaderName::Contact, core.contact(attempt.flow))
                    .header(HeaderName::Supported, SUPPORTED)
                    .build();
                core.respond(request, response);
            }
            // RFC 3311 §5.2: an offer while ours is not answered. Also where it is: the dialog has no owner yet.
            Some(Method::Update) => {
                let wait = super::session::retry_after(core);
                core.refuse_for_now(request, 500, wait);
            }
            // RFC 3261 §14.2: ours is in progress.
            Some(Method::Invite) => core.refuse(request, 491),
            Some(Method::Info | Method::Options) => {
                let response = core.response(request, 200, None).header(HeaderName::Allow, ALLOW).build();
                core.respond(request, response);
            }
            _ => return false,
        }
        true
    }
}

impl Attempt {
    fn new(flow: Flow, ours: Initiated) -> Attempt {
        Attempt { key: None, flow, ours, authorization: None, heard: false, silence: None, early: Vec::new() }
    }
}

impl Outbound {
    /// From of its INVITEs.
    fn from(&self, domain: &str, tag: &str) -> Vec<u8> {
        match &self.invite.from_user {
            Some(user) => address_value(self.invite.display_name.as_deref(), &own_uri(user, domain), Some(tag)),
            None => address_value(Some("Anonymous"), "sip:anonymous@anonymous.invalid", Some(tag)),
        }
    }

    /// The INVITE, without Via.
    fn write<P: Ports>(&mut self, core: &mut Core<P>, attempt: &Attempt) -> Bytes {
        let flow = attempt.flow;
        let port = self.media.as_ref().map_or(0, |media| media.port);
        let body = match &self.sdp {
            // Again in the same dialog: the same description (RFC 3261 §22.2).
            Some((_, body)) if attempt.ours.cseq > 1 => body.clone(),
            _ => {
                let mut sdp = core.new_sdp(flow, port);
                let body = sdp.make_offer(&self.terms);
                self.sdp = Some((sdp, body.clone()));
                body
            }
        };
        let invite = &self.invite;
        let domain = &core.config.domain;
        let mut builder = RequestBuilder::new(Method::Invite, &self.uri);
        for path in &self.path {
            builder.push(HeaderName::Route, path);
        }
        builder = builder.max_forwards(self.max_forwards);
        builder = builder
            .header(HeaderName::From, &attempt.ours.local)
            .address(HeaderName::To, None, &self.to, None)
            .call_id(&attempt.ours.call_id)
            .cseq(attempt.ours.cseq)
            .header(HeaderName::Contact, core.contact(flow))
            .header(HeaderName::Allow, ALLOW)
            .header(HeaderName::Supported, SUPPORTED)
            .header_display(HeaderName::SessionExpires, self.interval)
            .header_display(HeaderName::MinSe, self.min_se)
            .header_display(HeaderName::Expires, invite.expires)
            .header(HeaderName::UserAgent, &core.config.server);
        if let Some(asserted) = &invite.asserted {
            let uri = own_uri(asserted, domain);
            builder = builder.address(HeaderName::PAssertedIdentity, None, &uri, None);
            if invite.from_user.is_none() {
                builder.push(HeaderName::Privacy, "id");
            }
        }
        for (name, value) in &invite.headers {
            builder = builder.header_named(name, value);
        }
        if let Some((name, value)) = &attempt.authorization {
            builder.push(*name, value);
        }
        builder.body(SDP, body).build()
    }

    /// A provisional response beyond 100. False: a repeated or misplaced one, which is not reported.
    fn on_provisional<P: Ports>(&mut self, core: &mut Core<P>, response: &Message) -> bool {
        let route = self.route;
        let Some(attempt) = &mut self.attempt else { return false };
        let Some(tag) = response.to_tag() else { return true };
        let index = match attempt.early.iter().position(|early| early.tag == tag) {
            Some(index) => index,
            None if attempt.early.len() >= MAX_EARLY => return true,
            None => {
                let dialog = Dialog::of_uac(response, &attempt.ours);
                attempt.early.push(Early { tag: tag.to_owned(), dialog, rseq: None, sdp: None });
                attempt.early.len() - 1
            }
        };
        let Some(early) = attempt.early.get_mut(index) else { return true };
        let reliable = response.has_token(HeaderName::Require, "100rel");
        let Some(rseq) = response.rseq().filter(|_| reliable) else { return true };
        // RFC 3262 §4: in order, each once.
        if early.rseq.is_some_and(|last| rseq != last.wrapping_add(1)) {
            return false;
        }
        early.rseq = Some(rseq);
        early.dialog.refresh_target(response);
        if early.sdp.is_none()
            && !response.body().is_empty()
            && let Some((sdp, _)) = &self.sdp
        {
            let mut sdp = sdp.clone();
            if sdp.accept_answer(response.body()).is_ok() {
                early.sdp = Some(sdp);
            }
        }
        let cseq = early.dialog.next_cseq();
        let mut builder = early
            .dialog
            .request(Method::Prack, cseq)
            .header_display(HeaderName::RAck, format_args!("{rseq} {} INVITE", attempt.ours.cseq))
            .header(HeaderName::UserAgent, &core.config.server);
        if let Some(credentials) = &mut self.credentials
            && let Some((name, value)) = credentials.prove("PRACK", &early.dialog.target, core.random_u64())
        {
            builder.push(name, value);
        }
        let deferred = Deferred { flow: attempt.flow, request: builder.build(), owner: None, ack: false };
        core.send_routed(route, early.dialog.next_hop(), deferred);
        true
    }

    /// Cancels the INVITE under way, if there is one, and leaves what it still brings to be cleaned up.
    fn abandon<P: Ports>(&mut self, core: &mut Core<P>, reasons: &[&str]) {
        let Some(attempt) = &mut self.attempt else { return };
        let Some(key) = attempt.key.take() else { return };
        core.timers.clear(&mut attempt.silence);
        core.drop_tag(&attempt.ours.local_tag);
        let cseq = attempt.early.iter().map(|early| early.dialog.local_cseq).max().unwrap_or(attempt.ours.cseq);
        let stray = Abandoned {
            route: self.route,
            flow: attempt.flow,
            ours: attempt.ours.clone(),
            ended: Vec::new(),
            cseq,
            authorization: attempt.authorization.clone(),
            credentials: self.credentials.clone(),
        };
        core.owners.insert(key, Owner::Abandoned(Box::new(stray)));
        core.txns.cancel(core.now.instant, key, reasons);
        core.flush();
    }

    /// Releases what the leg holds.
    fn close<P: Ports>(&mut self, core: &mut Core<P>) {
        core.close_media(&mut self.media);
        if let Some(attempt) = &mut self.attempt {
            core.timers.clear(&mut attempt.silence);
            core.drop_tag(&attempt.ours.local_tag);
        }
    }
}

/// `sip:user@domain`, the user given as plain text.
fn own_uri(user: &str, domain: &str) -> String {
    let mut uri = String::with_capacity(user.len() + domain.len() + 5);
    uri.push_str("sip:");
    escape::escape_user(user, &mut uri);
    uri.push('@');
    uri.push_str(domain);
    uri
}

/// A URI with another user.
fn with_user(uri: &Uri<'_>, user: &str) -> String {
    let text = UriBuf::sip(Some(user), &uri.host(), uri.port()).map(|uri| uri.as_str().to_owned()).unwrap_or_default();
    format!("{text}{}", uri.params_text())
}
