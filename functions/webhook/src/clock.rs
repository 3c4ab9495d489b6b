//! The one place where this crate learns the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock, for the signature's timestamp (RCML.md 3.3).
pub trait Clock: Send + Sync {
    /// Seconds since the Unix epoch.
    fn unix_seconds(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// A fixed time, for tests.
impl Clock for u64 {
    fn unix_seconds(&self) -> u64 {
        *self
    }
}
