//! Messages of our own: one buffer each, Content-Length always exact.
//!
//! Nothing given to a builder can start a line of its own: in every name, value, URI and phrase CR, LF and NUL are
//! replaced by a space at this border (a space in a URI or name is dropped). Values copied from a received message
//! are unfolded; they cannot hold line ends.

mod reason;
mod request;
mod response;
mod writer;

pub use reason::reason_phrase;
pub use request::{RequestBuilder, address_value};
pub use response::{ResponseBuilder, response_target, via_target};
