//! `callback` on Lambda: one event in. An exhausted round is a failed invocation, which Lambda repeats; the store is
//! touched only where something went wrong for good.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use ringfork_callback::{Deliverer, Delivery, keep};
use ringfork_state::CallbackEvent;
use ringfork_state::dynamodb::{DynamoStore, aws_client};
use ringfork_webhook::{AuthToken, Client, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().json().with_ansi(false).init();
    let token = AuthToken::new(std::env::var("RINGFORK_AUTH_TOKEN")?);
    let allow_private = std::env::var("RINGFORK_ALLOW_PRIVATE_URLS").is_ok_and(|value| value == "true");
    let prefix = std::env::var("RINGFORK_TABLE_PREFIX")?;
    let deliverer = &Deliverer::new(Client::new(Config::allowing_private(allow_private))?, token);
    let prefix = prefix.as_str();
    run(service_fn(move |event: LambdaEvent<CallbackEvent>| async move {
        match deliverer.round(&event.payload).await {
            Delivery::Delivered => Ok::<_, Error>(()),
            Delivery::Ended(notice) => {
                let store = DynamoStore::new(aws_client().await, prefix);
                Ok(keep(&store, &event.payload, notice).await?)
            }
            Delivery::Exhausted(notice) => Err(Error::from(notice.message)),
        }
    }))
    .await
}
