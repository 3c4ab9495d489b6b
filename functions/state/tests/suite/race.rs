//! Many at once: conditions decide, and nothing is lost.

use ringfork_state::{Binding, Call, CallStatus, CallWrite, Expect, StoreError};
use tokio::task::JoinSet;

use super::Store;
use super::samples::{binding, call_sid, client, now, owner, put_parent};

const TASKS: u64 = 64;
const ROUNDS: u64 = 1;

/// Repeats what could not be decided because the store was busy.
async fn insist<T, F: Future<Output = ringfork_state::Result<T>>>(
    mut attempt: impl FnMut() -> F,
) -> ringfork_state::Result<T> {
    for _ in 0..100 {
        match attempt().await {
            Err(StoreError::Unavailable(_)) => tokio::task::yield_now().await,
            decided => return decided,
        }
    }
    panic!("the store stays unavailable");
}

/// 64 tasks raise the number in one binding, each by a read, a change and a write under the version read.
pub async fn no_conditional_write_is_lost(store: impl Store) {
    let start = Binding { cseq: 0, ..binding("alice", "d") };
    store.put(&owner(1), &start, Expect::Absent).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                loop {
                    let seen = insist(|| store.of_aor("alice")).await.unwrap().remove(0);
                    // The name makes each task's write its own: a repetition of another's is none.
                    let agent = Some(format!("task {task}"));
                    let next = Binding { cseq: seen.cseq + 1, user_agent: agent, ..seen.clone() };
                    match insist(|| store.put(&seen.owner, &next, Expect::Version(seen.version))).await {
                        Ok(_) => break,
                        Err(StoreError::Conflict) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let stored = store.of_aor("alice").await.unwrap().remove(0);
    assert_eq!((u64::from(stored.cseq), stored.version), (TASKS * ROUNDS, TASKS * ROUNDS + 1));
}

pub async fn one_of_many_gets_the_login(store: impl Store) {
    for round in 0..4 {
        let login = format!("login{round}");
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (store, one) = (store.clone(), client(&login, 1));
            tasks.spawn(async move { insist(|| store.create_client(&one)).await.map(|()| one.sid) });
        }
        let outcomes = tasks.join_all().await;
        let winners: Vec<_> = outcomes.iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert!(outcomes.iter().all(|outcome| outcome.is_ok() || *outcome == Err(StoreError::Conflict)));
        assert_eq!(store.client_by_login(&login).await.unwrap().unwrap().sid, *winners[0]);
    }
    assert_eq!(store.clients(&ringfork_state::PageRequest::default()).await.unwrap().items.len(), 4);
}

pub async fn one_of_many_claims_the_edge(store: impl Store) {
    store.start("edge-a", &[], 1000).await.unwrap();
    let seen = store.edges().await.unwrap().remove(0);
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (store, seen) = (store.clone(), seen.clone());
        tasks.spawn(async move { insist(|| store.claim(&seen)).await });
    }
    assert_eq!(tasks.join_all().await.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(store.edges().await.unwrap()[0].epoch, 2);
}

/// An edge that is taken for dead goes on writing while a reaper closes its call: whoever comes first, the reaper's
/// end stands, and no write lands after it.
pub async fn edge_and_reaper_do_not_overwrite_each_other(store: impl Store) {
    for _ in 0..8 {
        let parent = call_sid(now());
        store.write(&owner(1), 1, &put_parent(parent)).await.unwrap();
        let (former, sids) = (owner(1), [parent]);
        let edge = tokio::spawn({
            let store = store.clone();
            async move {
                for version in 2..40 {
                    let step = CallWrite::Parent {
                        parent,
                        status: CallStatus::InProgress,
                        answered_unix_ms: Some(version),
                        ended_unix_ms: None,
                        settled: false,
                    };
                    match insist(|| store.write(&former, version, &step)).await {
                        Ok(()) => {}
                        Err(StoreError::Stale) => return version,
                        Err(other) => panic!("{other}"),
                    }
                }
                40
            }
        });
        let closed = loop {
            let seen = insist(|| store.read_calls(&sids)).await.unwrap().remove(0);
            let closed =
                Call { status: CallStatus::Completed, owner: owner(2), version: seen.version + 1, open: false, ..seen };
            match insist(|| store.replace_call(&closed)).await {
                Ok(()) => break closed,
                Err(StoreError::Conflict) => {}
                Err(other) => panic!("{other}"),
            }
        };
        let refused_at = edge.await.unwrap();
        assert_eq!(store.call(parent).await, Ok(Some(closed.clone())));
        assert!(refused_at <= closed.version || refused_at == 40);
    }
}
