//! The extra `X-` headers of a noun's INVITE: `name?X-A=1&X-B=2` and `<Parameter name= value=/>` (RCML.md 1.1).

/// Most headers of one noun.
pub const MAX_HEADERS: usize = 10;
/// Longest header: the characters of its name and value together.
pub const MAX_HEADER_CHARS: usize = 256;

/// Why a header was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Its name is no token (RFC 3261 §25.1), or empty.
    Name,
    /// It has more than 256 characters.
    Long,
    /// Ten are there already.
    Many,
}

impl Left {
    /// For the warning.
    pub fn as_str(self) -> &'static str {
        match self {
            Left::Name => "its name is not a token",
            Left::Long => "it is longer than 256 characters",
            Left::Many => "ten are there already",
        }
    }
}

/// Adds a header under all rules: `X-` in front, token name, no CR, LF or NUL in the value, both limits.
pub fn add(headers: &mut Vec<(String, String)>, name: &str, value: &str) -> Result<(), Left> {
    let name = name.trim();
    if name.is_empty() || !name.chars().all(is_token_char) {
        return Err(Left::Name);
    }
    let prefixed = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("X-"));
    let name = if prefixed { name.to_owned() } else { format!("X-{name}") };
    if name.len() == 2 {
        return Err(Left::Name);
    }
    let value: String = value.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')).collect();
    if name.chars().count() + value.chars().count() > MAX_HEADER_CHARS {
        return Err(Left::Long);
    }
    if headers.len() >= MAX_HEADERS {
        return Err(Left::Many);
    }
    headers.push((name, value));
    Ok(())
}

/// RFC 3261 §25.1: the characters of a token.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c)
}

/// Splits a noun's text at its first `?` into whom it names and the pairs behind it, unescaped as in a SIP URI
/// (RFC 3261 §19.1.1: `%HH`; a `+` stays a plus).
pub fn split(text: &str) -> (&str, Vec<(String, String)>) {
    let Some((name, query)) = text.split_once('?') else { return (text, Vec::new()) };
    let pairs = query
        .split('&')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(name), unescape(value))
        })
        .collect();
    (name.trim_end(), pairs)
}

/// Undoes `%HH`; a text with an escape that is none, or that is not UTF-8 afterwards, stays as written.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return text.to_owned() };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RCML.md 1.1: `X-` is put in front where it is missing; names are tokens.
    #[test]
    fn names() {
        let mut headers = Vec::new();
        for name in ["X-A", "x-b", "C", " X-D ", "Reply-To"] {
            assert_eq!(add(&mut headers, name, "1"), Ok(()));
        }
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["X-A", "x-b", "X-C", "X-D", "X-Reply-To"]);
        for name in ["", "X-", "a b", "a:b", "a\r\nVia", "ä", "a\0"] {
            assert_eq!(add(&mut headers, name, "1"), Err(Left::Name), "{name:?}");
        }
    }

    /// RCML.md 1.1: values lose CR, LF and NUL.
    #[test]
    fn values_cannot_break_out_of_their_line() {
        let mut headers = Vec::new();
        add(&mut headers, "X-A", "one\r\nTo: evil\0").unwrap();
        assert_eq!(headers, [("X-A".to_owned(), "oneTo: evil".to_owned())]);
    }

    /// RCML.md 1.1: at most ten headers of 256 characters.
    #[test]
    fn limits() {
        let mut headers = Vec::new();
        assert_eq!(add(&mut headers, "X-A", &"v".repeat(254)), Err(Left::Long));
        assert_eq!(add(&mut headers, "X-A", &"ä".repeat(253)), Ok(()));
        for _ in 1..MAX_HEADERS {
            assert_eq!(add(&mut headers, "X-B", ""), Ok(()));
        }
        assert_eq!(add(&mut headers, "X-K", ""), Err(Left::Many));
        assert_eq!(headers.len(), 10);
    }

    #[test]
    fn splitting() {
        assert_eq!(split("alice"), ("alice", vec![]));
        let (name, pairs) = split("alice ?X-A=1&X-B=2%20=3&&flag&X-C=50%");
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(name, "alice");
        assert_eq!(pairs, [("X-A", "1"), ("X-B", "2 =3"), ("flag", ""), ("X-C", "50%")]);
        assert_eq!(unescape("%ff"), "%ff");
    }
}
