//! What a leg's private documents may end in, and when at the latest (RCML.md 1.3).

use std::time::Duration;

use ringfork_call::action::Token;
use ringfork_call::control::CallSid;
use ringfork_rcml::evaluation::{Outcome, Purpose, Request, Response};
use ringfork_rcml::program::Step;

use super::{Fault, Leg, Watch, WireLeg};

/// The private documents of one leg.
#[derive(Debug, Default)]
pub(super) struct Screened {
    /// The one that it waits for.
    asked: Option<Token>,
    /// The last that it got.
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    given: Given,
    /// When it came, and what its phone had heard and pressed by then, where that is known.
    at: Duration,
    before: Option<Counts>,
}

/// Sounds that ended at a phone, and keys that it pressed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) sounds: u32,
    pub(super) keys: u32,
}

/// What became of a document, as far as its leg's acceptance goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    /// It can run to its end: when so many seconds of its Pauses are over, so many of its Says and Plays, and where no
    /// key comes so many seconds of its Gathers' timeouts.
    Ends { pauses: u32, prompts: u32, entries: u32 },
    /// There is a Hangup in it: it declines, unless another document takes its place.
    HangsUp,
    /// It could not be had, or was refused for its Dial.
    Nothing,
}

impl Given {
    fn of(result: &Result<Response, String>) -> Given {
        let Ok(Response { outcome: Outcome::Program(program), .. }) = result else { return Given::Nothing };
        if program.steps.iter().any(|step| matches!(step, Step::Hangup)) {
            return Given::HangsUp;
        }
        let sum = |count: fn(&Step) -> u32| program.steps.iter().map(count).sum();
        Given::Ends {
            pauses: sum(|step| if let Step::Pause { seconds } = step { *seconds } else { 0 }),
            prompts: sum(|step| u32::from(matches!(step, Step::Prompt(_)))),
            entries: sum(|step| if let Step::Gather(gather) = step { gather.timeout } else { 0 }),
        }
    }
}

impl Screened {
    /// The answer to this request.
    pub(super) fn given(
        &mut self,
        token: Token,
        result: &Result<Response, String>,
        at: Duration,
        before: Option<Counts>,
    ) {
        if self.asked.take_if(|asked| *asked == token).is_some() {
            self.last = Some(Last { given: Given::of(result), at, before });
        }
    }

    /// Why its leg may not be accepted at this moment.
    fn objection(&self, at: Duration, now: Option<Counts>) -> Option<&'static str> {
        if self.asked.is_some() {
            return Some("while a document is under way");
        }
        let Some(Last { given, at: since, before }) = &self.last else { return Some("without a document") };
        let took = at.saturating_sub(*since).as_secs();
        let heard = now.zip(*before).map(|(now, before)| now.sounds - before.sounds);
        let silent = now.zip(*before).is_some_and(|(now, before)| now.keys == before.keys);
        match given {
            Given::Nothing => Some("by a document that could not be had or was refused"),
            Given::HangsUp => Some("by a document that hangs up"),
            Given::Ends { pauses, .. } if took < u64::from(*pauses) => Some("before its document's Pauses were over"),
            Given::Ends { prompts, .. } if heard.is_some_and(|heard| heard < *prompts) => {
                Some("before it had heard its document's prompts")
            }
            Given::Ends { pauses, entries, .. } if silent && took < u64::from(pauses + entries) => {
                Some("before its document's Gathers were over")
            }
            Given::Ends { .. } => None,
        }
    }
}

impl Watch {
    /// A private document is asked for.
    pub(super) fn screens(&mut self, token: Token, request: &Request) {
        if request.purpose != Purpose::Screening {
            return;
        }
        if let Some((_, leg)) = self.legs.iter_mut().find(|(leg, _)| leg.to_string() == request.call_sid) {
            leg.screened.asked = Some(token);
        }
    }

    /// What the phone of this leg has heard and pressed; `None`: it is not known which that is.
    pub(super) fn counts_of(&self, leg: &Leg) -> Option<Counts> {
        let wire = self.wire.get(leg.wire.as_ref()?)?;
        Some(self.counts.get(&wire.to?.ip()).copied().unwrap_or_default())
    }

    /// The noun's `timeout` of the leg of this INVITE, from its answer on; `None`: it is not screened.
    fn time_is_up(&self, wire: &WireLeg) -> Option<Duration> {
        let seconds = self.setup.screens.get(&wire.noun)?;
        Some(wire.answered_at + Duration::from_secs(u64::from(*seconds)))
    }

    /// A leg is about to be bridged: where its noun has a `url`, by the end of a document that it was given.
    pub(super) fn may_be_accepted(&self, sid: CallSid, at: Duration) -> Result<(), Fault> {
        let Some(leg) = self.legs.get(&sid) else { return Ok(()) };
        let wire = leg.wire.as_ref().and_then(|call_id| self.wire.get(call_id));
        let until = wire.and_then(|wire| self.time_is_up(wire));
        let counts = self.counts_of(leg);
        // Where the store is slow it is not known which INVITE is the leg's, and an acceptance is written late.
        let screened = until.is_some() || leg.screened.asked.is_some() || leg.screened.last.is_some();
        if let Some(why) = leg.screened.objection(at, counts).filter(|_| screened) {
            return Err(format!("{sid} is accepted {why} (RCML 1.3)"));
        }
        if until.is_some_and(|until| at > until) && !self.setup.slow_store {
            return Err(format!("{sid} is accepted after its screening's timeout (RCML 1.3)"));
        }
        Ok(())
    }

    /// No leg is still in screening after its noun's `timeout`.
    pub(super) fn none_screens_too_long(&self, at: Duration) -> Result<(), Fault> {
        let is_over = |sid: CallSid, leg: &Leg| {
            leg.ended.is_some()
                || self.calls[leg.call].accepted_legs.contains(&sid)
                || self.calls[leg.call].gone.is_some()
        };
        for (call_id, wire) in self.wire.iter().filter(|(_, wire)| wire.final_heard == Some(200)) {
            let Some((sid, leg)) = wire.leg.and_then(|sid| Some((sid, self.legs.get(&sid)?))) else { continue };
            if !wire.bye
                && !wire.cancelled
                && !is_over(sid, leg)
                && self.time_is_up(wire).is_some_and(|until| at > until)
            {
                return Err(format!("{call_id}: {sid} is left in screening after its timeout (RCML 1.3)"));
            }
        }
        Ok(())
    }
}
