//! The back-to-back user agent: packets in, packets and requests out. No sockets, no clock.
//!
//! # Drain rule
//! After each [`Agent::handle`] the caller takes every action with [`Agent::poll_action`] until it gives `None`,
//! then sleeps until [`Agent::next_timeout`] or the next input. Calling `handle` with actions left is a fault of the
//! caller (asserted in debug builds), since actions are to be done in order.

mod config;

use std::collections::VecDeque;
use std::time::Instant;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

pub use config::{AgentConfig, Caps, DigestPolicy, Listener, Transport, Trunk};

use crate::action::{Action, BindingRecord, Input, Now, Ports};

/// Sizes of the agent's tables, for metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Calls (parents) that are not over.
    pub calls: usize,
    /// Legs whose INVITE is under way or answered.
    pub legs: usize,
    /// SIP transactions, those that only absorb retransmissions included.
    pub transactions: usize,
    /// Confirmed and early dialogs.
    pub dialogs: usize,
    /// Registered bindings.
    pub bindings: usize,
    /// Port pairs lent by [`Ports`].
    pub leased_ports: usize,
    /// Bytes and entries nobody waits for any more must be zero here once all calls are over: pending requests.
    pub waiting: usize,
}

/// The whole core of an edge.
pub struct Agent<P: Ports> {
    #[allow(dead_code)]
    config: AgentConfig,
    #[allow(dead_code)]
    random: ChaCha12Rng,
    #[allow(dead_code)]
    ports: P,
    actions: VecDeque<Action>,
    gauges: Gauges,
}

impl<P: Ports> Agent<P> {
    /// An agent with the bindings that the store held when this edge started. The same seed and inputs give the
    /// same actions.
    pub fn new(config: AgentConfig, seed: [u8; 32], ports: P, now: Now, bindings: Vec<BindingRecord>) -> Self {
        let _ = (now, bindings);
        Agent {
            config,
            random: ChaCha12Rng::from_seed(seed),
            ports,
            actions: VecDeque::new(),
            gauges: Gauges::default(),
        }
    }

    /// Tells the agent what happened. See the drain rule.
    pub fn handle(&mut self, now: Now, input: Input) {
        debug_assert!(self.actions.is_empty(), "drain poll_action before the next handle");
        let _ = (now, input);
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Input::Timeout`] is due; `None`: nothing is waited for.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        None
    }

    /// Sizes of its tables.
    pub fn gauges(&self) -> Gauges {
        self.gauges
    }
}
