//! Accounts, clients, applications, numbers in memory. `client_logins` and `phone_numbers` map a SID to its name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use async_trait::async_trait;

use super::{MemoryStore, lock, page};
use crate::directory::{
    Account, Application, Client, ClientEntry, Directory, DirectoryAdmin, Number, NumberEntry, VoiceSettings,
    other_writing,
};
use crate::page::{Page, PageRequest};
use crate::{Result, StoreError};

impl super::DirectoryState {
    fn resolve(&self, settings: &VoiceSettings) -> Option<crate::Voice> {
        settings.resolve(settings.application_sid.as_ref().and_then(|sid| self.applications.get(sid)))
    }
}

#[async_trait]
impl Directory for MemoryStore {
    async fn client(&self, login: &str) -> Result<Option<ClientEntry>> {
        let directory = lock(&self.directory);
        Ok(directory.clients.get(login).map(|client| ClientEntry {
            account_sid: client.account_sid.clone(),
            login: client.login.clone(),
            ha1_md5: client.ha1_md5.clone(),
            ha1_sha256: client.ha1_sha256.clone(),
            enabled: client.enabled,
            voice: directory.resolve(&client.voice),
        }))
    }

    async fn number(&self, number: &str) -> Result<Option<NumberEntry>> {
        let directory = lock(&self.directory);
        let found = directory.numbers.get(number).or_else(|| directory.numbers.get(&other_writing(number)));
        Ok(found.map(|number| NumberEntry {
            account_sid: number.account_sid.clone(),
            number: number.phone_number.clone(),
            voice: directory.resolve(&number.voice),
        }))
    }
}

/// Replaces what has the same version, counting it up.
fn replace<T: Clone>(slot: Option<&mut T>, new: &T, version: impl Fn(&mut T) -> &mut u64) -> Result<u64> {
    let slot = slot.ok_or(StoreError::NotFound)?;
    let mut new = new.clone();
    if *version(slot) != *version(&mut new) {
        return Err(StoreError::Conflict);
    }
    *version(&mut new) += 1;
    let next = *version(&mut new);
    *slot = new;
    Ok(next)
}

/// Adds what is not there yet, as version 1.
fn create<T: Clone>(
    map: &mut HashMap<String, T>,
    key: &str,
    new: &T,
    version: impl Fn(&mut T) -> &mut u64,
) -> Result<()> {
    match map.entry(key.to_owned()) {
        Entry::Occupied(_) => Err(StoreError::Conflict),
        Entry::Vacant(slot) => {
            *version(slot.insert(new.clone())) = 1;
            Ok(())
        }
    }
}

#[async_trait]
impl DirectoryAdmin for MemoryStore {
    async fn account(&self) -> Result<Option<Account>> {
        Ok(lock(&self.directory).account.clone())
    }

    async fn create_account(&self, account: &Account) -> Result<()> {
        let mut directory = lock(&self.directory);
        if directory.account.is_some() {
            return Err(StoreError::Conflict);
        }
        directory.account = Some(Account { version: 1, ..account.clone() });
        Ok(())
    }

    async fn update_account(&self, account: &Account) -> Result<u64> {
        replace(lock(&self.directory).account.as_mut(), account, |account| &mut account.version)
    }

    async fn create_client(&self, client: &Client) -> Result<()> {
        let mut directory = lock(&self.directory);
        create(&mut directory.clients, &client.login, client, |client| &mut client.version)?;
        directory.client_logins.insert(client.sid.clone(), client.login.clone());
        Ok(())
    }

    async fn client_by_sid(&self, sid: &str) -> Result<Option<Client>> {
        let directory = lock(&self.directory);
        Ok(directory.client_logins.get(sid).and_then(|login| directory.clients.get(login)).cloned())
    }

    async fn client_by_login(&self, login: &str) -> Result<Option<Client>> {
        Ok(lock(&self.directory).clients.get(login).cloned())
    }

    async fn clients(&self, request: &PageRequest) -> Result<Page<Client>> {
        let directory = lock(&self.directory);
        let own = |sid: &str| Some(sid.to_owned());
        let pick = |_: &String, login: &String| directory.clients.get(login).cloned();
        Ok(page(&directory.client_logins, request, own, pick, |client| client.sid.clone()))
    }

    async fn update_client(&self, client: &Client) -> Result<u64> {
        let mut directory = lock(&self.directory);
        let stored = directory.clients.get_mut(&client.login).filter(|stored| stored.sid == client.sid);
        replace(stored, client, |client| &mut client.version)
    }

    async fn delete_client(&self, sid: &str) -> Result<Client> {
        let mut directory = lock(&self.directory);
        let login = directory.client_logins.remove(sid).ok_or(StoreError::NotFound)?;
        directory.clients.remove(&login).ok_or(StoreError::NotFound)
    }

    async fn create_application(&self, application: &Application) -> Result<()> {
        let mut directory = lock(&self.directory);
        if directory.applications.contains_key(&application.sid) {
            return Err(StoreError::Conflict);
        }
        directory.applications.insert(application.sid.clone(), Application { version: 1, ..application.clone() });
        Ok(())
    }

    async fn application(&self, sid: &str) -> Result<Option<Application>> {
        Ok(lock(&self.directory).applications.get(sid).cloned())
    }

    async fn applications(&self, request: &PageRequest) -> Result<Page<Application>> {
        let directory = lock(&self.directory);
        let own = |sid: &str| Some(sid.to_owned());
        Ok(page(&directory.applications, request, own, |_, found| Some(found.clone()), |found| found.sid.clone()))
    }

    async fn update_application(&self, application: &Application) -> Result<u64> {
        let mut directory = lock(&self.directory);
        replace(directory.applications.get_mut(&application.sid), application, |found| &mut found.version)
    }

    async fn delete_application(&self, sid: &str) -> Result<Application> {
        lock(&self.directory).applications.remove(sid).ok_or(StoreError::NotFound)
    }

    async fn create_number(&self, number: &Number) -> Result<()> {
        let mut directory = lock(&self.directory);
        create(&mut directory.numbers, &number.phone_number, number, |number| &mut number.version)?;
        directory.phone_numbers.insert(number.sid.clone(), number.phone_number.clone());
        Ok(())
    }

    async fn number_by_sid(&self, sid: &str) -> Result<Option<Number>> {
        let directory = lock(&self.directory);
        Ok(directory.phone_numbers.get(sid).and_then(|name| directory.numbers.get(name)).cloned())
    }

    async fn number_by_phone_number(&self, phone_number: &str) -> Result<Option<Number>> {
        Ok(lock(&self.directory).numbers.get(phone_number).cloned())
    }

    async fn numbers(&self, request: &PageRequest) -> Result<Page<Number>> {
        let directory = lock(&self.directory);
        let own = |sid: &str| Some(sid.to_owned());
        let pick = |_: &String, name: &String| directory.numbers.get(name).cloned();
        Ok(page(&directory.phone_numbers, request, own, pick, |number| number.sid.clone()))
    }

    async fn update_number(&self, number: &Number) -> Result<u64> {
        let mut directory = lock(&self.directory);
        let stored = directory.numbers.get_mut(&number.phone_number).filter(|stored| stored.sid == number.sid);
        replace(stored, number, |number| &mut number.version)
    }

    async fn delete_number(&self, sid: &str) -> Result<Number> {
        let mut directory = lock(&self.directory);
        let name = directory.phone_numbers.remove(sid).ok_or(StoreError::NotFound)?;
        directory.numbers.remove(&name).ok_or(StoreError::NotFound)
    }
}
