//! The RCML language: text to typed [`Document`] to flat [`Program`].
//!
//! Pure: no network, no clock. `evaluate` fetches the text, [`compile`] reads it, the edge runs the result.
//! [`Code`] is the one table of warnings and errors.

mod codes;
mod dial;
mod document;
pub mod evaluation;
mod headers;
pub mod program;
mod reader;
mod voice;
mod xml;

use url::Url;

pub use codes::{Code, quote};
pub use document::{Document, Verb};
pub use program::Program;
pub use reader::{MAX_WARNINGS, shown};
pub use xml::MAX_BYTES;

use evaluation::{Notice, Purpose};
use program::Step;

/// What compiling a document gave: a program or the one error, and all warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The program, or why there is none.
    pub program: Result<Program, Notice>,
    /// In the order found; at most [`MAX_WARNINGS`] and one that says that there were more.
    pub warnings: Vec<Notice>,
}

/// Reads `text`, the document at `base`, for `purpose`.
pub fn compile(text: &str, base: &Url, purpose: Purpose) -> Compiled {
    let mut document = match Document::parse(text, base) {
        Ok(document) => document,
        Err(error) => return Compiled { program: Err(error), warnings: Vec::new() },
    };
    if purpose == Purpose::Screening {
        // RCML.md 1.3: refused when it is loaded, nothing of it runs.
        if let Some(line) = document.first_dial {
            let error = Code::DialInScreening.notice("<Dial>", Some(&shown(base)), Some(line));
            return Compiled { program: Err(error), warnings: document.warnings };
        }
        let warnings = &mut document.warnings;
        document.verbs.retain(|verb| {
            let reject = matches!(verb.step, Step::Reject { .. });
            if reject && warnings.len() <= MAX_WARNINGS {
                warnings.push(Code::RejectInScreening.notice("<Reject>", Some(&shown(base)), Some(verb.line)));
            }
            !reject
        });
    }
    let steps = document.verbs.into_iter().map(|verb| verb.step).collect();
    Compiled { program: Ok(Program { steps }), warnings: document.warnings }
}
