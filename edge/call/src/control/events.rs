//! The steps of one leg as its record and its status callbacks tell them (RCML.md 1.4).

use std::sync::Arc;

use ringfork_rcml::program::{Callback, Events, Noun};

use super::desk::Desk;
use super::params::{self, Form, whole_seconds};
use super::{CallDescription, CallSid, CallStatus, Event, EventKind, Write};
use crate::action::Now;

/// Writes a leg's steps down and fires the subscribed ones.
pub(super) struct LegLog {
    card: CallDescription,
    parent: CallSid,
    noun: Arc<Noun>,
    /// Events sent so far: the next `SequenceNumber`.
    sent: u32,
    /// Its item is there.
    written: bool,
    answered: Option<Now>,
}

fn subscribed(events: Events, kind: EventKind) -> bool {
    match kind {
        EventKind::Initiated => events.initiated,
        EventKind::Ringing => events.ringing,
        EventKind::Answered => events.answered,
        EventKind::Completed => events.completed,
    }
}

/// What requests about a leg say of it.
pub(super) struct Card<'a> {
    pub(super) call: &'a CallDescription,
    parent: CallSid,
    noun: &'a Noun,
}

impl Card<'_> {
    /// The parameters of a request for its screening document (RCML.md 1.3): it has answered, and is in-progress or
    /// completed.
    pub(super) fn screening_parameters(&self, account_sid: &str, status: CallStatus) -> Form {
        let mut form = params::standard(account_sid, self.call, status, &self.noun.headers);
        params::add_parent(&mut form, self.parent);
        form
    }
}

impl LegLog {
    pub(super) fn new(card: CallDescription, parent: CallSid, noun: Arc<Noun>) -> LegLog {
        LegLog { card, parent, noun, sent: 0, written: false, answered: None }
    }

    pub(super) fn sid(&self) -> CallSid {
        self.card.sid
    }

    pub(super) fn noun(&self) -> &Noun {
        &self.noun
    }

    pub(super) fn card(&self) -> Card<'_> {
        Card { call: &self.card, parent: self.parent, noun: &self.noun }
    }

    pub(super) fn initiated(&mut self, now: Now, desk: &mut Desk) {
        self.step(now, EventKind::Initiated, CallStatus::Initiated, desk);
    }

    pub(super) fn ringing(&mut self, now: Now, desk: &mut Desk) {
        self.step(now, EventKind::Ringing, CallStatus::Ringing, desk);
    }

    pub(super) fn answered(&mut self, now: Now, desk: &mut Desk) {
        self.answered = Some(now);
        self.step(now, EventKind::Answered, CallStatus::InProgress, desk);
    }

    /// The last step: the log is used up.
    pub(super) fn completed(mut self, now: Now, status: CallStatus, desk: &mut Desk) {
        self.step(now, EventKind::Completed, status, desk);
    }

    /// The answer of a leg that is screened has no other witness than the leg's item: the acceptance names the leg only
    /// when screening is over. Where somebody waits for `completed`, it must be known after this edge's death (RCML.md
    /// 1.4: completed if the leg answered, "still in screening" included).
    fn is_witness(&self, kind: EventKind) -> bool {
        let awaited = self.noun.callback.as_ref().is_some_and(|callback| callback.events.completed);
        kind == EventKind::Answered && awaited && self.noun.screening.is_some()
    }

    /// A step is written when it is subscribed, or the last, or the answer of a leg that is screened (DESIGN "Few
    /// writes").
    fn step(&mut self, now: Now, kind: EventKind, status: CallStatus, desk: &mut Desk) {
        let noun = Arc::clone(&self.noun);
        let callback = noun.callback.as_ref().filter(|callback| subscribed(callback.events, kind));
        let event = callback.map(|callback| Arc::new(self.event(now, kind, status, callback, desk)));
        let last = kind == EventKind::Completed;
        if event.is_none() && !last && !self.is_witness(kind) {
            return;
        }
        let description = (!std::mem::replace(&mut self.written, true)).then(|| Box::new(self.card.clone()));
        let write = Write::Leg {
            leg: self.card.sid,
            description,
            status,
            answered_unix_ms: self.answered.map(|at| at.unix_ms),
            ended_unix_ms: last.then_some(now.unix_ms),
            event,
            handed_over: Vec::new(),
        };
        desk.journal.write(now, self.card.sid, write, &mut desk.out);
    }

    fn event(&mut self, now: Now, kind: EventKind, status: CallStatus, callback: &Callback, desk: &Desk) -> Event {
        let sequence = self.sent;
        self.sent += 1;
        let duration = (kind == EventKind::Completed)
            .then(|| self.answered.map_or(0, |answered| whole_seconds(answered.instant, now.instant)));
        let mut parameters = params::standard(&desk.config.account_sid, &self.card, status, &self.noun.headers);
        params::add_event(&mut parameters, self.parent, sequence, now.unix_ms, duration);
        Event {
            leg: self.card.sid,
            parent: self.parent,
            sequence,
            kind,
            url: callback.url.clone(),
            method: callback.method,
            fired_unix_ms: now.unix_ms,
            parameters,
        }
    }
}
