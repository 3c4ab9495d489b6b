//! Writes of call state: versions, repetition, and when a call leaves nothing for a reaper.
//!
//! Call control has at most one write of a SID under way and repeats one that failed. What is kept here lives from a
//! call's first write to [`CallWriter::finished`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringfork_call::control::{self, Write};
use ringfork_state::{CallQueries, CallSid, CallWrite, Calls, Owner, StoreError};

use super::convert;

/// Waits between attempts to settle a call; where all fail, a reaper finds it open and sees that nothing is left.
const SETTLE_RETRIES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// Writes calls and legs for one owner.
pub struct CallWriter {
    calls: Arc<dyn Calls>,
    queries: Arc<dyn CallQueries>,
    owner: Owner,
    account_sid: String,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    items: HashMap<CallSid, Item>,
    legs: HashMap<CallSid, Vec<CallSid>>,
}

#[derive(Default)]
struct Item {
    /// Version of the last write that was acknowledged.
    version: u64,
    /// A write whose fate is unknown: it may or may not be in place.
    doubtful: Option<Write>,
    /// A leg: it is over. A parent: it is over and settled.
    over: bool,
    /// A leg: events appended and not yet cleared.
    outstanding: usize,
}

impl CallWriter {
    /// Writes as `owner`.
    pub fn new(calls: Arc<dyn Calls>, queries: Arc<dyn CallQueries>, owner: Owner, account_sid: String) -> Self {
        CallWriter { calls, queries, owner, account_sid, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change of the table is one statement: a panic elsewhere leaves it whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries kept, for metrics: zero when no call is up.
    pub fn len(&self) -> usize {
        self.table().items.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Applies one write.
    ///
    /// # Errors
    /// As [`Calls::write`].
    pub async fn write(&self, write: Write) -> Result<(), StoreError> {
        let sid = subject(&write);
        let (version, known) = {
            let mut table = self.table();
            let item = table.items.entry(sid).or_default();
            (item.version, item.doubtful.take().is_none_or(|doubtful| doubtful == write))
        };
        // Another write than the doubtful one: whether that one is in place decides under which version this one goes.
        let version = if known { version } else { self.stored_version(sid).await?.unwrap_or(version) };
        let settled = matches!(write, Write::Parent { .. }) && self.table().is_quiet(sid);
        let stored = convert::call_write(&self.account_sid, write.clone(), settled);
        let result = self.calls.write(&self.owner, version + 1, &stored).await;
        let mut table = self.table();
        match &result {
            Ok(()) => table.applied(sid, version + 1, &stored),
            Err(StoreError::Unavailable(_)) => {
                let item = table.items.entry(sid).or_default();
                item.version = version;
                item.doubtful = Some(write);
            }
            Err(_) => {}
        }
        result
    }

    async fn stored_version(&self, sid: CallSid) -> Result<Option<u64>, StoreError> {
        Ok(self.queries.call(sid).await?.filter(|call| call.owner == self.owner).map(|call| call.version))
    }

    /// A call of which nothing more comes, all of it written and handed over, or given up. Settles it where its last
    /// write did not; a call with an event that nobody took stays open, for the reaper of this edge's next start.
    pub async fn finished(&self, parent: control::CallSid) {
        let parent = convert::sid(parent);
        let version = {
            let mut table = self.table();
            let mut stranded = 0;
            for leg in table.legs.remove(&parent).unwrap_or_default() {
                stranded += table.items.remove(&leg).map_or(0, |item| item.outstanding);
            }
            match table.items.remove(&parent) {
                Some(_) if stranded > 0 => {
                    tracing::warn!(call = %parent, stranded, "the call keeps events that nobody took: it stays open");
                    return;
                }
                Some(item) if !item.over && item.version > 0 => item.version,
                _ => return,
            }
        };
        let settle = CallWrite::Settle { parent };
        for wait in SETTLE_RETRIES.iter().map(Some).chain([None]) {
            match (self.calls.write(&self.owner, version + 1, &settle).await, wait) {
                (Err(StoreError::Unavailable(_)), Some(wait)) => tokio::time::sleep(*wait).await,
                (Err(error), _) => {
                    tracing::warn!(call = %parent, %error, "the call could not be settled: a reaper will find it open");
                    return;
                }
                (Ok(()), _) => return,
            }
        }
    }
}

impl Table {
    /// Every leg of this call is over and its events are cleared.
    fn is_quiet(&self, parent: CallSid) -> bool {
        let quiet = |leg| self.items.get(leg).is_some_and(|item| item.over && item.outstanding == 0);
        self.legs.get(&parent).is_none_or(|legs| legs.iter().all(quiet))
    }

    fn applied(&mut self, sid: CallSid, version: u64, write: &CallWrite) {
        if let CallWrite::NameLegs { parent, legs } = write {
            self.legs.entry(*parent).or_default().extend(legs.iter().map(|leg| leg.sid));
        }
        // A call that was finished meanwhile is not kept again.
        let Some(item) = self.items.get_mut(&sid) else { return };
        item.version = version;
        match write {
            CallWrite::Leg { ended_unix_ms, event, handed_over, .. } => {
                item.over |= ended_unix_ms.is_some();
                item.outstanding += usize::from(event.is_some());
                item.outstanding = item.outstanding.saturating_sub(handed_over.len());
            }
            CallWrite::ClearEvents { handed_over, .. } => {
                item.outstanding = item.outstanding.saturating_sub(handed_over.len());
            }
            CallWrite::Parent { settled, .. } => item.over |= settled,
            _ => {}
        }
    }
}

/// The call or leg whose item a write is about.
pub fn subject(write: &Write) -> CallSid {
    convert::sid(match write {
        Write::PutParent { call, .. } => call.sid,
        Write::NameLegs { parent, .. } | Write::Accept { parent, .. } | Write::Parent { parent, .. } => *parent,
        Write::Leg { leg, .. } | Write::ClearEvents { leg, .. } => *leg,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfork_call::control::{CallDescription, CallStatus, LegPlan};
    use ringfork_state::memory::MemoryStore;
    use ringfork_state::{Edges, Reaping};

    fn sid(last: u8) -> control::CallSid {
        let mut bytes = [0; 16];
        bytes[15] = last;
        control::CallSid(bytes)
    }

    fn describe(sid: control::CallSid, parent: Option<control::CallSid>) -> CallDescription {
        CallDescription {
            sid,
            parent,
            from: "client:a".into(),
            to: "1".into(),
            caller_name: None,
            forwarded_from: None,
            direction: if parent.is_some() { "outbound-dial" } else { "inbound" },
            created_unix_ms: 1,
            sip_headers: Vec::new(),
        }
    }

    fn put(parent: control::CallSid) -> Write {
        Write::PutParent { call: describe(parent, None), status: CallStatus::Ringing }
    }

    fn over(parent: control::CallSid) -> Write {
        Write::Parent { parent, status: CallStatus::Completed, answered_unix_ms: None, ended_unix_ms: Some(2) }
    }

    async fn writer() -> (MemoryStore, CallWriter) {
        let store = MemoryStore::new();
        let owner = store.start("one", &[], 1).await.unwrap().owner;
        let shared = Arc::new(store.clone());
        (store, CallWriter::new(shared.clone(), shared, owner, "AC0".into()))
    }

    fn named(parent: control::CallSid, leg: control::CallSid) -> Write {
        let plan = LegPlan {
            leg,
            from: "client:a".into(),
            to: "client:b".into(),
            noun: 0,
            callback: None,
            sip_headers: Vec::new(),
        };
        Write::NameLegs { parent, legs: vec![plan] }
    }

    /// DESIGN "Few writes": a call without legs is settled by its last write.
    #[tokio::test]
    async fn a_call_without_legs_is_settled_at_its_end() {
        let (store, writer) = writer().await;
        writer.write(put(sid(1))).await.unwrap();
        assert_eq!(store.open_calls("one", None, 10).await.unwrap().len(), 1);
        writer.write(over(sid(1))).await.unwrap();
        assert!(store.open_calls("one", None, 10).await.unwrap().is_empty());
        writer.finished(sid(1)).await;
        assert!(writer.is_empty());
    }

    /// DESIGN "Callbacks": as long as a leg's event may be owed, a reaper must find the call.
    #[tokio::test]
    async fn a_call_whose_leg_is_not_done_stays_open_until_it_is_finished() {
        let (store, writer) = writer().await;
        writer.write(put(sid(1))).await.unwrap();
        writer.write(named(sid(1), sid(2))).await.unwrap();
        writer.write(over(sid(1))).await.unwrap();
        assert_eq!(store.open_calls("one", None, 10).await.unwrap().len(), 1);
        let leg = Write::Leg {
            leg: sid(2),
            description: Some(Box::new(describe(sid(2), Some(sid(1))))),
            status: CallStatus::Failed,
            answered_unix_ms: None,
            ended_unix_ms: Some(3),
            event: None,
            handed_over: Vec::new(),
        };
        writer.write(leg).await.unwrap();
        writer.finished(sid(1)).await;
        assert!(store.open_calls("one", None, 10).await.unwrap().is_empty());
        assert!(writer.is_empty());
    }

    /// RCML.md 1.4 "Delivery": an event that nobody took stays with its item, where the reaper of the next start finds it.
    #[tokio::test]
    async fn a_call_with_a_stranded_event_stays_open() {
        let (store, writer) = writer().await;
        writer.write(put(sid(1))).await.unwrap();
        writer.write(named(sid(1), sid(2))).await.unwrap();
        let event = control::Event {
            leg: sid(2),
            parent: sid(1),
            sequence: 0,
            kind: control::EventKind::Completed,
            url: "https://example.com/".into(),
            method: ringfork_rcml::program::Method::Post,
            fired_unix_ms: 3,
            parameters: Vec::new(),
        };
        let leg = Write::Leg {
            leg: sid(2),
            description: Some(Box::new(describe(sid(2), Some(sid(1))))),
            status: CallStatus::Failed,
            answered_unix_ms: None,
            ended_unix_ms: Some(3),
            event: Some(Arc::new(event)),
            handed_over: Vec::new(),
        };
        writer.write(leg).await.unwrap();
        writer.write(over(sid(1))).await.unwrap();
        writer.finished(sid(1)).await;
        assert_eq!(store.open_calls("one", None, 10).await.unwrap().len(), 1);
        assert!(writer.is_empty());
    }
}
