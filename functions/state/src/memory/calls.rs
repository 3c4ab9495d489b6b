//! Calls and legs in memory, the reaper's side of them included.

use async_trait::async_trait;

use super::{KEPT, MemoryStore, State, page};
use crate::call::{Call, CallFilter, CallQueries, CallWrite, Calls};
use crate::edge::{EdgeRecord, EdgeStart, Owner};
use crate::page::{Page, PageRequest};
use crate::reaping::Reaping;
use crate::sid::CallSid;
use crate::{Result, StoreError};

#[async_trait]
impl Calls for MemoryStore {
    async fn write(&self, owner: &Owner, version: u64, write: &CallWrite) -> Result<()> {
        let mut state = self.state();
        if let Some(call) = state.calls.get_mut(&write.sid()) {
            if call.owner != *owner {
                return Err(StoreError::Stale);
            }
            if call.version == version {
                return Ok(());
            }
            if call.version + 1 != version {
                return Err(StoreError::Conflict);
            }
            let was_open = call.open;
            call.apply(write);
            call.version = version;
            if was_open != call.open {
                let open = call.open;
                state.set_open(&owner.edge, write.sid(), open);
            }
            return Ok(());
        }
        if version != 1 {
            return Err(StoreError::NotFound);
        }
        let call = Call::made_by(owner, write).ok_or(StoreError::NotFound)?;
        state.insert(call);
        Ok(())
    }
}

#[async_trait]
impl CallQueries for MemoryStore {
    async fn call(&self, sid: CallSid) -> Result<Option<Call>> {
        Ok(self.state().calls.get(&sid).cloned())
    }

    async fn calls(&self, filter: &CallFilter, request: &PageRequest) -> Result<Page<Call>> {
        let state = self.state();
        let key = |sid: &str| sid.parse::<CallSid>().ok();
        let pick = |_: &CallSid, call: &Call| filter.matches(call).then(|| call.clone());
        Ok(page(&state.calls, request, key, pick, |call| call.description.sid.to_string()))
    }
}

#[async_trait]
impl Reaping for MemoryStore {
    async fn claim(&self, seen: &EdgeRecord) -> Result<EdgeStart> {
        let mut state = self.state();
        let edge = state.edges.get_mut(&seen.id).ok_or(StoreError::NotFound)?;
        if !edge.live || edge.epoch != seen.epoch || edge.beat != seen.beat {
            return Err(StoreError::Conflict);
        }
        edge.live = false;
        Ok(edge.raise())
    }

    async fn open_calls(&self, edge: &str, after: Option<CallSid>, limit: usize) -> Result<Vec<CallSid>> {
        let state = self.state();
        let from = (edge.to_owned(), after.unwrap_or(CallSid([0; 16])));
        let own = state.open.range(from..).take_while(|(owner, _)| owner == edge).map(|(_, sid)| *sid);
        Ok(own.filter(|sid| Some(*sid) != after).take(limit).collect())
    }

    async fn read_calls(&self, sids: &[CallSid]) -> Result<Vec<Call>> {
        let state = self.state();
        Ok(sids.iter().filter_map(|sid| state.calls.get(sid)).cloned().collect())
    }

    async fn replace_call(&self, call: &Call) -> Result<()> {
        let mut state = self.state();
        let stored = state.calls.get(&call.description.sid).map_or(0, |stored| stored.version);
        if stored + 1 != call.version {
            return Err(StoreError::Conflict);
        }
        state.insert(call.clone());
        Ok(())
    }

    async fn reaped(&self, edge: &str, below_epoch: u64) -> Result<()> {
        if let Some(edge) = self.state().edges.get_mut(edge) {
            edge.reaped(below_epoch);
        }
        Ok(())
    }
}

impl State {
    fn insert(&mut self, call: Call) {
        let (sid, open, edge) = (call.description.sid, call.open, call.owner.edge.clone());
        let is_parent = call.description.parent.is_none();
        self.calls.insert(sid, call);
        if is_parent {
            self.set_open(&edge, sid, open);
        }
    }

    /// Keeps the index of open parents; what is settled may go once [`KEPT`] newer ones are.
    fn set_open(&mut self, edge: &str, sid: CallSid, open: bool) {
        let key = (edge.to_owned(), sid);
        if open {
            self.open.insert(key);
        } else if self.open.remove(&key) {
            let legs = self.calls.get(&sid).map(|call| call.legs.clone()).unwrap_or_default();
            self.settled.extend(legs);
            self.settled.push_back(sid);
            while self.settled.len() > KEPT {
                if let Some(oldest) = self.settled.pop_front() {
                    self.calls.remove(&oldest);
                }
            }
        }
    }
}
