//! Crash runs: the simulator's worlds with a store that outlives the edge.
//!
//! One run is one seed. Its edge lives through one to three lives. Each but the last ends by `kill -9` at a moment that
//! the seed chose ([`kill`]): whatever the edge had in memory is gone, and each write and each delivery that was under
//! way took effect, or did not, or does later. Then its successor raises the epoch, the reaper closes what was left,
//! with a customer who sometimes refuses ([`customer`]), and sometimes it is killed as well ([`doubt`]); stored
//! registrations ring again in the next life.
//!
//! [`site`] is what stands between world and store: the edge's own writers (`ringfork::adapters`) over the in-memory
//! store. [`book`] keeps what was asked, what took effect and what the customer got, and checks the promises of RCML.md
//! 1.4 "Delivery" and DESIGN "State in DynamoDB" at the end. The same seed always plays the same run.

// A harness: what it holds wrong about itself is to stop it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod book;
pub mod customer;
pub mod doubt;
pub mod kill;
pub mod run;
pub mod site;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What the in-memory store answers without waiting.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("the in-memory store never waits"),
    }
}
