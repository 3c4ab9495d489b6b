//! The warnings and errors that a running call adds to those of its documents (REST Notifications). Their numbers and
//! texts stand in the language's one table of codes.

use std::net::IpAddr;

use ringfork_rcml::evaluation::Notice;
use ringfork_rcml::{Code, quote};

use crate::action::{PlayError, RecordingSid};

/// A dialed client has no binding (RCML.md 1.2).
pub(super) fn client_not_registered(identity: &str) -> Notice {
    Code::ClientNotRegistered.notice(&format!("client \"{}\"", quote(identity)), None, None)
}

/// The function itself could not be run: as a document that cannot be fetched.
pub(super) fn evaluate_failed(reason: &str, url: &str) -> Notice {
    Code::EvaluateUnavailable.notice(&quote(reason), Some(&without_credentials(url)), None)
}

/// The 21st document in a row in which nothing waited wants this one (RCML.md part 2, Redirect).
pub(super) fn chain_too_long(url: &str) -> Notice {
    Code::RedirectChain.notice("<Redirect> or action", Some(&without_credentials(url)), None)
}

/// A Dial reached more devices than it rings (RCML.md 1.2).
pub(super) fn too_many_legs() -> Notice {
    Code::DialTooManyLegs.notice("<Dial>", None, None)
}

/// A `<Sip>` leads to an address that the guard refuses (RCML.md part 2, Sip).
pub(super) fn address_refused(address: IpAddr) -> Notice {
    Code::SipAddressRefused.notice(&format!("<Sip> leads to {address}"), None, None)
}

/// A Dial in a screening document that evaluate let through (RCML.md 1.3).
pub(super) fn dial_in_screening() -> Notice {
    Code::DialInScreening.notice("<Dial>", None, None)
}

/// A Reject in a screening document that evaluate let through (RCML.md 1.3).
pub(super) fn reject_in_screening() -> Notice {
    Code::RejectInScreening.notice("<Reject>", None, None)
}

/// A Reject on an answered call (RCML.md part 2).
pub(super) fn reject_answered() -> Notice {
    Code::RejectAnswered.notice("<Reject>", None, None)
}

/// A sound that was not heard to its end (RCML.md part 2, Say and Play).
pub(super) fn not_heard(error: &PlayError) -> Notice {
    let (reason, url) = (quote(&error.reason), error.url.as_deref().map(without_credentials));
    if !error.fetch {
        return Code::PromptFailed.notice(&reason, url.as_deref(), None);
    }
    // The code's own fix speaks of a document.
    let (code, message) = (Code::HttpStatus, format!("{reason}: make the URL answer 200 with WAV or MP3"));
    Notice { level: code.level(), code: code.number(), message, url, line: None }
}

/// A Say in a language that the voice does not speak (RCML.md part 2, Say).
pub(super) fn not_spoken(language: &str) -> Notice {
    Code::SayLanguage.notice(&format!("<Say language=\"{}\">", quote(language)), None, None)
}

/// A Say with a voice that this server does not know (RCML.md part 2, Say).
pub(super) fn unknown_voice(voice: &str) -> Notice {
    Code::SayVoice.notice(&format!("<Say voice=\"{}\">", quote(voice)), None, None)
}

/// A recording broke off (RCML.md part 2, Record).
pub(super) fn recording_failed(recording: RecordingSid) -> Notice {
    Code::RecordingFailed.notice(&recording.to_string(), None, None)
}

/// A URL as notices show it: without user name and password.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_show_no_credentials() {
        for (url, shown) in [
            ("https://u:p@app.example/x?y=a@b", "https://app.example/x?y=a@b"),
            ("https://app.example?u@h", "https://app.example?u@h"),
            ("http://u@h", "http://h"),
        ] {
            assert_eq!(chain_too_long(url).url.as_deref(), Some(shown));
            assert!(!evaluate_failed("throttled", url).message.contains("u:p"));
        }
    }
}
