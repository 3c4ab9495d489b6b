//! The scenario table: whole calls through the built edge, with real SIP endpoints and a recording web server.
//! Each test names the sentences of RCML.md that it shows.

#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

mod common;

mod callbacks;
mod documents;
mod endings;
mod fork;
mod hold;
mod logs;
mod races;
mod screening;
mod voices;
