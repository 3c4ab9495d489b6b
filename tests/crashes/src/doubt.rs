//! Stores that do not do what they are asked: a write whose fate its writer does not learn, and a reaper that is killed
//! or disturbed between two of its steps.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ringfork::adapters::{CallWriter, convert};
use ringfork_call::control::Write;
use ringfork_state::memory::MemoryStore;
use ringfork_state::{Call, CallSid, CallWrite, Calls, EdgeRecord, EdgeStart, Owner, Reaping, Result, StoreError};

use crate::at_once;

/// What becomes of the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effect {
    /// Done and said so.
    #[default]
    Done,
    /// Done, and its answer lost.
    Unheard,
    /// Not done.
    Lost,
}

/// Takes calls' writes as told.
pub struct Doubtful {
    /// Where they go.
    pub store: MemoryStore,
    /// For the next one.
    pub next: Mutex<Effect>,
}

#[async_trait]
impl Calls for Doubtful {
    async fn write(&self, owner: &Owner, version: u64, write: &CallWrite) -> Result<()> {
        let effect = std::mem::take(&mut *self.next.lock().unwrap());
        if effect != Effect::Lost {
            self.store.write(owner, version, write).await?;
        }
        if effect == Effect::Done { Ok(()) } else { Err(StoreError::Unavailable("simulated".into())) }
    }
}

/// A write of a dead edge that is still on its way: the writer knows under which version it went.
#[derive(Clone)]
pub struct Late {
    /// The dead edge's writer.
    pub writer: Arc<CallWriter>,
    /// What it wrote.
    pub write: Write,
}

impl Late {
    /// The item that it is about.
    pub fn sid(&self) -> CallSid {
        convert::sid(match &self.write {
            Write::PutParent { call, .. } => call.sid,
            Write::NameLegs { parent, .. } | Write::Accept { parent, .. } | Write::Parent { parent, .. } => *parent,
            Write::Leg { leg, .. } | Write::ClearEvents { leg, .. } => *leg,
        })
    }

    /// It only takes events away that were handed over.
    pub fn only_clears(&self) -> bool {
        matches!(self.write, Write::ClearEvents { .. })
    }

    /// The leg that it accepts, if it does.
    fn accepts(&self) -> Option<CallSid> {
        match &self.write {
            Write::Accept { leg, .. } => Some(convert::sid(*leg)),
            _ => None,
        }
    }

    /// It arrives.
    pub fn arrive(&self) -> Result<()> {
        at_once(self.writer.write(self.write.clone()))
    }
}

/// The reaper's store: it may end in the middle, and late writes arrive between its steps.
pub struct Disturbed {
    store: MemoryStore,
    /// Steps until it is killed.
    left: AtomicUsize,
    killed: AtomicBool,
    late: Mutex<VecDeque<(usize, Late)>>,
    arrived: Mutex<Vec<(Late, Result<bool>)>>,
    steps: AtomicUsize,
}

impl Disturbed {
    /// `left`: steps until it is killed. `late`: arrives before the step of this number, in this order.
    pub fn new(store: MemoryStore, left: Option<usize>, late: Vec<(usize, Late)>) -> Disturbed {
        Disturbed {
            store,
            left: AtomicUsize::new(left.unwrap_or(usize::MAX)),
            killed: AtomicBool::new(false),
            late: Mutex::new(late.into()),
            arrived: Mutex::default(),
            steps: AtomicUsize::new(0),
        }
    }

    /// The reaper was killed.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// What came late, and how it went (true: it tells something new); and what did not come yet.
    pub fn arrivals(&self) -> (Vec<(Late, Result<bool>)>, Vec<Late>) {
        let waiting = self.late.lock().unwrap().drain(..).map(|(_, late)| late).collect();
        (std::mem::take(&mut *self.arrived.lock().unwrap()), waiting)
    }

    fn step(&self) -> Result<()> {
        let number = self.steps.fetch_add(1, Ordering::Relaxed);
        loop {
            let mut late = self.late.lock().unwrap();
            let Some((_, next)) = late.pop_front_if(|(step, _)| *step <= number) else { break };
            drop(late);
            // An acceptance that comes when its leg is closed already changes nothing any more.
            let moot = next.accepts().is_some_and(|leg| {
                let leg = at_once(self.store.read_calls(&[leg])).ok().and_then(|mut legs| legs.pop());
                leg.is_some_and(|leg| leg.ended_unix_ms.is_some())
            });
            let result = next.arrive().map(|()| !moot);
            self.arrived.lock().unwrap().push((next, result));
        }
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| {
            self.killed.store(true, Ordering::Relaxed);
            StoreError::Unavailable("killed".into())
        })
    }
}

#[async_trait]
impl Reaping for Disturbed {
    async fn claim(&self, seen: &EdgeRecord) -> Result<EdgeStart> {
        self.step()?;
        self.store.claim(seen).await
    }
    async fn open_calls(&self, edge: &str, after: Option<CallSid>, limit: usize) -> Result<Vec<CallSid>> {
        self.step()?;
        self.store.open_calls(edge, after, limit).await
    }
    async fn read_calls(&self, sids: &[CallSid]) -> Result<Vec<Call>> {
        self.step()?;
        self.store.read_calls(sids).await
    }
    async fn replace_call(&self, call: &Call) -> Result<()> {
        self.step()?;
        self.store.replace_call(call).await
    }
    async fn reaped(&self, edge: &str, below_epoch: u64) -> Result<()> {
        self.step()?;
        self.store.reaped(edge, below_epoch).await
    }
}
