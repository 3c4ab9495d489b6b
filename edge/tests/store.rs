//! The embedded store: the store's suite through the in-memory connector over a file, crashes, damage, the lock.

#![allow(clippy::unwrap_used)]

#[path = "../../functions/state/tests/suite/mod.rs"]
mod suite;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use ringfork::store::{DataSync, EmbeddedStore, OpenError};
use ringfork_state::dynamodb::DynamoStore;
use ringfork_state::{Bindings, CallQueries, Calls, Expect};
use suite::samples::{binding, call_sid, now, owner, put_parent};

async fn open(folder: &Path, sync: DataSync) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(folder, sync, None).await
}

async fn embedded(sync: DataSync) -> Option<(DynamoStore, (EmbeddedStore, tempfile::TempDir))> {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), sync).await.unwrap();
    Some((opened.store(), (opened, folder)))
}

store_suite!(embedded_normal, crate::embedded(crate::DataSync::Normal));
store_suite!(embedded_full, crate::embedded(crate::DataSync::Full));

/// DESIGN "Running it": one process at a time.
#[tokio::test]
async fn a_second_opener_is_kept_out_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), DataSync::Normal).await.unwrap();
    let second = open(folder.path(), DataSync::Normal).await.err().unwrap();
    assert!(matches!(second, OpenError::InUse(_)), "{second}");
    assert_eq!(second.to_string(), format!("the store in {} is in use by another process", folder.path().display()));
    drop(first);
    open(folder.path(), DataSync::Normal).await.unwrap();
}

#[tokio::test]
async fn what_was_written_is_there_for_the_next_opener() {
    let folder = tempfile::tempdir().unwrap();
    let parent = call_sid(now());
    let first = open(folder.path(), DataSync::Full).await.unwrap();
    first.store().write(&owner(1), 1, &put_parent(parent)).await.unwrap();
    first.store().put(&owner(1), &binding("alice", "d"), Expect::Absent).await.unwrap();
    let clone = first.store();
    drop(first);
    // A clone that outlives the engine fails and does not hang.
    assert!(clone.call(parent).await.unwrap_err().is_retryable());
    let second = open(folder.path(), DataSync::Normal).await.unwrap();
    assert!(second.store().call(parent).await.unwrap().is_some());
    assert_eq!(second.store().of_aor("alice").await.unwrap(), [binding("alice", "d")]);
}

/// HA1s are in it.
#[tokio::test]
async fn the_files_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), DataSync::Normal).await.unwrap();
    opened.store().put(&owner(1), &binding("alice", "d"), Expect::Absent).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 3);
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", file.path().display());
    }
}

/// Issue of the main job: a damaged store gives one clear line.
#[tokio::test]
async fn a_damaged_file_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let opened = open(folder.path(), DataSync::Normal).await.unwrap();
    for place in 0..200 {
        opened.store().put(&owner(1), &binding(&format!("user{place}"), "d"), Expect::Absent).await.unwrap();
    }
    drop(opened);
    let whole = std::fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn.truncate(whole.len() / 2);
    let mut scribbled = whole.clone();
    let middle = whole.len() / 4..whole.len() * 3 / 4;
    scribbled[middle].fill(0xa5);
    for (damage, bytes) in
        [("no database", b"hello, world".repeat(1000)), ("torn", torn), ("scribbled over", scribbled)]
    {
        std::fs::write(&path, bytes).unwrap();
        let error = open(folder.path(), DataSync::Normal).await.err().unwrap_or_else(|| panic!("{damage}: opened"));
        assert!(matches!(error, OpenError::Damaged { .. }), "{damage}: {error}");
        let line = error.to_string();
        assert!(!line.contains('\n') && line.contains("store.db"), "{damage}: {line}");
    }
    std::fs::write(&path, whole).unwrap();
    let opened = open(folder.path(), DataSync::Normal).await.unwrap();
    assert_eq!(opened.store().of_aor("user7").await.unwrap().len(), 1);
}

const CHILD: &str = "RINGFORK_TEST_STORE_CHILD";

/// The child of the next test: writes calls in a loop and prints each SID once its write was acknowledged.
#[tokio::test]
#[ignore = "no test by itself: the next one starts it"]
async fn child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let opened = open(Path::new(&folder), DataSync::Normal).await.unwrap();
    let store = opened.store();
    loop {
        // The test's own numbering of SIDs begins anew in each child: time keeps them apart.
        let parent = call_sid(now());
        let mut random = [0; 12];
        getrandom::fill(&mut random).unwrap();
        let parent = ringfork_state::CallSid(ringfork_state::sid::bytes(parent.created_unix(), random));
        store.write(&owner(1), 1, &put_parent(parent)).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nwritten {parent}").unwrap();
        out.flush().unwrap();
    }
}

/// DESIGN "The split": safe against kill -9. No acknowledged write is lost, the file opens, the lock is free.
#[tokio::test]
async fn twelve_kills_lose_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut written: Vec<ringfork_state::CallSid> = Vec::new();
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let before = written.len();
        while written.len() < before + 20 + 7 * round {
            let line = lines.next().expect("the child ended by itself").unwrap();
            written.extend(line.strip_prefix("written ").map(|sid| sid.parse::<ringfork_state::CallSid>().unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had still said before it died counts too; its last line may be cut short.
        for line in lines.map_while(Result::ok) {
            written.extend(line.strip_prefix("written ").and_then(|sid| sid.parse::<ringfork_state::CallSid>().ok()));
        }
    }
    let opened = open(folder.path(), DataSync::Normal).await.unwrap();
    for sid in &written {
        assert!(opened.store().call(*sid).await.unwrap().is_some(), "{sid} was lost");
    }
    assert!(written.len() >= 12 * 20);
}
