//! The files: `RE….wav` in one folder, 8 kHz, mono, 16 bits, a header of 44 octets and samples to the end. While a
//! recording's item is not in the store, `RE….call` says whose it is.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use ringfork_api::RecordingFiles;
use ringfork_state::{CallSid, sid};
use tokio::fs;

/// Octets of the header.
pub(super) const HEADER: u64 = 44;
/// Octets of a second.
pub(super) const SECOND: u64 = 16_000;

/// What is noted beside a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note {
    /// The call that it is a recording of.
    pub call: CallSid,
    /// When it began.
    pub created_unix_ms: u64,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Over this folder, which need not be there yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file of a recording; `None` for what is no SID, so that nothing else can be named.
    pub(super) fn path(&self, sid: &str) -> Option<PathBuf> {
        sid::parse("RE", sid).ok()?;
        Some(self.folder.join(format!("{sid}.wav")))
    }

    /// Where it is noted whose a recording is, as long as its item is not in the store.
    fn note_path(&self, sid: &str) -> Option<PathBuf> {
        self.path(sid).map(|path| path.with_extension("call"))
    }

    /// Notes whose a recording is.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) async fn note(&self, sid: &str, note: Note) -> io::Result<()> {
        let Some(path) = self.note_path(sid) else { return Ok(()) };
        fs::create_dir_all(&self.folder).await?;
        fs::write(path, format!("{} {}\n", note.call, note.created_unix_ms)).await
    }

    /// What is noted; `None` also where it is not readable as that: it was cut off.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) async fn noted(&self, sid: &str) -> io::Result<Option<Note>> {
        let Some(path) = self.note_path(sid) else { return Ok(None) };
        let text = match fs::read_to_string(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        Ok(text.strip_suffix('\n').and_then(|line| {
            let (call, created) = line.split_once(' ')?;
            Some(Note { call: call.parse().ok()?, created_unix_ms: created.parse().ok()? })
        }))
    }

    /// The item is in the store.
    pub(super) async fn forget_note(&self, sid: &str) {
        let Some(path) = self.note_path(sid) else { return };
        match fs::remove_file(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(recording = sid, %error, "a recording's note cannot be removed");
            }
            _ => {}
        }
    }

    /// The SIDs of all files that are there. Blocks.
    pub(super) fn sids(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let name = |entry: io::Result<std::fs::DirEntry>| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let sid = name.strip_suffix(".wav")?;
            sid::parse("RE", sid).ok().map(|_| sid.to_owned())
        };
        Ok(entries.filter_map(name).collect())
    }
}

#[async_trait]
impl RecordingFiles for Files {
    async fn length(&self, sid: &str) -> io::Result<Option<u64>> {
        let Some(path) = self.path(sid) else { return Ok(None) };
        match fs::metadata(path).await {
            // A sample is two octets: half a one, as a full disk leaves it, is no part of the sound.
            Ok(about) if about.len() >= HEADER => Ok(Some(about.len() & !1)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, sid: &str) -> io::Result<()> {
        self.forget_note(sid).await;
        let Some(path) = self.path(sid) else { return Ok(()) };
        match fs::remove_file(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
