//! Reads WWW-Authenticate, Proxy-Authenticate, Authorization and Proxy-Authorization values (RFC 3261 §25.1): several
//! challenges in one value, quoted strings with escapes, quotes left out or put where none belong.

use std::borrow::Cow;

use super::Algorithm;

/// Most parameters kept of one challenge; further ones are ignored.
const MAX_PARAMETERS: usize = 24;

/// One `Digest` challenge. Values are as sent, without the surrounding quotes and with escapes in place: that is what
/// goes into the hash (RFC 7616 §3.4: `unq`) and back to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// Protection space.
    pub realm: &'a str,
    /// To be echoed.
    pub nonce: &'a str,
    /// To be echoed where given.
    pub opaque: Option<&'a str>,
    /// `None`: one that we do not have.
    pub algorithm: Option<Algorithm>,
    /// The list as sent, `auth,auth-int`; `None`: RFC 2069 style, no qop.
    pub qop: Option<&'a str>,
    /// Only the nonce was too old.
    pub stale: bool,
}

/// One set of `Digest` credentials, escapes in place except where a method says otherwise.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials<'a> {
    username: &'a str,
    /// Protection space.
    pub realm: &'a str,
    /// As we gave it, or not.
    pub nonce: &'a str,
    /// The digest-uri, exactly as sent. It is not compared with the Request-URI, which proxies rewrite.
    pub uri: &'a str,
    pub(crate) response: &'a str,
    /// `None`: one that we do not have.
    pub algorithm: Option<Algorithm>,
    pub(crate) cnonce: Option<&'a str>,
    pub(crate) qop: Option<&'a str>,
    pub(crate) nc: Option<&'a str>,
}

impl<'a> Credentials<'a> {
    /// Who it says it is, escapes resolved: the login to look up.
    pub fn username(&self) -> Cow<'a, str> {
        unescape(self.username)
    }
}

/// Without the response, which is worth a guess at the password.
impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("realm", &self.realm)
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

/// All `Digest` challenges in one header value, in order. Other schemes, and challenges without realm or nonce, are
/// passed over.
pub fn challenges(value: &str) -> impl Iterator<Item = Challenge<'_>> {
    Schemes { rest: value }.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Digest")).filter_map(|(_, parameters)| {
        Some(Challenge {
            realm: parameters.get("realm")?,
            nonce: parameters.get("nonce")?,
            opaque: parameters.get("opaque"),
            algorithm: parameters.algorithm(),
            qop: parameters.get("qop"),
            stale: parameters.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    })
}

/// All `Digest` credentials in one header value. Other schemes (RFC 4475 §3.3.7), and credentials without username,
/// realm, nonce, uri or response, are passed over.
pub fn credentials(value: &str) -> impl Iterator<Item = Credentials<'_>> {
    Schemes { rest: value }.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Digest")).filter_map(|(_, parameters)| {
        Some(Credentials {
            username: parameters.get("username")?,
            realm: parameters.get("realm")?,
            nonce: parameters.get("nonce")?,
            uri: parameters.get("uri")?,
            response: parameters.get("response")?,
            algorithm: parameters.algorithm(),
            cnonce: parameters.get("cnonce"),
            qop: parameters.get("qop"),
            nc: parameters.get("nc"),
        })
    })
}

/// Resolves `\x` escapes (RFC 3261 §25.1 quoted-pair).
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            plain.extend(chars.next());
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

#[derive(Default)]
struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    /// The first of that name.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// `None` for an algorithm that we do not have; MD5 where none is named.
    fn algorithm(&self) -> Option<Algorithm> {
        self.get("algorithm").map_or(Some(Algorithm::MD5), Algorithm::parse)
    }
}

/// Splits a value into schemes with their parameters.
struct Schemes<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Schemes<'a> {
    type Item = (&'a str, Parameters<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (scheme, rest) = token(skip(self.rest));
        if scheme.is_empty() {
            self.rest = "";
            return None;
        }
        self.rest = rest;
        let mut parameters = Parameters(Vec::with_capacity(10));
        loop {
            let here = skip(self.rest);
            let (name, after) = token(here);
            let after = after.trim_start();
            if here.is_empty() {
                self.rest = here;
                break;
            }
            let Some(value) = after.strip_prefix('=') else {
                if name.is_empty() {
                    // Neither a name nor a separator: pass over it.
                    let mut chars = here.chars();
                    chars.next();
                    self.rest = chars.as_str();
                    continue;
                }
                // A name without `=` is the next scheme.
                self.rest = here;
                break;
            };
            let (value, rest) = read_value(value.trim_start());
            self.rest = rest;
            if let Some(value) = value
                && parameters.0.len() < MAX_PARAMETERS
                && !name.is_empty()
            {
                parameters.0.push((name, value));
            }
        }
        Some((scheme, parameters))
    }
}

/// Passes over white space and commas.
fn skip(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',')
}

/// What stands before a separator, and the rest.
fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_ascii_whitespace() || matches!(c, ',' | '=' | '"')).unwrap_or(text.len());
    text.split_at(end)
}

/// A quoted string without its quotes, or a token up to a comma or white space; and the rest. What is read here is
/// printed between quotes by the client, so a value that would not stay between them is none: a quoted string that
/// does not end, a token with a quote or backslash in it.
fn read_value(text: &str) -> (Option<&str>, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c.is_ascii_whitespace() || c == ',').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return ((!value.contains(['"', '\\'])).then_some(value), rest);
    };
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let (value, rest) = quoted.split_at(at);
                return (Some(value), rest.get(1..).unwrap_or_default());
            }
            _ => {}
        }
    }
    (None, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_challenges_in_one_value() {
        let value = "Digest realm=\"a, \\\"b\\\"\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth,auth-int\", opaque=\"o\",\
            Basic realm=\"x\", NTLM abcd==, dIgEsT nonce=n2 , realm = r ,stale=TRUE,algorithm=\"md5\", Digest realm=\"r\",\
            nonce=n3, algorithm=SHA-512-256, Digest realm=only";
        let found: Vec<_> = challenges(value).collect();
        assert_eq!(found.len(), 3);
        assert_eq!(
            found[0],
            Challenge {
                realm: "a, \\\"b\\\"",
                nonce: "n1",
                opaque: Some("o"),
                algorithm: Some(Algorithm::SHA_256),
                qop: Some("auth,auth-int"),
                stale: false,
            }
        );
        assert_eq!((found[1].nonce, found[1].realm, found[1].stale), ("n2", "r", true));
        assert_eq!((found[1].algorithm, found[1].qop), (Some(Algorithm::MD5), None));
        assert_eq!(found[2].algorithm, None);
    }

    /// Found by fuzzing: such a nonce, given back between quotes, made credentials that nobody could read.
    #[test]
    fn values_that_do_not_stay_between_quotes_are_none() {
        for nonce in ["c9\"dd", "c9\\", "\"open", "\"open\\\""] {
            let value = format!("Digest realm=r, nonce={nonce}");
            assert_eq!(challenges(&value).count(), 0, "{value}");
        }
    }

    #[test]
    fn credentials_are_read_as_sent() {
        let value = "Digest username=\"b\\\"o\\\\b\", realm=\"r\", nonce=\"n\", uri=\"sip:%41@h;a=\\\"\", response=\"00\",\
            qop=\"auth\", nc=0000000a, cnonce=\"c\\\"c\", algorithm=sha-256-SESS";
        let read = credentials(value).next().unwrap();
        assert_eq!(read.username(), "b\"o\\b");
        assert_eq!((read.uri, read.cnonce), ("sip:%41@h;a=\\\"", Some("c\\\"c")));
        assert_eq!(read.algorithm.map(Algorithm::as_str), Some("SHA-256-sess"));
        assert!(!format!("{read:?}").contains("response"));
    }

    /// RFC 4475 §3.3.7: an unknown scheme is as good as none.
    #[test]
    fn unknown_schemes_are_passed_over() {
        assert_eq!(credentials("NoOneKnowsThisScheme opaque-data=here").count(), 0);
        assert_eq!(credentials("Digest username=a, realm=b, nonce=c, uri=d").count(), 0);
        for odd in
            ["", ",", "=", "\"", "Digest", "Digest =", "Digest \"", "Digest a=\"\\", "Digest \u{e9}=\u{e9}, =,=="]
        {
            assert_eq!(credentials(odd).count() + challenges(odd).count(), 0, "{odd}");
        }
    }

    proptest::proptest! {
        /// Any text is read to its end without a panic, and what is quoted comes back as sent.
        #[test]
        fn any_text(text in ".{0,200}", soup in "(Digest |realm=|nonce=|uri=|username=|response=|[\"\\\\,= a-z]){0,40}") {
            for value in [&text, &soup] {
                let _ = challenges(value).count() + credentials(value).count();
                let escaped: String = value.chars().flat_map(|c| ['\\', c]).collect();
                let whole = format!("Digest realm=\"{escaped}\", nonce=\"\"");
                let read = challenges(&whole).next().unwrap();
                proptest::prop_assert_eq!(&unescape(read.realm), value);
            }
        }
    }
}
