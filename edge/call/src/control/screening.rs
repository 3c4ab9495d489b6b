//! The private document of one leg between its answer and its acceptance (RCML.md 1.3).
//!
//! Where a verb is added: [`Screening::run`] matches every verb; one that waits becomes a case of [`Wait`].

use std::time::{Duration, Instant};

use ringfork_rcml::evaluation::Purpose;
use ringfork_rcml::program::{self, DocumentRef, Step};

use super::desk::{Desk, Document, Errand};
use super::events::Card;
use super::notices;
use super::program::Runner;
use super::signals::Ticket;
use crate::action::Now;

/// One leg's screening.
pub(super) struct Screening {
    runner: Runner,
    wait: Wait,
    /// The noun's `timeout`, counted from the answer.
    until: Instant,
}

/// What the document waits for.
enum Wait {
    Document(Ticket),
    Pause(Instant),
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
    /// The leg answered.
    pub(super) fn start(now: Now, terms: &program::Screening, leg: &Card<'_>, desk: &mut Desk) -> Screening {
        let runner = Runner::default();
        let wait = request(&runner, terms.document.clone(), leg, desk);
        Screening { runner, wait, until: now.instant + Duration::from_secs(u64::from(terms.timeout)) }
    }

    /// It waits for this document.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        matches!(self.wait, Wait::Document(awaited) if awaited == ticket)
    }

    /// The document that it waited for.
    pub(super) fn evaluated(&mut self, now: Now, document: Document, leg: &Card<'_>, desk: &mut Desk) -> Verdict {
        match self.runner.load(document) {
            Ok(()) => self.run(now, leg, desk),
            Err(_) => Verdict::Declines,
        }
    }

    /// Does what is due, in the order in which it became due.
    pub(super) fn timeout(&mut self, now: Now, leg: &Card<'_>, desk: &mut Desk) -> Verdict {
        match self.wait {
            Wait::Pause(until) if until <= now.instant && until < self.until => self.run(now, leg, desk),
            _ if self.until <= now.instant => Verdict::Declines,
            _ => Verdict::Waits,
        }
    }

    pub(super) fn next_timeout(&self) -> Instant {
        match self.wait {
            Wait::Pause(until) => until.min(self.until),
            Wait::Document(_) => self.until,
        }
    }

    fn run(&mut self, now: Now, leg: &Card<'_>, desk: &mut Desk) -> Verdict {
        loop {
            match self.runner.next() {
                None => return Verdict::Accepts,
                Some(Step::Hangup) => return Verdict::Declines,
                Some(Step::Pause { seconds }) => {
                    self.runner.waits();
                    self.wait = Wait::Pause(now.instant + Duration::from_secs(u64::from(seconds)));
                    return Verdict::Waits;
                }
                Some(Step::Redirect { to }) if self.runner.may_go_on() => {
                    self.wait = request(&self.runner, to, leg, desk);
                    return Verdict::Waits;
                }
                Some(Step::Redirect { to }) => {
                    desk.out.notify(leg.call.sid, now, notices::chain_too_long(&to.url));
                    return Verdict::Declines;
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

fn request(runner: &Runner, document: DocumentRef, leg: &Card<'_>, desk: &mut Desk) -> Wait {
    let parameters = leg.screening_parameters(&desk.config.account_sid);
    let errand = Errand { sid: leg.call.sid, purpose: Purpose::Screening, fallback: None, parameters };
    Wait::Document(desk.evaluate(runner, document, errand))
}
