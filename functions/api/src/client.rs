//! `Clients`: who may register and call. A password goes in and never comes out again; only its HA1s are kept.

use md5::Md5;
use ringfork_state::event::rfc2822;
use ringfork_state::{Account, Client, StoreError, sid};
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::form::Form;
use crate::page::{asked, list as page_of, single};
use crate::render::{Fields, Reply, Value};
use crate::route::{Kind, Links};
use crate::{Api, Change};

/// Shortest password in characters (RCML.md 3.4).
const MIN_PASSWORD: usize = 8;
/// Longest password in characters.
const MAX_PASSWORD: usize = 256;
/// Longest login in characters.
const MAX_LOGIN: usize = 128;
/// How often a change is tried again that met another one.
const TRIES: usize = 4;

/// Digest HA1s of a password: `hex(H(login:realm:password))`, lower case (RFC 7616 §3.4.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    /// By MD5.
    pub md5: String,
    /// By SHA-256.
    pub sha256: String,
}

/// The HA1s that the directory keeps for `login`.
pub fn ha1(login: &str, realm: &str, password: &str) -> Ha1 {
    let text = format!("{login}:{realm}:{password}");
    Ha1 { md5: hex::encode(Md5::digest(text.as_bytes())), sha256: hex::encode(Sha256::digest(text.as_bytes())) }
}

/// Whether `login` can be a client's: it is the user part of SIP URIs and part of digests, so it holds letters, digits
/// and `-_.!~*'()&+$,` only (`?`, `=`, `@` least of all).
///
/// # Errors
/// The reason, for people.
pub fn check_login(login: &str) -> Result<(), &'static str> {
    if login.is_empty() || login.len() > MAX_LOGIN {
        return Err("has no or more than 128 characters");
    }
    if !login.chars().all(|c| c.is_ascii_alphanumeric() || "-_.!~*'()&+$,".contains(c)) {
        return Err("may hold letters, digits and -_.!~*'()&+$, only");
    }
    Ok(())
}

fn check_password(password: &str, login: &str) -> Result<(), ApiError> {
    let length = password.chars().count();
    if length < MIN_PASSWORD {
        return Err(ApiError::bad("Password", "has less than eight characters"));
    }
    if length > MAX_PASSWORD {
        return Err(ApiError::bad("Password", "has more than 256 characters"));
    }
    if password == login {
        return Err(ApiError::bad("Password", "is the login"));
    }
    Ok(())
}

pub(crate) async fn list(api: &Api, query: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    let asked = asked(query, "CL")?;
    let page = match query.filter("Login") {
        Some(login) => single(api.directory.client_by_login(login).await?),
        None => api.directory.clients(&asked.request).await?,
    };
    Ok(page_of(Kind::Clients, page, &asked, query, links, |client| show(client, links)))
}

pub(crate) async fn get(api: &Api, sid: &str, links: &Links<'_>) -> Result<Reply, ApiError> {
    Ok(Reply::One("Client", show(&find(api, sid).await?, links)))
}

pub(crate) async fn create(api: &Api, account: &Account, form: &Form, links: &Links<'_>) -> Result<Reply, ApiError> {
    let login = form.required("Login")?;
    check_login(login).map_err(|reason| ApiError::bad("Login", reason))?;
    if form.password("Password").is_none() {
        return Err(ApiError::missing("Password"));
    }
    let now = api.environment.unix_ms();
    let mut client = Client {
        sid: sid::resource(*b"CL", now, api.environment.random()),
        account_sid: account.sid.clone(),
        login: login.to_owned(),
        friendly_name: login.to_owned(),
        ha1_md5: String::new(),
        ha1_sha256: String::new(),
        enabled: true,
        voice: Default::default(),
        created_unix_ms: now,
        updated_unix_ms: now,
        version: 0,
    };
    fill(api, account, form, &mut client).await?;
    match api.directory.create_client(&client).await {
        Err(StoreError::Conflict) => return Err(ApiError::taken("Login")),
        other => other?,
    }
    api.changes.changed(Change::Client { login: client.login.clone(), deleted: false });
    Ok(Reply::One("Client", show(&client, links)))
}

pub(crate) async fn update(
    api: &Api,
    account: &Account,
    sid: &str,
    form: &Form,
    links: &Links<'_>,
) -> Result<Reply, ApiError> {
    for _ in 0..TRIES {
        let mut client = find(api, sid).await?;
        if form.filter("Login").is_some_and(|login| login != client.login) {
            return Err(ApiError::bad("Login", "cannot be changed"));
        }
        fill(api, account, form, &mut client).await?;
        client.updated_unix_ms = api.environment.unix_ms();
        match api.directory.update_client(&client).await {
            Err(StoreError::Conflict) => continue,
            Err(StoreError::NotFound) => return Err(ApiError::unknown("client")),
            other => other?,
        };
        api.changes.changed(Change::Client { login: client.login.clone(), deleted: false });
        return Ok(Reply::One("Client", show(&client, links)));
    }
    Err(StoreError::Conflict.into())
}

pub(crate) async fn delete(api: &Api, sid: &str) -> Result<Reply, ApiError> {
    find(api, sid).await?;
    let client = match api.directory.delete_client(sid).await {
        Err(StoreError::NotFound) => return Err(ApiError::unknown("client")),
        other => other?,
    };
    api.changes.changed(Change::Client { login: client.login, deleted: true });
    Ok(Reply::Gone)
}

async fn find(api: &Api, sid: &str) -> Result<Client, ApiError> {
    let found = if sid::parse("CL", sid).is_ok() { api.directory.client_by_sid(sid).await? } else { None };
    found.ok_or_else(|| ApiError::unknown("client"))
}

/// Writes what the form holds over the client.
async fn fill(api: &Api, account: &Account, form: &Form, client: &mut Client) -> Result<(), ApiError> {
    if let Some(password) = form.password("Password") {
        check_password(password, &client.login)?;
        let ha1 = ha1(&client.login, &account.domain, password);
        (client.ha1_md5, client.ha1_sha256) = (ha1.md5, ha1.sha256);
    }
    if let Some(name) = form.name("FriendlyName")? {
        client.friendly_name = name.to_owned();
    }
    match form.filter("Status") {
        None => {}
        Some("1") => client.enabled = true,
        Some("0") => client.enabled = false,
        Some(_) => return Err(ApiError::bad("Status", "is neither 1 (may register and call) nor 0")),
    }
    form.voice(&mut client.voice, &*api.directory).await
}

fn show(client: &Client, links: &Links<'_>) -> Fields {
    Fields::default()
        .with("sid", client.sid.as_str())
        .with("date_created", rfc2822(client.created_unix_ms))
        .with("date_updated", rfc2822(client.updated_unix_ms))
        .with("account_sid", client.account_sid.as_str())
        .with("api_version", crate::route::API_VERSION)
        .with("friendly_name", client.friendly_name.as_str())
        .with("login", client.login.as_str())
        .with("status", if client.enabled { "1" } else { "0" })
        .with("voice_method", client.voice.method.as_str())
        .with("voice_fallback_method", client.voice.fallback_method.as_str())
        .with("voice_url", client.voice.url.clone())
        .with("voice_fallback_url", client.voice.fallback_url.clone())
        .with("voice_application_sid", client.voice.application_sid.clone())
        .with("push_client_identity", Value::Null)
        .with("uri", links.one(Kind::Clients, &client.sid))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2617 §3.5 and RFC 7616 §3.9.1: the HA1s behind their examples.
    #[test]
    fn known_ha1s() {
        assert_eq!(ha1("Mufasa", "testrealm@host.com", "Circle Of Life").md5, "939e7578ed9e3c518a452acee763bce9");
        assert_eq!(
            ha1("Mufasa", "http-auth@example.org", "Circle of Life").sha256,
            "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232"
        );
    }

    #[test]
    fn logins() {
        for good in ["alice", "bob.smith", "+15551234", "a_b-c!~*'()&$,", "x"] {
            assert_eq!(check_login(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a@b", "a?b", "a=b", "a:b", "a/b", "a;b", "a%41", "jürgen", "a\"b", "a<b"] {
            assert!(check_login(bad).is_err(), "{bad}");
        }
    }
}
