//! An HTTP client for the AWS SDK that reaches the engine without HTTP: no port, so nobody else can read the store.

use std::sync::mpsc::SyncSender;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use tokio::sync::oneshot;

use super::engine::{Order, Request};

#[derive(Debug, Clone)]
struct Connector(SyncSender<Order>);

/// The SDK's HTTP client over an engine's queue.
pub(super) fn http_client(orders: SyncSender<Order>) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector(orders));
    http_client_fn(move |_, _| connector.clone())
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answer, answered) = oneshot::channel();
        let operation = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
        let operation = operation.unwrap_or_default().to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let sent = self.0.try_send(Order::Serve(Request { operation, body, answer }));
        HttpConnectorFuture::new(async move {
            sent.map_err(|_| ConnectorError::io("the store's queue is full or closed".into()))?;
            let gone = |_| ConnectorError::io("the store was closed".into());
            let (status, json) = answered.await.map_err(gone)?;
            let status = StatusCode::try_from(status).map_err(|error| ConnectorError::other(error.into(), None))?;
            Ok(HttpResponse::new(status, SdkBody::from(json)))
        })
    }
}
