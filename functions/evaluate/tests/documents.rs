//! `evaluate` against a real web server on loopback (RCML.md 3.2, 1.3, 1.5).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use ringfork_evaluate::Evaluator;
use ringfork_rcml::evaluation::{Level, Outcome, Purpose, Request, Response};
use ringfork_rcml::program::{DocumentRef, Method, Prompt, Step};
use ringfork_webhook::{AuthToken, Client, Config, Limits};

type Log = Arc<Mutex<Vec<(String, Vec<(String, String)>, String)>>>;

struct Server {
    base: String,
    log: Log,
}

impl Server {
    async fn start() -> Self {
        let log = Log::default();
        let app = Router::new().fallback(serve).with_state(log.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { base, log }
    }

    fn document(&self, path: &str) -> DocumentRef {
        DocumentRef { url: format!("{}{path}", self.base), method: Method::Post }
    }
}

async fn serve(State(log): State<Log>, request: HttpRequest) -> HttpResponse {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let form = url::form_urlencoded::parse(&body).into_owned().collect();
    let cookie = parts.headers.get(header::COOKIE).map_or("", |value| value.to_str().unwrap()).to_owned();
    log.lock().unwrap().push((parts.uri.path().to_owned(), form, cookie));
    let typed = |kind: &str, body: &str| ([(header::CONTENT_TYPE, kind.to_owned())], body.to_owned()).into_response();
    match parts.uri.path() {
        "/hangup" => typed("text/html", "<Response><Hangup/></Response>"),
        "/dial" => typed("text/xml", "<Response><Dial timeout='x'><Client>a</Client></Dial></Response>"),
        "/moved" => (StatusCode::FOUND, [(header::LOCATION, "/deep/relative")]).into_response(),
        "/deep/relative" => typed("", "<Response><Redirect>next</Redirect></Response>"),
        "/broken" => typed("text/xml", "<Response>"),
        "/latin" => ([(header::CONTENT_TYPE, "text/xml")], b"<Response>\xe4</Response>".to_vec()).into_response(),
        "/empty" => typed("text/xml", ""),
        "/large" => typed("text/xml", &" ".repeat(70_000)),
        "/audio" => typed("Audio/wav", "RIFF"),
        "/long-audio" => typed("audio/mpeg", &" ".repeat(70_000)),
        "/loop" => (StatusCode::FOUND, [(header::LOCATION, "/loop")]).into_response(),
        "/cookie" => ([(header::SET_COOKIE, "call=1")], "<Response/>").into_response(),
        "/hang" => std::future::pending().await,
        "/500" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn evaluator(allow_private: bool) -> Evaluator {
    Evaluator::new(Client::new(Config::allowing_private(allow_private)).unwrap(), AuthToken::new("secret"))
}

fn request(document: DocumentRef) -> Request {
    Request {
        account_sid: "AC00".to_owned(),
        call_sid: "CA00".to_owned(),
        document,
        fallback: None,
        parameters: vec![("CallSid".to_owned(), "CA00".to_owned())],
        cookies: Vec::new(),
        purpose: Purpose::Call,
    }
}

fn steps(response: &Response) -> Option<&[Step]> {
    match &response.outcome {
        Outcome::Program(program) => Some(&program.steps),
        Outcome::Failed => None,
    }
}

fn codes(response: &Response) -> Vec<(Level, u32)> {
    response.notices.iter().map(|notice| (notice.level, notice.code)).collect()
}

/// RCML.md 3.2: 2xx with XML is RCML, whatever its Content-Type; warnings come along.
#[tokio::test]
async fn documents() {
    let server = Server::start().await;
    let response = evaluator(true).evaluate(request(server.document("/hangup"))).await;
    assert_eq!((steps(&response), codes(&response)), (Some([Step::Hangup].as_slice()), vec![]));
    let response = evaluator(true).evaluate(request(server.document("/dial"))).await;
    assert_eq!(steps(&response).unwrap().len(), 1);
    assert_eq!(codes(&response), [(Level::Warning, 13212)]);
    assert_eq!(server.log.lock().unwrap()[0].1, [("CallSid".to_owned(), "CA00".to_owned())]);
}

/// Relative URLs resolve against the URL where the document was found, after redirects.
#[tokio::test]
async fn relative_urls() {
    let server = Server::start().await;
    let response = evaluator(true).evaluate(request(server.document("/moved"))).await;
    assert_eq!(steps(&response).unwrap(), [Step::Redirect { to: server.document("/deep/next") }]);
}

/// RCML.md 3.2: each kind of failure, with the code that names it.
#[tokio::test]
async fn failures() {
    let server = Server::start().await;
    for (path, code) in [
        ("/missing", 21402),
        ("/500", 11200),
        ("/broken", 12100),
        ("/latin", 12100),
        ("/empty", 12103),
        ("/large", 11750),
        ("/loop", 11215),
    ] {
        let response = evaluator(true).evaluate(request(server.document(path))).await;
        assert_eq!((steps(&response), codes(&response)), (None, vec![(Level::Error, code)]), "{path}");
    }
    let limits = Limits { total: Duration::from_millis(200), ..Limits::DOCUMENT };
    let response = evaluator(true).with_limits(limits).evaluate(request(server.document("/hang"))).await;
    assert_eq!((steps(&response), codes(&response)), (None, vec![(Level::Error, 11205)]));
    let response = evaluator(false).evaluate(request(server.document("/hangup"))).await;
    assert_eq!((steps(&response), codes(&response)), (None, vec![(Level::Error, 11220)]));
    let bad = DocumentRef { url: "ftp://a/b".to_owned(), method: Method::Post };
    assert_eq!(codes(&evaluator(true).evaluate(request(bad)).await), [(Level::Error, 11100)]);
}

/// RCML.md 3.2: the first document falls back on any failure, with ErrorCode and ErrorUrl.
#[tokio::test]
async fn fallback() {
    let server = Server::start().await;
    for (path, code) in [("/500", "11200"), ("/broken", "12100")] {
        let request = Request { fallback: Some(server.document("/hangup")), ..request(server.document(path)) };
        let response = evaluator(true).evaluate(request).await;
        assert_eq!(steps(&response), Some([Step::Hangup].as_slice()), "{path}");
        assert_eq!(codes(&response).len(), 1, "the failure is kept");
        let log = server.log.lock().unwrap();
        let (seen, form, _) = log.last().unwrap();
        assert_eq!(seen, "/hangup");
        let expected = [
            ("CallSid".to_owned(), "CA00".to_owned()),
            ("ErrorCode".to_owned(), code.to_owned()),
            ("ErrorUrl".to_owned(), format!("{}{path}", server.base)),
        ];
        assert_eq!(form.as_slice(), expected);
    }
    let request = Request { fallback: Some(server.document("/missing")), ..request(server.document("/500")) };
    let response = evaluator(true).evaluate(request).await;
    assert_eq!((steps(&response), codes(&response).len()), (None, 2));
}

/// RCML.md 3.2: `audio/*` is a Play of that URL, however long the sound is.
#[tokio::test]
async fn a_sound_is_played() {
    let server = Server::start().await;
    for path in ["/audio", "/long-audio"] {
        let response = evaluator(true).evaluate(request(server.document(path))).await;
        let play = Prompt::Play { url: format!("{}{path}", server.base), loops: 1 };
        assert_eq!((steps(&response), codes(&response)), (Some([Step::Prompt(play)].as_slice()), vec![]), "{path}");
    }
}

/// RCML.md 3.2: cookies are kept for the length of a call.
#[tokio::test]
async fn cookies() {
    let server = Server::start().await;
    let first = evaluator(true).evaluate(request(server.document("/cookie"))).await;
    let second = Request { cookies: first.cookies, ..request(server.document("/hangup")) };
    evaluator(true).evaluate(second).await;
    assert_eq!(server.log.lock().unwrap()[1].2, "call=1");
}

/// RCML.md 1.3: Dial in a screening document refuses it whole. RCML.md 1.5: an unused answer is not even read.
#[tokio::test]
async fn purposes() {
    let server = Server::start().await;
    let screening = Request { purpose: Purpose::Screening, ..request(server.document("/dial")) };
    let response = evaluator(true).evaluate(screening).await;
    assert_eq!(steps(&response), None);
    assert_eq!(codes(&response).last(), Some(&(Level::Error, 13201)));
    for path in ["/broken", "/large", "/audio", "/empty"] {
        let unused = Request { purpose: Purpose::Unused, ..request(server.document(path)) };
        let response = evaluator(true).evaluate(unused).await;
        assert_eq!((steps(&response), codes(&response)), (Some([].as_slice()), vec![]), "{path}");
    }
    let unused = Request { purpose: Purpose::Unused, ..request(server.document("/500")) };
    assert_eq!(codes(&evaluator(true).evaluate(unused).await), [(Level::Error, 11200)]);
}
