//! Closes what a dead edge left (DESIGN "Callbacks", RCML.md 1.4 "Delivery").
//!
//! A [`Reaper`] judges edges by their renewals ([`judge`]), claims those that stand still, ends their calls ([`end`])
//! and hands over every event that was never cleared. An edge that starts under its own id does the same for its former
//! epochs at once ([`Reaper::recover`]).
//!
//! Everything here may be repeated after a crash in any place: an event is written with the end that it tells of
//! before it is handed over, and cleared after; a repetition has the same body and `Idempotency-Key`. A call stays in
//! the index of open calls until nothing of it is left.
//!
//! What was closed is owned by epoch 0, which no edge ever has: an edge that was taken for dead and lives cannot write
//! to it, and the next reaper knows that it may go on with it.

pub mod end;
pub mod judge;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ringfork_callback::Delivery;
use ringfork_state::{Call, CallSid, CallbackEvent, Edges, Notifications, Reaping, StoreError, Unreaped};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use judge::Observations;

/// Hands an event over for delivery: to `callback`.
#[async_trait]
pub trait Deliverer: Send + Sync {
    /// Returns true once the event would survive this process; false: it stays where it is for the next run.
    async fn deliver(&self, event: CallbackEvent) -> bool;
}

/// Delivers one round by itself (RCML.md 1.4 "Delivery"): where a round fails the event stays for the next run.
pub struct Rounds {
    /// `callback`'s function.
    pub deliverer: ringfork_callback::Deliverer,
    /// Where a delivery that ended otherwise than well is noted.
    pub notices: Arc<dyn Notifications>,
}

#[async_trait]
impl Deliverer for Rounds {
    async fn deliver(&self, event: CallbackEvent) -> bool {
        match self.deliverer.round(&event).await {
            Delivery::Delivered => true,
            Delivery::Exhausted(_) => false,
            Delivery::Ended(notice) => {
                if let Err(error) = ringfork_callback::keep(&*self.notices, &event, notice).await {
                    tracing::warn!(call = %event.leg, %error, "a notification was lost");
                }
                true
            }
        }
    }
}

/// Both clocks of the reaper.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For judging leases.
    pub instant: Instant,
    /// For `Timestamp`: milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Edges whose lease ran out.
    pub claimed: usize,
    /// Calls that were ended.
    pub ended: usize,
    /// Events handed over.
    pub handed_over: usize,
    /// Calls with something left for the next run.
    pub left: usize,
}

/// Deliveries under way at once: one that hangs holds up no other until so many hang.
const DELIVERIES: usize = 512;

/// Open calls read from the index at a time.
const PAGE: usize = 200;

/// Tries at a call that a living edge keeps writing.
const TRIES: usize = 16;

/// See the crate's documentation. Clones share what is in hand.
#[derive(Clone)]
pub struct Reaper {
    edges: Arc<dyn Edges>,
    store: Arc<dyn Reaping>,
    deliverer: Arc<dyn Deliverer>,
    observations: Arc<Mutex<Observations>>,
    in_hand: Arc<Mutex<HashSet<CallSid>>>,
    deliveries: Arc<Semaphore>,
    spared: Option<Arc<str>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call that this process is at work on: no second run of it begins one of its own.
struct InHand {
    all: Arc<Mutex<HashSet<CallSid>>>,
    sid: CallSid,
}

impl Drop for InHand {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.sid);
    }
}

impl Reaper {
    /// Over one store.
    pub fn new(edges: Arc<dyn Edges>, store: Arc<dyn Reaping>, deliverer: Arc<dyn Deliverer>) -> Self {
        Reaper {
            edges,
            store,
            deliverer,
            observations: Arc::default(),
            in_hand: Arc::default(),
            deliveries: Arc::new(Semaphore::new(DELIVERIES)),
            spared: None,
        }
    }

    /// Never judges this edge: a reaper within an edge must not take a slow disk of its own for its death.
    pub fn sparing(self, edge: &str) -> Self {
        Reaper { spared: Some(edge.into()), ..self }
    }

    /// One run, each minute: claims the edges that stood still since an earlier run, then closes what dead epochs left.
    /// Ends when every delivery has; runs may overlap within a process.
    ///
    /// # Errors
    /// The store's, where not even the edges could be read. What fails for one call is left for the next run.
    pub async fn run(&self, now: Now) -> Result<Report, StoreError> {
        let edges = self.edges.edges().await?;
        let dead = lock(&self.observations).judge(now.instant, &edges);
        let mut left: HashMap<String, Vec<Unreaped>> =
            edges.into_iter().map(|edge| (edge.id, edge.unreaped)).filter(|(_, left)| !left.is_empty()).collect();
        let mut report = Report::default();
        for edge in dead {
            if self.spared.as_deref() == Some(edge.id.as_str()) {
                continue;
            }
            match self.store.claim(&edge).await {
                Ok(claimed) => {
                    tracing::warn!(edge = edge.id, epoch = edge.epoch, "an edge's lease ran out: its calls are closed");
                    report.claimed += 1;
                    left.insert(edge.id, claimed.unreaped);
                }
                Err(error) => tracing::info!(edge = edge.id, %error, "not claimed"),
            }
        }
        for (edge, unreaped) in left {
            let done = self.close(&edge, &unreaped, now).await?;
            if done.left == 0
                && let Some(last) = unreaped.last()
            {
                self.store.reaped(&edge, last.below_epoch).await?;
            }
            report.ended += done.ended;
            report.handed_over += done.handed_over;
            report.left += done.left;
        }
        Ok(report)
    }

    /// An edge that starts closes what its former epochs left, without waiting for a lease. The next [`Reaper::run`]
    /// looks once more, since the index of open calls may lag, and only then is it done.
    ///
    /// # Errors
    /// The store's.
    pub async fn recover(&self, edge: &str, unreaped: &[Unreaped], now: Now) -> Result<Report, StoreError> {
        self.close(edge, unreaped, now).await
    }

    /// Closes every open call of these epochs.
    async fn close(&self, edge: &str, unreaped: &[Unreaped], now: Now) -> Result<Report, StoreError> {
        let mut report = Report::default();
        let mut deliveries = JoinSet::new();
        let mut after = None;
        loop {
            let open = self.store.open_calls(edge, after, PAGE).await?;
            let Some(last) = open.last().copied() else { break };
            after = Some(last);
            for parent in open {
                if !lock(&self.in_hand).insert(parent) {
                    report.left += 1;
                    continue;
                }
                let in_hand = InHand { all: self.in_hand.clone(), sid: parent };
                match self.end_call(parent, unreaped, now).await {
                    Ok(None) => {}
                    Ok(Some(ended)) => {
                        report.ended += usize::from(ended);
                        let this = self.clone();
                        deliveries.spawn(async move { (parent, this.hand_over(in_hand).await) });
                    }
                    Err(error) => {
                        tracing::warn!(call = %parent, %error, "a dead edge's call could not be closed yet");
                        report.left += 1;
                    }
                }
            }
        }
        while let Some(done) = deliveries.join_next().await {
            match done {
                Ok((_, Ok((handed_over, rest)))) => {
                    report.handed_over += handed_over;
                    report.left += usize::from(rest > 0);
                }
                Ok((parent, Err(error))) => {
                    tracing::warn!(call = %parent, %error, "a dead edge's events could not be cleared yet");
                    report.left += 1;
                }
                Err(_) => report.left += 1,
            }
        }
        Ok(report)
    }

    /// Ends a parent and all its legs in the store. `None`: it is another epoch's; true: it was not over before.
    async fn end_call(&self, parent: CallSid, unreaped: &[Unreaped], now: Now) -> Result<Option<bool>, StoreError> {
        for _ in 0..TRIES {
            let Some(seen) = self.store.read_calls(&[parent]).await?.pop() else { return Ok(None) };
            let Some(end) = end::last_renewal(&seen, unreaped).filter(|_| seen.open) else { return Ok(None) };
            let was_over = seen.ended_unix_ms.is_some();
            if was_over && seen.owner.epoch == 0 {
                self.end_legs(&seen, end, now).await?;
                return Ok(Some(false));
            }
            // First: from then on an edge that lives after all, or a write of a dead one that is still on its way,
            // neither names a leg nor accepts one, and the legs end by what the parent says now.
            let parent = end::parent(seen, end);
            match self.store.replace_call(&parent).await {
                Ok(()) => {}
                Err(StoreError::Conflict) => continue,
                Err(error) => return Err(error),
            }
            self.end_legs(&parent, end, now).await?;
            return Ok(Some(!was_over));
        }
        Err(StoreError::Conflict)
    }

    async fn end_legs(&self, parent: &Call, end: u64, now: Now) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let stored = self.store.read_calls(&parent.legs).await?;
            let mut stored: HashMap<CallSid, Call> = stored.into_iter().map(|leg| (leg.description.sid, leg)).collect();
            let mut disturbed = false;
            for sid in &parent.legs {
                let Some(leg) = end::leg(parent, *sid, stored.remove(sid), end, now.unix_ms) else { continue };
                match self.store.replace_call(&leg).await {
                    Ok(()) => {}
                    Err(StoreError::Conflict) => disturbed = true,
                    Err(error) => return Err(error),
                }
            }
            if !disturbed {
                return Ok(());
            }
        }
        Err(StoreError::Conflict)
    }

    /// Hands over what a closed call's legs still hold, and settles the call once nothing is left.
    /// Returns how many events went and how many stay.
    async fn hand_over(&self, call: InHand) -> Result<(usize, usize), StoreError> {
        let Some(parent) = self.store.read_calls(&[call.sid]).await?.pop() else { return Ok((0, 0)) };
        let legs = self.store.read_calls(&parent.legs).await?;
        let mut tasks = JoinSet::new();
        let mut owed: HashMap<CallSid, usize> = HashMap::new();
        for event in legs.into_iter().flat_map(|leg| leg.events) {
            *owed.entry(event.leg).or_default() += 1;
            let (deliverer, deliveries) = (self.deliverer.clone(), self.deliveries.clone());
            tasks.spawn(async move {
                let _turn = deliveries.acquire_owned().await;
                let (leg, sequence) = (event.leg, event.sequence);
                (leg, sequence, deliverer.deliver(event).await)
            });
        }
        let mut gone: HashMap<CallSid, Vec<u32>> = HashMap::new();
        let (mut handed_over, mut left) = (0, owed.values().sum::<usize>());
        while let Some(done) = tasks.join_next().await {
            let Ok((leg, sequence, accepted)) = done else { continue };
            if accepted {
                handed_over += 1;
                left -= 1;
                gone.entry(leg).or_default().push(sequence);
            }
            // A leg is cleared when its last event is decided: one write, and no waiting for other legs.
            let waiting = owed.entry(leg).or_default();
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0
                && let Some(sequences) = gone.remove(&leg)
            {
                self.clear(leg, &sequences).await?;
            }
        }
        if left == 0 {
            self.change(parent.description.sid, |call| call.open = false).await?;
        }
        Ok((handed_over, left))
    }

    async fn clear(&self, leg: CallSid, sequences: &[u32]) -> Result<(), StoreError> {
        self.change(leg, |leg| {
            leg.events.retain(|event| !sequences.contains(&event.sequence));
            // A leg that was over by itself is still the dead edge's.
            leg.owner = end::reaper(&leg.owner);
        })
        .await
    }

    async fn change(&self, sid: CallSid, change: impl Fn(&mut Call) + Send + Sync) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let Some(mut call) = self.store.read_calls(&[sid]).await?.pop() else { return Ok(()) };
            change(&mut call);
            call.version += 1;
            match self.store.replace_call(&call).await {
                Err(StoreError::Conflict) => {}
                decided => return decided,
            }
        }
        Err(StoreError::Conflict)
    }

    /// Runs each `period`, for as long as it is polled: what the edge does in local mode. Runs may overlap, since one
    /// lasts as long as its slowest delivery.
    pub async fn keep_running(self, period: Duration, clock: impl Fn() -> Now) {
        let mut ticks = tokio::time::interval(period);
        loop {
            ticks.tick().await;
            let (this, now) = (self.clone(), clock());
            tokio::spawn(async move {
                match this.run(now).await {
                    Ok(report) if report != Report::default() => tracing::info!(?report, "reaped"),
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "the reaper could not run"),
                }
            });
        }
    }
}
