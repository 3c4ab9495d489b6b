//! The account: made at first start, held to afterwards.

use ringfork_state::{Account, DirectoryAdmin};
use sha2::{Digest, Sha256};

use super::credentials::Credentials;
use super::folder::{Folder, StartError};
use super::{hex, random};
use crate::config::Options;

/// Who this deployment is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// SID and token, with what the demonstration made.
    pub credentials: Credentials,
    /// It was made just now.
    pub first_start: bool,
}

/// Finds the account, or makes it: given or random, with `credentials.json` beside the store.
///
/// # Errors
/// When what is given contradicts what the folder holds, or the folder is damaged.
pub async fn establish(
    options: &Options,
    folder: &Folder,
    admin: &dyn DirectoryAdmin,
    now_unix_ms: u64,
) -> Result<Identity, StartError> {
    let path = folder.credentials();
    let known = Credentials::read(&path)?;
    let stored = admin.account().await.map_err(|error| StartError(format!("{}: {error}", folder.path().display())))?;
    let contradiction = |option: &str, what: &str| {
        StartError(format!(
            "{option}: {} was started with {what}: leave the option out, or give another --data folder",
            folder.path().display()
        ))
    };
    if let Some(account) = &stored
        && account.domain != options.domain
    {
        return Err(StartError(format!(
            "--domain {}: {} was started with {}, and every client's password is kept only as a hash with that domain: \
             give that domain, or another --data folder",
            options.domain,
            folder.path().display(),
            account.domain
        )));
    }
    let credentials = match (&stored, known) {
        (Some(account), Some(known)) => {
            if known.account_sid != account.sid || token_hash(&known.auth_token) != account.auth_token_sha256 {
                return Err(StartError(format!(
                    "{}: belongs to another store: restore the one that was written with it",
                    path.display()
                )));
            }
            known
        }
        (Some(_), None) => {
            return Err(StartError(format!("{}: missing: restore it from a copy", path.display())));
        }
        // A first start that was cut off after the file was written goes on with what it says.
        (None, Some(known)) => known,
        (None, None) => Credentials {
            account_sid: match &options.account_sid {
                Some(sid) => sid.clone(),
                None => format!("AC{}", hex(&random::<16>()?)),
            },
            auth_token: match &options.auth_token {
                Some(token) => token.expose().to_owned(),
                None => hex(&random::<16>()?),
            },
            clients: Vec::new(),
            number: None,
        },
    };
    if options.account_sid.as_ref().is_some_and(|sid| *sid != credentials.account_sid) {
        return Err(contradiction("--account-sid", &credentials.account_sid));
    }
    if options.auth_token.as_ref().is_some_and(|token| token.expose() != credentials.auth_token) {
        return Err(contradiction("--auth-token", "another token"));
    }
    if stored.is_none() {
        credentials.write(&path)?;
        let account = Account {
            sid: credentials.account_sid.clone(),
            friendly_name: "Ringfork".into(),
            auth_token_sha256: token_hash(&credentials.auth_token),
            domain: options.domain.clone(),
            created_unix_ms: now_unix_ms,
            updated_unix_ms: now_unix_ms,
            version: 0,
        };
        let made = admin.create_account(&account).await;
        made.map_err(|error| StartError(format!("{}: {error}", folder.path().display())))?;
    }
    Ok(Identity { credentials, first_start: stored.is_none() })
}

fn token_hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Data, Mode, parse};
    use ringfork_state::memory::MemoryStore;

    fn options(words: &[&str]) -> Options {
        let words = ["ringfork", "serve"].iter().chain(words).map(std::ffi::OsString::from);
        match parse(words, &|_| None).unwrap() {
            Mode::Serve(options) | Mode::Demo(options) => options,
        }
    }

    /// DESIGN "Running it": a first start makes the account, later ones find it.
    #[tokio::test]
    async fn the_account_is_made_once() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&Data::Directory(parent.path().join("data"))).unwrap();
        let store = MemoryStore::new();
        let first = establish(&options(&[]), &folder, &store, 1).await.unwrap();
        assert!(first.first_start);
        let again = establish(&options(&[]), &folder, &store, 2).await.unwrap();
        assert!(!again.first_start);
        assert_eq!(first.credentials, again.credentials);
    }

    #[tokio::test]
    async fn a_given_account_is_taken() {
        let folder = Folder::open(&Data::Memory).unwrap();
        let sid = format!("AC{}", "1b".repeat(16));
        let options = options(&["--account-sid", &sid, "--auth-token", "0123456789abcdef"]);
        let made = establish(&options, &folder, &MemoryStore::new(), 1).await.unwrap();
        assert_eq!((made.credentials.account_sid, made.credentials.auth_token.as_str()), (sid, "0123456789abcdef"));
    }

    /// DESIGN "SIP choices": the realm is fixed at first start, a change is refused with the reason.
    #[tokio::test]
    async fn contradictions_are_refused_with_the_reason() {
        let folder = Folder::open(&Data::Memory).unwrap();
        let store = MemoryStore::new();
        establish(&options(&[]), &folder, &store, 1).await.unwrap();
        let other_sid = format!("AC{}", "1b".repeat(16));
        for words in
            [&["--domain", "other.example"][..], &["--account-sid", &other_sid], &["--auth-token", "fedcba9876543210"]]
        {
            let problem = establish(&options(words), &folder, &store, 1).await.unwrap_err().to_string();
            assert!(problem.starts_with(words[0]) && !problem.contains('\n'), "{problem}");
            assert!(!problem.contains("fedcba9876543210"), "{problem}");
        }
    }

    #[tokio::test]
    async fn a_missing_or_foreign_file_is_named() {
        let folder = Folder::open(&Data::Memory).unwrap();
        let store = MemoryStore::new();
        establish(&options(&[]), &folder, &store, 1).await.unwrap();
        std::fs::remove_file(folder.credentials()).unwrap();
        assert!(establish(&options(&[]), &folder, &store, 1).await.unwrap_err().to_string().contains("missing"));
        let foreign = Credentials { account_sid: "AC1".into(), auth_token: "x".into(), clients: vec![], number: None };
        foreign.write(&folder.credentials()).unwrap();
        let problem = establish(&options(&[]), &folder, &store, 1).await.unwrap_err().to_string();
        assert!(problem.contains("another store"), "{problem}");
    }
}
