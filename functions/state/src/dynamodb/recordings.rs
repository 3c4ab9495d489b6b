//! Recordings: beside the calls, in partitions of their own, by the time and shard of their SID.

use async_trait::async_trait;

use super::item::{Item, Read, Update, Write, n};
use super::timeline::{self, Span};
use super::{Conditional, DynamoStore, RETENTION_DAYS, absent, key};
use crate::page::{Page, PageRequest};
use crate::recording::{Recording, RecordingFilter, Recordings};
use crate::sid::{self, CallSid};
use crate::table::CALLS;
use crate::{Result, StoreError};

fn recording_key(sid: &str) -> Option<Item> {
    // A recording's SID is laid out as a call's.
    let place = CallSid(sid::parse("RE", sid).ok()?);
    Some(key(&timeline::partition("r", place.created_unix(), place.shard()), Some(sid)))
}

fn no_sid() -> StoreError {
    StoreError::Corrupt("not a recording's SID".to_owned())
}

fn read_recording(item: &Item) -> Result<Recording> {
    let read = Read(item);
    let created_unix_ms = read.number("at")?;
    Ok(Recording {
        sid: read.text("sk")?,
        account_sid: read.text("account")?,
        call: read.str("call")?.parse().map_err(|_| read.bad("call"))?,
        created_unix_ms,
        updated_unix_ms: read.maybe_number("ended")?.unwrap_or(created_unix_ms),
        seconds: read.maybe_number("seconds")?.and_then(|seconds| u32::try_from(seconds).ok()),
    })
}

#[async_trait]
impl Recordings for DynamoStore {
    async fn put_recording(&self, recording: &Recording) -> Result<()> {
        let mut write = Write(recording_key(&recording.sid).ok_or_else(no_sid)?);
        write
            .text("account", &recording.account_sid)
            .text("call", &recording.call.to_string())
            .number("at", recording.created_unix_ms)
            .maybe_number("seconds", recording.seconds.map(u64::from))
            .maybe_number("ended", recording.seconds.map(|_| recording.updated_unix_ms))
            .number("ttl", recording.created_unix_ms / 1000 + RETENTION_DAYS * 86_400);
        match self.put_if(&CALLS, write.0, absent()).await? {
            Conditional::Done | Conditional::Failed(_) => Ok(()),
        }
    }

    async fn end_recording(&self, sid: &str, seconds: u32, now_unix_ms: u64) -> Result<()> {
        let mut update = Update::default();
        let (pk, set) = (update.name("pk"), update.name("seconds"));
        update.condition(&format!("attribute_exists({pk}) AND attribute_not_exists({set})"));
        update.set("seconds", n(seconds));
        update.set("ended", n(now_unix_ms));
        match self.update_if(&CALLS, recording_key(sid).ok_or_else(no_sid)?, update).await? {
            Conditional::Done | Conditional::Failed(_) => Ok(()),
        }
    }

    async fn recording(&self, sid: &str) -> Result<Option<Recording>> {
        let Some(place) = recording_key(sid) else { return Ok(None) };
        self.get(&CALLS, place, true).await?.as_ref().map(read_recording).transpose()
    }

    async fn recordings(&self, filter: &RecordingFilter, request: &PageRequest) -> Result<Page<Recording>> {
        let from = filter.call.map(|call| call.created_unix()).max(filter.from);
        let span = Span { kind: "r", from, until: filter.until, shard: None };
        let pick = |item: &Item| read_recording(item).map(|found| filter.matches(&found).then_some(found));
        let (found, stopped) = self.timeline(&CALLS, &span, request, pick).await?;
        Ok(Page::cut(request, found, stopped, |found| found.sid.clone()))
    }

    async fn delete_recording(&self, sid: &str) -> Result<bool> {
        let Some(place) = recording_key(sid) else { return Ok(false) };
        let mut update = Update::default();
        let pk = update.name("pk");
        update.condition(&format!("attribute_exists({pk})"));
        match self.delete_if(&CALLS, place, update).await? {
            Conditional::Done => Ok(true),
            Conditional::Failed(_) => Ok(false),
        }
    }
}
