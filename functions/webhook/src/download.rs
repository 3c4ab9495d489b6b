//! A file by GET, read while it comes (RCML.md part 2, `Play`): under the guard, the redirects and the signatures of
//! documents (RCML.md 3.2, 3.3), but bounded by its size and by silence, since a long file takes its time.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::HeaderMap;
use url::Url;

use crate::client::{reason, without_credentials};
use crate::failure::{Failure, Reason};
use crate::request::AuthToken;

/// What bounds a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadLimits {
    /// Until the head of the answer, redirects and second try included.
    pub head: Duration,
    /// Between two chunks that are waited for.
    pub idle: Duration,
    /// Longest body in bytes.
    pub max_body: usize,
}

impl DownloadLimits {
    /// A sound: its head in 15 s as a document, then never silent for 10 s, 32 MB.
    pub const SOUND: DownloadLimits =
        DownloadLimits { head: Duration::from_secs(15), idle: Duration::from_secs(10), max_body: 32 * 1024 * 1024 };
}

/// One file to be had.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// Absolute http or https URL.
    pub url: &'a str,
    /// The account's token.
    pub token: &'a AuthToken,
    /// Further headers, sent on every hop: conditions (RFC 9110 §13.1) and Accept.
    pub headers: &'a HeaderMap,
    /// What bounds it.
    pub limits: DownloadLimits,
}

/// The answer: its head, and its body as it comes.
#[derive(Debug)]
pub struct Body {
    response: Response,
    url: Url,
    left: usize,
    limits: DownloadLimits,
}

impl Body {
    pub(crate) fn new(response: Response, url: Url, limits: DownloadLimits) -> Result<Self, Failure> {
        let body = Self { response, url, left: limits.max_body, limits };
        match body.response.content_length() {
            Some(length) if length > limits.max_body as u64 => Err(body.failure(Reason::TooLarge(limits.max_body))),
            _ => Ok(body),
        }
    }

    /// A 2xx, or 304 where the request was conditional.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The answer's headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Where it came from after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Bytes to come in all, where the answer says so.
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When it breaks off, is silent for too long or longer than allowed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let waited = tokio::time::timeout(self.limits.idle, self.response.chunk()).await;
        let chunk = waited.map_err(|_| Reason::Timeout).and_then(|chunk| chunk.map_err(reason));
        let Some(chunk) = chunk.map_err(|reason| self.failure(reason))? else { return Ok(None) };
        self.left = match self.left.checked_sub(chunk.len()) {
            Some(left) => left,
            None => return Err(self.failure(Reason::TooLarge(self.limits.max_body))),
        };
        Ok(Some(chunk))
    }

    fn failure(&self, reason: Reason) -> Failure {
        Failure { url: without_credentials(&self.url).into(), reason }
    }
}
