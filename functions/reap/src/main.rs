//! `reap` on Lambda, each minute, one at a time. What an invocation saw of the leases is kept for the next one in this
//! process; a new process waits 30 s and more before it judges. An event whose round of tries fails stays for the next
//! invocation.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use ringfork_reap::{Now, Reaper, Rounds};
use ringfork_state::dynamodb::{DynamoStore, aws_client};
use ringfork_webhook::{AuthToken, Client, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().json().with_ansi(false).init();
    let token = AuthToken::new(std::env::var("RINGFORK_AUTH_TOKEN")?);
    let allow_private = std::env::var("RINGFORK_ALLOW_PRIVATE_URLS").is_ok_and(|value| value == "true");
    let client = Client::new(Config::allowing_private(allow_private))?;
    let store = Arc::new(DynamoStore::new(aws_client().await, &std::env::var("RINGFORK_TABLE_PREFIX")?));
    let deliverer = Rounds { deliverer: ringfork_callback::Deliverer::new(client, token), notices: store.clone() };
    let reaper = &Reaper::new(store.clone(), store, Arc::new(deliverer));
    run(service_fn(move |_: LambdaEvent<serde_json::Value>| async move {
        let unix_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let report = reaper.run(Now { instant: Instant::now(), unix_ms }).await?;
        tracing::info!(?report, "reaped");
        Ok::<_, Error>(())
    }))
    .await
}
