//! One REGISTER of an AOR at a time: each is judged on what the former ones have left, and its bindings change in the
//! store and in the table together or not at all (RFC 3261 §10.3: a REGISTER is atomic and in order).
//!
//! While a REGISTER's bindings are being written, further ones of its AOR wait, [`MAX_WAITING`] at most; each waits two
//! seconds in all, then it gets 500. A write that is refused, or done only after its REGISTER was given up, is taken
//! back: the store gets what the table has.

use std::collections::VecDeque;
use std::time::Duration;

use ringfork_sip::registrar::{BindingWrite, Change, Reply};

use super::Agent;
use super::core::{Pending, Request, Timer};
use super::timers::TimerId;
use crate::action::{Action, Ports, StoreError};

/// How long a REGISTER waits for its turn and its write (DESIGN "The split").
const WRITE: Duration = Duration::from_secs(2);
/// REGISTERs of one AOR that wait for a former one's write; a further one gets 500 with Retry-After.
const MAX_WAITING: usize = 16;

/// The REGISTERs of one AOR that are under way. It is there only while a write is.
#[derive(Debug)]
pub struct Turns {
    writing: Writing,
    waiting: VecDeque<Waiting>,
}

/// A REGISTER that waits for its turn.
#[derive(Debug)]
struct Waiting {
    serial: u64,
    request: Request,
    timer: Option<TimerId>,
}

/// What the store is doing for an AOR.
#[derive(Debug)]
enum Writing {
    /// A REGISTER's bindings.
    Changes { waiting: Box<Waiting>, changes: Vec<Change>, reply: Reply },
    /// The same, but nobody waits for them any more.
    GivenUp { changes: Vec<Change> },
    /// What the table has, after a write that came to nothing.
    Mending,
}

impl<P: Ports> Agent<P> {
    /// An authenticated REGISTER of this AOR: at once, or when it is its turn.
    pub(super) fn register_in_turn(&mut self, aor: &str, request: Request) {
        let Some(turns) = self.registering.get(aor) else {
            let waiting = Waiting { serial: 0, request, timer: None };
            if let Some(writing) = self.begin_turn(aor, waiting) {
                self.registering.insert(aor.to_owned(), Turns { writing, waiting: VecDeque::new() });
            }
            return;
        };
        if turns.waiting.len() >= MAX_WAITING {
            self.core.count("registrations_refused_total", "");
            return self.core.refuse_for_now(&request, 500, 5);
        }
        let waiting = self.patiently(aor, Waiting { serial: 0, request, timer: None });
        if let Some(turns) = self.registering.get_mut(aor) {
            turns.waiting.push_back(waiting);
        }
    }

    /// Starts the two seconds, if they do not run yet.
    fn patiently(&mut self, aor: &str, mut waiting: Waiting) -> Waiting {
        if waiting.timer.is_none() {
            waiting.serial = self.core.serial();
            let timer = Timer::Registering { aor: aor.to_owned(), serial: waiting.serial };
            self.core.set(&mut waiting.timer, WRITE, timer);
        }
        waiting
    }

    /// Its turn has come. Gives back what is to be waited for, if anything.
    fn begin_turn(&mut self, aor: &str, mut waiting: Waiting) -> Option<Writing> {
        let (changes, reply) = match self.decide(aor, &waiting.request) {
            Ok(outcome) => (outcome.changes, outcome.reply),
            Err(refusal) => {
                self.core.timers.clear(&mut waiting.timer);
                self.refuse_register(&waiting.request, refusal);
                return None;
            }
        };
        let bindings: Vec<BindingWrite> = changes.iter().filter_map(Change::write).collect();
        if bindings.is_empty() {
            self.core.timers.clear(&mut waiting.timer);
            self.registered(waiting.request, changes, reply, None);
            return None;
        }
        let waiting = Box::new(self.patiently(aor, waiting));
        self.write_bindings(aor, bindings);
        Some(Writing::Changes { waiting, changes, reply })
    }

    fn write_bindings(&mut self, aor: &str, bindings: Vec<BindingWrite>) {
        let token = self.core.token(Pending::Bindings(aor.to_owned()));
        self.core.actions.push_back(Action::WriteBindings { token, bindings });
    }

    /// The write of this AOR's bindings was answered.
    pub(super) fn bindings_written(&mut self, aor: &str, result: Result<(), StoreError>) {
        let Some(turns) = self.registering.get_mut(aor) else { return };
        let changes = match std::mem::replace(&mut turns.writing, Writing::Mending) {
            Writing::Mending => return self.next_turn(aor),
            Writing::GivenUp { changes } => changes,
            Writing::Changes { mut waiting, changes, reply } => {
                self.core.timers.clear(&mut waiting.timer);
                // Over a connection that has ended nobody can be reached.
                if result.is_ok() && self.core.is_open(waiting.request.flow) {
                    self.registered(waiting.request, changes, reply, Some(aor));
                    return self.next_turn(aor);
                }
                self.register_failed(&waiting.request);
                changes
            }
        };
        // Another epoch owns these bindings: they are not ours to mend.
        if result == Err(StoreError::Stale) {
            return self.next_turn(aor);
        }
        let former = |change: &Change| match self.core.bindings.get(aor, change.key()) {
            Some(binding) => BindingWrite::Put(Box::new(binding.to_record())),
            None => BindingWrite::Delete { aor: aor.to_owned(), key: change.key().to_owned() },
        };
        let mending = changes.iter().filter(|change| change.write().is_some()).map(former).collect();
        self.write_bindings(aor, mending);
    }

    fn next_turn(&mut self, aor: &str) {
        loop {
            let Some(turns) = self.registering.get_mut(aor) else { return };
            let Some(waiting) = turns.waiting.pop_front() else {
                self.registering.remove(aor);
                return;
            };
            if let Some(writing) = self.begin_turn(aor, waiting) {
                if let Some(turns) = self.registering.get_mut(aor) {
                    turns.writing = writing;
                }
                return;
            }
        }
    }

    /// A REGISTER waits for too long: 500, and nothing is changed. Its write, if that is under way, is taken back when
    /// it is answered; the next one's turn comes then.
    pub(super) fn register_is_late(&mut self, aor: &str, serial: u64) {
        let Some(turns) = self.registering.get_mut(aor) else { return };
        let request = if let Some(place) = turns.waiting.iter().position(|waiting| waiting.serial == serial) {
            turns.waiting.remove(place).map(|waiting| waiting.request)
        } else {
            turns.give_up(|waiting| waiting.serial == serial).map(|waiting| waiting.request)
        };
        if let Some(request) = request {
            self.register_failed(&request);
        }
    }

    /// The store did not write a REGISTER's bindings: 500.
    fn register_failed(&mut self, request: &Request) {
        self.core.refuse_for_now(request, 500, 5);
        self.core.count("binding_writes_failed_total", "");
    }

    /// The client is deleted: its REGISTERs under way change nothing.
    pub(super) fn refuse_registers_of(&mut self, login: &str) {
        let Some(turns) = self.registering.get_mut(login) else { return };
        let mut refused: Vec<Waiting> = turns.waiting.drain(..).collect();
        refused.extend(turns.give_up(|_| true).map(|waiting| *waiting));
        for mut waiting in refused {
            self.core.timers.clear(&mut waiting.timer);
            self.core.refuse(&waiting.request, 403);
        }
    }

    /// Whether a write of this binding is under way, after whose answer the store will have what the table has.
    pub(super) fn is_being_written(&self, aor: &str, key: &str) -> bool {
        self.registering.get(aor).is_some_and(|turns| match &turns.writing {
            Writing::Changes { changes, .. } | Writing::GivenUp { changes } => {
                changes.iter().any(|change| change.key() == key && change.write().is_some())
            }
            Writing::Mending => false,
        })
    }
}

impl Turns {
    /// Gives the REGISTER that is being written up, if it is this one.
    fn give_up(&mut self, is_it: impl FnOnce(&Waiting) -> bool) -> Option<Box<Waiting>> {
        match std::mem::replace(&mut self.writing, Writing::Mending) {
            Writing::Changes { waiting, changes, .. } if is_it(&waiting) => {
                self.writing = Writing::GivenUp { changes };
                Some(waiting)
            }
            other => {
                self.writing = other;
                None
            }
        }
    }
}
