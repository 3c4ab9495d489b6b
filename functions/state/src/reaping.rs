//! What a reaper needs: claims, the open calls of a dead epoch, and their end (DESIGN "Callbacks").

use async_trait::async_trait;

use crate::Result;
use crate::call::Call;
use crate::edge::{EdgeRecord, EdgeStart};
use crate::sid::CallSid;

/// The reaper's side of the store.
#[async_trait]
pub trait Reaping: Send + Sync {
    /// Takes a dead edge's epoch away: raises it if the edge is still as `seen` (same epoch, same beat).
    ///
    /// # Errors
    /// `Conflict`: it renewed or restarted meanwhile, or somebody else claimed it.
    async fn claim(&self, seen: &EdgeRecord) -> Result<EdgeStart>;

    /// Parents of this edge that are still open, in any of its epochs, oldest first, from just after `after`:
    /// at most `limit`. May lag behind writes for a moment.
    async fn open_calls(&self, edge: &str, after: Option<CallSid>, limit: usize) -> Result<Vec<CallSid>>;

    /// These calls and legs as they are right now; those that are not there are left out. At most a few hundred.
    async fn read_calls(&self, sids: &[CallSid]) -> Result<Vec<Call>>;

    /// Writes the whole item, if its version is still `call.version - 1` (with version 1: if there is none).
    ///
    /// # Errors
    /// `Conflict`: it was changed meanwhile: read it again.
    async fn replace_call(&self, call: &Call) -> Result<()>;

    /// Everything below this epoch is closed and handed over.
    async fn reaped(&self, edge: &str, below_epoch: u64) -> Result<()>;
}
