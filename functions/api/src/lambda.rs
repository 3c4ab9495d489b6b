//! The event of a Lambda Function URL, which is also that of an HTTP API (payload format 2.0), as an HTTP request, and
//! the response as its answer. Only the fields that REST needs.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

/// What Lambda hands over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    raw_path: String,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    request_context: Context,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
struct Context {
    http: Http,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

/// What Lambda makes a response of.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
    is_base64_encoded: bool,
}

impl Event {
    /// The request; an event that is none (a body that is not Base64) gets an answer of its own.
    ///
    /// # Errors
    /// That answer.
    pub fn into_request(self) -> Result<Request<Bytes>, Answer> {
        let body = self.body.unwrap_or_default();
        let body = if self.is_base64_encoded {
            Bytes::from(STANDARD.decode(body).map_err(|_| Answer::bad_request())?)
        } else {
            Bytes::from(body)
        };
        let uri = if self.raw_query_string.is_empty() {
            self.raw_path
        } else {
            format!("{}?{}", self.raw_path, self.raw_query_string)
        };
        let mut request = Request::builder().method(self.request_context.http.method.as_str()).uri(uri);
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                request = request.header(name, value);
            }
        }
        request.body(body).map_err(|_| Answer::bad_request())
    }
}

impl Answer {
    fn bad_request() -> Self {
        Self {
            status_code: StatusCode::BAD_REQUEST.as_u16(),
            headers: BTreeMap::new(),
            body: String::new(),
            is_base64_encoded: false,
        }
    }
}

impl From<Response<Bytes>> for Answer {
    fn from(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        let headers = parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect();
        // All that REST answers is text.
        let body = String::from_utf8(body.into()).unwrap_or_default();
        Self { status_code: parts.status.as_u16(), headers, body, is_base64_encoded: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_requests() {
        let event = |body: &str, encoded: bool| -> Event {
            serde_json::from_value(serde_json::json!({
                "version": "2.0", "rawPath": "/2010-04-01/Accounts/AC1/Clients.json", "rawQueryString": "PageSize=2",
                "headers": {"authorization": "Basic x", "content-type": "application/x-www-form-urlencoded"},
                "requestContext": {"http": {"method": "POST", "path": "/ignored"}},
                "body": body, "isBase64Encoded": encoded,
            }))
            .unwrap()
        };
        let request = event("TG9naW49YQ==", true).into_request().unwrap();
        assert_eq!((request.method().as_str(), request.body().as_ref()), ("POST", b"Login=a".as_slice()));
        assert_eq!(request.uri(), "/2010-04-01/Accounts/AC1/Clients.json?PageSize=2");
        assert_eq!(request.headers()["authorization"], "Basic x");
        assert_eq!(event("Login=a", false).into_request().unwrap().body().as_ref(), b"Login=a");
        assert_eq!(event("!", true).into_request().unwrap_err().status_code, 400);
    }

    #[test]
    fn responses_become_answers() {
        let response = Response::builder().status(201).header("x-a", "b").body(Bytes::from_static(b"{}")).unwrap();
        let answer = serde_json::to_value(Answer::from(response)).unwrap();
        let expected =
            serde_json::json!({"statusCode": 201, "headers": {"x-a": "b"}, "body": "{}", "isBase64Encoded": false});
        assert_eq!(answer, expected);
    }
}
