//! Whole calls through the agent, packet by packet.

mod calls;
pub mod net;
