//! The plain in-memory store: tests, the simulator, and `--data memory`. One mutex, held for map operations only.
//!
//! Bounded: of calls that are settled, with their legs, of notifications and of recordings the newest [`KEPT`] stay; the oldest go.

mod bindings;
mod calls;
mod directory;
mod edges;
mod notifications;
mod recordings;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::Call;
use crate::directory::{Account, Application, Client, Number};
use crate::edge::EdgeRecord;
use crate::notification::Notification;
use crate::page::{Cursor, Page, PageRequest};
use crate::recording::Recording;
use crate::sid::CallSid;

/// Settled calls and legs, notifications, and recordings, that are kept.
pub const KEPT: usize = 10_000;

/// Implements every trait of this crate; clones share one store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    bindings: Arc<Mutex<HashMap<String, Vec<bindings::Kept>>>>,
    directory: Arc<Mutex<DirectoryState>>,
}

#[derive(Default)]
struct DirectoryState {
    account: Option<Account>,
    clients: HashMap<String, Client>,
    client_logins: BTreeMap<String, String>,
    applications: BTreeMap<String, Application>,
    numbers: HashMap<String, Number>,
    phone_numbers: BTreeMap<String, String>,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<CallSid, Call>,
    open: BTreeSet<(String, CallSid)>,
    settled: VecDeque<CallSid>,
    notifications: BTreeMap<String, Notification>,
    recordings: BTreeMap<String, Recording>,
    edges: BTreeMap<String, EdgeRecord>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// No operation leaves the maps half changed, so a panic elsewhere poisons nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One page of a map sorted by SID, newest first.
fn page<K: Ord, V, T: Clone>(
    map: &BTreeMap<K, V>,
    request: &PageRequest,
    key: impl Fn(&str) -> Option<K>,
    pick: impl Fn(&K, &V) -> Option<T>,
    sid: impl Fn(&T) -> String,
) -> Page<T> {
    let limit = request.size.saturating_add(1);
    let found: Vec<T> = match &request.cursor {
        Cursor::Newest => map.iter().rev().filter_map(|(k, v)| pick(k, v)).take(limit).collect(),
        Cursor::Older(before) => {
            let Some(before) = key(before) else { return Page::empty() };
            let range = (Bound::Unbounded, Bound::Excluded(before));
            map.range(range).rev().filter_map(|(k, v)| pick(k, v)).take(limit).collect()
        }
        Cursor::Newer(after) => {
            let Some(after) = key(after) else { return Page::empty() };
            let range = (Bound::Excluded(after), Bound::Unbounded);
            map.range(range).filter_map(|(k, v)| pick(k, v)).take(limit).collect()
        }
    };
    Page::cut(request, found, None, sid)
}
