//! How a dead edge's calls ended. Pure: from what is stored to what is to be stored.
//!
//! A call that was answered is completed, any other failed; it ended at the edge's last renewal. A leg that was named
//! but never written gets the events that it is known to have had: `initiated`, `answered` if it was accepted, and
//! `completed`, as far as somebody subscribed to them.

use ringfork_state::event::event_parameters;
use ringfork_state::{
    Call, CallDescription, CallSid, CallStatus, CallbackEvent, Direction, EventKind, Owner, PlannedLeg, Unreaped,
};

/// Owner of what a reaper has closed: no edge has this epoch.
pub fn reaper(owner: &Owner) -> Owner {
    Owner { edge: owner.edge.clone(), epoch: 0 }
}

/// When the epoch that owned this call was last heard of; `None`: it is none of these epochs.
pub fn last_renewal(call: &Call, unreaped: &[Unreaped]) -> Option<u64> {
    let dead = unreaped.iter().find(|left| call.owner.epoch < left.below_epoch)?;
    Some(call.ended_unix_ms.unwrap_or(dead.last_renewal_unix_ms))
}

/// A parent's end; `open` stays until its legs' events are handed over.
pub fn parent(mut call: Call, end: u64) -> Call {
    if call.ended_unix_ms.is_none() {
        call.status = if call.answered_unix_ms.is_some() { CallStatus::Completed } else { CallStatus::Failed };
        call.ended_unix_ms = Some(end.max(call.answered_unix_ms.unwrap_or(call.description.created_unix_ms)));
    }
    call.owner = reaper(&call.owner);
    call.version += 1;
    call
}

/// A leg's end with the events that it is owed; `None`: nothing is to be written for it.
pub fn leg(parent: &Call, sid: CallSid, stored: Option<Call>, end: u64, now_unix_ms: u64) -> Option<Call> {
    let plan = parent.plan.iter().chain(&parent.plan_before).find(|planned| planned.sid == sid);
    let (mut leg, new) = match stored {
        Some(leg) if leg.ended_unix_ms.is_some() => return None,
        Some(leg) => (leg, false),
        // Named by a Dial long over and never written: nothing is known of it.
        None => (unwritten(parent, plan?), true),
    };
    let created = leg.description.created_unix_ms;
    let accepted = parent.accepted.filter(|accepted| accepted.leg == sid).map(|accepted| accepted.unix_ms);
    let mut owed = Vec::with_capacity(3);
    if new {
        owed.push((EventKind::Initiated, CallStatus::Initiated, created));
    }
    if let (None, Some(accepted)) = (leg.answered_unix_ms, accepted) {
        owed.push((EventKind::Answered, CallStatus::InProgress, accepted));
        leg.answered_unix_ms = Some(accepted);
    }
    leg.status = if leg.answered_unix_ms.is_some() { CallStatus::Completed } else { CallStatus::Failed };
    leg.ended_unix_ms = Some(end.max(leg.answered_unix_ms.unwrap_or(created)));
    owed.push((EventKind::Completed, leg.status, now_unix_ms));
    for (kind, status, fired) in owed {
        fire(&mut leg, plan, parent, kind, status, fired);
    }
    leg.owner = reaper(&parent.owner);
    leg.version += u64::from(!new);
    Some(leg)
}

/// A leg of which only the plan is known.
fn unwritten(parent: &Call, plan: &PlannedLeg) -> Call {
    let description = CallDescription {
        sid: plan.sid,
        parent: Some(parent.description.sid),
        from: plan.from.clone(),
        to: plan.to.clone(),
        caller_name: parent.description.caller_name.clone(),
        forwarded_from: None,
        direction: Direction::OutboundDial,
        created_unix_ms: plan.sid.created_unix().saturating_mul(1000).max(parent.description.created_unix_ms),
        sip_headers: plan.sip_headers.clone(),
    };
    Call::new(parent.account_sid.clone(), description, CallStatus::Initiated, parent.owner.clone())
}

/// Appends an event if it is subscribed to. No subscriber, no event.
fn fire(leg: &mut Call, plan: Option<&PlannedLeg>, parent: &Call, kind: EventKind, status: CallStatus, fired: u64) {
    let Some(callback) = plan.and_then(|plan| plan.callback.as_ref()).filter(|one| one.events.contains(kind)) else {
        return;
    };
    let sequence = leg.next_sequence;
    let duration = (kind == EventKind::Completed).then(|| {
        let ended = leg.ended_unix_ms.unwrap_or_default();
        ended.saturating_sub(leg.answered_unix_ms.unwrap_or(ended)) / 1000
    });
    leg.events.push(CallbackEvent {
        account_sid: leg.account_sid.clone(),
        leg: leg.description.sid,
        parent: parent.description.sid,
        sequence,
        kind,
        url: callback.url.clone(),
        method: callback.method,
        fired_unix_ms: fired,
        parameters: event_parameters(&leg.account_sid, &leg.description, status, sequence, fired, duration),
    });
    leg.next_sequence += 1;
}
