//! The data folder: one process at a time, readable by its owner only.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::Data;

/// Why the server cannot start: one line that names the fix.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// `--data`, opened and locked.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The lock lives as long as the file is open, and dies with the process however that ends.
    _lock: File,
    /// `--data memory`: the folder goes with the process.
    temporary: bool,
}

impl Folder {
    /// Makes the folder if it is not there, and takes its lock.
    ///
    /// # Errors
    /// When it cannot be made or written, or another process has it.
    pub fn open(data: &Data) -> Result<Folder, StartError> {
        match data {
            Data::Directory(path) => {
                let path = path.as_path();
                let fail = |error: &io::Error| StartError(format!("--data {}: {error}", path.display()));
                fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| fail(&error))?;
                let path = fs::canonicalize(path).map_err(|error| fail(&error))?;
                Folder::lock(path, false)
            }
            Data::Memory => {
                let random = super::hex(&super::random::<8>()?);
                let path = std::env::temp_dir().join(format!("ringfork-{random}"));
                let made = fs::DirBuilder::new().mode(0o700).create(&path);
                made.map_err(|error| StartError(format!("{}: {error}", path.display())))?;
                Folder::lock(path, true)
            }
        }
    }

    fn lock(path: PathBuf, temporary: bool) -> Result<Folder, StartError> {
        let name = path.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&name);
        let file = file.map_err(|error| StartError(format!("--data {}: {error}", path.display())))?;
        match file.try_lock() {
            Ok(()) => Ok(Folder { path, _lock: file, temporary }),
            Err(TryLockError::WouldBlock) => Err(StartError(format!(
                "--data {}: another ringfork runs on this folder: end it, or give another folder",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(StartError(format!("--data {}: {error}", path.display()))),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the credentials are.
    pub fn credentials(&self) -> PathBuf {
        self.path.join("credentials.json")
    }

    /// Where recordings are, as `RE….wav`; the folder is made with the first.
    pub fn recordings(&self) -> PathBuf {
        self.path.join("recordings")
    }

    /// Where what was spoken is kept; the folder is made with the first.
    pub fn speech(&self) -> PathBuf {
        self.path.join("speech")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// The system's.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("tmp");
    let _ = fs::remove_file(&draft);
    {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt;
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&draft)?;
        // The umask may have taken bits away, never added any.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
    }
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// DESIGN "Running it": `--data memory` uses a 0700 temporary folder that is removed at exit.
    #[test]
    fn a_temporary_folder_is_private_and_goes() {
        let folder = Folder::open(&Data::Memory).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(mode(&path), 0o700);
        write_private(&folder.credentials(), "{}").unwrap();
        assert_eq!(mode(&folder.credentials()), 0o600);
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn one_process_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let data = Data::Directory(parent.path().join("data"));
        let first = Folder::open(&data).unwrap();
        let problem = Folder::open(&data).unwrap_err().to_string();
        assert!(problem.contains("another ringfork runs on this folder"), "{problem}");
        drop(first);
        assert!(Folder::open(&data).is_ok());
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_one_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let problem = Folder::open(&Data::Directory(file.path().into())).unwrap_err().to_string();
        assert!(problem.starts_with("--data ") && !problem.contains('\n'), "{problem}");
    }
}
