//! Bindings in memory. There may be hundreds of thousands: each is kept without spare room, and an AOR's few lie in one
//! vector that is never larger than they are.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{MemoryStore, lock};
use crate::binding::{Binding, BindingChange, BindingPage, BindingPlace, Bindings, Expect};
use crate::edge::Owner;
use crate::{Result, StoreError};

/// Those of each AOR.
type Table = HashMap<String, Vec<Kept>>;

/// A binding as it is kept; the AOR is the map's key.
#[derive(PartialEq)]
pub(super) struct Kept {
    key: Box<str>,
    contact: Box<str>,
    contact_params: Box<str>,
    flow: Box<str>,
    path: Box<[String]>,
    call_id: Box<str>,
    user_agent: Option<Box<str>>,
    expires_at: u64,
    stored_until: u64,
    owner: Owner,
    version: u64,
    cseq: u32,
}

impl Kept {
    fn of(owner: &Owner, binding: &Binding, version: u64) -> Self {
        Kept {
            key: binding.key.as_str().into(),
            contact: binding.contact.as_str().into(),
            contact_params: binding.contact_params.as_str().into(),
            flow: binding.flow.as_str().into(),
            path: binding.path.as_slice().into(),
            call_id: binding.call_id.as_str().into(),
            user_agent: binding.user_agent.as_deref().map(Into::into),
            expires_at: binding.expires_at,
            stored_until: binding.stored_until,
            owner: owner.clone(),
            version,
            cseq: binding.cseq,
        }
    }

    fn read(&self, aor: &str) -> Binding {
        Binding {
            aor: aor.to_owned(),
            key: self.key.to_string(),
            contact: self.contact.to_string(),
            contact_params: self.contact_params.to_string(),
            flow: self.flow.to_string(),
            path: self.path.to_vec(),
            call_id: self.call_id.to_string(),
            cseq: self.cseq,
            user_agent: self.user_agent.as_deref().map(str::to_owned),
            expires_at: self.expires_at,
            stored_until: self.stored_until,
            owner: self.owner.clone(),
            version: self.version,
        }
    }

    /// A later epoch of the same edge has written it.
    fn fenced(&self, owner: &Owner) -> bool {
        self.owner.edge == owner.edge && self.owner.epoch > owner.epoch
    }
}

fn put(bindings: &mut Table, owner: &Owner, binding: &Binding, expect: Expect) -> Result<u64> {
    let version = match expect {
        Expect::Absent => 1,
        Expect::Version(before) => before + 1,
    };
    let stored = bindings.get_mut(&binding.aor).and_then(|list| list.iter_mut().find(|one| *one.key == *binding.key));
    let Some(stored) = stored else {
        if expect != Expect::Absent {
            return Err(StoreError::Conflict);
        }
        let list = bindings.entry(binding.aor.clone()).or_default();
        list.reserve_exact(1);
        list.push(Kept::of(owner, binding, version));
        return Ok(version);
    };
    if stored.fenced(owner) {
        return Err(StoreError::Stale);
    }
    let new = Kept::of(owner, binding, version);
    if *stored == new {
        // Repeated: it is in place.
        return Ok(version);
    }
    if expect == Expect::Absent || stored.version + 1 != version {
        return Err(StoreError::Conflict);
    }
    *stored = new;
    Ok(version)
}

fn delete(bindings: &mut Table, owner: &Owner, aor: &str, key: &str, version: u64) -> Result<()> {
    let Some(list) = bindings.get_mut(aor) else { return Ok(()) };
    let Some(place) = list.iter().position(|one| *one.key == *key) else { return Ok(()) };
    match list.get(place) {
        Some(stored) if stored.fenced(owner) => return Err(StoreError::Stale),
        Some(stored) if stored.version != version => return Err(StoreError::Conflict),
        _ => {}
    }
    list.swap_remove(place);
    list.shrink_to_fit();
    if list.is_empty() {
        bindings.remove(aor);
    }
    Ok(())
}

#[async_trait]
impl Bindings for MemoryStore {
    async fn put(&self, owner: &Owner, binding: &Binding, expect: Expect) -> Result<u64> {
        put(&mut lock(&self.bindings), owner, binding, expect)
    }

    async fn delete(&self, owner: &Owner, aor: &str, key: &str, version: u64) -> Result<()> {
        delete(&mut lock(&self.bindings), owner, aor, key, version)
    }

    async fn change_all(&self, owner: &Owner, aor: &str, changes: &[BindingChange]) -> Result<()> {
        let mut bindings = lock(&self.bindings);
        for change in changes {
            let stored = bindings.get(aor).and_then(|list| list.iter().find(|one| *one.key == *change.key()));
            let expect = match change {
                BindingChange::Put { expect, .. } => *expect,
                BindingChange::Delete { version, .. } => Expect::Version(*version),
            };
            match stored {
                Some(stored) if stored.fenced(owner) => return Err(StoreError::Stale),
                Some(stored) if expect == Expect::Version(stored.version) => {}
                None if expect == Expect::Absent => {}
                _ => return Err(StoreError::Conflict),
            }
        }
        for change in changes {
            match change {
                BindingChange::Put { binding, expect } => drop(put(&mut bindings, owner, binding, *expect)?),
                BindingChange::Delete { key, version } => delete(&mut bindings, owner, aor, key, *version)?,
            }
        }
        Ok(())
    }

    async fn of_aor(&self, aor: &str) -> Result<Vec<Binding>> {
        let bindings = lock(&self.bindings);
        Ok(bindings.get(aor).map_or_else(Vec::new, |list| list.iter().map(|one| one.read(aor)).collect()))
    }

    async fn of_edge(&self, edge: &str, _from: Option<&BindingPlace>) -> Result<BindingPage> {
        let bindings = lock(&self.bindings);
        let all = bindings.iter().flat_map(|(aor, list)| list.iter().map(move |one| (aor, one)));
        let own = all.filter(|(_, one)| *one.owner.edge == *edge).map(|(aor, one)| one.read(aor)).collect();
        Ok(BindingPage { bindings: own, next: None })
    }
}
