//! `Calls`: calls and legs, as they are and as they were.

use ringfork_state::event::rfc2822;
use ringfork_state::{Call, CallFilter, CallSid, CallStatus};
use time::{Date, OffsetDateTime, macros::format_description};

use crate::Api;
use crate::error::ApiError;
use crate::form::Form;
use crate::page::{asked, list as page_of};
use crate::render::{Fields, Reply, Value};
use crate::route::{API_VERSION, Kind, Links};

pub(crate) async fn list(api: &Api, query: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    let asked = asked(query, "CA")?;
    let (created_from, created_until) = period(query)?;
    let status = match query.filter("Status") {
        None => None,
        Some(text) => Some(CallStatus::parse(text).ok_or_else(|| ApiError::bad("Status", "is not a call's status"))?),
    };
    let filter = CallFilter {
        status,
        from: query.number("From"),
        to: query.number("To"),
        created_from,
        created_until,
        parent: sid_filter(query, "ParentCallSid")?,
    };
    let page = api.calls.calls(&filter, &asked.request).await?;
    Ok(page_of(Kind::Calls, page, &asked, query, links, |call| show(call, links)))
}

pub(crate) async fn get(api: &Api, sid: &str, links: &Links<'_>) -> Result<Reply, ApiError> {
    let found = match sid.parse::<CallSid>() {
        Ok(sid) => api.calls.call(sid).await?,
        Err(_) => None,
    };
    let call = found.ok_or_else(|| ApiError::unknown("call"))?;
    Ok(Reply::One("Call", show(&call, links)))
}

/// A filter by CallSid.
pub(crate) fn sid_filter(query: &Form, name: &str) -> Result<Option<CallSid>, ApiError> {
    query.filter(name).map(|text| text.parse().map_err(|_| ApiError::bad(name, "is not a CallSid"))).transpose()
}

/// `StartTime` and `EndTime`: days, both included, or moments (RFC 3339), the first included. `StartTime>` and
/// `StartTime<` say the same.
pub(crate) fn period(query: &Form) -> Result<(Option<u64>, Option<u64>), ApiError> {
    let read = |names: &[&str], end: bool| {
        let given = names.iter().find_map(|name| query.filter(name).map(|text| (*name, text)));
        given.map(|(name, text)| moment(name, text, end)).transpose()
    };
    Ok((read(&["StartTime", "StartTime>"], false)?, read(&["EndTime", "StartTime<"], true)?))
}

fn moment(name: &str, text: &str, end: bool) -> Result<u64, ApiError> {
    let bad = || ApiError::bad(name, "is neither a day (YYYY-MM-DD) nor a moment (RFC 3339)");
    let moment = match Date::parse(text, format_description!("[year]-[month]-[day]")) {
        Ok(day) => {
            let day = if end { day.next_day().ok_or_else(bad)? } else { day };
            day.midnight().assume_utc()
        }
        Err(_) => OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).map_err(|_| bad())?,
    };
    u64::try_from(moment.unix_timestamp()).map_err(|_| bad())
}

fn seconds(from: u64, until: u64) -> String {
    (until.saturating_sub(from) / 1000).to_string()
}

fn show(call: &Call, links: &Links<'_>) -> Fields {
    let about = &call.description;
    let sid = about.sid.to_string();
    let (created, answered, ended) = (about.created_unix_ms, call.answered_unix_ms, call.ended_unix_ms);
    // RCML.md 1.4: from answer to end, 0 if never answered; nothing while it is up.
    let duration = ended.map(|ended| answered.map_or_else(|| "0".to_owned(), |answered| seconds(answered, ended)));
    let ringing = answered.or(ended).map(|until| seconds(created, until));
    Fields::default()
        .with("sid", sid.as_str())
        .with("date_created", rfc2822(created))
        .with("date_updated", rfc2822(ended.or(answered).unwrap_or(created)))
        .with("parent_call_sid", about.parent.map(|parent| parent.to_string()))
        .with("account_sid", call.account_sid.as_str())
        .with("to", about.to.as_str())
        .with("from", about.from.as_str())
        .with("phone_number_sid", Value::Null)
        .with("status", call.status.as_str())
        .with("start_time", rfc2822(created))
        .with("end_time", ended.map(rfc2822))
        .with("duration", duration)
        .with("price", Value::Null)
        .with("price_unit", Value::Null)
        .with("direction", about.direction.as_str())
        .with("answered_by", Value::Null)
        .with("api_version", API_VERSION)
        .with("forwarded_from", about.forwarded_from.clone())
        .with("caller_name", about.caller_name.clone())
        .with("ring_duration", ringing)
        .with("uri", links.one(Kind::Calls, &sid))
        .with("subresource_uris", Value::Object(subresources(&sid, links)))
}

fn subresources(sid: &str, links: &Links<'_>) -> Fields {
    Fields::default()
        .with("notifications", links.of_call(Kind::Notifications, sid))
        .with("recordings", links.of_call(Kind::Recordings, sid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods() {
        let period = |query: &str| period(&Form::parse(query.as_bytes()).unwrap());
        assert_eq!(period(""), Ok((None, None)));
        assert_eq!(period("StartTime=1970-01-02&EndTime=1970-01-02"), Ok((Some(86_400), Some(172_800))));
        assert_eq!(period("StartTime%3E=1970-01-01T00:01:00Z"), Ok((Some(60), None)));
        for bad in ["StartTime=yesterday", "EndTime=2026-13-01", "StartTime=1969-01-01", "EndTime=9999-12-31"] {
            assert_eq!(period(bad).map_err(|error| error.status.as_u16()), Err(400), "{bad}");
        }
    }
}
