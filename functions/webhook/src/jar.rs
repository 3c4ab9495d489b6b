//! The cookies of one call (RCML.md 3.2), bounded, as strings between the requests.

use cookie_store::{Cookie, CookieStore, RawCookie};
use url::Url;

/// Most cookies of a call; further ones are not kept.
const MAX_COOKIES: usize = 20;
/// Longest `Set-Cookie` value in bytes; longer ones are not kept.
const MAX_COOKIE_BYTES: usize = 4096;
/// Most bytes of all kept cookies in their stored form; what goes beyond is not kept.
const MAX_BYTES: usize = 16 * 1024;

/// Cookies that a call's requests have brought so far. Domain, path, `Secure` and expiry are minded.
#[derive(Debug, Default)]
pub struct Jar {
    store: CookieStore,
    /// Bytes of everything accepted so far in stored form: grows only, which bounds more than it must.
    bytes: usize,
}

impl Jar {
    /// From what [`Jar::to_strings`] gave. What is not readable is left out.
    pub fn from_strings(strings: &[String]) -> Self {
        let cookies =
            strings.iter().take(MAX_COOKIES).filter_map(|text| serde_json::from_str::<Cookie<'static>>(text).ok());
        let cookies = cookies.map(Ok::<_, std::convert::Infallible>);
        let store = CookieStore::from_cookies(cookies, true).unwrap_or_default();
        Self { store, bytes: strings.iter().map(String::len).sum() }
    }

    /// One string per cookie, opaque to everybody else.
    pub fn to_strings(&self) -> Vec<String> {
        self.store.iter_unexpired().filter_map(|cookie| serde_json::to_string(cookie).ok()).collect()
    }

    /// Keeps one `Set-Cookie` value of an answer from `url`.
    pub fn keep(&mut self, set_cookie: &str, url: &Url) {
        if set_cookie.len() > MAX_COOKIE_BYTES {
            return;
        }
        let Ok(raw) = RawCookie::parse(set_cookie) else { return };
        let Ok(cookie) = Cookie::try_from_raw_cookie(&raw, url) else { return };
        // An expired one removes; it takes no room.
        if !cookie.is_expired() {
            let size = serde_json::to_string(&cookie).map_or(usize::MAX, |text| text.len());
            let total = self.bytes.saturating_add(size);
            if total > MAX_BYTES || self.store.iter_any().count() >= MAX_COOKIES && !self.holds(&cookie, url) {
                return;
            }
            self.bytes = total;
        }
        // An answer may not set this one (wrong domain): as if it had not been sent.
        let _ = self.store.insert(cookie.into_owned(), url);
    }

    fn holds(&self, cookie: &Cookie<'_>, url: &Url) -> bool {
        self.store.matches(url).iter().any(|kept| kept.name() == cookie.name())
    }

    /// The `Cookie` header for a request to `url`, if any cookie belongs there.
    pub fn header(&self, url: &Url) -> Option<String> {
        let pairs: Vec<String> =
            self.store.get_request_values(url).map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// RCML.md 3.2: cookies are kept for the length of a call, that is across invocations, as strings.
    #[test]
    fn cookies_survive_their_strings() {
        let home = url("https://a.example.com/voice/start");
        let mut jar = Jar::default();
        jar.keep("session=1; Path=/; HttpOnly", &home);
        jar.keep("narrow=2; Path=/other", &home);
        jar.keep("wide=3; Domain=example.com; Path=/; Max-Age=60", &home);
        jar.keep("foreign=4; Domain=example.org", &home);
        let jar = Jar::from_strings(&jar.to_strings());
        let mut pairs: Vec<String> = jar.header(&home).unwrap().split("; ").map(str::to_owned).collect();
        pairs.sort();
        assert_eq!(pairs, ["session=1", "wide=3"]);
        assert_eq!(jar.header(&url("https://b.example.com/")).as_deref(), Some("wide=3"));
        assert_eq!(jar.header(&url("https://example.org/")), None);
    }

    #[test]
    fn cookies_are_replaced_and_removed() {
        let home = url("https://a.example.com/");
        let mut jar = Jar::default();
        jar.keep("s=1", &home);
        jar.keep("s=2", &home);
        assert_eq!(jar.header(&home).as_deref(), Some("s=2"));
        jar.keep("s=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", &home);
        assert_eq!(Jar::from_strings(&jar.to_strings()).header(&home), None);
    }

    #[test]
    fn the_jar_is_bounded() {
        let home = url("https://a.example.com/");
        let mut jar = Jar::default();
        jar.keep(&format!("big={}", "x".repeat(MAX_COOKIE_BYTES)), &home);
        assert!(jar.to_strings().is_empty());
        for n in 0..100 {
            jar.keep(&format!("c{n}=1"), &home);
        }
        assert_eq!(jar.to_strings().len(), MAX_COOKIES);
        jar.keep("c3=2", &home);
        assert!(jar.header(&home).unwrap().contains("c3=2"), "one that is there may change");
        for n in 0..100 {
            jar.keep(&format!("c3={n}{}", "y".repeat(4000)), &home);
        }
        assert!(jar.to_strings().iter().map(String::len).sum::<usize>() <= MAX_BYTES);
        assert_eq!(Jar::from_strings(&["no cookie".to_owned()]).to_strings().len(), 0);
    }
}
