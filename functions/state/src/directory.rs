//! The directory: the account with its clients, numbers and applications.

use std::fmt;

use async_trait::async_trait;

use crate::Result;
use crate::event::Method;
use crate::page::{Page, PageRequest};

/// The account of a deployment.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// `AC` and 32 hex digits.
    pub sid: String,
    /// For people.
    pub friendly_name: String,
    /// Lower-case hex SHA-256 of the auth token. The token itself is kept elsewhere.
    pub auth_token_sha256: String,
    /// The realm that every HA1 was made with: fixed at first start.
    pub domain: String,
    /// When it was made.
    pub created_unix_ms: u64,
    /// When it was last changed.
    pub updated_unix_ms: u64,
    /// How often it was written: set by the store.
    pub version: u64,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("sid", &self.sid).field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// Where a call's first document is, as set on a client or number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VoiceSettings {
    /// `VoiceUrl`.
    pub url: Option<String>,
    /// `VoiceMethod`.
    pub method: Method,
    /// `VoiceFallbackUrl`.
    pub fallback_url: Option<String>,
    /// `VoiceFallbackMethod`.
    pub fallback_method: Method,
    /// `VoiceApplicationSid`: its URL wins over `url`.
    pub application_sid: Option<String>,
}

/// A client: somebody who may register and call.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    /// `CL` and 32 hex digits.
    pub sid: String,
    /// Its account.
    pub account_sid: String,
    /// The AOR's user part; never changes.
    pub login: String,
    /// For people.
    pub friendly_name: String,
    /// Hex HA1 by MD5: a secret.
    pub ha1_md5: String,
    /// Hex HA1 by SHA-256: a secret.
    pub ha1_sha256: String,
    /// Whether it may register and call.
    pub enabled: bool,
    /// The document of calls that it makes.
    pub voice: VoiceSettings,
    /// When it was made.
    pub created_unix_ms: u64,
    /// When it was last changed.
    pub updated_unix_ms: u64,
    /// How often it was written: set by the store.
    pub version: u64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("sid", &self.sid).field("login", &self.login).finish_non_exhaustive()
    }
}

/// A number that calls may come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// `PN` and 32 hex digits.
    pub sid: String,
    /// Its account.
    pub account_sid: String,
    /// As provisioned; never changes.
    pub phone_number: String,
    /// For people.
    pub friendly_name: String,
    /// The document of calls to it.
    pub voice: VoiceSettings,
    /// Stored, not yet used.
    pub voice_caller_id_lookup: bool,
    /// `StatusCallback`: stored, not yet used.
    pub status_callback: Option<String>,
    /// `StatusCallbackMethod`.
    pub status_callback_method: Method,
    /// When it was made.
    pub created_unix_ms: u64,
    /// When it was last changed.
    pub updated_unix_ms: u64,
    /// How often it was written: set by the store.
    pub version: u64,
}

/// A named document that clients and numbers refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// `AP` and 32 hex digits.
    pub sid: String,
    /// Its account.
    pub account_sid: String,
    /// For people.
    pub friendly_name: String,
    /// The document.
    pub rcml_url: Option<String>,
    /// `voice`, `sms`, `ussd`.
    pub kind: String,
    /// Stored, not yet used.
    pub voice_caller_id_lookup: bool,
    /// When it was made.
    pub created_unix_ms: u64,
    /// When it was last changed.
    pub updated_unix_ms: u64,
    /// How often it was written: set by the store.
    pub version: u64,
}

/// Where a call's first document is, applications followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// First document.
    pub url: String,
    /// How to ask for it.
    pub method: Method,
    /// Fallback document.
    pub fallback: Option<(String, Method)>,
}

impl VoiceSettings {
    /// Follows the application: its URL wins, by POST; where it has none, or is gone, the own URL stays.
    pub fn resolve(&self, application: Option<&Application>) -> Option<Voice> {
        let from_application = application.and_then(|found| found.rcml_url.clone()).map(|url| (url, Method::Post));
        let (url, method) = from_application.or_else(|| self.url.clone().map(|url| (url, self.method)))?;
        Some(Voice { url, method, fallback: self.fallback_url.clone().map(|url| (url, self.fallback_method)) })
    }
}

/// What the edge needs to know of a client.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientEntry {
    /// Its account.
    pub account_sid: String,
    /// The login, as stored.
    pub login: String,
    /// Hex HA1 by MD5: a secret.
    pub ha1_md5: String,
    /// Hex HA1 by SHA-256: a secret.
    pub ha1_sha256: String,
    /// Whether it may register and call.
    pub enabled: bool,
    /// The document of its own calls, if it has one.
    pub voice: Option<Voice>,
}

impl fmt::Debug for ClientEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientEntry").field("login", &self.login).field("voice", &self.voice).finish_non_exhaustive()
    }
}

/// What the edge needs to know of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberEntry {
    /// Its account.
    pub account_sid: String,
    /// As provisioned.
    pub number: String,
    /// The document of calls to it.
    pub voice: Option<Voice>,
}

/// The other writing of a number: with `+` where it has none, without where it has one.
pub(crate) fn other_writing(number: &str) -> String {
    number.strip_prefix('+').map_or_else(|| format!("+{number}"), str::to_owned)
}

/// What the edge looks up. Presence may be cached for a minute, absence never.
#[async_trait]
pub trait Directory: Send + Sync {
    /// The client with this login, case-sensitive.
    async fn client(&self, login: &str) -> Result<Option<ClientEntry>>;

    /// The number: exactly as given, else with or without `+`.
    async fn number(&self, number: &str) -> Result<Option<NumberEntry>>;
}

/// What the REST API does. One account per deployment for now; each resource names it nonetheless.
///
/// `create_*`: `Conflict` if the Login or PhoneNumber is taken. `update_*`: replaces the resource if its stored version
/// is the given one's (`Conflict` if not, `NotFound` if it is gone) and returns the new version. `delete_*`: returns
/// what was deleted; `NotFound` if there is none.
#[async_trait]
pub trait DirectoryAdmin: Send + Sync {
    /// The deployment's account; `None` before the first start.
    async fn account(&self) -> Result<Option<Account>>;
    /// Makes it; `Conflict` if there is one.
    async fn create_account(&self, account: &Account) -> Result<()>;
    /// Changes name or token hash.
    async fn update_account(&self, account: &Account) -> Result<u64>;

    /// Makes a client.
    async fn create_client(&self, client: &Client) -> Result<()>;
    /// By SID.
    async fn client_by_sid(&self, sid: &str) -> Result<Option<Client>>;
    /// By login.
    async fn client_by_login(&self, login: &str) -> Result<Option<Client>>;
    /// Newest first.
    async fn clients(&self, page: &PageRequest) -> Result<Page<Client>>;
    /// Changes all but SID and login.
    async fn update_client(&self, client: &Client) -> Result<u64>;
    /// Deletes one.
    async fn delete_client(&self, sid: &str) -> Result<Client>;

    /// Makes an application.
    async fn create_application(&self, application: &Application) -> Result<()>;
    /// By SID.
    async fn application(&self, sid: &str) -> Result<Option<Application>>;
    /// Newest first.
    async fn applications(&self, page: &PageRequest) -> Result<Page<Application>>;
    /// Changes all but the SID.
    async fn update_application(&self, application: &Application) -> Result<u64>;
    /// Deletes one; clients and numbers that name it fall back to their own URL.
    async fn delete_application(&self, sid: &str) -> Result<Application>;

    /// Makes a number.
    async fn create_number(&self, number: &Number) -> Result<()>;
    /// By SID.
    async fn number_by_sid(&self, sid: &str) -> Result<Option<Number>>;
    /// Exactly as provisioned.
    async fn number_by_phone_number(&self, phone_number: &str) -> Result<Option<Number>>;
    /// Newest first.
    async fn numbers(&self, page: &PageRequest) -> Result<Page<Number>>;
    /// Changes all but SID and PhoneNumber.
    async fn update_number(&self, number: &Number) -> Result<u64>;
    /// Deletes one.
    async fn delete_number(&self, sid: &str) -> Result<Number>;
}
