//! Bindings: partition is the AOR, sort key the device.

use std::borrow::Cow;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use sha2::{Digest, Sha256};

use super::directory::condition_failed;
use super::item::{Item, Read, Update, Write, json, n, s};
use super::{Conditional, DynamoStore, absent, failure, key};
use crate::binding::{Binding, BindingChange, BindingPage, BindingPlace, Bindings, Expect};
use crate::edge::Owner;
use crate::table::BINDINGS;
use crate::{Result, StoreError};

/// A sort key holds 1,024 bytes at most; a longer device key (a long contact) goes by its digest.
fn sort_key(device: &str) -> Cow<'_, str> {
    if device.len() <= 1000 {
        return Cow::Borrowed(device);
    }
    let digest = Sha256::digest(device.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("sha256:{hex}"))
}

fn write_binding(owner: &Owner, binding: &Binding, version: u64) -> Result<Item> {
    let device = sort_key(&binding.key);
    let mut write = Write(key(&binding.aor, Some(&device)));
    write
        .number("v", version)
        .text("edge", &owner.edge)
        .number("epoch", owner.epoch)
        .text("contact", &binding.contact)
        .text("params", &binding.contact_params)
        .text("flow", &binding.flow)
        .text("call", &binding.call_id)
        .number("cseq", binding.cseq.into())
        .maybe_text("agent", binding.user_agent.as_deref())
        .number("expires", binding.expires_at)
        .number("ttl", binding.stored_until);
    if !binding.path.is_empty() {
        write.text("path", &json(&binding.path)?);
    }
    if let Cow::Owned(_) = device {
        write.text("key", &binding.key);
    }
    Ok(write.0)
}

fn read_binding(item: &Item) -> Result<Binding> {
    let read = Read(item);
    Ok(Binding {
        aor: read.text("pk")?,
        key: read.maybe_text("key")?.map_or_else(|| read.text("sk"), Ok)?,
        contact: read.text("contact")?,
        contact_params: read.text("params")?,
        flow: read.text("flow")?,
        path: read.json("path")?.unwrap_or_default(),
        call_id: read.text("call")?,
        cseq: read.small_number("cseq")?,
        user_agent: read.maybe_text("agent")?,
        expires_at: read.number("expires")?,
        stored_until: read.number("ttl")?,
        owner: Owner { edge: read.str("edge")?.into(), epoch: read.number("epoch")? },
        version: read.number("v")?,
    })
}

/// Nobody of a later epoch of this edge wrote it, and it has this version.
fn unchanged(owner: &Owner, version: u64) -> Update {
    let mut update = Update::default();
    let (v, before) = (update.name("v"), update.value("before", n(version)));
    let (edge, mine) = (update.name("edge"), update.value("edge", s(&*owner.edge)));
    let (epoch, now) = (update.name("epoch"), update.value("epoch", n(owner.epoch)));
    update.condition(&format!("{v} = {before} AND ({edge} <> {mine} OR {epoch} <= {now})"));
    update
}

/// The version that a binding gets, and what must hold for that.
fn put_under(owner: &Owner, expect: Expect) -> (u64, Update) {
    match expect {
        Expect::Absent => (1, absent()),
        Expect::Version(before) => (before + 1, unchanged(owner, before)),
    }
}

fn fenced(stored: &Binding, owner: &Owner) -> bool {
    stored.owner.edge == owner.edge && stored.owner.epoch > owner.epoch
}

#[async_trait]
impl Bindings for DynamoStore {
    async fn put(&self, owner: &Owner, binding: &Binding, expect: Expect) -> Result<u64> {
        let (version, condition) = put_under(owner, expect);
        match self.put_if(&BINDINGS, write_binding(owner, binding, version)?, condition).await? {
            Conditional::Done => Ok(version),
            Conditional::Failed(None) => Err(StoreError::Conflict),
            Conditional::Failed(Some(item)) => {
                let stored = read_binding(&item)?;
                if fenced(&stored, owner) {
                    Err(StoreError::Stale)
                } else if stored == (Binding { owner: owner.clone(), version, ..binding.clone() }) {
                    Ok(version)
                } else {
                    Err(StoreError::Conflict)
                }
            }
        }
    }

    async fn delete(&self, owner: &Owner, aor: &str, device: &str, version: u64) -> Result<()> {
        let item = key(aor, Some(&sort_key(device)));
        match self.delete_if(&BINDINGS, item, unchanged(owner, version)).await? {
            Conditional::Done | Conditional::Failed(None) => Ok(()),
            Conditional::Failed(Some(item)) if fenced(&read_binding(&item)?, owner) => Err(StoreError::Stale),
            Conditional::Failed(Some(_)) => Err(StoreError::Conflict),
        }
    }

    async fn change_all(&self, owner: &Owner, aor: &str, changes: &[BindingChange]) -> Result<()> {
        let corrupt = |error: aws_sdk_dynamodb::error::BuildError| StoreError::Corrupt(error.to_string());
        let mut items = Vec::with_capacity(changes.len());
        for change in changes {
            let item = TransactWriteItem::builder();
            items.push(match change {
                BindingChange::Put { binding, expect } => {
                    let (version, condition) = put_under(owner, *expect);
                    let put = Put::builder()
                        .table_name(self.table(&BINDINGS))
                        .set_item(Some(write_binding(owner, binding, version)?))
                        .condition_expression(condition.condition_text())
                        .set_expression_attribute_names(Some(condition.names))
                        .set_expression_attribute_values((!condition.values.is_empty()).then_some(condition.values));
                    item.put(put.build().map_err(corrupt)?).build()
                }
                BindingChange::Delete { key: device, version } => {
                    let condition = unchanged(owner, *version);
                    let delete = Delete::builder()
                        .table_name(self.table(&BINDINGS))
                        .set_key(Some(key(aor, Some(&sort_key(device)))))
                        .condition_expression(condition.condition_text())
                        .set_expression_attribute_names(Some(condition.names))
                        .set_expression_attribute_values(Some(condition.values));
                    item.delete(delete.build().map_err(corrupt)?).build()
                }
            });
        }
        let request = self.client.transact_write_items().set_transact_items(Some(items));
        match request.set_return_consumed_capacity(self.asked_capacity()).send().await {
            Ok(output) => {
                self.count_all(&BINDINGS, "TransactWriteItems", output.consumed_capacity.as_deref());
                Ok(())
            }
            Err(error) if condition_failed(&error) => {
                let stored = self.of_aor(aor).await?;
                let named = |stored: &&Binding| changes.iter().any(|change| change.key() == stored.key);
                let stale = stored.iter().filter(named).any(|stored| fenced(stored, owner));
                Err(if stale { StoreError::Stale } else { StoreError::Conflict })
            }
            Err(error) => Err(failure(error)),
        }
    }

    async fn of_aor(&self, aor: &str) -> Result<Vec<Binding>> {
        let mut bindings = Vec::new();
        let mut from = None;
        loop {
            let output = self
                .client
                .query()
                .table_name(self.table(&BINDINGS))
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", s(aor))
                .consistent_read(true)
                .set_exclusive_start_key(from)
                .set_return_consumed_capacity(self.asked_capacity())
                .send()
                .await
                .map_err(failure)?;
            self.count(&BINDINGS, "Query", output.consumed_capacity());
            for item in output.items.unwrap_or_default() {
                bindings.push(read_binding(&item)?);
            }
            from = output.last_evaluated_key;
            if from.is_none() {
                return Ok(bindings);
            }
        }
    }

    async fn of_edge(&self, edge: &str, from: Option<&BindingPlace>) -> Result<BindingPage> {
        let output = self
            .client
            .scan()
            .table_name(self.table(&BINDINGS))
            .filter_expression("#edge = :edge")
            .expression_attribute_names("#edge", "edge")
            .expression_attribute_values(":edge", s(edge))
            .set_exclusive_start_key(from.map(|place| key(&place.aor, Some(&place.key))))
            .consistent_read(true)
            .set_return_consumed_capacity(self.asked_capacity())
            .send()
            .await
            .map_err(failure)?;
        self.count(&BINDINGS, "Scan", output.consumed_capacity());
        let bindings = output.items.unwrap_or_default().iter().map(read_binding).collect::<Result<_>>()?;
        let text = |last: &Item, name: &str| match last.get(name) {
            Some(AttributeValue::S(text)) => Ok(text.clone()),
            _ => Err(StoreError::Corrupt(format!("no {name} in a page's last key"))),
        };
        let next = output
            .last_evaluated_key
            .map(|last| Ok::<_, StoreError>(BindingPlace { aor: text(&last, "pk")?, key: text(&last, "sk")? }));
        Ok(BindingPage { bindings, next: next.transpose()? })
    }
}
