//! The two signatures that every request carries (RCML.md 3.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::request::{AuthToken, Method};

/// `X-Twilio-Signature`: base64 HMAC-SHA1 over the URL and the form parameters sorted by name, names and values
/// without separators. With GET the parameters are in the URL and `form` is empty. A parameter that is there twice
/// with the same value counts once, as the ecosystem's validators have it.
pub fn twilio(token: &AuthToken, url: &str, form: &[(String, String)]) -> String {
    let mut sorted: Vec<&(String, String)> = form.iter().collect();
    sorted.sort();
    sorted.dedup();
    // HMAC takes keys of any length: the error cannot come.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.secret()) else { return String::new() };
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// `X-Restcomm-Signature`: `t=<unix>,v1=<hex HMAC-SHA256 over "t.METHOD.url.sha256hex(body)">`.
pub fn restcomm(token: &AuthToken, unix_seconds: u64, method: Method, url: &str, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(token.secret()) else { return String::new() };
    let body = hex::encode(Sha256::digest(body));
    mac.update(format!("{unix_seconds}.{}.{url}.{body}", method.as_str()).as_bytes());
    format!("t={unix_seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// RCML.md 3.3: the vector that the ecosystem's own validators are tested with.
    #[test]
    fn twilio_vector() {
        let form = pairs(&[
            ("To", "+18005551212"),
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675309"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
        ]);
        let token = AuthToken::new("12345");
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        assert_eq!(twilio(&token, url, &form), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
        let mut twice = form.clone();
        twice.extend(pairs(&[("Digits", "1234")]));
        assert_eq!(twilio(&token, url, &twice), twilio(&token, url, &form));
    }

    /// RCML.md 3.3: `t.METHOD.url.sha256hex(body)`; the digest was computed with Python's hmac.
    #[test]
    fn restcomm_vector() {
        let token = AuthToken::new("12345");
        let signed = restcomm(&token, 1_700_000_000, Method::Post, "https://example.com/a?b=c", b"A=1&B=2");
        assert_eq!(signed, "t=1700000000,v1=7e475852f683df86a4343db319a249a49829eeaf01d43f1a05ad1db9fe786c6f");
    }
}
