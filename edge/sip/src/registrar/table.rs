//! The bindings that this edge holds, found by AOR, by flow, and by when they are due.
//!
//! A binding is a registered phone doing nothing, so its memory is what a deployment pays for: each is one fixed entry
//! and one string with all its texts, about 450 octets in all for a usual phone. The indexes hold entry numbers only.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{Hash, Hasher};

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use slab::Slab;

use super::rules::Change;
use super::{BindingRecord, BindingWrite};
use crate::flow::Flow;

/// No further entry in a chain.
const NONE: u32 = u32::MAX;

/// The texts of an entry, in this order in its string; path elements follow, each ended by a line feed.
#[derive(Clone, Copy)]
enum Part {
    Aor,
    Key,
    Contact,
    ContactParams,
    CallId,
    UserAgent,
}

const PARTS: usize = 6;

struct Entry {
    text: Box<str>,
    ends: [u32; PARTS],
    flow: Flow,
    /// Unix seconds.
    expires_at: u64,
    stored_until: u64,
    /// The time of this entry's one valid item in the queue.
    queued: u64,
    cseq: u32,
    /// Tells this entry from a former one with the same number.
    generation: u32,
    next_of_aor: u32,
    next_of_flow: u32,
    has_user_agent: bool,
    /// Read from the store and not refreshed since: it lives to its stored expiry.
    loaded: bool,
    /// Loaded, and [`Due::Ask`] was given.
    asked: bool,
}

impl Entry {
    fn part(&self, part: Part) -> &str {
        let index = part as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.text.get(start as usize..self.ends[index] as usize).unwrap_or_default()
    }

    fn path(&self) -> impl Iterator<Item = &str> {
        self.text.get(self.ends[PARTS - 1] as usize..).unwrap_or_default().split_terminator('\n')
    }

    /// When it ends.
    fn deadline(&self) -> u64 {
        if self.loaded { self.stored_until } else { self.expires_at }
    }

    /// When something is to be done about it.
    fn due(&self) -> u64 {
        if self.loaded && !self.asked { self.expires_at.min(self.stored_until) } else { self.deadline() }
    }
}

/// One binding of the table.
#[derive(Clone, Copy)]
pub struct Binding<'a>(&'a Entry);

impl<'a> Binding<'a> {
    /// The AOR's user part.
    pub fn aor(&self) -> &'a str {
        self.0.part(Part::Aor)
    }

    /// What a later REGISTER replaces it by.
    pub fn key(&self) -> &'a str {
        self.0.part(Part::Key)
    }

    /// The Contact URI as sent.
    pub fn contact(&self) -> &'a str {
        self.0.part(Part::Contact)
    }

    /// Its parameters with their leading `;`, without `expires`.
    pub fn contact_params(&self) -> &'a str {
        self.0.part(Part::ContactParams)
    }

    /// Call-ID of the last REGISTER.
    pub fn call_id(&self) -> &'a str {
        self.0.part(Part::CallId)
    }

    /// CSeq of the last REGISTER.
    pub fn cseq(&self) -> u32 {
        self.0.cseq
    }

    /// User-Agent.
    pub fn user_agent(&self) -> Option<&'a str> {
        self.0.has_user_agent.then(|| self.0.part(Part::UserAgent))
    }

    /// Path elements, top first: the Route of a request to it.
    pub fn path(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.path()
    }

    /// The flow that it is reached over.
    pub fn flow(&self) -> Flow {
        self.0.flow
    }

    /// Granted expiry, Unix seconds; of a loaded binding the one that was written last.
    pub fn expires_at(&self) -> u64 {
        self.0.expires_at
    }

    /// Stored expiry, Unix seconds.
    pub fn stored_until(&self) -> u64 {
        self.0.stored_until
    }

    /// When it ends, Unix seconds: the granted expiry, or the stored one while it is only loaded.
    pub fn deadline(&self) -> u64 {
        self.0.deadline()
    }

    /// Whether it came from the store and no REGISTER has refreshed it since.
    pub fn is_loaded(&self) -> bool {
        self.0.loaded
    }

    /// A copy on its own.
    pub fn to_record(&self) -> BindingRecord {
        BindingRecord {
            aor: self.aor().to_owned(),
            key: self.key().to_owned(),
            contact: self.contact().to_owned(),
            contact_params: self.contact_params().to_owned(),
            flow: self.flow(),
            path: self.path().map(str::to_owned).collect(),
            call_id: self.call_id().to_owned(),
            cseq: self.cseq(),
            user_agent: self.user_agent().map(str::to_owned),
            expires_at: self.expires_at(),
            stored_until: self.stored_until(),
        }
    }
}

impl std::fmt::Debug for Binding<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Binding({} {})", self.aor(), self.contact())
    }
}

/// What time has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// A loaded binding's granted expiry as last written has passed: ask it with OPTIONS (DESIGN "SIP choices"). If it
    /// does not answer, [`Bindings::remove`] it; if it does, nothing is to be done: it lives to its stored expiry.
    Ask {
        /// The AOR's user.
        aor: String,
        /// Its key.
        key: String,
    },
    /// It has expired and is gone from the table; delete it from the store.
    Expired(Box<BindingRecord>),
}

/// All bindings. Bounded by the capacity given: [`super::register`] refuses a new binding beyond it.
pub struct Bindings {
    entries: Slab<Entry>,
    by_aor: HashTable<u32>,
    by_flow: HashTable<u32>,
    /// When, which entry, its generation. An item whose time is not the entry's `queued` is void.
    queue: BinaryHeap<Reverse<(u64, u32, u32)>>,
    hasher: Keyed,
    capacity: usize,
    generation: u32,
}

/// Hashes under a key of this table.
#[derive(Clone, Copy)]
struct Keyed(SipHasher13);

impl Keyed {
    fn hash_one(&self, value: impl Hash) -> u64 {
        let mut hasher = self.0;
        value.hash(&mut hasher);
        hasher.finish()
    }
}

impl Bindings {
    /// For at most `capacity` bindings. `key` keys the hashes of its indexes: AORs and addresses are chosen by others.
    pub fn new(capacity: usize, key: [u8; 16]) -> Bindings {
        Bindings {
            entries: Slab::new(),
            by_aor: HashTable::new(),
            by_flow: HashTable::new(),
            queue: BinaryHeap::new(),
            hasher: Keyed(SipHasher13::new_with_key(&key)),
            capacity: capacity.min(NONE as usize),
            generation: 0,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether another one would be too many.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// The bindings of an AOR that have not ended at `now` (Unix seconds), the oldest first.
    pub fn of(&self, aor: &str, now: u64) -> impl Iterator<Item = Binding<'_>> {
        self.chain(self.first_of_aor(aor), |entry| entry.next_of_aor).filter(move |binding| binding.deadline() > now)
    }

    /// The bindings made over a flow.
    pub fn of_flow(&self, flow: &Flow) -> impl Iterator<Item = Binding<'_>> {
        self.chain(self.first_of_flow(flow), |entry| entry.next_of_flow)
    }

    /// One binding, whether or not it has ended.
    pub fn get(&self, aor: &str, key: &str) -> Option<Binding<'_>> {
        self.chain(self.first_of_aor(aor), |entry| entry.next_of_aor).find(|binding| binding.key() == key)
    }

    /// Every binding, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Binding<'_>> {
        self.entries.iter().map(|(_, entry)| Binding(entry))
    }

    /// Does what [`super::register`] decided, once it is written.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Put { record, .. } => self.put(&record, false),
            Change::Remove { aor, key } => {
                self.remove(&aor, &key);
            }
        }
    }

    /// Takes a binding over from the store at start: it lives to its stored expiry, and is to be asked after when its
    /// granted one has passed. One that is there already is left as it is; beyond the capacity it is not taken
    /// (`false`).
    pub fn load(&mut self, record: &BindingRecord) -> bool {
        if self.get(&record.aor, &record.key).is_none() {
            if self.is_full() {
                return false;
            }
            self.put(record, true);
        }
        true
    }

    /// Ends one binding.
    pub fn remove(&mut self, aor: &str, key: &str) -> Option<BindingRecord> {
        let number = self.number_of(aor, key)?;
        self.take(number)
    }

    /// Ends the bindings of an AOR: its client was deleted.
    pub fn remove_aor(&mut self, aor: &str) -> Vec<BindingRecord> {
        let mut gone = Vec::new();
        while let Some(record) = self.first_of_aor(aor).and_then(|number| self.take(number)) {
            gone.push(record);
        }
        gone
    }

    /// Ends the bindings of a flow: the connection was closed, or the phone answers no more (RFC 5626 §5.3).
    pub fn remove_flow(&mut self, flow: &Flow) -> Vec<BindingRecord> {
        let mut gone = Vec::new();
        while let Some(record) = self.first_of_flow(flow).and_then(|number| self.take(number)) {
            gone.push(record);
        }
        gone
    }

    /// When [`Bindings::pop_due`] may have something next, Unix seconds. It may be early, never late.
    pub fn next_due(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((at, _, _))| *at)
    }

    /// What is due at `now` (Unix seconds); call it until there is nothing more.
    pub fn pop_due(&mut self, now: u64) -> Option<Due> {
        loop {
            let Reverse((at, number, generation)) = *self.queue.peek()?;
            if at > now {
                return None;
            }
            self.queue.pop();
            let Some(entry) = self.entries.get_mut(number as usize) else { continue };
            if entry.generation != generation || entry.queued != at {
                continue;
            }
            if entry.deadline() <= now {
                return self.take(number).map(|record| Due::Expired(Box::new(record)));
            }
            let ask = entry.due() <= now;
            entry.asked |= ask;
            entry.queued = entry.due();
            self.queue.push(Reverse((entry.queued, number, generation)));
            if ask {
                let (aor, key) = (entry.part(Part::Aor).to_owned(), entry.part(Part::Key).to_owned());
                return Some(Due::Ask { aor, key });
            }
        }
    }

    fn put(&mut self, record: &BindingRecord, loaded: bool) {
        let (text, ends) = pack(record);
        if let Some(number) = self.number_of(&record.aor, &record.key) {
            self.unlink_flow(number);
            if let Some(entry) = self.entries.get_mut(number as usize) {
                entry.text = text;
                entry.ends = ends;
                entry.flow = record.flow;
                entry.expires_at = record.expires_at;
                entry.stored_until = record.stored_until;
                entry.cseq = record.cseq;
                entry.has_user_agent = record.user_agent.is_some();
                entry.loaded = loaded;
                entry.asked = false;
                // A later time is found when the queue comes to the former one.
                if entry.due() < entry.queued {
                    entry.queued = entry.due();
                    self.queue.push(Reverse((entry.queued, number, entry.generation)));
                }
            }
            self.link_flow(number);
        } else {
            self.generation = self.generation.wrapping_add(1);
            let mut entry = Entry {
                text,
                ends,
                flow: record.flow,
                expires_at: record.expires_at,
                stored_until: record.stored_until,
                queued: 0,
                cseq: record.cseq,
                generation: self.generation,
                next_of_aor: NONE,
                next_of_flow: NONE,
                has_user_agent: record.user_agent.is_some(),
                loaded,
                asked: false,
            };
            entry.queued = entry.due();
            let queued = entry.queued;
            let number = self.entries.insert(entry) as u32;
            self.queue.push(Reverse((queued, number, self.generation)));
            self.link_aor(number, &record.aor);
            self.link_flow(number);
        }
        self.tidy_queue();
    }

    /// Void items go when they outnumber the valid ones.
    fn tidy_queue(&mut self) {
        if self.queue.len() > 2 * self.entries.len() + 1024 {
            let entries = &self.entries;
            self.queue.retain(|Reverse((at, number, generation))| {
                entries.get(*number as usize).is_some_and(|e| e.generation == *generation && e.queued == *at)
            });
        }
    }

    fn take(&mut self, number: u32) -> Option<BindingRecord> {
        let record = Binding(self.entries.get(number as usize)?).to_record();
        self.unlink_flow(number);
        self.unlink_aor(number);
        self.entries.try_remove(number as usize)?;
        Some(record)
    }

    fn number_of(&self, aor: &str, key: &str) -> Option<u32> {
        let mut at = self.first_of_aor(aor);
        while let Some(number) = at {
            let entry = self.entries.get(number as usize)?;
            if entry.part(Part::Key) == key {
                return Some(number);
            }
            at = (entry.next_of_aor != NONE).then_some(entry.next_of_aor);
        }
        None
    }

    fn chain(&self, first: Option<u32>, next: fn(&Entry) -> u32) -> impl Iterator<Item = Binding<'_>> {
        let mut at = first.unwrap_or(NONE);
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            at = next(entry);
            Some(Binding(entry))
        })
    }

    fn first_of_aor(&self, aor: &str) -> Option<u32> {
        let is_it = |number: &u32| self.entries.get(*number as usize).is_some_and(|e| e.part(Part::Aor) == aor);
        self.by_aor.find(self.hasher.hash_one(aor), is_it).copied()
    }

    fn first_of_flow(&self, flow: &Flow) -> Option<u32> {
        let is_it = |number: &u32| self.entries.get(*number as usize).is_some_and(|e| e.flow == *flow);
        self.by_flow.find(self.hasher.hash_one(flow), is_it).copied()
    }

    /// At the end of its AOR's chain.
    fn link_aor(&mut self, number: u32, aor: &str) {
        let Some(mut last) = self.first_of_aor(aor).filter(|first| *first != number) else {
            let Bindings { entries, by_aor, hasher, .. } = self;
            by_aor.insert_unique(hasher.hash_one(aor), number, |number| {
                entries.get(*number as usize).map_or(0, |entry| hasher.hash_one(entry.part(Part::Aor)))
            });
            return;
        };
        while let Some(next) = self.entries.get(last as usize).map(|e| e.next_of_aor).filter(|next| *next != NONE) {
            last = next;
        }
        if let Some(entry) = self.entries.get_mut(last as usize) {
            entry.next_of_aor = number;
        }
    }

    fn unlink_aor(&mut self, number: u32) {
        let Bindings { entries, by_aor, hasher, .. } = self;
        let Some(entry) = entries.get(number as usize) else { return };
        let (aor, next) = (entry.part(Part::Aor), entry.next_of_aor);
        let is_it = |number: &u32| entries.get(*number as usize).is_some_and(|e| e.part(Part::Aor) == aor);
        let Ok(mut slot) = by_aor.find_entry(hasher.hash_one(aor), is_it) else { return };
        let mut at = *slot.get();
        if at == number {
            if next == NONE {
                slot.remove();
            } else {
                *slot.get_mut() = next;
            }
            return;
        }
        while let Some(entry) = entries.get_mut(at as usize) {
            if entry.next_of_aor == number {
                entry.next_of_aor = next;
                return;
            }
            at = entry.next_of_aor;
        }
    }

    /// At the head of its flow's chain.
    fn link_flow(&mut self, number: u32) {
        let Bindings { entries, by_flow, hasher, .. } = self;
        let Some(flow) = entries.get(number as usize).map(|entry| entry.flow) else { return };
        let is_it = |number: &u32| entries.get(*number as usize).is_some_and(|e| e.flow == flow);
        let mut next = NONE;
        match by_flow.find_entry(hasher.hash_one(flow), is_it) {
            Ok(mut slot) => next = std::mem::replace(slot.get_mut(), number),
            Err(_) => {
                by_flow.insert_unique(hasher.hash_one(flow), number, |number| {
                    entries.get(*number as usize).map_or(0, |entry| hasher.hash_one(entry.flow))
                });
            }
        }
        if let Some(entry) = entries.get_mut(number as usize) {
            entry.next_of_flow = next;
        }
    }

    fn unlink_flow(&mut self, number: u32) {
        let Bindings { entries, by_flow, hasher, .. } = self;
        let Some(entry) = entries.get(number as usize) else { return };
        let (flow, next) = (entry.flow, entry.next_of_flow);
        let is_it = |number: &u32| entries.get(*number as usize).is_some_and(|e| e.flow == flow);
        let Ok(mut slot) = by_flow.find_entry(hasher.hash_one(flow), is_it) else { return };
        let mut at = *slot.get();
        if at == number {
            if next == NONE {
                slot.remove();
            } else {
                *slot.get_mut() = next;
            }
            return;
        }
        while let Some(entry) = entries.get_mut(at as usize) {
            if entry.next_of_flow == number {
                entry.next_of_flow = next;
                return;
            }
            at = entry.next_of_flow;
        }
    }
}

impl std::fmt::Debug for Bindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bindings({} of {})", self.len(), self.capacity)
    }
}

impl Change {
    /// What is to be written before this change is applied; `None`: the store's item is good enough.
    pub fn write(&self) -> Option<BindingWrite> {
        match self {
            Change::Put { write: false, .. } => None,
            Change::Put { record, write: true } => Some(BindingWrite::Put(record.clone())),
            Change::Remove { aor, key } => Some(BindingWrite::Delete { aor: aor.clone(), key: key.clone() }),
        }
    }
}

fn pack(record: &BindingRecord) -> (Box<str>, [u32; PARTS]) {
    let user_agent = record.user_agent.as_deref().unwrap_or_default();
    let parts: [&str; PARTS] =
        [&record.aor, &record.key, &record.contact, &record.contact_params, &record.call_id, user_agent];
    let path: usize = record.path.iter().map(|element| element.len() + 1).sum();
    let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + path);
    let mut ends = [0; PARTS];
    for (part, end) in parts.iter().zip(&mut ends) {
        text.push_str(part);
        *end = text.len() as u32;
    }
    for element in &record.path {
        text.push_str(element);
        text.push('\n');
    }
    (text.into_boxed_str(), ends)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow(port: u16) -> Flow {
        Flow::Udp { local: "127.0.0.1:5060".parse().unwrap(), remote: ([127, 0, 0, 1], port).into() }
    }

    fn record(aor: &str, key: &str, port: u16, expires_at: u64) -> BindingRecord {
        BindingRecord {
            aor: aor.to_owned(),
            key: key.to_owned(),
            contact: format!("sip:{aor}@127.0.0.1:{port}"),
            contact_params: ";q=0.5".to_owned(),
            flow: flow(port),
            path: vec!["<sip:edge1;lr>".to_owned(), "<sip:edge2;lr;ob>".to_owned()],
            call_id: format!("call-{port}"),
            cseq: 7,
            user_agent: port.is_multiple_of(2).then(|| "phone".to_owned()),
            expires_at,
            stored_until: expires_at + 100,
        }
    }

    fn put(table: &mut Bindings, record: &BindingRecord) {
        table.apply(Change::Put { record: Box::new(record.clone()), write: true });
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let mut table = Bindings::new(10, [7; 16]);
        for port in [1, 2] {
            let record = record("alice", &port.to_string(), port, 50);
            put(&mut table, &record);
            assert_eq!(table.get("alice", &record.key).unwrap().to_record(), record);
        }
        let bare = BindingRecord { path: vec![], user_agent: Some("é".into()), ..record("", "", 3, 1) };
        put(&mut table, &bare);
        assert_eq!(table.get("", "").unwrap().to_record(), bare);
        assert_eq!(table.len(), 3);
    }

    /// DESIGN "SIP choices": a loaded binding lives to its stored expiry and is asked when the granted one has passed.
    #[test]
    fn loaded_bindings_are_asked_then_live_to_the_stored_expiry() {
        let mut table = Bindings::new(2, [7; 16]);
        assert!(table.load(&record("a", "k", 1, 1000)) && table.load(&record("b", "k", 2, 500)));
        assert!(!table.load(&record("c", "k", 3, 500)), "full");
        assert_eq!(table.next_due(), Some(500));
        assert_eq!(table.pop_due(499), None);
        assert_eq!(table.pop_due(550), Some(Due::Ask { aor: "b".into(), key: "k".into() }));
        assert_eq!(table.pop_due(550), None, "asked once");
        assert_eq!(table.of("b", 599).count(), 1);
        assert_eq!(table.of("b", 600).count(), 0);
        // A REGISTER makes the expiry exact again.
        put(&mut table, &record("a", "k", 1, 700));
        assert!(!table.get("a", "k").unwrap().is_loaded());
        assert_eq!(table.pop_due(650), Some(Due::Expired(Box::new(record("b", "k", 2, 500)))));
        assert_eq!(table.pop_due(699), None);
        assert_eq!(table.pop_due(700), Some(Due::Expired(Box::new(record("a", "k", 1, 700)))));
        assert!(table.is_empty());
    }

    #[test]
    fn the_queue_stays_in_proportion() {
        let mut table = Bindings::new(10, [7; 16]);
        for round in 0..100_000u64 {
            put(&mut table, &record("a", "k", 1, 1_000_000 - round));
            if round % 2 == 0 {
                table.remove("a", "k");
            }
        }
        assert!(table.queue.len() < 1100, "{}", table.queue.len());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, u8, u16, u64),
        Load(u8, u8, u16, u64),
        Remove(u8, u8),
        RemoveAor(u8),
        RemoveFlow(u16),
        Time(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (aor, key, port) = (0u8..4, 0u8..4, 0u16..5);
        prop_oneof![
            4 => (aor.clone(), key.clone(), port.clone(), 1u64..200).prop_map(|(a, k, p, e)| Step::Put(a, k, p, e)),
            2 => (aor.clone(), key.clone(), port.clone(), 1u64..200).prop_map(|(a, k, p, e)| Step::Load(a, k, p, e)),
            2 => (aor.clone(), key).prop_map(|(a, k)| Step::Remove(a, k)),
            1 => aor.prop_map(Step::RemoveAor),
            1 => port.prop_map(Step::RemoveFlow),
            2 => (1u64..80).prop_map(Step::Time),
        ]
    }

    proptest! {
        /// The table agrees with a plain list after any steps.
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec(step(), 1..120)) {
            let mut table = Bindings::new(1000, [7; 16]);
            // Record, loaded, asked.
            let mut list: Vec<(BindingRecord, bool, bool)> = Vec::new();
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Put(a, k, port, life) => {
                        let new = record(&format!("aor{a}"), &format!("key{k}"), port, now + life);
                        put(&mut table, &new);
                        match list.iter_mut().find(|(old, ..)| old.aor == new.aor && old.key == new.key) {
                            Some(old) => *old = (new, false, false),
                            None => list.push((new, false, false)),
                        }
                    }
                    Step::Load(a, k, port, life) => {
                        let new = record(&format!("aor{a}"), &format!("key{k}"), port, now + life);
                        prop_assert!(table.load(&new));
                        if !list.iter().any(|(old, ..)| old.aor == new.aor && old.key == new.key) {
                            list.push((new, true, false));
                        }
                    }
                    Step::Remove(a, k) => {
                        let (aor, key) = (format!("aor{a}"), format!("key{k}"));
                        let at = list.iter().position(|(old, ..)| old.aor == aor && old.key == key);
                        prop_assert_eq!(table.remove(&aor, &key), at.map(|at| list.remove(at).0));
                    }
                    Step::RemoveAor(a) => {
                        let aor = format!("aor{a}");
                        let gone: Vec<_> = list.extract_if(.., |(old, ..)| old.aor == aor).map(|(old, ..)| old).collect();
                        prop_assert_eq!(table.remove_aor(&aor), gone);
                    }
                    Step::RemoveFlow(port) => {
                        let mut removed = table.remove_flow(&flow(port));
                        let mut gone: Vec<_> =
                            list.extract_if(.., |(old, ..)| old.flow == flow(port)).map(|(old, ..)| old).collect();
                        let order = |r: &BindingRecord| (r.aor.clone(), r.key.clone());
                        removed.sort_by_key(order);
                        gone.sort_by_key(order);
                        prop_assert_eq!(removed, gone);
                    }
                    Step::Time(seconds) => {
                        now += seconds;
                        while let Some(due) = table.pop_due(now) {
                            match due {
                                Due::Ask { aor, key } => {
                                    let old = list.iter_mut().find(|(old, ..)| old.aor == aor && old.key == key).unwrap();
                                    prop_assert!(old.1 && !old.2 && old.0.expires_at <= now && old.0.stored_until > now);
                                    old.2 = true;
                                }
                                Due::Expired(record) => {
                                    let at = list.iter().position(|(old, ..)| *old == *record).unwrap();
                                    let (old, loaded, _) = list.remove(at);
                                    let end = if loaded { old.stored_until } else { old.expires_at };
                                    prop_assert!(end <= now);
                                }
                            }
                        }
                        for (old, loaded, asked) in &list {
                            let end = if *loaded { old.stored_until } else { old.expires_at };
                            prop_assert!(end > now);
                            prop_assert!(!loaded || *asked || old.expires_at > now);
                        }
                    }
                }
                prop_assert_eq!(table.len(), list.len());
                prop_assert!(list.is_empty() || table.next_due().is_some());
                for a in 0..4 {
                    let aor = format!("aor{a}");
                    let held: Vec<_> = table.of(&aor, now).map(|b| b.to_record()).collect();
                    let listed: Vec<_> = list.iter().filter(|(old, ..)| old.aor == aor).map(|(old, ..)| old.clone()).collect();
                    prop_assert_eq!(held, listed);
                }
                for port in 0..5 {
                    prop_assert_eq!(
                        table.of_flow(&flow(port)).count(),
                        list.iter().filter(|(old, ..)| old.flow == flow(port)).count()
                    );
                }
            }
        }
    }
}
