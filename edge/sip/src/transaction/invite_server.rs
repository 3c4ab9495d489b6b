//! The INVITE server transaction: RFC 3261 §17.2.1 (figure 7) as amended by RFC 6026 §7.1 (state Accepted, timer L).

use super::machine::{Arm, Class, ServerInput, ServerSend, ServerStep, ServerTell, Setting};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

/// One INVITE server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InviteServer {
    pub state: State,
    /// How often timer G fired.
    repeats: u8,
}

impl InviteServer {
    /// RFC 3261 §17.2.1, paragraph 1: a 100 follows unless the user answers within 200 ms. The repeating timer serves
    /// for that in this state.
    pub fn start(setting: Setting<'_>) -> (Self, ServerStep) {
        let step = ServerStep { repeat: Arm::In(setting.timers.trying), ..ServerStep::ABSORB };
        (Self { state: State::Proceeding, repeats: 0 }, step)
    }

    pub fn on(&mut self, input: ServerInput, setting: Setting<'_>) -> ServerStep {
        match self.state {
            State::Proceeding => self.proceeding(input, setting),
            State::Completed => self.completed(input, setting),
            State::Confirmed => self.confirmed(input),
            State::Accepted => self.accepted(input),
            State::Terminated => ServerStep::REFUSE,
        }
    }

    /// RFC 3261 §17.2.1, paragraphs 2-5.
    fn proceeding(&mut self, input: ServerInput, setting: Setting<'_>) -> ServerStep {
        match input {
            ServerInput::Request => ServerStep::send(ServerSend::Last),
            ServerInput::Respond(Class::Provisional) => {
                ServerStep { send: ServerSend::New, repeat: Arm::Stop, ..ServerStep::ABSORB }
            }
            // RFC 6026 §7.1: repetitions of the 2xx come from the user; timer L is 64*T1 over every transport.
            ServerInput::Respond(Class::Success) => {
                self.state = State::Accepted;
                ServerStep {
                    send: ServerSend::New,
                    tell: ServerTell::Nothing,
                    repeat: Arm::Stop,
                    expire: Arm::In(setting.timers.timeout()),
                }
            }
            // Timer G only over an unreliable transport, timer H always.
            ServerInput::Respond(Class::Failure) => {
                self.state = State::Completed;
                ServerStep {
                    send: ServerSend::New,
                    tell: ServerTell::Nothing,
                    repeat: setting.unreliable(setting.timers.doubling_to_t2(0)),
                    expire: Arm::In(setting.timers.timeout()),
                }
            }
            ServerInput::Repeat => ServerStep { send: ServerSend::Trying, repeat: Arm::Stop, ..ServerStep::ABSORB },
            ServerInput::Ack | ServerInput::Expire => ServerStep::ABSORB,
        }
    }

    /// RFC 3261 §17.2.1, paragraphs 5-8.
    fn completed(&mut self, input: ServerInput, setting: Setting<'_>) -> ServerStep {
        match input {
            ServerInput::Request => ServerStep::send(ServerSend::Last),
            ServerInput::Repeat => {
                self.repeats = self.repeats.saturating_add(1);
                ServerStep {
                    send: ServerSend::Last,
                    repeat: setting.unreliable(setting.timers.doubling_to_t2(self.repeats)),
                    ..ServerStep::ABSORB
                }
            }
            // Timer I is T4, or zero over a reliable transport: the end comes at once.
            ServerInput::Ack => {
                self.state = if setting.reliable { State::Terminated } else { State::Confirmed };
                ServerStep {
                    send: ServerSend::Nothing,
                    tell: ServerTell::Nothing,
                    repeat: Arm::Stop,
                    expire: setting.unreliable(setting.timers.t4),
                }
            }
            ServerInput::Expire => self.end(ServerTell::Unacknowledged),
            ServerInput::Respond(_) => ServerStep::REFUSE,
        }
    }

    /// RFC 3261 §17.2.1, paragraph 8: absorbs further ACKs, until timer I.
    fn confirmed(&mut self, input: ServerInput) -> ServerStep {
        match input {
            ServerInput::Expire => self.end(ServerTell::Nothing),
            ServerInput::Respond(_) => ServerStep::REFUSE,
            ServerInput::Request | ServerInput::Ack | ServerInput::Repeat => ServerStep::ABSORB,
        }
    }

    /// RFC 6026 §7.1: absorbs repeated INVITEs without an answer, passes the user's 2xx to the transport and an ACK to
    /// the user, until timer L.
    fn accepted(&mut self, input: ServerInput) -> ServerStep {
        match input {
            ServerInput::Respond(Class::Success) => ServerStep::send(ServerSend::New),
            ServerInput::Respond(_) => ServerStep::REFUSE,
            ServerInput::Ack => ServerStep { tell: ServerTell::Ack, ..ServerStep::ABSORB },
            ServerInput::Expire => self.end(ServerTell::Nothing),
            ServerInput::Request | ServerInput::Repeat => ServerStep::ABSORB,
        }
    }

    fn end(&mut self, tell: ServerTell) -> ServerStep {
        self.state = State::Terminated;
        ServerStep { send: ServerSend::Nothing, tell, repeat: Arm::Stop, expire: Arm::Stop }
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::table::{self, SERVER_INPUTS};
    use super::super::timers::Timers;
    use super::*;

    const STATES: [State; 5] =
        [State::Proceeding, State::Completed, State::Confirmed, State::Accepted, State::Terminated];

    fn check(reliable: bool, rows: &[(State, ServerInput, &str)]) {
        let timers = Timers::default();
        let setting = Setting { timers: &timers, reliable };
        let on = |state, input| {
            let mut machine = InviteServer { state, repeats: 1 };
            let step = machine.on(input, setting);
            table::server(machine.state, step)
        };
        // A response that is not possible is refused in every state but the one before a final response.
        let otherwise = |state, input| match (state, input) {
            (State::Terminated, _) | (_, ServerInput::Respond(_)) => table::server(state, ServerStep::REFUSE),
            _ => table::server(state, ServerStep::ABSORB),
        };
        table::check(&STATES, &SERVER_INPUTS, rows, on, otherwise);
    }

    /// RFC 3261 figure 7 with RFC 6026 figure 2, over UDP.
    #[test]
    fn figure_7_over_an_unreliable_transport() {
        use ServerInput::{Ack, Expire, Repeat, Request, Respond};
        use State::{Accepted, Completed, Confirmed, Proceeding};
        check(
            false,
            &[
                (Proceeding, Request, "Proceeding: Last Nothing keep keep"),
                (Proceeding, Respond(Class::Provisional), "Proceeding: New Nothing stop keep"),
                (Proceeding, Respond(Class::Success), "Accepted: New Nothing stop 32000ms"),
                (Proceeding, Respond(Class::Failure), "Completed: New Nothing 500ms 32000ms"),
                (Proceeding, Repeat, "Proceeding: Trying Nothing stop keep"),
                (Completed, Request, "Completed: Last Nothing keep keep"),
                (Completed, Ack, "Confirmed: Nothing Nothing stop 5000ms"),
                (Completed, Repeat, "Completed: Last Nothing 2000ms keep"),
                (Completed, Expire, "Terminated: Nothing Unacknowledged stop stop"),
                (Confirmed, Expire, "Terminated: Nothing Nothing stop stop"),
                (Accepted, Ack, "Accepted: Nothing Ack keep keep"),
                (Accepted, Respond(Class::Success), "Accepted: New Nothing keep keep"),
                (Accepted, Expire, "Terminated: Nothing Nothing stop stop"),
            ],
        );
    }

    /// The same over TCP: no timer G, timer I is zero; timers H and L as over UDP.
    #[test]
    fn figure_7_over_a_reliable_transport() {
        use ServerInput::{Ack, Expire, Repeat, Request, Respond};
        use State::{Accepted, Completed, Confirmed, Proceeding};
        check(
            true,
            &[
                (Proceeding, Request, "Proceeding: Last Nothing keep keep"),
                (Proceeding, Respond(Class::Provisional), "Proceeding: New Nothing stop keep"),
                (Proceeding, Respond(Class::Success), "Accepted: New Nothing stop 32000ms"),
                (Proceeding, Respond(Class::Failure), "Completed: New Nothing stop 32000ms"),
                (Proceeding, Repeat, "Proceeding: Trying Nothing stop keep"),
                (Completed, Request, "Completed: Last Nothing keep keep"),
                (Completed, Ack, "Terminated: Nothing Nothing stop stop"),
                (Completed, Repeat, "Completed: Last Nothing stop keep"),
                (Completed, Expire, "Terminated: Nothing Unacknowledged stop stop"),
                (Confirmed, Expire, "Terminated: Nothing Nothing stop stop"),
                (Accepted, Ack, "Accepted: Nothing Ack keep keep"),
                (Accepted, Respond(Class::Success), "Accepted: New Nothing keep keep"),
                (Accepted, Expire, "Terminated: Nothing Nothing stop stop"),
            ],
        );
    }
}
