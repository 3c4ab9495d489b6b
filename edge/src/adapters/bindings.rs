//! Writes of bindings: in order per AOR, each on the version that is stored.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfork_call::action::{BindingRecord, BindingWrite};
use ringfork_state::{BindingChange, Bindings, Expect, Owner, StoreError};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncGuard};

use super::convert;

/// AORs whose writes wait for each other; a number of locks, so more AORs share one.
const LANES: usize = 256;

/// Writes bindings for one owner.
pub struct BindingWriter {
    bindings: Arc<dyn Bindings>,
    owner: Owner,
    /// Versions by a hash of AOR and key: small, for a million bindings. Two that fall together cost a conflict, which
    /// reads the true version.
    versions: Mutex<HashMap<u64, u64>>,
    hasher: RandomState,
    lanes: Vec<AsyncMutex<()>>,
}

impl BindingWriter {
    /// Writes as `owner`.
    pub fn new(bindings: Arc<dyn Bindings>, owner: Owner) -> Self {
        let lanes = (0..LANES).map(|_| AsyncMutex::new(())).collect();
        BindingWriter { bindings, owner, versions: Mutex::default(), hasher: RandomState::new(), lanes }
    }

    /// Everything that this edge holds in the store, for the core. What cannot be read is left out and counted.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(&self) -> Result<Vec<BindingRecord>, StoreError> {
        let mut records = Vec::new();
        let mut from = None;
        loop {
            let page = self.bindings.of_edge(&self.owner.edge, from.as_ref()).await?;
            for binding in page.bindings {
                self.versions().insert(self.hash(&binding.aor, &binding.key), binding.version);
                match convert::record(binding) {
                    Some(record) => records.push(record),
                    None => metrics::counter!("ringfork_bindings_unreadable_total").increment(1),
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(records);
            }
        }
    }

    /// Applies the writes of one AOR, all of them or none.
    ///
    /// # Errors
    /// The store's; a conflict is mended here once.
    pub async fn write(&self, mut writes: Vec<BindingWrite>) -> Result<(), StoreError> {
        match (writes.pop(), writes.first()) {
            (None, _) => Ok(()),
            (Some(write), None) => self.write_one(write).await,
            (Some(last), Some(_)) => {
                writes.push(last);
                let _turn = self.turn(aor_of(&writes)).await;
                match self.write_several(&writes).await {
                    Err(StoreError::Conflict) => self.write_several(&writes).await,
                    other => other,
                }
            }
        }
    }

    async fn write_several(&self, writes: &[BindingWrite]) -> Result<(), StoreError> {
        let aor = aor_of(writes);
        let stored = self.bindings.of_aor(aor).await?;
        let version = |key: &str| stored.iter().find(|binding| binding.key == key).map(|binding| binding.version);
        let mut changes = Vec::with_capacity(writes.len());
        for write in writes {
            match write {
                BindingWrite::Put(record) => changes.push(BindingChange::Put {
                    expect: version(&record.key).map_or(Expect::Absent, Expect::Version),
                    binding: Box::new(convert::binding((**record).clone(), &self.owner)),
                }),
                BindingWrite::Delete { key, .. } => {
                    changes.extend(version(key).map(|version| BindingChange::Delete { key: key.clone(), version }));
                }
            }
        }
        if !changes.is_empty() {
            self.bindings.change_all(&self.owner, aor, &changes).await?;
        }
        let mut versions = self.versions();
        for write in writes {
            match write {
                BindingWrite::Put(record) => {
                    let new = version(&record.key).map_or(1, |before| before + 1);
                    versions.insert(self.hash(aor, &record.key), new);
                }
                BindingWrite::Delete { key, .. } => drop(versions.remove(&self.hash(aor, key))),
            }
        }
        Ok(())
    }

    async fn write_one(&self, write: BindingWrite) -> Result<(), StoreError> {
        match write {
            BindingWrite::Put(record) => {
                let _turn = self.turn(&record.aor).await;
                let hash = self.hash(&record.aor, &record.key);
                let binding = convert::binding(*record, &self.owner);
                let expect = self.version(hash).map_or(Expect::Absent, Expect::Version);
                let version = match self.bindings.put(&self.owner, &binding, expect).await {
                    Err(StoreError::Conflict) => {
                        let stored = self.stored(&binding.aor, &binding.key).await?;
                        self.bindings.put(&self.owner, &binding, stored.map_or(Expect::Absent, Expect::Version)).await?
                    }
                    other => other?,
                };
                self.versions().insert(hash, version);
                Ok(())
            }
            BindingWrite::Delete { aor, key } => {
                let _turn = self.turn(&aor).await;
                let hash = self.hash(&aor, &key);
                let known = self.version(hash);
                let version = match known {
                    Some(version) => version,
                    None => match self.stored(&aor, &key).await? {
                        Some(version) => version,
                        None => return Ok(()),
                    },
                };
                match self.bindings.delete(&self.owner, &aor, &key, version).await {
                    Err(StoreError::Conflict) => {
                        if let Some(stored) = self.stored(&aor, &key).await? {
                            self.bindings.delete(&self.owner, &aor, &key, stored).await?;
                        }
                    }
                    other => other?,
                }
                self.versions().remove(&hash);
                Ok(())
            }
        }
    }

    async fn stored(&self, aor: &str, key: &str) -> Result<Option<u64>, StoreError> {
        let found = self.bindings.of_aor(aor).await?;
        Ok(found.into_iter().find(|binding| binding.key == key).map(|binding| binding.version))
    }

    async fn turn(&self, aor: &str) -> Option<AsyncGuard<'_, ()>> {
        let lane = usize::try_from(self.hasher.hash_one(aor) % LANES as u64).unwrap_or(0);
        match self.lanes.get(lane) {
            Some(lane) => Some(lane.lock().await),
            None => None,
        }
    }

    fn hash(&self, aor: &str, key: &str) -> u64 {
        self.hasher.hash_one((aor, key))
    }

    fn version(&self, hash: u64) -> Option<u64> {
        self.versions().get(&hash).copied()
    }

    fn versions(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The AOR that they all are of.
fn aor_of(writes: &[BindingWrite]) -> &str {
    match writes.first() {
        Some(BindingWrite::Put(record)) => &record.aor,
        Some(BindingWrite::Delete { aor, .. }) => aor,
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfork_sip::flow::Flow;
    use ringfork_state::Edges;
    use ringfork_state::memory::MemoryStore;

    fn record(cseq: u32) -> BindingRecord {
        BindingRecord {
            aor: "alice".into(),
            key: "sip:a@10.0.0.1".into(),
            contact: "sip:a@10.0.0.1".into(),
            contact_params: String::new(),
            flow: Flow::Udp { local: "127.0.0.1:5060".parse().unwrap(), remote: "10.0.0.1:5060".parse().unwrap() },
            path: Vec::new(),
            call_id: "1".into(),
            cseq,
            user_agent: None,
            expires_at: 100,
            stored_until: 3700,
        }
    }

    /// DESIGN "After a restart UDP bindings ring": what was written is there for the next process, which writes on.
    #[tokio::test]
    async fn bindings_survive_a_restart_and_can_be_changed_after_it() {
        let store = Arc::new(MemoryStore::new());
        let owner = store.start("one", &[], 1).await.unwrap().owner;
        let first = BindingWriter::new(store.clone(), owner);
        first.write(vec![BindingWrite::Put(Box::new(record(1)))]).await.unwrap();
        first.write(vec![BindingWrite::Put(Box::new(record(2)))]).await.unwrap();

        let owner = store.start("one", &[], 2).await.unwrap().owner;
        let second = BindingWriter::new(store.clone(), owner);
        let loaded = second.load().await.unwrap();
        assert_eq!(loaded, [record(2)]);
        second.write(vec![BindingWrite::Put(Box::new(record(3)))]).await.unwrap();
        // The former process, if it still runs, is shut out.
        assert_eq!(first.write(vec![BindingWrite::Put(Box::new(record(4)))]).await, Err(StoreError::Stale));
        second.write(vec![BindingWrite::Delete { aor: "alice".into(), key: record(1).key }]).await.unwrap();
        assert!(second.load().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_binding_that_was_not_loaded_is_found_by_its_conflict() {
        let store = Arc::new(MemoryStore::new());
        let owner = store.start("one", &[], 1).await.unwrap().owner;
        BindingWriter::new(store.clone(), owner.clone())
            .write(vec![BindingWrite::Put(Box::new(record(1)))])
            .await
            .unwrap();
        let unaware = BindingWriter::new(store.clone(), owner);
        unaware.write(vec![BindingWrite::Put(Box::new(record(2)))]).await.unwrap();
        assert_eq!(unaware.load().await.unwrap(), [record(2)]);
    }

    /// RFC 3261 §10.3: all of a REGISTER's changes, or none; each is written on from there.
    #[tokio::test]
    async fn several_bindings_are_written_together() {
        let store = Arc::new(MemoryStore::new());
        let owner = store.start("one", &[], 1).await.unwrap().owner;
        let writer = BindingWriter::new(store.clone(), owner);
        let put = |key: &str, cseq| BindingWrite::Put(Box::new(BindingRecord { key: key.to_owned(), ..record(cseq) }));
        let delete = |key: &str| BindingWrite::Delete { aor: "alice".into(), key: key.to_owned() };
        writer.write(vec![put("a", 1)]).await.unwrap();
        writer.write(vec![put("a", 2), put("b", 2), delete("c")]).await.unwrap();
        writer.write(vec![put("b", 3)]).await.unwrap();
        writer.write(vec![delete("a"), put("b", 4)]).await.unwrap();
        writer.write(vec![put("a", 5)]).await.unwrap();
        let mut loaded = writer.load().await.unwrap();
        loaded.sort_by(|one, other| one.key.cmp(&other.key));
        let held: Vec<_> = loaded.iter().map(|record| (record.key.as_str(), record.cseq)).collect();
        assert_eq!(held, [("a", 5), ("b", 4)]);
    }
}
