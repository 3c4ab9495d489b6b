//! `credentials.json`: the account's secrets, and those of the demonstration's clients.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::{StartError, write_private};

/// The file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// `AC…`.
    pub account_sid: String,
    /// A secret.
    pub auth_token: String,
    /// The demonstration's clients; none for `serve`.
    #[serde(default)]
    pub clients: Vec<DemoClient>,
    /// The demonstration's number.
    #[serde(default)]
    pub number: Option<String>,
}

/// A client that the demonstration made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemoClient {
    /// Who registers.
    pub login: String,
    /// A secret.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("account_sid", &self.account_sid).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for DemoClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DemoClient").field("login", &self.login).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read or understood.
    pub fn read(path: &Path) -> Result<Option<Credentials>, StartError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StartError(format!("{}: {error}", path.display()))),
        };
        // What serde says may quote the file, and the file is secret.
        serde_json::from_str(&text).map(Some).map_err(|error| {
            StartError(format!("{}: damaged at line {}: restore it from a copy", path.display(), error.line()))
        })
    }

    /// Writes the file, mode 0600, whole or not at all.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, path: &Path) -> Result<(), StartError> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        write_private(path, &text).map_err(|error| StartError(format!("{}: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_shows_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.json");
        assert_eq!(Credentials::read(&path).unwrap(), None);
        let credentials = Credentials {
            account_sid: "AC0".into(),
            auth_token: "geheim".into(),
            clients: vec![DemoClient { login: "alice".into(), password: "streng".into() }],
            number: Some("1".into()),
        };
        credentials.write(&path).unwrap();
        assert_eq!(Credentials::read(&path).unwrap(), Some(credentials.clone()));
        let shown = format!("{credentials:?} {:?}", credentials.clients);
        assert!(!shown.contains("geheim") && !shown.contains("streng"));
        fs::write(&path, "{\"auth_token\": \"geheim\"").unwrap();
        let problem = Credentials::read(&path).unwrap_err().to_string();
        assert!(problem.contains("damaged") && !problem.contains("geheim"), "{problem}");
    }
}
