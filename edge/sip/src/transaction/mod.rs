//! Transactions (RFC 3261 §17 with RFC 6026): one request, its responses, and everything that is repeated on the way.
//!
//! [`Transactions`] is the layer between the network and the user agents. It recognises repeated messages, repeats
//! what it sent over UDP, answers CANCEL, acknowledges non-2xx responses, and tells its user only what is new.
//!
//! # Shape
//! Pure: time and entropy are arguments. Inputs are [`Transactions::handle_message`], [`handle_timeout`],
//! [`handle_flow_failed`] and the user's own [`request`](Transactions::request),
//! [`cancel`](Transactions::cancel) and [`respond`](Transactions::respond); outputs
//! are taken with [`poll_transmit`], [`poll_event`] and [`poll_timeout`].
//!
//! # Drain rule
//! After each input, take all transmits and all events (until `None`) before the next `handle_*` (asserted in debug
//! builds). The user's own calls may come at any time, also between two events. Then sleep until `poll_timeout` or the
//! next input. A late `handle_timeout` is fine: what is due is done then, and repeated from then on.
//!
//! # Bounds
//! Transactions of each side are bounded by [`TransactionConfig`]. When the server side is full, a new request gets a
//! stateless 503 with Retry-After; CANCEL, ACK and repeated requests are still served. When the client side is full,
//! `request` is refused (a CANCEL never is: there is one at most for each INVITE). Timers wait in one queue that is
//! bounded by the number of transactions. Events and transmits are bounded by what one input can cause: one event and
//! two transmits for a message; for a timeout or a failed flow, one of each for each transaction.
//!
//! # Memory
//! A server transaction that only absorbs repetitions (timer J, 32 s) holds the bytes of its last response and some
//! 250 bytes more; what it recognises its request by is a keyed hash.
//!
//! # Where the RFC leaves room
//! - An INVITE that its user never answers stays: only the user knows how long it may ring. Any other request ends after
//!   64*T1. Likewise an INVITE of ours that rings stays until its user cancels it; then 64*T1 is the limit (§9.1).
//! - A flow that fails after the final response is not told: its user has all that it will get.
//! - A 2xx after a 3xx-6xx of the same INVITE is dropped (figure 5), so its sender gets no ACK and gives up.
//! - Without the magic cookie the To tag is not compared (§17.2.3), as Call-ID, From tag, CSeq and Via are.
//!
//! [`handle_timeout`]: Transactions::handle_timeout
//! [`handle_flow_failed`]: Transactions::handle_flow_failed
//! [`poll_transmit`]: Transactions::poll_transmit
//! [`poll_event`]: Transactions::poll_event
//! [`poll_timeout`]: Transactions::poll_timeout

mod client;
mod event;
mod identity;
mod invite_client;
mod invite_server;
mod layer;
mod machine;
mod non_invite_client;
mod non_invite_server;
mod retransmit;
mod server;
mod slab;
mod timers;
mod wire;

#[cfg(test)]
mod tests;

pub use event::{CancelOutcome, ClientKey, Counters, RequestError, RespondError, ServerKey, TransactionEvent};
pub use layer::{TransactionConfig, Transactions};
pub use retransmit::{Due, Retransmission};
pub use timers::Timers;
pub use wire::reply_flow;

/// Where a test's virtual clock starts.
#[cfg(test)]
#[allow(clippy::disallowed_methods)]
pub(crate) fn some_instant() -> std::time::Instant {
    std::time::Instant::now()
}
