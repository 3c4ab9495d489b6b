//! The interpreter's cursor: which verb of which document comes next, for the caller's call and for a leg in screening.
//!
//! What a verb does is decided by whom it runs on: `call.rs` for the caller, `screening.rs` for a leg.

use std::vec::IntoIter;

use ringfork_rcml::evaluation::Outcome;
use ringfork_rcml::program::Step;

use super::desk::Document;

/// Documents in a row in which nothing waited; the next request after so many ends the call (RCML.md part 2, Redirect).
pub const CHAIN_LIMIT: u32 = 21;

/// Runs documents one after the other on one call.
#[derive(Default)]
pub(super) struct Runner {
    steps: IntoIter<Step>,
    idle_documents: u32,
    cookies: Vec<String>,
}

impl Runner {
    /// A document came: its verbs are next. `Err`: there is none.
    pub(super) fn load(&mut self, document: Document) -> Result<(), NoDocument> {
        if let Some(cookies) = document.cookies {
            self.cookies = cookies;
        }
        match document.outcome {
            Outcome::Program(program) => {
                self.steps = program.steps.into_iter();
                self.idle_documents += 1;
                Ok(())
            }
            Outcome::Failed => Err(NoDocument),
        }
    }

    /// Verbs that no document holds: as if one did.
    pub(super) fn load_step(&mut self, step: Step) {
        self.steps = vec![step].into_iter();
    }

    /// The next verb; `None` at the end of the document.
    pub(super) fn next(&mut self) -> Option<Step> {
        self.steps.next()
    }

    /// The verbs that are left.
    pub(super) fn ahead(&self) -> &[Step] {
        self.steps.as_slice()
    }

    /// Something waits: a prompt, a Pause, a Gather, a Record, a Dial with a leg.
    pub(super) fn waits(&mut self) {
        self.idle_documents = 0;
    }

    /// Another document may follow this one.
    pub(super) fn may_go_on(&self) -> bool {
        self.idle_documents < CHAIN_LIMIT
    }

    /// The cookies kept so far (RCML.md 3.2).
    pub(super) fn cookies(&self) -> &[String] {
        &self.cookies
    }
}

/// Neither the document nor its fallback could be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoDocument;
