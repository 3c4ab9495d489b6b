//! `Accounts/{AccountSid}`: the deployment's one account. Its token never comes out.

use ringfork_state::Account;
use ringfork_state::event::rfc2822;

use crate::render::{Fields, Reply, Value};
use crate::route::{Kind, Links};

pub(crate) fn get(account: &Account, links: &Links<'_>) -> Reply {
    let below = [
        ("clients", Kind::Clients),
        ("applications", Kind::Applications),
        ("incoming_phone_numbers", Kind::Numbers),
        ("calls", Kind::Calls),
        ("notifications", Kind::Notifications),
        ("recordings", Kind::Recordings),
    ];
    let below = below.into_iter().fold(Fields::default(), |fields, (name, kind)| fields.with(name, links.list(kind)));
    let fields = Fields::default()
        .with("sid", account.sid.as_str())
        .with("friendly_name", account.friendly_name.as_str())
        .with("type", "Full")
        .with("status", "active")
        .with("date_created", rfc2822(account.created_unix_ms))
        .with("date_updated", rfc2822(account.updated_unix_ms))
        .with("uri", links.account())
        .with("subresource_uris", Value::Object(below));
    Reply::One("Account", fields)
}
