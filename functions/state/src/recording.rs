//! Recordings as a resource (RCML.md 3.4): what is known of a sound file. The file itself lies elsewhere.

use async_trait::async_trait;

use crate::Result;
use crate::page::{Page, PageRequest};
use crate::sid::{self, CallSid};

/// One recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// `RE` and 32 hex digits, laid out as a CallSid: the first eight are its time, the next two the shard.
    pub sid: String,
    /// The account.
    pub account_sid: String,
    /// The call or leg that was recorded.
    pub call: CallSid,
    /// When it began.
    pub created_unix_ms: u64,
    /// When it ended; the beginning while it runs.
    pub updated_unix_ms: u64,
    /// Whole seconds, rounded down; `None` while it runs.
    pub seconds: Option<u32>,
}

/// What a list is narrowed by. Everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordingFilter {
    /// Those of this call or leg.
    pub call: Option<CallSid>,
    /// At or after, Unix seconds.
    pub from: Option<u64>,
    /// Before, Unix seconds.
    pub until: Option<u64>,
}

impl RecordingFilter {
    /// Whether a recording passes.
    pub fn matches(&self, recording: &Recording) -> bool {
        let seconds = sid::created_unix(&recording.sid).unwrap_or_default();
        self.call.is_none_or(|call| call == recording.call)
            && self.from.is_none_or(|from| seconds >= from)
            && self.until.is_none_or(|until| seconds < until)
    }
}

/// Recordings. An item goes after [`crate::dynamodb::RETENTION_DAYS`], whatever becomes of the file.
#[async_trait]
pub trait Recordings: Send + Sync {
    /// Keeps a new one. One that is there already stays as it is: a repetition does no harm.
    async fn put_recording(&self, recording: &Recording) -> Result<()>;

    /// It is over, after so many whole seconds. The first such write holds; what was deleted stays deleted.
    async fn end_recording(&self, sid: &str, seconds: u32, now_unix_ms: u64) -> Result<()>;

    /// One.
    async fn recording(&self, sid: &str) -> Result<Option<Recording>>;

    /// Newest first.
    async fn recordings(&self, filter: &RecordingFilter, page: &PageRequest) -> Result<Page<Recording>>;

    /// Removes one; false: there was none.
    async fn delete_recording(&self, sid: &str) -> Result<bool>;
}
