//! Registrations: the registrar's rules wired to the store, to flows and to time (DESIGN "SIP choices").

use std::time::Duration;

use ringfork_sip::build::RequestBuilder;
use ringfork_sip::flow::Flow;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::Method;
use ringfork_sip::registrar::{self, BindingRecord, BindingWrite, Change, Due, Limits, Outcome, Refusal, Reply};

use super::Agent;
use super::checks::REGISTER_SUPPORTED;
use super::core::{Owner, Pending, Request, Timer};
use super::keepalive::{SILENCE, Step};
use crate::action::{Action, LogLevel, Ports};
use crate::ua::ALLOW;

/// How long a loaded binding may take to answer OPTIONS (DESIGN "SIP choices": three times in 5 s; the transaction
/// sends it at 0, 0.5, 1.5 and 3.5 s).
const PROBE: Duration = Duration::from_secs(5);

impl<P: Ports> Agent<P> {
    /// An authenticated REGISTER, whose user owns the AOR.
    pub(super) fn register(&mut self, request: Request) {
        let message = &request.message;
        let config = &self.core.config;
        let aor = message.to().and_then(|to| to.uri()).filter(|uri| uri.is_sip());
        let aor = aor.filter(|uri| config.is_own_host(&super::hop::host_text(uri)));
        let Some(aor) = aor.and_then(|uri| uri.user_unescaped()) else { return self.core.refuse(&request, 404) };
        let aor = aor.into_owned();
        self.register_in_turn(&aor, request);
    }

    /// What a REGISTER of this AOR changes.
    pub(super) fn decide(&self, aor: &str, request: &Request) -> Result<Outcome, Refusal> {
        let config = &self.core.config;
        let limits = Limits {
            min_expires: config.min_expires,
            max_expires: config.max_expires,
            default_expires: config.default_expires,
            ..Limits::default()
        };
        let now = self.core.now.unix_ms / 1000;
        registrar::register(&self.core.bindings, &request.message, aor, request.flow, now, &limits)
    }

    pub(super) fn refuse_register(&mut self, request: &Request, refusal: Refusal) {
        let tag = self.core.txns.local_tag(request.key);
        let mut builder = self.core.response(request, refusal.status(), Some(&tag));
        match refusal {
            Refusal::TooBrief { min_expires } => {
                builder = builder.header_display(HeaderName::MinExpires, min_expires);
            }
            Refusal::Full => builder = builder.header_display(HeaderName::RetryAfter, 60),
            _ => {}
        }
        self.core.respond(request, builder.build());
        self.core.count("registrations_refused_total", "");
    }

    /// The bindings are written: the table has them, and the 200 says so. `after_writing`: the AOR, where time has passed since the
    /// decision.
    pub(super) fn registered(
        &mut self,
        request: Request,
        changes: Vec<Change>,
        reply: Reply,
        after_writing: Option<&str>,
    ) {
        for change in changes {
            if let Change::Put { record, .. } = &change {
                self.watch(record.flow);
            }
            self.core.bindings.apply(change);
        }
        // Others may have expired meanwhile.
        let contacts = match after_writing {
            Some(aor) => registrar::contacts(&self.core.bindings, aor, self.core.now.unix_ms / 1000),
            None => reply.contacts,
        };
        let tag = self.core.txns.local_tag(request.key);
        let mut builder = self.core.response(&request, 200, Some(&tag));
        for contact in &contacts {
            builder.push(HeaderName::Contact, contact);
        }
        for path in &reply.path {
            builder.push(HeaderName::Path, path);
        }
        if reply.require_outbound {
            builder.push(HeaderName::Require, "outbound");
        }
        let response = builder.header(HeaderName::Supported, REGISTER_SUPPORTED).build();
        self.core.respond(&request, response);
        self.core.count("registrations_total", "");
        self.arm_bindings();
    }

    /// Takes the bindings over that the store held at start. Those of streams have lost their flow.
    pub(super) fn load(&mut self, bindings: Vec<BindingRecord>) {
        for record in bindings {
            if record.flow.is_reliable() || !self.core.bindings.load(&record) {
                self.forget(record);
                continue;
            }
            self.watch(record.flow);
        }
        self.arm_bindings();
    }

    /// Sets the timer for the next binding that is due.
    fn arm_bindings(&mut self) {
        let Some(due) = self.core.bindings.next_due() else {
            return self.core.timers.clear(&mut self.bindings_due);
        };
        let wait = Duration::from_millis((due * 1000).saturating_sub(self.core.now.unix_ms));
        let at = self.core.now.instant + wait;
        if self.bindings_due.is_none_or(|timer| timer.at() != at) {
            self.core.set_at(&mut self.bindings_due, at, Timer::Bindings);
        }
    }

    /// Bindings have expired, or are to be asked after.
    pub(super) fn bindings_are_due(&mut self) {
        let now = self.core.now.unix_ms / 1000;
        while let Some(due) = self.core.bindings.pop_due(now) {
            match due {
                Due::Expired(record) => self.forget(*record),
                Due::Ask { aor, key } => self.probe(aor, key),
            }
        }
        self.bindings_due = None;
        self.arm_bindings();
    }

    /// A binding is gone from the table: the store forgets it too.
    fn forget(&mut self, record: BindingRecord) {
        if self.is_being_written(&record.aor, &record.key) {
            return;
        }
        let token = self.core.token(Pending::Unawaited);
        let bindings = vec![BindingWrite::Delete { aor: record.aor, key: record.key }];
        self.core.actions.push_back(Action::WriteBindings { token, bindings });
    }

    /// The client is deleted: so are its bindings.
    pub(super) fn end_bindings_of(&mut self, login: &str) {
        self.refuse_registers_of(login);
        for record in self.core.bindings.remove_aor(login) {
            self.forget(record);
        }
    }

    /// The flow is gone, and its bindings with it (RFC 5626 §5.3).
    pub(super) fn end_flow(&mut self, flow: &Flow) {
        self.keepalive.forget(flow);
        for record in self.core.bindings.remove_flow(flow) {
            self.core.log(LogLevel::Info, None, format!("{} is gone: its flow ended", record.aor));
            self.forget(record);
        }
    }

    // ---- is anybody there? ----

    fn watch(&mut self, flow: Flow) {
        if self.keepalive.watch(self.core.now.instant, flow) {
            self.core.timers.set(self.core.now.instant + SILENCE, Timer::KeepAlive(flow));
        }
    }

    /// A registered flow may be silent.
    pub(super) fn keepalive_due(&mut self, flow: Flow) {
        if self.core.bindings.of_flow(&flow).next().is_none() {
            return self.keepalive.forget(&flow);
        }
        let step = self.keepalive.due(self.core.now.instant, &flow);
        self.keepalive_step(flow, step);
    }

    /// An OPTIONS over a flow was answered, or not.
    pub(super) fn keepalive_answered(&mut self, flow: Flow, answered: bool) {
        let step = self.keepalive.asked(self.core.now.instant, &flow, answered);
        self.keepalive_step(flow, step);
    }

    fn keepalive_step(&mut self, flow: Flow, step: Step) {
        match step {
            Step::Forget => {}
            Step::Wait(at) => {
                self.core.timers.set(at, Timer::KeepAlive(flow));
            }
            Step::Ask => {
                let contact = self.core.bindings.of_flow(&flow).next().map(|binding| binding.contact().to_owned());
                let Some(contact) = contact else { return self.keepalive.forget(&flow) };
                if !self.send_options(flow, &contact, Owner::KeepAlive(flow)) {
                    let step = self.keepalive.unsent(self.core.now.instant, &flow);
                    self.keepalive_step(flow, step);
                }
            }
            Step::End => self.end_flow(&flow),
        }
    }

    /// Asks a loaded binding whether its device is there.
    fn probe(&mut self, aor: String, key: String) {
        let Some(binding) = self.core.bindings.get(&aor, &key) else { return };
        let (flow, contact) = (binding.flow(), binding.contact().to_owned());
        let owner = Owner::Probe { aor: aor.clone(), key: key.clone() };
        if self.send_options(flow, &contact, owner) {
            let timer = self
                .core
                .timers
                .set(self.core.now.instant + PROBE, Timer::Probe { aor: aor.clone(), key: key.clone() });
            self.probes.insert((aor, key), timer);
        }
    }

    /// A probed binding answered.
    pub(super) fn probe_answered(&mut self, aor: String, key: String) {
        if let Some(timer) = self.probes.remove(&(aor, key)) {
            self.core.timers.cancel(timer);
        }
    }

    /// A probed binding did not answer.
    pub(super) fn probe_failed(&mut self, aor: String, key: String) {
        if self.core.bindings.get(&aor, &key).is_some_and(|binding| binding.is_loaded())
            && let Some(record) = self.core.bindings.remove(&aor, &key)
        {
            self.core.log(LogLevel::Info, None, format!("{aor} did not answer after the restart"));
            self.forget(record);
        }
        self.probes.remove(&(aor, key));
    }

    fn send_options(&mut self, flow: Flow, contact: &str, owner: Owner) -> bool {
        let uri = ringfork_sip::uri::Uri::parse(contact).map(|uri| uri.to_request_uri()).unwrap_or_default();
        if uri.is_empty() {
            return false;
        }
        let own = format!("sip:{}", self.core.config.domain);
        let tag = format!("{:016x}", self.core.random_u64());
        let call_id = self.core.new_call_id();
        let request = RequestBuilder::new(Method::Options, &uri)
            .max_forwards(70)
            .address(HeaderName::From, None, &own, Some(&tag))
            .address(HeaderName::To, None, &uri, None)
            .call_id(&call_id)
            .cseq(1)
            .header(HeaderName::Contact, self.core.contact(flow))
            .header(HeaderName::Allow, ALLOW)
            .header(HeaderName::UserAgent, &self.core.config.server)
            .build();
        self.core.request(flow, &request, Some(owner), None).is_some()
    }
}
