//! Turns "this call needs the document at this URL" into a program (RCML.md 3.2): fetch, check, compile, and where the
//! first document of a call fails, its fallback.
//!
//! [`Evaluator::evaluate`] never fails: what went wrong is in the [`Response`].

use ringfork_rcml::evaluation::{Notice, Outcome, Purpose, Request, Response};
use ringfork_rcml::program::{DocumentRef, Method, Prompt, Step};
use ringfork_rcml::{Code, Program, compile, shown};
use ringfork_webhook::{Answer, AuthToken, Client, Failure, Jar, Limits, Reason, is_sound};
use url::Url;

/// The function with what it needs; made once per process.
#[derive(Clone)]
pub struct Evaluator {
    client: Client,
    token: AuthToken,
    limits: Limits,
}

impl Evaluator {
    /// With the account's token, which signs every request.
    pub fn new(client: Client, token: AuthToken) -> Self {
        Self { client, token, limits: Limits::DOCUMENT }
    }

    /// With other limits than RCML.md 3.2's; for tests.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Answers one request of an edge.
    pub async fn evaluate(&self, request: Request) -> Response {
        let mut jar = Jar::from_strings(&request.cookies);
        let mut notices = Vec::new();
        let Request { document, fallback, mut parameters, purpose, .. } = request;
        let mut outcome = self.load(&document, &parameters, purpose, &mut jar, &mut notices).await;
        if let (Err(code), Some(fallback)) = (&outcome, &fallback) {
            // RCML.md 3.2: the fallback learns why it is asked.
            parameters.push(("ErrorCode".to_owned(), code.to_string()));
            parameters.push(("ErrorUrl".to_owned(), shown_url(&document.url)));
            outcome = self.load(fallback, &parameters, purpose, &mut jar, &mut notices).await;
        }
        let outcome = outcome.map_or(Outcome::Failed, Outcome::Program);
        Response { outcome, cookies: jar.to_strings(), notices }
    }

    /// Fetches and compiles one document. On failure the last notice is the error whose number is returned.
    async fn load(
        &self,
        document: &DocumentRef,
        parameters: &[(String, String)],
        purpose: Purpose,
        jar: &mut Jar,
        notices: &mut Vec<Notice>,
    ) -> Result<Program, u32> {
        let unused = purpose == Purpose::Unused;
        let mut limits = self.limits;
        if unused {
            limits.max_body = None;
        }
        let request = ringfork_webhook::Request {
            method: method(document.method),
            url: &document.url,
            parameters,
            token: &self.token,
            idempotency_key: None,
            limits,
        };
        let compiled = match self.client.send(&request, jar).await {
            // RCML.md 1.5: the caller is gone, nothing of the answer is run.
            Ok(_) if unused => Ok(Program::default()),
            Ok(answer) => read(&answer, purpose, notices),
            Err(failure) => Err(failed(&failure)),
        };
        compiled.map_err(|error| {
            let code = error.code;
            notices.push(error);
            code
        })
    }
}

/// What a 2xx says. The body decides, not the Content-Type, but `audio/*` is a Play of that URL (RCML.md 3.2).
fn read(answer: &Answer, purpose: Purpose, notices: &mut Vec<Notice>) -> Result<Program, Notice> {
    let url = shown(&answer.url);
    if answer.content_type.as_deref().is_some_and(is_sound) {
        let play = Prompt::Play { url: answer.url.to_string(), loops: 1 };
        return Ok(Program { steps: vec![Step::Prompt(play)] });
    }
    let text = std::str::from_utf8(&answer.body)
        .map_err(|_| Code::Malformed.notice("the body is not UTF-8", Some(&url), None))?;
    let compiled = compile(text, &answer.url, purpose);
    notices.extend(compiled.warnings);
    compiled.program
}

fn failed(failure: &Failure) -> Notice {
    let code = match failure.reason {
        Reason::BadUrl => Code::BadUrl,
        Reason::Refused(_) => Code::AddressRefused,
        Reason::NoConnection(_) | Reason::Timeout => Code::HttpConnection,
        Reason::Protocol(_) => Code::HttpProtocol,
        Reason::Status(404) => Code::NotFound,
        Reason::Status(_) => Code::HttpStatus,
        Reason::TooManyRedirects | Reason::BadRedirect => Code::HttpRedirects,
        Reason::TooLarge(_) => Code::TooLarge,
    };
    code.notice(&failure.to_string(), Some(&failure.url), None)
}

fn method(method: Method) -> ringfork_webhook::Method {
    match method {
        Method::Get => ringfork_webhook::Method::Get,
        Method::Post => ringfork_webhook::Method::Post,
    }
}

fn shown_url(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| shown(&url))
}
