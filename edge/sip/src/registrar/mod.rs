//! The registrar's rules (RFC 3261 §10.3, RFC 5626 §6, RFC 3327), as DESIGN "SIP choices" has decided them.

mod record;

pub use record::{BindingRecord, BindingWrite};
