//! Where sounds come from: files by URL and speech, decoded to 8 kHz mono, each loaded once for all who want it and
//! kept as long as HTTP's rules and the memory allow.
//!
//! [`Library`] is the one entry. A sound that is loaded is a [`track::Track`]: readers follow it while it grows. What
//! came whole and may be kept lies in a [`shelf::Shelf`]. [`fetch`] is the way of a file, [`speech`] that of a text.
//!
//! What is prepared is held for the one Play that was announced ([`track::HOLD`]), also where HTTP lets nothing be kept.
//!
//! Limits: [`LOADS`] sounds are loaded at a time, a further one fails; [`track::LONGEST`] samples of a sound;
//! [`shelf::BYTES`] of whole sounds in memory, the least recently used leave; a sound that is longer than
//! [`track::KEPT`], or that comes while all tracks under way hold more than [`track::BUDGET`], is only streamed, to one
//! reader and [`track::LEAD`] ahead of it.

mod decode;
mod fetch;
mod library;
mod pipe;
mod resample;
mod shelf;
pub mod speech;
#[cfg(test)]
mod testing;
mod track;

pub use fetch::Fetcher;
pub use library::{LOADS, Library};

use ringfork_call::action::PlayError;

/// 8 kHz: what a line carries.
pub(crate) const RATE: u32 = 8000;

/// It could not be read or spoken.
pub(crate) fn unreadable(reason: impl Into<String>) -> PlayError {
    PlayError { reason: reason.into(), url: None, fetch: false }
}
