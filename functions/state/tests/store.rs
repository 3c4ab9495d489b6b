//! The store's suite over each implementation: in memory; over dynoxide by HTTP; and, where
//! `RINGFORK_TEST_DYNAMODB=http://…` names one (`tests/dynamodb-local.sh`), over another emulator of DynamoDB.

#![allow(clippy::unwrap_used)]

#[path = "suite/mod.rs"]
mod suite;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringfork_state::dynamodb::{DynamoStore, client_with};
use ringfork_state::memory::MemoryStore;

async fn memory() -> Option<(MemoryStore, ())> {
    Some((MemoryStore::new(), ()))
}

/// A database of its own behind a port of its own, for as long as the test's runtime lives.
async fn dynoxide() -> Option<(DynamoStore, ())> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let database = dynoxide::Database::memory().unwrap();
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    fresh(&endpoint).await
}

/// Tables of its own in an emulator that others use too.
async fn emulator() -> Option<(DynamoStore, ())> {
    fresh(&std::env::var("RINGFORK_TEST_DYNAMODB").ok()?).await
}

async fn fresh(endpoint: &str) -> Option<(DynamoStore, ())> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let store = DynamoStore::new(client_with(endpoint, None, Duration::from_secs(30)), &prefix);
    store.create_tables().await.unwrap();
    Some((store, ()))
}

store_suite!(in_memory, crate::memory());
store_suite!(over_dynoxide, crate::dynoxide());
store_suite!(over_emulator, crate::emulator());
