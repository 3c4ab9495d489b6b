//! `Notifications`: the warnings and errors of running documents and of status callbacks.

use ringfork_state::event::rfc2822;
use ringfork_state::{CallSid, Level, Notification, NotificationFilter, sid};

use crate::Api;
use crate::call::{period, sid_filter};
use crate::error::ApiError;
use crate::form::Form;
use crate::page::{asked, list as page_of};
use crate::render::{Fields, Reply, Value};
use crate::route::{API_VERSION, Kind, Links};

/// Where codes are explained.
const CODES: &str = "https://github.com/ringfork/ringfork/blob/main/docs/rcml.md#codes";

pub(crate) async fn list(api: &Api, call: Option<&String>, query: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    let asked = asked(query, "NO")?;
    let (from, until) = period(query)?;
    let call = match call {
        Some(sid) => Some(sid.parse::<CallSid>().map_err(|_| ApiError::unknown("call"))?),
        None => sid_filter(query, "CallSid")?,
    };
    let filter = NotificationFilter { call, from, until };
    let page = api.notifications.notifications(&filter, &asked.request).await?;
    Ok(page_of(Kind::Notifications, page, &asked, query, links, |found| show(found, links)))
}

pub(crate) async fn get(api: &Api, sid: &str, links: &Links<'_>) -> Result<Reply, ApiError> {
    let found = if sid::parse("NO", sid).is_ok() { api.notifications.notification(sid).await? } else { None };
    let notification = found.ok_or_else(|| ApiError::unknown("notification"))?;
    Ok(Reply::One("Notification", show(&notification, links)))
}

fn show(notification: &Notification, links: &Links<'_>) -> Fields {
    let date = rfc2822(notification.unix_ms);
    let log: u64 = match notification.level {
        Level::Error => 0,
        Level::Warning => 1,
    };
    let text = match notification.line {
        Some(line) => format!("line {line}: {}", notification.message),
        None => notification.message.clone(),
    };
    Fields::default()
        .with("sid", notification.sid.as_str())
        .with("date_created", date.as_str())
        .with("date_updated", date.as_str())
        .with("account_sid", notification.account_sid.as_str())
        .with("call_sid", notification.call.to_string())
        .with("api_version", API_VERSION)
        .with("log", log)
        .with("error_code", u64::from(notification.code))
        .with("more_info", CODES)
        .with("message_text", text)
        .with("message_date", date.as_str())
        .with("request_url", notification.url.clone())
        .with("request_method", Value::Null)
        .with("request_variables", Value::Null)
        .with("response_headers", Value::Null)
        .with("response_body", Value::Null)
        .with("uri", links.one(Kind::Notifications, &notification.sid))
}
