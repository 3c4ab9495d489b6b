//! Edges: one item each, changed under its version; a renewal is one update under its epoch.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{Item, Read, Update, Write, json, n};
use super::{Conditional, DynamoStore, absent, failure, key};
use crate::edge::{EdgeRecord, EdgeStart, Edges, Owner, Renewal};
use crate::table::EDGES;
use crate::{Result, StoreError};

/// Tries at a change that others' renewals keep getting in the way of.
const TRIES: usize = 8;

fn write_edge(edge: &EdgeRecord, version: u64) -> Result<Item> {
    let mut write = Write(key(&edge.id, None));
    write
        .number("v", version)
        .number("epoch", edge.epoch)
        .number("beat", edge.beat)
        .number("renewed", edge.renewed_unix_ms)
        .flag("live", edge.live)
        .number("load", edge.load.into())
        .flag("draining", edge.draining)
        .text("addresses", &json(&edge.addresses)?);
    if !edge.unreaped.is_empty() {
        write.text("unreaped", &json(&edge.unreaped)?);
    }
    Ok(write.0)
}

fn read_edge(item: &Item) -> Result<(EdgeRecord, u64)> {
    let read = Read(item);
    let edge = EdgeRecord {
        id: read.text("pk")?,
        epoch: read.number("epoch")?,
        beat: read.number("beat")?,
        renewed_unix_ms: read.number("renewed")?,
        live: read.flag("live"),
        unreaped: read.json("unreaped")?.unwrap_or_default(),
        addresses: read.json("addresses")?.unwrap_or_default(),
        load: read.small_number("load")?,
        draining: read.flag("draining"),
    };
    Ok((edge, read.number("v")?))
}

impl DynamoStore {
    /// Reads, changes and writes an edge's item until nobody comes in between. A missing edge is `None` for `change`
    /// and stays missing.
    pub(super) async fn change_edge<T: Send>(
        &self,
        id: &str,
        change: impl Fn(Option<&mut EdgeRecord>) -> Result<T> + Send + Sync,
    ) -> Result<T> {
        for _ in 0..TRIES {
            let Some(item) = self.get(&EDGES, key(id, None), true).await? else { return change(None) };
            let (mut edge, version) = read_edge(&item)?;
            let outcome = change(Some(&mut edge))?;
            let mut update = Update::default();
            let (v, before) = (update.name("v"), update.value("before", n(version)));
            update.condition(&format!("{v} = {before}"));
            if let Conditional::Done = self.put_if(&EDGES, write_edge(&edge, version + 1)?, update).await? {
                return Ok(outcome);
            }
        }
        Err(StoreError::Unavailable("the edge's item keeps changing".to_owned()))
    }

    async fn change_living(&self, owner: &Owner, change: impl Fn(&mut Update) + Send) -> Result<()> {
        let mut update = Update::default();
        let (epoch, mine) = (update.name("epoch"), update.value("epoch", n(owner.epoch)));
        update.condition(&format!("{epoch} = {mine}"));
        let (v, one) = (update.name("v"), update.value("one", n(1_u64)));
        update.set_to(&v, &format!("{v} + {one}"));
        change(&mut update);
        match self.update_if(&EDGES, key(&owner.edge, None), update).await? {
            Conditional::Done => Ok(()),
            Conditional::Failed(Some(_)) => Err(StoreError::Stale),
            Conditional::Failed(None) => Err(StoreError::NotFound),
        }
    }
}

#[async_trait]
impl Edges for DynamoStore {
    async fn start(&self, edge: &str, addresses: &[String], now_unix_ms: u64) -> Result<EdgeStart> {
        let raise = |record: &mut EdgeRecord| {
            let started = record.raise();
            record.started(addresses, now_unix_ms);
            started
        };
        loop {
            let changed = self.change_edge(edge, |record| Ok(record.map(raise))).await?;
            if let Some(started) = changed {
                return Ok(started);
            }
            let mut record = EdgeRecord::unborn(edge);
            let started = raise(&mut record);
            if let Conditional::Done = self.put_if(&EDGES, write_edge(&record, 1)?, absent()).await? {
                return Ok(started);
            }
        }
    }

    async fn renew(&self, owner: &Owner, renewal: &Renewal) -> Result<()> {
        self.change_living(owner, |update| {
            let (live, yes) = (update.name("live"), update.value("live", AttributeValue::Bool(true)));
            update.condition(&format!("{live} = {yes}"));
            let beat = update.name("beat");
            update.set_to(&beat, &format!("{beat} + :one"));
            update.set("renewed", n(renewal.now_unix_ms));
            update.set("load", n(renewal.load));
            update.set("draining", AttributeValue::Bool(renewal.draining));
        })
        .await
    }

    async fn stop(&self, owner: &Owner) -> Result<()> {
        self.change_living(owner, |update| {
            let live = update.name("live");
            update.remove(&live);
        })
        .await
    }

    async fn edges(&self) -> Result<Vec<EdgeRecord>> {
        let mut edges = Vec::new();
        let mut from = None;
        loop {
            let request = self.client.scan().table_name(self.table(&EDGES)).consistent_read(true);
            let request = request.set_exclusive_start_key(from).set_return_consumed_capacity(self.asked_capacity());
            let output = request.send().await.map_err(failure)?;
            self.count(&EDGES, "Scan", output.consumed_capacity());
            for item in output.items.unwrap_or_default() {
                edges.push(read_edge(&item)?.0);
            }
            from = output.last_evaluated_key;
            if from.is_none() {
                return Ok(edges);
            }
        }
    }
}
