//! Notifications: beside the calls, in partitions of their own, in the shard of their call.

use async_trait::async_trait;

use super::item::{Item, Read, Write};
use super::timeline::{self, Span};
use super::{Conditional, DynamoStore, RETENTION_DAYS, absent, key};
use crate::notification::{Level, Notification, NotificationFilter, Notifications, cut_message};
use crate::page::{Page, PageRequest};
use crate::sid::{self, CallSid};
use crate::table::CALLS;
use crate::{Result, StoreError};

fn notification_key(sid: &str) -> Option<Item> {
    // A notification's SID is laid out as a call's.
    let place = CallSid(sid::parse("NO", sid).ok()?);
    Some(key(&timeline::partition("n", place.created_unix(), place.shard()), Some(sid)))
}

fn read_notification(item: &Item) -> Result<Notification> {
    let read = Read(item);
    Ok(Notification {
        sid: read.text("sk")?,
        account_sid: read.text("account")?,
        call: read.str("call")?.parse().map_err(|_| read.bad("call"))?,
        unix_ms: read.number("at")?,
        level: if read.flag("error") { Level::Error } else { Level::Warning },
        code: read.small_number("code")?,
        message: read.text("message")?,
        url: read.maybe_text("url")?,
        line: read.maybe_number("line")?.and_then(|line| u32::try_from(line).ok()),
    })
}

#[async_trait]
impl Notifications for DynamoStore {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let place = notification_key(&notification.sid);
        let mut write = Write(place.ok_or_else(|| StoreError::Corrupt("not a notification's SID".to_owned()))?);
        write
            .text("account", &notification.account_sid)
            .text("call", &notification.call.to_string())
            .number("at", notification.unix_ms)
            .flag("error", notification.level == Level::Error)
            .number("code", notification.code.into())
            .text("message", cut_message(&notification.message))
            .maybe_text("url", notification.url.as_deref())
            .maybe_number("line", notification.line.map(u64::from))
            .number("ttl", notification.unix_ms / 1000 + RETENTION_DAYS * 86_400);
        match self.put_if(&CALLS, write.0, absent()).await? {
            Conditional::Done | Conditional::Failed(_) => Ok(()),
        }
    }

    async fn notification(&self, sid: &str) -> Result<Option<Notification>> {
        let Some(place) = notification_key(sid) else { return Ok(None) };
        self.get(&CALLS, place, true).await?.as_ref().map(read_notification).transpose()
    }

    async fn notifications(&self, filter: &NotificationFilter, request: &PageRequest) -> Result<Page<Notification>> {
        let from = filter.call.map(|call| call.created_unix()).max(filter.from);
        let shard = filter.call.map(|call| call.shard());
        let span = Span { kind: "n", from, until: filter.until, shard };
        let pick = |item: &Item| read_notification(item).map(|found| filter.matches(&found).then_some(found));
        let (found, stopped) = self.timeline(&CALLS, &span, request, pick).await?;
        Ok(Page::cut(request, found, stopped, |found| found.sid.clone()))
    }
}
