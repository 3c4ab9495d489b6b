//! Between a simulated world and the store: one life of the edge. The edge's own writers put into the in-memory store
//! what its core writes, when it takes effect, and the book takes note.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ringfork::adapters::{BindingWriter, CallWriter, convert};
use ringfork_call::action::{Action, BindingRecord, BindingWrite, Now};
use ringfork_reap::Reaper;
use ringfork_simulator::dice::Dice;
use ringfork_simulator::outside::{Fate, Moment, Outside};
use ringfork_state::memory::MemoryStore;
use ringfork_state::{Owner, StoreError};

use crate::at_once;
use crate::book::Book;
use crate::customer::Customer;
use crate::doubt::{Doubtful, Effect, Late};
use crate::kill::Kill;

/// The account of every run.
pub fn account() -> String {
    format!("AC{}", "0".repeat(32))
}

/// The reaper's run in the middle of a life.
pub struct Rounds {
    /// Moments until then.
    pub after: u64,
    /// Who runs.
    pub reaper: Reaper,
    /// On what.
    pub runtime: Arc<tokio::runtime::Runtime>,
}

/// One life.
pub struct Site<'a> {
    owner: Owner,
    doubtful: Arc<Doubtful>,
    writer: Arc<CallWriter>,
    bindings: BindingWriter,
    customer: Customer,
    dice: Dice,
    kill: Option<Kill>,
    rounds: Option<Rounds>,
    book: &'a mut Book,
    /// Writes that were under way at its end and did not take effect.
    pub late: Vec<Late>,
    /// What it came to.
    pub reached: BTreeSet<String>,
}

impl<'a> Site<'a> {
    /// A life of this owner.
    pub fn new(
        store: &MemoryStore,
        owner: Owner,
        customer: Customer,
        dice: Dice,
        kill: Option<Kill>,
        book: &'a mut Book,
    ) -> Site<'a> {
        let doubtful = Arc::new(Doubtful { store: store.clone(), next: Mutex::default() });
        let writer = CallWriter::new(doubtful.clone(), Arc::new(store.clone()), owner.clone(), account());
        let bindings = BindingWriter::new(Arc::new(store.clone()), owner.clone());
        Site {
            owner,
            doubtful,
            writer: Arc::new(writer),
            bindings,
            customer,
            dice,
            kill,
            rounds: None,
            book,
            late: Vec::new(),
            reached: BTreeSet::new(),
        }
    }

    /// The reaper runs in the middle of it.
    pub fn with_rounds(mut self, rounds: Rounds) -> Self {
        self.rounds = Some(rounds);
        self
    }

    /// The phones register, before any call.
    pub fn register(&self, records: Vec<BindingRecord>) {
        for record in records {
            at_once(self.bindings.write(vec![BindingWrite::Put(Box::new(record))])).expect("the store takes a binding");
        }
    }

    /// What the edge finds registered at its start.
    pub fn load(&self) -> Vec<BindingRecord> {
        let mut records = at_once(self.bindings.load()).expect("the store has bindings");
        records.sort_by(|a, b| (&a.aor, &a.key).cmp(&(&b.aor, &b.key)));
        records
    }

    /// The edge starts with these registrations.
    pub fn begins(&mut self, bindings: &[BindingRecord]) {
        self.book.begins(bindings);
    }

    fn write(&mut self, write: &ringfork_call::control::Write, effect: Effect) -> Result<(), String> {
        *self.doubtful.next.lock().unwrap() = effect;
        let result = at_once(self.writer.write(write.clone()));
        // A doubtful repetition may need no write at all.
        *self.doubtful.next.lock().unwrap() = Effect::Done;
        match result {
            Ok(()) => {}
            Err(StoreError::Unavailable(_)) if effect != Effect::Done => {}
            Err(error) => return Err(format!("{:?} could not write {write:?}: {error}", self.owner)),
        }
        if effect != Effect::Lost {
            self.book.applied(write);
        }
        if effect == Effect::Unheard {
            self.book.unheard(write);
        }
        Ok(())
    }

    fn bind(&mut self, writes: &[BindingWrite]) -> Result<(), String> {
        self.book.rebound();
        at_once(self.bindings.write(writes.to_vec())).map_err(|error| format!("{writes:?}: {error}"))
    }

    fn happens(&mut self, now: Now, moment: &Moment<'_>) -> Result<(), String> {
        match moment {
            Moment::Between => {
                self.book.settles();
                if let Some(rounds) = &mut self.rounds {
                    rounds.after = rounds.after.saturating_sub(1);
                }
                if let Some(rounds) = self.rounds.take_if(|rounds| rounds.after == 0) {
                    let now = ringfork_reap::Now { instant: now.instant, unix_ms: now.unix_ms };
                    let report = rounds.runtime.block_on(rounds.reaper.run(now)).map_err(|error| error.to_string())?;
                    if report != ringfork_reap::Report::default() {
                        self.reached.insert("the reaper goes on beside the next life's calls".into());
                    }
                }
            }
            Moment::Asked(action) => match action {
                Action::WriteCall { write, .. } => self.book.asked(write)?,
                Action::Evaluate { request, .. } => self.book.fetches(&request.call_sid),
                Action::Deliver { event, .. } => self.book.hands_over(event),
                Action::Transmit(transmit) => self.book.transmits(transmit.flow.remote(), &transmit.payload),
                Action::Finished { call } => at_once(self.writer.finished(*call)),
                _ => {}
            },
            Moment::Written { write, fails } => {
                let effect = match fails {
                    false => Effect::Done,
                    true if self.dice.chance(0.5) => Effect::Unheard,
                    true => Effect::Lost,
                };
                self.write(write, effect)?;
            }
            Moment::Bound(writes) => self.bind(writes)?,
            Moment::Delivered { event, accepted } => {
                // A refusal may be an answer that got lost.
                if *accepted || self.dice.chance(0.5) {
                    self.customer.gets(convert::event(&account(), event));
                }
            }
            Moment::WriteLeft(write) => match self.dice.between(0, 2) {
                0 => self.write(write, Effect::Done)?,
                _ => self.late.push(Late { writer: self.writer.clone(), write: (*write).clone() }),
            },
            Moment::BindingsLeft(writes) => {
                if self.dice.chance(0.5) {
                    self.bind(writes)?;
                }
            }
            Moment::EventLeft(event) => {
                if self.dice.chance(0.5) {
                    self.customer.gets(convert::event(&account(), event));
                }
            }
        }
        Ok(())
    }
}

impl Outside for Site<'_> {
    fn sees(&mut self, now: Now, moment: Moment<'_>) -> Result<Fate, String> {
        let dies = self.kill.as_mut().is_some_and(|kill| kill.is_due(now.unix_ms, &moment));
        // What was only asked does not happen any more; what has happened has.
        if !(dies && matches!(moment, Moment::Asked(_))) {
            self.happens(now, &moment)?;
        }
        if !dies {
            return Ok(Fate::Lives);
        }
        if let Some(step) = self.kill.take().and_then(|kill| kill.fatal_step()) {
            self.reached.insert(format!("killed: {step}"));
        }
        Ok(Fate::Dies)
    }
}
