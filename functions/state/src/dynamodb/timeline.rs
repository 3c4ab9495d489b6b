//! Lists by time over time buckets and shards, without an index: calls, notifications, recordings.
//!
//! A partition is a kind, a time bucket and a shard; its sort keys are SIDs, which sort by time. A page is merged from
//! the shards, bucket by bucket, and ends early after [`READ_AT_MOST`] items so that a filter cannot read everything.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{Item, Read};
use super::{DynamoStore, RETENTION_DAYS, failure};
use crate::page::{Cursor, Page, PageRequest};
use crate::sid::{self, SHARDS};
use crate::table::Table;
use crate::{Result, StoreError};

/// Seconds of one bucket as a power of two: 2^21 s are about 24 days. Changing it makes stored items unreachable.
const BUCKET_BITS: u32 = 21;

/// Items that one page may read.
const READ_AT_MOST: usize = 20_000;

/// Days that the clock of whoever made a SID may be ahead, and that an expired item may linger.
const SLACK_DAYS: u64 = 3;

/// Partition of an item of this kind and time.
pub(super) fn partition(kind: &str, unix_seconds: u64, shard: u8) -> String {
    bucket_partition(kind, unix_seconds >> BUCKET_BITS, shard)
}

fn bucket_partition(kind: &str, bucket: u64, shard: u8) -> String {
    format!("{kind}{bucket:x}.{shard}")
}

/// What a list covers.
pub(super) struct Span {
    /// Kind of the partitions.
    pub kind: &'static str,
    /// At or after, Unix seconds.
    pub from: Option<u64>,
    /// Before, Unix seconds.
    pub until: Option<u64>,
    /// Only this shard.
    pub shard: Option<u8>,
}

/// A step through one bucket: SIDs strictly between these, by text.
struct Between {
    above: String,
    below: String,
}

impl DynamoStore {
    /// What passes `pick`, nearest to the cursor first, up to one more than the page; and where reading stopped early.
    pub(super) async fn timeline<T>(
        &self,
        table: &Table,
        span: &Span,
        request: &PageRequest,
        pick: impl Fn(&Item) -> Result<Option<T>> + Send + Sync,
    ) -> Result<(Vec<T>, Option<String>)>
    where
        T: Send,
    {
        let prefix = match span.kind {
            "c" => "CA",
            "r" => "RE",
            _ => "NO",
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let first = now.saturating_sub((RETENTION_DAYS + SLACK_DAYS) * 86_400).max(span.from.unwrap_or(0));
        let last = (now + SLACK_DAYS * 86_400).min(span.until.unwrap_or(u64::MAX).saturating_sub(1));
        // Text bounds that hold no SID themselves: `CA` + time sorts just before every SID of that second.
        let mut above = format!("{prefix}{:08x}", span.from.unwrap_or(0));
        let mut below = span.until.map_or_else(|| format!("{prefix}g"), |until| format!("{prefix}{until:08x}"));
        let (mut oldest, mut newest) = (first, last);
        let place = |sid: &str| sid::created_unix(sid).ok_or(StoreError::NotFound);
        let downwards = match &request.cursor {
            Cursor::Newest => true,
            Cursor::Older(before) => {
                newest = newest.min(place(before)?);
                below = below.min(before.clone());
                true
            }
            Cursor::Newer(after) => {
                oldest = oldest.max(place(after)?);
                above = above.max(after.clone());
                false
            }
        };
        let mut buckets: Vec<u64> = ((oldest >> BUCKET_BITS)..=(newest >> BUCKET_BITS)).collect();
        if downwards {
            buckets.reverse();
        }
        let mut found = Vec::new();
        let mut read = 0;
        for bucket in buckets {
            let mut left = Between { above: above.clone(), below: below.clone() };
            loop {
                let (items, horizon) = self.step(table, span, bucket, &left, downwards, request.size + 1).await?;
                read += items.len();
                for (sid, item) in items {
                    found.extend(pick(&item)?);
                    if found.len() > request.size {
                        return Ok((found, None));
                    }
                    if read >= READ_AT_MOST && horizon.as_ref() == Some(&sid) {
                        return Ok((found, Some(sid)));
                    }
                }
                match horizon {
                    Some(sid) if downwards => left.below = sid,
                    Some(sid) => left.above = sid,
                    None => break,
                }
            }
        }
        Ok((found, None))
    }

    /// Some items of one bucket in order, and the SID up to which nothing is missing (`None`: all of the bucket).
    async fn step(
        &self,
        table: &Table,
        span: &Span,
        bucket: u64,
        left: &Between,
        downwards: bool,
        limit: usize,
    ) -> Result<(Vec<(String, Item)>, Option<String>)> {
        let mut asked = tokio::task::JoinSet::new();
        for shard in span.shard.map_or(0..SHARDS, |shard| shard..shard + 1) {
            let request = self
                .client
                .query()
                .table_name(self.table(table))
                .key_condition_expression("pk = :pk AND sk BETWEEN :above AND :below")
                .expression_attribute_values(":pk", AttributeValue::S(bucket_partition(span.kind, bucket, shard)))
                .expression_attribute_values(":above", AttributeValue::S(left.above.clone()))
                .expression_attribute_values(":below", AttributeValue::S(left.below.clone()))
                .scan_index_forward(!downwards)
                // BETWEEN holds both ends: the one that was read last may come again.
                .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
                .consistent_read(true)
                .set_return_consumed_capacity(self.asked_capacity());
            asked.spawn(request.send());
        }
        let mut all = Vec::new();
        let mut horizon: Option<String> = None;
        while let Some(answer) = asked.join_next().await {
            let answer = answer.map_err(|_| StoreError::Unavailable("a query was lost".to_owned()))?;
            let output = answer.map_err(failure)?;
            self.count(table, "Query", output.consumed_capacity());
            let more = output.last_evaluated_key.is_some();
            let mut last = None;
            for item in output.items.unwrap_or_default() {
                let sid = Read(&item).text("sk")?;
                last = Some(sid.clone());
                if sid != left.above && sid != left.below {
                    all.push((sid, item));
                }
            }
            if let (true, Some(last)) = (more, last) {
                let nearer = horizon.as_ref().is_none_or(|known| if downwards { last > *known } else { last < *known });
                if nearer {
                    horizon = Some(last);
                }
            }
        }
        all.sort_unstable_by(|(a, _), (b, _)| if downwards { b.cmp(a) } else { a.cmp(b) });
        if let Some(horizon) = &horizon {
            all.retain(|(sid, _)| if downwards { sid >= horizon } else { sid <= horizon });
        }
        Ok((all, horizon))
    }
}

/// A page of a short list that is at hand, oldest first.
pub(super) fn page_of<T>(list: Vec<T>, request: &PageRequest, sid: impl Fn(&T) -> String) -> Page<T> {
    let limit = request.size + 1;
    let found: Vec<T> = match &request.cursor {
        Cursor::Newest => list.into_iter().rev().take(limit).collect(),
        Cursor::Older(before) => list.into_iter().rev().filter(|one| sid(one) < *before).take(limit).collect(),
        Cursor::Newer(after) => list.into_iter().filter(|one| sid(one) > *after).take(limit).collect(),
    };
    Page::cut(request, found, None, sid)
}
