//! The client against a real web server on loopback (RCML.md 3.2, 3.3).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, Method as HttpMethod, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine;
use ringfork_webhook::{
    Answer, AuthToken, Client, Config, Download, DownloadLimits, Failure, Jar, Limits, Method, Reason, Request,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_700_000_000;

/// One request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: HttpMethod,
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    fn query(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.uri.query().unwrap_or("").as_bytes()).into_owned().collect()
    }
}

type Log = Arc<Mutex<Vec<Seen>>>;

struct Server {
    base: String,
    log: Log,
}

impl Server {
    async fn start() -> Self {
        let log = Log::default();
        let app = Router::new().fallback(any(serve)).with_state(log.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { base, log }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }
}

async fn serve(State(log): State<Log>, request: HttpRequest) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let path = parts.uri.path().to_owned();
    log.lock().unwrap().push(Seen {
        method: parts.method,
        uri: parts.uri.clone(),
        headers: parts.headers.clone(),
        body,
    });
    let redirect = |status: u16, to: &str| {
        (axum::http::StatusCode::from_u16(status).unwrap(), [(header::LOCATION, to.to_owned())]).into_response()
    };
    let (kind, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    match kind {
        "ok" => ([(header::CONTENT_TYPE, "text/xml")], "<Response/>").into_response(),
        "chain" => match rest.parse::<u32>().unwrap() {
            0 => redirect(302, "/ok?landed=1"),
            n => redirect([301, 302, 303, 307, 308][n as usize % 5], &format!("/chain/{}", n - 1)),
        },
        "loop" => redirect(307, "/loop"),
        "nowhere" => axum::http::StatusCode::FOUND.into_response(),
        "inward" => redirect(302, "http://169.254.169.254/latest/meta-data/"),
        "ftp" => redirect(302, "ftp://example.com/"),
        "slash" => redirect(301, &format!("/ok?{}", parts.uri.query().unwrap_or(""))),
        "status" => axum::http::StatusCode::from_u16(rest.parse().unwrap()).unwrap().into_response(),
        "bytes" => "x".repeat(rest.parse().unwrap()).into_response(),
        "stream" => {
            // No Content-Length: only counting tells.
            let total: usize = rest.parse().unwrap();
            let chunks = (0..total.div_ceil(1024)).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1024])));
            Body::from_stream(Chunks(chunks.collect::<Vec<_>>().into_iter())).into_response()
        }
        "sound" => {
            let known = parts.headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == "\"v1\"");
            let status = axum::http::StatusCode::from_u16(if known { 304 } else { 200 }).unwrap();
            let headers =
                [(header::ETAG, "\"v1\""), (header::CONTENT_TYPE, "audio/wav"), (header::CACHE_CONTROL, "max-age=60")];
            (status, headers, if known { "" } else { "RIFF" }).into_response()
        }
        "tosound" => redirect(302, "/sound?moved=1"),
        "hang" => std::future::pending().await,
        "half" => Body::from_stream(Forever(Some(Bytes::from_static(b"<Resp")))).into_response(),
        "set" => ([(header::SET_COOKIE, "call=42; Path=/")], "<Response/>").into_response(),
        "setredirect" => {
            ([(header::SET_COOKIE, "call=43; Path=/"), (header::LOCATION, "/ok")], ()).into_response_with(302)
        }
        _ => axum::http::StatusCode::NOT_FOUND.into_response(),
    }
}

trait WithStatus {
    fn into_response_with(self, status: u16) -> Response;
}

impl<T: IntoResponse> WithStatus for T {
    fn into_response_with(self, status: u16) -> Response {
        let mut response = self.into_response();
        *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap();
        response
    }
}

/// A body of given chunks.
struct Chunks<I>(I);

impl<I: Iterator<Item = Result<Bytes, std::io::Error>> + Unpin> futures_core::Stream for Chunks<I> {
    type Item = Result<Bytes, std::io::Error>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// A body that begins and never goes on.
struct Forever(Option<Bytes>);

impl futures_core::Stream for Forever {
    type Item = Result<Bytes, std::io::Error>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.take().map_or(std::task::Poll::Pending, |chunk| std::task::Poll::Ready(Some(Ok(chunk))))
    }
}

fn client(allow_private: bool) -> Client {
    Client::new(Config { clock: Arc::new(NOW), ..Config::allowing_private(allow_private) }).unwrap()
}

fn parameters() -> Vec<(String, String)> {
    [("To", "+1 555"), ("CallSid", "CA0123"), ("From", "client:jürgen&co"), ("CallStatus", "ringing")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

async fn send_with(method: Method, url: &str, limits: Limits, jar: &mut Jar) -> Result<Answer, Failure> {
    let (token, parameters) = (AuthToken::new(TOKEN), parameters());
    let request = Request { method, url, parameters: &parameters, token: &token, idempotency_key: None, limits };
    client(true).send(&request, jar).await
}

async fn send(method: Method, url: &str) -> Result<Answer, Failure> {
    send_with(method, url, Limits::DOCUMENT, &mut Jar::default()).await
}

async fn reason(url: &str) -> Reason {
    send(Method::Post, url).await.expect_err("must fail").reason
}

/// The signatures as ring makes them, from what arrived.
fn check_signatures(base: &str, seen: &Seen) {
    use ring::hmac;
    let url = format!("{base}{}", seen.uri);
    let mut form = seen.form();
    form.sort();
    let text = form.iter().fold(url.clone(), |text, (name, value)| text + name + value);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TOKEN.as_bytes());
    let twilio = base64::engine::general_purpose::STANDARD.encode(hmac::sign(&key, text.as_bytes()));
    assert_eq!(seen.header("x-twilio-signature"), twilio, "{}", seen.uri);

    let body = hex::encode(ring::digest::digest(&ring::digest::SHA256, seen.body.as_bytes()));
    let text = format!("{NOW}.{}.{url}.{body}", seen.method);
    let key = hmac::Key::new(hmac::HMAC_SHA256, TOKEN.as_bytes());
    let v1 = hex::encode(hmac::sign(&key, text.as_bytes()));
    assert_eq!(seen.header("x-restcomm-signature"), format!("t={NOW},v1={v1}"), "{}", seen.uri);
}

/// RCML.md 3.2: POST as a form; the URL keeps its own query; a fragment never goes on the wire.
#[tokio::test]
async fn post() {
    let server = Server::start().await;
    let answer = send(Method::Post, &server.url("/ok?tenant=7#part")).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"<Response/>".as_slice()));
    assert_eq!(answer.content_type.as_deref(), Some("text/xml"));
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.uri.to_string().as_str()), ("POST", "/ok?tenant=7"));
    assert_eq!(seen.header("content-type"), "application/x-www-form-urlencoded");
    assert!(seen.header("user-agent").starts_with("Ringfork/"));
    assert_eq!(seen.form(), parameters());
    check_signatures(&server.base, seen);
}

/// RCML.md 3.2: GET with the parameters appended to the URL's query.
#[tokio::test]
async fn get() {
    let server = Server::start().await;
    let answer = send(Method::Get, &server.url("/ok?tenant=7")).await.unwrap();
    assert_eq!(answer.url.as_str(), server.url("/ok?tenant=7"), "relative URLs resolve without our parameters");
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.body.as_str()), ("GET", ""));
    let mut expected = vec![("tenant".to_owned(), "7".to_owned())];
    expected.extend(parameters());
    assert_eq!(seen.query(), expected);
    check_signatures(&server.base, seen);
}

/// RCML.md 3.2: redirects keep method and parameters, five at most; 3.3: each is signed for what it is.
#[tokio::test]
async fn redirects() {
    let server = Server::start().await;
    let answer = send(Method::Post, &server.url("/chain/4")).await.unwrap();
    assert_eq!(answer.url.as_str(), server.url("/ok?landed=1"));
    let seen = server.seen();
    assert_eq!(seen.len(), 6, "five redirects and the answer");
    for seen in &seen {
        assert_eq!((seen.method.as_str(), seen.form()), ("POST", parameters()));
        check_signatures(&server.base, seen);
    }
    assert_eq!(reason(&server.url("/chain/5")).await, Reason::TooManyRedirects);
    assert_eq!(server.seen().len(), 12, "the sixth redirect is not followed");
    assert_eq!(reason(&server.url("/loop")).await, Reason::TooManyRedirects);
    assert_eq!(reason(&server.url("/nowhere")).await, Reason::BadRedirect);
    assert_eq!(reason(&server.url("/ftp")).await, Reason::BadUrl);
}

/// A redirect target that took the query along does not get the parameters twice.
#[tokio::test]
async fn redirected_get() {
    let server = Server::start().await;
    send(Method::Get, &server.url("/slash?a=1")).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[1].query().len(), parameters().len() + 1);
    check_signatures(&server.base, &seen[1]);
}

/// RCML.md part 2: documents are at most 64 KB, said or streamed.
#[tokio::test]
async fn body_limit() {
    let server = Server::start().await;
    let limit = 64 * 1024;
    for kind in ["bytes", "stream"] {
        assert_eq!(send(Method::Post, &server.url(&format!("/{kind}/{limit}"))).await.unwrap().body.len(), limit);
        assert_eq!(reason(&server.url(&format!("/{kind}/{}", limit + 1024))).await, Reason::TooLarge(limit));
    }
    // A callback's answer is ignored, whatever its size (RCML.md 1.4).
    let url = server.url("/bytes/1000000");
    let answer = send_with(Method::Post, &url, Limits::CALLBACK, &mut Jar::default()).await.unwrap();
    assert_eq!(answer.body.len(), 0);
}

/// Each failure is told apart.
#[tokio::test]
async fn failures() {
    let server = Server::start().await;
    for status in [400, 404, 408, 429, 500, 503, 304] {
        assert_eq!(reason(&server.url(&format!("/status/{status}"))).await, Reason::Status(status));
    }
    assert_eq!(send(Method::Post, &server.url("/status/204")).await.unwrap().status, 204);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(matches!(reason(&format!("http://{closed}/")).await, Reason::NoConnection(_)));
    assert!(matches!(reason("http://no-such-host.invalid/").await, Reason::NoConnection(_)));
    for bad in ["nonsense", "/relative", "ftp://example.com/", "file:///etc/passwd"] {
        assert_eq!(reason(bad).await, Reason::BadUrl, "{bad}");
    }
}

/// RCML.md 3.2: the total bounds headers and body alike.
#[tokio::test]
async fn hanging_servers() {
    let server = Server::start().await;
    let limits = Limits { total: Duration::from_millis(300), ..Limits::DOCUMENT };
    for path in ["/hang", "/half"] {
        let outcome = send_with(Method::Post, &server.url(path), limits, &mut Jar::default()).await;
        assert_eq!(outcome.unwrap_err().reason, Reason::Timeout, "{path}");
    }
    // Delivered is any 2xx: the body of a callback's answer may hang (RCML.md 1.4).
    let outcome = send_with(Method::Post, &server.url("/half"), Limits::CALLBACK, &mut Jar::default()).await;
    assert_eq!(outcome.unwrap().status, 200);
}

/// RCML.md 3.2: cookies are kept for the length of a call, from redirects too.
#[tokio::test]
async fn cookies() {
    let server = Server::start().await;
    let mut jar = Jar::default();
    send_with(Method::Post, &server.url("/set"), Limits::DOCUMENT, &mut jar).await.unwrap();
    let mut jar = Jar::from_strings(&jar.to_strings());
    send_with(Method::Post, &server.url("/ok"), Limits::DOCUMENT, &mut jar).await.unwrap();
    send_with(Method::Post, &server.url("/setredirect"), Limits::DOCUMENT, &mut jar).await.unwrap();
    let cookies: Vec<String> = server.seen().iter().map(|seen| seen.header("cookie").to_owned()).collect();
    assert_eq!(cookies, ["", "call=42", "call=42", "call=43"]);
}

/// RCML.md 3.3: an Idempotency-Key on callbacks; credentials of a URL travel as Basic and are not signed.
#[tokio::test]
async fn key_and_credentials() {
    let server = Server::start().await;
    let (token, parameters) = (AuthToken::new(TOKEN), parameters());
    let url = server.url("/ok").replace("http://", "http://user:pass@");
    let request = Request {
        method: Method::Post,
        url: &url,
        parameters: &parameters,
        token: &token,
        idempotency_key: Some("CA01-completed"),
        limits: Limits::CALLBACK,
    };
    client(true).send(&request, &mut Jar::default()).await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!(seen.header("idempotency-key"), "CA01-completed");
    assert_eq!(seen.header("authorization"), "Basic dXNlcjpwYXNz");
    check_signatures(&server.base, seen);
    let request = Request { url: &url.replace("/ok", "/status/500"), ..request };
    let failure = client(true).send(&request, &mut Jar::default()).await.unwrap_err();
    assert!(!failure.to_string().contains("pass"), "{failure}");
}

/// RCML.md 3.2: refused at connect time, after DNS and on each redirect.
#[tokio::test]
async fn guard() {
    let server = Server::start().await;
    let (token, parameters) = (AuthToken::new(TOKEN), parameters());
    let port = server.base.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "0"] {
        let url = format!("http://{host}:{port}/ok");
        let request = Request {
            method: Method::Post,
            url: &url,
            parameters: &parameters,
            token: &token,
            idempotency_key: None,
            limits: Limits::DOCUMENT,
        };
        let reason = client(false).send(&request, &mut Jar::default()).await.unwrap_err().reason;
        assert!(matches!(reason, Reason::Refused(_)), "{host}: {reason:?}");
    }
    assert_eq!(server.seen().len(), 0, "nothing was sent");

    // A redirect meets the guard as the first request does.
    let allow: fn(IpAddr) -> bool = |address| address == IpAddr::from([127, 0, 0, 1]);
    let client = Client::new(Config { allow, ..Config::default() }).unwrap();
    let url = server.url("/inward");
    let request = Request {
        method: Method::Post,
        url: &url,
        parameters: &parameters,
        token: &token,
        idempotency_key: None,
        limits: Limits::DOCUMENT,
    };
    let failure = client.send(&request, &mut Jar::default()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Refused(IpAddr::from([169, 254, 169, 254])));
    assert_eq!(failure.url, "http://169.254.169.254/latest/meta-data/");
}

/// RCML.md 3.2: one more try when no connection could be made. Every try asks the guard about each address.
#[tokio::test]
async fn second_try() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let allow: fn(IpAddr) -> bool = |_| {
        ASKED.fetch_add(1, Ordering::SeqCst);
        true
    };
    let client = Client::new(Config { allow, ..Config::default() }).unwrap();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (token, url) = (AuthToken::new(TOKEN), format!("http://localhost:{closed}/"));
    let mut asked = Vec::new();
    for limits in [Limits::CALLBACK, Limits::DOCUMENT] {
        let request =
            Request { method: Method::Get, url: &url, parameters: &[], token: &token, idempotency_key: None, limits };
        let failure = client.send(&request, &mut Jar::default()).await.unwrap_err();
        assert!(matches!(failure.reason, Reason::NoConnection(_)));
        asked.push(ASKED.swap(0, Ordering::SeqCst));
    }
    assert_eq!(asked[1], 2 * asked[0]);
}

/// The whole of a download, by chunks; the failure that ended it.
async fn download(
    client: &Client,
    url: &str,
    headers: &HeaderMap,
    limits: DownloadLimits,
) -> Result<(u16, usize), Failure> {
    let token = AuthToken::new(TOKEN);
    let mut body = client.download(&Download { url, token: &token, headers, limits }).await?;
    let mut length = 0;
    while let Some(chunk) = body.chunk().await? {
        length += chunk.len();
    }
    Ok((body.status(), length))
}

/// RCML.md 3.3: a Play is signed over the URL of this very request, on a redirect too; a condition travels along and
/// 304 answers it (RFC 9110 §13.1).
#[tokio::test]
async fn downloads_are_signed_and_conditional() {
    let server = Server::start().await;
    let (client, token) = (client(true), AuthToken::new(TOKEN));
    let mut headers = HeaderMap::new();
    let url = server.url("/tosound?a=1");
    let ask = Download { url: &url, token: &token, headers: &headers, limits: DownloadLimits::SOUND };
    let mut body = client.download(&ask).await.unwrap();
    assert_eq!((body.status(), body.url().as_str()), (200, server.url("/sound?moved=1").as_str()));
    assert_eq!((body.headers()[header::ETAG].to_str().unwrap(), body.length()), ("\"v1\"", Some(4)));
    assert_eq!(body.chunk().await.unwrap().as_deref(), Some(b"RIFF".as_slice()));
    assert_eq!(body.chunk().await.unwrap(), None);
    headers.insert(header::IF_NONE_MATCH, "\"v1\"".parse().unwrap());
    assert_eq!(download(&client, &url, &headers, DownloadLimits::SOUND).await, Ok((304, 0)));
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    for seen in &seen {
        assert_eq!((seen.method.as_str(), seen.body.as_str()), ("GET", ""));
        check_signatures(&server.base, seen);
    }
    // Without a condition 304 is no answer.
    let failure = download(&client, &server.url("/status/304"), &HeaderMap::new(), DownloadLimits::SOUND).await;
    assert_eq!(failure.unwrap_err().reason, Reason::Status(304));
}

/// A download is bounded by its size, said or counted, and by silence, but not by a total.
#[tokio::test]
async fn downloads_are_bounded() {
    let server = Server::start().await;
    let client = client(true);
    let none = HeaderMap::new();
    let limits = DownloadLimits { max_body: 64 * 1024, ..DownloadLimits::SOUND };
    for kind in ["bytes", "stream"] {
        let whole = download(&client, &server.url(&format!("/{kind}/65536")), &none, limits).await;
        assert_eq!(whole, Ok((200, 65536)));
        let failure = download(&client, &server.url(&format!("/{kind}/66560")), &none, limits).await.unwrap_err();
        assert_eq!(failure.reason, Reason::TooLarge(64 * 1024));
    }
    // Only what hangs for ever gets little time.
    let idle = DownloadLimits { idle: Duration::from_millis(300), ..limits };
    let failure = download(&client, &server.url("/half"), &none, idle).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Timeout);
    let limits = DownloadLimits { head: Duration::from_millis(300), ..limits };
    assert_eq!(download(&client, &server.url("/hang"), &none, limits).await.unwrap_err().reason, Reason::Timeout);
}

/// RCML.md 3.2: what documents may not reach, files may not reach either, and they are redirected five times at most.
#[tokio::test]
async fn downloads_meet_the_guard() {
    let server = Server::start().await;
    let none = HeaderMap::new();
    let failure = download(&client(false), &server.url("/sound"), &none, DownloadLimits::SOUND).await.unwrap_err();
    assert!(matches!(failure.reason, Reason::Refused(_)), "{failure}");
    assert_eq!(server.seen().len(), 0, "nothing was sent");
    let allow: fn(IpAddr) -> bool = |address| address == IpAddr::from([127, 0, 0, 1]);
    let narrow = Client::new(Config { allow, ..Config::default() }).unwrap();
    let failure = download(&narrow, &server.url("/inward"), &none, DownloadLimits::SOUND).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Refused(IpAddr::from([169, 254, 169, 254])));
    let failure = download(&narrow, &server.url("/loop"), &none, DownloadLimits::SOUND).await.unwrap_err();
    assert_eq!(failure.reason, Reason::TooManyRedirects);
}
