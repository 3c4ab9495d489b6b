//! The INVITE client transaction: RFC 3261 §17.1.1 (figure 5) as amended by RFC 6026 §7.2 (state Accepted, timer M).

use super::machine::{Arm, Class, ClientInput, ClientSend, ClientStep, ClientTell, Setting};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

/// One INVITE client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InviteClient {
    pub state: State,
    /// How often timer A fired.
    repeats: u8,
}

impl InviteClient {
    /// RFC 3261 §17.1.1.2, paragraphs 1-3: sends the request; timer A only over an unreliable transport, timer B always.
    pub fn start(setting: Setting<'_>) -> (Self, ClientStep) {
        let step = ClientStep {
            send: ClientSend::Request,
            tell: ClientTell::Nothing,
            repeat: setting.unreliable(setting.timers.doubling(0)),
            expire: Arm::In(setting.timers.timeout()),
        };
        (Self { state: State::Calling, repeats: 0 }, step)
    }

    pub fn on(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match self.state {
            State::Calling => self.calling(input, setting),
            State::Proceeding => self.proceeding(input, setting),
            State::Completed => self.completed(input),
            State::Accepted => self.accepted(input),
            State::Terminated => ClientStep::ABSORB,
        }
    }

    /// RFC 3261 §17.1.1.2, paragraphs 2-5; §17.1.4 for transport errors.
    fn calling(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match input {
            ClientInput::Repeat => {
                self.repeats = self.repeats.saturating_add(1);
                ClientStep {
                    send: ClientSend::Request,
                    repeat: setting.unreliable(setting.timers.doubling(self.repeats)),
                    ..ClientStep::ABSORB
                }
            }
            ClientInput::Response(Class::Provisional) => {
                self.state = State::Proceeding;
                ClientStep { tell: ClientTell::Response, repeat: Arm::Stop, expire: Arm::Stop, ..ClientStep::ABSORB }
            }
            ClientInput::Response(Class::Success) => self.accept(setting),
            ClientInput::Response(Class::Failure) => self.fail(setting),
            ClientInput::Expire => self.end(ClientTell::Timeout),
            ClientInput::TransportError => self.end(ClientTell::TransportError),
            // A CANCEL is held back until there is a provisional response (§9.1), so it cannot have been sent.
            ClientInput::CancelSent => ClientStep::ABSORB,
        }
    }

    /// RFC 3261 §17.1.1.2, paragraphs 5-6. §9.1: without a final response 64*T1 after the CANCEL, the transaction is
    /// destroyed.
    fn proceeding(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match input {
            ClientInput::Response(Class::Provisional) => ClientStep::tell(ClientTell::Response),
            ClientInput::Response(Class::Success) => self.accept(setting),
            ClientInput::Response(Class::Failure) => self.fail(setting),
            ClientInput::CancelSent => ClientStep { expire: Arm::In(setting.timers.timeout()), ..ClientStep::ABSORB },
            ClientInput::Expire => self.end(ClientTell::Timeout),
            ClientInput::TransportError => self.end(ClientTell::TransportError),
            ClientInput::Repeat => ClientStep::ABSORB,
        }
    }

    /// RFC 3261 §17.1.1.2, paragraphs 7-9: each repeated final response is acknowledged again, until timer D. When the
    /// flow of the ACK fails, the user has its final response already and is told nothing more.
    fn completed(&mut self, input: ClientInput) -> ClientStep {
        match input {
            ClientInput::Response(Class::Failure) => ClientStep { send: ClientSend::Ack, ..ClientStep::ABSORB },
            ClientInput::Expire | ClientInput::TransportError => self.end(ClientTell::Nothing),
            _ => ClientStep::ABSORB,
        }
    }

    /// RFC 6026 §7.2: every 2xx is passed on (repeated ones and those of other branches of a fork), until timer M.
    fn accepted(&mut self, input: ClientInput) -> ClientStep {
        match input {
            ClientInput::Response(Class::Success) => ClientStep::tell(ClientTell::Response),
            ClientInput::Expire => self.end(ClientTell::Terminated),
            _ => ClientStep::ABSORB,
        }
    }

    /// RFC 6026 §7.2: a 2xx leads to Accepted, with timer M of 64*T1 over every transport.
    fn accept(&mut self, setting: Setting<'_>) -> ClientStep {
        self.state = State::Accepted;
        ClientStep {
            send: ClientSend::Nothing,
            tell: ClientTell::Response,
            repeat: Arm::Stop,
            expire: Arm::In(setting.timers.timeout()),
        }
    }

    /// RFC 3261 §17.1.1.2, paragraph 6: a 3xx-6xx is acknowledged by the transaction itself. Timer D is zero over a
    /// reliable transport, that is: the transaction ends at once.
    fn fail(&mut self, setting: Setting<'_>) -> ClientStep {
        self.state = if setting.reliable { State::Terminated } else { State::Completed };
        ClientStep {
            send: ClientSend::Ack,
            tell: ClientTell::Response,
            repeat: Arm::Stop,
            expire: setting.unreliable(setting.timers.timer_d()),
        }
    }

    fn end(&mut self, tell: ClientTell) -> ClientStep {
        self.state = State::Terminated;
        ClientStep { send: ClientSend::Nothing, tell, repeat: Arm::Stop, expire: Arm::Stop }
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::table::{self, CLIENT_INPUTS};
    use super::super::timers::Timers;
    use super::*;

    const STATES: [State; 5] =
        [State::Calling, State::Proceeding, State::Completed, State::Accepted, State::Terminated];

    fn check(reliable: bool, rows: &[(State, ClientInput, &str)]) {
        let timers = Timers::default();
        let setting = Setting { timers: &timers, reliable };
        let on = |state, input| {
            let mut machine = InviteClient { state, repeats: 2 };
            let step = machine.on(input, setting);
            table::client(machine.state, step)
        };
        table::check(&STATES, &CLIENT_INPUTS, rows, on, |state, _| table::client(state, ClientStep::ABSORB));
    }

    /// RFC 3261 figure 5 with RFC 6026 figure 1, over UDP.
    #[test]
    fn figure_5_over_an_unreliable_transport() {
        use ClientInput::{CancelSent, Expire, Repeat, Response, TransportError};
        use State::{Accepted, Calling, Completed, Proceeding};
        check(
            false,
            &[
                (Calling, Response(Class::Provisional), "Proceeding: Nothing Response stop stop"),
                (Calling, Response(Class::Success), "Accepted: Nothing Response stop 32000ms"),
                (Calling, Response(Class::Failure), "Completed: Ack Response stop 32000ms"),
                (Calling, Repeat, "Calling: Request Nothing 4000ms keep"),
                (Calling, Expire, "Terminated: Nothing Timeout stop stop"),
                (Calling, TransportError, "Terminated: Nothing TransportError stop stop"),
                (Proceeding, Response(Class::Provisional), "Proceeding: Nothing Response keep keep"),
                (Proceeding, Response(Class::Success), "Accepted: Nothing Response stop 32000ms"),
                (Proceeding, Response(Class::Failure), "Completed: Ack Response stop 32000ms"),
                (Proceeding, CancelSent, "Proceeding: Nothing Nothing keep 32000ms"),
                (Proceeding, Expire, "Terminated: Nothing Timeout stop stop"),
                (Proceeding, TransportError, "Terminated: Nothing TransportError stop stop"),
                (Completed, Response(Class::Failure), "Completed: Ack Nothing keep keep"),
                (Completed, Expire, "Terminated: Nothing Nothing stop stop"),
                (Completed, TransportError, "Terminated: Nothing Nothing stop stop"),
                (Accepted, Response(Class::Success), "Accepted: Nothing Response keep keep"),
                (Accepted, Expire, "Terminated: Nothing Terminated stop stop"),
            ],
        );
    }

    /// The same over TCP: no timer A, timer D is zero.
    #[test]
    fn figure_5_over_a_reliable_transport() {
        use ClientInput::{CancelSent, Expire, Repeat, Response, TransportError};
        use State::{Accepted, Calling, Completed, Proceeding};
        check(
            true,
            &[
                (Calling, Response(Class::Provisional), "Proceeding: Nothing Response stop stop"),
                (Calling, Response(Class::Success), "Accepted: Nothing Response stop 32000ms"),
                (Calling, Response(Class::Failure), "Terminated: Ack Response stop stop"),
                (Calling, Repeat, "Calling: Request Nothing stop keep"),
                (Calling, Expire, "Terminated: Nothing Timeout stop stop"),
                (Calling, TransportError, "Terminated: Nothing TransportError stop stop"),
                (Proceeding, Response(Class::Provisional), "Proceeding: Nothing Response keep keep"),
                (Proceeding, Response(Class::Success), "Accepted: Nothing Response stop 32000ms"),
                (Proceeding, Response(Class::Failure), "Terminated: Ack Response stop stop"),
                (Proceeding, CancelSent, "Proceeding: Nothing Nothing keep 32000ms"),
                (Proceeding, Expire, "Terminated: Nothing Timeout stop stop"),
                (Proceeding, TransportError, "Terminated: Nothing TransportError stop stop"),
                (Completed, Response(Class::Failure), "Completed: Ack Nothing keep keep"),
                (Completed, Expire, "Terminated: Nothing Nothing stop stop"),
                (Completed, TransportError, "Terminated: Nothing Nothing stop stop"),
                (Accepted, Response(Class::Success), "Accepted: Nothing Response keep keep"),
                (Accepted, Expire, "Terminated: Nothing Terminated stop stop"),
            ],
        );
    }
}
