//! Edges: their lease, their epoch, and who is judged dead (DESIGN "Time").

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Result;

/// Who writes: an edge in one of its epochs. A higher epoch of the same edge shuts the former ones out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The edge's identity: its slot. Shared: every item names it.
    pub edge: Arc<str>,
    /// Raised at each start and at each claim, from 1.
    pub epoch: u64,
}

/// An edge as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeRecord {
    /// Its identity.
    pub id: String,
    /// Its epoch now.
    pub epoch: u64,
    /// Counts renewals; a judge watches whether it moves.
    pub beat: u64,
    /// The edge's own clock at its last renewal: where its calls end if it is dead. Never compared with another clock.
    pub renewed_unix_ms: u64,
    /// Whether an edge process holds it: false once it was stopped in order, or claimed.
    pub live: bool,
    /// What former epochs may have left to close, oldest first, at most [`UNREAPED`].
    pub unreaped: Vec<Unreaped>,
    /// Where it can be reached, for people and for other edges.
    pub addresses: Vec<String>,
    /// Calls that are up, at its last renewal.
    pub load: u32,
    /// It takes no new calls.
    pub draining: bool,
}

impl EdgeRecord {
    /// Before its first start.
    pub(crate) fn unborn(id: &str) -> Self {
        EdgeRecord {
            id: id.to_owned(),
            epoch: 0,
            beat: 0,
            renewed_unix_ms: 0,
            live: false,
            unreaped: Vec::new(),
            addresses: Vec::new(),
            load: 0,
            draining: false,
        }
    }

    /// Shuts every former epoch out and notes that it may have left something.
    pub(crate) fn raise(&mut self) -> EdgeStart {
        self.epoch += 1;
        if self.epoch > 1 {
            self.unreaped.push(Unreaped { below_epoch: self.epoch, last_renewal_unix_ms: self.renewed_unix_ms });
            if self.unreaped.len() > UNREAPED {
                self.unreaped.remove(0);
            }
        }
        EdgeStart { owner: Owner { edge: self.id.as_str().into(), epoch: self.epoch }, unreaped: self.unreaped.clone() }
    }

    /// Everything below this epoch is closed.
    pub(crate) fn reaped(&mut self, below_epoch: u64) {
        self.unreaped.retain(|left| left.below_epoch > below_epoch);
    }

    /// An edge process holds it from now on.
    pub(crate) fn started(&mut self, addresses: &[String], now_unix_ms: u64) {
        self.live = true;
        self.beat += 1;
        self.renewed_unix_ms = now_unix_ms;
        self.addresses = addresses.to_vec();
        self.load = 0;
        self.draining = false;
    }
}

/// What a dead epoch left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreaped {
    /// Epochs below this one.
    pub below_epoch: u64,
    /// Their last renewal, by the edge's own clock: there their calls end.
    pub last_renewal_unix_ms: u64,
}

/// What a starting edge learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeStart {
    /// Itself, in its new epoch.
    pub owner: Owner,
    /// What its former epochs may have left to close, oldest first.
    pub unreaped: Vec<Unreaped>,
}

/// Dead epochs that are told apart. Beyond them the newest takes the oldest ones' place: their calls still end, though
/// later than they did.
pub const UNREAPED: usize = 16;

/// What a renewal says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renewal {
    /// The edge's clock.
    pub now_unix_ms: u64,
    /// Calls that are up.
    pub load: u32,
    /// It takes no new calls.
    pub draining: bool,
}

/// Lease and epoch.
#[async_trait]
pub trait Edges: Send + Sync {
    /// Takes the identity over: raises the epoch, so that whoever held it before can write nothing more.
    async fn start(&self, edge: &str, addresses: &[String], now_unix_ms: u64) -> Result<EdgeStart>;

    /// Renews the lease.
    ///
    /// # Errors
    /// `Stale`: another epoch holds it: this edge drops everything. `NotFound`: it was never started.
    async fn renew(&self, owner: &Owner, renewal: &Renewal) -> Result<()>;

    /// An orderly end, every call over: nothing is left to reap, nobody waits for the lease.
    async fn stop(&self, owner: &Owner) -> Result<()>;

    /// Every edge known.
    async fn edges(&self) -> Result<Vec<EdgeRecord>>;
}
