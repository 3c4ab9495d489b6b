//! The items of recordings in the store, written behind the calls in the order in which things happened.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringfork_api::RecordingFiles;
use ringfork_call::action::RecordingSid;
use ringfork_call::control::CallSid;
use ringfork_state::dynamodb::RETENTION_DAYS;
use ringfork_state::{self as state, Recording, Recordings, StoreError, sid};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};
use tokio::sync::mpsc;

use super::body::mend;
use super::files::{Files, HEADER, SECOND};

/// Entries that may wait for the store; a further one is dropped and counted: the next start finds the file.
const WAITING: usize = 16_384;
/// Tries of one write.
const TRIES: u32 = 5;
/// Days for which a file outlives its item.
const SLACK_DAYS: u64 = 3;

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
    entries: mpsc::Receiver<Entry>,
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
        (
            Journal { entries: sender, account_sid: account_sid.into(), calls: HashMap::new() },
            Self { store, files, entries },
        )
    }

    /// Closes what a former process left, then writes down what happens, until every journal is gone.
    pub async fn run(mut self, started_unix_ms: u64) {
        let (store, files) = (self.store.clone(), self.files.clone());
        let recovery = tokio::spawn(async move {
            match recover(&*store, &files, started_unix_ms).await {
                Ok((0, 0)) => {}
                Ok((closed, removed)) => tracing::info!(closed, removed, "recordings of former processes were closed"),
                Err(error) => tracing::warn!(%error, "recordings that a former process left could not be closed"),
            }
        });
        while let Some(entry) = self.entries.recv().await {
            self.write(&entry).await;
        }
        recovery.abort();
    }

    async fn write(&self, entry: &Entry) {
        let (recording, call) = match entry {
            Entry::Began(recording) => (&recording.sid, Some(recording.call)),
            Entry::Ended { sid, call, .. } => (sid, *call),
        };
        let call = call.map(tracing::field::display);
        let mut pause = Duration::from_millis(200);
        for _ in 0..TRIES {
            let result = match entry {
                Entry::Began(recording) => self.store.put_recording(recording).await,
                Entry::Ended { sid, seconds, unix_ms, .. } => self.store.end_recording(sid, *seconds, *unix_ms).await,
            };
            match result {
                Ok(()) => return,
                Err(error) if error.is_retryable() => {
                    tracing::warn!(call, recording, %error, "a recording's item is written again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => {
                    tracing::error!(call, recording, %error, "a recording's item cannot be written");
                    break;
                }
            }
        }
        metrics::counter!("ringfork_recordings_unwritten_total").increment(1);
    }
}

/// Why recovery gave up.
#[derive(Debug, thiserror::Error)]
enum RecoveryError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Gives recordings that began before `started` and have no duration the one of their file, and mends its header;
/// removes files whose item is long gone. How many of each.
async fn recover(store: &dyn Recordings, files: &Files, started_unix_ms: u64) -> Result<(usize, usize), RecoveryError> {
    let listed = tokio::task::spawn_blocking({
        let files = files.clone();
        move || files.sids()
    });
    let sids = listed.await.map_err(io::Error::other)??;
    let (mut closed, mut removed) = (0, 0);
    for sid in sids {
        let began = sid::created_unix(&sid).unwrap_or_default();
        if began * 1000 >= started_unix_ms {
            continue;
        }
        match store.recording(&sid).await? {
            Some(recording) if recording.seconds.is_none() => {
                let octets = files.length(&sid).await?.unwrap_or(HEADER);
                mend_file(files, &sid, octets).await?;
                let seconds = u32::try_from((octets - HEADER) / SECOND).unwrap_or(u32::MAX);
                let end = recording.created_unix_ms.saturating_add((octets - HEADER) / (SECOND / 1000));
                store.end_recording(&sid, seconds, end.min(started_unix_ms)).await?;
                closed += 1;
            }
            Some(_) => {}
            None if began + (RETENTION_DAYS + SLACK_DAYS) * 86_400 < started_unix_ms / 1000 => {
                files.delete(&sid).await?;
                removed += 1;
            }
            None => {}
        }
    }
    Ok((closed, removed))
}

async fn mend_file(files: &Files, sid: &str, octets: u64) -> io::Result<()> {
    let Some(path) = files.path(sid) else { return Ok(()) };
    let mut file = match tokio::fs::File::options().read(true).write(true).open(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut header = [0; HEADER as usize];
    if octets < HEADER || file.read_exact(&mut header).await.is_err() {
        return Ok(());
    }
    mend(&mut header, octets);
    file.seek(SeekFrom::Start(0)).await?;
    file.write_all(&header).await?;
    file.flush().await
}

#[cfg(test)]
mod tests;
