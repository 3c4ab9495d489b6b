//! The client: one request through redirects, second try, limits and guard (RCML.md 3.2).

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{
    CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LOCATION, SET_COOKIE,
};
use reqwest::{Response, redirect};
use url::{Host, Url, form_urlencoded};

use crate::clock::{Clock, SystemClock};
use crate::download::{Body, Download};
use crate::failure::{Failure, Reason};
use crate::guard::{GuardedResolver, Refused, is_public};
use crate::jar::Jar;
use crate::request::{Answer, Limits, Method, Request};
use crate::signature;

/// Redirects that are followed (RCML.md 3.2).
pub(crate) const MAX_REDIRECTS: usize = 5;
/// Most of an ignored body that is read for the sake of the connection.
const MAX_IGNORED_BODY: usize = 64 * 1024;
/// Longest that such reading takes.
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// Shorter than the 5 s after which common servers (Node.js, Apache) close an idle connection, so that a request is
/// rarely written into one that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(4);
/// Idle connections kept to one host.
const POOL_MAX_IDLE: usize = 32;
/// `User-Agent` of every request.
const USER_AGENT: &str = concat!("Ringfork/", env!("CARGO_PKG_VERSION"));

const TWILIO_SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-signature");
const RESTCOMM_SIGNATURE: HeaderName = HeaderName::from_static("x-restcomm-signature");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What does not change from request to request.
#[derive(Clone)]
pub struct Config {
    /// The address guard: whether a URL may lead to this address.
    pub allow: fn(IpAddr) -> bool,
    /// For one connection, name resolution and TLS included (RCML.md 3.2: 5 s).
    pub connect_timeout: Duration,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

impl Default for Config {
    fn default() -> Self {
        Self { allow: is_public, connect_timeout: Duration::from_secs(5), clock: Arc::new(SystemClock) }
    }
}

impl Config {
    /// The defaults, or with `--allow-private-urls` any address.
    pub fn allowing_private(allow: bool) -> Self {
        let any: fn(IpAddr) -> bool = |_| true;
        Self { allow: if allow { any } else { is_public }, ..Self::default() }
    }
}

/// The client. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    allow: fn(IpAddr) -> bool,
}

/// The client could not be made: no usable TLS configuration on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be made: {0}")]
pub struct BuildError(#[from] reqwest::Error);

/// What of a request stays the same on every hop.
struct Prepared<'a> {
    request: &'a Request<'a>,
    form: String,
    /// Beyond those that every request carries.
    headers: &'a HeaderMap,
    /// 304 is an answer: the headers ask for it.
    conditional: bool,
}

impl Client {
    /// Makes one; it keeps connections for all requests of the process. No proxy is taken from the environment.
    ///
    /// # Errors
    /// When TLS cannot be set up (no root certificates).
    pub fn new(config: Config) -> Result<Self, BuildError> {
        crate::install_crypto_provider();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(USER_AGENT)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_MAX_IDLE)
            .tcp_nodelay(true)
            .dns_resolver(GuardedResolver { allow: config.allow })
            .build()?;
        Ok(Self { http, clock: config.clock, allow: config.allow })
    }

    /// Sends a request and follows its redirects; only a 2xx is an answer.
    ///
    /// # Errors
    /// Everything else, with the URL of the hop where it happened.
    pub async fn send(&self, request: &Request<'_>, jar: &mut Jar) -> Result<Answer, Failure> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(request.parameters).finish();
        let mut url =
            Url::parse(request.url).map_err(|_| Failure { url: request.url.to_owned(), reason: Reason::BadUrl })?;
        let headers = HeaderMap::new();
        let prepared = Prepared { request, form, headers: &headers, conditional: false };
        let whole = async {
            let response = self.follow(&prepared, &mut url, jar).await?;
            self.answer(request, response, url.clone()).await
        };
        let outcome = tokio::time::timeout(request.limits.total, whole).await.unwrap_or(Err(Reason::Timeout));
        outcome.map_err(|reason| Failure { url: without_credentials(&url).into(), reason })
    }

    /// Asks for a file and returns once its head is there; the body is read chunk by chunk, as fast as its reader
    /// wants. As [`Client::send`], but bounded by size and silence instead of by a total.
    ///
    /// # Errors
    /// As [`Client::send`]. 304 is an answer where `download.headers` hold a condition.
    pub async fn download(&self, download: &Download<'_>) -> Result<Body, Failure> {
        let url = Url::parse(download.url);
        let mut url = url.map_err(|_| Failure { url: download.url.to_owned(), reason: Reason::BadUrl })?;
        let limits = Limits { total: download.limits.head, reconnect: true, max_body: None, skip_sound: false };
        let request = Request {
            method: Method::Get,
            url: download.url,
            parameters: &[],
            token: download.token,
            idempotency_key: None,
            limits,
        };
        let conditional =
            download.headers.contains_key(IF_NONE_MATCH) || download.headers.contains_key(IF_MODIFIED_SINCE);
        let prepared = Prepared { request: &request, form: String::new(), headers: download.headers, conditional };
        let mut jar = Jar::default();
        let head = self.follow(&prepared, &mut url, &mut jar);
        let outcome = tokio::time::timeout(limits.total, head).await.unwrap_or(Err(Reason::Timeout));
        let response = outcome.map_err(|reason| Failure { url: without_credentials(&url).into(), reason })?;
        Body::new(response, url, download.limits)
    }

    /// Leaves in `url` the hop that it came to.
    async fn follow(&self, prepared: &Prepared<'_>, url: &mut Url, jar: &mut Jar) -> Result<Response, Reason> {
        let mut reconnect = prepared.request.limits.reconnect;
        for hop in 0..=MAX_REDIRECTS {
            url.set_fragment(None);
            let response = loop {
                match self.hop(prepared, url, hop > 0, jar).await {
                    Err(Reason::NoConnection(_)) if reconnect => reconnect = false,
                    other => break other?,
                }
            };
            for cookie in response.headers().get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
                jar.keep(cookie, url);
            }
            let status = response.status().as_u16();
            match status {
                200..=299 => return Ok(response),
                304 if prepared.conditional => return Ok(response),
                301 | 302 | 303 | 307 | 308 => {
                    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                    let target = location.and_then(|text| url.join(text).ok()).ok_or(Reason::BadRedirect)?;
                    drain(response).await;
                    *url = target;
                }
                _ => {
                    tokio::spawn(drain(response));
                    return Err(Reason::Status(status));
                }
            }
        }
        Err(Reason::TooManyRedirects)
    }

    /// One request on the wire, signed for what it is.
    async fn hop(&self, prepared: &Prepared<'_>, url: &Url, redirected: bool, jar: &Jar) -> Result<Response, Reason> {
        self.check(url)?;
        let request = prepared.request;
        let mut target = url.clone();
        let (method, body, form): (_, &str, &[(String, String)]) = match request.method {
            Method::Post => (reqwest::Method::POST, &prepared.form, request.parameters),
            Method::Get => {
                append(&mut target, request.parameters, redirected);
                (reqwest::Method::GET, "", &[])
            }
        };
        let signed = without_credentials(&target);
        let mut headers = prepared.headers.clone();
        let mut set = |name: HeaderName, value: &str| {
            // Everything here is visible ASCII; what is not would be left out rather than break the line.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(TWILIO_SIGNATURE, &signature::twilio(request.token, signed.as_str(), form));
        let now = self.clock.unix_seconds();
        set(
            RESTCOMM_SIGNATURE,
            &signature::restcomm(request.token, now, request.method, signed.as_str(), body.as_bytes()),
        );
        if request.method == Method::Post {
            set(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(key) = request.idempotency_key {
            set(IDEMPOTENCY_KEY, key);
        }
        if let Some(cookies) = jar.header(url) {
            set(COOKIE, &cookies);
        }
        let mut builder = self.http.request(method, target).headers(headers);
        if request.method == Method::Post {
            builder = builder.body(body.to_owned());
        }
        builder.send().await.map_err(reason)
    }

    /// Scheme and literal address; names are asked about when they are resolved.
    fn check(&self, url: &Url) -> Result<(), Reason> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Reason::BadUrl);
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(Reason::BadUrl),
        };
        if (self.allow)(literal) { Ok(()) } else { Err(Reason::Refused(literal)) }
    }

    async fn answer(&self, request: &Request<'_>, mut response: Response, url: Url) -> Result<Answer, Reason> {
        let status = response.status().as_u16();
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        let sound = request.limits.skip_sound && content_type.as_deref().is_some_and(is_sound);
        match request.limits.max_body {
            // The connection is given up with what is still to come.
            _ if sound => drop(response),
            // Behind our back: what it does now cannot make a delivered request late.
            None => drop(tokio::spawn(drain(response))),
            Some(limit) => {
                if response.content_length().is_some_and(|length| length > limit as u64) {
                    return Err(Reason::TooLarge(limit));
                }
                while let Some(chunk) = response.chunk().await.map_err(reason)? {
                    if body.len() + chunk.len() > limit {
                        return Err(Reason::TooLarge(limit));
                    }
                    body.extend_from_slice(&chunk);
                }
            }
        }
        Ok(Answer { status, url, content_type, body })
    }
}

/// Whether this Content-Type is `audio/*`.
pub fn is_sound(content_type: &str) -> bool {
    content_type.trim_start().get(..6).is_some_and(|start| start.eq_ignore_ascii_case("audio/"))
}

/// Reads what is left of a small body, so that the connection can be used again; a long or slow one costs it.
async fn drain(mut response: Response) {
    let read = async {
        let mut left = MAX_IGNORED_BODY;
        while let Ok(Some(chunk)) = response.chunk().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, read).await;
}

/// Appends parameters to the query. A redirect target that took the query along has them already.
fn append(url: &mut Url, parameters: &[(String, String)], redirected: bool) {
    let there: Vec<(String, String)> = if redirected {
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    } else {
        Vec::new()
    };
    let missing: Vec<&(String, String)> = parameters.iter().filter(|pair| !there.contains(pair)).collect();
    if !missing.is_empty() {
        url.query_pairs_mut().extend_pairs(missing.into_iter().map(|(name, value)| (name, value)));
    }
}

/// A URL as it is signed and shown: receivers cannot see its user name and password in the request line.
pub(crate) fn without_credentials(url: &Url) -> Url {
    let mut bare = url.clone();
    // These fail only for URLs that cannot have credentials.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare
}

/// Sorts the HTTP client's errors. Their texts name no URL.
pub(crate) fn reason(error: reqwest::Error) -> Reason {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(Refused(address)) = cause.downcast_ref::<Refused>() {
            return Reason::Refused(*address);
        }
        source = cause.source();
    }
    if error.is_connect() {
        return Reason::NoConnection(root_cause(&error));
    }
    if error.is_timeout() {
        return Reason::Timeout;
    }
    if error.is_builder() {
        return Reason::BadUrl;
    }
    Reason::Protocol(root_cause(&error))
}

/// The innermost cause says what happened; the layers around it only say where.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
