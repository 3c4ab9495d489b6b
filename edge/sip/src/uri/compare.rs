//! When two URIs are the same (RFC 3261 §19.1.4).

use super::{Scheme, Uri, escape};

/// Parameters of a URI that is compared part by part.
const MOST_PARAMS: usize = 32;

impl Uri<'_> {
    /// Equivalence by RFC 3261 §19.1.4: scheme, host, names and values of parameters without regard to case; user and
    /// password with; an escape equals its character unless that is reserved; ports must both stand or both be absent;
    /// `user`, `ttl`, `method`, `maddr` and `transport` count even if only one URI has them, other parameters only if
    /// both do; headers always count. URIs of other schemes are compared as text, `tel:` by RFC 3966 §4 in part
    /// (visual separators do not count). A URI with more than 32 parameters equals its own text only: comparing takes
    /// the square of their number.
    pub fn is_equivalent(&self, other: &Uri<'_>) -> bool {
        if self.text == other.text {
            return true;
        }
        if self.scheme != other.scheme {
            return false;
        }
        match self.scheme {
            Scheme::Other => {
                self.scheme_text().eq_ignore_ascii_case(other.scheme_text())
                    && self.text.get(self.scheme_len..) == other.text.get(other.scheme_len..)
            }
            Scheme::Tel => {
                let digits = |uri: &Uri<'_>| -> String {
                    let number = uri.user.unwrap_or_default().chars();
                    number.filter(|c| !matches!(c, '-' | '.' | '(' | ')')).map(|c| c.to_ascii_lowercase()).collect()
                };
                digits(self) == digits(other) && self.same_params(other)
            }
            Scheme::Sip | Scheme::Sips => {
                same_part(self.user, other.user)
                    && same_part(self.password, other.password)
                    && self.host.is_same(&other.host)
                    && self.port == other.port
                    && self.same_params(other)
                    && same_headers(self.headers, other.headers)
            }
        }
    }

    fn same_params(&self, other: &Uri<'_>) -> bool {
        /// These count even where only one side has them (RFC 3261 §19.1.4; RFC 3966 §4 for the last two).
        const ALWAYS: [&str; 7] = ["user", "ttl", "method", "maddr", "transport", "ext", "phone-context"];
        if self.params().count().max(other.params().count()) > MOST_PARAMS {
            return false;
        }
        let one_way = |a: &Uri<'_>, b: &Uri<'_>| {
            a.params().all(|(name, value)| {
                let matching = b.params().find(|(each, _)| same_text(each, name, true));
                match matching {
                    Some((_, other)) => match (value, other) {
                        (Some(value), Some(other)) => same_text(value, other, true),
                        (None, None) => true,
                        _ => false,
                    },
                    None => !ALWAYS.iter().any(|each| same_text(each, name, true)),
                }
            })
        };
        one_way(self, other) && one_way(other, self)
    }
}

fn same_part(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same_text(a, b, false),
        (None, None) => true,
        _ => false,
    }
}

/// Same characters, an escape being equal to its character unless that one is reserved (RFC 3261 §19.1.4, §25.1).
fn same_text(a: &str, b: &str, ignore_case: bool) -> bool {
    let read = |text| {
        escape::octets(text).map(move |(octet, escaped)| {
            let octet: u8 = if ignore_case { octet.to_ascii_lowercase() } else { octet };
            (octet, escaped && is_reserved(octet))
        })
    };
    read(a).eq(read(b))
}

const fn is_reserved(octet: u8) -> bool {
    matches!(octet, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',')
}

/// All headers of one are in the other and the other way round, in any order.
fn same_headers(a: Option<&str>, b: Option<&str>) -> bool {
    let pairs = |text: Option<&str>| -> Vec<(String, String)> {
        let mut pairs: Vec<_> = text
            .unwrap_or_default()
            .split('&')
            .filter(|one| !one.is_empty())
            .map(|one| {
                let (name, value) = one.split_once('=').unwrap_or((one, ""));
                (escape::unescape(name).to_ascii_lowercase(), escape::unescape(value).into_owned())
            })
            .collect();
        pairs.sort();
        pairs
    };
    pairs(a) == pairs(b)
}
