//! Whole calls through the agent, packet by packet.

mod calls;
mod dialogs;
mod digits;
pub mod net;
mod outside;
mod registrations;
mod streams;
mod trunks;
mod turns;
mod walk;
