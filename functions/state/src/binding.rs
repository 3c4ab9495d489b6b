//! Bindings: the registrations of an AOR, one item per device.

use async_trait::async_trait;

use crate::Result;
use crate::edge::Owner;

/// One registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The AOR's user part.
    pub aor: String,
    /// What a later REGISTER replaces it by: instance and reg-id, else the contact.
    pub key: String,
    /// The contact as sent.
    pub contact: String,
    /// Its parameters as sent.
    pub contact_params: String,
    /// The network path, in the edge's own writing.
    pub flow: String,
    /// Path, top first.
    pub path: Vec<String>,
    /// Of the last REGISTER.
    pub call_id: String,
    /// Of the last REGISTER.
    pub cseq: u32,
    /// The device's name of itself.
    pub user_agent: Option<String>,
    /// The granted expiry as last written, Unix seconds.
    pub expires_at: u64,
    /// The stored expiry, Unix seconds: at it the item may be cleaned away. Readers judge by their own clock.
    pub stored_until: u64,
    /// Who holds the flow; set by the store on reading.
    pub owner: Owner,
    /// How often it was written; set by the store on reading.
    pub version: u64,
}

/// What a writer believes of the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// That it is not there.
    Absent,
    /// That it has this version.
    Version(u64),
}

/// One change of several: see [`Bindings::change_all`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindingChange {
    /// As [`Bindings::put`].
    Put {
        /// As it is to be.
        binding: Box<Binding>,
        /// What is there now.
        expect: Expect,
    },
    /// As [`Bindings::delete`], of one that is there.
    Delete {
        /// Its key.
        key: String,
        /// Its version.
        version: u64,
    },
}

impl BindingChange {
    /// The key of its binding.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            BindingChange::Put { binding, .. } => &binding.key,
            BindingChange::Delete { key, .. } => key,
        }
    }
}

/// Some of an edge's bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingPage {
    /// In no order.
    pub bindings: Vec<Binding>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<BindingPlace>,
}

/// A place within all bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingPlace {
    pub(crate) aor: String,
    pub(crate) key: String,
}

/// Registrations.
#[async_trait]
pub trait Bindings: Send + Sync {
    /// Writes one binding, for `owner` (what stands in `binding.owner` and `.version` is not looked at).
    /// Returns its new version. A repeated write that is already in place succeeds.
    ///
    /// # Errors
    /// `Stale`: a later epoch of this same edge wrote it. `Conflict`: not as expected: read the AOR again.
    async fn put(&self, owner: &Owner, binding: &Binding, expect: Expect) -> Result<u64>;

    /// Removes one binding. One that is not there is a success.
    ///
    /// # Errors
    /// As [`Bindings::put`].
    async fn delete(&self, owner: &Owner, aor: &str, key: &str, version: u64) -> Result<()>;

    /// Changes several bindings of one AOR, each named once: all of them or none. At most a hundred.
    ///
    /// # Errors
    /// As [`Bindings::put`]; one to be deleted that is not there is a conflict too. Nothing is changed then.
    async fn change_all(&self, owner: &Owner, aor: &str, changes: &[BindingChange]) -> Result<()>;

    /// Every binding of an AOR, whoever owns it, expired ones that nobody cleaned away included.
    async fn of_aor(&self, aor: &str) -> Result<Vec<Binding>>;

    /// The bindings that an edge owns, in any epoch: what it loads when it starts.
    async fn of_edge(&self, edge: &str, from: Option<&BindingPlace>) -> Result<BindingPage>;
}
