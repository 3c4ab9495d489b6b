//! Registrations (DESIGN "State in DynamoDB").

use ringfork_state::{Binding, BindingChange, Expect, Owner, StoreError};

use super::Store;
use super::samples::{binding, owner};

pub async fn a_binding_is_written_under_its_version(store: impl Store) {
    let one = binding("alice", "<urn:uuid:1>;1");
    assert_eq!(store.put(&owner(1), &one, Expect::Version(1)).await, Err(StoreError::Conflict));
    assert_eq!(store.put(&owner(1), &one, Expect::Absent).await, Ok(1));
    let moved = Binding { flow: "udp 127.0.0.1:5060 192.0.2.4:9999".to_owned(), cseq: 8, ..one.clone() };
    assert_eq!(store.put(&owner(1), &moved, Expect::Absent).await, Err(StoreError::Conflict));
    assert_eq!(store.put(&owner(1), &moved, Expect::Version(1)).await, Ok(2));
    assert_eq!(store.of_aor("alice").await, Ok(vec![Binding { version: 2, ..moved }]));
    assert_eq!(store.of_aor("bob").await, Ok(vec![]));
    assert_eq!(store.delete(&owner(1), "alice", &one.key, 1).await, Err(StoreError::Conflict));
    assert_eq!(store.delete(&owner(1), "alice", &one.key, 2).await, Ok(()));
    assert_eq!(store.delete(&owner(1), "alice", &one.key, 2).await, Ok(()));
    assert_eq!(store.of_aor("alice").await, Ok(vec![]));
}

pub async fn a_repeated_write_is_no_conflict(store: impl Store) {
    let one = binding("alice", "d");
    assert_eq!(store.put(&owner(1), &one, Expect::Absent).await, Ok(1));
    assert_eq!(store.put(&owner(1), &one, Expect::Absent).await, Ok(1));
    let next = Binding { cseq: 9, ..one.clone() };
    assert_eq!(store.put(&owner(1), &next, Expect::Version(1)).await, Ok(2));
    assert_eq!(store.put(&owner(1), &next, Expect::Version(1)).await, Ok(2));
    let other = Binding { cseq: 10, ..one };
    assert_eq!(store.put(&owner(1), &other, Expect::Version(1)).await, Err(StoreError::Conflict));
}

pub async fn a_former_epoch_writes_nothing(store: impl Store) {
    let one = binding("alice", "d");
    store.put(&owner(2), &one, Expect::Absent).await.unwrap();
    assert_eq!(store.put(&owner(1), &one, Expect::Version(1)).await, Err(StoreError::Stale));
    assert_eq!(store.delete(&owner(1), "alice", "d", 1).await, Err(StoreError::Stale));
    assert_eq!(store.put(&owner(3), &one, Expect::Version(1)).await, Ok(2));
}

pub async fn another_edge_takes_a_binding_over(store: impl Store) {
    let one = binding("alice", "d");
    store.put(&owner(9), &one, Expect::Absent).await.unwrap();
    let other = Owner { edge: "edge-b".into(), epoch: 1 };
    assert_eq!(store.put(&other, &one, Expect::Version(1)).await, Ok(2));
    assert_eq!(store.delete(&owner(9), "alice", "d", 1).await, Err(StoreError::Conflict));
    assert_eq!(store.of_aor("alice").await.unwrap()[0].owner, other);
}

/// RFC 3261 §10.3: a REGISTER's changes all succeed or fail.
pub async fn several_bindings_change_together_or_not_at_all(store: impl Store) {
    let put = |key: &str, cseq, expect| BindingChange::Put {
        binding: Box::new(Binding { cseq, ..binding("alice", key) }),
        expect,
    };
    let delete = |key: &str, version| BindingChange::Delete { key: key.to_owned(), version };
    let seen = async || {
        let mut seen: Vec<_> = store.of_aor("alice").await.unwrap();
        seen.sort_by(|a, b| a.key.cmp(&b.key));
        seen.into_iter().map(|one| (one.key, one.cseq, one.version)).collect::<Vec<_>>()
    };
    let two = [put("a", 1, Expect::Absent), put("b", 1, Expect::Absent)];
    assert_eq!(store.change_all(&owner(2), "alice", &two).await, Ok(()));
    let both = [("a".to_owned(), 1, 1), ("b".to_owned(), 1, 1)];
    assert_eq!(seen().await, both);
    for wrong in [put("b", 2, Expect::Absent), put("b", 2, Expect::Version(2)), delete("b", 2), delete("c", 1)] {
        let changes = [put("a", 2, Expect::Version(1)), put("d", 2, Expect::Absent), wrong];
        assert_eq!(store.change_all(&owner(2), "alice", &changes).await, Err(StoreError::Conflict));
        assert_eq!(seen().await, both);
    }
    let changes = [put("a", 2, Expect::Version(1)), delete("b", 1), put("c", 2, Expect::Absent)];
    assert_eq!(store.change_all(&owner(1), "alice", &changes).await, Err(StoreError::Stale));
    assert_eq!(seen().await, both);
    assert_eq!(store.change_all(&owner(2), "alice", &changes).await, Ok(()));
    assert_eq!(seen().await, [("a".to_owned(), 2, 2), ("c".to_owned(), 2, 1)]);
}

/// DESIGN "SIP choices": after a restart UDP bindings ring.
pub async fn an_edge_loads_its_own(store: impl Store) {
    for place in 0..30 {
        for device in 0..2 {
            let one = binding(&format!("user{place:02}"), &format!("d{device}"));
            store.put(&owner(1), &one, Expect::Absent).await.unwrap();
        }
    }
    let other = Owner { edge: "edge-b".into(), epoch: 1 };
    store.put(&other, &binding("user00", "d9"), Expect::Absent).await.unwrap();
    let mut loaded = Vec::new();
    let mut from = None;
    loop {
        let page = store.of_edge("edge-a", from.as_ref()).await.unwrap();
        loaded.extend(page.bindings);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(loaded.len(), 60);
    assert!(loaded.iter().all(|one| &*one.owner.edge == "edge-a" && one.version == 1));
}

pub async fn a_very_long_device_key_is_kept(store: impl Store) {
    let one = binding("alice", &"k".repeat(3000));
    store.put(&owner(1), &one, Expect::Absent).await.unwrap();
    assert_eq!(store.of_aor("alice").await, Ok(vec![one.clone()]));
    assert_eq!(store.delete(&owner(1), "alice", &one.key, 1).await, Ok(()));
    assert_eq!(store.of_aor("alice").await, Ok(vec![]));
}
