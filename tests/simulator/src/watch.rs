//! What must hold in every run, checked after each step: the promises of RCML.md 1.2-1.5 and of RFC 3261, as far as
//! they can be seen from outside the core.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use ringfork_call::action::{Action, MediaAction, MediaId};
use ringfork_call::control::{CallSid, CallStatus, Event, EventKind, LegPlan, Write};

use crate::text::Text;

/// A fault found: what was promised and what was seen.
pub type Fault = String;

/// One INVITE of ours as it stands on the wire, by its Call-ID.
#[derive(Debug, Default)]
struct WireLeg {
    branch: String,
    dial: usize,
    provisional_heard: bool,
    final_heard: Option<u16>,
    cancelled: bool,
    successes_heard: u32,
    acks: u32,
    bye: bool,
}

/// One leg as its writes and events show it.
#[derive(Debug, Default)]
struct Leg {
    plan: Option<LegPlan>,
    events: Vec<(EventKind, String)>,
    ended: Option<CallStatus>,
}

/// Everything seen so far of one run.
#[derive(Debug, Default)]
pub struct Watch {
    caller: Option<SocketAddr>,
    phones: HashSet<SocketAddr>,
    screening: bool,
    /// The store may be slower than the two seconds that a call waits for it: what is written can come after what it
    /// names (DESIGN "The split").
    slow_store: bool,
    wire: HashMap<String, WireLeg>,
    legs: HashMap<CallSid, Leg>,
    parent: Option<CallSid>,
    dials: usize,
    accepted: HashSet<usize>,
    accepted_legs: HashSet<CallSid>,
    caller_final: Option<u16>,
    caller_invited: bool,
    caller_cancelled: bool,
    caller_cancelled_first: bool,
    caller_bye: bool,
    /// When the caller's call was over, as the core could know it.
    caller_gone: Option<Duration>,
    partner: HashMap<MediaId, MediaId>,
    open: HashSet<MediaId>,
    /// What happened, of the things worth counting.
    pub reached: BTreeSet<&'static str>,
    /// Status of each leg in the store, by what was written and done.
    stored: HashMap<CallSid, CallStatus>,
}

impl Watch {
    /// A run with this caller and these registered phones; whether any noun screens; whether calls may
    /// have to go on without their writes.
    pub fn new(
        caller: SocketAddr,
        phones: impl IntoIterator<Item = SocketAddr>,
        screening: bool,
        slow_store: bool,
    ) -> Watch {
        Watch { caller: Some(caller), phones: phones.into_iter().collect(), screening, slow_store, ..Watch::default() }
    }

    /// Two media sessions that are joined now, and any that is open.
    pub fn is_bridged(&self, media: MediaId) -> bool {
        self.partner.contains_key(&media)
    }

    /// The core is about to be given this datagram.
    pub fn heard(&mut self, from: SocketAddr, bytes: &[u8], at: Duration) {
        let Some(text) = Text::read(bytes) else { return };
        let method = text.method().unwrap_or_default();
        if Some(from) == self.caller {
            match method {
                "INVITE" if text.get("To").and_then(Text::tag).is_none() => self.caller_invited = true,
                "CANCEL" => {
                    self.reached.insert("the caller cancels");
                    if self.accepted.contains(&self.dials) && self.caller_final.is_none() {
                        self.reached.insert("the caller cancels while an acceptance is written");
                    }
                    if self.caller_invited && !self.caller_cancelled {
                        self.caller_cancelled_first = self.caller_final.is_none();
                        if self.caller_cancelled_first {
                            self.caller_gone.get_or_insert(at);
                        }
                    }
                    self.caller_cancelled = self.caller_invited;
                }
                "BYE" => {
                    self.caller_bye = true;
                    self.caller_gone.get_or_insert(at);
                }
                _ => {}
            }
            return;
        }
        let (cseq, cseq_method) = text.cseq();
        let Some(leg) = self.wire.get_mut(text.call_id()) else { return };
        if method == "BYE" {
            leg.bye = true;
        }
        if method == "INVITE" {
            self.reached.insert("a callee re-INVITEs");
        }
        if let Some(status) = text.status()
            && cseq_method == "INVITE"
            && text.branch() == leg.branch
        {
            let _ = cseq;
            match status {
                101..=199 => leg.provisional_heard = true,
                100 => leg.provisional_heard = true,
                200..=299 => {
                    leg.successes_heard += 1;
                    if leg.cancelled {
                        self.reached.insert("a 200 crosses a CANCEL");
                    }
                    if leg.successes_heard == 2 {
                        self.reached.insert("a 200 is repeated");
                    }
                    if self.accepted.contains(&leg.dial) && !leg.cancelled && leg.successes_heard == 1 {
                        self.reached.insert("a 200 after another leg was accepted");
                    }
                    leg.final_heard = Some(status);
                }
                _ => leg.final_heard = leg.final_heard.or(Some(status)),
            }
        }
    }

    /// The core wants this done.
    pub fn said(&mut self, action: &Action, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        match action {
            Action::Transmit(transmit) => self.transmitted(transmit.flow.remote(), &transmit.payload, at),
            Action::Deliver { event, .. } => self.event(event, unix_ms),
            Action::WriteCall { write, .. } => self.written(write),
            Action::Media(media) => self.media(media),
            _ => Ok(()),
        }
    }

    fn transmitted(&mut self, to: SocketAddr, bytes: &[u8], at: Duration) -> Result<(), Fault> {
        let text = Text::read(bytes).ok_or_else(|| format!("sent what cannot be read: {bytes:?}"))?;
        if Some(to) == self.caller {
            return self.said_to_caller(&text, at);
        }
        if !self.phones.contains(&to) {
            return Err(format!("sent to {to}, where nobody is registered: {}", text.start));
        }
        let in_dialog = text.get("To").and_then(Text::tag).is_some();
        let call_id = text.call_id().to_owned();
        match text.method() {
            Some("INVITE") if !in_dialog => match self.wire.get_mut(&call_id) {
                Some(leg) if leg.branch == text.branch() => {
                    if leg.provisional_heard || leg.final_heard.is_some() {
                        return Err(format!("INVITE {call_id} repeated after a response (RFC 3261 17.1.1.2)"));
                    }
                }
                Some(leg) => {
                    leg.branch = text.branch().to_owned();
                    (leg.provisional_heard, leg.final_heard) = (false, None);
                }
                None => {
                    if self.caller_gone.is_some() {
                        return Err(format!("INVITE {call_id} for a caller who had left"));
                    }
                    if self.dials == 0 && !self.slow_store {
                        return Err(format!("INVITE {call_id} before the legs were written"));
                    }
                    let leg = WireLeg { branch: text.branch().to_owned(), dial: self.dials, ..WireLeg::default() };
                    self.wire.insert(call_id, leg);
                }
            },
            Some("CANCEL") => {
                let accepted = &self.accepted;
                let leg = self.wire.get_mut(&call_id).ok_or_else(|| format!("CANCEL of unknown {call_id}"))?;
                if !leg.cancelled {
                    leg.cancelled = true;
                    if !leg.provisional_heard {
                        return Err(format!("CANCEL {call_id} before a provisional response (RFC 3261 9.1)"));
                    }
                    if leg.final_heard.is_some() {
                        return Err(format!("CANCEL {call_id} after its final response (RFC 3261 9.1)"));
                    }
                    let elsewhere = text.get("Reason").is_some_and(|reason| {
                        reason.contains("SIP")
                            && reason.contains("cause=200")
                            && reason.contains("Call completed elsewhere")
                    });
                    let won = accepted.contains(&leg.dial);
                    self.reached.insert(if elsewhere { "cancelled elsewhere" } else { "cancelled, nobody won" });
                    if elsewhere && !won && !self.slow_store {
                        return Err(format!("CANCEL {call_id} says elsewhere, but nobody was accepted (RCML 1.2)"));
                    }
                    // A leg that screens may win after others were cancelled by the timeout; without screening it cannot.
                    if !elsewhere && won && !self.screening && !self.slow_store {
                        return Err(format!("CANCEL {call_id} has no Reason, but another was accepted (RCML 1.2)"));
                    }
                }
            }
            Some("INVITE") => {
                self.reached.insert("a re-INVITE is carried to a callee");
            }
            Some("PRACK") => {
                self.reached.insert("a reliable 18x is acknowledged");
            }
            Some("ACK") => {
                let leg = self.wire.get_mut(&call_id).ok_or_else(|| format!("ACK of unknown {call_id}"))?;
                leg.acks += 1;
                if leg.final_heard.is_none() {
                    return Err(format!("ACK {call_id} before a final response"));
                }
            }
            Some("BYE") => {
                let leg = self.wire.get_mut(&call_id).ok_or_else(|| format!("BYE of unknown {call_id}"))?;
                if leg.successes_heard == 0 || leg.acks == 0 {
                    return Err(format!("BYE {call_id} before its 200 was acknowledged"));
                }
                leg.bye = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn said_to_caller(&mut self, text: &Text, at: Duration) -> Result<(), Fault> {
        if let Some(status) = text.status() {
            let (cseq, method) = text.cseq();
            if (cseq, method) == (1, "INVITE") && status >= 200 {
                if self.caller_final.is_some_and(|first| first != status) {
                    return Err(format!("the caller got {status} after {:?}", self.caller_final));
                }
                if status != 487 && self.caller_cancelled_first {
                    return Err(format!("the caller cancelled first and got {status} (RCML 1.5)"));
                }
                self.caller_final = Some(status);
                if status >= 300 {
                    self.caller_gone.get_or_insert(at);
                }
            }
        } else if text.method() == Some("BYE") {
            self.caller_bye = true;
            self.caller_gone.get_or_insert(at);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, unix_ms: u64) -> Result<(), Fault> {
        let sid = event.leg;
        let get = |name: &str| event.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if self.slow_store {
            self.legs.entry(sid).or_default();
        }
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
        let subscribed = self.slow_store
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
        if get("ParentCallSid").map(str::to_owned) != self.parent.map(|sid| sid.to_string()) {
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
                self.parent = Some(call.sid);
            }
            Write::NameLegs { legs, .. } => {
                if legs.iter().all(|plan| self.legs.get(&plan.leg).is_some_and(|leg| leg.plan.is_some())) {
                    return Ok(()); // Tried again.
                }
                self.dials += 1;
                for plan in legs {
                    let leg = self.legs.entry(plan.leg).or_default();
                    if leg.plan.replace(plan.clone()).is_some() {
                        return Err(format!("{} is named by two Dials", plan.leg));
                    }
                }
            }
            Write::Accept { leg, .. } => {
                self.reached.insert("accepted");
                let dial = self.dials;
                if !self.accepted.insert(dial) && !self.accepted_legs.contains(leg) {
                    return Err(format!("{leg} is the second accepted leg of its Dial (RCML 1.2)"));
                }
                self.accepted_legs.insert(*leg);
            }
            Write::Leg { leg, status, ended_unix_ms, .. } => {
                if self.slow_store {
                    self.legs.entry(*leg).or_default();
                }
                let entry = self.legs.get_mut(leg).ok_or_else(|| format!("{leg} was never named"))?;
                if ended_unix_ms.is_some() {
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
        if self.caller_invited && self.caller_final.is_none() {
            return Err("the caller never got a final response".into());
        }
        if self.caller_final.is_some_and(|status| status < 300) && !self.caller_bye {
            return Err("the caller was answered and never released".into());
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
        if rung != self.wire.len() {
            return Err(format!("{} INVITEs, {rung} legs ended (RCML 1.4)", self.wire.len()));
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
