//! Recordings' items and files (RCML.md 3.4, issue: a recording survives `kill -9`).

use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::to_bytes;
use ringfork_api::{RecordingFiles, SoundBody};
use ringfork_state::StoreError;
use ringfork_state::memory::MemoryStore;

use super::*;
use crate::recordings::body;
use crate::recordings::recovery::Recovered;
use crate::telemetry::testing::capture;

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const NOW_MS: u64 = 1_800_000_000_000;

/// A recording that began so many seconds ago.
fn sid_of(seconds_ago: u64, place: u8) -> RecordingSid {
    RecordingSid(ringfork_state::sid::bytes(NOW_MS / 1000 - seconds_ago, [place; 12]))
}

/// A file as its writer left it: sizes of an earlier moment in its header.
fn left(folder: &std::path::Path, sid: RecordingSid, octets: usize) {
    let mut header = *b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0";
    header[4] = 0x24;
    let mut file = header.to_vec();
    file.extend((0..octets).map(|n| n as u8));
    std::fs::write(folder.join(format!("{sid}.wav")), file).unwrap();
}

/// What happens is written in its order, and the item says the duration.
#[tokio::test]
async fn a_recording_is_written_down() {
    let store = MemoryStore::new();
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, ledger) = Ledger::new(Arc::new(store.clone()), Files::new(folder.path().into()), ACCOUNT);
    let (sid, call) = (sid_of(10, 1), CallSid([7; 16]));
    journal.began(sid, call, NOW_MS - 10_000);
    journal.ended(sid, 9, NOW_MS);
    drop(journal);
    ledger.run(NOW_MS).await;
    let kept = store.recording(&sid.to_string()).await.unwrap().unwrap();
    assert_eq!((kept.account_sid.as_str(), kept.call.0, kept.seconds), (ACCOUNT, call.0, Some(9)));
    assert_eq!((kept.created_unix_ms, kept.updated_unix_ms), (NOW_MS - 10_000, NOW_MS));
}

fn recovery(store: Arc<dyn Recordings>, files: &Files) -> Recovery {
    Recovery { store, files: files.clone(), account_sid: ACCOUNT.into() }
}

/// A store that is away for so many requests, and never takes one recording.
struct Away {
    store: MemoryStore,
    requests: AtomicU32,
    refused: String,
}

impl Away {
    fn new(store: &MemoryStore, requests: u32) -> Arc<Self> {
        Arc::new(Away { store: store.clone(), requests: AtomicU32::new(requests), refused: String::new() })
    }

    fn ask(&self, sid: &str) -> Result<(), StoreError> {
        if self.refused == sid {
            return Err(StoreError::Conflict);
        }
        let spend = |left: u32| left.checked_sub(1);
        match self.requests.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend) {
            Ok(_) => Err(StoreError::Unavailable("away".into())),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl Recordings for Away {
    async fn put_recording(&self, recording: &Recording) -> Result<(), StoreError> {
        self.ask(&recording.sid)?;
        self.store.put_recording(recording).await
    }

    async fn end_recording(&self, sid: &str, seconds: u32, now_unix_ms: u64) -> Result<(), StoreError> {
        self.ask(sid)?;
        self.store.end_recording(sid, seconds, now_unix_ms).await
    }

    async fn recording(&self, sid: &str) -> Result<Option<Recording>, StoreError> {
        self.ask(sid)?;
        self.store.recording(sid).await
    }

    async fn recordings(
        &self,
        filter: &state::RecordingFilter,
        page: &state::PageRequest,
    ) -> Result<state::Page<Recording>, StoreError> {
        self.store.recordings(filter, page).await
    }

    async fn delete_recording(&self, sid: &str) -> Result<bool, StoreError> {
        self.store.delete_recording(sid).await
    }
}

fn notes(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "call")).count()
}

/// A store that is away for long loses no recording: what happened is written, in its order, when it is back.
#[tokio::test]
async fn what_happens_waits_for_the_store() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let away = Away::new(&store, 12);
    let (mut journal, ledger) = Ledger::new(away.clone(), Files::new(folder.path().into()), ACCOUNT);
    let running = tokio::spawn(Ledger { pause: Duration::from_millis(1), ..ledger }.run(0));
    let (first, second) = (sid_of(10, 1), sid_of(9, 2));
    journal.began(first, CallSid([7; 16]), NOW_MS - 10_000);
    journal.began(second, CallSid([8; 16]), NOW_MS - 9_000);
    journal.ended(first, 9, NOW_MS);
    journal.ended(second, 8, NOW_MS);
    let seconds = async |sid: RecordingSid| {
        store.recording(&sid.to_string()).await.unwrap().and_then(|recording| recording.seconds)
    };
    while seconds(second).await.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((seconds(first).await, seconds(second).await), (Some(9), Some(8)));
    drop(journal);
    running.await.unwrap();
    assert_eq!(notes(folder.path()), 0);
}

/// Nor does a process that ends meanwhile: the next start puts the item, with the call and the length of its file.
#[tokio::test]
async fn the_next_start_puts_what_was_not_written() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let files = Files::new(folder.path().into());
    let (mut journal, ledger) = Ledger::new(Away::new(&store, u32::MAX), files.clone(), ACCOUNT);
    let (sid, call) = (sid_of(100, 1), CallSid([7; 16]));
    journal.began(sid, call, NOW_MS - 100_000);
    left(folder.path(), sid, 16_000 * 7);
    drop(journal);
    ledger.run(0).await;
    assert_eq!((store.recording(&sid.to_string()).await.unwrap(), notes(folder.path())), (None, 1));
    let recovery = recovery(Arc::new(store.clone()), &files);
    assert_eq!(recovery.recover(NOW_MS).await, Recovered { closed: 1, removed: 0, failed: 0 });
    let kept = store.recording(&sid.to_string()).await.unwrap().unwrap();
    assert_eq!((kept.account_sid.as_str(), kept.call.0, kept.seconds), (ACCOUNT, call.0, Some(7)));
    assert_eq!((kept.created_unix_ms, notes(folder.path())), (NOW_MS - 100_000, 0));
    // What is deleted through REST does not come back by its note.
    files.note(&sid.to_string(), Note { call: kept.call, created_unix_ms: NOW_MS }).await.unwrap();
    files.delete(&sid.to_string()).await.unwrap();
    assert_eq!(notes(folder.path()), 0);
}

/// One recording that cannot be closed keeps none of the others from it.
#[tokio::test]
async fn recovery_goes_on_after_a_failure() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let files = Files::new(folder.path().into());
    let (mut journal, ledger) = Ledger::new(Arc::new(store.clone()), files.clone(), ACCOUNT);
    let sids = [sid_of(100, 1), sid_of(100, 2), sid_of(100, 3)];
    for sid in sids {
        journal.began(sid, CallSid([7; 16]), NOW_MS - 100_000);
        left(folder.path(), sid, 16_000);
    }
    drop(journal);
    ledger.run(0).await;
    let mut recovered = Vec::new();
    for refused in sids {
        let away = Away { store: store.clone(), requests: AtomicU32::new(0), refused: refused.to_string() };
        recovered.push(recovery(Arc::new(away), &files).recover(NOW_MS).await);
    }
    let round = |closed| Recovered { closed, removed: 0, failed: 1 };
    assert_eq!(recovered, [round(2), round(1), round(0)]);
    for sid in sids {
        assert_eq!(store.recording(&sid.to_string()).await.unwrap().unwrap().seconds, Some(1));
    }
}

/// Old files leave while the process runs, not only when it starts.
#[tokio::test]
async fn old_files_leave_every_day() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let files = Files::new(folder.path().into());
    let running = tokio::spawn(recovery(Arc::new(store.clone()), &files).run(NOW_MS, Duration::from_millis(1)));
    let (first, second, young) = (sid_of(100 * 86_400, 1), sid_of(100 * 86_400, 2), sid_of(80 * 86_400, 3));
    let there = |sid: RecordingSid| folder.path().join(format!("{sid}.wav")).exists();
    left(folder.path(), young, 0);
    for sid in [first, second] {
        left(folder.path(), sid, 0);
        while there(sid) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(there(young));
    running.abort();
}

/// A store that refuses what it is asked for.
struct Refusing;

#[async_trait::async_trait]
impl Recordings for Refusing {
    async fn put_recording(&self, _: &Recording) -> Result<(), StoreError> {
        Err(StoreError::Conflict)
    }

    async fn end_recording(&self, _: &str, _: u32, _: u64) -> Result<(), StoreError> {
        Err(StoreError::Conflict)
    }

    async fn recording(&self, _: &str) -> Result<Option<Recording>, StoreError> {
        Ok(None)
    }

    async fn recordings(
        &self,
        _: &state::RecordingFilter,
        _: &state::PageRequest,
    ) -> Result<state::Page<Recording>, StoreError> {
        Err(StoreError::Conflict)
    }

    async fn delete_recording(&self, _: &str) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// docs/operations.md "Logs": every line about a call carries its `call`.
#[tokio::test]
async fn what_cannot_be_written_names_its_call() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, ledger) = Ledger::new(Arc::new(Refusing), Files::new(folder.path().into()), ACCOUNT);
    let (sid, call) = (sid_of(10, 1), CallSid([7; 16]));
    journal.began(sid, call, NOW_MS - 10_000);
    journal.ended(sid, 9, NOW_MS);
    assert!(journal.calls.is_empty());
    drop(journal);
    let (_guard, lines) = capture();
    ledger.run(NOW_MS).await;
    let lines = lines.take();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        assert_eq!(
            (line["call"].as_str(), line["recording"].as_str()),
            (Some(&*call.to_string()), Some(&*sid.to_string()))
        );
    }
}

/// After `kill -9` the duration is that of the file, and its header says so; what still runs, what is over and what
/// was deleted stay as they are; a file whose item went long ago goes too.
#[tokio::test]
async fn what_a_killed_process_left_is_closed() {
    let store = MemoryStore::new();
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path().into());
    let (killed, over, running) = (sid_of(100, 1), sid_of(100, 2), sid_of(0, 3));
    let (forgotten, ancient) = (sid_of(100, 4), sid_of(100 * 86_400, 5));
    let (mut journal, ledger) = Ledger::new(Arc::new(store.clone()), files.clone(), ACCOUNT);
    for sid in [killed, over, running] {
        journal.began(sid, CallSid([7; 16]), NOW_MS - 100_000);
        left(folder.path(), sid, 16_000 * 7 + 8_001);
    }
    journal.ended(over, 3, NOW_MS - 90_000);
    left(folder.path(), forgotten, 0);
    left(folder.path(), ancient, 0);
    std::fs::write(folder.path().join("other.wav"), "not ours").unwrap();
    drop(journal);
    ledger.run(0).await;
    let recovery = recovery(Arc::new(store.clone()), &files);
    assert_eq!(recovery.recover(NOW_MS).await, Recovered { closed: 1, removed: 1, failed: 0 });
    let seconds = async |sid: RecordingSid| store.recording(&sid.to_string()).await.unwrap().unwrap().seconds;
    assert_eq!((seconds(killed).await, seconds(over).await, seconds(running).await), (Some(7), Some(3), None));
    assert_eq!(store.recording(&killed.to_string()).await.unwrap().unwrap().updated_unix_ms, NOW_MS - 100_000 + 7_500);
    let mended = std::fs::read(folder.path().join(format!("{killed}.wav"))).unwrap();
    assert_eq!((&mended[4..8], &mended[40..44]), (&120_036u32.to_le_bytes()[..], &120_000u32.to_le_bytes()[..]));
    let there = |name: String| folder.path().join(name).exists();
    assert!(there(format!("{forgotten}.wav")) && !there(format!("{ancient}.wav")) && there("other.wav".into()));
    assert_eq!(recovery.recover(NOW_MS).await, Recovered::default());
}

/// RCML.md 3.4: the sound, whole and in parts, with a header that is right for what is there.
#[tokio::test]
async fn the_sound_is_sent_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path().into());
    let sid = sid_of(0, 1);
    assert_eq!(files.length(&sid.to_string()).await.unwrap(), None);
    left(folder.path(), sid, 1001);
    let total = files.length(&sid.to_string()).await.unwrap().unwrap();
    assert_eq!(total, 1044, "half a sample does not count");
    let part = async |range: std::ops::Range<u64>| {
        let sound = SoundBody { sid: sid.to_string(), range, total };
        to_bytes(body(&files, &sound).await.unwrap(), 100_000).await.unwrap().to_vec()
    };
    let whole = part(0..1044).await;
    assert_eq!(whole.len(), 1044);
    assert_eq!((&whole[4..8], &whole[40..44]), (&1036u32.to_le_bytes()[..], &1000u32.to_le_bytes()[..]));
    for range in [0..44, 10..44, 40..50, 44..1044, 600..700, 1043..1044] {
        assert_eq!(part(range.clone()).await, whole[range.start as usize..range.end as usize], "{range:?}");
    }
    files.delete(&sid.to_string()).await.unwrap();
    files.delete(&sid.to_string()).await.unwrap();
    assert_eq!(files.length(&sid.to_string()).await.unwrap(), None);
    for other in ["RE../../credentials", "../credentials.json", "RE1"] {
        assert_eq!(files.length(other).await.unwrap(), None);
    }
}
