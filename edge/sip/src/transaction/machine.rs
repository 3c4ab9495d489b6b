//! The vocabulary that the four state machines share: what can happen to a transaction, and what is to be done then.
//!
//! A machine is a small `Copy` value. Its `on` takes one input and returns the step to carry out; the layer
//! ([`super::Transactions`]) owns the bytes, the timers' queue and the tables. So each machine is a table of the
//! RFC's figures and can be tested as one.

use std::time::Duration;

use super::timers::Timers;

/// What becomes of one of a transaction's two timers: the one that repeats (A, E, G) and the one that ends it
/// (B, D, F, H, I, J, K, L, M).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arm {
    /// As it was.
    Keep,
    /// Not running from now on.
    Stop,
    /// Runs from now for this long, whatever it did before.
    In(Duration),
}

/// What both kinds of machine need to know to take a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    /// T1, T2, T4.
    pub timers: &'a Timers,
    /// The transport retransmits by itself.
    pub reliable: bool,
}

impl Setting<'_> {
    /// `duration` over an unreliable transport, nothing over a reliable one (timers A, E, G).
    pub fn unreliable(&self, duration: Duration) -> Arm {
        if self.reliable { Arm::Stop } else { Arm::In(duration) }
    }
}

/// The class of a status code, as far as a machine cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// 1xx.
    Provisional,
    /// 2xx.
    Success,
    /// 3xx to 6xx.
    Failure,
}

impl Class {
    /// None when `code` is outside 100..=699.
    pub fn of(code: u16) -> Option<Self> {
        match code {
            100..=199 => Some(Self::Provisional),
            200..=299 => Some(Self::Success),
            300..=699 => Some(Self::Failure),
            _ => None,
        }
    }
}

/// What can happen to a client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientInput {
    /// A response came.
    Response(Class),
    /// The repeating timer fired.
    Repeat,
    /// The ending timer fired.
    Expire,
    /// The transport reported an error.
    TransportError,
    /// A CANCEL for it was put on the network (INVITE only).
    CancelSent,
}

/// What a client transaction sends in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientSend {
    Nothing,
    /// The request, again or for the first time.
    Request,
    /// The ACK of a non-2xx final response.
    Ack,
}

/// What the user of a client transaction is told in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientTell {
    Nothing,
    /// The response that came.
    Response,
    Timeout,
    TransportError,
    /// No further 2xx will be passed on.
    Terminated,
}

/// What to do after an input to a client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientStep {
    pub send: ClientSend,
    pub tell: ClientTell,
    pub repeat: Arm,
    pub expire: Arm,
}

impl ClientStep {
    /// Nothing at all: the input is absorbed.
    pub const ABSORB: Self =
        Self { send: ClientSend::Nothing, tell: ClientTell::Nothing, repeat: Arm::Keep, expire: Arm::Keep };

    /// Tell the user and leave the timers.
    pub fn tell(tell: ClientTell) -> Self {
        Self { tell, ..Self::ABSORB }
    }
}

/// What can happen to a server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerInput {
    /// The request came again.
    Request,
    /// An ACK that matches it came (INVITE only).
    Ack,
    /// The user answers.
    Respond(Class),
    /// The repeating timer fired.
    Repeat,
    /// The ending timer fired.
    Expire,
}

/// What a server transaction sends in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerSend {
    Nothing,
    /// The response that the user gave just now.
    New,
    /// The most recent response again, if there was one.
    Last,
    /// A 100 of the layer's own making.
    Trying,
}

/// What the user of a server transaction is told in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerTell {
    Nothing,
    /// The ACK that came.
    Ack,
    /// The ACK of the non-2xx response never came.
    Unacknowledged,
    /// The user's response is not possible in this state: it was not sent.
    Refused,
}

/// What to do after an input to a server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerStep {
    pub send: ServerSend,
    pub tell: ServerTell,
    pub repeat: Arm,
    pub expire: Arm,
}

impl ServerStep {
    /// Nothing at all: the input is absorbed.
    pub const ABSORB: Self =
        Self { send: ServerSend::Nothing, tell: ServerTell::Nothing, repeat: Arm::Keep, expire: Arm::Keep };
    /// The user's response comes too late or at the wrong time.
    pub const REFUSE: Self = Self { tell: ServerTell::Refused, ..Self::ABSORB };

    /// Send and leave the timers.
    pub fn send(send: ServerSend) -> Self {
        Self { send, ..Self::ABSORB }
    }
}

/// A machine's whole table, tested: what is not in it must be absorbed without a change.
#[cfg(test)]
pub(super) mod table {
    use super::*;

    pub const CLIENT_INPUTS: [ClientInput; 7] = [
        ClientInput::Response(Class::Provisional),
        ClientInput::Response(Class::Success),
        ClientInput::Response(Class::Failure),
        ClientInput::Repeat,
        ClientInput::Expire,
        ClientInput::TransportError,
        ClientInput::CancelSent,
    ];

    pub const SERVER_INPUTS: [ServerInput; 7] = [
        ServerInput::Request,
        ServerInput::Ack,
        ServerInput::Respond(Class::Provisional),
        ServerInput::Respond(Class::Success),
        ServerInput::Respond(Class::Failure),
        ServerInput::Repeat,
        ServerInput::Expire,
    ];

    fn timer(arm: Arm) -> String {
        match arm {
            Arm::Keep => "keep".to_owned(),
            Arm::Stop => "stop".to_owned(),
            Arm::In(duration) => format!("{}ms", duration.as_millis()),
        }
    }

    /// `next state: send, tell, repeating timer, ending timer`.
    pub fn client(next: impl std::fmt::Debug, step: ClientStep) -> String {
        let (repeat, expire) = (timer(step.repeat), timer(step.expire));
        format!("{next:?}: {:?} {:?} {repeat} {expire}", step.send, step.tell)
    }

    /// `next state: send, tell, repeating timer, ending timer`.
    pub fn server(next: impl std::fmt::Debug, step: ServerStep) -> String {
        let (repeat, expire) = (timer(step.repeat), timer(step.expire));
        format!("{next:?}: {:?} {:?} {repeat} {expire}", step.send, step.tell)
    }

    /// Checks every state with every input against `rows`; one that has no row must be `otherwise` in its state.
    pub fn check<S: Copy + PartialEq + std::fmt::Debug, I: Copy + PartialEq + std::fmt::Debug>(
        states: &[S],
        inputs: &[I],
        rows: &[(S, I, &str)],
        on: impl Fn(S, I) -> String,
        otherwise: impl Fn(S, I) -> String,
    ) {
        for state in states {
            for input in inputs {
                let row = rows.iter().find(|row| row.0 == *state && row.1 == *input);
                let expected = row.map_or_else(|| otherwise(*state, *input), |row| row.2.to_owned());
                assert_eq!(on(*state, *input), expected, "{state:?} + {input:?}");
            }
        }
        assert!(rows.iter().all(|row| states.contains(&row.0) && inputs.contains(&row.1)));
    }
}
