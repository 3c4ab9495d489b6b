//! Bindings in memory: the few of an AOR lie in one vector.

use async_trait::async_trait;

use super::{MemoryStore, lock};
use crate::binding::{Binding, BindingPage, BindingPlace, Bindings, Expect};
use crate::edge::Owner;
use crate::{Result, StoreError};

/// A later epoch of the same edge has written it.
fn fenced(stored: &Binding, owner: &Owner) -> bool {
    stored.owner.edge == owner.edge && stored.owner.epoch > owner.epoch
}

/// Whether `stored` is what writing `binding` would leave.
fn in_place(stored: &Binding, owner: &Owner, binding: &Binding) -> bool {
    stored.owner == *owner
        && *stored == Binding { owner: stored.owner.clone(), version: stored.version, ..binding.clone() }
}

#[async_trait]
impl Bindings for MemoryStore {
    async fn put(&self, owner: &Owner, binding: &Binding, expect: Expect) -> Result<u64> {
        let mut bindings = lock(&self.bindings);
        let stored = bindings.get_mut(&binding.aor).and_then(|list| list.iter_mut().find(|one| one.key == binding.key));
        let version = match (&stored, expect) {
            (None, Expect::Absent) => 1,
            (None, Expect::Version(_)) => return Err(StoreError::Conflict),
            (Some(stored), _) if fenced(stored, owner) => return Err(StoreError::Stale),
            (Some(stored), Expect::Version(version)) if stored.version == version => version + 1,
            (Some(stored), expect) => {
                let after = if let Expect::Version(version) = expect { version + 1 } else { 1 };
                let repeated = stored.version == after && in_place(stored, owner, binding);
                return if repeated { Ok(after) } else { Err(StoreError::Conflict) };
            }
        };
        let new = Binding { owner: owner.clone(), version, ..binding.clone() };
        match stored {
            Some(stored) => *stored = new,
            None => bindings.entry(binding.aor.clone()).or_default().push(new),
        }
        Ok(version)
    }

    async fn delete(&self, owner: &Owner, aor: &str, key: &str, version: u64) -> Result<()> {
        let mut bindings = lock(&self.bindings);
        let Some(list) = bindings.get_mut(aor) else { return Ok(()) };
        let Some(place) = list.iter().position(|one| one.key == key) else { return Ok(()) };
        match list.get(place) {
            Some(stored) if fenced(stored, owner) => return Err(StoreError::Stale),
            Some(stored) if stored.version != version => return Err(StoreError::Conflict),
            _ => {}
        }
        list.swap_remove(place);
        if list.is_empty() {
            bindings.remove(aor);
        }
        Ok(())
    }

    async fn of_aor(&self, aor: &str) -> Result<Vec<Binding>> {
        Ok(lock(&self.bindings).get(aor).cloned().unwrap_or_default())
    }

    async fn of_edge(&self, edge: &str, _from: Option<&BindingPlace>) -> Result<BindingPage> {
        let bindings = lock(&self.bindings);
        let own = bindings.values().flatten().filter(|one| *one.owner.edge == *edge).cloned().collect();
        Ok(BindingPage { bindings: own, next: None })
    }
}
