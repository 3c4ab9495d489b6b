//! What must hold whenever the core has done its work, and what must be left at the end of a run: nothing.

use std::collections::HashSet;
use std::time::Duration;

use ringfork_call::control::EventKind;

use super::{Fault, Leg, Watch, WireLeg};

impl Watch {
    /// The core has done what it wanted to do about an input.
    pub fn settled(&mut self, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        if let Some(registry) = &mut self.registry {
            registry.settled(at, unix_ms)?;
            self.reached.extend(registry.reached.drain(..));
        }
        if self.calls.iter().any(|call| call.cancelled_first && call.proceeding && call.last.is_none()) {
            return Err("a CANCEL came before our final response and got no 487 (RCML 1.5)".into());
        }
        self.none_screens_too_long(at)?;
        self.answered_callers_hear_ringing()?;
        for (call_id, wire) in &self.wire {
            // Where a re-INVITE of the leg waits for its ACK, the BYE waits too (RFC 3261 §15).
            let over = wire.leg.and_then(|leg| self.legs.get(&leg)).is_some_and(|leg| leg.ended.is_some());
            if over && wire.successes_heard > 0 && !wire.bye && !wire.reinvited {
                return Err(format!("{call_id}: over, answered and not released (RCML 1.2)"));
            }
        }
        Ok(())
    }

    /// Everything is over.
    pub fn finished(&self) -> Result<(), Fault> {
        if let Some(registry) = &self.registry {
            registry.finished()?;
        }
        if let Some(recording) = self.recordings.iter().next() {
            return Err(format!("{recording} was never answered"));
        }
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
            let closed =
                |leg: &WireLeg| self.registry.as_ref().zip(leg.to).is_some_and(|(registry, to)| registry.is_closed(to));
            if leg.final_heard.is_none() && leg.provisional_heard && !leg.cancelled && !closed(leg) {
                return Err(format!("{call_id}: it may ring for ever: no CANCEL, no final response"));
            }
        }
        let rung = self.legs.values().filter(|leg| leg.ended.is_some()).count();
        let trunk = |leg: &Leg| leg.plan.as_ref().is_some_and(|plan| !plan.to.starts_with("client:"));
        // A binding may go between its leg's naming and its INVITE: it is not rung then.
        let registering = self.registry.is_some();
        if rung != self.wire.len() && !registering && !self.legs.values().any(trunk) {
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
            // After ten attempts a write is given up, and the reaper's.
            if self.stored.get(sid) != leg.ended.as_ref() && leg.tries < 10 {
                return Err(format!("{sid}: ended {:?}, the store says {:?}", leg.ended, self.stored.get(sid)));
            }
        }
        if !self.open.is_empty() {
            return Err(format!("media left open: {:?}", self.open));
        }
        Ok(())
    }
}
