//! The library against a web server on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use ringfork_webhook::{AuthToken, Client, Config};
use tokio::sync::Notify;

use super::super::speech::Speech;
use super::super::testing::{octets, share, tone, wav};
use super::*;

/// Longer than anything here takes on any machine.
const BOUND: Duration = Duration::from_secs(60);

/// A server with sounds of one second.
#[derive(Clone, Default)]
struct Web {
    asked: Arc<AtomicUsize>,
    unmodified: Arc<AtomicUsize>,
    gate: Arc<Notify>,
}

async fn serve(State(web): State<Web>, uri: Uri, headers: HeaderMap) -> Response {
    web.asked.fetch_add(1, Ordering::SeqCst);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == "\"v1\"");
    let file = wav(1, 1, 8000, 16, &octets(&tone(8000, 600.0, 8000)));
    let rules = match uri.path() {
        "/fresh.wav" => "max-age=600",
        "/stale.wav" if known => {
            web.unmodified.fetch_add(1, Ordering::SeqCst);
            return (StatusCode::NOT_MODIFIED, [(header::ETAG, "\"v1\"")]).into_response();
        }
        "/stale.wav" => "no-cache",
        "/never.wav" => "no-store",
        // Neither how long it is good nor what to ask with.
        "/mute.wav" => return ([(header::CONTENT_TYPE, "audio/wav")], file).into_response(),
        "/slow.wav" => {
            web.gate.notified().await;
            "max-age=600"
        }
        "/moved.wav" => return (StatusCode::FOUND, [(header::LOCATION, "/fresh.wav")]).into_response(),
        "/page" => return ([(header::CONTENT_TYPE, "text/html")], "<html>hello</html>").into_response(),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let headers = [(header::CACHE_CONTROL, rules), (header::ETAG, "\"v1\""), (header::CONTENT_TYPE, "audio/wav")];
    (headers, file).into_response()
}

/// Says as many samples as the text has characters.
#[derive(Default)]
struct Parrot(AtomicUsize);

#[async_trait::async_trait]
impl Speech for Parrot {
    fn name(&self) -> &str {
        "parrot"
    }

    async fn speak(&self, utterance: &Utterance) -> Result<Vec<i16>, PlayError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(vec![7; utterance.text.len()])
    }
}

struct Bench {
    library: Library,
    web: Web,
    parrot: Arc<Parrot>,
    base: String,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let web = Web::default();
        let app = Router::new().fallback(any(serve)).with_state(web.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let (parrot, folder) = (Arc::new(Parrot::default()), tempfile::tempdir().unwrap());
        let library = library(parrot.clone(), folder.path(), true);
        Bench { library, web, parrot, base, folder }
    }

    fn file(&self, path: &str) -> Sound {
        Sound::File { url: format!("{}{path}", self.base).into() }
    }

    async fn hear(&self, sound: &Sound) -> Result<Vec<i16>, PlayError> {
        let samples = all(self.library.open(sound)).await;
        // What comes whole is put on the shelf just after its last reader has it.
        let shelved = async {
            while self.library.shared.inner().under_way.contains_key(sound) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, shelved).await.expect("it is under way for ever");
        samples
    }

    async fn is_tone(&self, sound: &Sound) {
        let samples = self.hear(sound).await.unwrap();
        assert_eq!(samples.len(), 8000);
        assert!(share(&samples, 600.0) > 0.99);
    }

    fn asked(&self) -> usize {
        self.web.asked.load(Ordering::SeqCst)
    }
}

fn library(parrot: Arc<Parrot>, folder: &std::path::Path, private: bool) -> Library {
    let client = Client::new(Config::allowing_private(private)).unwrap();
    let fetcher = Fetcher { client, token: AuthToken::new("0123456789abcdef") };
    Library::new(Handle::current(), fetcher, Speaker::new(parrot, folder.join("speech")))
}

async fn all(mut stream: SampleStream) -> Result<Vec<i16>, PlayError> {
    let mut heard = Vec::new();
    while let Some(chunk) = stream.recv().await {
        heard.extend_from_slice(&chunk?);
    }
    Ok(heard)
}

/// RFC 9111: max-age is used again without asking; no-cache is asked about, and a 304 costs no transfer; no-store is
/// fetched each time.
#[tokio::test]
async fn files_are_kept_by_the_rules_of_http() {
    let bench = Bench::new().await;
    for (path, asked, unmodified) in [("/fresh.wav", 1, 0), ("/stale.wav", 3, 2), ("/never.wav", 3, 0)] {
        let (before, sound) = (bench.asked(), bench.file(path));
        bench.web.unmodified.store(0, Ordering::SeqCst);
        for _ in 0..3 {
            bench.is_tone(&sound).await;
        }
        assert_eq!(
            (bench.asked() - before, bench.web.unmodified.load(Ordering::SeqCst)),
            (asked, unmodified),
            "{path}"
        );
    }
    // A redirect is asked for each time.
    let before = bench.asked();
    bench.is_tone(&bench.file("/moved.wav")).await;
    bench.is_tone(&bench.file("/moved.wav")).await;
    assert_eq!(bench.asked() - before, 4);
}

/// Concurrent requests of one URL share one fetch; `prepare` is one of them.
#[tokio::test]
async fn one_fetch_for_all() {
    let bench = Bench::new().await;
    let sound = bench.file("/slow.wav");
    bench.library.prepare(&sound);
    let streams: Vec<SampleStream> = (0..50).map(|_| bench.library.open(&sound)).collect();
    bench.web.gate.notify_one();
    for stream in streams {
        assert_eq!(all(stream).await.unwrap().len(), 8000);
    }
    assert_eq!(bench.asked(), 1);
}

/// What was prepared is played once without asking again, whatever HTTP lets us keep of it: a URL that answers only once
/// is heard. The next Play asks.
#[tokio::test]
async fn what_was_prepared_is_asked_for_once() {
    let bench = Bench::new().await;
    for (path, loaded) in [("/never.wav", true), ("/never.wav", false), ("/mute.wav", true), ("/stale.wav", true)] {
        let (before, sound) = (bench.asked(), bench.file(path));
        bench.library.prepare(&sound);
        while loaded && !bench.library.is_loaded(&sound) {
            tokio::task::yield_now().await;
        }
        bench.library.prepare(&sound);
        assert_eq!(all(bench.library.open(&sound)).await.unwrap().len(), 8000, "{path}");
        assert_eq!(bench.asked() - before, 1, "{path}");
        bench.is_tone(&sound).await;
        assert_eq!(bench.asked() - before, 2, "{path}");
    }
    assert_eq!(bench.library.shared.holds.available_permits(), HOLDS);
}

/// Nobody plays it: what was prepared is let go after a while.
#[tokio::test]
async fn what_was_prepared_is_not_held_for_ever() {
    let mut bench = Bench::new().await;
    let shared = bench.library.shared.clone();
    bench.library = Library::holding(
        Duration::from_millis(1),
        shared.runtime.clone(),
        shared.fetcher.clone(),
        shared.speaker.clone(),
    );
    let sound = bench.file("/never.wav");
    bench.library.prepare(&sound);
    while bench.library.shared.inner().under_way.contains_key(&sound) {
        tokio::task::yield_now().await;
    }
    while bench.library.shared.holds.available_permits() < HOLDS {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.library.shared.budget.load(Ordering::SeqCst), 0);
    bench.is_tone(&sound).await;
    assert_eq!(bench.asked(), 2);
}

/// A sound that cannot be had says why: `fetch` where its server is to blame.
#[tokio::test]
async fn failures_are_told_apart() {
    let bench = Bench::new().await;
    let error = bench.hear(&bench.file("/none.wav")).await.unwrap_err();
    let none = format!("{}/none.wav", bench.base);
    assert_eq!(error, PlayError { reason: "answered 404".into(), url: Some(none.into()), fetch: true });
    let error = bench.hear(&bench.file("/page")).await.unwrap_err();
    assert!(!error.fetch && error.reason.contains("neither WAV nor MP3 (text/html)"), "{error:?}");
    assert!(error.url.is_some_and(|url| url.ends_with("/page")), "what cannot be read is named too");
    let error = bench.hear(&Sound::File { url: "nonsense".into() }).await.unwrap_err();
    assert!(error.fetch, "{error:?}");
    // The guard of documents (RCML.md 3.2).
    let guarded = library(bench.parrot.clone(), bench.folder.path(), false);
    let before = bench.asked();
    let error = all(guarded.open(&bench.file("/fresh.wav"))).await.unwrap_err();
    assert!(error.fetch && error.reason.contains("not a public address"), "{error:?}");
    assert_eq!(bench.asked(), before);
    // A failure is not kept.
    assert!(bench.hear(&bench.file("/none.wav")).await.is_err());
    assert_eq!(bench.asked() - before, 1);
}

/// What was spoken is spoken once: for all who wait, from memory, and after a restart from disk.
#[tokio::test]
async fn speech_is_kept() {
    let bench = Bench::new().await;
    let say = |text: &str| Sound::Speech { text: text.into(), voice: None, language: "en".into() };
    let streams: Vec<SampleStream> = (0..10).map(|_| bench.library.open(&say("hello"))).collect();
    for stream in streams {
        assert_eq!(all(stream).await.unwrap(), [7; 5]);
    }
    assert_eq!(bench.hear(&say("hello")).await.unwrap(), [7; 5]);
    assert_eq!(bench.parrot.0.load(Ordering::SeqCst), 1);
    let spoken = || {
        std::fs::read_dir(bench.folder.path().join("speech")).map_or(0, |entries| {
            entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "s16")).count()
        })
    };
    // The disk is written behind.
    let written = async {
        while spoken() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(BOUND, written).await.expect("it is never written");
    let restarted = library(bench.parrot.clone(), bench.folder.path(), true);
    assert_eq!(all(restarted.open(&say("hello"))).await.unwrap(), [7; 5]);
    assert_eq!(bench.parrot.0.load(Ordering::SeqCst), 1);
    assert!(bench.hear(&say(" ")).await.unwrap().is_empty());
    let error = bench.hear(&say(&"long ".repeat(1000))).await.unwrap_err();
    assert!(error.reason.contains("longer than 4096 characters"));
    assert_eq!(bench.parrot.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_beep_is_a_kilohertz_for_half_a_second() {
    let bench = Bench::new().await;
    let samples = bench.hear(&Sound::Beep).await.unwrap();
    assert_eq!(samples.len(), 4000);
    assert!(share(&samples, 1000.0) > 0.99);
}
