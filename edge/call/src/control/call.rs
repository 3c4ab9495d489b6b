//! The caller's call: its document's verbs, the Dial that it runs, and its end (RCML.md 1.5, part 2).
//!
//! # Drain rule
//! After [`Call::new`] and after each [`Call::handle`] the owner takes every output with [`Call::poll`] until it gives
//! `None`, carries them out in order, and then waits for [`Call::next_timeout`] or the next input. Calling `handle` with
//! outputs left is a fault of the owner (asserted in debug builds).
//!
//! # Where a verb is added
//! A [`Step`] in `functions/rcml` names it; [`Call::run`] matches every step, and `Screening::run` does for legs. A verb
//! that waits becomes a case of [`Doing`], with its input (a digit, the end of a prompt) handled beside
//! [`CallInput::LegAnswered`] and its time in [`Call::next_timeout`]; it calls [`Runner::waits`]. One that needs media of
//! ours is a case of `Verb` in `voice.rs`, which serves both parties: [`Call::speak`] answers the caller first with
//! `AnswerAlone`, has it attended, and then starts the verb.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use ringfork_rcml::evaluation::{self, Purpose};
use ringfork_rcml::program::{Dial, DocumentRef, Endpoint, Noun, RejectReason, Step};

use super::caller::Caller;
use super::desk::{CallConfig, Desk, Errand};
use super::fork::{self, Accepted, Over, Plan, Race, Stand, Won};
use super::identity::CallerInfo;
use super::journal::{GATE_WAIT, Gate, Settled};
use super::leg;
use super::params;
use super::program::Runner;
use super::sid::SidSource;
use super::signals::{CallInput, CallOutput, LegId, Party, Target, Ticket};
use super::voice::{self, Heard, Progress, Voice};
use super::{CallSid, CallStatus, Write, notices};
use crate::action::{Application, LogLevel, Now, PlayError, PlayId, RecordingEnd, RecordingSid, Sound};

/// `<Dial timeout>` where nothing is written (RCML.md part 2).
const DIAL_TIMEOUT: u32 = 30;
/// `<Dial timeLimit>` where nothing is written (RCML.md part 2).
const DIAL_TIME_LIMIT: u32 = 14_400;

/// Whom an inbound call reaches (RCML.md part 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaches {
    /// A document decides.
    Application(Application),
    /// A client, as if by `<Dial><Client>` without attributes. It exists; whether it has a binding shows.
    Client {
        /// Its login.
        identity: String,
    },
}

/// One inbound call with all its legs. Pure: time and entropy are arguments. Drain [`Call::poll`] until it gives `None`
/// after each [`Call::handle`] (see the module).
pub struct Call {
    desk: Desk,
    caller: Caller,
    runner: Runner,
    doing: Doing,
    tone: Tone,
    /// The caller hears us while it is in no bridge, and its keys are told.
    attended: bool,
    /// The last Dial ended busy.
    busy: bool,
    finished: bool,
}

/// What the caller hears while legs ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    /// Nothing of ours.
    Off,
    /// Our ringing tone.
    Ringing,
    /// `dialMusic`.
    Music(PlayId),
}

/// What the caller's program waits for.
enum Doing {
    /// A document.
    Fetching(Ticket),
    /// `<Pause>`.
    Pausing(Instant),
    /// The caller's 200, before the first verb with media.
    Lifting(Step),
    /// A verb with media.
    Voice(Box<Voice>),
    /// The bindings of a Dial's clients.
    Finding { ticket: Ticket, dial: Box<Dial> },
    /// The write that names a Dial's legs: before the first INVITE.
    Naming { gate: Gate, until: Instant, plan: Plan },
    /// A Dial whose legs ring and screen.
    Dialing(Race),
    /// The write of the acceptance: before the caller's 200.
    Accepting { gate: Gate, until: Instant, won: Won },
    /// The caller's 200: signalling holds it back while the caller owes a PRACK.
    Answering(Won),
    /// Caller and leg talk, at most until then.
    Bridged { until: Instant, won: Won },
    /// Nothing: no verb will run any more.
    Nothing,
}

/// How the caller's program ends.
enum Finale {
    /// Hangup, or the document's end: 486 if the last Dial ended busy, else 480, where unanswered.
    Hangup,
    /// Reject: this code. Only for an unanswered caller.
    Reject(RejectReason),
    /// A document that could not be had: 500, where unanswered.
    Failed,
}

impl Call {
    /// A call as it arrives, authenticated and with a target. Its SID and those of its legs come from `entropy`.
    pub fn new(
        config: Arc<CallConfig>,
        now: Now,
        caller: CallerInfo,
        reaches: Reaches,
        entropy: &mut impl Rng,
    ) -> Call {
        let sid = CallSid::generate(now.unix_ms, entropy);
        let client = match &reaches {
            Reaches::Application(_) => None,
            Reaches::Client { identity } => Some(identity.as_str()),
        };
        let card = caller.describe(sid, client, now);
        let mut call = Call {
            desk: Desk::new(config, caller, card, SidSource::new(entropy)),
            caller: Caller::default(),
            runner: Runner::default(),
            doing: Doing::Nothing,
            tone: Tone::Off,
            attended: false,
            busy: false,
            finished: false,
        };
        let write = Write::PutParent { call: call.desk.card.clone(), status: CallStatus::Ringing };
        call.write(now, write);
        match reaches {
            Reaches::Application(Application { document, fallback }) => {
                call.fetch(document, fallback, call.desk.parameters(CallStatus::Ringing));
            }
            Reaches::Client { identity } => {
                call.runner.load_step(Step::Dial(plain_dial(identity)));
                call.run(now);
            }
        }
        call
    }

    /// The call's SID.
    pub fn sid(&self) -> CallSid {
        self.desk.card.sid
    }

    /// The caller is gone and no verb runs: what is left are writes, events and notices. Legs are over.
    pub fn is_over(&self) -> bool {
        self.caller.is_gone() && matches!(self.doing, Doing::Nothing)
    }

    /// Lets go of what a call that is over needs no more: what is left is what it has to write and to hand over.
    pub fn let_go(&mut self) {
        self.desk.caller = CallerInfo::default();
        self.runner = Runner::default();
    }

    /// The next thing to do, in order. See the drain rule.
    pub fn poll(&mut self) -> Option<CallOutput> {
        self.desk.out.pop()
    }

    /// When [`CallInput::Timeout`] is due; `None`: nothing is waited for.
    pub fn next_timeout(&self) -> Option<Instant> {
        let doing = match &self.doing {
            Doing::Pausing(until)
            | Doing::Naming { until, .. }
            | Doing::Accepting { until, .. }
            | Doing::Bridged { until, .. } => Some(*until),
            Doing::Dialing(race) => race.next_timeout(),
            Doing::Voice(voice) => voice.next_timeout(),
            Doing::Fetching(_) | Doing::Lifting(_) | Doing::Finding { .. } | Doing::Answering(_) | Doing::Nothing => {
                None
            }
        };
        let owed = self.desk.journal.next_timeout().into_iter().chain(self.desk.recordings.next_timeout());
        doing.into_iter().chain(owed).min()
    }

    /// Tells the call what happened. See the drain rule. What does not fit the call's state (an answer that nobody
    /// waits for, a leg that is over) changes nothing.
    pub fn handle(&mut self, now: Now, input: CallInput) {
        debug_assert!(self.desk.out.is_empty(), "poll until None before the next handle");
        if self.finished {
            return;
        }
        match input {
            CallInput::CallerCancelled => self.caller_left(now, CallStatus::Canceled),
            CallInput::CallerRefused => self.caller_left(now, CallStatus::Failed),
            CallInput::CallerHungUp => self.caller_left(now, CallStatus::Completed),
            CallInput::CallerAnswered => self.caller_answered(now),
            CallInput::LegProvisional { leg, code } => self.leg_provisional(now, leg, code),
            CallInput::LegAnswered { leg } => self.leg_answered(now, leg),
            CallInput::LegUnusable { leg } | CallInput::LegUndeliverable { leg } => {
                self.leg_gone(now, leg, CallStatus::Failed);
            }
            CallInput::LegForbidden { leg, address } => {
                self.leg_forbidden(now, leg, address);
            }
            CallInput::LegHungUp { leg } => self.leg_gone(now, leg, CallStatus::Failed),
            CallInput::LegRefused { leg, code } => self.leg_gone(now, leg, leg::refused(code)),
            CallInput::Digit { party, key } => self.heard(now, party, Heard::Digit(key)),
            CallInput::Played { party, play, result } => self.played(now, party, play, result),
            CallInput::Recorded { recording, seconds, end } => self.recorded(now, recording, seconds, end),
            CallInput::Bindings { ticket, found } => self.bindings(now, ticket, found),
            CallInput::Evaluated { ticket, result } => self.evaluated(now, ticket, result),
            CallInput::Written { ticket, result } => {
                match self.desk.journal.written(now, ticket, result, &mut self.desk.out) {
                    Settled::Nothing => {}
                    Settled::Gate(gate) => self.gate_open(now, gate),
                    Settled::Stale => self.dropped(),
                }
            }
            CallInput::HandedOver { ticket, accepted } => {
                self.desk.journal.handed_over(now, ticket, accepted, &mut self.desk.out);
            }
            CallInput::Dropped => self.dropped(),
            CallInput::Timeout => self.timeout(now),
        }
        self.finish_if_done();
    }

    // ---- the program ----

    /// Runs verbs until one waits or the program is over.
    fn run(&mut self, now: Now) {
        loop {
            match self.runner.next() {
                None | Some(Step::Hangup) => return self.end(now, Finale::Hangup),
                Some(Step::Pause { seconds }) => {
                    self.caller.ring(&mut self.desk.out);
                    self.runner.waits();
                    self.doing = Doing::Pausing(now.instant + Duration::from_secs(u64::from(seconds)));
                    return;
                }
                Some(step @ (Step::Prompt(_) | Step::Gather(_) | Step::Record(_))) => return self.speak(now, step),
                Some(Step::Redirect { to }) => {
                    let parameters = self.desk.parameters(self.caller.status());
                    return self.go_on(now, to, parameters);
                }
                Some(Step::Reject { reason }) if !self.caller.is_answered() => {
                    return self.end(now, Finale::Reject(reason));
                }
                Some(Step::Reject { .. }) => {
                    let sid = self.sid();
                    self.desk.out.notify(sid, now, notices::reject_answered());
                }
                Some(Step::Dial(dial)) => {
                    let identities = fork::identities(&dial);
                    if !identities.is_empty() {
                        let ticket = self.desk.out.ticket();
                        self.desk.out.push(CallOutput::FindBindings { ticket, identities });
                        self.doing = Doing::Finding { ticket, dial: Box::new(dial) };
                        return;
                    }
                    // Only a Dial without nouns ends here at once; `dial_over` says whether the next verb runs.
                    match self.dial(now, dial, Vec::new()) {
                        Some(over) if self.dial_over(now, &over) => {}
                        _ => return,
                    }
                }
            }
        }
    }

    /// Runs a verb with media: an unanswered caller is answered first (RCML.md part 2).
    fn speak(&mut self, now: Now, step: Step) {
        if !self.caller.is_answered() {
            self.desk.out.push(CallOutput::AnswerAlone);
            self.doing = Doing::Lifting(step);
            return;
        }
        self.attend();
        let whom = (Party::Caller, self.sid());
        let voice = match step {
            Step::Prompt(prompt) => Voice::prompt(now, whom, prompt, &mut self.desk),
            Step::Gather(gather) => Voice::gather(now, whom, *gather, &mut self.desk),
            Step::Record(record) => Voice::record(now, whom, record, &mut self.desk),
            Step::Dial(_) | Step::Pause { .. } | Step::Redirect { .. } | Step::Reject { .. } | Step::Hangup => return,
        };
        self.doing = Doing::Voice(Box::new(voice));
    }

    /// Before the first sound to the caller.
    fn attend(&mut self) {
        if !std::mem::replace(&mut self.attended, true) {
            self.desk.out.push(CallOutput::Attend { party: Party::Caller });
        }
    }

    /// A key, or the end of a sound or of a recording.
    fn heard(&mut self, now: Now, party: Party, heard: Heard) {
        match (party, std::mem::replace(&mut self.doing, Doing::Nothing)) {
            (Party::Caller, Doing::Voice(mut voice)) => {
                let progress = voice.heard(now, heard, &mut self.desk);
                self.progress(now, voice, progress);
            }
            (Party::Leg(leg), Doing::Dialing(race)) if race.is_live(leg) => {
                let stand = race.heard(now, leg, heard, &mut self.desk);
                self.stand(now, stand);
            }
            (_, other) => self.doing = other,
        }
    }

    fn progress(&mut self, now: Now, voice: Box<Voice>, progress: Progress) {
        if progress != Progress::Waits && voice.has_waited() {
            self.runner.waits();
        }
        match progress {
            Progress::Waits => self.doing = Doing::Voice(voice),
            Progress::Next => self.run(now),
            Progress::Ask(action, more) => {
                let mut parameters = self.desk.parameters(self.caller.status());
                parameters.extend(more);
                self.go_on(now, action, parameters);
            }
        }
    }

    fn played(&mut self, now: Now, party: Party, play: PlayId, result: Result<(), PlayError>) {
        if self.tone != Tone::Music(play) {
            return self.heard(now, party, Heard::Played(play, result));
        }
        // The music cannot be had: ringing, in its place.
        self.tone = Tone::Ringing;
        self.desk.out.push(CallOutput::RingingTone { on: true });
        if let Err(error) = result {
            let sid = self.sid();
            self.desk.out.notify(sid, now, notices::not_heard(&error));
        }
    }

    fn recorded(&mut self, now: Now, recording: RecordingSid, length: u32, end: RecordingEnd) {
        if !self.desk.recorded(now, recording, length, end) {
            return;
        }
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Voice(mut voice) => {
                let progress = voice.heard(now, Heard::Recorded(recording, length, end), &mut self.desk);
                self.progress(now, voice, progress);
            }
            Doing::Dialing(race) => {
                let stand = race.recorded(now, (recording, length, end), &mut self.desk);
                self.stand(now, stand);
            }
            Doing::Bridged { until, mut won } => {
                won.recorded(recording, length);
                self.doing = Doing::Bridged { until, won };
            }
            other => self.doing = other,
        }
    }

    /// Asks for a document.
    fn fetch(&mut self, document: DocumentRef, fallback: Option<DocumentRef>, parameters: params::Form) {
        let errand = Errand { sid: self.desk.card.sid, purpose: Purpose::Call, fallback, parameters };
        self.doing = Doing::Fetching(self.desk.evaluate(&self.runner, document, errand));
    }

    /// Goes on with a later document, if the chain is not too long (RCML.md part 2, Redirect).
    fn go_on(&mut self, now: Now, document: DocumentRef, parameters: params::Form) {
        if self.runner.may_go_on() {
            self.fetch(document, None, parameters);
        } else {
            let sid = self.sid();
            self.desk.out.notify(sid, now, notices::chain_too_long(&document.url));
            self.end(now, Finale::Failed);
        }
    }

    fn evaluated(&mut self, now: Now, ticket: Ticket, result: Result<evaluation::Response, String>) {
        let Some(document) = self.desk.evaluated(now, ticket, result) else { return };
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Fetching(awaited) if awaited == ticket => match self.runner.load(document) {
                Ok(()) => {
                    let sid = self.sid();
                    voice::prepare(now, sid, self.runner.ahead(), &mut self.desk);
                    self.run(now);
                }
                Err(_) => self.end(now, Finale::Failed),
            },
            Doing::Dialing(race) => {
                let stand = race.evaluated(now, ticket, document, &mut self.desk);
                self.stand(now, stand);
            }
            // The answer to a request whose document nobody runs any more.
            other => self.doing = other,
        }
    }

    /// The program is over and the caller still there.
    fn end(&mut self, now: Now, finale: Finale) {
        self.doing = Doing::Nothing;
        self.runner = Runner::default();
        let code = match finale {
            Finale::Hangup if self.busy => 486,
            Finale::Hangup => 480,
            Finale::Reject(RejectReason::Busy) => 486,
            Finale::Reject(RejectReason::Rejected) => 603,
            Finale::Failed => 500,
        };
        if let Some(status) = self.caller.dismiss(code, &mut self.desk.out) {
            self.close(now, status);
        }
    }

    // ---- Dial ----

    fn bindings(&mut self, now: Now, ticket: Ticket, found: Vec<Vec<Target>>) {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Finding { ticket: awaited, dial } if awaited == ticket => {
                if let Some(over) = self.dial(now, *dial, found) {
                    self.after_dial(now, &over);
                }
            }
            other => self.doing = other,
        }
    }

    /// Plans the legs and writes them down first. Some: there is no leg.
    fn dial(&mut self, now: Now, dial: Dial, found: Vec<Vec<Target>>) -> Option<Over> {
        let plan = Plan::new(now, dial, found, &mut self.desk);
        if plan.is_empty() {
            return Some(plan.drop_all());
        }
        let sid = self.sid();
        let write = Write::NameLegs { parent: sid, legs: plan.names() };
        let gate = self.desk.journal.write_first(now, sid, write, &mut self.desk.out);
        self.doing = Doing::Naming { gate, until: now.instant + GATE_WAIT, plan };
        None
    }

    fn launch(&mut self, now: Now, plan: Plan) {
        self.runner.waits();
        self.doing = Doing::Dialing(plan.launch(now, &mut self.desk));
    }

    fn leg_provisional(&mut self, now: Now, leg: LegId, code: u16) {
        if let Doing::Dialing(race) = &mut self.doing
            && race.provisional(now, leg, code, &mut self.desk)
        {
            let music = race.music().cloned();
            self.alert(music);
        }
    }

    fn leg_answered(&mut self, now: Now, leg: LegId) {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Dialing(race) if race.is_live(leg) => {
                self.alert(race.music().cloned());
                let stand = race.answered(now, leg, &mut self.desk);
                self.stand(now, stand);
            }
            other => self.doing = other,
        }
    }

    fn leg_gone(&mut self, now: Now, leg: LegId, unanswered: CallStatus) {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Dialing(race) => {
                let stand = race.gone(now, leg, unanswered, &mut self.desk);
                self.stand(now, stand);
            }
            Doing::Accepting { won, .. } | Doing::Answering(won) | Doing::Bridged { won, .. } if won.leg() == leg => {
                let over = won.gone(now, &mut self.desk);
                self.after_dial(now, &over);
            }
            other => self.doing = other,
        }
    }

    /// RCML.md part 2, Sip: the leg fails, and a warning on it says why.
    fn leg_forbidden(&mut self, now: Now, leg: LegId, address: IpAddr) {
        if let Doing::Dialing(race) = &mut self.doing
            && let Some(sid) = race.sid_of(leg)
        {
            self.desk.out.notify(sid, now, notices::address_refused(address));
        }
        self.leg_gone(now, leg, CallStatus::Failed);
    }

    /// The caller hears that somebody is rung (RCML.md part 2): 180, or a tone where it was answered before; `dialMusic`
    /// in place of both.
    fn alert(&mut self, music: Option<Sound>) {
        if self.tone != Tone::Off {
            return;
        }
        match music {
            // One that rings already (a Pause before) gets the music all the same.
            Some(sound) if self.caller.is_answered() || self.caller.early_media(&mut self.desk.out) => {
                self.attend();
                self.tone = Tone::Music(self.desk.play(Party::Caller, sound, 0));
            }
            _ if !self.caller.hears_us() => self.caller.ring(&mut self.desk.out),
            _ => {
                self.tone = Tone::Ringing;
                self.desk.out.push(CallOutput::RingingTone { on: true });
            }
        }
    }

    fn silence(&mut self) {
        match std::mem::replace(&mut self.tone, Tone::Off) {
            Tone::Off => {}
            Tone::Ringing => self.desk.out.push(CallOutput::RingingTone { on: false }),
            Tone::Music(_) => self.desk.out.push(CallOutput::Stop { party: Party::Caller }),
        }
    }

    fn stand(&mut self, now: Now, stand: Stand) {
        match stand {
            Stand::Open(race) => self.doing = Doing::Dialing(race),
            Stand::Over(over) => self.after_dial(now, &over),
            Stand::Accepted(accepted) => self.accept(now, *accepted),
        }
    }

    /// A leg is accepted: written down before the caller's 200, or bridged at once where the caller has been answered.
    fn accept(&mut self, now: Now, accepted: Accepted) {
        let sid = self.sid();
        let write = Write::Accept { parent: sid, leg: accepted.sid(), unix_ms: now.unix_ms };
        // First of all: the caller's 200 waits for it.
        let gate = self.desk.journal.write_first(now, sid, write, &mut self.desk.out);
        let won = accepted.end_others(now, &mut self.desk);
        if self.caller.is_answered() {
            self.bridge(now, won);
        } else {
            self.doing = Doing::Accepting { gate, until: now.instant + GATE_WAIT, won };
        }
    }

    /// The caller gets its 200. The leg is bridged once that has left (RCML.md 1.5).
    fn answer(&mut self, won: Won) {
        self.desk.out.push(CallOutput::AnswerWith { leg: won.leg() });
        self.doing = Doing::Answering(won);
    }

    fn caller_answered(&mut self, now: Now) {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Answering(won) => {
                self.caller.answer(now);
                self.bridge(now, won);
            }
            Doing::Lifting(step) => {
                self.caller.answer(now);
                let (parent, answered_unix_ms) = (self.sid(), self.caller.answered_unix_ms());
                let status = CallStatus::InProgress;
                self.write(now, Write::Parent { parent, status, answered_unix_ms, ended_unix_ms: None });
                self.speak(now, step);
            }
            other => self.doing = other,
        }
    }

    fn bridge(&mut self, now: Now, mut won: Won) {
        self.silence();
        self.desk.out.push(CallOutput::Bridge { leg: won.leg() });
        let until = won.bridge(now, &mut self.desk);
        self.doing = Doing::Bridged { until, won };
    }

    /// A Dial is over and the caller still there: on with its action or the next verb.
    fn after_dial(&mut self, now: Now, over: &Over) {
        if self.dial_over(now, over) {
            self.run(now);
        }
    }

    /// True if the next verb runs; otherwise the action is under way or the call has ended.
    fn dial_over(&mut self, now: Now, over: &Over) -> bool {
        self.silence();
        if let Some(recording) = over.recording() {
            self.desk.stop_recording(now, recording);
        }
        let result = over.result(false, &self.desk.config);
        self.busy = result.status == CallStatus::Busy;
        let Some(action) = over.terms.action.clone() else { return true };
        let mut parameters = self.desk.parameters(self.caller.status());
        params::add_dial(&mut parameters, &result);
        self.go_on(now, action, parameters);
        false
    }

    // ---- the caller ----

    /// CANCEL or BYE: whatever runs ends; a Dial's action is still requested, its answer unused (RCML.md 1.5).
    fn caller_left(&mut self, now: Now, how: CallStatus) {
        // A CANCEL that crosses our 200 changes nothing (RCML.md 1.5).
        if how != CallStatus::Completed && self.caller.is_answered() {
            return;
        }
        let Some(mut status) = self.caller.leave(&mut self.desk.out) else { return };
        if how == CallStatus::Failed {
            // Not a caller who gave up: one that got another refusal than 486, 480 and 603 (RCML.md 3.1).
            status = how;
        }
        let over = match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Finding { dial, .. } => Some(Over::without_legs(&dial)),
            Doing::Naming { plan, .. } => Some(plan.drop_all()),
            Doing::Dialing(race) => Some(race.abandon(now, &mut self.desk)),
            Doing::Accepting { won, .. } | Doing::Answering(won) | Doing::Bridged { won, .. } => {
                Some(won.stop(now, &mut self.desk))
            }
            Doing::Voice(voice) => {
                voice.abandon(now, &self.runner, Some(self.desk.parameters(status)), &mut self.desk);
                None
            }
            Doing::Fetching(_) | Doing::Pausing(_) | Doing::Lifting(_) | Doing::Nothing => None,
        };
        self.tone = Tone::Off;
        if let Some(recording) = over.as_ref().and_then(Over::recording) {
            self.desk.leave_recording(now, recording, None);
        }
        self.close(now, status);
        if let Some(over) = over
            && let Some(action) = over.terms.action.clone()
        {
            let mut parameters = self.desk.parameters(status);
            params::add_dial(&mut parameters, &over.result(true, &self.desk.config));
            let sid = self.sid();
            let errand = Errand { sid, purpose: Purpose::Unused, fallback: None, parameters };
            self.desk.evaluate(&self.runner, action, errand);
        }
        self.runner = Runner::default();
    }

    /// The caller's last write.
    fn close(&mut self, now: Now, status: CallStatus) {
        let write = Write::Parent {
            parent: self.sid(),
            status,
            answered_unix_ms: self.caller.answered_unix_ms(),
            ended_unix_ms: Some(now.unix_ms),
        };
        self.write(now, write);
    }

    fn write(&mut self, now: Now, write: Write) {
        let sid = self.sid();
        self.desk.journal.write(now, sid, write, &mut self.desk.out);
    }

    // ---- time ----

    fn gate_open(&mut self, now: Now, open: Gate) {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Naming { gate, plan, .. } if gate == open => self.launch(now, plan),
            Doing::Accepting { gate, won, .. } if gate == open => self.answer(won),
            other => self.doing = other,
        }
    }

    /// A write that goes first took too long: the call goes on, the journal keeps trying.
    fn write_is_late(&mut self, what: &'static str) {
        self.desk.out.log(LogLevel::Warn, format!("the store did not take the {what} within 2 s: the call goes on"));
        self.desk.out.count("call_writes_late_total", what);
    }

    fn timeout(&mut self, now: Now) {
        self.desk.journal.timeout(now, &mut self.desk.out);
        while let Some(recording) = self.desk.recordings.late(now) {
            self.desk.recording_is_late(recording);
            self.recorded(now, recording, 0, RecordingEnd::Failed);
        }
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Pausing(until) if until <= now.instant => self.run(now),
            Doing::Naming { until, plan, .. } if until <= now.instant => {
                self.write_is_late("legs");
                self.launch(now, plan);
            }
            Doing::Accepting { until, won, .. } if until <= now.instant => {
                self.write_is_late("acceptance");
                self.answer(won);
            }
            Doing::Bridged { until, won } if until <= now.instant => {
                let over = won.stop(now, &mut self.desk);
                self.after_dial(now, &over);
            }
            Doing::Dialing(race) => {
                let stand = race.timeout(now, &mut self.desk);
                self.stand(now, stand);
            }
            Doing::Voice(mut voice) => {
                let progress = voice.timeout(now, &mut self.desk);
                self.progress(now, voice, progress);
            }
            other => self.doing = other,
        }
    }

    /// The call is not ours any more: everything ends, nothing is reported (DESIGN "State in DynamoDB").
    fn dropped(&mut self) {
        let mut silent = Vec::new();
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Dialing(race) => silent = race.commands_to_end(),
            Doing::Accepting { won, .. } | Doing::Answering(won) | Doing::Bridged { won, .. } => {
                silent.push(CallOutput::Bye { leg: won.leg() });
            }
            Doing::Fetching(_)
            | Doing::Pausing(_)
            | Doing::Lifting(_)
            | Doing::Voice(_)
            | Doing::Finding { .. }
            | Doing::Naming { .. }
            | Doing::Nothing => {}
        }
        self.caller.dismiss(500, &mut self.desk.out);
        silent.into_iter().for_each(|output| self.desk.out.push(output));
        self.desk.discard();
    }

    fn finish_if_done(&mut self) {
        if self.is_over() && self.desk.is_idle() {
            self.finished = true;
            self.desk.out.push(CallOutput::Finished);
        }
    }
}

/// `<Dial><Client>` without attributes.
fn plain_dial(identity: String) -> Dial {
    let endpoint = Endpoint::Client { identity };
    Dial {
        action: None,
        timeout: DIAL_TIMEOUT,
        time_limit: DIAL_TIME_LIMIT,
        caller_id: None,
        record: false,
        dial_music: None,
        nouns: vec![Noun { endpoint, headers: Vec::new(), screening: None, callback: None }],
    }
}
