//! Notifications: warnings and errors kept with a call (RCML.md 3.4).

use async_trait::async_trait;

use crate::Result;
use crate::page::{Page, PageRequest};
use crate::sid::{self, CallSid};

/// Severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something was not done: `log` 0.
    Error,
    /// A default was taken or something was skipped: `log` 1.
    Warning,
}

/// One warning or error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// `NO` and 32 hex digits, from [`Notification::new_sid`].
    pub sid: String,
    /// The account.
    pub account_sid: String,
    /// The call or leg it lies on.
    pub call: CallSid,
    /// When.
    pub unix_ms: u64,
    /// Severity.
    pub level: Level,
    /// Numeric code (`research` error codes).
    pub code: u32,
    /// One line that names the fix.
    pub message: String,
    /// The document or callback URL.
    pub url: Option<String>,
    /// Line in the document, from 1.
    pub line: Option<u32>,
}

impl Notification {
    /// A SID that finds its place beside its call: time of the notification, shard of the call, and randomness.
    pub fn new_sid(call: CallSid, unix_ms: u64, random: [u8; 9]) -> String {
        let [a, b, c, d, e, f, g, h, i] = random;
        let [high, low] = sid::sub_second(unix_ms);
        sid::new(*b"NO", unix_ms / 1000, [call.shard(), high, low, a, b, c, d, e, f, g, h, i])
    }
}

/// What a list is narrowed by. Everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotificationFilter {
    /// Those of this call or leg.
    pub call: Option<CallSid>,
    /// At or after, Unix seconds.
    pub from: Option<u64>,
    /// Before, Unix seconds.
    pub until: Option<u64>,
}

impl NotificationFilter {
    /// Whether a notification passes.
    pub fn matches(&self, notification: &Notification) -> bool {
        let seconds = sid::created_unix(&notification.sid).unwrap_or_default();
        self.call.is_none_or(|call| call == notification.call)
            && self.from.is_none_or(|from| seconds >= from)
            && self.until.is_none_or(|until| seconds < until)
    }
}

/// Warnings and errors.
#[async_trait]
pub trait Notifications: Send + Sync {
    /// Keeps one. Written again under the same SID it stays one. A message beyond 1,000 bytes is cut.
    async fn notify(&self, notification: &Notification) -> Result<()>;

    /// One.
    async fn notification(&self, sid: &str) -> Result<Option<Notification>>;

    /// Newest first.
    async fn notifications(&self, filter: &NotificationFilter, page: &PageRequest) -> Result<Page<Notification>>;
}

/// At most 1,000 bytes, cut between characters: the item stays small.
pub(crate) fn cut_message(message: &str) -> &str {
    message.get(..message.floor_char_boundary(1000)).unwrap_or(message)
}
