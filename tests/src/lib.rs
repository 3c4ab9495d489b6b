//! The harness of the whole-system tests: the built `ringfork` binary as a process ([`edge::Edge`]), a recording
//! web server of a customer ([`web::Web`]) and real SIP clients ([`sipp`], [`baresip`]), and
//! a scripted endpoint ([`script`]) for what those cannot say. What was spoken is found again in what a softphone heard
//! by [`speech`]; keys are typed and heard by [`keys`], packets lost by [`losses`].
//!
//! Everything binds to free ports on loopback and waits on events, never on the clock alone. A wait that runs out
//! fails the test with what was seen until then.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test harness: a failure is a failed test.

pub mod baresip;
pub mod cost;
pub mod edge;
pub mod keys;
pub mod load;
pub mod losses;
pub mod script;
pub mod sipp;
pub mod speech;
pub mod tally;
pub mod web;

use std::time::Duration;

/// How long anything may take before the test is given up. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// So often what sets a test up is tried again where the edge says that its store is busy: a disk may stand still.
pub const BUSY_TRIES: u32 = 5;
/// Between two such tries: what the edge's Retry-After asks for at least.
pub const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// Polls until `probe` yields something, or panics with `what` after [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < give_up, "gave up waiting for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
