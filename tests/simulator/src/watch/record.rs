//! What the core has written down, tells the customer and asks of the documents: RCML.md 1.4, 1.5 and DESIGN "The
//! split".

use std::time::Duration;

use ringfork_call::action::Token;
use ringfork_call::control::{CallStatus, Event, EventKind, Notice, Write};
use ringfork_rcml::evaluation::Request;

use super::{CallSeen, Fault, Watch};

impl Watch {
    /// A document is asked for: after a Dial its result must be what the legs say (RCML.md 1.5).
    pub(super) fn evaluates(&mut self, token: Token, request: &Request) -> Result<(), Fault> {
        self.asked.insert(token, request.call_sid.clone());
        self.screens(token, request);
        let get = |name: &str| request.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let keyed = get("Digits").is_some();
        if let Some((_, leg)) = self.legs.iter_mut().find(|(leg, _)| leg.to_string() == request.call_sid) {
            leg.keyed |= keyed;
        }
        if get("Digits") == Some("hangup") {
            self.reached.insert("a hangup ends a recording");
        }
        if get("RecordingUrl").is_some() {
            self.reached.insert("an action learns of a recording");
        }
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
        // A Dial whose clients are all not registered has no legs to be known by.
        if call.reported.replace(dial) == Some(dial) && self.registry.is_some() && status == "failed" {
            return Ok(());
        }
        let legs: Vec<_> = self.legs.values().filter(|leg| (leg.call, leg.dial) == (index, dial)).collect();
        let ends: Vec<_> = legs.iter().filter_map(|leg| leg.ended).collect();
        // Which of them rang cannot be seen.
        if legs.iter().any(|leg| leg.unsure) {
            return Ok(());
        }
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

    pub(super) fn event(&mut self, event: &Event, unix_ms: u64) -> Result<(), Fault> {
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

    pub(super) fn written(&mut self, write: &Write, at: Duration, unix_ms: u64) -> Result<(), Fault> {
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
                // Where the store is slow, legs are named after they are rung.
                if let (Some(registry), Some((_, clients)), false) =
                    (&mut self.registry, &self.setup.registering, self.setup.slow_store)
                {
                    // The naming may wait for former writes, and a further document may come before it.
                    let documents = &self.calls[call].documents;
                    let lately = documents.iter().find(|document| at.saturating_sub(**document).as_secs() < 3);
                    let begun = lately.or(documents.last()).copied().unwrap_or_default();
                    let legs_of = |noun: usize| legs.iter().filter(|plan| usize::from(plan.noun) == noun).count();
                    let nouns = (0..*clients).map(|noun| (noun, (format!("c{noun}"), legs_of(noun)))).collect();
                    registry.dials((call, dial), &nouns, (begun, at), unix_ms)?;
                }
            }
            Write::Accept { parent, leg, .. } => {
                self.reached.insert("accepted");
                self.may_be_accepted(*leg, at)?;
                let call = self.call_of(*parent)?;
                let dial = self.calls[call].dials;
                let seen = self.legs.get(leg);
                let screened = seen
                    .and_then(|leg| self.wire.get(leg.wire.as_ref()?))
                    .is_some_and(|wire| self.setup.screens.contains_key(&wire.noun));
                if screened && seen.is_some_and(|leg| leg.keyed) {
                    self.reached.insert("an action's answer accepts");
                } else if screened {
                    self.reached.insert("the end of a screening document accepts");
                }
                let own = seen.and_then(|leg| leg.wire.as_deref());
                if self.screening(call, dial, own) > 0 {
                    self.reached.insert("another wins while a leg screens");
                }
                let call = &mut self.calls[call];
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
                    let mut allowed = entry.allowed_ends(*ended);
                    let to = entry.wire.as_ref().and_then(|call_id| self.wire.get(call_id)).and_then(|wire| wire.to);
                    if self.registry.as_ref().zip(to).is_some_and(|(registry, to)| registry.is_closed(to)) {
                        self.reached.insert("the connection of a ringing phone ends");
                        allowed.push(CallStatus::Failed);
                    }
                    if !self.setup.slow_store && !entry.unsure && !allowed.contains(status) {
                        return Err(format!("{leg} ended {status:?}, but the wire says {allowed:?} (RCML 1.4)"));
                    }
                    if entry.ended.is_some_and(|ended| ended != *status) {
                        return Err(format!("{leg} ended twice: {:?}, then {status:?}", entry.ended));
                    }
                    entry.ended = Some(*status);
                    entry.tries += 1;
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

    /// A warning is left on a call: that somebody is not registered must be so.
    pub(super) fn noted(&mut self, notice: &Notice, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        let Some(registry) = &mut self.registry else { return Ok(()) };
        let named = notice.notice.message.split_once("client \"").and_then(|(_, rest)| rest.split_once('"'));
        match named {
            Some((client, _)) => registry.is_absent(client, at, unix_ms),
            None => Ok(()),
        }
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
}
