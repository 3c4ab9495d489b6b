//! What the demonstration needs in the store: three clients and a number. Made once; secrets are shown once.

use std::sync::Arc;

use ringfork_state::{DirectoryAdmin, Method, Number, StoreError, VoiceSettings};

use crate::start::{Credentials, DemoClient, StartError, import, random};

/// Who takes part.
const NAMES: [&str; 3] = ["alice", "bob", "carol"];
/// The first of these that is free is the number.
const NUMBERS: std::ops::Range<u32> = 1000..1100;
/// Letters and digits that are not mistaken for each other.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Makes what is missing and writes it into `credentials`; true: something was made.
///
/// # Errors
/// The store's.
pub async fn provide(
    credentials: &mut Credentials,
    admin: &Arc<dyn DirectoryAdmin>,
    domain: &str,
    now_unix_ms: u64,
) -> Result<bool, StartError> {
    if !credentials.clients.is_empty() && credentials.number.is_some() {
        return Ok(false);
    }
    if credentials.clients.is_empty() {
        for name in NAMES {
            // A client of that name that somebody made keeps it.
            let taken = admin.client_by_login(name).await.map_err(|error| fail(&error))?.is_some();
            let login = if taken { format!("demo-{name}") } else { name.to_owned() };
            credentials.clients.push(DemoClient { login, password: password()? });
        }
        let clients = credentials.clients.iter().map(|client| (client.login.clone(), client.password.clone()));
        import(clients.collect(), admin.clone(), &credentials.account_sid, domain, now_unix_ms).await?;
    }
    if credentials.number.is_none() {
        for number in NUMBERS {
            let phone_number = number.to_string();
            let resource = Number {
                sid: ringfork_state::sid::resource(*b"PN", now_unix_ms, random()?),
                account_sid: credentials.account_sid.clone(),
                friendly_name: "Demonstration".into(),
                phone_number: phone_number.clone(),
                voice: VoiceSettings::default(),
                voice_caller_id_lookup: false,
                status_callback: None,
                status_callback_method: Method::Post,
                created_unix_ms: now_unix_ms,
                updated_unix_ms: now_unix_ms,
                version: 0,
            };
            match admin.create_number(&resource).await {
                Ok(()) => {
                    credentials.number = Some(phone_number);
                    break;
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(fail(&error)),
            }
        }
    }
    Ok(true)
}

/// Points the number at the sample application, whose port is another at each start.
///
/// # Errors
/// The store's.
pub async fn point(number: &str, admin: &Arc<dyn DirectoryAdmin>, url: &str) -> Result<(), StartError> {
    let found = admin.number_by_phone_number(number).await.map_err(|error| fail(&error))?;
    let Some(mut found) = found else {
        return Err(StartError(format!(
            "the demonstration's number {number} is gone: make it again, or start over an empty --data folder"
        )));
    };
    found.voice = VoiceSettings { url: Some(url.to_owned()), ..VoiceSettings::default() };
    admin.update_number(&found).await.map(drop).map_err(|error| fail(&error))
}

fn fail(error: &StoreError) -> StartError {
    StartError(format!("the demonstration cannot be set up: {error}"))
}

/// Sixty bits, easy to type.
fn password() -> Result<String, StartError> {
    let bytes: [u8; 12] = random()?;
    let letters = bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte % 32))).map(|letter| char::from(*letter));
    let letters: Vec<char> = letters.collect();
    Ok(letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfork_state::Directory;
    use ringfork_state::memory::MemoryStore;

    #[tokio::test]
    async fn what_is_needed_is_made_once() {
        let store = Arc::new(MemoryStore::new());
        let admin: Arc<dyn DirectoryAdmin> = store.clone();
        let mut credentials =
            Credentials { account_sid: "AC0".into(), auth_token: "t".into(), clients: vec![], number: None };
        assert!(provide(&mut credentials, &admin, "ringfork.local", 1).await.unwrap());
        assert_eq!(credentials.clients.len(), 3);
        assert!(credentials.clients.iter().all(|client| client.password.len() == 14));
        let number = credentials.number.clone().unwrap();
        assert!(!provide(&mut credentials, &admin, "ringfork.local", 2).await.unwrap());
        point(&number, &admin, "http://127.0.0.1:1/voice").await.unwrap();
        let found = store.number(&number).await.unwrap().unwrap();
        assert_eq!(found.voice.unwrap().url, "http://127.0.0.1:1/voice");
    }

    #[tokio::test]
    async fn nobody_loses_a_client_to_the_demonstration() {
        let store = Arc::new(MemoryStore::new());
        let admin: Arc<dyn DirectoryAdmin> = store.clone();
        let own = vec![("bob".to_owned(), "Correct-Horse".to_owned())];
        import(own, admin.clone(), "AC0", "ringfork.local", 1).await.unwrap();
        let before = store.client("bob").await.unwrap().unwrap();
        let mut credentials =
            Credentials { account_sid: "AC0".into(), auth_token: "t".into(), clients: vec![], number: None };
        provide(&mut credentials, &admin, "ringfork.local", 1).await.unwrap();
        assert_eq!(credentials.clients[1].login, "demo-bob");
        assert_eq!(store.client("bob").await.unwrap().unwrap(), before);
    }
}
