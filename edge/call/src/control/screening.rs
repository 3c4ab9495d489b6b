//! The private document of one leg between its answer and its acceptance (RCML.md 1.3).
//!
//! Where a verb is added: [`Screening::run`] matches every verb; one that waits becomes a case of [`Wait`]. Those with
//! media are in `voice.rs`.

use std::time::{Duration, Instant};

use ringfork_rcml::evaluation::Purpose;
use ringfork_rcml::program::{self, DocumentRef, Step};

use super::desk::{Desk, Document, Errand};
use super::events::Card;
use super::params::Form;
use super::program::Runner;
use super::signals::{CallOutput, LegId, Party, Ticket};
use super::voice::{self, Heard, Progress, Voice};
use super::{CallStatus, notices};
use crate::action::Now;

/// One leg's screening.
pub(super) struct Screening {
    runner: Runner,
    wait: Wait,
    /// The noun's `timeout`, counted from the answer.
    until: Instant,
    leg: LegId,
}

/// What the document waits for.
enum Wait {
    Document(Ticket),
    Pause(Instant),
    Voice(Box<Voice>),
    /// Nothing: a verb that came to its end, for the moment in which the next one is found.
    Nothing,
}

/// How far screening is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Waits,
    /// The document ran to its end.
    Accepts,
    /// Hangup, no document, or the time is up.
    Declines,
}

impl Screening {
    /// The leg answered: from now on it hears us.
    pub(super) fn start(now: Now, id: LegId, terms: &program::Screening, leg: &Card<'_>, desk: &mut Desk) -> Screening {
        let runner = Runner::default();
        desk.out.push(CallOutput::Attend { party: Party::Leg(id) });
        let wait = request(&runner, terms.document.clone(), leg, Form::new(), desk);
        let until = now.instant + Duration::from_secs(u64::from(terms.timeout));
        Screening { runner, wait, until, leg: id }
    }

    /// It waits for this document.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        matches!(self.wait, Wait::Document(awaited) if awaited == ticket)
    }

    /// The document that it waited for.
    pub(super) fn evaluated(&mut self, now: Now, document: Document, leg: &Card<'_>, desk: &mut Desk) -> Verdict {
        match self.runner.load(document) {
            Ok(()) => {
                voice::prepare(now, leg.call.sid, self.runner.ahead(), desk);
                self.run(now, leg, desk)
            }
            Err(_) => Verdict::Declines,
        }
    }

    /// Something of the leg.
    pub(super) fn heard(&mut self, now: Now, heard: Heard, leg: &Card<'_>, desk: &mut Desk) -> Verdict {
        let Wait::Voice(voice) = &mut self.wait else { return Verdict::Waits };
        let progress = voice.heard(now, heard, desk);
        self.progress(now, progress, leg, desk)
    }

    /// The leg is over. `parameters`: it hung up, and what it recorded is still told.
    pub(super) fn abandon(self, now: Now, parameters: Option<Form>, desk: &mut Desk) {
        if let Wait::Voice(voice) = self.wait {
            voice.abandon(now, &self.runner, parameters, desk);
        }
    }

    /// Does what is due, in the order in which it became due.
    pub(super) fn timeout(&mut self, now: Now, leg: &Card<'_>, desk: &mut Desk) -> Verdict {
        let in_time = |due: Instant| due <= now.instant && due < self.until;
        match &mut self.wait {
            Wait::Pause(until) if in_time(*until) => self.run(now, leg, desk),
            Wait::Voice(voice) if voice.next_timeout().is_some_and(in_time) => {
                let progress = voice.timeout(now, desk);
                self.progress(now, progress, leg, desk)
            }
            _ if self.until <= now.instant => Verdict::Declines,
            _ => Verdict::Waits,
        }
    }

    pub(super) fn next_timeout(&self) -> Instant {
        match &self.wait {
            Wait::Pause(until) => self.until.min(*until),
            Wait::Voice(voice) => voice.next_timeout().map_or(self.until, |due| self.until.min(due)),
            Wait::Document(_) | Wait::Nothing => self.until,
        }
    }

    /// The verb with media is at its end, or not.
    fn progress(&mut self, now: Now, progress: Progress, leg: &Card<'_>, desk: &mut Desk) -> Verdict {
        if progress == Progress::Waits {
            return Verdict::Waits;
        }
        if let Wait::Voice(voice) = std::mem::replace(&mut self.wait, Wait::Nothing)
            && voice.has_waited()
        {
            self.runner.waits();
        }
        match progress {
            Progress::Waits => Verdict::Waits,
            Progress::Next => self.run(now, leg, desk),
            Progress::Ask(action, more) => self.go_on(now, action, more, leg, desk),
        }
    }

    /// Goes on with another document, if the chain is not too long (RCML.md part 2, Redirect).
    fn go_on(&mut self, now: Now, to: DocumentRef, more: Form, leg: &Card<'_>, desk: &mut Desk) -> Verdict {
        if self.runner.may_go_on() {
            self.wait = request(&self.runner, to, leg, more, desk);
            return Verdict::Waits;
        }
        desk.out.notify(leg.call.sid, now, notices::chain_too_long(&to.url));
        Verdict::Declines
    }

    fn run(&mut self, now: Now, leg: &Card<'_>, desk: &mut Desk) -> Verdict {
        let whom = (Party::Leg(self.leg), leg.call.sid);
        loop {
            match self.runner.next() {
                None => return Verdict::Accepts,
                Some(Step::Hangup) => return Verdict::Declines,
                Some(Step::Pause { seconds }) => {
                    self.runner.waits();
                    self.wait = Wait::Pause(now.instant + Duration::from_secs(u64::from(seconds)));
                    return Verdict::Waits;
                }
                Some(Step::Redirect { to }) => return self.go_on(now, to, Form::new(), leg, desk),
                Some(Step::Prompt(prompt)) => {
                    self.wait = Wait::Voice(Box::new(Voice::prompt(now, whom, prompt, desk)));
                    return Verdict::Waits;
                }
                Some(Step::Gather(gather)) => {
                    self.wait = Wait::Voice(Box::new(Voice::gather(now, whom, *gather, desk)));
                    return Verdict::Waits;
                }
                Some(Step::Record(record)) => {
                    self.wait = Wait::Voice(Box::new(Voice::record(now, whom, record, desk)));
                    return Verdict::Waits;
                }
                Some(Step::Reject { .. }) => desk.out.notify(leg.call.sid, now, notices::reject_in_screening()),
                // Evaluate refuses such a document as a whole; one that slips through is declined here.
                Some(Step::Dial(_)) => {
                    desk.out.notify(leg.call.sid, now, notices::dial_in_screening());
                    return Verdict::Declines;
                }
            }
        }
    }
}

/// Asks for a document with the leg's parameters and those of the verb that wants it.
fn request(runner: &Runner, document: DocumentRef, leg: &Card<'_>, more: Form, desk: &mut Desk) -> Wait {
    let mut parameters = leg.screening_parameters(&desk.config.account_sid, CallStatus::InProgress);
    parameters.extend(more);
    let errand = Errand { sid: leg.call.sid, purpose: Purpose::Screening, fallback: None, parameters };
    Wait::Document(desk.evaluate(runner, document, errand))
}
