//! Whole sounds in memory: the least recently used leave when there is no room.

use std::time::SystemTime;

use http::header::{HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{Request, Response, StatusCode};
use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};
use lru::LruCache;
use ringfork_call::action::Sound;

use crate::media::source::Samples;

/// Bytes of samples that are kept.
pub const BYTES: usize = 64 * 1024 * 1024;

/// How long a sound may be used (RFC 9111).
#[derive(Debug, Clone)]
pub enum Freshness {
    /// What was spoken stays what it is.
    Lasting,
    /// A file, as its server said.
    File(Box<Validity>),
}

/// A file's validity.
#[derive(Debug, Clone)]
pub struct Validity {
    policy: CachePolicy,
    /// It came by a redirect, which may lead elsewhere the next time: the way is asked for each time.
    redirected: bool,
}

impl Validity {
    /// Of an answer to a GET of `url`; `None` where it may not be kept (RFC 9111 §3).
    pub fn new(url: &str, status: u16, headers: &HeaderMap, redirected: bool, now: SystemTime) -> Option<Self> {
        let (request, response) = (request(url)?, response(status, headers)?);
        // Private: what is kept here is heard in one deployment's calls alone.
        let options = CacheOptions { shared: false, ..CacheOptions::default() };
        let policy = CachePolicy::new_options(&request, &response, now, options);
        policy.is_storable().then_some(Self { policy, redirected })
    }

    /// `None`: it may be used as it is; else the conditions to ask with, which may be none (RFC 9111 §4.3.1).
    pub fn ask(&self, url: &str, now: SystemTime) -> Option<HeaderMap> {
        let headers = match self.policy.before_request(&request(url)?, now) {
            BeforeRequest::Fresh(_) if !self.redirected => return None,
            // Its conditions: what a stale one would be asked with.
            BeforeRequest::Fresh(parts) => conditions_of(&parts.headers),
            BeforeRequest::Stale { request, matches: true } => conditions(&request.headers),
            BeforeRequest::Stale { .. } => HeaderMap::new(),
        };
        Some(headers)
    }

    /// After 304 (RFC 9111 §4.3.4); `None` where that does not speak of this one.
    pub fn renewed(&self, url: &str, headers: &HeaderMap, redirected: bool, now: SystemTime) -> Option<Self> {
        match self.policy.after_response(&request(url)?, &response(304, headers)?, now) {
            AfterResponse::NotModified(policy, _) => Some(Self { policy, redirected }),
            AfterResponse::Modified(..) => None,
        }
    }
}

/// The conditions among a request's headers.
fn conditions(headers: &HeaderMap) -> HeaderMap {
    [IF_NONE_MATCH, IF_MODIFIED_SINCE]
        .into_iter()
        .filter_map(|name| headers.get(&name).map(|value| (name, value.clone())))
        .collect()
}

/// Conditions made of an answer's validators (RFC 9110 §13.1.2, §13.1.3).
fn conditions_of(headers: &HeaderMap) -> HeaderMap {
    use http::header::{ETAG, LAST_MODIFIED};
    [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)]
        .into_iter()
        .filter_map(|(validator, name)| headers.get(&validator).map(|value| (name, value.clone())))
        .collect()
}

fn request(url: &str) -> Option<Request<()>> {
    Request::get(url.split('#').next()?).body(()).ok()
}

fn response(status: u16, headers: &HeaderMap) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    response.headers_mut().clone_from(headers);
    Some(response)
}

/// The sounds.
pub struct Shelf {
    sounds: LruCache<Sound, (Samples, Freshness)>,
    bytes: usize,
    room: usize,
}

/// What is kept of a sound.
pub enum Kept {
    /// It may be used.
    Good(Samples),
    /// Its server must be asked first.
    Ask(Samples, Box<Validity>, HeaderMap),
}

impl Shelf {
    /// An empty one for so many bytes.
    pub fn new(room: usize) -> Self {
        Self { sounds: LruCache::unbounded(), bytes: 0, room }
    }

    /// What is kept of it; it counts as used.
    pub fn get(&mut self, sound: &Sound, now: SystemTime) -> Option<Kept> {
        let (samples, freshness) = self.sounds.get(sound)?;
        let samples = samples.clone();
        match (freshness, sound) {
            (Freshness::File(validity), Sound::File { url }) => match validity.ask(url, now) {
                None => Some(Kept::Good(samples)),
                Some(headers) => Some(Kept::Ask(samples, validity.clone(), headers)),
            },
            _ => Some(Kept::Good(samples)),
        }
    }

    /// Keeps it in place of what was there; one that is larger than all the room is not kept.
    pub fn put(&mut self, sound: Sound, samples: Samples, freshness: Freshness) {
        self.remove(&sound);
        let bytes = size(&samples);
        if bytes > self.room {
            return;
        }
        while self.bytes + bytes > self.room {
            let Some((_, (gone, _))) = self.sounds.pop_lru() else { break };
            self.bytes -= size(&gone);
        }
        self.bytes += bytes;
        self.sounds.put(sound, (samples, freshness));
    }

    /// Forgets it.
    pub fn remove(&mut self, sound: &Sound) {
        if let Some((gone, _)) = self.sounds.pop(sound) {
            self.bytes -= size(&gone);
        }
    }
}

/// With what an entry takes beside its samples, so that a million short ones are bounded too.
fn size(samples: &Samples) -> usize {
    samples.len() * 2 + 1024
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const URL: &str = "https://example.com/a.wav";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn validity(list: &[(&'static str, &str)]) -> Option<Validity> {
        Validity::new(URL, 200, &headers(list), false, start())
    }

    fn asked(validity: &Validity, after: u64) -> Option<Vec<String>> {
        let headers = validity.ask(URL, start() + Duration::from_secs(after))?;
        Some(headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect())
    }

    /// RFC 9111 §3, §4.2: no-store is not kept, max-age is used without asking, then asked about by ETag.
    #[test]
    fn files_are_kept_as_their_server_says() {
        assert!(validity(&[("cache-control", "no-store")]).is_none());
        let dated = validity(&[("cache-control", "max-age=60"), ("etag", "\"1\"")]).unwrap();
        assert_eq!(asked(&dated, 59), None);
        assert_eq!(asked(&dated, 61), Some(vec!["if-none-match: \"1\"".into()]));
        let always = validity(&[("cache-control", "no-cache, max-age=60"), ("etag", "\"1\"")]).unwrap();
        assert_eq!(asked(&always, 0), Some(vec!["if-none-match: \"1\"".into()]));
        let expires =
            validity(&[("date", "Fri, 15 Jan 2027 08:00:00 GMT"), ("expires", "Fri, 15 Jan 2027 08:10:00 GMT")]);
        let expires = expires.unwrap();
        assert_eq!(asked(&expires, 599), None);
        assert!(asked(&expires, 601).is_some());
        // What we ask with never varies (RFC 9111 §4.1); what answers to anything at all is asked for anew, and whole.
        let varied = validity(&[("cache-control", "max-age=60"), ("vary", "accept-language")]).unwrap();
        assert_eq!(asked(&varied, 1), None);
        let unlike = validity(&[("cache-control", "max-age=60"), ("etag", "\"1\""), ("vary", "*")]);
        assert_eq!(unlike.and_then(|unlike| asked(&unlike, 1)), Some(vec![]));
        let mute =
            validity(&[("last-modified", "Fri, 15 Jan 2027 07:59:59 GMT"), ("cache-control", "max-age=0")]).unwrap();
        assert_eq!(asked(&mute, 5), Some(vec!["if-modified-since: Fri, 15 Jan 2027 07:59:59 GMT".into()]));
    }

    /// RFC 9111 §4.3.4: a 304 makes what is kept fresh again, by its own headers.
    #[test]
    fn not_modified_renews() {
        let old = validity(&[("cache-control", "max-age=1"), ("etag", "\"1\"")]).unwrap();
        let later = start() + Duration::from_secs(100);
        let answer = headers(&[("cache-control", "max-age=1000"), ("etag", "\"1\"")]);
        let renewed = old.renewed(URL, &answer, false, later).unwrap();
        assert_eq!(asked(&renewed, 1099), None);
        assert!(asked(&renewed, 1101).is_some());
        assert!(old.renewed(URL, &headers(&[("etag", "\"2\"")]), false, later).is_none(), "another one's 304");
    }

    /// A redirect may lead elsewhere the next time: only the way is asked for.
    #[test]
    fn a_redirected_file_is_asked_about() {
        let list = headers(&[("cache-control", "max-age=60"), ("etag", "\"1\"")]);
        let redirected = Validity::new(URL, 200, &list, true, start()).unwrap();
        assert_eq!(asked(&redirected, 1), Some(vec!["if-none-match: \"1\"".into()]));
    }

    #[test]
    fn the_least_recently_used_leaves() {
        let mut shelf = Shelf::new(10_000);
        let sound = |name: &str| Sound::File { url: name.into() };
        for name in ["a", "b", "c"] {
            shelf.put(sound(name), vec![0; 1000].into(), Freshness::Lasting);
        }
        assert!(shelf.get(&sound("a"), start()).is_some());
        shelf.put(sound("d"), vec![0; 1000].into(), Freshness::Lasting);
        let there: Vec<bool> = ["a", "b", "c", "d"].map(|name| shelf.get(&sound(name), start()).is_some()).into();
        assert_eq!(there, [true, false, true, true]);
        shelf.put(sound("e"), vec![0; 10_000].into(), Freshness::Lasting);
        assert!(shelf.get(&sound("e"), start()).is_none() && shelf.get(&sound("d"), start()).is_some());
        shelf.remove(&sound("a"));
        shelf.remove(&sound("c"));
        shelf.remove(&sound("d"));
        assert_eq!(shelf.bytes, 0);
    }
}
