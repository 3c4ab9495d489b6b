//! The plan of a Dial within its parent's item, in few bytes: ten legs and a URL of 300 characters must leave the item
//! under 1 KB.
//!
//! JSON. What legs share stands once, neighbours that share it are one group, and a client's several devices are one
//! entry with their number. The SIDs are not in it: a plan's legs are the last ones of the item's list of legs, and
//! those of the plan before are the ones before these.

use serde::{Deserialize, Serialize};

use super::item::json;
use crate::call::PlannedLeg;
use crate::event::{Callback, Events, Method};
use crate::sid::CallSid;
use crate::{Result, StoreError};

#[derive(Serialize, Deserialize)]
struct Stored {
    /// `From`s.
    #[serde(rename = "f")]
    from: Vec<String>,
    /// Callbacks.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    callbacks: Vec<StoredCallback>,
    /// Sets of headers.
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<Vec<(String, String)>>,
    /// The legs in order.
    #[serde(rename = "g")]
    groups: Vec<Group>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredCallback {
    /// All events by POST.
    Plain(String),
    Other(Callback),
}

/// Places of From, callback and headers, and who is rung.
#[derive(Serialize, Deserialize)]
struct Group(usize, Option<usize>, Option<usize>, Vec<Rung>);

/// `To`, and how many legs in a row have it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Rung {
    Once(String),
    Times(String, usize),
}

impl StoredCallback {
    fn of(callback: &Callback) -> Self {
        if callback.method == Method::Post && callback.events == Events::ALL {
            StoredCallback::Plain(callback.url.clone())
        } else {
            StoredCallback::Other(callback.clone())
        }
    }

    fn read(&self) -> Callback {
        match self {
            StoredCallback::Plain(url) => Callback { url: url.clone(), method: Method::Post, events: Events::ALL },
            StoredCallback::Other(callback) => callback.clone(),
        }
    }
}

fn place<T: PartialEq>(list: &mut Vec<T>, value: T) -> usize {
    list.iter().position(|one| *one == value).unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    })
}

/// Writes a plan.
pub(super) fn write(legs: &[PlannedLeg]) -> Result<String> {
    let mut stored = Stored { from: Vec::new(), callbacks: Vec::new(), headers: Vec::new(), groups: Vec::new() };
    for leg in legs {
        let from = place(&mut stored.from, leg.from.clone());
        let callback = leg.callback.as_ref().map(|one| place(&mut stored.callbacks, StoredCallback::of(one)));
        let headers = (!leg.sip_headers.is_empty()).then(|| place(&mut stored.headers, leg.sip_headers.clone()));
        match stored.groups.last_mut() {
            Some(Group(f, c, h, rung)) if (*f, *c, *h) == (from, callback, headers) => add(rung, &leg.to),
            _ => stored.groups.push(Group(from, callback, headers, vec![Rung::Once(leg.to.clone())])),
        }
    }
    json(&stored)
}

fn add(rung: &mut Vec<Rung>, to: &str) {
    let times = match rung.last() {
        Some(Rung::Once(last)) if last == to => 1,
        Some(Rung::Times(last, times)) if last == to => *times,
        _ => return rung.push(Rung::Once(to.to_owned())),
    };
    rung.pop();
    rung.push(Rung::Times(to.to_owned(), times + 1));
}

/// Reads a plan whose legs are the last of `legs`; returns those before them, and the plan.
pub(super) fn read<'a>(text: &str, legs: &'a [CallSid]) -> Option<(&'a [CallSid], Vec<PlannedLeg>)> {
    let stored: Stored = serde_json::from_str(text).ok()?;
    let rung = stored.groups.iter().flat_map(|group| &group.3);
    let mut number = rung.map(|rung| if let Rung::Times(_, times) = rung { *times } else { 1 });
    let number = number.try_fold(0_usize, usize::checked_add)?;
    let (before, mut sids) = legs.split_at_checked(legs.len().checked_sub(number)?)?;
    let mut plan = Vec::with_capacity(number);
    for Group(from, callback, headers, rung) in &stored.groups {
        let callback = callback.map(|place| stored.callbacks.get(place).map(StoredCallback::read).ok_or(()));
        let callback = callback.transpose().ok()?;
        let sip_headers = headers.map_or(Some(Vec::new()), |place| stored.headers.get(place).cloned())?;
        for one in rung {
            let (to, times) = match one {
                Rung::Once(to) => (to, 1),
                Rung::Times(to, times) => (to, *times),
            };
            let (own, rest) = sids.split_at_checked(times)?;
            sids = rest;
            plan.extend(own.iter().map(|sid| PlannedLeg {
                sid: *sid,
                from: stored.from.get(*from).cloned().unwrap_or_default(),
                to: to.clone(),
                callback: callback.clone(),
                sip_headers: sip_headers.clone(),
            }));
        }
    }
    Some((before, plan))
}

/// The two plans of an item whose legs end otherwise cannot be stored.
pub(super) fn check(legs: &[CallSid], before: &[PlannedLeg], plan: &[PlannedLeg]) -> Result<()> {
    let planned = before.iter().chain(plan).map(|leg| leg.sid);
    let tail = legs.len().checked_sub(before.len() + plan.len()).and_then(|at| legs.get(at..));
    if tail.is_some_and(|tail| tail.iter().copied().eq(planned)) {
        Ok(())
    } else {
        Err(StoreError::Corrupt("a plan's legs are not the call's last ones".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leg(sid: u8, from: u8, to: u8, callback: Option<(u8, bool, u8)>, headers: u8) -> PlannedLeg {
        PlannedLeg {
            sid: CallSid([sid; 16]),
            from: format!("client:{from}"),
            to: format!("client:\"{to}\""),
            callback: callback.map(|(url, get, events)| Callback {
                url: format!("https://example.com/{url}"),
                method: if get { Method::Get } else { Method::Post },
                events: Events::from(events % 16),
            }),
            sip_headers: (0..headers % 3).map(|n| (format!("X-{n}"), "v".to_owned())).collect(),
        }
    }

    proptest! {
        /// Whatever the legs share or not, they come back as they were, and so do the ones before them.
        #[test]
        fn plans_come_back_as_they_were(
            parts in proptest::collection::vec((0..2_u8, 0..3_u8, proptest::option::of((0..2_u8, any::<bool>(), 12..16_u8)), 0..3_u8), 0..30),
            older in 0..5_usize,
        ) {
            let plan: Vec<_> = (10..).zip(parts).map(|(sid, (from, to, callback, headers))| leg(sid, from, to, callback, headers)).collect();
            let legs: Vec<_> = (0..older).map(|_| CallSid([1; 16])).chain(plan.iter().map(|leg| leg.sid)).collect();
            let text = write(&plan).unwrap();
            let (before, found) = read(&text, &legs).unwrap();
            prop_assert_eq!(before.len(), older);
            prop_assert_eq!(found, plan);
        }
    }

    #[test]
    fn what_cannot_be_a_plan_is_refused() {
        let sids = [CallSid([1; 16])];
        for text in [
            "{",
            r#"{"f":["a"],"g":[[0,null,null,["b","c"]]]}"#,
            r#"{"f":["a"],"g":[[0,null,null,[["b",18446744073709551615],["c",2]]]]}"#,
            r#"{"f":["a"],"g":[[0,3,null,["b"]]]}"#,
            r#"{"f":["a"],"g":[[0,null,3,["b"]]]}"#,
        ] {
            assert!(read(text, &sids).is_none(), "{text}");
        }
    }
}
