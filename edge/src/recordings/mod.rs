//! Recordings: their items in the store, which follow what the core starts and ends, and their files in the data folder.
//!
//! An item is put when a recording begins and gets its duration at its end; what a killed process left open is closed
//! at the next start, from the length of its file ([`recovery`]).

mod body;
mod files;
mod ledger;
mod recovery;

pub use body::body;
pub use files::Files;
pub use ledger::{Journal, Ledger};
