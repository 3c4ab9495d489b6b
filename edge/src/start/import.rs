//! `--import FILE`: clients in bulk, one `login,password` a line (DESIGN "Running it").

use std::collections::HashSet;
use std::path::Path;

use ringfork_api::check_login;
use ringfork_sip::digest::{Hash, ha1};
use ringfork_state::{Client, DirectoryAdmin, StoreError, VoiceSettings};
use tokio::task::JoinSet;

use super::folder::StartError;
use super::random;

/// RCML.md 3.4's rule for passwords made through REST: here shorter ones only count as weak.
const STRONG: usize = 8;
/// Writes under way at a time.
const WRITERS: usize = 16;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportReport {
    /// New clients.
    pub created: usize,
    /// Clients that were there, with a new password.
    pub updated: usize,
    /// Passwords that REST would refuse.
    pub weak: usize,
}

/// Reads the file: logins with passwords.
///
/// # Errors
/// The first bad line, by its number; then nothing is to be imported.
pub fn read_import(path: &Path) -> Result<Vec<(String, String)>, StartError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| StartError(format!("--import {}: {error}", path.display())))?;
    let mut seen = HashSet::new();
    let mut clients = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            continue;
        }
        let bad = |reason: &str| StartError(format!("--import {}: line {}: {reason}", path.display(), number + 1));
        let (login, password) = line.split_once(',').ok_or_else(|| bad("write login,password"))?;
        check_login(login).map_err(|reason| bad(&format!("the login {reason}")))?;
        if password.is_empty() {
            return Err(bad("the password is empty"));
        }
        if !seen.insert(login) {
            return Err(bad("this login was there before: give it once"));
        }
        clients.push((login.to_owned(), password.to_owned()));
    }
    Ok(clients)
}

/// Creates or updates these clients.
///
/// # Errors
/// The store's; what was written before stays.
pub async fn import(
    clients: Vec<(String, String)>,
    admin: std::sync::Arc<dyn DirectoryAdmin>,
    account_sid: &str,
    domain: &str,
    now_unix_ms: u64,
) -> Result<ImportReport, StartError> {
    let weak = clients.iter().filter(|(login, password)| password.len() < STRONG || login == password).count();
    let mut report = ImportReport { weak, ..ImportReport::default() };
    let share = clients.len().div_ceil(WRITERS).max(1);
    let mut writers = JoinSet::new();
    for part in clients.chunks(share) {
        let part = part.to_vec();
        let (admin, account_sid, domain) = (admin.clone(), account_sid.to_owned(), domain.to_owned());
        writers.spawn(async move {
            let mut updated = 0;
            for (login, password) in part {
                updated += usize::from(write(&*admin, &account_sid, &domain, login, &password, now_unix_ms).await?);
            }
            Ok::<usize, StartError>(updated)
        });
    }
    while let Some(done) = writers.join_next().await {
        report.updated += done.map_err(|error| StartError(format!("--import: {error}")))??;
    }
    report.created = clients.len() - report.updated;
    Ok(report)
}

/// Writes one; true: it was there.
async fn write(
    admin: &dyn DirectoryAdmin,
    account_sid: &str,
    domain: &str,
    login: String,
    password: &str,
    now_unix_ms: u64,
) -> Result<bool, StartError> {
    let fail = |error: StoreError| StartError(format!("--import: {error}"));
    let client = Client {
        sid: ringfork_state::sid::resource(*b"CL", now_unix_ms, random()?),
        account_sid: account_sid.to_owned(),
        friendly_name: login.clone(),
        ha1_md5: ha1(Hash::Md5, &login, domain, password),
        ha1_sha256: ha1(Hash::Sha256, &login, domain, password),
        login,
        enabled: true,
        voice: VoiceSettings::default(),
        created_unix_ms: now_unix_ms,
        updated_unix_ms: now_unix_ms,
        version: 0,
    };
    match admin.create_client(&client).await {
        Ok(()) => Ok(false),
        Err(StoreError::Conflict) => {
            let found = admin.client_by_login(&client.login).await.map_err(fail)?;
            let Some(found) = found else { return Err(fail(StoreError::Conflict)) };
            let changed = Client {
                ha1_md5: client.ha1_md5,
                ha1_sha256: client.ha1_sha256,
                updated_unix_ms: now_unix_ms,
                ..found
            };
            admin.update_client(&changed).await.map_err(fail)?;
            Ok(true)
        }
        Err(error) => Err(fail(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfork_state::Directory;
    use ringfork_state::memory::MemoryStore;
    use std::io::Write as _;
    use std::sync::Arc;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    /// DESIGN "Running it": created or updated; a weak password is taken and counted.
    #[tokio::test]
    async fn clients_are_created_then_updated() {
        let store = Arc::new(MemoryStore::new());
        let clients = read_import(file("alice,secret\nbob,Correct-Horse\n").path()).unwrap();
        let report = import(clients, store.clone(), "AC0", "ringfork.local", 1).await.unwrap();
        assert_eq!(report, ImportReport { created: 2, updated: 0, weak: 1 });
        let clients = read_import(file("alice,Battery-Staple\n").path()).unwrap();
        let report = import(clients, store.clone(), "AC0", "ringfork.local", 2).await.unwrap();
        assert_eq!(report, ImportReport { created: 0, updated: 1, weak: 0 });
        let entry = store.client("alice").await.unwrap().unwrap();
        assert_eq!(entry.ha1_md5, ha1(Hash::Md5, "alice", "ringfork.local", "Battery-Staple"));
    }

    /// DESIGN "Running it": a bad line is named and nothing is imported.
    #[test]
    fn a_bad_line_is_named_without_its_secret() {
        for (text, line) in [("a,b\nalice secret\n", 2), (",x\n", 1), ("a,\n", 1), ("a,b\na,c\n", 2), ("a b,c\n", 1)] {
            let problem = read_import(file(text).path()).unwrap_err().to_string();
            assert!(problem.contains(&format!("line {line}:")) && !problem.contains("secret"), "{problem}");
        }
    }

    /// RCML.md 3.4: a login is what REST takes for one; `?`, `;`, `=` and `/` would end or change the URI that it is in.
    #[test]
    fn a_login_that_rest_refuses_is_named() {
        for login in ["a?b", "a;b", "a=b", "a/b", "a@b", "ä"] {
            let problem = read_import(file(&format!("alice,secret\n{login},secret\n")).path()).unwrap_err().to_string();
            assert!(
                problem.ends_with("line 2: the login may hold letters, digits and -_.!~*'()&+$, only"),
                "{problem}"
            );
        }
        let all = "aZ9-_.!~*'()&+$";
        assert_eq!(read_import(file(&format!("{all},secret")).path()).unwrap()[0].0, all);
    }

    #[test]
    fn a_password_may_hold_commas_and_the_last_line_need_not_end() {
        let clients = read_import(file("alice,a,b\r\n\nbob,c").path()).unwrap();
        assert_eq!(clients, [("alice".into(), "a,b".into()), ("bob".into(), "c".into())]);
    }
}
