//! The reaper's side: claims, the index of open parents, whole items replaced.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::calls::{open_partition, read_call, write_call};
use super::item::{Read, Update, n};
use super::{Conditional, DynamoStore, absent, failure};
use crate::call::Call;
use crate::edge::{EdgeRecord, EdgeStart};
use crate::reaping::Reaping;
use crate::sid::{CallSid, SHARDS};
use crate::table::CALLS;
use crate::{Result, StoreError};

#[async_trait]
impl Reaping for DynamoStore {
    async fn claim(&self, seen: &EdgeRecord) -> Result<EdgeStart> {
        self.change_edge(&seen.id, |edge| {
            let edge = edge.ok_or(StoreError::NotFound)?;
            if !edge.live || edge.epoch != seen.epoch || edge.beat != seen.beat {
                return Err(StoreError::Conflict);
            }
            edge.live = false;
            Ok(edge.raise())
        })
        .await
    }

    async fn open_calls(&self, edge: &str, after: Option<CallSid>, limit: usize) -> Result<Vec<CallSid>> {
        let mut open = Vec::new();
        for shard in 0..SHARDS {
            let output = self
                .client
                .query()
                .table_name(self.table(&CALLS))
                .index_name("open")
                .key_condition_expression("#open = :open AND sk > :after")
                .expression_attribute_names("#open", "open")
                .expression_attribute_values(":open", AttributeValue::S(open_partition(edge, shard)))
                .expression_attribute_values(
                    ":after",
                    AttributeValue::S(after.map_or("CA".to_owned(), |sid| sid.to_string())),
                )
                .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                .set_return_consumed_capacity(self.asked_capacity())
                .send()
                .await
                .map_err(failure)?;
            self.count(&CALLS, "Query", output.consumed_capacity());
            for item in output.items.unwrap_or_default() {
                let read = Read(&item);
                open.push(read.str("sk")?.parse::<CallSid>().map_err(|_| read.bad("sk"))?);
            }
        }
        open.sort_unstable();
        open.truncate(limit);
        Ok(open)
    }

    async fn read_calls(&self, sids: &[CallSid]) -> Result<Vec<Call>> {
        self.read_items(sids).await?.iter().map(read_call).collect()
    }

    async fn replace_call(&self, call: &Call) -> Result<()> {
        let condition = if call.version == 1 {
            absent()
        } else {
            let mut update = Update::default();
            let (v, before) = (update.name("v"), update.value("before", n(call.version - 1)));
            update.condition(&format!("{v} = {before}"));
            update
        };
        match self.put_if(&CALLS, write_call(call)?, condition).await? {
            Conditional::Done => Ok(()),
            Conditional::Failed(_) => Err(StoreError::Conflict),
        }
    }

    async fn reaped(&self, edge: &str, below_epoch: u64) -> Result<()> {
        self.change_edge(edge, |edge| {
            if let Some(edge) = edge {
                edge.reaped(below_epoch);
            }
            Ok(())
        })
        .await
    }
}
