//! The SDK's client, with the patience that the edge has: it waits 2 s at most for a write (DESIGN "The split").

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Three attempts within 1.8 s in all.
fn patience() -> (RetryConfig, TimeoutConfig) {
    let retry = RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(300));
    let timeout = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(700))
        .operation_attempt_timeout(Duration::from_millis(900))
        .operation_timeout(Duration::from_millis(1800))
        .build();
    (retry, timeout)
}

/// A client for AWS, configured by its environment (region, role, `AWS_ENDPOINT_URL_DYNAMODB`).
pub async fn aws_client() -> Client {
    let (retry, timeout) = patience();
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(retry)
        .timeout_config(timeout)
        .load()
        .await;
    Client::new(&config)
}

/// A client for a given endpoint with fixed credentials: emulators, and the embedded engine through its own `http`.
/// It makes one attempt, of `patience`: what is local does not get better by asking twice.
pub fn client_with(endpoint: &str, http: Option<SharedHttpClient>, patience: Duration) -> Client {
    let http = http.unwrap_or_else(|| SharedHttpClient::new(Builder::new().build_http()));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "fixed"))
        .endpoint_url(endpoint)
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(patience).build())
        .build();
    Client::from_conf(config)
}
