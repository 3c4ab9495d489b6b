//! One leg of a fork, a type for each of its states: [`Planned`], [`Live`], [`Winner`], [`Ended`].
//!
//! A leg goes from one to the next by value, so that it cannot be in two of them; an [`Ended`] is made only by using up
//! the leg's log, which fires its one terminal event.

use std::sync::Arc;
use std::time::Instant;

use ringfork_rcml::program::Noun;

use super::desk::{Desk, Document};
use super::events::LegLog;
use super::identity::{LegIdentity, leg_to};
use super::screening::{Screening, Verdict};
use super::signals::{CallOutput, Invite, LegId, Target, Ticket};
use super::voice::Heard;
use super::{CallDescription, CallSid, CallStatus, LegPlan};
use crate::action::Now;

/// `CallStatus` of a leg that never answered and was refused with this code (RCML.md 1.4).
pub(super) fn refused(code: u16) -> CallStatus {
    match code {
        486 | 600 | 603 => CallStatus::Busy,
        408 | 480 | 487 => CallStatus::NoAnswer,
        _ => CallStatus::Failed,
    }
}

/// Named, not yet rung.
pub(super) struct Planned {
    id: LegId,
    noun_index: u8,
    target: Target,
    identity: LegIdentity,
    log: LegLog,
}

impl Planned {
    /// A leg of `noun` at `target`; `from` is its `From` (RCML.md 3.1).
    pub(super) fn new(
        now: Now,
        id: LegId,
        (noun_index, noun): (u8, &Arc<Noun>),
        target: Target,
        caller_id: Option<&str>,
        desk: &mut Desk,
    ) -> Planned {
        let card = CallDescription {
            sid: desk.sids.next(now.unix_ms),
            parent: Some(desk.card.sid),
            from: caller_id.unwrap_or(&desk.card.from).to_owned(),
            to: leg_to(&noun.endpoint),
            caller_name: desk.card.caller_name.clone(),
            forwarded_from: None,
            direction: "outbound-dial",
            sip_headers: noun.callback.as_ref().map(|_| noun.headers.clone()).unwrap_or_default(),
            created_unix_ms: now.unix_ms,
        };
        let identity = desk.caller.towards(noun, caller_id, desk.config.trunk_caller_id.as_deref());
        let log = LegLog::new(card, desk.card.sid, Arc::clone(noun));
        Planned { id, noun_index, target, identity, log }
    }

    /// As its parent's item names it.
    pub(super) fn plan(&self) -> LegPlan {
        let card = self.log.card();
        LegPlan {
            leg: card.call.sid,
            from: card.call.from.clone(),
            to: card.call.to.clone(),
            noun: self.noun_index,
            callback: self.log.noun().callback.clone(),
            sip_headers: card.call.sip_headers.clone(),
        }
    }

    /// Sends its INVITE. `expires` in whole seconds; `record`: the Dial records.
    pub(super) fn invite(self, expires: u32, record: bool, desk: &mut Desk) -> Live {
        let LegIdentity { from_user, display_name, asserted } = self.identity;
        let noun = self.log.noun();
        desk.out.push(CallOutput::Invite(Box::new(Invite {
            leg: self.id,
            sid: self.log.sid(),
            target: self.target,
            from_user,
            display_name,
            asserted,
            headers: noun.headers.clone(),
            expires,
            decodable_only: record || noun.screening.is_some(),
        })));
        Live { id: self.id, log: self.log, rang: false, stage: Stage::Calling }
    }
}

/// Rung or in screening: not accepted, not over.
pub(super) struct Live {
    id: LegId,
    log: LegLog,
    rang: bool,
    stage: Stage,
}

enum Stage {
    Calling,
    Screening(Box<Screening>),
}

impl Live {
    pub(super) fn id(&self) -> LegId {
        self.id
    }

    pub(super) fn sid(&self) -> CallSid {
        self.log.sid()
    }

    /// It has answered and its document runs.
    pub(super) fn is_screening(&self) -> bool {
        matches!(self.stage, Stage::Screening(_))
    }

    /// Its INVITE was sent.
    pub(super) fn initiated(&mut self, now: Now, desk: &mut Desk) {
        self.log.initiated(now, desk);
    }

    /// A 18x. True if it is the first 180 or 183.
    pub(super) fn provisional(&mut self, now: Now, code: u16, desk: &mut Desk) -> bool {
        let rings = matches!(code, 180 | 183) && !self.rang && !self.is_screening();
        if rings {
            self.rang = true;
            self.log.ringing(now, desk);
        }
        rings
    }

    /// Its 200. A second one changes nothing.
    pub(super) fn answered(&mut self, now: Now, desk: &mut Desk) -> Verdict {
        if self.is_screening() {
            return Verdict::Waits;
        }
        self.log.answered(now, desk);
        match &self.log.noun().screening {
            None => Verdict::Accepts,
            Some(terms) => {
                let screening = Screening::start(now, self.id, terms, &self.log.card(), desk);
                self.stage = Stage::Screening(Box::new(screening));
                Verdict::Waits
            }
        }
    }

    /// It waits for this document.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        matches!(&self.stage, Stage::Screening(screening) if screening.awaits(ticket))
    }

    /// The document that it waited for.
    pub(super) fn evaluated(&mut self, now: Now, document: Document, desk: &mut Desk) -> Verdict {
        match &mut self.stage {
            Stage::Screening(screening) => screening.evaluated(now, document, &self.log.card(), desk),
            Stage::Calling => Verdict::Waits,
        }
    }

    /// It pressed a key, heard a sound to its end, or its recording is over.
    pub(super) fn heard(&mut self, now: Now, heard: Heard, desk: &mut Desk) -> Verdict {
        let Stage::Screening(screening) = &mut self.stage else { return Verdict::Waits };
        screening.heard(now, heard, &self.log.card(), desk)
    }

    /// Does what is due in screening.
    pub(super) fn timeout(&mut self, now: Now, desk: &mut Desk) -> Verdict {
        match &mut self.stage {
            Stage::Screening(screening) => screening.timeout(now, &self.log.card(), desk),
            Stage::Calling => Verdict::Waits,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Screening(screening) => Some(screening.next_timeout()),
            Stage::Calling => None,
        }
    }

    /// It is the one.
    pub(super) fn accept(self) -> Winner {
        Winner { id: self.id, log: self.log, rang: self.rang }
    }

    /// We end it: CANCEL or BYE, and over in this moment (RCML.md 1.4 "Decided").
    pub(super) fn stop(self, now: Now, elsewhere: bool, desk: &mut Desk) -> Ended {
        desk.out.push(self.command_to_end(elsewhere));
        self.end(now, CallStatus::NoAnswer, false, desk)
    }

    /// CANCEL or BYE.
    pub(super) fn command_to_end(&self, elsewhere: bool) -> CallOutput {
        let leg = self.id;
        if self.is_screening() { CallOutput::Bye { leg } } else { CallOutput::Cancel { leg, elsewhere } }
    }

    /// It ended by itself; `unanswered` is its status if it never answered.
    pub(super) fn gone(self, now: Now, unanswered: CallStatus, desk: &mut Desk) -> Ended {
        self.end(now, unanswered, true, desk)
    }

    fn end(self, now: Now, unanswered: CallStatus, hung_up: bool, desk: &mut Desk) -> Ended {
        let status = match self.stage {
            Stage::Calling => unanswered,
            Stage::Screening(screening) => {
                let account = &desk.config.account_sid;
                let told = hung_up.then(|| self.log.card().screening_parameters(account, CallStatus::Completed));
                screening.abandon(now, told, desk);
                CallStatus::Completed
            }
        };
        Ended::new(now, self.log, self.rang, status, desk)
    }
}

/// The accepted leg.
pub(super) struct Winner {
    id: LegId,
    log: LegLog,
    rang: bool,
}

impl Winner {
    pub(super) fn id(&self) -> LegId {
        self.id
    }

    pub(super) fn sid(&self) -> CallSid {
        self.log.sid()
    }

    /// We end it.
    pub(super) fn stop(self, now: Now, desk: &mut Desk) -> Ended {
        desk.out.push(CallOutput::Bye { leg: self.id });
        self.gone(now, desk)
    }

    /// It hung up or was lost.
    pub(super) fn gone(self, now: Now, desk: &mut Desk) -> Ended {
        Ended::new(now, self.log, self.rang, CallStatus::Completed, desk)
    }
}

/// Over: its terminal event is fired.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    sid: CallSid,
    status: CallStatus,
    rang: bool,
}

impl Ended {
    fn new(now: Now, log: LegLog, rang: bool, status: CallStatus, desk: &mut Desk) -> Ended {
        let sid = log.sid();
        log.completed(now, status, desk);
        Ended { sid, status, rang }
    }

    pub(super) fn sid(self) -> CallSid {
        self.sid
    }

    /// completed, busy, no-answer or failed.
    pub(super) fn status(self) -> CallStatus {
        self.status
    }

    /// It sent a 180 or 183.
    pub(super) fn rang(self) -> bool {
        self.rang
    }
}
