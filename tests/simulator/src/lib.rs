//! The simulator: whole calls through the pure core ([`ringfork_call::agent::Agent`]) under a seeded virtual clock.
//!
//! One run is one seed. The seed makes a [`plan::Plan`]: who is rung, what each phone, web server, store and network
//! will do, and when. [`world::World`] plays it: packets between simulated phones and the agent are lost, doubled and
//! reordered, documents and writes are answered late, fail, or never come. [`watch::Watch`] checks after every step
//! what must hold in every run, whatever happens, and [`world::run`] returns the first fault.
//!
//! [`outside::Outside`] is where a crash run (package `ringfork-crashes`) puts a store and kills the edge.
//!
//! In a quarter of the runs the phones register themselves ([`registering`], [`device`]): challenged, refreshed,
//! removed, expired, moved, refused, over a store that is late or fails.
//!
//! The phones read and write SIP by [`text`], not by the code under test: they are a second opinion on the wire.
//! The same seed always plays the same run.

pub mod callee;
pub mod caller;
pub mod campaign;
pub mod device;
pub mod dice;
pub mod outside;
pub mod plan;
pub mod proof;
pub mod registering;
pub mod session;
pub mod text;
pub mod watch;
pub mod world;
