//! What former processes left of recordings: closed at the start; files without item leave once a day.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfork_api::RecordingFiles;
use ringfork_state::dynamodb::RETENTION_DAYS;
use ringfork_state::{Recording, Recordings, StoreError, sid};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};

use super::body::mend;
use super::files::{Files, HEADER, SECOND};
use crate::media::whole_seconds;

/// Days for which a file outlives its item.
const SLACK_DAYS: u64 = 3;
/// How often old files leave.
pub const DAY: Duration = Duration::from_secs(86_400);

/// Brings items and files together.
pub struct Recovery {
    /// The items.
    pub store: Arc<dyn Recordings>,
    /// The files.
    pub files: Files,
    /// Whose recordings they are.
    pub account_sid: Arc<str>,
}

/// Why one recording was left as it is.
#[derive(Debug, thiserror::Error)]
enum RecoveryError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was done about recordings, by count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recovered {
    pub closed: usize,
    pub removed: usize,
    pub failed: usize,
}

enum Step {
    Closed,
    Removed,
    Good,
}

impl Recovery {
    /// Once all of them, and those that are too old `every` so often.
    pub async fn run(self, started_unix_ms: u64, every: Duration) {
        let start = Instant::now();
        let mut recovered = self.recover(started_unix_ms).await;
        loop {
            let Recovered { closed, removed, failed } = recovered;
            if failed > 0 {
                tracing::warn!(closed, removed, failed, "recordings of former processes were closed, but for some");
            } else if closed + removed > 0 {
                tracing::info!(closed, removed, "recordings of former processes were closed");
            }
            tokio::time::sleep(every).await;
            let passed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            recovered = self.remove_old(started_unix_ms.saturating_add(passed)).await;
        }
    }

    /// Gives recordings that began before `started` and have no duration the one of their file, and mends its header;
    /// puts the items that only a note speaks of; removes files whose item is long gone. What cannot be done for one
    /// is logged.
    pub(super) async fn recover(&self, started_unix_ms: u64) -> Recovered {
        self.each(started_unix_ms, Some(started_unix_ms)).await
    }

    /// Removes files whose item is long gone.
    pub(super) async fn remove_old(&self, now_unix_ms: u64) -> Recovered {
        let before = now_unix_ms.saturating_sub((RETENTION_DAYS + SLACK_DAYS) * 86_400_000);
        self.each(before, None).await
    }

    /// Every file that began before then is closed, or only removed if it has no item.
    async fn each(&self, before_unix_ms: u64, closes: Option<u64>) -> Recovered {
        let mut recovered = Recovered::default();
        let files = self.files.clone();
        let listed = tokio::task::spawn_blocking(move || files.sids()).await;
        let sids = listed.map_err(io::Error::other).flatten().unwrap_or_else(|error| {
            tracing::warn!(%error, "the recordings cannot be listed");
            recovered.failed += 1;
            Vec::new()
        });
        for recording in sids {
            if sid::created_unix(&recording).unwrap_or_default() * 1000 >= before_unix_ms {
                continue;
            }
            let step = match closes {
                Some(started_unix_ms) => self.close(&recording, started_unix_ms).await,
                None => self.remove(&recording).await,
            };
            match step {
                Ok(Step::Closed) => recovered.closed += 1,
                Ok(Step::Removed) => recovered.removed += 1,
                Ok(Step::Good) => {}
                Err(error) => {
                    recovered.failed += 1;
                    tracing::warn!(recording, %error, "a recording that a former process left could not be closed");
                }
            }
        }
        recovered
    }

    async fn close(&self, sid: &str, started_unix_ms: u64) -> Result<Step, RecoveryError> {
        let recording = match self.store.recording(sid).await? {
            Some(recording) => recording,
            None => match self.files.noted(sid).await? {
                Some(note) => {
                    let recording = Recording {
                        sid: sid.to_owned(),
                        account_sid: self.account_sid.to_string(),
                        call: note.call,
                        created_unix_ms: note.created_unix_ms,
                        updated_unix_ms: note.created_unix_ms,
                        seconds: None,
                    };
                    self.store.put_recording(&recording).await?;
                    recording
                }
                None if is_old(sid, started_unix_ms) => return self.remove(sid).await,
                None => return Ok(Step::Good),
            },
        };
        let step = if recording.seconds.is_none() {
            let octets = self.files.length(sid).await?.unwrap_or(HEADER);
            mend_file(&self.files, sid, octets).await?;
            let seconds = whole_seconds((octets - HEADER) / 2);
            let end = recording.created_unix_ms.saturating_add((octets - HEADER) / (SECOND / 1000));
            self.store.end_recording(sid, seconds, end.min(started_unix_ms)).await?;
            Step::Closed
        } else {
            Step::Good
        };
        self.files.forget_note(sid).await;
        Ok(step)
    }

    /// Removes the file, unless there is an item.
    async fn remove(&self, sid: &str) -> Result<Step, RecoveryError> {
        if self.store.recording(sid).await?.is_some() {
            return Ok(Step::Good);
        }
        self.files.delete(sid).await?;
        Ok(Step::Removed)
    }
}

fn is_old(sid: &str, now_unix_ms: u64) -> bool {
    let began = sid::created_unix(sid).unwrap_or_default();
    began + (RETENTION_DAYS + SLACK_DAYS) * 86_400 < now_unix_ms / 1000
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
