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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    use super::*;
    use crate::dynamodb::DynamoStore;
    use crate::{Directory, StoreError};

    /// Answers with each of these in turn, then with the last for ever; none: never.
    #[derive(Debug, Clone)]
    struct Script(Vec<(u16, &'static str)>, Arc<AtomicUsize>);

    impl HttpConnector for Script {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let turn = self.1.fetch_add(1, Ordering::Relaxed);
            let Some((status, json)) = self.0.get(turn).or(self.0.last()).copied() else {
                return HttpConnectorFuture::new(std::future::pending());
            };
            let status = StatusCode::try_from(status).unwrap();
            HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(json))))
        }
    }

    /// What a lookup gives with the patience of the edge, and after how many attempts.
    async fn lookup(script: Vec<(u16, &'static str)>) -> (Result<bool, StoreError>, usize) {
        let attempts = Arc::new(AtomicUsize::new(0));
        let connector = SharedHttpConnector::new(Script(script, attempts.clone()));
        let (retry, timeout) = patience();
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "fixed"))
            .endpoint_url("http://test.invalid")
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .sleep_impl(aws_sdk_dynamodb::config::SharedAsyncSleep::new(Tokio))
            .retry_config(retry)
            .timeout_config(timeout)
            .build();
        let store = DynamoStore::new(Client::from_conf(config), "t");
        let found = store.client("alice").await.map(|found| found.is_some());
        (found, attempts.load(Ordering::Relaxed))
    }

    /// Sleeps on tokio's clock, which these tests stop.
    #[derive(Debug)]
    struct Tokio;

    impl aws_sdk_dynamodb::config::AsyncSleep for Tokio {
        fn sleep(&self, duration: Duration) -> aws_sdk_dynamodb::config::Sleep {
            aws_sdk_dynamodb::config::Sleep::new(tokio::time::sleep(duration))
        }
    }

    const THROTTLED: (u16, &str) =
        (400, r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#);

    #[tokio::test(start_paused = true)]
    async fn a_throttled_request_is_tried_again() {
        assert_eq!(lookup(vec![THROTTLED, (500, "{}"), (200, "{}")]).await, (Ok(false), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_that_lasts_is_unavailable() {
        let (found, attempts) = lookup(vec![THROTTLED]).await;
        assert!(matches!(found, Err(StoreError::Unavailable(_))), "{found:?}");
        assert_eq!(attempts, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_request_is_not_repeated() {
        let wrong = (400, r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"no"}"#);
        let (found, attempts) = lookup(vec![wrong]).await;
        assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");
        assert_eq!(attempts, 1);
    }

    /// DESIGN "The split": the edge waits 2 s at most.
    #[tokio::test(start_paused = true)]
    async fn silence_ends_within_two_seconds() {
        let start = tokio::time::Instant::now();
        let (found, _) = lookup(Vec::new()).await;
        assert!(matches!(found, Err(StoreError::Unavailable(_))), "{found:?}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
}
