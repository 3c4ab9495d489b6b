//! The client side: answers the challenges of a trunk (RFC 3261 §22.2, §22.3).

use super::{Algorithm, Challenge, Hash, challenges, ha1, response};

/// Most answers to challenges of one request: the first, and two more when each says `stale=true`.
const MAX_ANSWERS: u8 = 3;

/// How often a request has been challenged and sent again. One for each request; `Default` for a new one, also where it
/// carries credentials from [`Client::authorize`] at once: their nonce may have been too old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempt {
    answers: u8,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No `Digest` challenge by MD5 or SHA-256 with `qop=auth` or without qop.
    #[error("no challenge that can be answered")]
    Unanswerable,
    /// The credentials were refused: a second challenge that is not `stale=true`.
    #[error("credentials refused")]
    Refused,
}

/// Credentials for one server, and its last challenge. Not `Debug`: it holds a password.
#[derive(Clone)]
pub struct Client {
    user: String,
    password: String,
    last: Option<Last>,
}

#[derive(Clone)]
struct Last {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    quality: bool,
    count: u32,
    /// Hex, kept so that a request costs two hashes.
    ha1: String,
}

impl Client {
    /// With a user name and a password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Client {
        Client { user: user.into(), password: password.into(), last: None }
    }

    /// Answers a 401 or 407: the value of an Authorization or a Proxy-Authorization header for the request sent again
    /// with a new CSeq. `values` are those of all WWW-Authenticate or Proxy-Authenticate headers; SHA-256 is chosen
    /// before MD5. `random` makes the cnonce.
    ///
    /// # Errors
    /// The request has failed; give its response on.
    pub fn answer<'a>(
        &mut self,
        attempt: &mut Attempt,
        values: impl IntoIterator<Item = &'a str>,
        method: &str,
        uri: &str,
        random: u64,
    ) -> Result<String, ClientError> {
        let best = values
            .into_iter()
            .flat_map(challenges)
            .filter(answerable)
            .reduce(|best, next| if hash_of(&next) > hash_of(&best) { next } else { best })
            .ok_or(ClientError::Unanswerable)?;
        if attempt.answers >= MAX_ANSWERS || (attempt.answers > 0 && !best.stale) {
            return Err(ClientError::Refused);
        }
        attempt.answers += 1;
        // RFC 7616 §3.4: a count is said once with a nonce, also where the server asks again with the same one.
        let same = |last: &&Last| last.realm == best.realm && last.nonce == best.nonce;
        let count = self.last.as_ref().filter(same).map_or(0, |last| last.count);
        let algorithm = best.algorithm.unwrap_or(Algorithm::MD5);
        self.last = Some(Last {
            realm: best.realm.to_owned(),
            nonce: best.nonce.to_owned(),
            opaque: best.opaque.map(str::to_owned),
            algorithm,
            quality: best.qop.is_some(),
            count,
            ha1: ha1(algorithm.hash, &self.user, best.realm, &self.password),
        });
        self.authorize(method, uri, random).ok_or(ClientError::Unanswerable)
    }

    /// Credentials for a further request by the last challenge, with the next nonce count; `None` before one came.
    pub fn authorize(&mut self, method: &str, uri: &str, random: u64) -> Option<String> {
        let last = self.last.as_mut()?;
        last.count = last.count.checked_add(1)?;
        let cnonce = format!("{random:016x}");
        let count = format!("{:08x}", last.count);
        let quality = last.quality.then_some((count.as_str(), "auth"));
        let digits = response(last.algorithm, last.ha1.as_bytes(), &last.nonce, &cnonce, quality, method, uri);
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"",
            escape(&self.user),
            last.realm,
            last.nonce
        );
        value.extend(digits.iter().map(|digit| char::from(*digit)));
        value.push_str("\", algorithm=");
        value.push_str(last.algorithm.as_str());
        if last.quality {
            value.push_str(&format!(", cnonce=\"{cnonce}\", qop=auth, nc={count}"));
        } else if last.algorithm.session {
            value.push_str(&format!(", cnonce=\"{cnonce}\""));
        }
        if let Some(opaque) = &last.opaque {
            value.push_str(&format!(", opaque=\"{opaque}\""));
        }
        Some(value)
    }
}

fn hash_of(challenge: &Challenge<'_>) -> Option<Hash> {
    challenge.algorithm.map(|algorithm| algorithm.hash)
}

fn answerable(challenge: &Challenge<'_>) -> bool {
    challenge.algorithm.is_some()
        && challenge.qop.is_none_or(|list| list.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")))
}

fn escape(text: &str) -> String {
    text.chars().flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::credentials;
    use super::*;

    fn answer(client: &mut Client, attempt: &mut Attempt, values: &[&str]) -> Result<String, ClientError> {
        client.answer(attempt, values.iter().copied(), "INVITE", "sip:15551230001@trunk.example", 0xabc)
    }

    #[test]
    fn the_strongest_challenge_is_answered() {
        let mut client = Client::new("u", "p");
        let values = [
            "Digest realm=\"r\", nonce=\"md5\", qop=\"auth\", opaque=\"o1\"",
            "Basic realm=\"r\", Digest realm=\"r\", nonce=\"sha\", qop=\"auth-int,auth\", algorithm=sha-256, opaque=\"o2\"",
            "Digest realm=\"r\", nonce=\"other\", algorithm=SHA-512-256",
        ];
        let value = answer(&mut client, &mut Attempt::default(), &values).unwrap();
        let sent = credentials(&value).next().unwrap();
        assert_eq!((sent.nonce, sent.qop, sent.nc), ("sha", Some("auth"), Some("00000001")));
        assert_eq!(sent.algorithm, Some(Algorithm::SHA_256));
        assert!(value.ends_with("opaque=\"o2\""));
        let next = client.authorize("BYE", "sip:x", 1).unwrap();
        assert_eq!(credentials(&next).next().unwrap().nc, Some("00000002"));
    }

    /// RFC 7616 §3.4: a server that asks for a further request with the nonce it gave before gets the next count.
    #[test]
    fn a_count_is_said_once_with_a_nonce() {
        let mut client = Client::new("u", "p");
        for (nonce, count) in [("n", "00000001"), ("n", "00000002"), ("m", "00000001"), ("m", "00000002")] {
            let challenge = format!("Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"");
            let value = answer(&mut client, &mut Attempt::default(), &[&challenge]).unwrap();
            assert_eq!(credentials(&value).next().unwrap().nc, Some(count), "{nonce}");
        }
    }

    /// RFC 2069 style servers get neither cnonce nor nc.
    #[test]
    fn no_qop() {
        let mut client = Client::new("u", "p");
        let value = answer(&mut client, &mut Attempt::default(), &["Digest realm=\"r\", nonce=\"n\""]).unwrap();
        let sent = credentials(&value).next().unwrap();
        assert_eq!((sent.qop, sent.nc, sent.cnonce), (None, None, None));
        let expected =
            response(Algorithm::MD5, ha1(Hash::Md5, "u", "r", "p").as_bytes(), "n", "", None, "INVITE", sent.uri);
        assert_eq!(sent.response.as_bytes(), expected.as_slice());
    }

    /// RFC 3261 §22.2: refused credentials are not tried again, unless the nonce alone was stale; and not for ever.
    #[test]
    fn one_retry() {
        let mut client = Client::new("u", "p");
        let mut attempt = Attempt::default();
        assert_eq!(
            answer(&mut client, &mut attempt, &["Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\""]),
            Err(ClientError::Unanswerable)
        );
        assert!(answer(&mut client, &mut attempt, &["Digest realm=\"r\", nonce=\"n\""]).is_ok());
        assert_eq!(answer(&mut client, &mut attempt, &["Digest realm=\"r\", nonce=\"m\""]), Err(ClientError::Refused));
        let stale = ["Digest realm=\"r\", nonce=\"m\", stale=true"];
        assert!(answer(&mut client, &mut attempt, &stale).is_ok());
        assert!(answer(&mut client, &mut attempt, &stale).is_ok());
        assert_eq!(answer(&mut client, &mut attempt, &stale), Err(ClientError::Refused));
    }
}
