//! What outlives the edge, as seen from the simulated world: its store and the customer's web server. A crash run puts
//! its own in here and decides when the edge is killed.

use ringfork_call::action::{Action, BindingWrite, Now};
use ringfork_call::control::{Event, Write};

/// What is about to be, or has just been, done outside the core.
#[derive(Debug)]
pub enum Moment<'a> {
    /// Between two inputs of the core.
    Between,
    /// The core wants this done; it is not done yet.
    Asked(&'a Action),
    /// The store has this write now; the core is not told yet. `fails`: it will be told that it failed, whether or not
    /// the write took effect.
    Written { write: &'a Write, fails: bool },
    /// The store has these writes of an AOR's bindings now; the core is not told yet.
    Bound(&'a [BindingWrite]),
    /// The customer's web server got this event, or a part of it; the core is not told yet whether it was `accepted`.
    Delivered { event: &'a Event, accepted: bool },
    /// The edge has been killed while this write was under way: it may still take effect, or never.
    WriteLeft(&'a Write),
    /// The same of an AOR's bindings: all of these writes or none.
    BindingsLeft(&'a [BindingWrite]),
    /// The same of an event on its way to the customer.
    EventLeft(&'a Event),
}

/// What becomes of the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Lives,
    /// `kill -9`: everything that it had in memory is gone, and whatever it had not sent.
    Dies,
}

/// Store and web server of a run.
pub trait Outside {
    /// Everything that matters outside goes by here, in the order in which it takes effect.
    ///
    /// # Errors
    /// A fault found: what was promised and what was seen.
    fn sees(&mut self, now: Now, moment: Moment<'_>) -> Result<Fate, String>;
}

/// Keeps nothing and kills nobody.
#[derive(Debug, Default)]
pub struct Nobody;

impl Outside for Nobody {
    fn sees(&mut self, _: Now, _: Moment<'_>) -> Result<Fate, String> {
        Ok(Fate::Lives)
    }
}
