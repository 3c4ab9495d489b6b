//! The items of recordings in the store, written behind the calls in the order in which things happened.
//!
//! While the store is away they wait, and a note beside the file says of each whose it is: what waits when the process
//! ends, or finds no room, the next start writes down ([`Recovery`]).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ringfork_call::action::RecordingSid;
use ringfork_call::control::CallSid;
use ringfork_state::{self as state, Recording, Recordings};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::files::{Files, Note};
use super::recovery::{DAY, Recovery};

/// Entries that may wait for the store; a further one is dropped and counted: the next start finds the file and its note.
const WAITING: usize = 16_384;
/// Before the second try of one write; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(200);
/// And at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One step of a recording.
#[derive(Debug)]
enum Entry {
    Began(Recording),
    /// Of `call`, where it began in this journal.
    Ended {
        sid: String,
        call: Option<state::CallSid>,
        seconds: u32,
        unix_ms: u64,
    },
}

/// Where the core's thread says what happens to recordings. Never blocks.
#[derive(Debug)]
pub struct Journal {
    entries: mpsc::Sender<Entry>,
    account_sid: Arc<str>,
    /// The calls of recordings that are not over: as many as there are.
    calls: HashMap<RecordingSid, state::CallSid>,
}

/// What writes it down.
pub struct Ledger {
    store: Arc<dyn Recordings>,
    files: Files,
    account: Arc<str>,
    entries: mpsc::Receiver<Entry>,
    /// What the store has not taken yet, in its order.
    late: VecDeque<Entry>,
    /// [`PAUSE`], but in tests.
    pause: Duration,
}

impl Journal {
    /// A recording begins.
    pub fn began(&mut self, recording: RecordingSid, call: CallSid, now_unix_ms: u64) {
        let call = crate::adapters::sid(call);
        self.calls.insert(recording, call);
        self.add(Entry::Began(Recording {
            sid: recording.to_string(),
            account_sid: self.account_sid.to_string(),
            call,
            created_unix_ms: now_unix_ms,
            updated_unix_ms: now_unix_ms,
            seconds: None,
        }));
    }

    /// It is over, after so many whole seconds.
    pub fn ended(&mut self, recording: RecordingSid, seconds: u32, now_unix_ms: u64) {
        let call = self.calls.remove(&recording);
        self.add(Entry::Ended { sid: recording.to_string(), call, seconds, unix_ms: now_unix_ms });
    }

    fn add(&self, entry: Entry) {
        if self.entries.try_send(entry).is_err() {
            metrics::counter!("ringfork_recordings_unwritten_total").increment(1);
        }
    }
}

impl Ledger {
    /// Over this store and these files.
    pub fn new(store: Arc<dyn Recordings>, files: Files, account_sid: &str) -> (Journal, Self) {
        let (sender, entries) = mpsc::channel(WAITING);
        let account: Arc<str> = account_sid.into();
        let journal = Journal { entries: sender, account_sid: account.clone(), calls: HashMap::new() };
        (journal, Self { store, files, account, entries, late: VecDeque::new(), pause: PAUSE })
    }

    /// Closes what a former process left, then writes down what happens, until every journal is gone.
    pub async fn run(mut self, started_unix_ms: u64) {
        let upkeep =
            Recovery { store: self.store.clone(), files: self.files.clone(), account_sid: self.account.clone() };
        let upkeep = tokio::spawn(upkeep.run(started_unix_ms, DAY));
        let mut pause = self.pause;
        let mut next = Instant::now() + pause;
        loop {
            tokio::select! {
                entry = self.entries.recv() => match entry {
                    Some(entry) => self.take(entry).await,
                    None => break,
                },
                () = tokio::time::sleep_until(next), if !self.late.is_empty() => {
                    pause = if self.catch_up().await { self.pause } else { LONGEST_PAUSE.min(pause * 2) };
                    next = Instant::now() + pause;
                }
            }
        }
        self.catch_up().await;
        if !self.late.is_empty() {
            tracing::warn!(entries = self.late.len(), "recordings' items are left to the next start");
        }
        upkeep.abort();
    }

    /// Writes an entry, or keeps it where the store is away: behind the ones before it.
    async fn take(&mut self, entry: Entry) {
        if self.late.is_empty() && self.write(&entry).await {
            return;
        }
        if let Entry::Began(recording) = &entry {
            let note = Note { call: recording.call, created_unix_ms: recording.created_unix_ms };
            if let Err(error) = self.files.note(&recording.sid, note).await {
                let call = tracing::field::display(recording.call);
                tracing::error!(call, recording = recording.sid, %error, "a recording's note cannot be written");
            }
        }
        if self.late.len() < WAITING {
            self.late.push_back(entry);
        } else {
            metrics::counter!("ringfork_recordings_unwritten_total").increment(1);
        }
    }

    /// Writes what waits, until the store is away again. False: it is.
    async fn catch_up(&mut self) -> bool {
        while let Some(entry) = self.late.front() {
            if !self.write(entry).await {
                return false;
            }
            if let Some(Entry::Began(recording)) = self.late.pop_front() {
                self.files.forget_note(&recording.sid).await;
            }
        }
        true
    }

    /// One try. False: the store is away; what it will never take is dropped.
    async fn write(&self, entry: &Entry) -> bool {
        let (recording, call) = match entry {
            Entry::Began(recording) => (&recording.sid, Some(recording.call)),
            Entry::Ended { sid, call, .. } => (sid, *call),
        };
        let result = match entry {
            Entry::Began(recording) => self.store.put_recording(recording).await,
            // Its file could not be made: it is no recording.
            Entry::Ended { sid, seconds: 0, .. } if self.has_no_file(sid).await => {
                self.store.delete_recording(sid).await.map(|_| ())
            }
            Entry::Ended { sid, seconds, unix_ms, .. } => self.store.end_recording(sid, *seconds, *unix_ms).await,
        };
        let call = call.map(tracing::field::display);
        match result {
            Ok(()) => {}
            Err(error) if error.is_retryable() => {
                tracing::warn!(call, recording, %error, "a recording's item is written again");
                return false;
            }
            Err(error) => {
                tracing::error!(call, recording, %error, "a recording's item cannot be written");
                metrics::counter!("ringfork_recordings_unwritten_total").increment(1);
            }
        }
        true
    }

    async fn has_no_file(&self, sid: &str) -> bool {
        let Some(path) = self.files.path(sid) else { return false };
        matches!(tokio::fs::try_exists(path).await, Ok(false))
    }
}

#[cfg(test)]
mod tests;
