//! `Recordings`: the resource, and its sound as `.wav` (RCML.md 3.4).

use std::io;
use std::ops::Range;

use async_trait::async_trait;
use http::{HeaderMap, header};
use ringfork_state::event::rfc2822;
use ringfork_state::{CallSid, Recording, RecordingFilter, sid};

use crate::Api;
use crate::call::{period, sid_filter};
use crate::error::ApiError;
use crate::form::Form;
use crate::page::{asked, list as page_of};
use crate::render::{Fields, Reply};
use crate::route::{API_VERSION, Kind, Links};

/// Where the sound of recordings lies.
#[async_trait]
pub trait RecordingFiles: Send + Sync {
    /// Length of the WAV file in bytes; `None` where there is none.
    async fn length(&self, sid: &str) -> io::Result<Option<u64>>;

    /// Removes it; one that is not there is removed already.
    async fn delete(&self, sid: &str) -> io::Result<()>;
}

/// No files.
#[async_trait]
impl RecordingFiles for () {
    async fn length(&self, _: &str) -> io::Result<Option<u64>> {
        Ok(None)
    }

    async fn delete(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

/// What a response with sound has for its body: a part of a recording's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundBody {
    /// `RE…`.
    pub sid: String,
    /// Which bytes.
    pub range: Range<u64>,
    /// Of so many.
    pub total: u64,
}

pub(crate) async fn list(api: &Api, call: Option<&String>, query: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    let asked = asked(query, "RE")?;
    let (from, until) = period(query)?;
    let call = match call {
        Some(sid) => Some(sid.parse::<CallSid>().map_err(|_| ApiError::unknown("call"))?),
        None => sid_filter(query, "CallSid")?,
    };
    let filter = RecordingFilter { call, from, until };
    let page = api.recordings.recordings(&filter, &asked.request).await?;
    Ok(page_of(Kind::Recordings, page, &asked, query, links, |found| show(found, links)))
}

pub(crate) async fn get(api: &Api, sid: &str, links: &Links<'_>) -> Result<Reply, ApiError> {
    Ok(Reply::One("Recording", show(&find(api, sid).await?, links)))
}

/// The file goes first: where that fails the recording can still be seen, and deleted again.
pub(crate) async fn delete(api: &Api, sid: &str) -> Result<Reply, ApiError> {
    find(api, sid).await?;
    api.files.delete(sid).await.map_err(|error| ApiError::file(&error))?;
    api.recordings.delete_recording(sid).await?;
    Ok(Reply::Gone)
}

pub(crate) async fn sound(api: &Api, sid: &str, headers: &HeaderMap) -> Result<Reply, ApiError> {
    find(api, sid).await?;
    let total = api.files.length(sid).await.map_err(|error| ApiError::file(&error))?;
    let total = total.ok_or_else(|| ApiError::not_found("the sound of this recording is gone"))?;
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = asked.map_or(Ok(0..total), |asked| range(asked, total))?;
    Ok(Reply::Sound(SoundBody { sid: sid.to_owned(), range, total }))
}

async fn find(api: &Api, sid: &str) -> Result<Recording, ApiError> {
    let found = if sid::parse("RE", sid).is_ok() { api.recordings.recording(sid).await? } else { None };
    found.ok_or_else(|| ApiError::unknown("recording"))
}

/// One range of bytes (RFC 9110 §14.1.2). What is no such range is not minded: the whole file is right then.
fn range(asked: &str, total: u64) -> Result<Range<u64>, ApiError> {
    let whole = Ok(0..total);
    let Some((first, last)) = asked.trim().strip_prefix("bytes=").and_then(|one| one.split_once('-')) else {
        return whole;
    };
    let nothing = Err(ApiError::no_such_range(total));
    match (first.trim().parse::<u64>(), last.trim()) {
        (Ok(first), "") if first < total => Ok(first..total),
        (Ok(_), "") => nothing,
        (Ok(first), last) => match last.parse::<u64>() {
            Ok(last) if last < first => whole,
            Ok(last) if first < total => Ok(first..total.min(last.saturating_add(1))),
            Ok(_) => nothing,
            Err(_) => whole,
        },
        (Err(_), last) if first.trim().is_empty() => match last.parse::<u64>() {
            Ok(0) => nothing,
            Ok(last) => Ok(total.saturating_sub(last)..total),
            Err(_) => whole,
        },
        _ => whole,
    }
}

fn show(recording: &Recording, links: &Links<'_>) -> Fields {
    Fields::default()
        .with("sid", recording.sid.as_str())
        .with("date_created", rfc2822(recording.created_unix_ms))
        .with("date_updated", rfc2822(recording.updated_unix_ms))
        .with("account_sid", recording.account_sid.as_str())
        .with("call_sid", recording.call.to_string())
        .with("duration", recording.seconds.map(|seconds| seconds.to_string()))
        .with("api_version", API_VERSION)
        .with("uri", links.one(Kind::Recordings, &recording.sid))
        .with("file_uri", links.sound(&recording.sid))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110 §14.1.2 and §14.2: what is no range of bytes is ignored.
    #[test]
    fn ranges() {
        let read = |asked: &str| range(asked, 1000).map_err(|error| error.status.as_u16());
        assert_eq!(read("bytes=0-99"), Ok(0..100));
        assert_eq!(read("bytes=900-"), Ok(900..1000));
        assert_eq!(read("bytes=-44"), Ok(956..1000));
        assert_eq!(read("bytes=-4400"), Ok(0..1000));
        assert_eq!(read("bytes=990-2000"), Ok(990..1000));
        for ignored in ["", "lines=1-2", "bytes=0-1,5-6", "bytes=9-3", "bytes=a-b", "bytes=--1"] {
            assert_eq!(read(ignored), Ok(0..1000), "{ignored}");
        }
        for bad in ["bytes=1000-", "bytes=2000-3000", "bytes=-0"] {
            assert_eq!(read(bad), Err(416), "{bad}");
        }
    }
}
