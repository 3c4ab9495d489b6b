//! One run: lives, deaths and successors of one edge.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use ringfork_reap::{Now, Reaper};
use ringfork_simulator::dice::Dice;
use ringfork_simulator::plan::Plan;
use ringfork_simulator::world::{EPOCH_MS, Life, live, registrations};
use ringfork_state::memory::MemoryStore;
use ringfork_state::{Edges, Owner, Reaping, Renewal, StoreError};

use crate::at_once;
use crate::book::Book;
use crate::customer::{Customer, Web};
use crate::doubt::{Disturbed, Late};
use crate::kill::Kill;
use crate::site::{Rounds, Site};

/// The edge's identity.
const EDGE: &str = "edge";
/// Runs of the reaper after which it should long be done.
const MOST_ROUNDS: usize = 12;
/// Successors that are killed while they recover, at most.
const MOST_STILLBORN: usize = 3;

/// What a run showed.
#[derive(Debug, Default)]
pub struct Report {
    /// What went wrong, if anything.
    pub fault: Option<String>,
    /// The story of the run; only where asked for.
    pub story: Vec<String>,
    /// What happened in it, of the things worth counting.
    pub reached: BTreeSet<String>,
}

/// Plays the run of this seed. `tell`: keep its story.
pub fn run(seed: u64, tell: bool) -> Report {
    let mut run = Run::new(seed, tell);
    let fault = run.play(seed).err();
    let mut reached = run.reached;
    reached.append(&mut run.book.reached);
    Report { fault, story: run.story, reached }
}

struct Run {
    store: MemoryStore,
    customer: Customer,
    web: Arc<Web>,
    runtime: Arc<tokio::runtime::Runtime>,
    /// Decides what the world's own dice do not.
    fate: Dice,
    base: Instant,
    now_unix_ms: u64,
    book: Book,
    late: Vec<Late>,
    story: Vec<String>,
    reached: BTreeSet<String>,
    tell: bool,
}

impl Run {
    fn new(seed: u64, tell: bool) -> Run {
        let mut fate = Dice::new(seed ^ 0x6b69_6c6c_2d39_0000);
        let customer = Customer::default();
        let refuses = fate.pick(&[0, 0, 30, 70]);
        let web = Web { customer: customer.clone(), seed, refuses, refused: Default::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Run {
            store: MemoryStore::new(),
            customer,
            web: Arc::new(web),
            runtime: Arc::new(runtime),
            fate,
            base: Instant::now(),
            now_unix_ms: EPOCH_MS,
            book: Book::default(),
            late: Vec::new(),
            story: Vec::new(),
            reached: BTreeSet::new(),
            tell,
        }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.tell {
            self.story.push(line());
        }
    }

    fn now(&self) -> Now {
        Now { instant: self.base, unix_ms: self.now_unix_ms }
    }

    fn reaper(&self, store: Arc<dyn Reaping>) -> Reaper {
        Reaper::new(Arc::new(self.store.clone()), store, self.web.clone()).sparing(EDGE)
    }

    fn play(&mut self, seed: u64) -> Result<(), String> {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice);
        let kills = self.fate.pick(&[1usize, 1, 2]);
        let mut next = Some(dice);
        for life in 0..=kills {
            let owner = self.start()?;
            let beside = if self.fate.chance(0.5) {
                self.rest()?;
                None
            } else {
                let reaper = self.reaper(Arc::new(self.store.clone()));
                Some(Rounds { after: self.fate.between(1, 150), reaper, runtime: self.runtime.clone() })
            };
            let kill = (life < kills).then(|| Kill::draw(&mut self.fate));
            self.tell(|| format!("-- life {life}, epoch {}: {kill:?}", owner.epoch));
            let mut seeds = || Dice::new(self.fate.between(0, u64::MAX));
            let (dice, own) = (next.take().unwrap_or_else(&mut seeds), seeds());
            let (store, customer) = (self.store.clone(), self.customer.clone());
            let mut site = Site::new(&store, owner.clone(), customer, own, kill, &mut self.book);
            if let Some(rounds) = beside {
                site = site.with_rounds(rounds);
            }
            if life == 0 {
                site.register(registrations(&plan));
            }
            let bindings = site.load();
            site.begins(&bindings);
            let report = live(Life {
                plan: plan.clone(),
                dice,
                bindings: Some(bindings),
                begins_unix_ms: self.now_unix_ms,
                outside: &mut site,
                tell: self.tell,
            });
            let (mut late, mut reached) = (std::mem::take(&mut site.late), std::mem::take(&mut site.reached));
            drop(site);
            self.late.append(&mut late);
            self.reached.append(&mut reached);
            self.story.extend(report.story);
            if let Some(fault) = report.fault {
                return Err(format!("life {life}: {fault}"));
            }
            self.ends(&owner, report.killed_unix_ms)?;
            if report.killed_unix_ms.is_none() {
                self.reached.insert(if life < kills { "not killed" } else { "the last life ends" }.into());
                break;
            }
        }
        self.start()?;
        self.rest()?;
        self.come_too_late()?;
        let store = self.store.clone();
        self.book.check(&store, &self.customer)
    }

    /// A life is over: the lease was renewed within the ten seconds before.
    fn ends(&mut self, owner: &Owner, killed_unix_ms: Option<u64>) -> Result<(), String> {
        let end = killed_unix_ms.unwrap_or(self.now_unix_ms + 6 * 3_600_000);
        let renewed = end.saturating_sub(self.fate.between(0, 10_000)).max(self.now_unix_ms);
        let renewal = Renewal { now_unix_ms: renewed, ..Renewal::default() };
        at_once(self.store.renew(owner, &renewal)).map_err(|error| format!("no renewal: {error}"))?;
        let open = at_once(self.store.open_calls(EDGE, None, 1000)).map_or(0, |open| open.len());
        self.book.ends(killed_unix_ms.is_some(), renewed, open);
        self.now_unix_ms = end + self.fate.between(1_000, 60_000);
        Ok(())
    }

    /// A successor takes over and recovers what was left; it may be killed at that, and the next one tries.
    fn start(&mut self) -> Result<Owner, String> {
        for stillborn in 0.. {
            let start = at_once(self.store.start(EDGE, &[], self.now_unix_ms)).map_err(|error| error.to_string())?;
            let dies = stillborn < MOST_STILLBORN && start.owner.epoch > 1 && self.fate.chance(0.3);
            let left = dies.then(|| self.fate.between(0, 40) as usize);
            let mut arriving = Vec::new();
            let mut waiting = Vec::new();
            for late in std::mem::take(&mut self.late) {
                if self.fate.chance(0.5) {
                    arriving.push((self.fate.between(0, 30) as usize, late));
                } else {
                    waiting.push(late);
                }
            }
            arriving.sort_by_key(|(step, _)| *step);
            let store = Arc::new(Disturbed::new(self.store.clone(), left, arriving));
            let reaper = self.reaper(store.clone());
            let result = self.runtime.block_on(reaper.recover(EDGE, &start.unreaped, self.now()));
            self.tell(|| format!("-- epoch {} recovers: {result:?}", start.owner.epoch));
            let (arrived, rest) = store.arrivals();
            for (late, result) in arrived {
                match result {
                    Ok(new) => {
                        self.reached.insert("a dead edge's write arrives before its item is closed".into());
                        if new {
                            self.book.applied(&late.write);
                        }
                    }
                    // It may try once more, in vain.
                    Err(_) => waiting.push(late),
                }
            }
            self.late = waiting.into_iter().chain(rest).collect();
            if !store.is_killed() {
                result.map_err(|error| format!("recovery failed: {error}"))?;
                return Ok(start.owner);
            }
            self.reached.insert("killed while recovering".into());
            self.now_unix_ms += self.fate.between(1_000, 20_000);
        }
        unreachable!("the loop ends by itself")
    }

    /// The reaper runs until nothing is left.
    fn rest(&mut self) -> Result<(), String> {
        let reaper = self.reaper(Arc::new(self.store.clone()));
        for round in 0..MOST_ROUNDS {
            let report = self.runtime.block_on(reaper.run(self.now())).map_err(|error| error.to_string())?;
            self.tell(|| format!("-- the reaper runs: {report:?}"));
            if report.left == 0 {
                let edges = at_once(self.store.edges()).map_err(|error| error.to_string())?;
                let unreaped = edges.iter().map(|edge| edge.unreaped.len()).sum::<usize>();
                if unreaped > 0 {
                    return Err("the reaper was done and did not say so".into());
                }
                return Ok(());
            }
            if round > 0 {
                self.reached.insert("a refused event waits for a later run".into());
            }
        }
        Err("the reaper is never done".into())
    }

    /// What a dead edge wrote and comes only now changes nothing (DESIGN "State in DynamoDB").
    fn come_too_late(&mut self) -> Result<(), String> {
        for late in std::mem::take(&mut self.late) {
            let sid = late.sid();
            let read = || at_once(self.store.read_calls(&[sid])).ok().and_then(|mut calls| calls.pop());
            let Some(before) = read() else { continue };
            if !self.book.is_known(sid) {
                continue;
            }
            let result = late.arrive();
            if self.book.is_over(sid) && late.only_clears() {
                continue;
            }
            if read().as_ref() != Some(&before) {
                return Err(format!("a dead edge's {:?} came late and changed its item", late.write));
            }
            match result {
                Err(StoreError::Stale) => {}
                // The same write was in place before, and its answer lost.
                Ok(()) => continue,
                Err(error) => return Err(format!("a dead edge's {:?} came late: {error}", late.write)),
            }
            self.reached.insert("a dead edge's late write is refused".into());
        }
        Ok(())
    }
}
