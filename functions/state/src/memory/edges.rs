//! Edges in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::edge::{EdgeRecord, EdgeStart, Edges, Owner, Renewal};
use crate::{Result, StoreError};

#[async_trait]
impl Edges for MemoryStore {
    async fn start(&self, edge: &str, addresses: &[String], now_unix_ms: u64) -> Result<EdgeStart> {
        let mut state = self.state();
        let record = state.edges.entry(edge.to_owned()).or_insert_with(|| EdgeRecord::unborn(edge));
        let started = record.raise();
        record.started(addresses, now_unix_ms);
        Ok(started)
    }

    async fn renew(&self, owner: &Owner, renewal: &Renewal) -> Result<()> {
        let mut state = self.state();
        let edge = state.edges.get_mut(&*owner.edge).ok_or(StoreError::NotFound)?;
        if edge.epoch != owner.epoch || !edge.live {
            return Err(StoreError::Stale);
        }
        edge.beat += 1;
        edge.renewed_unix_ms = renewal.now_unix_ms;
        edge.load = renewal.load;
        edge.draining = renewal.draining;
        Ok(())
    }

    async fn stop(&self, owner: &Owner) -> Result<()> {
        let mut state = self.state();
        let edge = state.edges.get_mut(&*owner.edge).ok_or(StoreError::NotFound)?;
        if edge.epoch != owner.epoch {
            return Err(StoreError::Stale);
        }
        edge.live = false;
        Ok(())
    }

    async fn edges(&self) -> Result<Vec<EdgeRecord>> {
        Ok(self.state().edges.values().cloned().collect())
    }
}
