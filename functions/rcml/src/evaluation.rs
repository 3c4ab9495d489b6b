//! What the edge asks of `evaluate` and what it gets back: the payloads of one invocation.

use serde::{Deserialize, Serialize};

use crate::program::{DocumentRef, Program};

/// "This call needs the document at this URL."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The account, for the signature.
    pub account_sid: String,
    /// The call (or leg, in screening) that the document runs on.
    pub call_sid: String,
    /// The document.
    pub document: DocumentRef,
    /// Tried on any failure of `document`; only with the first document of a call (RCML.md 3.2).
    pub fallback: Option<DocumentRef>,
    /// Form parameters in order (RCML.md 3.1 and those of the verb).
    pub parameters: Vec<(String, String)>,
    /// Cookies kept so far on this call (RCML.md 3.2), as [`Response::cookies`] gave them.
    pub cookies: Vec<String>,
    /// What the document is for.
    pub purpose: Purpose,
}

/// What a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// It controls a call.
    Call,
    /// It screens a leg: a document with `<Dial>` is refused, Reject is skipped (RCML.md 1.3).
    Screening,
    /// The answer is unused: the caller of a Dial's `action` is gone (RCML.md 1.5).
    Unused,
}

/// What `evaluate` returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The program, or why there is none.
    pub outcome: Outcome,
    /// All cookies of the call after this request.
    pub cookies: Vec<String>,
    /// Warnings and errors to keep with the call (REST Notifications).
    pub notices: Vec<Notice>,
}

/// Program or failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Run this.
    Program(Program),
    /// Neither the document nor its fallback could be had; the reason is among the notices.
    Failed,
}

/// One warning or error of a running document (`research` error codes; REST Notifications).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Error or warning.
    pub level: Level,
    /// Numeric code as the REST API shows it (11200 HTTP retrieval failure, 12100 document parse failure, ...).
    pub code: u32,
    /// One line that names the fix.
    pub message: String,
    /// The document it happened in.
    pub url: Option<String>,
    /// Line in the document, from 1.
    pub line: Option<u32>,
}

/// Severity of a [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something was not done.
    Error,
    /// A default was taken or something was skipped.
    Warning,
}
