//! The non-INVITE client transaction: RFC 3261 §17.1.2 (figure 6).

use super::machine::{Arm, Class, ClientInput, ClientSend, ClientStep, ClientTell, Setting};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// One non-INVITE client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NonInviteClient {
    pub state: State,
    /// How often timer E fired.
    repeats: u8,
}

impl NonInviteClient {
    /// RFC 3261 §17.1.2.2, paragraph 1: sends the request; timer F, and over an unreliable transport timer E.
    pub fn start(setting: Setting<'_>) -> (Self, ClientStep) {
        let step = ClientStep {
            send: ClientSend::Request,
            tell: ClientTell::Nothing,
            repeat: setting.unreliable(setting.timers.doubling_to_t2(0)),
            expire: Arm::In(setting.timers.timeout()),
        };
        (Self { state: State::Trying, repeats: 0 }, step)
    }

    pub fn on(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match self.state {
            State::Trying => self.trying(input, setting),
            State::Proceeding => self.proceeding(input, setting),
            State::Completed => self.completed(input),
            State::Terminated => ClientStep::ABSORB,
        }
    }

    /// RFC 3261 §17.1.2.2, paragraphs 2-4: timer E doubles up to T2.
    fn trying(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match input {
            ClientInput::Repeat => {
                self.repeats = self.repeats.saturating_add(1);
                ClientStep {
                    send: ClientSend::Request,
                    repeat: setting.unreliable(setting.timers.doubling_to_t2(self.repeats)),
                    ..ClientStep::ABSORB
                }
            }
            // Timer E runs on as it was set; only its next interval is T2.
            ClientInput::Response(Class::Provisional) => {
                self.state = State::Proceeding;
                ClientStep::tell(ClientTell::Response)
            }
            other => self.final_or_failed(other, setting),
        }
    }

    /// RFC 3261 §17.1.2.2, paragraphs 5-6: the request goes on being repeated, every T2.
    fn proceeding(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match input {
            ClientInput::Repeat => ClientStep {
                send: ClientSend::Request,
                repeat: setting.unreliable(setting.timers.t2),
                ..ClientStep::ABSORB
            },
            ClientInput::Response(Class::Provisional) => ClientStep::tell(ClientTell::Response),
            other => self.final_or_failed(other, setting),
        }
    }

    /// RFC 3261 §17.1.2.2, paragraph 7: absorbs what still comes, until timer K.
    fn completed(&mut self, input: ClientInput) -> ClientStep {
        match input {
            ClientInput::Expire | ClientInput::TransportError => self.end(ClientTell::Nothing),
            _ => ClientStep::ABSORB,
        }
    }

    /// RFC 3261 §17.1.2.2, paragraphs 4 and 6. Timer K is zero over a reliable transport: the end comes at once.
    fn final_or_failed(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match input {
            ClientInput::Response(Class::Success | Class::Failure) => {
                self.state = if setting.reliable { State::Terminated } else { State::Completed };
                ClientStep {
                    send: ClientSend::Nothing,
                    tell: ClientTell::Response,
                    repeat: Arm::Stop,
                    expire: setting.unreliable(setting.timers.t4),
                }
            }
            ClientInput::Expire => self.end(ClientTell::Timeout),
            ClientInput::TransportError => self.end(ClientTell::TransportError),
            ClientInput::Response(Class::Provisional) | ClientInput::Repeat | ClientInput::CancelSent => {
                ClientStep::ABSORB
            }
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

    const STATES: [State; 4] = [State::Trying, State::Proceeding, State::Completed, State::Terminated];

    fn check(reliable: bool, rows: &[(State, ClientInput, &str)]) {
        let timers = Timers::default();
        let setting = Setting { timers: &timers, reliable };
        let on = |state, input| {
            let mut machine = NonInviteClient { state, repeats: 0 };
            let step = machine.on(input, setting);
            table::client(machine.state, step)
        };
        table::check(&STATES, &CLIENT_INPUTS, rows, on, |state, _| table::client(state, ClientStep::ABSORB));
    }

    /// RFC 3261 figure 6 over UDP.
    #[test]
    fn figure_6_over_an_unreliable_transport() {
        use ClientInput::{Expire, Repeat, Response, TransportError};
        use State::{Completed, Proceeding, Trying};
        check(
            false,
            &[
                (Trying, Response(Class::Provisional), "Proceeding: Nothing Response keep keep"),
                (Trying, Response(Class::Success), "Completed: Nothing Response stop 5000ms"),
                (Trying, Response(Class::Failure), "Completed: Nothing Response stop 5000ms"),
                (Trying, Repeat, "Trying: Request Nothing 1000ms keep"),
                (Trying, Expire, "Terminated: Nothing Timeout stop stop"),
                (Trying, TransportError, "Terminated: Nothing TransportError stop stop"),
                (Proceeding, Response(Class::Provisional), "Proceeding: Nothing Response keep keep"),
                (Proceeding, Response(Class::Success), "Completed: Nothing Response stop 5000ms"),
                (Proceeding, Response(Class::Failure), "Completed: Nothing Response stop 5000ms"),
                (Proceeding, Repeat, "Proceeding: Request Nothing 4000ms keep"),
                (Proceeding, Expire, "Terminated: Nothing Timeout stop stop"),
                (Proceeding, TransportError, "Terminated: Nothing TransportError stop stop"),
                (Completed, Expire, "Terminated: Nothing Nothing stop stop"),
                (Completed, TransportError, "Terminated: Nothing Nothing stop stop"),
            ],
        );
    }

    /// The same over TCP: no timer E, timer K is zero.
    #[test]
    fn figure_6_over_a_reliable_transport() {
        use ClientInput::{Expire, Repeat, Response, TransportError};
        use State::{Completed, Proceeding, Trying};
        check(
            true,
            &[
                (Trying, Response(Class::Provisional), "Proceeding: Nothing Response keep keep"),
                (Trying, Response(Class::Success), "Terminated: Nothing Response stop stop"),
                (Trying, Response(Class::Failure), "Terminated: Nothing Response stop stop"),
                (Trying, Repeat, "Trying: Request Nothing stop keep"),
                (Trying, Expire, "Terminated: Nothing Timeout stop stop"),
                (Trying, TransportError, "Terminated: Nothing TransportError stop stop"),
                (Proceeding, Response(Class::Provisional), "Proceeding: Nothing Response keep keep"),
                (Proceeding, Response(Class::Success), "Terminated: Nothing Response stop stop"),
                (Proceeding, Response(Class::Failure), "Terminated: Nothing Response stop stop"),
                (Proceeding, Repeat, "Proceeding: Request Nothing stop keep"),
                (Proceeding, Expire, "Terminated: Nothing Timeout stop stop"),
                (Proceeding, TransportError, "Terminated: Nothing TransportError stop stop"),
                (Completed, Expire, "Terminated: Nothing Nothing stop stop"),
                (Completed, TransportError, "Terminated: Nothing Nothing stop stop"),
            ],
        );
    }
}
