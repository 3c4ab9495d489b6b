//! Form and query parameters: bounded reading, and the rules that several resources share.

use ringfork_state::{DirectoryAdmin, Method, VoiceSettings};
use url::{Url, form_urlencoded};

use crate::error::ApiError;

/// Most parameters of a request.
const MAX_PARAMETERS: usize = 100;
/// Longest URL that is kept.
const MAX_URL: usize = 2048;
/// Longest name for people, in characters.
const MAX_NAME: usize = 256;

/// Parameters in order. No Debug: a password may be among them.
#[derive(Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(bytes)
            .take(MAX_PARAMETERS + 1)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        if pairs.len() > MAX_PARAMETERS {
            return Err(ApiError::bad("the request", "has more than 100 parameters"));
        }
        if let Some((name, _)) = pairs.iter().find(|(_, value)| value.chars().any(char::is_control)) {
            return Err(ApiError::bad(name, "holds a control character"));
        }
        Ok(Self(pairs))
    }

    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The value, untrimmed in front: `+` of a number that was not escaped arrives as a space.
    fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value, trimmed; may be empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).map(str::trim)
    }

    /// The value, trimmed and not empty: how filters are read.
    pub fn filter(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// A password: as sent, white space too; `None` where it is empty.
    pub fn password(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// A number, whose leading `+` may have become a space.
    pub fn number(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        let trimmed = raw.trim();
        let lost_plus = raw.starts_with(' ') && trimmed.starts_with(|c: char| c.is_ascii_digit());
        let number = if lost_plus { format!("+{trimmed}") } else { trimmed.to_owned() };
        (!number.is_empty()).then_some(number)
    }

    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.filter(name).ok_or_else(|| ApiError::missing(name))
    }

    /// A name for people.
    pub fn name(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let value = self.filter(name);
        match value {
            Some(text) if text.chars().count() > MAX_NAME => Err(ApiError::bad(name, "is longer than 256 characters")),
            _ => Ok(value),
        }
    }

    pub fn method(&self, name: &str) -> Result<Option<Method>, ApiError> {
        match self.filter(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("GET") => Ok(Some(Method::Get)),
            Some(text) if text.eq_ignore_ascii_case("POST") => Ok(Some(Method::Post)),
            Some(_) => Err(ApiError::bad(name, "is neither GET nor POST")),
        }
    }

    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.filter(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::bad(name, "is neither true nor false")),
        }
    }

    /// A URL to be changed: `None` leaves it, `Some(None)` (an empty value) removes it.
    pub fn url(&self, name: &str) -> Result<Option<Option<String>>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        if text.is_empty() {
            return Ok(Some(None));
        }
        if text.len() > MAX_URL {
            return Err(ApiError::bad(name, "is longer than 2048 bytes"));
        }
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Some(Some(text.to_owned()))),
            _ => Err(ApiError::bad(name, "is not an absolute http or https URL")),
        }
    }

    /// `Voice…` of a client or number, written over `voice`.
    pub async fn voice(&self, voice: &mut VoiceSettings, directory: &dyn DirectoryAdmin) -> Result<(), ApiError> {
        if let Some(url) = self.url("VoiceUrl")? {
            voice.url = url;
        }
        if let Some(method) = self.method("VoiceMethod")? {
            voice.method = method;
        }
        if let Some(url) = self.url("VoiceFallbackUrl")? {
            voice.fallback_url = url;
        }
        if let Some(method) = self.method("VoiceFallbackMethod")? {
            voice.fallback_method = method;
        }
        match self.get("VoiceApplicationSid") {
            None => {}
            Some("") => voice.application_sid = None,
            Some(sid) => {
                if ringfork_state::sid::parse("AP", sid).is_err() || directory.application(sid).await?.is_none() {
                    return Err(ApiError::bad("VoiceApplicationSid", "there is no such application"));
                }
                voice.application_sid = Some(sid.to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_bounded() {
        assert!(Form::parse(&b"a=1&".repeat(100)).is_ok());
        assert_eq!(Form::parse(&b"a=1&".repeat(101)).map(drop).unwrap_err().status, 400);
        assert_eq!(Form::parse(b"Login=a%00b").map(drop).unwrap_err().message, "Login: holds a control character");
    }

    /// `?PhoneNumber=+1555` means the number, though a plus is a space there.
    #[test]
    fn a_plus_that_was_not_escaped() {
        let number = |text: &str| Form::parse(text.as_bytes()).unwrap().number("N");
        assert_eq!(number("N=+1555").as_deref(), Some("+1555"));
        assert_eq!(number("N=%2B1555").as_deref(), Some("+1555"));
        assert_eq!(number("N=1555").as_deref(), Some("1555"));
        assert_eq!(number("N= alice").as_deref(), Some("alice"));
        assert_eq!(number("N="), None);
    }
}
