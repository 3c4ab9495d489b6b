//! `api` on Lambda: the REST API behind a Function URL or an HTTP API.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use ringfork_api::lambda::{Answer, Event};
use ringfork_api::{Api, SystemEnvironment, handle};
use ringfork_state::dynamodb::{DynamoStore, aws_client};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().json().with_ansi(false).init();
    let prefix = std::env::var("RINGFORK_TABLE_PREFIX")?;
    let store = Arc::new(DynamoStore::new(aws_client().await, &prefix));
    let api = &Api {
        directory: store.clone(),
        calls: store.clone(),
        notifications: store.clone(),
        recordings: store,
        // Where the sound lies is known to edges alone.
        files: Arc::new(()),
        changes: Arc::new(()),
        environment: Arc::new(SystemEnvironment),
    };
    run(service_fn(move |event: LambdaEvent<Event>| async move {
        Ok::<_, Error>(match event.payload.into_request() {
            Ok(request) => Answer::from(handle(api, request).await),
            Err(answer) => answer,
        })
    }))
    .await
}
