//! The way of a file: its server is asked, what comes is decoded while it comes, and a track takes it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use ringfork_call::action::PlayError;
use ringfork_webhook::{AuthToken, Body, Client, Download, DownloadLimits, Failure};
use tokio::sync::oneshot;

use super::decode::decode;
use super::pipe::{Feed, pipe};
use super::shelf::{Freshness, Validity};
use super::track::Track;
use super::unreadable;
use crate::media::source::Samples;

/// Stack of a decoder's thread.
const STACK: usize = 512 * 1024;
/// A server whose answer waits longer for its decoder than this is let go.
const HELD_BACK: Duration = Duration::from_secs(3600);

/// What fetches files.
#[derive(Clone)]
pub struct Fetcher {
    /// The guarded client.
    pub client: Client,
    /// The account's token, which signs.
    pub token: AuthToken,
}

/// What is kept of a file and must be asked about.
pub struct Stale {
    /// The sound.
    pub samples: Samples,
    /// Its validity.
    pub validity: Box<Validity>,
    /// What to ask with.
    pub conditions: HeaderMap,
}

impl Fetcher {
    /// Loads `url` into `track`; how long what came may be kept, where it may.
    ///
    /// # Errors
    /// When it cannot be had or read; the track has what came before.
    pub async fn fetch(
        &self,
        url: &str,
        stale: Option<Stale>,
        track: &Arc<Track>,
    ) -> Result<Option<Freshness>, PlayError> {
        let mut headers = stale.as_ref().map(|stale| stale.conditions.clone()).unwrap_or_default();
        headers.insert(ACCEPT, HeaderValue::from_static("audio/wav, audio/mpeg, audio/*;q=0.9, */*;q=0.1"));
        let ask = Download { url, token: &self.token, headers: &headers, limits: DownloadLimits::SOUND };
        let body = self.client.download(&ask).await.map_err(|failure| unfetched(&failure))?;
        let (now, redirected) = (SystemTime::now(), is_elsewhere(url, &body));
        if body.status() == 304
            && let Some(Stale { samples, validity, .. }) = stale
        {
            let Some(renewed) = validity.renewed(url, body.headers(), redirected, now) else {
                // It speaks of another version than ours: without conditions there is no such misunderstanding.
                return Box::pin(self.fetch(url, None, track)).await;
            };
            track.put(samples)?;
            return Ok(Some(Freshness::File(Box::new(renewed))));
        }
        let validity = Validity::new(url, body.status(), body.headers(), redirected, now);
        if validity.is_none() {
            track.pass();
        }
        transfer(body, track.clone()).await?;
        Ok(validity.map(|validity| Freshness::File(Box::new(validity))))
    }
}

fn is_elsewhere(url: &str, body: &Body) -> bool {
    let asked = url.parse::<http::Uri>().ok();
    asked.is_none_or(|asked| {
        let came = body.url();
        asked.host().map(str::to_ascii_lowercase).as_deref() != came.host_str()
            || asked.path() != came.path()
            || asked.query().filter(|query| !query.is_empty()) != came.query().filter(|query| !query.is_empty())
    })
}

fn unfetched(failure: &Failure) -> PlayError {
    PlayError { reason: failure.reason.to_string(), url: Some(failure.url.as_str().into()), fetch: true }
}

/// Decodes the body into the track.
async fn transfer(mut body: Body, track: Arc<Track>) -> Result<(), PlayError> {
    let media_type = body.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let (feed, source) = pipe(body.length());
    let (done, decoded) = oneshot::channel();
    let thread = std::thread::Builder::new().name("decode".into()).stack_size(STACK).spawn(move || {
        let mut problem = None;
        let outcome = decode(Box::new(source), media_type.as_deref(), &mut |samples| {
            track.push(samples).unwrap_or_else(|error| {
                problem = Some(error);
                false
            })
        });
        let _ = done.send(problem.map_or(outcome, Err));
    });
    thread.map_err(|error| unreadable(format!("no thread to decode with: {error}")))?;
    let pumped = pump(&mut body, feed).await;
    let outcome = decoded.await.unwrap_or_else(|_| Err(unreadable("the decoder broke down")));
    // A transfer that broke off explains what the decoder made of it.
    pumped.and(outcome)
}

/// Gives the body to the decoder, until the end or as long as it wants it.
async fn pump(body: &mut Body, feed: Feed) -> Result<(), PlayError> {
    loop {
        match body.chunk().await {
            Ok(None) => return Ok(()),
            Ok(Some(chunk)) => match tokio::time::timeout(HELD_BACK, feed.send(Ok(chunk))).await {
                Ok(Ok(())) => {}
                // The decoder has enough, or knows what is wrong.
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(unreadable("nobody heard it for an hour")),
            },
            Err(failure) => {
                let _ = feed.send(Err(io::Error::other("the transfer broke off"))).await;
                return Err(unfetched(&failure));
            }
        }
    }
}
