//! What is kept of a call: its writes in order per SID, and the hand-over of its events (DESIGN "The split", "State in
//! DynamoDB"; RCML.md 1.4 "Delivery").
//!
//! - For one SID one write is under way at a time, the others queue behind it; SIDs do not wait for each other.
//! - A write that goes first is a [`Gate`]: the call waits until it is released, at most [`GATE_WAIT`] (the call keeps
//!   that time), and then goes on without it.
//! - A write that fails is tried again after 250 ms, doubling up to 30 s, ten times in all; then it is given up with a
//!   log line and a count. A stale one ends the call.
//! - An event is handed to `callback` as soon as the write that holds it succeeded, or unwritten [`HAND_OVER_WAIT`] after
//!   it was fired. Its idempotency key is the same either way. A hand-over that is refused is tried again (1, 3, 9, 27,
//!   60 s), then left to the item, where it stays uncleared.
//! - Handed-over events are cleared with the item's next write, the last ones in a `ClearEvents` of their own.
//!
//! # What a call costs
//! The parent: its put, one `NameLegs` for each Dial with a leg, one `Accept`, one at its end: four for an answered call
//! with one Dial. A leg: one at its end without subscription; else one for each subscribed event (and one at its end if
//! `completed` is not among them), and one `ClearEvents` at the end; one more for the answer of a screened leg that is
//! subscribed to `completed` and not to `answered`. Nothing is written for a document, a verb or a noun.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outbox::Outbox;
use super::signals::{CallOutput, Ticket};
use super::{CallSid, Event, Write};
use crate::action::{LogLevel, Now, StoreError};

/// How long the call waits for a write that goes first (DESIGN "The split").
pub const GATE_WAIT: Duration = Duration::from_secs(2);
/// How long an event waits for its write (DESIGN "The split").
pub const HAND_OVER_WAIT: Duration = Duration::from_millis(500);

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
const WRITE_ATTEMPTS: u32 = 10;
const HAND_OVER_RETRIES: [u64; 5] = [1, 3, 9, 27, 60];
/// Writes that one SID may have queued while the store is away. The oldest that is not under way gives way.
const QUEUE_LIMIT: usize = 64;

/// A write that the call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate(u32);

/// What an answer of the store means for the call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Nothing waits for it.
    Nothing,
    /// This write is done.
    Gate(Gate),
    /// Another epoch owns the item: the call is no longer ours.
    Stale,
}

/// The writes and events of one call and its legs.
#[derive(Default)]
pub(super) struct Journal {
    items: BTreeMap<CallSid, Item>,
    flights: Flights,
    gates: u32,
}

/// Which answers are awaited.
#[derive(Default)]
struct Flights {
    writes: BTreeMap<Ticket, CallSid>,
    deliveries: BTreeMap<Ticket, (CallSid, u32)>,
}

/// One SID. It is there only while it has something to do or to remember.
#[derive(Default)]
struct Item {
    queue: VecDeque<Entry>,
    head: Head,
    /// Attempts of the queue's first entry that failed.
    failures: u32,
    /// Named as handed over by the write under way.
    clearing: Vec<u32>,
    /// Handed over and not yet cleared.
    acknowledged: Vec<u32>,
    /// Fired and not yet handed over.
    pending: Vec<Pending>,
    /// The last status was queued: no write will come by itself.
    closed: bool,
}

struct Entry {
    write: Write,
    gate: Option<Gate>,
}

/// What the first entry of a queue is doing.
#[derive(Default, PartialEq, Eq)]
enum Head {
    #[default]
    Idle,
    Sent,
    Waiting(Instant),
}

struct Pending {
    event: Arc<Event>,
    state: HandOver,
    failures: usize,
}

enum HandOver {
    /// For its write, at most until then.
    Unwritten(Instant),
    Sent,
    Waiting(Instant),
}

impl Journal {
    /// Queues a write of `sid` behind its others.
    pub(super) fn write(&mut self, now: Now, sid: CallSid, write: Write, out: &mut Outbox) {
        self.push(now, sid, Entry { write, gate: None }, out);
    }

    /// Queues a write that the call waits for.
    pub(super) fn write_first(&mut self, now: Now, sid: CallSid, write: Write, out: &mut Outbox) -> Gate {
        self.gates = self.gates.wrapping_add(1);
        let gate = Gate(self.gates);
        self.push(now, sid, Entry { write, gate: Some(gate) }, out);
        gate
    }

    fn push(&mut self, now: Now, sid: CallSid, entry: Entry, out: &mut Outbox) {
        let item = self.items.entry(sid).or_default();
        if let Write::Leg { event, ended_unix_ms, .. } = &entry.write {
            item.closed |= ended_unix_ms.is_some();
            if let Some(event) = event {
                let state = HandOver::Unwritten(now.instant + HAND_OVER_WAIT);
                item.pending.push(Pending { event: Arc::clone(event), state, failures: 0 });
            }
        }
        if item.queue.len() >= QUEUE_LIMIT {
            item.queue.remove(1);
            given_up(sid, "its queue is full", out);
        }
        item.queue.push_back(entry);
        item.pump(sid, &mut self.flights, out);
    }

    /// The store answered.
    pub(super) fn written(
        &mut self,
        now: Now,
        ticket: Ticket,
        result: Result<(), StoreError>,
        out: &mut Outbox,
    ) -> Settled {
        let Some(sid) = self.flights.writes.remove(&ticket) else { return Settled::Nothing };
        let Some(item) = self.items.get_mut(&sid) else { return Settled::Nothing };
        let mut settled = Settled::Nothing;
        match result {
            Err(StoreError::Stale) => return Settled::Stale,
            Ok(()) => {
                item.clearing.clear();
                if let Some(entry) = item.next_entry() {
                    settled = entry.gate.map_or(Settled::Nothing, Settled::Gate);
                    item.deliver_written(sid, &entry.write, &mut self.flights, out);
                }
            }
            Err(StoreError::Unavailable) => {
                let clearing = std::mem::take(&mut item.clearing);
                item.acknowledged.splice(0..0, clearing);
                item.failures += 1;
                out.count("call_write_failures_total", "");
                if item.failures >= WRITE_ATTEMPTS {
                    let entry = item.next_entry();
                    if matches!(entry, Some(Entry { write: Write::ClearEvents { .. }, .. })) {
                        item.acknowledged.clear();
                    }
                    given_up(sid, "the store did not take it in ten attempts", out);
                } else {
                    item.head = Head::Waiting(now.instant + retry_after(item.failures));
                }
            }
        }
        self.settle(sid, out);
        settled
    }

    /// `callback` answered.
    pub(super) fn handed_over(&mut self, now: Now, ticket: Ticket, accepted: bool, out: &mut Outbox) {
        let Some((sid, sequence)) = self.flights.deliveries.remove(&ticket) else { return };
        let Some(item) = self.items.get_mut(&sid) else { return };
        let Some(index) = item.pending.iter().position(|pending| pending.event.sequence == sequence) else { return };
        if accepted {
            item.pending.remove(index);
            item.acknowledged.push(sequence);
        } else if let Some(pending) = item.pending.get_mut(index) {
            match HAND_OVER_RETRIES.get(pending.failures) {
                Some(seconds) => {
                    pending.failures += 1;
                    pending.state = HandOver::Waiting(now.instant + Duration::from_secs(*seconds));
                }
                None => {
                    item.pending.remove(index);
                    out.log(
                        LogLevel::Error,
                        format!("event {sid}-{sequence} could not be handed over and stays with its item"),
                    );
                    out.count("call_events_stranded_total", "");
                }
            }
        }
        self.settle(sid, out);
    }

    /// Does what is due.
    pub(super) fn timeout(&mut self, now: Now, out: &mut Outbox) {
        for (sid, item) in &mut self.items {
            if matches!(item.head, Head::Waiting(until) if until <= now.instant) {
                item.head = Head::Idle;
                item.pump(*sid, &mut self.flights, out);
            }
            for pending in &mut item.pending {
                match pending.state {
                    HandOver::Unwritten(until) if until <= now.instant => {
                        out.count("call_events_unwritten_total", "");
                        pending.deliver(*sid, &mut self.flights, out);
                    }
                    HandOver::Waiting(until) if until <= now.instant => pending.deliver(*sid, &mut self.flights, out),
                    _ => {}
                }
            }
        }
    }

    /// When [`Journal::timeout`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.items
            .values()
            .flat_map(|item| {
                let head = if let Head::Waiting(until) = item.head { Some(until) } else { None };
                head.into_iter().chain(item.pending.iter().filter_map(|pending| match pending.state {
                    HandOver::Unwritten(until) | HandOver::Waiting(until) => Some(until),
                    HandOver::Sent => None,
                }))
            })
            .min()
    }

    /// Everything is written, handed over and cleared, or given up.
    pub(super) fn is_idle(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets everything: the call is no longer ours.
    pub(super) fn discard(&mut self) {
        *self = Journal { gates: self.gates, ..Journal::default() };
    }

    /// After an answer: the next write, the last clearing, or the end of the item.
    fn settle(&mut self, sid: CallSid, out: &mut Outbox) {
        let Some(item) = self.items.get_mut(&sid) else { return };
        if item.closed && item.queue.is_empty() && item.pending.is_empty() && !item.acknowledged.is_empty() {
            item.queue.push_back(Entry { write: Write::ClearEvents { leg: sid, handed_over: Vec::new() }, gate: None });
        }
        item.pump(sid, &mut self.flights, out);
        if item.queue.is_empty() && item.pending.is_empty() && item.acknowledged.is_empty() {
            self.items.remove(&sid);
        }
    }
}

impl Item {
    /// Takes the first entry out: it is done or given up.
    fn next_entry(&mut self) -> Option<Entry> {
        self.head = Head::Idle;
        self.failures = 0;
        self.queue.pop_front()
    }

    /// Sends the first entry if nothing is under way.
    fn pump(&mut self, sid: CallSid, flights: &mut Flights, out: &mut Outbox) {
        if self.head != Head::Idle {
            return;
        }
        let Some(entry) = self.queue.front() else { return };
        let mut write = entry.write.clone();
        match &mut write {
            Write::Leg { handed_over, .. } => {
                // An event may be handed over before its own write succeeds: a write after that one clears it.
                let before = self.queue.iter().find_map(|entry| match &entry.write {
                    Write::Leg { event: Some(event), .. } => Some(event.sequence),
                    _ => None,
                });
                let before = before.unwrap_or(u32::MAX);
                self.clearing = self.acknowledged.extract_if(.., |sequence| *sequence < before).collect();
                handed_over.clone_from(&self.clearing);
            }
            Write::ClearEvents { handed_over, .. } => {
                self.clearing = std::mem::take(&mut self.acknowledged);
                handed_over.clone_from(&self.clearing);
            }
            Write::PutParent { .. } | Write::NameLegs { .. } | Write::Accept { .. } | Write::Parent { .. } => {}
        }
        let ticket = out.ticket();
        flights.writes.insert(ticket, sid);
        self.head = Head::Sent;
        out.push(CallOutput::Write { ticket, write });
    }

    /// The write that holds an event succeeded: hand the event over, if that has not been done unwritten.
    fn deliver_written(&mut self, sid: CallSid, write: &Write, flights: &mut Flights, out: &mut Outbox) {
        let Write::Leg { event: Some(event), .. } = write else { return };
        for pending in &mut self.pending {
            if pending.event.sequence == event.sequence && matches!(pending.state, HandOver::Unwritten(_)) {
                pending.deliver(sid, flights, out);
            }
        }
    }
}

impl Pending {
    fn deliver(&mut self, sid: CallSid, flights: &mut Flights, out: &mut Outbox) {
        let ticket = out.ticket();
        flights.deliveries.insert(ticket, (sid, self.event.sequence));
        self.state = HandOver::Sent;
        out.push(CallOutput::Deliver { ticket, event: Arc::clone(&self.event) });
    }
}

fn retry_after(failures: u32) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_RETRY)
}

fn given_up(sid: CallSid, reason: &str, out: &mut Outbox) {
    out.log(LogLevel::Error, format!("a write of {sid} was given up: {reason}"));
    out.count("call_writes_given_up_total", "");
}
