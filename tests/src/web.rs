//! A customer's web server: answers documents by path and records every request it gets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// The whole URL as the client saw it.
    pub url: String,
    /// Form or query parameters, in order.
    pub parameters: Vec<(String, String)>,
    /// Header names in lower case.
    pub headers: HashMap<String, String>,
    /// The body as sent.
    pub body: String,
    /// When it came.
    pub at: std::time::Instant,
}

impl Request {
    /// A parameter's value; panics where it is absent.
    pub fn parameter(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.parameters))
    }

    /// A parameter's value, where it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a path answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// 200 with this XML.
    Xml(String),
    /// This status and body.
    Status(u16, String),
    /// A file of this type, to be kept by caches for a minute.
    File(&'static str, Vec<u8>),
    /// A redirect (307) to this location.
    Redirect(String),
    /// Nothing for this long, then 200 and an empty document.
    Hang(Duration),
    /// The first so many requests get this status, later ones 200 with the XML.
    Flaky(u32, u16, String),
}

#[derive(Default)]
struct Shared {
    answers: HashMap<String, Answer>,
    requests: Vec<Request>,
    base: String,
}

/// A web server on a free port, with everything it was asked.
#[derive(Clone)]
pub struct Web {
    /// `http://127.0.0.1:port`
    pub base: String,
    shared: Arc<Mutex<Shared>>,
}

impl Web {
    /// Starts it; it ends with the test's runtime.
    pub async fn start() -> Web {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let base = format!("http://{address}");
        let shared = Arc::new(Mutex::new(Shared { base: base.clone(), ..Shared::default() }));
        let app = axum::Router::new().fallback(serve).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Web { base, shared }
    }

    /// Sets what a path answers; every other path answers an empty document.
    pub fn answer(&self, path: &str, answer: Answer) -> &Web {
        self.shared.lock().unwrap().answers.insert(path.to_owned(), answer);
        self
    }

    /// Sets the XML of a path. `BASE` in it stands for this server's URL.
    pub fn document(&self, path: &str, xml: &str) -> &Web {
        let xml = xml.replace("BASE", &self.base);
        self.answer(path, Answer::Xml(xml))
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Everything asked so far of a path.
    pub fn requests(&self, path: &str) -> Vec<Request> {
        self.shared.lock().unwrap().requests.iter().filter(|request| request.path == path).cloned().collect()
    }

    /// Every request so far.
    pub fn all(&self) -> Vec<Request> {
        self.shared.lock().unwrap().requests.clone()
    }

    /// Waits for at least `count` requests of a path and returns them.
    pub async fn wait(&self, path: &str, count: usize) -> Vec<Request> {
        let give_up = tokio::time::Instant::now() + crate::PATIENCE;
        loop {
            let seen = self.requests(path);
            if seen.len() >= count {
                return seen;
            }
            if tokio::time::Instant::now() > give_up {
                panic!("gave up waiting for {count} requests of {path}; all so far: {:#?}", self.all());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The callbacks of a path by leg, each leg's in order of sequence number, repetitions taken out by
    /// `Idempotency-Key`, as a receiver must count them (RCML.md 1.4).
    pub fn legs(&self, path: &str) -> HashMap<String, Vec<Request>> {
        let mut legs: HashMap<String, Vec<Request>> = HashMap::new();
        let mut seen = std::collections::HashSet::new();
        for request in self.requests(path) {
            if seen.insert(request.headers.get("idempotency-key").cloned().expect("callbacks carry an Idempotency-Key"))
            {
                legs.entry(request.parameter("CallSid").to_owned()).or_default().push(request);
            }
        }
        for events in legs.values_mut() {
            events.sort_by_key(|event| event.parameter("SequenceNumber").parse::<u32>().unwrap());
        }
        legs
    }

    /// Waits until `legs` legs have had their `completed` on this path, and returns all events by leg.
    pub async fn completed(&self, path: &str, legs: usize) -> HashMap<String, Vec<Request>> {
        let give_up = tokio::time::Instant::now() + crate::PATIENCE;
        loop {
            let seen = self.legs(path);
            let done = |events: &Vec<Request>| {
                let last = events.last().unwrap();
                let over = ["completed", "busy", "no-answer", "failed"].contains(&last.parameter("CallStatus"));
                over && last.get("CallDuration").is_some()
                    && last.parameter("SequenceNumber").parse::<usize>().unwrap() + 1 == events.len()
            };
            if seen.values().filter(|events| done(events)).count() >= legs {
                return seen;
            }
            if tokio::time::Instant::now() > give_up {
                panic!("gave up waiting for {legs} completed legs on {path}; so far: {seen:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn serve(
    State(shared): State<Arc<Mutex<Shared>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    let query = uri.query().unwrap_or_default();
    let form = if method == Method::POST { body.as_str() } else { query };
    let (answer, count) = {
        let mut shared = shared.lock().unwrap();
        let request = Request {
            method: method.to_string(),
            path: uri.path().to_owned(),
            url: format!("{}{uri}", shared.base),
            parameters: decode(form),
            headers: headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body,
            at: std::time::Instant::now(),
        };
        shared.requests.push(request);
        let count = shared.requests.iter().filter(|request| request.path == uri.path()).count() as u32;
        (shared.answers.get(uri.path()).cloned(), count)
    };
    let xml = |text: String| ([("content-type", "text/xml")], text).into_response();
    match answer {
        None => xml("<Response/>".to_owned()),
        Some(Answer::Xml(text)) => xml(text),
        Some(Answer::Status(code, text)) => (StatusCode::from_u16(code).unwrap(), text).into_response(),
        Some(Answer::File(kind, bytes)) => {
            ([("content-type", kind), ("cache-control", "max-age=60")], bytes).into_response()
        }
        Some(Answer::Redirect(location)) => (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response(),
        Some(Answer::Hang(time)) => {
            tokio::time::sleep(time).await;
            xml("<Response/>".to_owned())
        }
        Some(Answer::Flaky(times, code, text)) => {
            if count <= times {
                StatusCode::from_u16(code).unwrap().into_response()
            } else {
                xml(text)
            }
        }
    }
}

/// Decodes `application/x-www-form-urlencoded`, in order.
pub fn decode(form: &str) -> Vec<(String, String)> {
    let text = |part: &str| {
        let mut bytes = Vec::new();
        let mut rest = part.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'+' => bytes.push(b' '),
                b'%' => {
                    let hex: String = [rest.next(), rest.next()].into_iter().flatten().map(char::from).collect();
                    bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                }
                byte => bytes.push(byte),
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    form.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}
