//! Call control as pure code: the call, its legs, the fork, screening, the program's interpreter, callback events,
//! and the back-to-back user agent that carries them over SIP. No sockets, no clock, no tokio.

pub mod action;
pub mod agent;
pub mod control;
pub(crate) mod ua;
