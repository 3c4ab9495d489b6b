//! `evaluate` on Lambda: one [`Request`] in, one response out.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use ringfork_evaluate::Evaluator;
use ringfork_rcml::evaluation::Request;
use ringfork_webhook::{AuthToken, Client, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().json().with_ansi(false).init();
    let token = AuthToken::new(std::env::var("RINGFORK_AUTH_TOKEN")?);
    let allow_private = std::env::var("RINGFORK_ALLOW_PRIVATE_URLS").is_ok_and(|value| value == "true");
    let evaluator = Evaluator::new(Client::new(Config::allowing_private(allow_private))?, token);
    let evaluator = &evaluator;
    run(service_fn(move |event: LambdaEvent<Request>| async move {
        Ok::<_, Error>(evaluator.evaluate(event.payload).await)
    }))
    .await
}
