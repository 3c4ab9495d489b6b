//! Why the store did not do what was asked, by what the caller can do about it.

/// Failure of a store operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Throttled, no connection, no answer in time. The operation may or may not have been applied;
    /// every write here may be repeated as it stands.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Another epoch owns the item (DESIGN "State in DynamoDB"): an edge drops that call.
    #[error("the item belongs to another epoch")]
    Stale,
    /// It exists already (a taken Login), or was changed since it was read (another version).
    #[error("the item exists already or was changed meanwhile")]
    Conflict,
    /// There is no such item.
    #[error("there is no such item")]
    NotFound,
    /// What is stored, or what was to be stored, cannot be understood. Repeating does not help.
    #[error("unreadable item: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether the same operation may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Unavailable(_))
    }
}
