//! Errors as REST shows them: `code`, `message`, `more_info`, `status` (RCML.md 3.4).

use http::{Method, StatusCode};
use ringfork_state::StoreError;

/// Where codes are explained.
const MORE_INFO: &str = "https://github.com/ringfork/ringfork/blob/main/docs/rcml.md#34-rest";

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    pub code: u32,
    pub message: String,
    /// Methods for `Allow`, with 405.
    pub allow: Option<&'static str>,
    /// Length of the file, with 416.
    pub total: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), allow: None, total: None }
    }

    /// A bad parameter, named.
    pub fn bad(parameter: &str, reason: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 20001, format!("{parameter}: {reason}"))
    }

    pub fn missing(parameter: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 20001, format!("{parameter} is missing"))
    }

    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, 20003, "give AccountSid and AuthToken of this account by HTTP Basic")
    }

    pub fn method(method: &Method, allow: &'static str) -> Self {
        let message = format!("{method} is not possible here, but {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, 20004, message) }
    }

    pub fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, 20404, message)
    }

    /// No resource with this SID.
    pub fn unknown(what: &str) -> Self {
        Self::not_found(&format!("there is no {what} with this SID"))
    }

    pub fn taken(parameter: &str) -> Self {
        Self::new(StatusCode::CONFLICT, 20409, format!("{parameter} is taken"))
    }

    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, 20413, "the body is longer than 64 KB")
    }

    /// A Range that holds nothing of the file (RFC 9110 §15.5.17).
    pub fn no_such_range(total: u64) -> Self {
        let message = format!("the file has {total} bytes");
        Self { total: Some(total), ..Self::new(StatusCode::RANGE_NOT_SATISFIABLE, 20416, message) }
    }

    /// The file could not be read or removed.
    pub fn file(error: &std::io::Error) -> Self {
        tracing::error!(%error, "a recording's file could not be reached");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 20500, "the recording's file could not be reached")
    }

    pub fn unsupported_media() -> Self {
        let message = "send application/x-www-form-urlencoded";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 20415, message)
    }

    pub fn more_info(&self) -> &'static str {
        MORE_INFO
    }
}

/// What of the store's failures has no better meaning where it happens.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::not_found("there is no such resource"),
            StoreError::Unavailable(_) | StoreError::Conflict => {
                tracing::warn!(%error, "the store did not do what was asked");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, 20503, "the store is not available; try again")
            }
            StoreError::Stale | StoreError::Corrupt(_) => {
                tracing::error!(%error, "the store did not do what was asked");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, 20500, "the request could not be carried out")
            }
        }
    }
}
