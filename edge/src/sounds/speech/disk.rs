//! What was spoken, on disk: one file of raw samples for each text, by the hash of all that makes it sound as it does.
//! Bounded: the least recently used files go first. A disk that fails costs only time.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::Utterance;
use crate::start::hex;

/// Bytes that are kept: some four hours.
pub const BYTES: u64 = 256 * 1024 * 1024;

/// Ending of the files.
const ENDING: &str = "s16";

/// The folder.
pub struct Disk {
    folder: PathBuf,
    room: u64,
    /// Bytes that are there; `None` until it was looked at.
    bytes: Mutex<Option<u64>>,
}

/// The name under which it is kept.
pub fn key(engine: &str, utterance: &Utterance) -> String {
    let mut hash = Sha256::new();
    let voice = utterance.voice.as_deref().unwrap_or_default();
    for part in [engine, voice, &utterance.language, utterance.text.trim()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())
}

impl Disk {
    /// Over this folder, which is made with the first file.
    pub fn new(folder: PathBuf, room: u64) -> Self {
        Self { folder, room, bytes: Mutex::new(None) }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(key).with_extension(ENDING)
    }

    /// What is kept under it. It counts as used. Blocks.
    pub fn read(&self, key: &str) -> Option<Vec<i16>> {
        let path = self.path(key);
        let bytes = fs::read(&path).ok()?;
        if let Ok(file) = fs::File::open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        let (pairs, rest) = bytes.as_chunks::<2>();
        (rest.is_empty() && !pairs.is_empty()).then(|| pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect())
    }

    /// Keeps it, whole or not at all. Blocks.
    pub fn write(&self, key: &str, samples: &[i16]) {
        if let Err(error) = self.try_write(key, samples) {
            tracing::warn!(folder = %self.folder.display(), %error, "what was spoken could not be kept");
        }
    }

    fn try_write(&self, key: &str, samples: &[i16]) -> io::Result<()> {
        let mut known = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        if data.len() as u64 > self.room {
            return Ok(());
        }
        let (path, draft) = (self.path(key), self.folder.join(key).with_extension("tmp"));
        let written = fs::write(&draft, &data).and_then(|()| fs::rename(&draft, &path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written?;
        let bytes = match *known {
            Some(bytes) => bytes + data.len() as u64,
            None => files(&self.folder)?.iter().map(|file| file.bytes).sum(),
        };
        *known = Some(if bytes > self.room { make_room(&self.folder, self.room / 10 * 9)? } else { bytes });
        Ok(())
    }
}

struct Kept {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
}

fn files(folder: &Path) -> io::Result<Vec<Kept>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == ENDING || ending == "tmp")
            && let Ok(about) = entry.metadata()
        {
            found.push(Kept { path, used: about.modified().unwrap_or(SystemTime::UNIX_EPOCH), bytes: about.len() });
        }
    }
    Ok(found)
}

/// Removes the least recently used until no more than `room` is left; how much is.
fn make_room(folder: &Path, room: u64) -> io::Result<u64> {
    let mut files = files(folder)?;
    files.sort_unstable_by_key(|file| file.used);
    let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
    for file in files {
        if bytes <= room {
            break;
        }
        fs::remove_file(&file.path)?;
        bytes -= file.bytes;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn utterance(text: &str, voice: Option<&str>) -> Utterance {
        Utterance { text: text.into(), voice: voice.map(Into::into), language: "en".into() }
    }

    #[test]
    fn what_was_spoken_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("speech");
        let key = key("flite", &utterance("hello", None));
        Disk::new(path.clone(), BYTES).write(&key, &[1, -2, 3]);
        assert_eq!(Disk::new(path, BYTES).read(&key), Some(vec![1, -2, 3]));
    }

    #[test]
    fn everything_that_is_heard_is_in_the_key() {
        let keys = [
            key("flite", &utterance("hello", None)),
            key("polly", &utterance("hello", None)),
            key("flite", &utterance("hello", Some("slt"))),
            key("flite", &utterance("hello!", None)),
            key("flite", &Utterance { language: "de".into(), ..utterance("hello", None) }),
        ];
        let different: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }

    #[test]
    fn the_least_recently_used_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().into(), 10_000);
        for place in 0..4_u64 {
            let key = format!("{place}");
            disk.write(&key, &[1; 1000]);
            let age = Duration::from_secs(1000 - place);
            fs::File::open(disk.path(&key)).unwrap().set_modified(SystemTime::now() - age).unwrap();
        }
        assert!(disk.read("0").is_some(), "used just now");
        disk.write("new", &[1; 1000]);
        disk.write("newer", &[1; 1000]);
        let there: Vec<bool> = ["0", "1", "2", "3", "new", "newer"].map(|key| disk.read(key).is_some()).into();
        assert_eq!(there, [true, false, false, true, true, true]);
        disk.write("huge", &[1; 10_000]);
        assert!(disk.read("huge").is_none() && disk.read("newer").is_some());
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().into(), BYTES);
        for damaged in [b"".as_slice(), b"abc"] {
            fs::write(disk.path("x"), damaged).unwrap();
            assert_eq!(disk.read("x"), None);
        }
    }
}
