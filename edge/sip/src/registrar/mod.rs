//! The registrar's rules (RFC 3261 §10.3, RFC 5626 §6, RFC 3327), as DESIGN "SIP choices" has decided them, and the
//! table of bindings.
//!
//! [`register`] reads a REGISTER against the bindings of its AOR and says what is to change, without changing anything:
//! the caller first writes what is to be written, then calls [`Bindings::apply`] for each [`Change`] and sends the 200
//! with the [`Reply`]. [`Bindings`] also says when a binding is to be asked after or has expired
//! ([`Bindings::pop_due`]), and gives up those of a flow that has ended.

mod record;
mod rules;
mod table;
#[cfg(test)]
mod tests;

pub use record::{BindingRecord, BindingWrite};
pub use rules::{Change, Limits, MAX_CONTACTS, Outcome, Refusal, Reply, SLACK, contacts, register};
pub use table::{Binding, Bindings, Due};
