//! The SIP edge: sockets, task wiring, adapters, configuration, metrics and drain.

pub mod adapters;
pub mod config;
pub mod core;
pub mod media;
pub mod net;
pub mod start;
pub mod telemetry;
