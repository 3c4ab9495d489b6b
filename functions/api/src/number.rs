//! `IncomingPhoneNumbers`: numbers that calls may come to.

use ringfork_state::event::rfc2822;
use ringfork_state::{Account, Number, StoreError, sid};

use crate::error::ApiError;
use crate::form::Form;
use crate::page::{asked, list as page_of, single};
use crate::render::{Fields, Reply, Value};
use crate::route::{API_VERSION, Kind, Links};
use crate::{Api, Change};

/// How often a change is tried again that met another one.
const TRIES: usize = 4;
/// Longest number.
const MAX_NUMBER: usize = 64;
/// Said while it is so.
const NO_STATUS_CALLBACK: &str = "StatusCallback of a number is stored, but not requested yet";

pub(crate) async fn list(api: &Api, query: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    let asked = asked(query, "PN")?;
    let page = match query.number("PhoneNumber") {
        Some(number) => single(api.directory.number_by_phone_number(&plain(&number)).await?),
        None => api.directory.numbers(&asked.request).await?,
    };
    Ok(page_of(Kind::Numbers, page, &asked, query, links, |number| show(number, links)))
}

pub(crate) async fn get(api: &Api, sid: &str, links: &Links<'_>) -> Result<Reply, ApiError> {
    Ok(Reply::One("IncomingPhoneNumber", show(&find(api, sid).await?, links)))
}

pub(crate) async fn create(api: &Api, account: &Account, form: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    let Some(given) = form.number("PhoneNumber") else {
        return Err(match form.filter("AreaCode") {
            Some(_) => ApiError::bad("AreaCode", "numbers cannot be bought here; give PhoneNumber"),
            None => ApiError::missing("PhoneNumber"),
        });
    };
    let phone_number = plain(&given);
    let sayable = |c: char| c.is_ascii_alphanumeric() || "+*#-_.".contains(c);
    if phone_number.len() > MAX_NUMBER || !phone_number.chars().all(sayable) || phone_number == "+" {
        return Err(ApiError::bad("PhoneNumber", "may hold up to 64 digits, letters and +*#-_. only"));
    }
    let now = api.environment.unix_ms();
    let mut number = Number {
        sid: sid::resource(*b"PN", now, api.environment.random()),
        account_sid: account.sid.clone(),
        friendly_name: phone_number.clone(),
        phone_number,
        voice: Default::default(),
        voice_caller_id_lookup: false,
        status_callback: None,
        status_callback_method: Default::default(),
        created_unix_ms: now,
        updated_unix_ms: now,
        version: 0,
    };
    fill(api, form, &mut number).await?;
    match api.directory.create_number(&number).await {
        Err(StoreError::Conflict) => return Err(ApiError::taken("PhoneNumber")),
        other => other?,
    }
    Ok(changed(api, &number, links))
}

pub(crate) async fn update(api: &Api, sid: &str, form: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    for _ in 0..TRIES {
        let mut number = find(api, sid).await?;
        if form.number("PhoneNumber").is_some_and(|given| plain(&given) != number.phone_number) {
            return Err(ApiError::bad("PhoneNumber", "cannot be changed"));
        }
        fill(api, form, &mut number).await?;
        number.updated_unix_ms = api.environment.unix_ms();
        match api.directory.update_number(&number).await {
            Err(StoreError::Conflict) => continue,
            Err(StoreError::NotFound) => return Err(ApiError::unknown("number")),
            other => other?,
        };
        return Ok(changed(api, &number, links));
    }
    Err(StoreError::Conflict.into())
}

pub(crate) async fn delete(api: &Api, sid: &str) -> Result<Reply, ApiError> {
    find(api, sid).await?;
    let number = match api.directory.delete_number(sid).await {
        Err(StoreError::NotFound) => return Err(ApiError::unknown("number")),
        other => other?,
    };
    api.changes.changed(Change::Number { phone_number: number.phone_number });
    Ok(Reply::Gone)
}

fn changed(api: &Api, number: &Number, links: &Links<'_>) -> Reply {
    api.changes.changed(Change::Number { phone_number: number.phone_number.clone() });
    let fields = show(number, links);
    if number.status_callback.is_some() {
        tracing::warn!(number = number.phone_number, "{NO_STATUS_CALLBACK}");
        return Reply::Warned("IncomingPhoneNumber", fields, NO_STATUS_CALLBACK);
    }
    Reply::One("IncomingPhoneNumber", fields)
}

async fn find(api: &Api, sid: &str) -> Result<Number, ApiError> {
    let found = if sid::parse("PN", sid).is_ok() { api.directory.number_by_sid(sid).await? } else { None };
    found.ok_or_else(|| ApiError::unknown("number"))
}

/// A number for people to read loses its visual separators; a name (`support`, `desk-7`) stays as it is.
fn plain(given: &str) -> String {
    let kept: String = given.chars().filter(|c| !c.is_whitespace() && !"-.()".contains(*c)).collect();
    let digits = kept.strip_prefix('+').unwrap_or(&kept);
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '*' || c == '#');
    if is_number { kept } else { given.to_owned() }
}

/// Writes what the form holds over the number.
async fn fill(api: &Api, form: &Form, number: &mut Number) -> Result<(), ApiError> {
    if let Some(name) = form.name("FriendlyName")? {
        number.friendly_name = name.to_owned();
    }
    if let Some(url) = form.url("StatusCallback")? {
        number.status_callback = url;
    }
    if let Some(method) = form.method("StatusCallbackMethod")? {
        number.status_callback_method = method;
    }
    if let Some(lookup) = form.boolean("VoiceCallerIdLookup")? {
        number.voice_caller_id_lookup = lookup;
    }
    form.voice(&mut number.voice, &*api.directory).await
}

fn show(number: &Number, links: &Links<'_>) -> Fields {
    let capabilities = Fields::default()
        .with("voice_capable", true)
        .with("sms_capable", false)
        .with("mms_capable", false)
        .with("fax_capable", false);
    Fields::default()
        .with("sid", number.sid.as_str())
        .with("account_sid", number.account_sid.as_str())
        .with("friendly_name", number.friendly_name.as_str())
        .with("phone_number", number.phone_number.as_str())
        .with("voice_url", number.voice.url.clone())
        .with("voice_method", number.voice.method.as_str())
        .with("voice_fallback_url", number.voice.fallback_url.clone())
        .with("voice_fallback_method", number.voice.fallback_method.as_str())
        .with("status_callback", number.status_callback.clone())
        .with("status_callback_method", number.status_callback_method.as_str())
        .with("voice_caller_id_lookup", number.voice_caller_id_lookup)
        .with("voice_application_sid", number.voice.application_sid.clone())
        .with("date_created", rfc2822(number.created_unix_ms))
        .with("date_updated", rfc2822(number.updated_unix_ms))
        .with("capabilities", Value::Object(capabilities))
        .with("api_version", API_VERSION)
        .with("uri", links.one(Kind::Numbers, &number.sid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_go_from_numbers_only() {
        for (given, kept) in [("+1 (555) 010-0.1", "+155501001"), ("*31#", "*31#"), ("desk-7", "desk-7"), ("+", "+")] {
            assert_eq!(plain(given), kept);
        }
    }
}
