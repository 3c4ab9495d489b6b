//! `Applications`: named documents that clients and numbers refer to.

use ringfork_state::event::rfc2822;
use ringfork_state::{Account, Application, StoreError, sid};

use crate::error::ApiError;
use crate::form::Form;
use crate::page::{asked, list as page_of};
use crate::render::{Fields, Reply};
use crate::route::{API_VERSION, Kind, Links};
use crate::{Api, Change};

/// How often a change is tried again that met another one.
const TRIES: usize = 4;

pub(crate) async fn list(api: &Api, query: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    let asked = asked(query, "AP")?;
    let page = api.directory.applications(&asked.request).await?;
    Ok(page_of(Kind::Applications, page, &asked, query, links, |application| show(application, links)))
}

pub(crate) async fn get(api: &Api, sid: &str, links: &Links<'_>) -> Result<Reply, ApiError> {
    Ok(Reply::One("Application", show(&find(api, sid).await?, links)))
}

pub(crate) async fn create(api: &Api, account: &Account, form: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    form.required("FriendlyName")?;
    let now = api.environment.unix_ms();
    let mut application = Application {
        sid: sid::resource(*b"AP", now, api.environment.random()),
        account_sid: account.sid.clone(),
        friendly_name: String::new(),
        rcml_url: None,
        kind: "voice".to_owned(),
        voice_caller_id_lookup: false,
        created_unix_ms: now,
        updated_unix_ms: now,
        version: 0,
    };
    fill(form, &mut application)?;
    api.directory.create_application(&application).await?;
    Ok(Reply::One("Application", show(&application, links)))
}

pub(crate) async fn update(api: &Api, sid: &str, form: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    for _ in 0..TRIES {
        let mut application = find(api, sid).await?;
        fill(form, &mut application)?;
        application.updated_unix_ms = api.environment.unix_ms();
        match api.directory.update_application(&application).await {
            Err(StoreError::Conflict) => continue,
            Err(StoreError::NotFound) => return Err(ApiError::unknown("application")),
            other => other?,
        };
        api.changes.changed(Change::Application { sid: application.sid.clone() });
        return Ok(Reply::One("Application", show(&application, links)));
    }
    Err(StoreError::Conflict.into())
}

pub(crate) async fn delete(api: &Api, sid: &str) -> Result<Reply, ApiError> {
    find(api, sid).await?;
    match api.directory.delete_application(sid).await {
        Err(StoreError::NotFound) => return Err(ApiError::unknown("application")),
        other => other?,
    };
    api.changes.changed(Change::Application { sid: sid.to_owned() });
    Ok(Reply::Gone)
}

async fn find(api: &Api, sid: &str) -> Result<Application, ApiError> {
    let found = if sid::parse("AP", sid).is_ok() { api.directory.application(sid).await? } else { None };
    found.ok_or_else(|| ApiError::unknown("application"))
}

/// Writes what the form holds over the application.
fn fill(form: &Form, application: &mut Application) -> Result<(), ApiError> {
    if let Some(name) = form.name("FriendlyName")? {
        application.friendly_name = name.to_owned();
    }
    if let Some(url) = form.url("RcmlUrl")? {
        application.rcml_url = url;
    }
    match form.filter("Kind") {
        None => {}
        Some(kind @ ("voice" | "sms" | "ussd")) => application.kind = kind.to_owned(),
        Some(_) => return Err(ApiError::bad("Kind", "is none of voice, sms, ussd")),
    }
    // The documents name it both ways.
    for name in ["VoiceCallerIdLookup", "HasVoiceCallerIdLookup"] {
        if let Some(lookup) = form.boolean(name)? {
            application.voice_caller_id_lookup = lookup;
        }
    }
    Ok(())
}

fn show(application: &Application, links: &Links<'_>) -> Fields {
    Fields::default()
        .with("sid", application.sid.as_str())
        .with("date_created", rfc2822(application.created_unix_ms))
        .with("date_updated", rfc2822(application.updated_unix_ms))
        .with("friendly_name", application.friendly_name.as_str())
        .with("account_sid", application.account_sid.as_str())
        .with("api_version", API_VERSION)
        .with("voice_caller_id_lookup", application.voice_caller_id_lookup)
        .with("uri", links.one(Kind::Applications, &application.sid))
        .with("rcml_url", application.rcml_url.clone())
        .with("kind", application.kind.as_str())
}
