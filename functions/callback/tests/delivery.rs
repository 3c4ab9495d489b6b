//! RCML.md 1.4, "Delivery", against a real web server on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ringfork_callback::{Deliverer, Delivery, Schedule, keep};
use ringfork_rcml::evaluation::Level;
use ringfork_state::memory::MemoryStore;
use ringfork_state::{
    CallSid, CallbackEvent, EventKind, Level as StoredLevel, Method, NotificationFilter, Notifications, PageRequest,
};
use ringfork_webhook::{AuthToken, Client, Config, Limits};

/// What arrived: method, target, Idempotency-Key, body.
type Seen = (String, String, String, String);

#[derive(Clone, Default)]
struct Script {
    /// Statuses to answer with, then 200; 0 hangs.
    answers: Arc<Mutex<Vec<u16>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// All headers of each, the signature with the time left out.
    headers: Arc<Mutex<Vec<HeaderMap>>>,
}

async fn serve(State(script): State<Script>, request: HttpRequest) -> Response {
    let (mut parts, body) = request.into_parts();
    assert!(parts.headers.remove("x-restcomm-signature").is_some());
    script.headers.lock().unwrap().push(parts.headers.clone());
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let key = parts.headers.get("idempotency-key").map_or("", |value| value.to_str().unwrap()).to_owned();
    let body = String::from_utf8(body.to_vec()).unwrap();
    script.seen.lock().unwrap().push((parts.method.to_string(), parts.uri.to_string(), key, body));
    let next = {
        let mut answers = script.answers.lock().unwrap();
        if answers.is_empty() { 200 } else { answers.remove(0) }
    };
    match next {
        0 => std::future::pending().await,
        302 => (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(),
        307 => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://[2001:db8::1]/")]).into_response(),
        status => StatusCode::from_u16(status).unwrap().into_response(),
    }
}

async fn server(answers: &[u16]) -> (String, Script) {
    let script = Script { answers: Arc::new(Mutex::new(answers.to_vec())), ..Script::default() };
    let app = Router::new().fallback(serve).with_state(script.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/cb?x=1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (base, script)
}

fn event(url: &str, method: Method) -> CallbackEvent {
    CallbackEvent {
        account_sid: "AC00".to_owned(),
        leg: CallSid([7; 16]),
        parent: CallSid([1; 16]),
        sequence: 3,
        kind: EventKind::Completed,
        url: url.to_owned(),
        method,
        fired_unix_ms: 0,
        parameters: vec![
            ("CallStatus".to_owned(), "no-answer".to_owned()),
            ("CallDuration".to_owned(), "0".to_owned()),
        ],
    }
}

/// The same number of tries and rounds, and as long for each answer, without waiting between them.
fn quick() -> Schedule {
    let schedule = Schedule::default();
    Schedule {
        tries: vec![Duration::ZERO; schedule.tries.len()],
        rounds: vec![Duration::ZERO; schedule.rounds.len()],
        limits: schedule.limits,
    }
}

/// As [`quick`], and soon tired of a server that hangs.
fn hasty() -> Schedule {
    let schedule = quick();
    Schedule { limits: Limits { total: Duration::from_millis(250), ..schedule.limits }, ..schedule }
}

fn deliverer(allow_private: bool) -> Deliverer {
    let client = Client::new(Config::allowing_private(allow_private)).unwrap();
    Deliverer::new(client, AuthToken::new("secret")).with_schedule(quick())
}

async fn round(answers: &[u16]) -> (Delivery, Vec<Seen>) {
    let (url, script) = server(answers).await;
    let outcome = deliverer(true).round(&event(&url, Method::Post)).await;
    let seen = script.seen.lock().unwrap().clone();
    (outcome, seen)
}

/// RCML.md 1.4: 10 s for an answer; again after 1, 3 and 9 s; the round again after 1, 2 and 15 minutes.
#[test]
fn times() {
    let schedule = Schedule::default();
    assert_eq!(schedule.tries.iter().map(Duration::as_secs).collect::<Vec<_>>(), [1, 3, 9]);
    assert_eq!(schedule.rounds.iter().map(Duration::as_secs).collect::<Vec<_>>(), [60, 120, 900]);
    assert_eq!(schedule.limits.total, Duration::from_secs(10));
}

/// RCML.md 1.4: delivered is any 2xx; parameters travel by POST or GET.
#[tokio::test]
async fn delivered() {
    for status in [200, 201, 202, 204, 299] {
        let (outcome, seen) = round(&[status]).await;
        assert_eq!((outcome, seen.len()), (Delivery::Delivered, 1), "{status}");
        let key = event("", Method::Post).idempotency_key();
        let body = "CallStatus=no-answer&CallDuration=0";
        assert_eq!(seen[0], ("POST".to_owned(), "/cb?x=1".to_owned(), key, body.to_owned()));
    }
    let (url, script) = server(&[]).await;
    assert_eq!(deliverer(true).round(&event(&url, Method::Get)).await, Delivery::Delivered);
    let seen = script.seen.lock().unwrap().clone();
    assert_eq!(seen[0].1, "/cb?x=1&CallStatus=no-answer&CallDuration=0");
}

/// RCML.md 1.4: 408, 429, 5xx and no answer are tried again, with the same method, URL, body and Idempotency-Key; only the
/// signature's time is new.
#[tokio::test]
async fn repeated() {
    for status in [408, 429, 500, 502, 503, 599] {
        let (url, script) = server(&[status, status, status]).await;
        let outcome = deliverer(true).round(&event(&url, Method::Post)).await;
        let (seen, headers) = (script.seen.lock().unwrap().clone(), script.headers.lock().unwrap().clone());
        assert_eq!((outcome, seen.len()), (Delivery::Delivered, 4), "{status}");
        assert!(seen.iter().all(|one| *one == seen[0]), "{status}");
        assert!(headers[0].contains_key("x-twilio-signature") && headers[0].contains_key("idempotency-key"));
        assert!(headers.iter().all(|one| *one == headers[0]), "{headers:?}");
    }
    // No answer. On a machine that stands still a try of 250 ms may be given up though the server answered: then more
    // are made, in the next round; that a round has four is shown below.
    let (url, script) = server(&[0; 3]).await;
    let outcome = deliverer(true).with_schedule(hasty()).deliver(&event(&url, Method::Post)).await;
    let seen = script.seen.lock().unwrap().clone();
    assert_eq!(outcome, Delivery::Delivered);
    assert!(seen.len() >= 4 && seen.iter().all(|one| *one == seen[0]), "{seen:?}");
}

/// RCML.md 1.4: where all four fail the round is exhausted; after the last round it ends as an error.
#[tokio::test]
async fn exhausted() {
    let (outcome, seen) = round(&[500; 20]).await;
    let Delivery::Exhausted(notice) = outcome else { panic!("{outcome:?}") };
    assert_eq!((notice.level, notice.code, seen.len()), (Level::Error, 15004, 4));

    let (url, script) = server(&[500; 20]).await;
    assert!(matches!(deliverer(true).deliver(&event(&url, Method::Post)).await, Delivery::Exhausted(_)));
    assert_eq!(script.seen.lock().unwrap().len(), 16, "four rounds of four");

    let (url, script) = server(&[500; 9]).await;
    assert_eq!(deliverer(true).deliver(&event(&url, Method::Post)).await, Delivery::Delivered);
    assert_eq!(script.seen.lock().unwrap().len(), 10);
}

/// RCML.md 1.4: no connection is tried again.
#[tokio::test]
async fn no_connection() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let outcome = deliverer(true).round(&event(&format!("http://{closed}/"), Method::Post)).await;
    assert!(matches!(outcome, Delivery::Exhausted(_)), "{outcome:?}");
}

/// RCML.md 1.4: any other answer is not repeated and leaves a warning.
#[tokio::test]
async fn rejected() {
    for status in [304, 400, 401, 403, 404, 410, 422] {
        let (outcome, seen) = round(&[status]).await;
        let Delivery::Ended(notice) = outcome else { panic!("{status}: {outcome:?}") };
        assert_eq!((notice.level, notice.code, seen.len()), (Level::Warning, 15003, 1), "{status}");
    }
}

/// RCML.md 1.4: the warning is kept with the leg.
#[tokio::test]
async fn kept() {
    let (url, _script) = server(&[404]).await;
    let event = event(&url, Method::Post);
    let Delivery::Ended(notice) = deliverer(true).round(&event).await else { panic!("delivered") };
    let store = MemoryStore::new();
    keep(&store, &event, notice).await.unwrap();
    let filter = NotificationFilter { call: Some(event.leg), ..NotificationFilter::default() };
    let page = store.notifications(&filter, &PageRequest::default()).await.unwrap();
    assert_eq!(
        page.items.iter().map(|kept| (kept.code, kept.level)).collect::<Vec<_>>(),
        [(15003, StoredLevel::Warning)]
    );
}

/// RCML.md 1.4 and 3.2: redirects are followed with method and parameters, five at most.
#[tokio::test]
async fn redirected() {
    let (outcome, seen) = round(&[302]).await;
    assert_eq!((outcome, seen.len()), (Delivery::Delivered, 2));
    assert_eq!((seen[1].1.as_str(), &seen[1].3), ("/elsewhere", &seen[0].3));
    let (outcome, seen) = round(&[302; 20]).await;
    assert!(matches!(outcome, Delivery::Ended(_)), "{outcome:?}");
    assert_eq!(seen.len(), 6);
}

/// RCML.md 1.4 and 3.2: nor is one followed to a URL that the guard refuses; that is an error, and not tried again.
#[tokio::test]
async fn redirected_to_a_refused_url() {
    let (url, script) = server(&[307; 4]).await;
    let client = Client::new(Config { allow: |address| address.is_loopback(), ..Config::default() }).unwrap();
    let outcome = Deliverer::new(client, AuthToken::new("secret")).with_schedule(quick());
    let outcome = outcome.deliver(&event(&url, Method::Post)).await;
    let Delivery::Ended(notice) = outcome else { panic!("{outcome:?}") };
    assert_eq!((notice.level, notice.code, script.seen.lock().unwrap().len()), (Level::Error, 15004, 1));
}

/// RCML.md 1.4: a URL that the guard refuses is an error at once.
#[tokio::test]
async fn refused() {
    let (url, script) = server(&[]).await;
    let outcome = deliverer(false).deliver(&event(&url, Method::Post)).await;
    let Delivery::Ended(notice) = outcome else { panic!("{outcome:?}") };
    assert_eq!((notice.level, notice.code), (Level::Error, 15004));
    assert!(script.seen.lock().unwrap().is_empty());
}
