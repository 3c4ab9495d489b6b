//! The store over DynamoDB: the same code and the same expressions on AWS and over the embedded engine.
//!
//! What each operation costs (write units of 1 KB, read units of 4 KB, strongly consistent):
//!
//! | operation | units |
//! | --- | --- |
//! | a parent: its put, its settling | 2 each (the index of open parents changes with them) |
//! | a parent's other writes, every write of a leg | 1 |
//! | put or delete of a binding, renewal of a lease | 1 |
//! | a client or number looked up by the edge | 0.5 read each, 0.5 more with an application |
//! | a client or number created or deleted | 4 (a transaction of two items) |
//!
//! A write that fails its condition costs as much as one that does not. Items keep under 1 KB for URLs of up to 300
//! characters: `tests/units.rs` counts it.

mod bindings;
mod calls;
mod client;
mod directory;
mod edges;
mod events;
mod item;
mod notifications;
mod plan;
mod reaping;
mod recordings;
mod tables;
mod timeline;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};

use self::item::{Item, Update};
use crate::table::Table;
use crate::{Result, StoreError};

pub use client::{aws_client, client_with};

/// Days for which calls, notifications and recordings are kept.
pub const RETENTION_DAYS: u64 = 90;

/// What an operation consumed, as the service reported it.
pub trait Meter: Send + Sync {
    /// Called after each operation. `operation` is the API's name (`PutItem`); units include those of indexes.
    fn consumed(&self, table: &'static str, operation: &'static str, units: f64);
}

/// Implements every trait of this crate; clones share one client.
#[derive(Clone)]
pub struct DynamoStore {
    client: Client,
    prefix: Arc<str>,
    meter: Option<Arc<dyn Meter>>,
}

/// How a conditional write ended.
enum Conditional {
    Done,
    /// The condition failed; the item as it is, if there is one.
    Failed(Option<Item>),
}

impl DynamoStore {
    /// Over the tables whose names begin with `prefix`.
    pub fn new(client: Client, prefix: &str) -> Self {
        DynamoStore { client, prefix: prefix.into(), meter: None }
    }

    /// Reports what each operation consumes.
    pub fn with_meter(self, meter: Arc<dyn Meter>) -> Self {
        DynamoStore { meter: Some(meter), ..self }
    }

    fn table(&self, table: &Table) -> String {
        table.name(&self.prefix)
    }

    fn asked_capacity(&self) -> Option<ReturnConsumedCapacity> {
        self.meter.as_ref().map(|_| ReturnConsumedCapacity::Total)
    }

    fn count(&self, table: &Table, operation: &'static str, consumed: Option<&ConsumedCapacity>) {
        if let (Some(meter), Some(consumed)) = (&self.meter, consumed) {
            meter.consumed(table.suffix, operation, consumed.capacity_units().unwrap_or_default());
        }
    }

    fn count_all(&self, table: &Table, operation: &'static str, consumed: Option<&[ConsumedCapacity]>) {
        for one in consumed.unwrap_or_default() {
            self.count(table, operation, Some(one));
        }
    }

    async fn get(&self, table: &Table, key: Item, consistent: bool) -> Result<Option<Item>> {
        let request = self.client.get_item().table_name(self.table(table)).set_key(Some(key));
        let request = request.consistent_read(consistent).set_return_consumed_capacity(self.asked_capacity());
        let output = request.send().await.map_err(failure)?;
        self.count(table, "GetItem", output.consumed_capacity());
        Ok(output.item)
    }

    /// A put under `update`'s condition (its SET and REMOVE are not used).
    async fn put_if(&self, table: &Table, item: Item, update: Update) -> Result<Conditional> {
        let request = self.client.put_item().table_name(self.table(table)).set_item(Some(item));
        let request = request
            .condition_expression(update.condition_text())
            .set_expression_attribute_names((!update.names.is_empty()).then_some(update.names))
            .set_expression_attribute_values((!update.values.is_empty()).then_some(update.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.asked_capacity());
        match request.send().await {
            Ok(output) => {
                self.count(table, "PutItem", output.consumed_capacity());
                Ok(Conditional::Done)
            }
            Err(error) => match error.as_service_error() {
                Some(aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Conditional::Failed(failed.item().cloned()))
                }
                _ => Err(failure(error)),
            },
        }
    }

    async fn update_if(&self, table: &Table, key: Item, update: Update) -> Result<Conditional> {
        let request = self.client.update_item().table_name(self.table(table)).set_key(Some(key));
        let request = request
            .update_expression(update.expression())
            .condition_expression(update.condition_text())
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.asked_capacity());
        match request.send().await {
            Ok(output) => {
                self.count(table, "UpdateItem", output.consumed_capacity());
                Ok(Conditional::Done)
            }
            Err(error) => match error.as_service_error() {
                Some(aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(
                    failed,
                )) => Ok(Conditional::Failed(failed.item().cloned())),
                _ => Err(failure(error)),
            },
        }
    }

    async fn delete_if(&self, table: &Table, key: Item, update: Update) -> Result<Conditional> {
        let request = self.client.delete_item().table_name(self.table(table)).set_key(Some(key));
        let request = request
            .condition_expression(update.condition_text())
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values((!update.values.is_empty()).then_some(update.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.asked_capacity());
        match request.send().await {
            Ok(output) => {
                self.count(table, "DeleteItem", output.consumed_capacity());
                Ok(Conditional::Done)
            }
            Err(error) => match error.as_service_error() {
                Some(aws_sdk_dynamodb::operation::delete_item::DeleteItemError::ConditionalCheckFailedException(
                    failed,
                )) => Ok(Conditional::Failed(failed.item().cloned())),
                _ => Err(failure(error)),
            },
        }
    }

    /// These items, in no order; those that are not there are left out.
    async fn batch_get(&self, table: &Table, keys: Vec<Item>) -> Result<Vec<Item>> {
        let name = self.table(table);
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(100) {
            let mut pending = chunk.to_vec();
            let mut rounds = 0;
            while !pending.is_empty() {
                let wanted = aws_sdk_dynamodb::types::KeysAndAttributes::builder()
                    .set_keys(Some(std::mem::take(&mut pending)))
                    .consistent_read(true)
                    .build()
                    .map_err(|error| StoreError::Corrupt(error.to_string()))?;
                let request = self.client.batch_get_item().request_items(&name, wanted);
                let request = request.set_return_consumed_capacity(self.asked_capacity());
                let output = request.send().await.map_err(failure)?;
                self.count_all(table, "BatchGetItem", output.consumed_capacity.as_deref());
                found.extend(output.responses.unwrap_or_default().into_values().flatten());
                let left = output.unprocessed_keys.unwrap_or_default().into_values().next();
                pending = left.map(|keys| keys.keys).unwrap_or_default();
                rounds += 1;
                if rounds == 8 && !pending.is_empty() {
                    return Err(StoreError::Unavailable("keys stay unprocessed".to_owned()));
                }
            }
        }
        Ok(found)
    }
}

/// A key of one or two string attributes.
fn key(pk: &str, sk: Option<&str>) -> Item {
    let mut write = item::Write::default();
    write.text("pk", pk).maybe_text("sk", sk);
    write.0
}

/// The condition that there is no such item yet.
fn absent() -> Update {
    let mut update = Update::default();
    let pk = update.name("pk");
    update.condition(&format!("attribute_not_exists({pk})"));
    update
}

/// Sorts a failure by what the caller can do. A wrong request is our fault and no repetition helps; all else may pass.
fn failure<E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(error: SdkError<E, R>) -> StoreError {
    match &error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("unknown");
            let message = service.err().message().unwrap_or_default();
            match code {
                "ValidationException" | "SerializationException" | "ItemCollectionSizeLimitExceededException" => {
                    StoreError::Corrupt(format!("{code}: {message}"))
                }
                _ => StoreError::Unavailable(format!("{code}: {message}")),
            }
        }
        SdkError::TimeoutError(_) => StoreError::Unavailable("no answer in time".to_owned()),
        SdkError::DispatchFailure(_) => StoreError::Unavailable("no connection".to_owned()),
        SdkError::ConstructionFailure(_) => StoreError::Corrupt("the request could not be built".to_owned()),
        _ => StoreError::Unavailable("an unreadable answer".to_owned()),
    }
}
