//! The lease: renewed each 10 s; an edge that could not renew it for 30 s takes no new calls (DESIGN "Time").

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringfork_call::action::Input;
use ringfork_state::{Edges, Owner, Renewal, StoreError};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Between renewals.
const RENEW: Duration = Duration::from_secs(10);
/// Without a renewal for so long the lease counts as lost.
const LOST: Duration = Duration::from_secs(30);
/// For one renewal.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the lease is held, for the health page.
#[derive(Debug, Clone)]
pub struct LeaseWatch(Arc<AtomicBool>);

impl LeaseWatch {
    /// Whether it is.
    pub fn held(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Renews an edge's lease.
pub struct Lease {
    edges: Arc<dyn Edges>,
    owner: Owner,
    inputs: mpsc::Sender<Input>,
    held: LeaseWatch,
}

impl Lease {
    /// For an edge that has just started: the lease is held.
    pub fn new(edges: Arc<dyn Edges>, owner: Owner, inputs: mpsc::Sender<Input>) -> (Self, LeaseWatch) {
        let held = LeaseWatch(Arc::new(AtomicBool::new(true)));
        (Lease { edges, owner, inputs, held: held.clone() }, held)
    }

    /// Renews for as long as it is polled; `renewal` says how things stand.
    pub async fn run(self, renewal: impl Fn() -> Renewal) {
        let mut last = Instant::now();
        let mut ticks = interval(RENEW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if !self.renew(&renewal(), &mut last).await {
                return;
            }
        }
    }

    /// Renews once; false: the lease is another's for good.
    async fn renew(&self, renewal: &Renewal, last: &mut Instant) -> bool {
        let result = timeout(PATIENCE, self.edges.renew(&self.owner, renewal)).await;
        match result.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in 5 s".into()))) {
            Ok(()) => *last = Instant::now(),
            Err(StoreError::Stale) => {
                tracing::error!("another process took this edge's identity over: no new calls are taken");
                self.tell(false).await;
                return false;
            }
            Err(error) => {
                metrics::counter!("ringfork_lease_failures_total").increment(1);
                tracing::warn!(%error, "the lease could not be renewed");
            }
        }
        self.tell(last.elapsed() < LOST).await;
        true
    }

    async fn tell(&self, held: bool) {
        if self.held.0.swap(held, Ordering::Relaxed) != held {
            if !held {
                tracing::error!("the lease is lost: new calls get 503, calls that are up stay up");
            }
            let _ = self.inputs.send(Input::Lease { held }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfork_state::memory::MemoryStore;

    /// DESIGN "Time": whose epoch was raised by another takes no new calls.
    #[tokio::test]
    async fn a_lease_that_another_took_is_lost() {
        let store = Arc::new(MemoryStore::new());
        let owner = store.start("one", &[], 1).await.unwrap().owner;
        let (inputs, mut received) = mpsc::channel(4);
        let (lease, watch) = Lease::new(store.clone(), owner, inputs);
        let mut last = Instant::now();
        assert!(lease.renew(&Renewal::default(), &mut last).await && watch.held());
        store.start("one", &[], 2).await.unwrap();
        assert!(!lease.renew(&Renewal::default(), &mut last).await && !watch.held());
        assert!(matches!(received.recv().await, Some(Input::Lease { held: false })));
    }

    /// DESIGN "Time": an edge that could not renew for 30 s takes no new calls; once it can again, it does.
    #[tokio::test]
    async fn a_lease_that_could_not_be_renewed_is_lost_and_comes_back() {
        let store = Arc::new(MemoryStore::new());
        let owner = store.start("one", &[], 1).await.unwrap().owner;
        let away = Owner { edge: "elsewhere".into(), epoch: 1 };
        let (inputs, _received) = mpsc::channel(4);
        let (lease, watch) = Lease::new(store.clone(), away, inputs.clone());
        let mut last = Instant::now();
        assert!(lease.renew(&Renewal::default(), &mut last).await && watch.held(), "one failure is none");
        last = Instant::now().checked_sub(LOST).unwrap();
        assert!(lease.renew(&Renewal::default(), &mut last).await && !watch.held());
        let back = Lease { edges: store, owner, inputs, held: watch.clone() };
        assert!(back.renew(&Renewal::default(), &mut last).await && watch.held());
    }
}
