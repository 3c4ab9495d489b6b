//! The directory. A client lies under its login and a number under its digits, which is what the edge looks up; beside
//! each lies its name under its SID, in one partition, for lists and for the REST API's paths.

use async_trait::async_trait;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};

use super::item::{Item, Read, Update, Write, n, s};
use super::{Conditional, DynamoStore, absent, failure, key};
use crate::directory::{
    Account, Application, Client, ClientEntry, Directory, DirectoryAdmin, Number, NumberEntry, VoiceSettings,
    other_writing,
};
use crate::event::Method;
use crate::page::{Cursor, Page, PageRequest};
use crate::table::DIRECTORY;
use crate::{Result, StoreError};

const CLIENTS: &str = "clients";
const NUMBERS: &str = "numbers";
const APPLICATIONS: &str = "applications";

fn client_key(login: &str) -> Item {
    key(&format!("client/{login}"), Some("client"))
}

fn number_key(number: &str) -> Item {
    key(&format!("number/{number}"), Some("number"))
}

fn account_key() -> Item {
    key("account", Some("account"))
}

fn write_voice(write: &mut Write, voice: &VoiceSettings) {
    write
        .maybe_text("url", voice.url.as_deref())
        .flag("get", voice.method == Method::Get)
        .maybe_text("fallback", voice.fallback_url.as_deref())
        .flag("fallback_get", voice.fallback_method == Method::Get)
        .maybe_text("application", voice.application_sid.as_deref());
}

fn method(read: Read<'_>, get: &str) -> Method {
    if read.flag(get) { Method::Get } else { Method::Post }
}

fn read_voice(read: Read<'_>) -> Result<VoiceSettings> {
    Ok(VoiceSettings {
        url: read.maybe_text("url")?,
        method: method(read, "get"),
        fallback_url: read.maybe_text("fallback")?,
        fallback_method: method(read, "fallback_get"),
        application_sid: read.maybe_text("application")?,
    })
}

/// What every resource has.
fn write_common(write: &mut Write, sid: &str, account: &str, name: &str, created: u64, updated: u64, version: u64) {
    write
        .text("sid", sid)
        .text("account", account)
        .text("name", name)
        .number("created", created)
        .number("updated", updated)
        .number("v", version);
}

fn write_account(account: &Account, version: u64) -> Item {
    let mut write = Write(account_key());
    let Account { sid, friendly_name, created_unix_ms, updated_unix_ms, .. } = account;
    write_common(&mut write, sid, sid, friendly_name, *created_unix_ms, *updated_unix_ms, version);
    write.text("token_sha256", &account.auth_token_sha256).text("domain", &account.domain);
    write.0
}

fn read_account(item: &Item) -> Result<Account> {
    let read = Read(item);
    Ok(Account {
        sid: read.text("sid")?,
        friendly_name: read.text("name")?,
        auth_token_sha256: read.text("token_sha256")?,
        domain: read.text("domain")?,
        created_unix_ms: read.number("created")?,
        updated_unix_ms: read.number("updated")?,
        version: read.number("v")?,
    })
}

fn write_client(client: &Client, version: u64) -> Item {
    let mut write = Write(client_key(&client.login));
    let Client { sid, account_sid, friendly_name, created_unix_ms, updated_unix_ms, .. } = client;
    write_common(&mut write, sid, account_sid, friendly_name, *created_unix_ms, *updated_unix_ms, version);
    write
        .text("login", &client.login)
        .text("ha1_md5", &client.ha1_md5)
        .text("ha1_sha256", &client.ha1_sha256)
        .flag("enabled", client.enabled);
    write_voice(&mut write, &client.voice);
    write.0
}

fn read_client(item: &Item) -> Result<Client> {
    let read = Read(item);
    Ok(Client {
        sid: read.text("sid")?,
        account_sid: read.text("account")?,
        login: read.text("login")?,
        friendly_name: read.text("name")?,
        ha1_md5: read.text("ha1_md5")?,
        ha1_sha256: read.text("ha1_sha256")?,
        enabled: read.flag("enabled"),
        voice: read_voice(read)?,
        created_unix_ms: read.number("created")?,
        updated_unix_ms: read.number("updated")?,
        version: read.number("v")?,
    })
}

fn write_number(number: &Number, version: u64) -> Item {
    let mut write = Write(number_key(&number.phone_number));
    let Number { sid, account_sid, friendly_name, created_unix_ms, updated_unix_ms, .. } = number;
    write_common(&mut write, sid, account_sid, friendly_name, *created_unix_ms, *updated_unix_ms, version);
    write
        .text("number", &number.phone_number)
        .flag("lookup", number.voice_caller_id_lookup)
        .maybe_text("callback", number.status_callback.as_deref())
        .flag("callback_get", number.status_callback_method == Method::Get);
    write_voice(&mut write, &number.voice);
    write.0
}

fn read_number(item: &Item) -> Result<Number> {
    let read = Read(item);
    Ok(Number {
        sid: read.text("sid")?,
        account_sid: read.text("account")?,
        phone_number: read.text("number")?,
        friendly_name: read.text("name")?,
        voice: read_voice(read)?,
        voice_caller_id_lookup: read.flag("lookup"),
        status_callback: read.maybe_text("callback")?,
        status_callback_method: method(read, "callback_get"),
        created_unix_ms: read.number("created")?,
        updated_unix_ms: read.number("updated")?,
        version: read.number("v")?,
    })
}

fn write_application(application: &Application, version: u64) -> Item {
    let mut write = Write(key(APPLICATIONS, Some(&application.sid)));
    let Application { sid, account_sid, friendly_name, created_unix_ms, updated_unix_ms, .. } = application;
    write_common(&mut write, sid, account_sid, friendly_name, *created_unix_ms, *updated_unix_ms, version);
    write
        .text("kind", &application.kind)
        .flag("lookup", application.voice_caller_id_lookup)
        .maybe_text("url", application.rcml_url.as_deref());
    write.0
}

fn read_application(item: &Item) -> Result<Application> {
    let read = Read(item);
    Ok(Application {
        sid: read.text("sid")?,
        account_sid: read.text("account")?,
        friendly_name: read.text("name")?,
        rcml_url: read.maybe_text("url")?,
        kind: read.text("kind")?,
        voice_caller_id_lookup: read.flag("lookup"),
        created_unix_ms: read.number("created")?,
        updated_unix_ms: read.number("updated")?,
        version: read.number("v")?,
    })
}

/// The name of a resource under its SID.
fn pointer(list: &str, sid: &str, name: &str) -> Item {
    let mut write = Write(key(list, Some(sid)));
    write.text("name", name);
    write.0
}

impl DynamoStore {
    async fn voice_of(&self, settings: &VoiceSettings) -> Result<Option<crate::Voice>> {
        let application = match &settings.application_sid {
            Some(sid) => self.get(&DIRECTORY, key(APPLICATIONS, Some(sid)), false).await?,
            None => None,
        };
        Ok(settings.resolve(application.as_ref().map(read_application).transpose()?.as_ref()))
    }

    /// The name that a SID stands for in a list.
    async fn name_of(&self, list: &str, sid: &str) -> Result<Option<String>> {
        let found = self.get(&DIRECTORY, key(list, Some(sid)), true).await?;
        found.map(|item| Read(&item).text("name")).transpose()
    }

    /// Makes a resource and its name in a list, or neither.
    async fn create_named(&self, item: Item, name: Item) -> Result<()> {
        let put = |item: Item| -> Result<TransactWriteItem> {
            let Update { names, .. } = absent();
            let put = Put::builder().table_name(self.table(&DIRECTORY)).set_item(Some(item));
            let put = put.condition_expression(absent().condition_text()).set_expression_attribute_names(Some(names));
            let put = put.build().map_err(|error| StoreError::Corrupt(error.to_string()))?;
            Ok(TransactWriteItem::builder().put(put).build())
        };
        self.transact(vec![put(item)?, put(name)?], StoreError::Conflict).await
    }

    /// Deletes a resource, if it is the one with this SID, and its name.
    async fn delete_named(&self, item: Item, list: &str, sid: &str) -> Result<()> {
        let table = self.table(&DIRECTORY);
        let build = |delete: aws_sdk_dynamodb::types::builders::DeleteBuilder| -> Result<TransactWriteItem> {
            let delete = delete.table_name(&table).build().map_err(|error| StoreError::Corrupt(error.to_string()))?;
            Ok(TransactWriteItem::builder().delete(delete).build())
        };
        let resource = Delete::builder()
            .set_key(Some(item))
            .condition_expression("#sid = :sid")
            .expression_attribute_names("#sid", "sid")
            .expression_attribute_values(":sid", s(sid));
        let name = Delete::builder().set_key(Some(key(list, Some(sid))));
        self.transact(vec![build(resource)?, build(name)?], StoreError::NotFound).await
    }

    async fn transact(&self, items: Vec<TransactWriteItem>, refused: StoreError) -> Result<()> {
        let request = self.client.transact_write_items().set_transact_items(Some(items));
        match request.set_return_consumed_capacity(self.asked_capacity()).send().await {
            Ok(output) => {
                self.count_all(&DIRECTORY, "TransactWriteItems", output.consumed_capacity.as_deref());
                Ok(())
            }
            Err(error) if condition_failed(&error) => Err(refused),
            Err(error) => Err(failure(error)),
        }
    }

    /// Replaces a resource under its version and SID.
    async fn replace(&self, item: Item, sid: &str, version: u64) -> Result<u64> {
        let mut update = Update::default();
        let (name, value) = (update.name("sid"), update.value("sid", s(sid)));
        update.condition(&format!("{name} = {value}"));
        let (v, before) = (update.name("v"), update.value("before", n(version)));
        update.condition(&format!("{v} = {before}"));
        match self.put_if(&DIRECTORY, item, update).await? {
            Conditional::Done => Ok(version + 1),
            Conditional::Failed(Some(item)) if Read(&item).str("sid")? == sid => Err(StoreError::Conflict),
            Conditional::Failed(_) => Err(StoreError::NotFound),
        }
    }

    /// One page of a list's items, nearest to the cursor first, one more than asked.
    async fn list(&self, list: &str, request: &PageRequest) -> Result<Vec<Item>> {
        let mut query = self
            .client
            .query()
            .table_name(self.table(&DIRECTORY))
            .expression_attribute_values(":pk", s(list))
            .consistent_read(true)
            .set_return_consumed_capacity(self.asked_capacity());
        query = match &request.cursor {
            Cursor::Newest => query.key_condition_expression("pk = :pk").scan_index_forward(false),
            Cursor::Older(before) => query
                .key_condition_expression("pk = :pk AND sk < :sk")
                .expression_attribute_values(":sk", s(before))
                .scan_index_forward(false),
            Cursor::Newer(after) => query
                .key_condition_expression("pk = :pk AND sk > :sk")
                .expression_attribute_values(":sk", s(after))
                .scan_index_forward(true),
        };
        let mut items = Vec::new();
        let mut from = None;
        loop {
            let left = (request.size + 1).saturating_sub(items.len());
            let page = query.clone().limit(i32::try_from(left).unwrap_or(i32::MAX)).set_exclusive_start_key(from);
            let output = page.send().await.map_err(failure)?;
            self.count(&DIRECTORY, "Query", output.consumed_capacity());
            items.extend(output.items.unwrap_or_default());
            from = output.last_evaluated_key;
            if from.is_none() || items.len() > request.size {
                return Ok(items);
            }
        }
    }

    /// The resources that a list's names stand for, in its order.
    async fn list_named<T>(
        &self,
        list: &str,
        request: &PageRequest,
        place: fn(&str) -> Item,
        read: fn(&Item) -> Result<T>,
        sid: fn(&T) -> &String,
    ) -> Result<Page<T>> {
        let names = self.list(list, request).await?;
        let keys = names.iter().map(|item| Read(item).str("name").map(place)).collect::<Result<Vec<_>>>()?;
        let order = names.iter().map(|item| Read(item).text("sk")).collect::<Result<Vec<_>>>()?;
        let mut found = self.batch_get(&DIRECTORY, keys).await?.iter().map(read).collect::<Result<Vec<_>>>()?;
        found.sort_by_cached_key(|one| order.iter().position(|place| place == sid(one)));
        Ok(Page::cut(request, found, None, |one| sid(one).clone()))
    }
}

/// Whether a transaction was refused by a condition (and not, say, by another transaction under way).
pub(super) fn condition_failed<R>(error: &SdkError<TransactWriteItemsError, R>) -> bool {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
            canceled.cancellation_reasons().iter().any(|reason| reason.code() == Some("ConditionalCheckFailed"))
        }
        _ => false,
    }
}

#[async_trait]
impl Directory for DynamoStore {
    async fn client(&self, login: &str) -> Result<Option<ClientEntry>> {
        let Some(item) = self.get(&DIRECTORY, client_key(login), false).await? else { return Ok(None) };
        let client = read_client(&item)?;
        let voice = self.voice_of(&client.voice).await?;
        let Client { account_sid, login, ha1_md5, ha1_sha256, enabled, .. } = client;
        Ok(Some(ClientEntry { account_sid, login, ha1_md5, ha1_sha256, enabled, voice }))
    }

    async fn number(&self, number: &str) -> Result<Option<NumberEntry>> {
        let exact = self.get(&DIRECTORY, number_key(number), false).await?;
        let item = match exact {
            Some(item) => item,
            None => match self.get(&DIRECTORY, number_key(&other_writing(number)), false).await? {
                Some(item) => item,
                None => return Ok(None),
            },
        };
        let number = read_number(&item)?;
        let voice = self.voice_of(&number.voice).await?;
        Ok(Some(NumberEntry { account_sid: number.account_sid, number: number.phone_number, voice }))
    }
}

#[async_trait]
impl DirectoryAdmin for DynamoStore {
    async fn account(&self) -> Result<Option<Account>> {
        self.get(&DIRECTORY, account_key(), true).await?.as_ref().map(read_account).transpose()
    }

    async fn create_account(&self, account: &Account) -> Result<()> {
        match self.put_if(&DIRECTORY, write_account(account, 1), absent()).await? {
            Conditional::Done => Ok(()),
            Conditional::Failed(_) => Err(StoreError::Conflict),
        }
    }

    async fn update_account(&self, account: &Account) -> Result<u64> {
        self.replace(write_account(account, account.version + 1), &account.sid, account.version).await
    }

    async fn create_client(&self, client: &Client) -> Result<()> {
        self.create_named(write_client(client, 1), pointer(CLIENTS, &client.sid, &client.login)).await
    }

    async fn client_by_sid(&self, sid: &str) -> Result<Option<Client>> {
        match self.name_of(CLIENTS, sid).await? {
            Some(login) => Ok(self.client_by_login(&login).await?.filter(|client| client.sid == sid)),
            None => Ok(None),
        }
    }

    async fn client_by_login(&self, login: &str) -> Result<Option<Client>> {
        self.get(&DIRECTORY, client_key(login), true).await?.as_ref().map(read_client).transpose()
    }

    async fn clients(&self, request: &PageRequest) -> Result<Page<Client>> {
        self.list_named(CLIENTS, request, client_key, read_client, |client| &client.sid).await
    }

    async fn update_client(&self, client: &Client) -> Result<u64> {
        self.replace(write_client(client, client.version + 1), &client.sid, client.version).await
    }

    async fn delete_client(&self, sid: &str) -> Result<Client> {
        let client = self.client_by_sid(sid).await?.ok_or(StoreError::NotFound)?;
        self.delete_named(client_key(&client.login), CLIENTS, sid).await?;
        Ok(client)
    }

    async fn create_application(&self, application: &Application) -> Result<()> {
        match self.put_if(&DIRECTORY, write_application(application, 1), absent()).await? {
            Conditional::Done => Ok(()),
            Conditional::Failed(_) => Err(StoreError::Conflict),
        }
    }

    async fn application(&self, sid: &str) -> Result<Option<Application>> {
        let found = self.get(&DIRECTORY, key(APPLICATIONS, Some(sid)), true).await?;
        found.as_ref().map(read_application).transpose()
    }

    async fn applications(&self, request: &PageRequest) -> Result<Page<Application>> {
        let found = self.list(APPLICATIONS, request).await?;
        let found = found.iter().map(read_application).collect::<Result<_>>()?;
        Ok(Page::cut(request, found, None, |one| one.sid.clone()))
    }

    async fn update_application(&self, application: &Application) -> Result<u64> {
        let item = write_application(application, application.version + 1);
        self.replace(item, &application.sid, application.version).await
    }

    async fn delete_application(&self, sid: &str) -> Result<Application> {
        let application = self.application(sid).await?.ok_or(StoreError::NotFound)?;
        let mut update = Update::default();
        let (name, value) = (update.name("sid"), update.value("sid", s(sid)));
        update.condition(&format!("{name} = {value}"));
        match self.delete_if(&DIRECTORY, key(APPLICATIONS, Some(sid)), update).await? {
            Conditional::Done => Ok(application),
            Conditional::Failed(_) => Err(StoreError::NotFound),
        }
    }

    async fn create_number(&self, number: &Number) -> Result<()> {
        self.create_named(write_number(number, 1), pointer(NUMBERS, &number.sid, &number.phone_number)).await
    }

    async fn number_by_sid(&self, sid: &str) -> Result<Option<Number>> {
        match self.name_of(NUMBERS, sid).await? {
            Some(digits) => Ok(self.number_by_phone_number(&digits).await?.filter(|number| number.sid == sid)),
            None => Ok(None),
        }
    }

    async fn number_by_phone_number(&self, phone_number: &str) -> Result<Option<Number>> {
        self.get(&DIRECTORY, number_key(phone_number), true).await?.as_ref().map(read_number).transpose()
    }

    async fn numbers(&self, request: &PageRequest) -> Result<Page<Number>> {
        self.list_named(NUMBERS, request, number_key, read_number, |number| &number.sid).await
    }

    async fn update_number(&self, number: &Number) -> Result<u64> {
        self.replace(write_number(number, number.version + 1), &number.sid, number.version).await
    }

    async fn delete_number(&self, sid: &str) -> Result<Number> {
        let number = self.number_by_sid(sid).await?.ok_or(StoreError::NotFound)?;
        self.delete_named(number_key(&number.phone_number), NUMBERS, sid).await?;
        Ok(number)
    }
}
