//! The REST API (RCML.md 3.4): `/restcomm/2012-04-24/Accounts/{AccountSid}/…`, and the same under `/2010-04-01/`.
//!
//! [`handle`] answers one request over an [`Api`], which holds the store by its narrow traits. It runs behind any HTTP
//! server; whoever calls it bounds the body ([`MAX_BODY`]) before reading it. [`Changes`] tells an edge in the same
//! process at once of what was changed; an edge elsewhere learns it within a minute.

mod account;
mod application;
mod auth;
mod call;
mod client;
mod environment;
mod error;
mod form;
pub mod lambda;
mod notification;
mod number;
mod page;
mod recording;
mod render;
mod route;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use ringfork_state::{CallQueries, DirectoryAdmin, Notifications, Recordings};

pub use auth::token_hash;
pub use client::{Ha1, check_login, ha1};
pub use environment::{Environment, SystemEnvironment};
pub use recording::{RecordingFiles, SoundBody};

use error::ApiError;
use form::Form;
use render::{Reply, render, render_error};
use route::{Kind, Links, Route, Target};

/// Longest request body in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// What REST has changed. Called after the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A client was made, changed or deleted; deleted ends its bindings.
    Client {
        /// Its login.
        login: String,
        /// It is gone.
        deleted: bool,
    },
    /// A number was made, changed or deleted.
    Number {
        /// As provisioned.
        phone_number: String,
    },
    /// An application was changed or deleted: clients and numbers that name it have another document.
    Application {
        /// Its SID.
        sid: String,
    },
}

/// Who learns of changes at once.
pub trait Changes: Send + Sync {
    /// Must not block.
    fn changed(&self, change: Change);
}

/// Nobody: on Lambda, edges learn by the age of what they cached.
impl Changes for () {
    fn changed(&self, _: Change) {}
}

/// What the REST API works on.
#[derive(Clone)]
pub struct Api {
    /// Accounts, clients, applications, numbers.
    pub directory: Arc<dyn DirectoryAdmin>,
    /// Calls and legs.
    pub calls: Arc<dyn CallQueries>,
    /// Warnings and errors.
    pub notifications: Arc<dyn Notifications>,
    /// Recordings.
    pub recordings: Arc<dyn Recordings>,
    /// Their sound.
    pub files: Arc<dyn RecordingFiles>,
    /// Who learns of changes at once.
    pub changes: Arc<dyn Changes>,
    /// Time and randomness.
    pub environment: Arc<dyn Environment>,
}

/// Answers one request. Never fails: what went wrong is in the response. A response with a [`SoundBody`] among its
/// extensions has that for its body; whoever sends it reads the file.
pub async fn handle(api: &Api, request: Request<Bytes>) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let target = route::parse(parts.uri.path());
    // Sound has one form, and its errors are the resource's.
    let suffixed = parts.uri.path().ends_with(".json") || target.as_ref().is_some_and(|target| target.json);
    let json = suffixed || accepts_json(&parts.headers);
    let outcome = match &target {
        Some(target) => {
            let query = parts.uri.query().unwrap_or_default();
            let links = Links { base: &target.base, json, path: parts.uri.path(), query };
            respond(api, target, &parts.method, &parts.headers, &body, links).await
        }
        None => Err(ApiError::not_found("no such path")),
    };
    let mut response = match outcome {
        Ok(reply) => render(reply, json),
        Err(error) => render_error(&error, json),
    };
    if parts.method == Method::HEAD {
        *response.body_mut() = Bytes::new();
        response.extensions_mut().remove::<SoundBody>();
    }
    response
}

async fn respond(
    api: &Api,
    target: &Target,
    method: &Method,
    headers: &HeaderMap,
    body: &Bytes,
    links: Links<'_>,
) -> Result<Reply, ApiError> {
    let account = auth::check(api, headers, &target.account).await?;
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    target.route.check_method(method)?;
    let query = Form::parse(links.query.as_bytes())?;
    let form =
        if *method == Method::POST || *method == Method::PUT { read_form(headers, body)? } else { Form::default() };
    let get = *method == Method::GET;
    let delete = *method == Method::DELETE;
    let (api, query, links, form, account) = (api, &query, &links, &form, &account);
    match &target.route {
        Route::Account => Ok(account::get(account, links)),
        Route::List(Kind::Clients) if get => client::list(api, query, links).await,
        Route::List(Kind::Clients) => client::create(api, account, form, links).await,
        Route::One(Kind::Clients, sid) if get => client::get(api, sid, links).await,
        Route::One(Kind::Clients, sid) if delete => client::delete(api, sid).await,
        Route::One(Kind::Clients, sid) => client::update(api, account, sid, form, links).await,
        Route::List(Kind::Applications) if get => application::list(api, query, links).await,
        Route::List(Kind::Applications) => application::create(api, account, form, links).await,
        Route::One(Kind::Applications, sid) if get => application::get(api, sid, links).await,
        Route::One(Kind::Applications, sid) if delete => application::delete(api, sid).await,
        Route::One(Kind::Applications, sid) => application::update(api, sid, form, links).await,
        Route::List(Kind::Numbers) if get => number::list(api, query, links).await,
        Route::List(Kind::Numbers) => number::create(api, account, form, links).await,
        Route::One(Kind::Numbers, sid) if get => number::get(api, sid, links).await,
        Route::One(Kind::Numbers, sid) if delete => number::delete(api, sid).await,
        Route::One(Kind::Numbers, sid) => number::update(api, sid, form, links).await,
        Route::List(Kind::Calls) => call::list(api, query, links).await,
        Route::One(Kind::Calls, sid) => call::get(api, sid, links).await,
        Route::List(Kind::Recordings) => recording::list(api, None, query, links).await,
        Route::One(Kind::Recordings, sid) if delete => recording::delete(api, sid).await,
        Route::One(Kind::Recordings, sid) => recording::get(api, sid, links).await,
        Route::Sound(sid) if delete => recording::delete(api, sid).await,
        Route::Sound(sid) => recording::sound(api, sid, headers).await,
        Route::List(Kind::Notifications) => notification::list(api, None, query, links).await,
        Route::OfCall(Kind::Recordings, sid) => recording::list(api, Some(sid), query, links).await,
        Route::OfCall(_, sid) => notification::list(api, Some(sid), query, links).await,
        Route::One(Kind::Notifications, sid) => notification::get(api, sid, links).await,
    }
}

/// The form of a POST: 413 and 415 where they belong.
fn read_form(headers: &HeaderMap, body: &Bytes) -> Result<Form, ApiError> {
    if body.len() > MAX_BODY {
        return Err(ApiError::too_large());
    }
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !body.is_empty() && !media.is_empty() && !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(ApiError::unsupported_media());
    }
    Form::parse(body)
}

/// Whether Accept names JSON, and no XML before it.
fn accepts_json(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accept
        .flat_map(|list| list.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .find_map(|range| match range {
            "application/json" => Some(true),
            "application/xml" | "text/xml" => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}
