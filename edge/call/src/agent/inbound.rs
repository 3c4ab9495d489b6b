//! Requests outside dialogs: who sent them, and, for an INVITE, whom it reaches (RCML.md part 2, DESIGN "SIP choices").

use std::sync::Arc;

use ringfork_media::sdp::Description;
use ringfork_sip::digest::{Secrets, Verdict};
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use super::Agent;
use super::checks::{self, ALL_SUPPORTED, REGISTER_SUPPORTED};
use super::core::{Party, Pending, Request, Timer};
use super::hop::Route;
use super::slab::Key;
use crate::action::{Action, ClientEntry, LogLevel, NumberEntry, Ports, StoreError, Token};
use crate::control;
use crate::control::{CallerInfo, Reaches};
use crate::ua::exchange::refuse_offer;
use crate::ua::session::Session;
use crate::ua::{ALLOW, Call, Caller, Early, Ringing, SUPPORTED};
use ringfork_sip::dialog::Dialog;

/// Whom the CANCEL of an INVITE without final response concerns.
#[derive(Debug, Clone, Copy)]
pub enum Invited {
    /// Something is still being looked up.
    Waiting(Token),
    /// The caller of a call.
    Call(Key),
    /// A re-INVITE that was passed on.
    Again { call: Key, party: Party },
}

/// A request that waits for the directory.
#[derive(Debug)]
pub struct Waiting {
    pub request: Request,
    /// The client that it authenticated as.
    pub client: Option<Arc<ClientEntry>>,
    step: Step,
    /// 100 was sent.
    tried: bool,
}

/// What is being looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The user of the credentials.
    Credentials,
    /// The Request-URI's user as a number.
    Number,
    /// The To header's user as a number.
    ToNumber,
    /// The Request-URI's user as a client.
    Client,
}

/// What the directory said: an entry or none.
type Found<V> = Result<Option<Arc<V>>, StoreError>;

impl<P: Ports> Agent<P> {
    /// A request from the transaction layer.
    pub(super) fn on_request(&mut self, request: Request) {
        if let Err(refusal) = checks::check(&request.message) {
            let tag = self.core.txns.local_tag(request.key);
            let builder = self.core.response(&request, refusal.status(), Some(&tag));
            let response = refusal.explain(&request.message, builder).build();
            return self.core.respond(&request, response);
        }
        if let Some(tag) = request.message.to_tag() {
            let found = u64::from_str_radix(tag, 16).ok().and_then(|tag| self.core.dialogs.get(&tag)).copied();
            return match found {
                Some((key, party)) => {
                    if let Some(call) = self.calls.get_mut(key) {
                        call.on_request(&mut self.core, party, request);
                    }
                    self.pump(key);
                }
                None => self.core.refuse(&request, 481),
            };
        }
        match request.message.method() {
            Some(Method::Invite) => self.on_invite(request),
            Some(Method::Register) => self.authenticate(Waiting::new(request)),
            Some(Method::Options) => {
                let tag = self.core.txns.local_tag(request.key);
                let response = self
                    .core
                    .response(&request, 200, Some(&tag))
                    .header(HeaderName::Allow, ALLOW)
                    .header(HeaderName::Supported, ALL_SUPPORTED)
                    .header(HeaderName::Accept, "application/sdp")
                    .build();
                self.core.respond(&request, response);
            }
            _ => self.core.refuse(&request, 481),
        }
    }

    fn on_invite(&mut self, request: Request) {
        if self.draining || !self.lease || self.is_full() {
            let why = if self.draining { "draining" } else { "full" };
            self.core.count("calls_refused_total", why);
            return self.core.refuse_for_now(&request, 503, 5);
        }
        // RFC 2543 did not ask for a Contact: such a caller is asked who it is, and refused when its call is placed.
        let is_current = request.message.top_via().is_some_and(|via| via.has_rfc3261_branch());
        if is_current && request.message.contact().is_none() {
            return self.core.refuse(&request, 400);
        }
        let waiting = Waiting::new(request);
        if self.core.config.is_peer(waiting.request.source.remote().ip()) {
            return self.find_target(waiting);
        }
        self.authenticate(waiting);
    }

    fn is_full(&self) -> bool {
        let caps = &self.core.config.caps;
        self.calls.up() >= caps.calls || self.calls.finishing() >= caps.finishing
    }

    /// Finds out whose credentials a request carries.
    pub(super) fn authenticate(&mut self, waiting: Waiting) {
        let Some(login) = self.login_of(&waiting.request.message) else { return self.challenge(waiting, false) };
        match self.clients.get(self.core.now.instant, &login) {
            Some(entry) => self.judge(waiting, Some(entry)),
            None => self.ask_client(waiting, login),
        }
    }

    fn login_of(&self, message: &Message) -> Option<String> {
        let values = authorizations(message);
        let credentials = self.digest.select(values.iter().map(String::as_str))?;
        Some(credentials.username().into_owned())
    }

    fn ask_client(&mut self, waiting: Waiting, login: String) {
        let token = self.wait(waiting, Pending::Request);
        self.core.actions.push_back(Action::LookupClient { token, login });
    }

    fn ask_number(&mut self, waiting: Waiting, number: String) {
        let asked = number.clone();
        let token = self.wait(waiting, |waiting| Pending::Number(waiting, asked));
        self.core.actions.push_back(Action::LookupNumber { token, number });
    }

    /// Keeps a request until the directory has answered; an INVITE gets its 100 now.
    fn wait(&mut self, mut waiting: Waiting, pending: impl FnOnce(Box<Waiting>) -> Pending) -> Token {
        let invite = waiting.request.message.is_method(&Method::Invite).then_some(waiting.request.key);
        if invite.is_some() {
            self.try_once(&mut waiting);
        }
        let token = self.core.token(pending(Box::new(waiting)));
        if let Some(key) = invite {
            self.core.invites.insert(key, Invited::Waiting(token));
        }
        token
    }

    fn try_once(&mut self, waiting: &mut Waiting) {
        if !waiting.tried {
            waiting.tried = true;
            let response = self
                .core
                .response(&waiting.request, 100, None)
                .copy(&waiting.request.message, HeaderName::Timestamp)
                .build();
            self.core.respond(&waiting.request, response);
        }
    }

    /// The directory's answer about a client.
    pub(super) fn client_found(&mut self, waiting: Waiting, found: Found<ClientEntry>) {
        let Ok(found) = found else { return self.store_failed(&waiting.request) };
        match waiting.step {
            Step::Credentials => self.judge(waiting, found),
            _ => self.client_target(waiting, found),
        }
    }

    /// The directory's answer about a number.
    pub(super) fn number_found(&mut self, waiting: Waiting, found: Found<NumberEntry>) {
        let Ok(found) = found else { return self.store_failed(&waiting.request) };
        self.number_target(waiting, found);
    }

    fn store_failed(&mut self, request: &Request) {
        self.core.invites.remove(&request.key);
        let code = if request.message.is_method(&Method::Register) { 500 } else { 503 };
        self.core.refuse_for_now(request, code, 5);
    }

    /// Judges the credentials; unknown users get what wrong passwords get.
    fn judge(&mut self, mut waiting: Waiting, entry: Option<Arc<ClientEntry>>) {
        let message = &waiting.request.message;
        let values = authorizations(message);
        let credentials = self.digest.select(values.iter().map(String::as_str));
        let known = entry.filter(|entry| entry.enabled);
        let secrets = known.as_ref().map(|entry| Secrets { md5: &entry.ha1_md5, sha256: &entry.ha1_sha256 });
        let method = message.method().map_or("", Method::as_str);
        let verdict = self.digest.verify(self.core.now.unix_ms, method, credentials.as_ref(), secrets);
        match verdict {
            Verdict::Valid => {}
            Verdict::Missing => return self.challenge(waiting, false),
            Verdict::Stale => return self.challenge(waiting, true),
            Verdict::Wrong => {
                self.offend(waiting.request.source.remote().ip(), "credentials");
                return self.challenge(waiting, false);
            }
        }
        let owner = if message.is_method(&Method::Register) { message.to() } else { message.from() };
        let owns = owner.and_then(|owner| owner.uri()).is_some_and(|uri| {
            let own = uri.user_unescaped().is_some_and(|user| known.as_ref().is_some_and(|entry| entry.login == user));
            let anonymous = uri.host().to_string().eq_ignore_ascii_case("anonymous.invalid");
            if message.is_method(&Method::Register) {
                // Its host is the registrar's matter (404).
                own
            } else {
                anonymous || own && self.core.config.is_own_host(&super::hop::host_text(&uri))
            }
        });
        if !owns {
            self.core.invites.remove(&waiting.request.key);
            return self.core.refuse(&waiting.request, 403);
        }
        waiting.client = known;
        if waiting.request.message.is_method(&Method::Register) {
            self.register(waiting.request);
        } else {
            self.find_target(waiting);
        }
    }

    /// 401 or 407, without keeping anything of the request.
    fn challenge(&mut self, waiting: Waiting, stale: bool) {
        let request = waiting.request;
        self.core.invites.remove(&request.key);
        let random = self.core.random_u64();
        let (code, name) = if request.message.is_method(&Method::Register) {
            (401, HeaderName::WwwAuthenticate)
        } else {
            (407, HeaderName::ProxyAuthenticate)
        };
        let tag = self.core.txns.local_tag(request.key);
        let mut builder = self.core.response(&request, code, Some(&tag));
        for challenge in self.digest.challenges(self.core.now.unix_ms, random, stale) {
            builder = builder.header(name, challenge);
        }
        let supported = if code == 401 { REGISTER_SUPPORTED } else { SUPPORTED };
        let response = builder.header(HeaderName::Supported, supported).build();
        self.core.respond_stateless(&request, response);
    }

    /// Whom an authenticated INVITE reaches.
    fn find_target(&mut self, mut waiting: Waiting) {
        let Some(called) = self.called(&waiting.request.message) else {
            return self.refuse_invite(&waiting.request, 404);
        };
        if let Some(voice) = waiting.client.as_ref().and_then(|client| client.voice.clone()) {
            return self.place(waiting, called, Reaches::Application(voice));
        }
        waiting.step = Step::Number;
        match self.numbers.get(self.core.now.instant, &called) {
            Some(entry) => self.number_target(waiting, Some(entry)),
            None => self.ask_number(waiting, called),
        }
    }

    fn number_target(&mut self, mut waiting: Waiting, found: Option<Arc<NumberEntry>>) {
        let Some(called) = self.called(&waiting.request.message) else {
            return self.refuse_invite(&waiting.request, 404);
        };
        let named = named(&waiting.request.message);
        if let Some(entry) = found {
            let Some(voice) = entry.voice.clone() else { return self.refuse_invite(&waiting.request, 404) };
            let called = if waiting.step == Step::ToNumber { named.unwrap_or(called) } else { called };
            return self.place(waiting, called, Reaches::Application(voice));
        }
        if waiting.step == Step::Number
            && let Some(named) = named.filter(|named| *named != called)
        {
            waiting.step = Step::ToNumber;
            return match self.numbers.get(self.core.now.instant, &named) {
                Some(entry) => self.number_target(waiting, Some(entry)),
                None => self.ask_number(waiting, named),
            };
        }
        waiting.step = Step::Client;
        match self.clients.get(self.core.now.instant, &called) {
            Some(entry) => self.client_target(waiting, Some(entry)),
            None => self.ask_client(waiting, called),
        }
    }

    fn client_target(&mut self, waiting: Waiting, found: Option<Arc<ClientEntry>>) {
        let Some(called) = self.called(&waiting.request.message) else {
            return self.refuse_invite(&waiting.request, 404);
        };
        match found.filter(|entry| entry.enabled) {
            Some(entry) => {
                let identity = entry.login.clone();
                self.place(waiting, called, Reaches::Client { identity });
            }
            None => self.refuse_invite(&waiting.request, 404),
        }
    }

    /// The Request-URI's user, if its host is ours; where it has none, the To header's.
    fn called(&self, message: &Message) -> Option<String> {
        let uri = message.uri().ok()?;
        if uri.is_sip() && !self.core.config.is_own_host(&super::hop::host_text(&uri)) {
            return None;
        }
        user(uri).or_else(|| named(message))
    }

    fn refuse_invite(&mut self, request: &Request, code: u16) {
        self.core.invites.remove(&request.key);
        self.core.refuse(request, code);
    }

    /// Makes the call.
    fn place(&mut self, mut waiting: Waiting, called: String, reaches: Reaches) {
        self.try_once(&mut waiting);
        let Waiting { request, client, .. } = waiting;
        // Its connection ended while the directory was asked: nobody can be answered.
        if !self.core.is_open(request.flow) {
            self.core.invites.remove(&request.key);
            return;
        }
        let message = &request.message;
        let offer = match message.body().is_empty() {
            true => None,
            false => match Description::parse(message.body()) {
                Ok(offer) => Some(offer),
                Err(error) => return refuse_offer(&mut self.core, &request, error),
            },
        };
        let Some(media) = self.core.open_media() else {
            self.core.count("calls_refused_total", "ports");
            self.core.invites.remove(&request.key);
            return self.core.refuse_for_now(&request, 503, 5);
        };
        let mut media = Some(media);
        let line = format!("Call to {called} from {}", request.source.remote());
        let info = caller_info(message, client.as_deref(), called);
        let control =
            control::Call::new(Arc::clone(&self.control), self.core.now, info, reaches, &mut self.core.random);
        let sid = control.sid();
        let key = self.calls.reserve();
        let tag = self.core.new_tag(key, Party::Caller);
        let Some(dialog) = Dialog::of_uas(message, &tag) else {
            self.core.drop_tag(&tag);
            self.core.close_media(&mut media);
            self.calls.release(key);
            return self.refuse_invite(&request, 400);
        };
        let route = if client.is_some() { Route::Flow } else { Route::Follow };
        let port = media.as_ref().map_or(0, |media| media.port);
        let sdp = self.core.new_sdp(request.flow, port);
        let mut session = Session::new(key, Party::Caller, dialog, request.flow, route, sdp);
        session.media = media;
        if request.flow.is_reliable()
            && let Some(client) = &client
        {
            let mut own = self.core.bindings.of_flow(&request.flow);
            let binding = own.find(|binding| binding.aor() == client.login);
            session.home = binding.map(|binding| Box::new((client.login.clone(), binding.key().to_owned())));
        }
        session.watch_flow(&mut self.core);
        session.learn(message);
        let mut expires = None;
        if let Some(seconds) = message.expires().filter(|seconds| *seconds > 0) {
            self.core.set(&mut expires, std::time::Duration::from_secs(seconds.into()), Timer::CallerExpires(key));
        }
        let ringing = Ringing {
            reliably: message.has_token(HeaderName::Require, "100rel"),
            unpracked: None,
            rseq: 0,
            again: None,
            expires,
            answer: None,
            early: Early::Not,
            cancelled: false,
            request: request.clone(),
        };
        let caller = Caller {
            session,
            ringing: Some(Box::new(ringing)),
            max_forwards: message.max_forwards().unwrap_or(70),
            offer,
        };
        self.core.invites.insert(request.key, Invited::Call(key));
        self.core.count("calls_total", "");
        self.core.log(LogLevel::Info, Some(sid), line);
        self.calls.fill(key, Call::new(key, sid, control, caller));
        self.pump(key);
    }

    /// CANCEL of an INVITE that has no final response yet.
    pub(super) fn on_cancelled(&mut self, key: ringfork_sip::transaction::ServerKey) {
        match self.core.invites.get(&key).copied() {
            Some(Invited::Waiting(token)) => {
                self.core.invites.remove(&key);
                if let Some(Pending::Request(waiting) | Pending::Number(waiting, _)) =
                    self.core.pending.insert(token, Pending::Nobody)
                {
                    self.core.refuse(&waiting.request, 487);
                }
            }
            Some(Invited::Call(call)) => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.caller_gave_up();
                }
                self.pump(call);
            }
            Some(Invited::Again { call, party }) => {
                self.core.invites.remove(&key);
                if let Some(call) = self.calls.get_mut(call) {
                    call.exchange_cancelled(&mut self.core, party);
                }
                self.pump(call);
            }
            None => {}
        }
    }
}

impl Waiting {
    fn new(request: Request) -> Waiting {
        Waiting { request, client: None, step: Step::Credentials, tried: false }
    }
}

/// The values of the header that carries credentials for us.
fn authorizations(message: &Message) -> Vec<String> {
    let name =
        if message.is_method(&Method::Register) { HeaderName::Authorization } else { HeaderName::ProxyAuthorization };
    message.fields_of(name).map(|field| field.text().into_owned()).collect()
}

/// What control needs to know of the caller (RCML.md 3.1).
fn caller_info(message: &Message, client: Option<&ClientEntry>, called: String) -> CallerInfo {
    let asserted = match client {
        None => message.addresses(HeaderName::PAssertedIdentity).next(),
        Some(_) => None,
    };
    let from = message.from();
    let from_uri = from.as_ref().and_then(|from| from.uri());
    let anonymous = from_uri.is_some_and(|uri| uri.host().to_string().eq_ignore_ascii_case("anonymous.invalid"));
    let user = |uri: ringfork_sip::uri::Uri<'_>| uri.user_unescaped().map(|user| user.into_owned());
    let name = |address: &ringfork_sip::header::NameAddr<'_>| {
        Some(address.display_name().into_owned()).filter(|name| !name.is_empty())
    };
    let display_name = asserted.as_ref().and_then(name).or_else(|| from.as_ref().and_then(name));
    CallerInfo {
        login: client.map(|client| client.login.clone()),
        asserted_user: asserted.as_ref().and_then(|address| address.uri()).and_then(user),
        from_user: from_uri
            .filter(|_| !anonymous)
            .and_then(user)
            .filter(|user| !user.eq_ignore_ascii_case("anonymous")),
        display_name,
        private: anonymous || ["id", "user", "header"].iter().any(|value| message.has_privacy(value)),
        called,
        forwarded_from: message
            .addresses(HeaderName::Diversion)
            .next()
            .and_then(|address| address.uri())
            .and_then(user),
        headers: message
            .fields()
            .filter(|field| field.name_raw.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"x-")))
            .filter_map(|field| {
                let name = std::str::from_utf8(field.name_raw).ok()?.to_owned();
                Some((name, field.text().into_owned()))
            })
            .collect(),
    }
}

/// The To header's user. Whatever its host is: a carrier whose trunk registers or has an address writes its own there.
fn named(message: &Message) -> Option<String> {
    user(message.to()?.uri()?)
}

fn user(uri: ringfork_sip::uri::Uri<'_>) -> Option<String> {
    uri.user_unescaped().map(|user| user.into_owned()).filter(|user| !user.is_empty())
}
