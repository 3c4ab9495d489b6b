//! A binding as it is kept, and one change of one.

use crate::flow::Flow;

/// One change of one binding (DESIGN "State in DynamoDB").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindingWrite {
    /// Create or replace the binding with this key.
    Put(Box<BindingRecord>),
    /// Remove it.
    Delete {
        /// The AOR's user.
        aor: String,
        /// Its key.
        key: String,
    },
}

/// A binding as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingRecord {
    /// The AOR's user part.
    pub aor: String,
    /// `+sip.instance` with `reg-id`, else the contact: what a later REGISTER replaces it by.
    pub key: String,
    /// The Contact URI as sent by the device.
    pub contact: String,
    /// Its Contact parameters as sent, without `expires` (echoed in the 200).
    pub contact_params: String,
    /// The flow it registered over.
    pub flow: Flow,
    /// Path headers (RFC 3327), top first.
    pub path: Vec<String>,
    /// Call-ID of the last REGISTER.
    pub call_id: String,
    /// CSeq of the last REGISTER.
    pub cseq: u32,
    /// User-Agent, for people.
    pub user_agent: Option<String>,
    /// Granted expiry, Unix seconds.
    pub expires_at: u64,
    /// Stored expiry: `expires_at` and the slack, Unix seconds.
    pub stored_until: u64,
}
