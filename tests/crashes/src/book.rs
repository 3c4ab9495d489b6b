//! What was asked, what took effect, what the customer got; and at the end, what must be true of it.
//!
//! The expectation of a leg comes from the writes that took effect, one by one, and from what the core is known to have
//! seen; the reaper's own rules are not used.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ringfork::adapters::convert;
use ringfork_call::action::BindingRecord;
use ringfork_call::control::{CallStatus, Event, EventKind, LegPlan, Write};
use ringfork_state::memory::MemoryStore;
use ringfork_state::{Call, CallSid, CallbackEvent, Reaping};

use crate::at_once;
use crate::customer::Customer;

const KINDS: [EventKind; 4] = [EventKind::Initiated, EventKind::Ringing, EventKind::Answered, EventKind::Completed];

fn place(name: &str) -> Option<usize> {
    ["initiated", "ringing", "answered", "completed"].iter().position(|kind| *kind == name)
}

#[derive(Default)]
struct LegBook {
    plan: Option<LegPlan>,
    parent: Option<CallSid>,
    /// The store knows its name.
    named: bool,
    /// A step of it was to be written.
    launched: bool,
    /// Its document was fetched: it has answered.
    screened: bool,
    answered: Option<u64>,
    ended: Option<CallStatus>,
    /// Events that are, or were, in its item; by their place among the kinds.
    stored: BTreeSet<usize>,
    /// Events that the core handed over.
    handed: BTreeSet<usize>,
    /// Its newest write has not taken effect, or the core does not know; others may wait for it.
    pending: bool,
}

impl LegBook {
    fn subscribed(&self, kind: usize) -> bool {
        let callback = self.plan.as_ref().and_then(|plan| plan.callback.as_ref());
        callback.is_some_and(|callback| {
            let events = callback.events;
            [events.initiated, events.ringing, events.answered, events.completed].get(kind) == Some(&true)
        })
    }

    /// Something was handed over unwritten and the edge died before the store had it (DESIGN "The split"): the reaper
    /// cannot know of it, so that a number may come twice and a repetition may differ.
    fn is_loose(&self) -> bool {
        self.handed.iter().any(|kind| !self.stored.contains(kind))
    }
}

#[derive(Default)]
struct CallBook {
    life: usize,
    caller: u8,
    put: bool,
    named: bool,
    accepted: BTreeMap<CallSid, u64>,
    ended: Option<u64>,
}

/// How a life ended.
#[derive(Clone, Copy)]
struct LifeBook {
    last_renewal_unix_ms: u64,
    killed: bool,
}

/// See the module.
#[derive(Default)]
pub struct Book {
    calls: BTreeMap<CallSid, CallBook>,
    legs: BTreeMap<CallSid, LegBook>,
    lives: Vec<LifeBook>,
    /// Stored bindings of each AOR at the start of this life; empty in the first.
    bound: BTreeMap<String, usize>,
    rebound: bool,
    invited: BTreeSet<u8>,
    answered: BTreeSet<u8>,
    /// Legs whose newest write has taken effect, and the core may not know.
    fresh: Vec<CallSid>,
    /// What happened, of the things worth counting.
    pub reached: BTreeSet<String>,
}

fn caller_of(address: SocketAddr) -> Option<u8> {
    match address.ip() {
        IpAddr::V4(ip) if ip.octets()[..3] == [10, 0, 1] => ip.octets()[3].checked_sub(1),
        _ => None,
    }
}

impl Book {
    fn reach(&mut self, what: impl Into<String>) {
        self.reached.insert(what.into());
    }

    /// A life begins with these registrations.
    pub fn begins(&mut self, bindings: &[BindingRecord]) {
        self.bound.clear();
        if !self.lives.is_empty() {
            for binding in bindings {
                *self.bound.entry(format!("client:{}", binding.aor)).or_default() += 1;
            }
        }
        self.rebound = false;
        self.fresh.clear();
        self.invited.clear();
        self.answered.clear();
    }

    /// A registration changed: what was stored at the start says no more who is rung.
    pub fn rebound(&mut self) {
        self.rebound = true;
    }

    /// The core put this on the wire.
    pub fn transmits(&mut self, to: SocketAddr, bytes: &[u8]) {
        let Some(caller) = caller_of(to) else { return };
        self.invited.insert(caller);
        if bytes.starts_with(b"SIP/2.0 200 ") && String::from_utf8_lossy(bytes).contains("CSeq: 1 INVITE") {
            self.answered.insert(caller);
        }
    }

    /// The core wants this written.
    pub fn asked(&mut self, write: &Write) -> Result<(), String> {
        match write {
            Write::PutParent { call, .. } => {
                let life = self.lives.len();
                let book = self.calls.entry(convert::sid(call.sid)).or_default();
                (book.life, book.caller) = (life, u8::from(call.to.ends_with('1')));
            }
            Write::NameLegs { parent, legs } => {
                for plan in legs {
                    let leg = self.legs.entry(convert::sid(plan.leg)).or_default();
                    (leg.plan, leg.parent) = (Some(plan.clone()), Some(convert::sid(*parent)));
                }
                for (client, devices) in self.bound.iter().filter(|_| !self.rebound) {
                    let rung = legs.iter().filter(|leg| leg.to == *client).count();
                    if rung != *devices {
                        return Err(format!("{client} has {devices} stored bindings, {rung} are rung (RCML 1.2)"));
                    }
                    self.reached.insert("stored registrations ring after a crash".into());
                }
            }
            Write::Leg { leg, .. } => {
                let sid = convert::sid(*leg);
                self.fresh.retain(|fresh| *fresh != sid);
                let leg = self.legs.entry(sid).or_default();
                (leg.launched, leg.pending) = (true, true);
            }
            Write::ClearEvents { .. } | Write::Accept { .. } | Write::Parent { .. } => {}
        }
        Ok(())
    }

    /// The core knows what has taken effect until now.
    pub fn settles(&mut self) {
        for sid in self.fresh.drain(..) {
            if let Some(leg) = self.legs.get_mut(&sid) {
                leg.pending = false;
            }
        }
    }

    /// The core takes this for failed, though it is applied: it will come again, and others wait for it.
    pub fn unheard(&mut self, write: &Write) {
        if let Write::Leg { leg, .. } = write {
            self.fresh.retain(|fresh| *fresh != convert::sid(*leg));
        }
    }

    /// The core fetches a document for this call or leg.
    pub fn fetches(&mut self, sid: &str) {
        if let Some(leg) = sid.parse().ok().and_then(|sid: CallSid| self.legs.get_mut(&sid)) {
            leg.screened = true;
        }
    }

    /// The core hands this over.
    pub fn hands_over(&mut self, event: &Event) {
        let leg = self.legs.entry(convert::sid(event.leg)).or_default();
        leg.handed.extend(KINDS.iter().position(|kind| *kind == event.kind));
    }

    /// The store has this now.
    pub fn applied(&mut self, write: &Write) {
        match write {
            Write::PutParent { call, .. } => self.calls.entry(convert::sid(call.sid)).or_default().put = true,
            Write::NameLegs { parent, legs } => {
                self.calls.entry(convert::sid(*parent)).or_default().named = true;
                for plan in legs {
                    self.legs.entry(convert::sid(plan.leg)).or_default().named = true;
                }
            }
            Write::Accept { parent, leg, unix_ms } => {
                let call = self.calls.entry(convert::sid(*parent)).or_default();
                call.accepted.insert(convert::sid(*leg), *unix_ms);
            }
            Write::Leg { leg, status, answered_unix_ms, ended_unix_ms, event, .. } => {
                self.fresh.push(convert::sid(*leg));
                let leg = self.legs.entry(convert::sid(*leg)).or_default();
                leg.answered = leg.answered.or(*answered_unix_ms);
                if ended_unix_ms.is_some() {
                    leg.ended = Some(*status);
                }
                let kind = event.as_ref().and_then(|event| KINDS.iter().position(|kind| *kind == event.kind));
                leg.stored.extend(kind);
            }
            Write::ClearEvents { .. } => {}
            Write::Parent { parent, ended_unix_ms, .. } => {
                let call = self.calls.entry(convert::sid(*parent)).or_default();
                call.ended = call.ended.or(*ended_unix_ms);
            }
        }
    }

    /// A life is over. `open`: parents that the store has open.
    pub fn ends(&mut self, killed: bool, last_renewal_unix_ms: u64, open: usize) {
        let life = self.lives.len();
        self.lives.push(LifeBook { last_renewal_unix_ms, killed });
        if !killed {
            return;
        }
        let mut states = BTreeSet::new();
        states.insert(if open == 0 { "killed: nothing open" } else { "killed: a call is open" });
        for (sid, call) in self.calls.iter().filter(|(_, call)| call.life == life) {
            let legs = || self.legs.values().filter(|leg| leg.parent == Some(*sid));
            if !call.put {
                states.insert("killed: before the parent is written");
            } else if !call.named && call.ended.is_none() {
                states.insert("killed: before legs are named");
            }
            if call.named && !legs().any(|leg| leg.launched) {
                states.insert("killed: legs named, none rung");
            }
            if !call.accepted.is_empty() && !self.answered.contains(&call.caller) {
                states.insert("killed: accepted, the caller's 200 not sent");
            }
            if !call.accepted.is_empty() && self.answered.contains(&call.caller) && call.ended.is_none() {
                states.insert("killed: bridged");
            }
            for leg in legs() {
                if leg.screened && leg.ended.is_none() && !leg.subscribed(2) {
                    states.insert("killed: in screening, answered not subscribed");
                } else if leg.screened && leg.ended.is_none() {
                    states.insert("killed: in screening");
                }
                if leg.stored.contains(&3) && !leg.handed.contains(&3) {
                    states.insert("killed: completed written, not handed over");
                }
                if leg.stored.difference(&leg.handed).next().is_some() {
                    states.insert("killed: between write and hand-over");
                }
                if leg.is_loose() {
                    states.insert("killed: an event handed over unwritten");
                }
                if !leg.named && leg.launched {
                    states.insert("killed: a leg rung that the store cannot name");
                }
            }
        }
        let invited = self.calls.values().filter(|call| call.life == life).count();
        if self.invited.len() > invited {
            states.insert("killed: before the parent's write is asked");
        }
        states.into_iter().for_each(|state| self.reach(state));
    }

    /// The store knows it: a reaper can find it.
    pub fn is_known(&self, sid: CallSid) -> bool {
        self.calls.contains_key(&sid) || self.legs.get(&sid).is_some_and(|leg| leg.named)
    }

    /// It was over by itself: a dead edge's late clearing of it changes nothing that matters.
    pub fn is_over(&self, sid: CallSid) -> bool {
        self.legs.get(&sid).is_some_and(|leg| leg.ended.is_some())
    }

    /// Everything is over and closed.
    pub fn check(&mut self, store: &MemoryStore, customer: &Customer) -> Result<(), String> {
        let read = |sid: &CallSid| at_once(store.read_calls(&[*sid])).ok().and_then(|mut calls| calls.pop());
        for (sid, call) in self.calls.iter().filter(|(_, call)| call.put) {
            let stored = read(sid).ok_or_else(|| format!("{sid} was written and is gone"))?;
            if stored.open {
                return Err(format!("{sid} is left open (DESIGN \"Callbacks\")"));
            }
            if stored.ended_unix_ms.is_none() {
                return Err(format!("{sid} never ended"));
            }
            if call.ended.is_some_and(|ended| stored.ended_unix_ms != Some(ended)) {
                return Err(format!("{sid} ended twice"));
            }
        }
        let mut got = customer.by_leg();
        let mut reached = BTreeSet::new();
        for (sid, leg) in &self.legs {
            let got = got.remove(sid).unwrap_or_default();
            self.check_leg(*sid, leg, &got, read(sid), &mut reached).map_err(|fault| format!("{sid}: {fault}"))?;
        }
        if let Some((sid, _)) = got.first_key_value() {
            return Err(format!("{sid}: an event of a leg that was never named"));
        }
        self.reached.extend(reached);
        Ok(())
    }

    fn check_leg(
        &self,
        sid: CallSid,
        leg: &LegBook,
        got: &BTreeMap<String, Vec<CallbackEvent>>,
        stored: Option<Call>,
        reached: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        // Where the store did not take its name within two seconds the leg was rung nevertheless (DESIGN "The split"):
        // no reaper can find it.
        if !leg.named {
            reached.insert("a leg that the store cannot name".into());
            return Ok(());
        }
        let call = leg.parent.and_then(|parent| self.calls.get(&parent)).ok_or("a leg of no call")?;
        let life = self.lives.get(call.life).copied().ok_or("of no life")?;
        let completed = got.keys().filter(|key| key.ends_with("-completed")).count();
        // A reaper must report each leg of a call that the store has open.
        let owed = leg.launched || (life.killed && call.ended.is_none());
        if completed != 1 && leg.subscribed(3) && owed {
            return Err(format!("{completed} completed events (RCML 1.4): {:?}", got.keys()));
        }
        if leg.is_loose() {
            return Ok(());
        }
        let mut events: Vec<&CallbackEvent> = Vec::new();
        for (key, repetitions) in got {
            let Some(first) = repetitions.first() else { continue };
            if repetitions.iter().any(|one| one != first) {
                return Err(format!("repetitions of {key} differ (RCML 1.4): {:?}", parameters(repetitions)));
            }
            if repetitions.len() > 1 && life.killed {
                reached.insert("an event is repeated after a crash".into());
            }
            events.push(first);
        }
        events.sort_by_key(|event| event.sequence);
        let kinds: Vec<usize> = events.iter().filter_map(|event| place(event.kind.as_str())).collect();
        for (number, event) in events.iter().enumerate() {
            if event.sequence as usize != number || parameter(event, "SequenceNumber") != number.to_string() {
                return Err(format!("event {} is the {number}th (RCML 1.4): {kinds:?}", event.sequence));
            }
        }
        if !kinds.is_sorted_by(|a, b| a < b) {
            return Err(format!("in this order: {kinds:?} (RCML 1.4)"));
        }
        if let Some(kind) = kinds.iter().find(|kind| !leg.subscribed(**kind)) {
            return Err(format!("{:?} is not subscribed (RCML 1.4)", KINDS[*kind]));
        }
        if leg.subscribed(0) && kinds.first().is_some_and(|first| *first != 0) {
            return Err(format!("no initiated first: {kinds:?} (RCML 1.4)"));
        }
        if let Some(kind) = leg.stored.iter().find(|kind| !kinds.contains(kind)) {
            return Err(format!("{:?} was written and never delivered (RCML 1.4)", KINDS[*kind]));
        }
        if kinds.contains(&1) && !leg.stored.contains(&1) {
            return Err("ringing was delivered and never fired".into());
        }
        if leg.screened && leg.subscribed(3) && !leg.pending && leg.answered.is_none() {
            return Err("it answered and is screened, and nothing tells it (RCML 1.4)".into());
        }
        let answered = leg.answered.or(call.accepted.get(&sid).copied());
        if kinds.contains(&2) && answered.is_none() {
            return Err("answered was delivered and it never answered".into());
        }
        let status = leg.ended.unwrap_or(if answered.is_some() { CallStatus::Completed } else { CallStatus::Failed });
        if let Some(event) = events.iter().find(|event| event.kind.as_str() == "completed") {
            if parameter(event, "CallStatus") != status.as_str() {
                let told = parameter(event, "CallStatus");
                return Err(format!("completed says {told}, it is {} (RCML 1.4)", status.as_str()));
            }
            if leg.ended.is_none() {
                // DESIGN "Time": it ended with its call, or at the last renewal.
                let end = call.ended.unwrap_or(life.last_renewal_unix_ms);
                let duration = answered.map_or(0, |answered| end.saturating_sub(answered) / 1000);
                if parameter(event, "CallDuration") != duration.to_string() {
                    let told = parameter(event, "CallDuration");
                    return Err(format!("CallDuration {told} instead of {duration} (DESIGN \"Time\")"));
                }
                reached.insert(format!("reaped: {}", status.as_str()));
            }
        }
        match stored {
            None if owed && leg.subscribed(3) => Err("its end was never written".into()),
            None => Ok(()),
            Some(item) if item.ended_unix_ms.is_none() => Err("its item never ended".into()),
            Some(item) if !item.events.is_empty() => Err(format!("its item still has {:?}", item.events)),
            Some(item) if item.status.as_str() != status.as_str() => {
                Err(format!("its item says {}, it is {}", item.status.as_str(), status.as_str()))
            }
            Some(_) => Ok(()),
        }
    }
}

fn parameter(event: &CallbackEvent, name: &str) -> String {
    event.parameters.iter().find(|(one, _)| one == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

fn parameters(events: &[CallbackEvent]) -> Vec<&Vec<(String, String)>> {
    events.iter().map(|event| &event.parameters).collect()
}
