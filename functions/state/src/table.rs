//! The tables: one definition that the embedded engine is made from and that a test holds `infra/tables.yaml` against.

/// One table. Every key and index attribute is a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name after the deployment's prefix.
    pub suffix: &'static str,
    /// Partition key.
    pub hash: &'static str,
    /// Sort key.
    pub range: Option<&'static str>,
    /// Attribute at which DynamoDB may clean an item away: housekeeping, never a clock.
    pub ttl: Option<&'static str>,
    /// Its one index, with keys only.
    pub index: Option<Index>,
}

/// A sparse index: only items that have `hash` are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Partition key.
    pub hash: &'static str,
    /// Sort key.
    pub range: &'static str,
}

/// Account, clients, numbers, applications. `client/LOGIN`, `number/NUMBER` hold the resource, `clients`, `numbers`
/// the names by SID, `applications` the applications by SID, `account` the account.
pub const DIRECTORY: Table = Table { suffix: "directory", hash: "pk", range: Some("sk"), ttl: None, index: None };

/// One item per device: AOR and binding key.
pub const BINDINGS: Table = Table { suffix: "bindings", hash: "pk", range: Some("sk"), ttl: Some("ttl"), index: None };

/// Calls, legs and notifications: time bucket and shard, then SID. The index holds the open parents of an edge.
pub const CALLS: Table = Table {
    suffix: "calls",
    hash: "pk",
    range: Some("sk"),
    ttl: Some("ttl"),
    index: Some(Index { name: "open", hash: "open", range: "sk" }),
};

/// One item per edge.
pub const EDGES: Table = Table { suffix: "edges", hash: "pk", range: None, ttl: None, index: None };

/// All of them.
pub const TABLES: [Table; 4] = [DIRECTORY, BINDINGS, CALLS, EDGES];

impl Table {
    /// Its name in a deployment.
    pub fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.suffix)
    }
}
