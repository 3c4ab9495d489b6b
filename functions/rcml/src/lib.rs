//! The RCML language: text to typed [`Document`] to flat [`Program`].
//!
//! Pure: no network, no clock. `evaluate` fetches the text, this crate reads it, the edge runs the result.

pub mod evaluation;
pub mod program;

pub use program::Program;
