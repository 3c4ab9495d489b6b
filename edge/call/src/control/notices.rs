//! The warnings and errors that a running call adds to those of its documents (REST Notifications).

use ringfork_rcml::evaluation::{Level, Notice};

/// A dialed client has no binding, or there is no such client (RCML.md 1.2).
pub const CLIENT_NOT_REGISTERED: u32 = 11008;
/// A document could not be had (RCML.md part 2).
pub const DOCUMENT_FAILED: u32 = 11200;
/// A Dial made more legs than a call may have.
pub const TOO_MANY_LEGS: u32 = 13200;
/// A Dial in a screening document (RCML.md 1.3).
pub const DIAL_IN_SCREENING: u32 = 13201;
/// A Reject that cannot refuse anything (RCML.md 1.3, part 2).
pub const REJECT_SKIPPED: u32 = 13711;

fn notice(level: Level, code: u32, message: String, url: Option<String>) -> Notice {
    Notice { level, code, message, url, line: None }
}

pub(super) fn client_not_registered(identity: &str) -> Notice {
    let message =
        format!("client \"{identity}\" has no registered device and is not rung: register one, or check the name");
    notice(Level::Warning, CLIENT_NOT_REGISTERED, message, None)
}

pub(super) fn evaluate_failed(reason: &str, url: &str) -> Notice {
    let message = format!("the document could not be evaluated: {reason}");
    notice(Level::Error, DOCUMENT_FAILED, message, Some(url.to_owned()))
}

pub(super) fn chain_too_long(url: &str) -> Notice {
    let message = "21 documents in a row in which nothing waited: let one of them play, pause or dial".to_owned();
    notice(Level::Error, DOCUMENT_FAILED, message, Some(url.to_owned()))
}

pub(super) fn too_many_legs(limit: usize) -> Notice {
    let message = format!("a Dial rings at most {limit} devices: the others are not rung");
    notice(Level::Warning, TOO_MANY_LEGS, message, None)
}

pub(super) fn dial_in_screening() -> Notice {
    let message = "Dial may not be used in a screening document: remove it".to_owned();
    notice(Level::Error, DIAL_IN_SCREENING, message, None)
}

pub(super) fn reject_skipped() -> Notice {
    let message = "Reject refuses an unanswered call only and was skipped: use Hangup".to_owned();
    notice(Level::Warning, REJECT_SKIPPED, message, None)
}
