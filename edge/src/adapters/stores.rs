//! The store by its narrow traits, whichever it is.

use std::sync::Arc;

use ringfork_state::memory::MemoryStore;
use ringfork_state::{
    Bindings, CallQueries, Calls, Directory, DirectoryAdmin, Edges, Notifications, Reaping, Recordings,
};

/// One store, by each of its uses.
#[derive(Clone)]
pub struct Stores {
    /// Clients and numbers by name.
    pub directory: Arc<dyn Directory>,
    /// The REST API's resources.
    pub admin: Arc<dyn DirectoryAdmin>,
    /// Registrations.
    pub bindings: Arc<dyn Bindings>,
    /// Call state.
    pub calls: Arc<dyn Calls>,
    /// The REST API's calls.
    pub queries: Arc<dyn CallQueries>,
    /// Warnings and errors.
    pub notifications: Arc<dyn Notifications>,
    /// Recordings as a resource.
    pub recordings: Arc<dyn Recordings>,
    /// Lease and epoch.
    pub edges: Arc<dyn Edges>,
    /// What the dead left.
    pub reaping: Arc<dyn Reaping>,
    /// It answers without waiting for anything.
    pub immediate: bool,
}

impl Stores {
    /// One store that implements every trait.
    pub fn of<S>(store: Arc<S>, immediate: bool) -> Self
    where
        S: Directory
            + DirectoryAdmin
            + Bindings
            + Calls
            + CallQueries
            + Notifications
            + Recordings
            + Edges
            + Reaping
            + 'static,
    {
        Stores {
            directory: store.clone(),
            admin: store.clone(),
            bindings: store.clone(),
            calls: store.clone(),
            queries: store.clone(),
            notifications: store.clone(),
            recordings: store.clone(),
            edges: store.clone(),
            reaping: store,
            immediate,
        }
    }

    /// `--data memory`.
    pub fn memory() -> Self {
        Stores::of(Arc::new(MemoryStore::new()), true)
    }
}
