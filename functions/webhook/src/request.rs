//! One logical request and its answer.

use std::fmt;
use std::time::Duration;

/// How the parameters travel (RCML.md 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Appended to the URL's query.
    Get,
    /// As a form body.
    Post,
}

impl Method {
    /// `GET` or `POST`.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

/// The account's auth token: the key of both signatures. Never shown.
#[derive(Clone)]
pub struct AuthToken(String);

impl AuthToken {
    /// Wraps it.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthToken(..)")
    }
}

/// What bounds a request, redirects and second try included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte out to the last byte in.
    pub total: Duration,
    /// One more try when no connection could be made.
    pub reconnect: bool,
    /// Longest body that is read. With `None` the body is ignored: read a little, so that the connection can be used
    /// again, and never an error.
    pub max_body: Option<usize>,
    /// The body of an `audio/*` answer is left unread, however long: it is fetched again where it is played
    /// (RCML.md 3.2).
    pub skip_sound: bool,
}

impl Limits {
    /// Fetching a document: 15 s, one more try, 64 KB (RCML.md 3.2).
    pub const DOCUMENT: Limits =
        Limits { total: Duration::from_secs(15), reconnect: true, max_body: Some(64 * 1024), skip_sound: true };
    /// One try of a status callback: 10 s, the body is ignored (RCML.md 1.4); its tries are counted elsewhere.
    pub const CALLBACK: Limits =
        Limits { total: Duration::from_secs(10), reconnect: false, max_body: None, skip_sound: false };
}

/// One logical request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Kept on redirects, too.
    pub method: Method,
    /// Absolute http or https URL.
    pub url: &'a str,
    /// In order.
    pub parameters: &'a [(String, String)],
    /// The account's token.
    pub token: &'a AuthToken,
    /// On callbacks (RCML.md 3.3).
    pub idempotency_key: Option<&'a str>,
    /// What bounds it.
    pub limits: Limits,
}

/// A 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Where it came from after redirects, without parameters that a GET appended: what relative URLs are resolved
    /// against.
    pub url: url::Url,
    /// As sent.
    pub content_type: Option<String>,
    /// Empty where the body is ignored.
    pub body: Vec<u8>,
}
