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
    /// The last that it got, and when.
    last: Option<(Given, Duration)>,
}

/// What became of a document, as far as its leg's acceptance goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    /// It can run to its end, which comes after so many seconds of its own Pauses.
    Ends { pauses: u64 },
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
        let pauses = program.steps.iter().map(|step| match step {
            Step::Pause { seconds } => u64::from(*seconds),
            _ => 0,
        });
        Given::Ends { pauses: pauses.sum() }
    }
}

impl Screened {
    /// The answer to this request.
    pub(super) fn given(&mut self, token: Token, result: &Result<Response, String>, at: Duration) {
        if self.asked.take_if(|asked| *asked == token).is_some() {
            self.last = Some((Given::of(result), at));
        }
    }

    /// Why its leg may not be accepted at this moment.
    fn objection(&self, at: Duration) -> Option<&'static str> {
        if self.asked.is_some() {
            return Some("while a document is under way");
        }
        match self.last {
            None => Some("without a document"),
            Some((Given::Nothing, _)) => Some("by a document that could not be had or was refused"),
            Some((Given::HangsUp, _)) => Some("by a document that hangs up"),
            Some((Given::Ends { pauses }, since)) if at < since + Duration::from_secs(pauses) => {
                Some("before its document's Pauses were over")
            }
            Some((Given::Ends { .. }, _)) => None,
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
        // Where the store is slow it is not known which INVITE is the leg's, and an acceptance is written late.
        let screened = until.is_some() || leg.screened.asked.is_some() || leg.screened.last.is_some();
        if let Some(why) = leg.screened.objection(at).filter(|_| screened) {
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
