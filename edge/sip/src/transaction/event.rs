//! What the transaction layer tells its user, by which names, and what it refuses.

use super::slab::Key;
use crate::flow::Flow;
use crate::message::Message;

/// Names one client transaction. Never given twice (until a place has had 2^32 holders).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(pub(super) Key);

/// Names one server transaction. Never given twice (until a place has had 2^32 holders).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(pub(super) Key);

/// What happened, in order.
///
/// Of each [`ClientKey`] exactly one event is the last: the final response of a non-INVITE request, a 3xx-6xx of an
/// INVITE, `Timeout`, `TransportError`, or, after a 2xx of an INVITE, `Terminated`.
#[derive(Debug)]
pub enum TransactionEvent {
    /// A new request: anything but an ACK, and but a CANCEL (the layer answers those). It wants
    /// [`Transactions::respond`](super::Transactions::respond); a request other than INVITE that got no final response
    /// within 64*T1 is forgotten, since its client has given up by then (RFC 4320: never answer so late).
    Request {
        /// By which to answer.
        key: ServerKey,
        /// Where its responses go (RFC 3261 §18.2.2, RFC 3581 §4), and so whatever else is for its sender.
        flow: Flow,
        /// Where it came from: what `received` and `rport` of its responses say.
        source: Flow,
        /// The request.
        message: Message,
    },
    /// A CANCEL for an INVITE that has no final response yet. The CANCEL got its 200; the INVITE wants a 487
    /// (RFC 3261 §9.2). At most once for an INVITE.
    Cancelled {
        /// Of the INVITE.
        key: ServerKey,
        /// The CANCEL, with its Reason.
        message: Message,
    },
    /// An ACK that is not for a non-2xx response, so for a 2xx: it belongs to a dialog, by Call-ID, tags and CSeq.
    /// Also the ACK of a response that was sent statelessly, and any stray: no dialog then.
    Ack {
        /// Where it came from.
        source: Flow,
        /// The ACK.
        message: Message,
    },
    /// The ACK of a non-2xx final response never came (timer H). The INVITE transaction is over.
    Unacknowledged {
        /// Of the INVITE.
        key: ServerKey,
    },
    /// A response: provisional ones as they come, one final one; of an INVITE every 2xx until `Terminated`, repeated
    /// ones too, and those of other branches of a fork (other To tag). The ACK of a 3xx-6xx is sent already; the
    /// user sends that of a 2xx by [`Transactions::send_ack`](super::Transactions::send_ack).
    Response {
        /// Of the request.
        key: ClientKey,
        /// The response.
        message: Message,
    },
    /// No final response: timer B or F (to be treated as a 408, RFC 3261 §8.1.3.1), or 64*T1 after a CANCEL (as a
    /// 487, §9.1).
    Timeout {
        /// Of the request.
        key: ClientKey,
    },
    /// The flow failed before a final response (to be treated as a 503, RFC 3261 §8.1.3.1).
    TransportError {
        /// Of the request.
        key: ClientKey,
    },
    /// 64*T1 have passed since an INVITE's first 2xx (timer M): no more will be passed on.
    Terminated {
        /// Of the INVITE.
        key: ClientKey,
    },
}

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// [`TransactionConfig::max_clients`](super::TransactionConfig::max_clients) are under way.
    #[error("too many client transactions")]
    Full,
    /// The bytes do not start with a request line, or it is that of an ACK or CANCEL.
    #[error("not a request that makes a transaction")]
    NotARequest,
}

/// Why a response was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RespondError {
    /// The transaction is over.
    #[error("no such transaction")]
    Gone,
    /// It has had its final response.
    #[error("the transaction has its final response")]
    Final,
    /// The bytes do not start with a status line.
    #[error("not a response")]
    NotAResponse,
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The CANCEL is sent.
    Sent,
    /// It will be sent at the first provisional response (RFC 3261 §9.1), and dropped if a final one comes first.
    HeldBack,
    /// Too late, a final response is there; or it was cancelled before; or it is not an INVITE. Nothing is done.
    Nothing,
}

/// What went by without an event, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Responses that belong to no transaction, and those that came after its end: dropped (RFC 6026 §7.2).
    pub stray_responses: u64,
    /// Requests that came again.
    pub repeated_requests: u64,
    /// Messages sent again by a timer.
    pub retransmissions: u64,
    /// Requests answered 503 because the table was full.
    pub refused: u64,
    /// Requests answered 482 (RFC 3261 §8.2.2.2).
    pub merged: u64,
    /// CANCELs answered 481.
    pub stray_cancels: u64,
    /// Messages without a Via or other header that matching needs: dropped.
    pub unusable: u64,
}
