//! Lease, epoch, claim (DESIGN "Time").

use ringfork_state::{Renewal, StoreError, Unreaped};

use super::Store;

const ADDRESS: &str = "127.0.0.1:5060";

fn renewal(now_unix_ms: u64) -> Renewal {
    Renewal { now_unix_ms, load: 3, draining: true }
}

pub async fn each_start_raises_the_epoch(store: impl Store) {
    assert_eq!(store.edges().await, Ok(vec![]));
    let first = store.start("edge-a", &[ADDRESS.to_owned()], 1000).await.unwrap();
    assert_eq!((first.owner.epoch, first.unreaped), (1, vec![]));
    let second = store.start("edge-a", &[ADDRESS.to_owned()], 9000).await.unwrap();
    assert_eq!(second.owner.epoch, 2);
    // A dead edge's call ends at its last renewal.
    assert_eq!(second.unreaped, [Unreaped { below_epoch: 2, last_renewal_unix_ms: 1000 }]);
    assert_eq!(store.renew(&first.owner, &renewal(9001)).await, Err(StoreError::Stale));
    store.renew(&second.owner, &renewal(9002)).await.unwrap();
    store.start("edge-b", &[], 1).await.unwrap();
    let mut edges = store.edges().await.unwrap();
    edges.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(edges.len(), 2);
    let edge = &edges[0];
    assert_eq!((edge.epoch, edge.live, edge.load, edge.draining), (2, true, 3, true));
    assert_eq!((edge.renewed_unix_ms, edge.addresses.as_slice()), (9002, [ADDRESS.to_owned()].as_slice()));
}

pub async fn a_lease_is_renewed_and_lost(store: impl Store) {
    let started = store.start("edge-a", &[], 1000).await.unwrap();
    let nobody = ringfork_state::Owner { edge: "edge-z".into(), epoch: 1 };
    assert_eq!(store.renew(&nobody, &renewal(1)).await, Err(StoreError::NotFound));
    let before = store.edges().await.unwrap()[0].beat;
    store.renew(&started.owner, &renewal(2000)).await.unwrap();
    store.renew(&started.owner, &renewal(3000)).await.unwrap();
    assert_eq!(store.edges().await.unwrap()[0].beat, before + 2);
    store.stop(&started.owner).await.unwrap();
    assert!(!store.edges().await.unwrap()[0].live);
    assert_eq!(store.renew(&started.owner, &renewal(4000)).await, Err(StoreError::Stale));
}

pub async fn only_who_stood_still_is_claimed(store: impl Store) {
    let started = store.start("edge-a", &[], 1000).await.unwrap();
    let seen = store.edges().await.unwrap().remove(0);
    store.renew(&started.owner, &renewal(2000)).await.unwrap();
    assert_eq!(store.claim(&seen).await, Err(StoreError::Conflict));
    let seen = store.edges().await.unwrap().remove(0);
    let claimed = store.claim(&seen).await.unwrap();
    assert_eq!(claimed.owner.epoch, 2);
    assert_eq!(claimed.unreaped, [Unreaped { below_epoch: 2, last_renewal_unix_ms: 2000 }]);
    assert_eq!(store.claim(&seen).await, Err(StoreError::Conflict));
    assert_eq!(store.renew(&started.owner, &renewal(3000)).await, Err(StoreError::Stale));
    let nobody = ringfork_state::EdgeRecord { id: "edge-z".to_owned(), ..seen };
    assert_eq!(store.claim(&nobody).await, Err(StoreError::NotFound));
}

pub async fn what_was_left_is_known_until_reaped(store: impl Store) {
    for time in [1000, 2000, 3000] {
        store.start("edge-a", &[], time).await.unwrap();
    }
    let left = |below_epoch, last_renewal_unix_ms| Unreaped { below_epoch, last_renewal_unix_ms };
    assert_eq!(store.edges().await.unwrap()[0].unreaped, [left(2, 1000), left(3, 2000)]);
    store.reaped("edge-a", 2).await.unwrap();
    assert_eq!(store.edges().await.unwrap()[0].unreaped, [left(3, 2000)]);
    store.reaped("edge-a", 3).await.unwrap();
    assert_eq!(store.edges().await.unwrap()[0].unreaped, []);
    store.reaped("edge-z", 3).await.unwrap();
    for time in 0..40 {
        store.start("edge-a", &[], time).await.unwrap();
    }
    assert_eq!(store.edges().await.unwrap()[0].unreaped.len(), ringfork_state::edge::UNREAPED);
}
