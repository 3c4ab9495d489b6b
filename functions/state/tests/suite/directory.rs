//! Accounts, clients, numbers, applications.

use ringfork_state::{Account, Client, Cursor, Method, Number, PageRequest, StoreError, Voice, VoiceSettings};

use super::Store;
use super::samples::{account, application, client, number};

pub async fn the_account_is_made_once(store: impl Store) {
    assert_eq!(store.account().await, Ok(None));
    store.create_account(&account()).await.unwrap();
    assert_eq!(store.create_account(&account()).await, Err(StoreError::Conflict));
    assert_eq!(store.account().await, Ok(Some(account())));
    let renamed = Account { friendly_name: "Other".to_owned(), ..account() };
    assert_eq!(store.update_account(&renamed).await, Ok(2));
    assert_eq!(store.account().await, Ok(Some(Account { version: 2, ..renamed })));
}

pub async fn clients_live_by_login_and_sid(store: impl Store) {
    let mut alice = client("alice", 1_700_000_000_000);
    alice.voice = VoiceSettings {
        url: Some("https://example.com/a".to_owned()),
        method: Method::Get,
        fallback_url: Some("https://example.com/b".to_owned()),
        fallback_method: Method::Post,
        application_sid: None,
    };
    store.create_client(&alice).await.unwrap();
    assert_eq!(store.client_by_sid(&alice.sid).await, Ok(Some(alice.clone())));
    assert_eq!(store.client_by_login("alice").await, Ok(Some(alice.clone())));
    // DESIGN "SIP choices": an AOR is case-sensitive.
    assert_eq!(store.client_by_login("Alice").await, Ok(None));
    let entry = store.client("alice").await.unwrap().unwrap();
    assert_eq!((entry.login.as_str(), entry.enabled), ("alice", true));
    let fallback = Some(("https://example.com/b".to_owned(), Method::Post));
    assert_eq!(entry.voice, Some(Voice { url: "https://example.com/a".to_owned(), method: Method::Get, fallback }));
    assert_eq!(store.client("bob").await, Ok(None));
}

pub async fn a_login_is_taken_until_its_client_is_deleted(store: impl Store) {
    let first = client("alice", 1);
    let second = client("alice", 2);
    store.create_client(&first).await.unwrap();
    assert_eq!(store.create_client(&second).await, Err(StoreError::Conflict));
    assert_eq!(store.client_by_sid(&second.sid).await, Ok(None));
    assert_eq!(store.delete_client(&first.sid).await, Ok(first.clone()));
    assert_eq!(store.delete_client(&first.sid).await, Err(StoreError::NotFound));
    store.create_client(&second).await.unwrap();
    assert_eq!(store.client_by_sid(&first.sid).await, Ok(None));
    assert_eq!(store.update_client(&first).await, Err(StoreError::NotFound));
    assert_eq!(store.client_by_login("alice").await, Ok(Some(second)));
}

pub async fn a_change_of_something_changed_meanwhile_is_refused(store: impl Store) {
    let alice = client("alice", 1);
    assert_eq!(store.update_client(&alice).await, Err(StoreError::NotFound));
    store.create_client(&alice).await.unwrap();
    let disabled = Client { enabled: false, ..alice.clone() };
    assert_eq!(store.update_client(&disabled).await, Ok(2));
    assert_eq!(store.update_client(&alice).await, Err(StoreError::Conflict));
    assert_eq!(store.client_by_login("alice").await, Ok(Some(Client { version: 2, ..disabled })));

    let number = number("+4912345", 1);
    store.create_number(&number).await.unwrap();
    let changed = Number { friendly_name: "desk".to_owned(), ..number.clone() };
    assert_eq!(store.update_number(&changed).await, Ok(2));
    assert_eq!(store.update_number(&number).await, Err(StoreError::Conflict));
    assert_eq!(store.number_by_sid(&number.sid).await, Ok(Some(Number { version: 2, ..changed })));
    assert_eq!(store.delete_number(&number.sid).await.map(|gone| gone.version), Ok(2));
    assert_eq!(store.number_by_phone_number("+4912345").await, Ok(None));
}

/// RCML.md 3.4, issue of the main job: a number is matched exactly, then with or without `+`.
pub async fn numbers_match_exactly_then_with_or_without_plus(store: impl Store) {
    store.create_number(&number("+15550001", 1)).await.unwrap();
    store.create_number(&number("15550002", 2)).await.unwrap();
    let found = |digits: &'static str| {
        let store = store.clone();
        async move { store.number(digits).await.unwrap().map(|entry| entry.number) }
    };
    assert_eq!(found("+15550001").await.as_deref(), Some("+15550001"));
    assert_eq!(found("15550001").await.as_deref(), Some("+15550001"));
    assert_eq!(found("+15550002").await.as_deref(), Some("15550002"));
    assert_eq!(found("5550002").await, None);
    store.create_number(&number("15550001", 3)).await.unwrap();
    assert_eq!(found("15550001").await.as_deref(), Some("15550001"));
}

pub async fn an_application_wins_over_the_own_url(store: impl Store) {
    let menu = application(Some("https://example.com/menu"));
    let empty = application(None);
    store.create_application(&menu).await.unwrap();
    store.create_application(&empty).await.unwrap();
    assert_eq!(store.create_application(&menu).await, Err(StoreError::Conflict));
    let mut desk = number("1000", 1);
    desk.voice.application_sid = Some(menu.sid.clone());
    desk.voice.method = Method::Get;
    store.create_number(&desk).await.unwrap();
    let voice =
        |found: Option<ringfork_state::NumberEntry>| found.unwrap().voice.map(|voice| (voice.url, voice.method));
    assert_eq!(voice(store.number("1000").await.unwrap()), Some(("https://example.com/menu".to_owned(), Method::Post)));
    assert_eq!(store.delete_application(&menu.sid).await, Ok(menu.clone()));
    assert_eq!(store.delete_application(&menu.sid).await, Err(StoreError::NotFound));
    assert_eq!(voice(store.number("1000").await.unwrap()), Some(("https://example.com/voice".to_owned(), Method::Get)));
    let mut changed = empty.clone();
    changed.rcml_url = Some("https://example.com/late".to_owned());
    assert_eq!(store.update_application(&changed).await, Ok(2));
    assert_eq!(store.update_application(&changed).await, Err(StoreError::Conflict));
    assert_eq!(store.application(&empty.sid).await.unwrap().unwrap().rcml_url, changed.rcml_url);
}

/// RCML.md 3.4: newest first; the next page is named by a token.
pub async fn lists_go_newest_first_page_by_page(store: impl Store) {
    for place in 0..5_u64 {
        store.create_client(&client(&format!("c{place}"), 1_700_000_000_000 + place * 100)).await.unwrap();
        store.create_number(&number(&format!("{place}"), 1_700_000_000_000 + place * 100)).await.unwrap();
    }
    let logins =
        |page: &ringfork_state::Page<Client>| page.items.iter().map(|one| one.login.clone()).collect::<Vec<_>>();
    let ask = |cursor: Cursor| PageRequest { size: 2, cursor };
    let first = store.clients(&ask(Cursor::Newest)).await.unwrap();
    assert_eq!(logins(&first), ["c4", "c3"]);
    assert_eq!(first.previous, None);
    let second = store.clients(&ask(first.next.unwrap())).await.unwrap();
    assert_eq!(logins(&second), ["c2", "c1"]);
    let third = store.clients(&ask(second.next.clone().unwrap())).await.unwrap();
    assert_eq!(logins(&third), ["c0"]);
    assert_eq!(third.next, None);
    let back = store.clients(&ask(third.previous.unwrap())).await.unwrap();
    assert_eq!(logins(&back), logins(&second));
    let back = store.clients(&ask(back.previous.unwrap())).await.unwrap();
    assert_eq!(logins(&back), ["c4", "c3"]);
    assert_eq!(back.previous, None);
    let all = store.numbers(&PageRequest::default()).await.unwrap();
    assert_eq!(all.items.iter().map(|one| one.phone_number.as_str()).collect::<Vec<_>>(), ["4", "3", "2", "1", "0"]);
    assert_eq!((all.next, all.previous), (None, None));
    let none = store.applications(&PageRequest::default()).await.unwrap();
    assert_eq!((none.items.len(), none.next), (0, None));
}
