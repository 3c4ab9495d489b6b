//! SIP as pure code (RFC 3261 and friends): no sockets, no clock, no tokio. Time and entropy are arguments.

pub mod flow;
pub mod registrar;
