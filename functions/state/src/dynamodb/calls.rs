//! Calls and legs: their items, and the one conditional write that each step is.
//!
//! Partition: the SID's time bucket and shard; sort key: the SID. A parent carries `open` while a reaper would have to
//! look at it.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::events::{self, Leg};
use super::item::{Item, Read, Update, Write, b, json, n, s};
use super::timeline::{self, Span};
use super::{Conditional, DynamoStore, RETENTION_DAYS, absent, key, plan};
use crate::call::{
    Accepted, Call, CallDescription, CallFilter, CallQueries, CallStatus, CallWrite, Calls, Direction, PlannedLeg,
};
use crate::edge::Owner;
use crate::event::{CallbackEvent, Method};
use crate::page::{Page, PageRequest};
use crate::sid::CallSid;
use crate::table::CALLS;
use crate::{Result, StoreError};

/// Partition of a call.
pub(super) fn partition(sid: CallSid) -> String {
    timeline::partition("c", sid.created_unix(), sid.shard())
}

/// Key of a call.
pub(super) fn call_key(sid: CallSid) -> Item {
    key(&partition(sid), Some(&sid.to_string()))
}

/// Hash of the index of open parents.
pub(super) fn open_partition(edge: &str, shard: u8) -> String {
    format!("{edge}/{shard}")
}

fn owner_text(owner: &Owner) -> String {
    format!("{}/{}", owner.edge, owner.epoch)
}

/// The whole item.
pub(super) fn write_call(call: &Call) -> Result<Item> {
    let about = &call.description;
    let mut write = Write(call_key(about.sid));
    write
        .text("owner", &owner_text(&call.owner))
        .number("v", call.version)
        .text("account", &call.account_sid)
        .maybe_text("parent", about.parent.map(|parent| parent.to_string()).as_deref())
        .text("from", &about.from)
        .text("to", &about.to)
        .maybe_text("name", about.caller_name.as_deref())
        .maybe_text("diverted", about.forwarded_from.as_deref())
        .text("dir", about.direction.as_str())
        .number("created", about.created_unix_ms)
        .text("status", call.status.as_str())
        .maybe_number("answered", call.answered_unix_ms)
        .maybe_number("ended", call.ended_unix_ms)
        .number("ttl", about.sid.created_unix() + RETENTION_DAYS * 86_400);
    if !about.sip_headers.is_empty() {
        write.text("headers", &json(&about.sip_headers)?);
    }
    if about.parent.is_some() {
        write.number("next", call.next_sequence.into());
        let mut stored = Item::new();
        for event in &call.events {
            stored.insert(event.sequence.to_string(), s(stored_event(event, Some(call))?));
        }
        write.put("events", AttributeValue::M(stored));
        if let Some(event) = call.events.first() {
            write.text("url", &event.url).text("method", event.method.as_str());
        }
    }
    if !call.legs.is_empty() {
        write.put("legs", sid_list(&call.legs));
    }
    plan::check(&call.legs, &call.plan_before, &call.plan)?;
    if !call.plan.is_empty() {
        write.text("plan", &plan::write(&call.plan)?);
    }
    if !call.plan_before.is_empty() {
        write.text("plan0", &plan::write(&call.plan_before)?);
    }
    if let Some(accepted) = call.accepted {
        write.put("accepted", b(&accepted.leg.0)).number("accepted_at", accepted.unix_ms);
    }
    if call.open {
        write.text("open", &open_partition(&call.owner.edge, about.sid.shard()));
    }
    Ok(write.0)
}

fn sid_list(sids: &[CallSid]) -> AttributeValue {
    AttributeValue::L(sids.iter().map(|sid| b(&sid.0)).collect())
}

fn stored_event(event: &CallbackEvent, call: Option<&Call>) -> Result<String> {
    let leg = call.map(|call| Leg { account_sid: &call.account_sid, description: &call.description });
    events::encode(event, leg.as_ref()).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Reads an item.
pub(super) fn read_call(item: &Item) -> Result<Call> {
    let read = Read(item);
    let sid_of = |name: &str| -> Result<Option<CallSid>> {
        read.maybe_str(name)?.map(|text| text.parse().map_err(|_| read.bad(name))).transpose()
    };
    let owner = read.str("owner")?.rsplit_once('/').and_then(|(edge, epoch)| Some((edge, epoch.parse().ok()?)));
    let (edge, epoch) = owner.ok_or_else(|| read.bad("owner"))?;
    let description = CallDescription {
        sid: sid_of("sk")?.ok_or_else(|| read.bad("sk"))?,
        parent: sid_of("parent")?,
        from: read.text("from")?,
        to: read.text("to")?,
        caller_name: read.maybe_text("name")?,
        forwarded_from: read.maybe_text("diverted")?,
        direction: Direction::parse(read.str("dir")?).ok_or_else(|| read.bad("dir"))?,
        created_unix_ms: read.number("created")?,
        sip_headers: read.json("headers")?.unwrap_or_default(),
    };
    let mut call = Call::new(
        read.text("account")?,
        description,
        CallStatus::parse(read.str("status")?).ok_or_else(|| read.bad("status"))?,
        Owner { edge: edge.into(), epoch },
    );
    call.version = read.number("v")?;
    call.answered_unix_ms = read.maybe_number("answered")?;
    call.ended_unix_ms = read.maybe_number("ended")?;
    call.next_sequence = u32::try_from(read.maybe_number("next")?.unwrap_or(0)).map_err(|_| read.bad("next"))?;
    call.events = read_events(read, &call)?;
    call.legs = read.list("legs")?.iter().map(read_sid).collect::<Option<_>>().ok_or_else(|| read.bad("legs"))?;
    let before = read_plan(read, "plan", &call.legs, &mut call.plan)?;
    read_plan(read, "plan0", before, &mut call.plan_before)?;
    if let Some(leg) = item.get("accepted") {
        let leg = read_sid(leg).ok_or_else(|| read.bad("accepted"))?;
        call.accepted = Some(Accepted { leg, unix_ms: read.number("accepted_at")? });
    }
    call.open = item.contains_key("open");
    Ok(call)
}

fn read_sid(value: &AttributeValue) -> Option<CallSid> {
    value.as_b().ok().and_then(|blob| blob.as_ref().try_into().ok()).map(CallSid)
}

/// Reads a plan, whose legs are the last of these; returns those before them.
fn read_plan<'a>(read: Read<'_>, name: &str, legs: &'a [CallSid], plan: &mut Vec<PlannedLeg>) -> Result<&'a [CallSid]> {
    let Some(text) = read.maybe_str(name)?.filter(|text| !text.is_empty()) else { return Ok(legs) };
    let (before, found) = plan::read(text, legs).ok_or_else(|| read.bad(name))?;
    *plan = found;
    Ok(before)
}

fn read_events(read: Read<'_>, call: &Call) -> Result<Vec<CallbackEvent>> {
    let Some(stored) = read.map("events")?.filter(|stored| !stored.is_empty()) else { return Ok(Vec::new()) };
    let parent = call.description.parent.ok_or_else(|| read.bad("parent"))?;
    let leg = Leg { account_sid: &call.account_sid, description: &call.description };
    let url = read.str("url")?;
    let method = if read.str("method")? == "GET" { Method::Get } else { Method::Post };
    let mut events = Vec::with_capacity(stored.len());
    for (sequence, text) in stored {
        let event = sequence.parse().ok().zip(text.as_s().ok());
        let event = event.and_then(|(sequence, text)| events::decode(text, sequence, &leg, parent, url, method));
        events.push(event.ok_or_else(|| read.bad("events"))?);
    }
    events.sort_unstable_by_key(|event| event.sequence);
    Ok(events)
}

/// The update that a later write is.
fn update_of(owner: &Owner, version: u64, write: &CallWrite) -> Result<Update> {
    let mut update = Update::default();
    let owned = (update.name("owner"), update.value("owner", s(owner_text(owner))));
    update.condition(&format!("{} = {}", owned.0, owned.1));
    let counted = (update.name("v"), update.value("before", n(version.saturating_sub(1))));
    update.condition(&format!("{} = {}", counted.0, counted.1));
    update.set("v", n(version));
    match write {
        CallWrite::PutParent { status, .. } => step(&mut update, *status, None, None),
        CallWrite::NameLegs { legs, .. } => {
            let none = update.value("none", AttributeValue::L(Vec::new()));
            let (list, new) = (
                update.name("legs"),
                update.value("legs", sid_list(&legs.iter().map(|leg| leg.sid).collect::<Vec<_>>())),
            );
            update.set_to(&list, &format!("list_append(if_not_exists({list}, {none}), {new})"));
            let (plan, before) = (update.name("plan"), update.name("plan0"));
            let empty = update.value("empty", s(""));
            update.set_to(&before, &format!("if_not_exists({plan}, {empty})"));
            update.set("plan", s(plan::write(legs)?));
        }
        CallWrite::Accept { accepted, .. } => {
            update.set("accepted", b(&accepted.leg.0));
            update.set("accepted_at", n(accepted.unix_ms));
            update.set("status", s(CallStatus::InProgress.as_str()));
            let (path, at) = (update.name("answered"), update.value("accepted_at", n(accepted.unix_ms)));
            update.set_to(&path, &format!("if_not_exists({path}, {at})"));
        }
        CallWrite::Leg { status, answered_unix_ms, ended_unix_ms, event, handed_over, .. } => {
            step(&mut update, *status, *answered_unix_ms, *ended_unix_ms);
            if let Some(event) = event {
                append(&mut update, event)?;
            }
            clear(&mut update, handed_over);
        }
        CallWrite::ClearEvents { handed_over, .. } => clear(&mut update, handed_over),
        CallWrite::Parent { status, answered_unix_ms, ended_unix_ms, settled, .. } => {
            step(&mut update, *status, *answered_unix_ms, *ended_unix_ms);
            if *settled {
                let open = update.name("open");
                update.remove(&open);
            }
        }
        CallWrite::Settle { .. } => {
            let open = update.name("open");
            update.remove(&open);
        }
    }
    Ok(update)
}

fn step(update: &mut Update, status: CallStatus, answered: Option<u64>, ended: Option<u64>) {
    update.set("status", s(status.as_str()));
    for (name, time) in [("answered", answered), ("ended", ended)] {
        if let Some(time) = time {
            update.set(name, n(time));
        }
    }
}

/// Appends an event: `events.SEQUENCE`, the next number, and the URL if no event came before.
fn append(update: &mut Update, event: &CallbackEvent) -> Result<()> {
    let (events, place) = (update.name("events"), update.name(&event.sequence.to_string()));
    let stored = update.value("event", s(stored_event(event, None)?));
    update.set_to(&format!("{events}.{place}"), &stored);
    update.set("next", n(event.sequence + 1));
    for (name, value) in [("url", event.url.as_str()), ("method", event.method.as_str())] {
        let (path, value) = (update.name(name), update.value(name, s(value)));
        update.set_to(&path, &format!("if_not_exists({path}, {value})"));
    }
    Ok(())
}

fn clear(update: &mut Update, handed_over: &[u32]) {
    for sequence in handed_over {
        let (events, place) = (update.name("events"), update.name(&sequence.to_string()));
        update.remove(&format!("{events}.{place}"));
    }
}

/// Why a write's condition failed; success if it was this very write that is in place.
fn judge(owner: &Owner, version: u64, stored: Option<Item>) -> Result<()> {
    let Some(item) = stored else { return Err(StoreError::NotFound) };
    let read = Read(&item);
    if read.str("owner")? != owner_text(owner) {
        Err(StoreError::Stale)
    } else if read.number("v")? == version {
        Ok(())
    } else {
        Err(StoreError::Conflict)
    }
}

#[async_trait]
impl Calls for DynamoStore {
    async fn write(&self, owner: &Owner, version: u64, write: &CallWrite) -> Result<()> {
        let done = if version == 1 {
            let call = Call::made_by(owner, write).ok_or(StoreError::NotFound)?;
            self.put_if(&CALLS, write_call(&call)?, absent()).await?
        } else {
            self.update_if(&CALLS, call_key(write.sid()), update_of(owner, version, write)?).await?
        };
        match done {
            Conditional::Done => Ok(()),
            Conditional::Failed(stored) => judge(owner, version, stored),
        }
    }
}

#[async_trait]
impl CallQueries for DynamoStore {
    async fn call(&self, sid: CallSid) -> Result<Option<Call>> {
        self.get(&CALLS, call_key(sid), true).await?.as_ref().map(read_call).transpose()
    }

    async fn calls(&self, filter: &CallFilter, request: &PageRequest) -> Result<Page<Call>> {
        if let Some(parent) = filter.parent {
            return self.legs_of(parent, filter, request).await;
        }
        let span = Span { kind: "c", from: filter.created_from, until: filter.created_until, shard: None };
        let pick = |item: &Item| read_call(item).map(|call| filter.matches(&call).then_some(call));
        let (found, stopped) = self.timeline(&CALLS, &span, request, pick).await?;
        Ok(Page::cut(request, found, stopped, |call| call.description.sid.to_string()))
    }
}

impl DynamoStore {
    /// The parent names its legs, so they are read by their keys.
    async fn legs_of(&self, parent: CallSid, filter: &CallFilter, request: &PageRequest) -> Result<Page<Call>> {
        let Some(parent) = self.call(parent).await? else { return Ok(Page::empty()) };
        let legs = self.read_items(&parent.legs).await?;
        let mut calls: Vec<Call> = legs.iter().map(read_call).collect::<Result<_>>()?;
        calls.retain(|call| filter.matches(call));
        calls.sort_unstable_by_key(|call| call.description.sid);
        Ok(timeline::page_of(calls, request, |call| call.description.sid.to_string()))
    }

    /// Items of these calls, strongly consistent.
    pub(super) async fn read_items(&self, sids: &[CallSid]) -> Result<Vec<Item>> {
        self.batch_get(&CALLS, sids.iter().map(|sid| call_key(*sid)).collect()).await
    }
}
