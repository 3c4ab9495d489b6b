//! Time and randomness, handed in so that tests know both.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where new SIDs and dates come from.
pub trait Environment: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;
    /// Ten random bytes.
    fn random(&self) -> [u8; 10];
}

/// The machine's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn random(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        // Where the system has no randomness a SID may be taken: the store then refuses it.
        let _ = getrandom::fill(&mut bytes);
        bytes
    }
}
