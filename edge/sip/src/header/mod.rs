//! Header names and typed header values, read on demand from a message's bytes.

pub mod address;
pub mod name;
pub mod scan;
pub mod values;
pub mod via;

pub use address::{Contacts, NameAddr};
pub use name::HeaderName;
pub use scan::{List, Param, Params};
pub use values::{CSeq, ContentType, RAck, Reason, Refresher, RetryAfter, SessionExpires};
pub use via::{MAGIC_COOKIE, Rport, Via};
