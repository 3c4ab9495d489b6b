//! `callback` on Lambda: one event in. An exhausted round is a failed invocation, which Lambda repeats.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use ringfork_callback::{Deliverer, Delivery};
use ringfork_state::CallbackEvent;
use ringfork_webhook::{AuthToken, Client, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().json().with_ansi(false).init();
    let token = AuthToken::new(std::env::var("RINGFORK_AUTH_TOKEN")?);
    let allow_private = std::env::var("RINGFORK_ALLOW_PRIVATE_URLS").is_ok_and(|value| value == "true");
    let deliverer = Deliverer::new(Client::new(Config::allowing_private(allow_private))?, token);
    let deliverer = &deliverer;
    run(service_fn(move |event: LambdaEvent<CallbackEvent>| async move {
        match deliverer.round(&event.payload).await {
            Delivery::Delivered => Ok(()),
            Delivery::Ended(notice) => {
                tracing::warn!(call = %event.payload.leg, code = notice.code, "{}", notice.message);
                Ok(())
            }
            Delivery::Exhausted(notice) => Err(Error::from(notice.message)),
        }
    }))
    .await
}
