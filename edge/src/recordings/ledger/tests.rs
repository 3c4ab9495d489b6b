//! Recordings' items and files (RCML.md 3.4, issue: a recording survives `kill -9`).

use axum::body::to_bytes;
use ringfork_api::SoundBody;
use ringfork_state::memory::MemoryStore;

use super::*;
use crate::recordings::body;
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
    assert_eq!(recover(&store, &files, NOW_MS).await.unwrap(), (1, 1));
    let seconds = async |sid: RecordingSid| store.recording(&sid.to_string()).await.unwrap().unwrap().seconds;
    assert_eq!((seconds(killed).await, seconds(over).await, seconds(running).await), (Some(7), Some(3), None));
    assert_eq!(store.recording(&killed.to_string()).await.unwrap().unwrap().updated_unix_ms, NOW_MS - 100_000 + 7_500);
    let mended = std::fs::read(folder.path().join(format!("{killed}.wav"))).unwrap();
    assert_eq!((&mended[4..8], &mended[40..44]), (&120_036u32.to_le_bytes()[..], &120_000u32.to_le_bytes()[..]));
    let there = |name: String| folder.path().join(name).exists();
    assert!(there(format!("{forgotten}.wav")) && !there(format!("{ancient}.wav")) && there("other.wav".into()));
    assert_eq!(recover(&store, &files, NOW_MS).await.unwrap(), (0, 0));
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
