//! SIP as pure code (RFC 3261 and friends): no sockets, no clock, no tokio. Time and entropy are arguments.
//!
//! - [`message`]: a received message, read in one pass over its bytes and kept as spans.
//! - [`header`]: typed header values, read on demand from those spans.
//! - [`uri`]: `sip:`, `sips:`, `tel:` and unknown URIs.
//! - [`build`]: requests and responses into one buffer each.
//! - [`framing`]: messages out of a byte stream.
//! - [`flow`]: the network path of a message.
//! - [`digest`]: challenges and credentials, both sides.
//! - [`registrar`]: binding rules.
//! - [`dialog`]: the state of dialogs.
//! - [`transaction`]: client and server transactions.

pub mod build;
pub mod dialog;
pub mod digest;
pub mod flow;
pub mod framing;
pub mod header;
pub mod message;
pub mod registrar;
pub mod transaction;
pub mod uri;

pub use build::{RequestBuilder, ResponseBuilder};
pub use header::{CSeq, Contacts, HeaderName, NameAddr, Params, Via};
pub use message::{Fault, Message, Method};
pub use uri::{Host, Scheme, Uri, UriBuf};
