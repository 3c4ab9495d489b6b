//! What must hold in every run, checked after each step: the promises of RCML.md 1.2-1.5 and of RFC 3261, as far as
//! they can be seen from outside the core.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use ringfork_call::action::{Action, Input, MediaAction, MediaId, Token};
use ringfork_call::control::{CallSid, CallStatus, Event, EventKind, LegPlan, Write};

use ringfork_rcml::evaluation::{Outcome, Request};
use ringfork_rcml::program::Step;

use crate::text::Text;

/// A fault found: what was promised and what was seen.
pub type Fault = String;

/// One INVITE of ours as it stands on the wire, by its Call-ID.
#[derive(Debug, Default)]
struct WireLeg {
    call: usize,
    branch: String,
    cseq: u32,
    dial: usize,
    noun: String,
    /// Whose INVITE it is; unknown where the store is slow.
    leg: Option<CallSid>,
    provisional_heard: bool,
    final_heard: Option<u16>,
    cancelled: bool,
    successes_heard: u32,
    sent_at: Duration,
    answered_at: Duration,
    acks: u32,
    bye: bool,
    /// It sent an INVITE of its own.
    reinvited: bool,
}

/// What the wire said of a leg, for the status that its end must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// Another INVITE of the same leg: what was said before counts no more.
    Again,
    /// A 2xx, with SDP or without.
    Success(bool),
    /// Any other final response.
    Refusal(u16),
}

/// One leg as its writes and events show it.
#[derive(Debug, Default)]
struct Leg {
    call: usize,
    dial: usize,
    /// Its place in its Dial.
    place: usize,
    plan: Option<LegPlan>,
    events: Vec<(EventKind, String)>,
    ended: Option<CallStatus>,
    /// Call-ID of its newest INVITE.
    wire: Option<String>,
    said: Vec<(u64, Said)>,
    rang: bool,
    /// Its screening document was refused, failed or hangs up.
    may_decline: bool,
}

/// One caller and its call.
#[derive(Debug, Default)]
struct CallSeen {
    address: Option<SocketAddr>,
    parent: Option<CallSid>,
    dials: usize,
    /// Dials whose legs the store has.
    named: usize,
    accepted: HashSet<usize>,
    /// Dials whose acceptance the store has.
    acceptance_stored: HashSet<usize>,
    accepted_legs: HashSet<CallSid>,
    last: Option<u16>,
    invited: bool,
    /// It got 180: its call is there.
    proceeding: bool,
    /// Its INVITE came while new calls are refused.
    unwelcome: bool,
    cancelled: bool,
    cancelled_first: bool,
    bye: bool,
    /// When it was over, as the core could know it.
    gone: Option<Duration>,
    /// The Dial action that the call waits for.
    action: Option<Token>,
}

/// What is known before a run.
#[derive(Debug, Default)]
pub struct Setup {
    /// Callers, by their index.
    pub callers: Vec<SocketAddr>,
    /// Whoever may be sent something: registered phones and the trunk's targets.
    pub phones: HashSet<SocketAddr>,
    /// Targets of the trunk, among them.
    pub trunk: HashSet<SocketAddr>,
    /// Screening timeouts in seconds, by the mark that a noun puts on its INVITE.
    pub screens: HashMap<String, u32>,
    /// The store may be slower than the two seconds that a call waits for it: what is written can come after what it
    /// names (DESIGN "The split").
    pub slow_store: bool,
}

/// Everything seen so far of one run.
#[derive(Debug, Default)]
pub struct Watch {
    setup: Setup,
    calls: Vec<CallSeen>,
    wire: HashMap<String, WireLeg>,
    legs: HashMap<CallSid, Leg>,
    partner: HashMap<MediaId, MediaId>,
    open: HashSet<MediaId>,
    /// What happened, of the things worth counting.
    pub reached: BTreeSet<&'static str>,
    /// Status of each leg in the store, by what was written and done.
    stored: HashMap<CallSid, CallStatus>,
    /// Documents under way.
    asked: HashMap<Token, String>,
    /// What the customer's server got, and how often each was refused.
    delivered: HashMap<String, u32>,
    refused: HashMap<String, u32>,
    draining: bool,
    no_lease: bool,
}

impl Watch {
    /// A run with this setup.
    pub fn new(setup: Setup) -> Watch {
        let calls = setup.callers.iter().map(|caller| CallSeen { address: Some(*caller), ..CallSeen::default() });
        Watch { calls: calls.collect(), setup, ..Watch::default() }
    }

    /// Two media sessions that are joined now, and any that is open.
    pub fn is_bridged(&self, media: MediaId) -> bool {
        self.partner.contains_key(&media)
    }

    fn call_of(&self, parent: CallSid) -> Result<usize, Fault> {
        self.calls.iter().position(|call| call.parent == Some(parent)).ok_or_else(|| format!("{parent} is no call"))
    }

    /// The core is told this.
    pub fn told(&mut self, input: &Input) {
        match input {
            Input::Evaluated { token, result } => {
                for call in &mut self.calls {
                    call.action.take_if(|awaited| awaited == token);
                }
                let Some(sid) = self.asked.remove(token) else { return };
                let declines = match result {
                    Ok(response) => match &response.outcome {
                        Outcome::Program(program) => program.steps.iter().any(|step| matches!(step, Step::Hangup)),
                        Outcome::Failed => true,
                    },
                    Err(_) => true,
                };
                if let Some(leg) = self.legs.iter_mut().find(|(leg, _)| leg.to_string() == sid) {
                    leg.1.may_decline |= declines;
                    self.reached.insert(if declines { "screening declines" } else { "screening goes on" });
                }
            }
            Input::Drain => self.draining = true,
            Input::Lease { held } => self.no_lease = !held,
            _ => {}
        }
    }

    /// The core has done what it wanted to do about an input.
    pub fn settled(&self) -> Result<(), Fault> {
        if self.calls.iter().any(|call| call.cancelled_first && call.proceeding && call.last.is_none()) {
            return Err("a CANCEL came before our final response and got no 487 (RCML 1.5)".into());
        }
        for (call_id, wire) in &self.wire {
            // Where a re-INVITE of the leg waits for its ACK, the BYE waits too (RFC 3261 §15).
            let over = wire.leg.and_then(|leg| self.legs.get(&leg)).is_some_and(|leg| leg.ended.is_some());
            if over && wire.successes_heard > 0 && !wire.bye && !wire.reinvited {
                return Err(format!("{call_id}: over, answered and not released (RCML 1.2)"));
            }
        }
        Ok(())
    }

    /// The hand-over of an event was answered.
    pub fn handed_over(&mut self, key: String, accepted: bool) {
        *(if accepted { &mut self.delivered } else { &mut self.refused }).entry(key).or_default() += 1;
    }

    /// The core is about to be given this datagram.
    pub fn heard(&mut self, from: SocketAddr, bytes: &[u8], at: Duration, unix_ms: u64) {
        let Some(text) = Text::read(bytes) else { return };
        let method = text.method().unwrap_or_default();
        let in_dialog = text.get("To").and_then(Text::tag).is_some();
        if text.status() == Some(491) {
            self.reached.insert("a party refuses with 491");
        }
        match method {
            "UPDATE" => drop(self.reached.insert("a party sends UPDATE")),
            "INFO" => drop(self.reached.insert("a party sends a digit")),
            "INVITE" if in_dialog => drop(self.reached.insert("a party re-INVITEs")),
            _ => {}
        }
        let unwelcome = self.draining || self.no_lease;
        if let Some(call) = self.calls.iter_mut().find(|call| call.address == Some(from)) {
            match method {
                "INVITE" if !in_dialog => {
                    call.unwelcome |= !call.invited && unwelcome;
                    call.invited = true;
                }
                "CANCEL" => {
                    self.reached.insert("the caller cancels");
                    if call.accepted.contains(&call.dials) && call.last.is_none() {
                        self.reached.insert("the caller cancels while an acceptance or PRACK is awaited");
                    }
                    if call.invited && !call.cancelled {
                        call.cancelled_first = call.last.is_none();
                        if call.cancelled_first {
                            call.gone.get_or_insert(at);
                        }
                    }
                    call.cancelled = call.invited;
                }
                "BYE" => {
                    call.bye = true;
                    call.gone.get_or_insert(at);
                }
                _ => {}
            }
            return;
        }
        let (_, cseq_method) = text.cseq();
        let Some(wire) = self.wire.get_mut(text.call_id()) else { return };
        wire.bye |= method == "BYE";
        wire.reinvited |= method == "INVITE";
        let Some(call) = self.calls.get(wire.call) else { return };
        let Some(status) = text.status() else { return };
        if cseq_method != "INVITE" || text.branch() != wire.branch {
            return;
        }
        let leg = wire.leg.and_then(|leg| self.legs.get_mut(&leg));
        let leg = leg.filter(|leg| leg.wire.as_deref() == Some(text.call_id()));
        let first = wire.final_heard.is_none();
        // Timer B passed in silence: whatever comes now belongs to no transaction (RFC 3261 17.1.1.2).
        if first && !wire.provisional_heard && at > wire.sent_at + Duration::from_secs(32) {
            return;
        }
        match status {
            100..=199 => {
                wire.provisional_heard = true;
                if let Some(leg) = leg.filter(|leg| leg.ended.is_none() && matches!(status, 180 | 183)) {
                    leg.rang = true;
                }
            }
            200..=299 => {
                wire.successes_heard += 1;
                if wire.cancelled {
                    self.reached.insert("a 200 crosses a CANCEL");
                }
                if wire.successes_heard == 2 {
                    self.reached.insert("a 200 is repeated");
                }
                if call.accepted.contains(&wire.dial) && wire.successes_heard == 1 {
                    self.reached.insert("a 200 after another leg was accepted");
                }
                wire.final_heard = Some(status);
                if wire.successes_heard == 1 {
                    wire.answered_at = at;
                }
                if let Some(leg) = leg.filter(|_| first) {
                    leg.said.push((unix_ms, Said::Success(text.body.contains("m=audio"))));
                }
            }
            _ => {
                wire.final_heard = wire.final_heard.or(Some(status));
                if let Some(leg) = leg.filter(|_| first) {
                    leg.said.push((unix_ms, Said::Refusal(status)));
                }
            }
        }
    }

    /// The core wants this done.
    pub fn said(&mut self, action: &Action, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        match action {
            Action::Transmit(transmit) => self.transmitted(transmit.flow.remote(), &transmit.payload, at, unix_ms),
            Action::Deliver { event, .. } => self.event(event, unix_ms),
            Action::WriteCall { write, .. } => self.written(write),
            Action::Media(media) => self.media(media),
            Action::Evaluate { token, request } => self.evaluates(*token, request),
            _ => Ok(()),
        }
    }

    fn transmitted(&mut self, to: SocketAddr, bytes: &[u8], at: Duration, unix_ms: u64) -> Result<(), Fault> {
        let text = Text::read(bytes).ok_or_else(|| format!("sent what cannot be read: {bytes:?}"))?;
        let in_dialog = text.get("To").and_then(Text::tag).is_some();
        match (text.status(), text.method()) {
            (Some(491), _) => drop(self.reached.insert("we refuse with 491")),
            (Some(422), _) => drop(self.reached.insert("we refuse with 422")),
            (None, Some("INVITE")) if in_dialog => drop(self.reached.insert("we re-INVITE")),
            (None, Some("UPDATE")) if text.body.is_empty() => drop(self.reached.insert("we refresh by UPDATE")),
            (None, Some("UPDATE")) => drop(self.reached.insert("we carry an offer by UPDATE")),
            (None, Some("INFO")) => drop(self.reached.insert("a digit is passed on")),
            (None, Some("PRACK")) => drop(self.reached.insert("a reliable 18x is acknowledged")),
            _ => {}
        }
        if let Some(call) = self.calls.iter().position(|call| call.address == Some(to)) {
            return self.said_to_caller(call, &text, at);
        }
        if !self.setup.phones.contains(&to) {
            return Err(format!("sent to {to}, where nobody is registered: {}", text.start));
        }
        let call_id = text.call_id().to_owned();
        if text.method() == Some("INVITE") && !in_dialog {
            return self.invited(to, &text, at, unix_ms);
        }
        let Some(wire) = self.wire.get_mut(&call_id) else {
            return match text.method() {
                Some("OPTIONS") | None => Ok(()),
                _ => Err(format!("{} of unknown {call_id}", text.start)),
            };
        };
        let call = &self.calls[wire.call];
        match text.method() {
            Some("CANCEL") if !wire.cancelled => {
                wire.cancelled = true;
                if !wire.provisional_heard {
                    return Err(format!("CANCEL {call_id} before a provisional response (RFC 3261 9.1)"));
                }
                if wire.final_heard.is_some() {
                    return Err(format!("CANCEL {call_id} after its final response (RFC 3261 9.1)"));
                }
                let elsewhere = text.get("Reason").is_some_and(|reason| {
                    reason.contains("SIP")
                        && reason.contains("cause=200")
                        && reason.contains("Call completed elsewhere")
                });
                let won = call.accepted.contains(&wire.dial);
                self.reached.insert(if elsewhere { "cancelled elsewhere" } else { "cancelled, nobody won" });
                if elsewhere && !won && !self.setup.slow_store {
                    return Err(format!("CANCEL {call_id} says elsewhere, but nobody was accepted (RCML 1.2)"));
                }
                // A leg that screens may win after others were cancelled by the timeout; without screening it cannot.
                // A trunk's former target is cancelled for its silence.
                let explained = !self.setup.screens.is_empty() || self.setup.trunk.contains(&to);
                if !elsewhere && won && !explained && !self.setup.slow_store {
                    return Err(format!("CANCEL {call_id} has no Reason, but another was accepted (RCML 1.2)"));
                }
            }
            Some("ACK") => {
                // A former INVITE's refusal may be repeated, and its ACK with it, after the next one was sent.
                if text.cseq().0 < wire.cseq {
                    return Ok(());
                }
                wire.acks += 1;
                if wire.final_heard.is_none() {
                    return Err(format!("ACK {call_id} before a final response"));
                }
            }
            Some("BYE") => {
                if wire.successes_heard == 0 || wire.acks == 0 {
                    return Err(format!("BYE {call_id} before its 200 was acknowledged"));
                }
                let first = !std::mem::replace(&mut wire.bye, true);
                if let Some(seconds) = self.setup.screens.get(&wire.noun)
                    && first
                    && !wire.cancelled
                    && !call.accepted.contains(&wire.dial)
                    && call.gone.is_none()
                    && at < wire.answered_at + Duration::from_secs(u64::from(*seconds))
                    && let Some(leg) = wire.leg.and_then(|leg| self.legs.get(&leg))
                    && !leg.may_decline
                    && leg.ended == Some(CallStatus::Completed)
                {
                    return Err(format!("BYE {call_id} in the middle of its screening (RCML 1.2, 1.3)"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An INVITE of ours outside dialogs.
    fn invited(&mut self, to: SocketAddr, text: &Text, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        let call_id = text.call_id().to_owned();
        if let Some(wire) = self.wire.get_mut(&call_id) {
            if wire.branch == text.branch() {
                if wire.provisional_heard || wire.final_heard.is_some() {
                    return Err(format!("INVITE {call_id} repeated after a response (RFC 3261 17.1.1.2)"));
                }
                return Ok(());
            }
            match wire.final_heard {
                Some(401 | 407) => self.reached.insert("a challenge of a leg is answered"),
                Some(422) => self.reached.insert("a 422 of a leg is answered"),
                other => return Err(format!("INVITE {call_id} again after {other:?} (RCML 1.2)")),
            };
            (wire.branch, wire.cseq) = (text.branch().to_owned(), text.cseq().0);
            (wire.provisional_heard, wire.final_heard, wire.sent_at) = (false, None, at);
            if let Some(leg) = wire.leg.and_then(|leg| self.legs.get_mut(&leg)) {
                leg.said.push((unix_ms, Said::Again));
            }
            return Ok(());
        }
        let noun = text.get("X-Noun").unwrap_or_default().to_owned();
        let mut parts = noun.split('.').filter_map(|part| part.parse::<usize>().ok());
        let (Some(index), Some(_), Some(number)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("INVITE {call_id} lost the headers of its noun (RCML 1.1): {noun:?}"));
        };
        let Some(call) = self.calls.get(index) else { return Err(format!("INVITE {call_id} of no call")) };
        if call.gone.is_some() {
            return Err(format!("INVITE {call_id} for a caller who had left"));
        }
        if !self.setup.slow_store && call.named < call.dials.max(1) {
            return Err(format!("INVITE {call_id} before its leg was written (DESIGN \"The split\")"));
        }
        let dial = call.dials;
        let trunk = self.setup.trunk.contains(&to);
        // Legs of one noun are rung in the order in which they were named; a trunk's further target is the same leg.
        let mut leg = None;
        if !self.setup.slow_store {
            let mut own: Vec<_> = self
                .legs
                .iter_mut()
                .filter(|(_, leg)| (leg.call, leg.dial) == (index, dial))
                .filter(|(_, leg)| leg.plan.as_ref().is_some_and(|plan| usize::from(plan.noun) == number))
                .filter(|(_, leg)| trunk || leg.wire.is_none())
                .collect();
            own.sort_by_key(|(_, leg)| leg.place);
            let Some((sid, own)) = own.into_iter().next() else {
                return Err(format!("INVITE {call_id} of a leg that was not named (RCML 1.2)"));
            };
            if own.wire.replace(call_id.clone()).is_some() {
                self.reached.insert("a trunk's next target is tried");
                own.said.push((unix_ms, Said::Again));
            }
            leg = Some(*sid);
        }
        let branch = text.branch().to_owned();
        let cseq = text.cseq().0;
        self.wire
            .insert(call_id, WireLeg { call: index, sent_at: at, branch, cseq, dial, noun, leg, ..WireLeg::default() });
        Ok(())
    }

    fn said_to_caller(&mut self, index: usize, text: &Text, at: Duration) -> Result<(), Fault> {
        let call = &mut self.calls[index];
        if let Some(status) = text.status() {
            let (cseq, method) = text.cseq();
            call.proceeding |= (cseq, method) == (1, "INVITE") && matches!(status, 101..=199);
            if (cseq, method) == (1, "INVITE") && status >= 200 {
                if call.last.is_some_and(|first| first != status) {
                    return Err(format!("the caller got {status} after {:?}", call.last));
                }
                if status != 487 && call.cancelled_first {
                    return Err(format!("the caller cancelled first and got {status} (RCML 1.5)"));
                }
                let first = call.last.replace(status).is_none();
                if call.unwelcome {
                    if !matches!(status, 422 | 503) {
                        return Err(format!("the caller got {status} while new calls are refused (RCML part 2)"));
                    }
                    self.reached.insert("a call is refused with 503");
                }
                if first && call.action.is_some() && matches!(status, 480 | 486 | 603) {
                    return Err(format!("the caller got {status} before the Dial's action was there (RCML 1.5)"));
                }
                let stored = call.acceptance_stored.contains(&call.dials);
                if first && status < 300 && !stored && !self.setup.slow_store {
                    return Err("the caller was answered before the acceptance was written (DESIGN)".into());
                }
                if status >= 300 {
                    call.gone.get_or_insert(at);
                }
            }
        } else if text.method() == Some("BYE") {
            call.bye = true;
            call.gone.get_or_insert(at);
        }
        Ok(())
    }

    /// A document is asked for: after a Dial its result must be what the legs say (RCML.md 1.5).
    fn evaluates(&mut self, token: Token, request: &Request) -> Result<(), Fault> {
        self.asked.insert(token, request.call_sid.clone());
        let get = |name: &str| request.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let Some(status) = get("DialCallStatus") else { return Ok(()) };
        let of = |call: &CallSeen| call.parent.is_some_and(|sid| sid.to_string() == request.call_sid);
        let Some(index) = self.calls.iter().position(of) else {
            return Err(format!("an action for {}, which is no call", request.call_sid));
        };
        let call = &mut self.calls[index];
        let dial = call.dials;
        let answered = call.last.is_some_and(|last| last < 300);
        let left = call.gone.is_some();
        if !left {
            call.action = Some(token);
        }
        if self.setup.slow_store {
            return Ok(());
        }
        let legs: Vec<_> = self.legs.values().filter(|leg| (leg.call, leg.dial) == (index, dial)).collect();
        let ends: Vec<_> = legs.iter().filter_map(|leg| leg.ended).collect();
        // The last write of a leg may wait for its former one: then its end is not known here yet.
        if ends.len() < legs.len() {
            return Ok(());
        }
        let expected = if call.accepted.contains(&dial) && answered {
            "completed"
        } else if left {
            "canceled"
        } else if ends.iter().all(|end| *end == CallStatus::Busy) && !ends.is_empty() {
            "busy"
        } else if ends.iter().any(|end| matches!(end, CallStatus::NoAnswer | CallStatus::Completed))
            || legs.iter().any(|leg| leg.rang)
        {
            "no-answer"
        } else if ends.contains(&CallStatus::Busy) {
            "busy"
        } else {
            "failed"
        };
        self.reached.insert(match expected {
            "completed" => "action: completed",
            "canceled" => "action: canceled",
            "busy" => "action: busy",
            "no-answer" => "action: no-answer",
            _ => "action: failed",
        });
        if status != expected && !(dial == 0 && status == "failed") && !(ends.is_empty() && status == "failed") {
            return Err(format!("DialCallStatus {status} instead of {expected} of {ends:?} (RCML 1.5)"));
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, unix_ms: u64) -> Result<(), Fault> {
        let sid = event.leg;
        let get = |name: &str| event.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if self.setup.slow_store {
            self.legs.entry(sid).or_default();
        }
        self.call_of(event.parent)?;
        let leg = self.legs.get_mut(&sid).ok_or_else(|| format!("event of {sid}, which was never written"))?;
        let key = event.idempotency_key();
        if let Some((_, first)) = leg.events.get(event.sequence as usize) {
            // Handed over again: the same event.
            return if *first == key {
                Ok(())
            } else {
                Err(format!("{sid}: two events have number {}", event.sequence))
            };
        }
        if event.sequence as usize != leg.events.len() {
            return Err(format!("{sid}: event {} after {} events (RCML 1.4)", event.sequence, leg.events.len()));
        }
        let order = |kind: EventKind| match kind {
            EventKind::Initiated => 0,
            EventKind::Ringing => 1,
            EventKind::Answered => 2,
            EventKind::Completed => 3,
        };
        if leg.events.last().is_some_and(|(last, _)| order(*last) >= order(event.kind)) {
            return Err(format!("{sid}: {:?} after {:?} (RCML 1.4)", event.kind, leg.events));
        }
        let subscribed = self.setup.slow_store
            || leg.plan.as_ref().and_then(|plan| plan.callback.as_ref()).is_some_and(|callback| {
                let events = callback.events;
                [events.initiated, events.ringing, events.answered, events.completed][order(event.kind)]
            });
        if !subscribed {
            return Err(format!("{sid}: {:?} was not subscribed", event.kind));
        }
        if get("SequenceNumber") != Some(event.sequence.to_string().as_str()) {
            return Err(format!("{sid}: SequenceNumber {:?} of event {}", get("SequenceNumber"), event.sequence));
        }
        if get("ParentCallSid") != Some(event.parent.to_string().as_str()) {
            return Err(format!("{sid}: ParentCallSid {:?}", get("ParentCallSid")));
        }
        if get("CallDuration").is_some() != (event.kind == EventKind::Completed) {
            return Err(format!("{sid}: CallDuration on {:?}", event.kind));
        }
        if unix_ms.saturating_sub(event.fired_unix_ms) > 1000 {
            return Err(format!("{sid}: {:?} was handed over {} ms late", event.kind, unix_ms - event.fired_unix_ms));
        }
        leg.events.push((event.kind, key));
        if event.kind == EventKind::Completed {
            self.reached.insert(match get("CallStatus") {
                Some("completed") => "completed",
                Some("busy") => "busy",
                Some("no-answer") => "no-answer",
                Some("failed") => "failed",
                other => return Err(format!("{sid}: completed with CallStatus {other:?} (RCML 1.4)")),
            });
        }
        Ok(())
    }

    fn written(&mut self, write: &Write) -> Result<(), Fault> {
        match write {
            Write::PutParent { call, .. } => {
                let index = usize::from(call.to.ends_with('1'));
                if let Some(seen) = self.calls.get_mut(index) {
                    seen.parent = Some(call.sid);
                }
            }
            Write::NameLegs { parent, legs } => {
                if legs.iter().all(|plan| self.legs.get(&plan.leg).is_some_and(|leg| leg.plan.is_some())) {
                    return Ok(()); // Tried again.
                }
                let call = self.call_of(*parent)?;
                self.calls[call].dials += 1;
                let dial = self.calls[call].dials;
                for (place, plan) in legs.iter().enumerate() {
                    let leg = self.legs.entry(plan.leg).or_default();
                    (leg.call, leg.dial, leg.place) = (call, dial, place);
                    if leg.plan.replace(plan.clone()).is_some() {
                        return Err(format!("{} is named by two Dials", plan.leg));
                    }
                }
            }
            Write::Accept { parent, leg, .. } => {
                self.reached.insert("accepted");
                let call = self.call_of(*parent)?;
                let call = &mut self.calls[call];
                let dial = call.dials;
                if !call.accepted.insert(dial) && !call.accepted_legs.contains(leg) {
                    return Err(format!("{leg} is the second accepted leg of its Dial (RCML.md 1.2)"));
                }
                call.accepted_legs.insert(*leg);
            }
            Write::Leg { leg, status, ended_unix_ms, .. } => {
                if self.setup.slow_store {
                    self.legs.entry(*leg).or_default();
                }
                let entry = self.legs.get_mut(leg).ok_or_else(|| format!("{leg} was never named"))?;
                if let Some(ended) = ended_unix_ms {
                    let allowed = entry.allowed_ends(*ended);
                    if !self.setup.slow_store && !allowed.contains(status) {
                        return Err(format!("{leg} ended {status:?}, but the wire says {allowed:?} (RCML 1.4)"));
                    }
                    if entry.ended.is_some_and(|ended| ended != *status) {
                        return Err(format!("{leg} ended twice: {:?}, then {status:?}", entry.ended));
                    }
                    entry.ended = Some(*status);
                } else if entry.ended.is_some()
                    && !matches!(status, CallStatus::Initiated | CallStatus::Ringing | CallStatus::InProgress)
                {
                    return Err(format!("{leg}: {status:?} after its end"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A write was done by the store.
    pub fn stored(&mut self, write: &Write) -> Result<(), Fault> {
        match write {
            Write::NameLegs { parent, legs } => {
                let call = self.call_of(*parent)?;
                let dial = legs.first().and_then(|plan| self.legs.get(&plan.leg)).map_or(0, |leg| leg.dial);
                self.calls[call].named = self.calls[call].named.max(dial);
            }
            Write::Accept { parent, .. } => {
                let call = self.call_of(*parent)?;
                let dial = self.calls[call].dials;
                self.calls[call].acceptance_stored.insert(dial);
            }
            _ => {}
        }
        if let Write::Leg { leg, status, .. } = write {
            let before = self.stored.insert(*leg, *status);
            let over = |status: CallStatus| {
                matches!(status, CallStatus::Completed | CallStatus::Busy | CallStatus::NoAnswer | CallStatus::Failed)
            };
            if before.is_some_and(|before| over(before) && before != *status) {
                return Err(format!("{leg} went from {before:?} to {status:?} in the store"));
            }
        }
        Ok(())
    }

    fn media(&mut self, action: &MediaAction) -> Result<(), Fault> {
        match action {
            MediaAction::Open { media, .. } if !self.open.insert(*media) => {
                return Err(format!("{media:?} opened twice"));
            }
            MediaAction::Bridge { a, b, .. } => {
                self.reached.insert("bridged");
                for (one, other) in [(a, b), (b, a)] {
                    if !self.open.contains(one) {
                        return Err(format!("{one:?} bridged and not open"));
                    }
                    if self.partner.insert(*one, *other).is_some_and(|before| before != *other) {
                        return Err(format!("{one:?} bridged to two (RCML 1.2)"));
                    }
                }
            }
            MediaAction::Unbridge { media } => {
                if let Some(other) = self.partner.remove(media) {
                    self.partner.remove(&other);
                }
            }
            MediaAction::Close { media, .. } => {
                if let Some(other) = self.partner.remove(media) {
                    self.partner.remove(&other);
                }
                if !self.open.remove(media) {
                    return Err(format!("{media:?} closed and not open"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Everything is over.
    pub fn finished(&self) -> Result<(), Fault> {
        for call in &self.calls {
            if call.invited && call.last.is_none() {
                return Err("the caller never got a final response".into());
            }
            if call.last.is_some_and(|status| status < 300) && !call.bye {
                return Err("the caller was answered and never released".into());
            }
        }
        for (call_id, leg) in &self.wire {
            if leg.successes_heard > leg.acks {
                return Err(format!(
                    "{call_id}: {} 200s heard, {} ACKs sent (RFC 3261 13.2.2.4)",
                    leg.successes_heard, leg.acks
                ));
            }
            if leg.successes_heard > 0 && !leg.bye {
                return Err(format!("{call_id}: answered and never released (RCML 1.2)"));
            }
            if leg.final_heard.is_none() && leg.provisional_heard && !leg.cancelled {
                return Err(format!("{call_id}: it may ring for ever: no CANCEL, no final response"));
            }
        }
        let rung = self.legs.values().filter(|leg| leg.ended.is_some()).count();
        let trunk = |leg: &Leg| leg.plan.as_ref().is_some_and(|plan| !plan.to.starts_with("client:"));
        if rung != self.wire.len() && !self.legs.values().any(trunk) {
            return Err(format!("{} INVITEs, {rung} legs ended (RCML 1.4)", self.wire.len()));
        }
        for wire in self.wire.values() {
            if let Some(leg) = wire.leg.and_then(|leg| self.legs.get(&leg))
                && leg.ended.is_none()
            {
                return Err("a leg was rung and its end never written (RCML 3.4)".into());
            }
        }
        for (_, key) in self.legs.values().flat_map(|leg| &leg.events) {
            // After the sixth refusal an event stays with its item, for the reaper.
            let stranded = self.refused.get(key).is_some_and(|times| *times >= 6);
            if !self.delivered.contains_key(key) && !stranded {
                return Err(format!("{key}: the customer never got it (RCML 1.4)"));
            }
        }
        let fired: HashSet<_> = self.legs.values().flat_map(|leg| &leg.events).map(|(_, key)| key).collect();
        if let Some(key) = self.delivered.keys().find(|key| !fired.contains(key)) {
            return Err(format!("{key}: the customer got what was never fired (RCML 1.4)"));
        }
        for (sid, leg) in &self.legs {
            if leg.ended.is_none() && leg.events.is_empty() {
                continue; // Its caller left before its INVITE.
            }
            let events = leg.plan.as_ref().and_then(|plan| plan.callback.as_ref()).map(|callback| callback.events);
            let completed = leg.events.iter().filter(|(kind, _)| *kind == EventKind::Completed).count();
            if events.is_some_and(|events| events.completed) && completed != 1 {
                return Err(format!("{sid}: {completed} completed events (RCML 1.4)"));
            }
            if events.is_some_and(|events| events.initiated)
                && leg.events.first().map(|(kind, _)| *kind) != Some(EventKind::Initiated)
            {
                return Err(format!("{sid}: no initiated first: {:?}", leg.events));
            }
            if leg.ended.is_none() {
                return Err(format!("{sid}: its end was never written (RCML 3.4)"));
            }
            if self.stored.get(sid) != leg.ended.as_ref() {
                return Err(format!("{sid}: ended {:?}, the store says {:?}", leg.ended, self.stored.get(sid)));
            }
        }
        if !self.open.is_empty() {
            return Err(format!("media left open: {:?}", self.open));
        }
        Ok(())
    }
}

impl Leg {
    /// The statuses that an end at this moment may have by what the wire said; what came within the same millisecond may
    /// have come before or after (RCML.md 1.4).
    fn allowed_ends(&self, ended_unix_ms: u64) -> Vec<CallStatus> {
        let mut state = None;
        let mut allowed = Vec::new();
        for (at, said) in self.said.iter().take_while(|(at, _)| *at <= ended_unix_ms) {
            if *at == ended_unix_ms {
                allowed.push(state);
            }
            state = (*said != Said::Again).then_some(*said);
        }
        allowed.push(state);
        let mut allowed: Vec<_> = allowed
            .into_iter()
            .map(|state| match state {
                None | Some(Said::Again) => CallStatus::NoAnswer,
                Some(Said::Success(true)) => CallStatus::Completed,
                Some(Said::Success(false)) => CallStatus::Failed,
                Some(Said::Refusal(486 | 600 | 603)) => CallStatus::Busy,
                Some(Said::Refusal(408 | 480 | 487)) => CallStatus::NoAnswer,
                Some(Said::Refusal(_)) => CallStatus::Failed,
            })
            .collect();
        if self.wire.is_none() {
            allowed.push(CallStatus::Failed); // Undeliverable.
        }
        allowed
    }
}
