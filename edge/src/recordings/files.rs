//! The files: `RE….wav` in one folder, 8 kHz, mono, 16 bits, a header of 44 octets and samples to the end.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use ringfork_api::RecordingFiles;
use ringfork_state::sid;
use tokio::fs;

/// Octets of the header.
pub(super) const HEADER: u64 = 44;
/// Octets of a second.
pub(super) const SECOND: u64 = 16_000;

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
        let Some(path) = self.path(sid) else { return Ok(()) };
        match fs::remove_file(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
