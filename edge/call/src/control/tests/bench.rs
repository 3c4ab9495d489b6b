//! The harness: a call with a scripted world around it.
//!
//! By default the store writes at once, `callback` accepts at once, and documents come at once; each can be held back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use ringfork_rcml::evaluation::{self, Outcome, Purpose};
use ringfork_rcml::program::{
    Callback, Dial, DocumentRef, Endpoint, Events, Gather, Method, Noun, Program, Prompt, Record, RejectReason,
    Screening, Step,
};

use crate::action::{
    Application, Now, PlayError, PlayId, RecordingEnd, RecordingLimits, RecordingSid, Sound, StoreError,
};
use crate::control::signals::{CallInput, CallOutput, Invite, LegId, Party, Target, Ticket};
use crate::control::{Call, CallConfig, CallSid, CallerInfo, Event, Languages, Notice, Reaches, Voices, Write};

pub const FIRST: &str = "https://app.example/first";
pub const CALLBACK: &str = "https://app.example/events";
pub const ACTION: &str = "https://app.example/action";

pub fn at(url: &str) -> DocumentRef {
    DocumentRef { url: url.to_owned(), method: Method::Post }
}

pub fn client(identity: &str) -> Noun {
    let endpoint = Endpoint::Client { identity: identity.to_owned() };
    Noun { endpoint, headers: vec![], screening: None, callback: Some(callback(Events::ALL)) }
}

pub fn callback(events: Events) -> Callback {
    Callback { url: CALLBACK.to_owned(), method: Method::Post, events }
}

pub fn number(digits: &str) -> Noun {
    Noun { endpoint: Endpoint::Number { digits: digits.to_owned() }, ..client("") }
}

pub fn screened(identity: &str, url: &str) -> Noun {
    Noun { screening: Some(Screening { document: at(url), timeout: 60 }), ..client(identity) }
}

pub fn dial(nouns: impl IntoIterator<Item = Noun>) -> Dial {
    Dial {
        action: None,
        timeout: 30,
        time_limit: 14_400,
        caller_id: None,
        record: false,
        dial_music: None,
        nouns: nouns.into_iter().collect(),
    }
}

pub fn pause(seconds: u32) -> Step {
    Step::Pause { seconds }
}

pub fn redirect(url: &str) -> Step {
    Step::Redirect { to: at(url) }
}

pub fn reject(reason: RejectReason) -> Step {
    Step::Reject { reason }
}

/// The world around one call, and what it saw.
pub struct Bench {
    pub call: Call,
    start: Instant,
    now: Now,
    documents: BTreeMap<String, VecDeque<Option<Vec<Step>>>>,
    bindings: BTreeMap<String, usize>,
    /// The store answers at once with this; `None`: not until told.
    pub store: Option<Result<(), StoreError>>,
    /// `callback` answers at once with this; `None`: not until told.
    pub hand_over: Option<bool>,
    pub held_writes: Vec<(Ticket, Write)>,
    pub held_events: Vec<(Ticket, Arc<Event>)>,
    pub held_documents: Vec<(Ticket, evaluation::Request)>,
    pub held_bindings: Vec<(Ticket, Vec<String>)>,
    pub hold_bindings: bool,
    /// The caller's 200 waits for a PRACK.
    pub hold_answer: bool,
    said: Vec<String>,
    attended: BTreeSet<Party>,
    pub plays: Vec<(Party, PlayId)>,
    pub sounds: Vec<Sound>,
    pub prepared: Vec<Sound>,
    pub recordings: Vec<(RecordingSid, CallSid, RecordingLimits)>,
    pub invites: Vec<Invite>,
    pub requests: Vec<evaluation::Request>,
    pub events: Vec<Arc<Event>>,
    pub writes: Vec<Write>,
    pub notices: Vec<Notice>,
    pub counts: Vec<&'static str>,
    pub finished: bool,
}

/// What is known before the call begins.
pub struct Setup {
    caller: CallerInfo,
    reaches: Reaches,
    documents: BTreeMap<String, VecDeque<Option<Vec<Step>>>>,
    bindings: BTreeMap<String, usize>,
    hold_bindings: bool,
    store: Option<Result<(), StoreError>>,
}

/// The moment at which virtual time begins: any will do.
#[allow(clippy::disallowed_methods)]
fn origin() -> Instant {
    Instant::now()
}

pub const UNIX_MS: u64 = 1_124_121_121_000;

impl Setup {
    /// A call from a trunk to a number with these verbs.
    pub fn new(steps: Vec<Step>) -> Setup {
        let document = at(FIRST);
        let caller = CallerInfo { from_user: Some("+15557".into()), called: "+15550".into(), ..CallerInfo::default() };
        let setup = Setup {
            caller,
            reaches: Reaches::Application(Application { document, fallback: None }),
            documents: BTreeMap::new(),
            bindings: BTreeMap::new(),
            hold_bindings: false,
            store: Some(Ok(())),
        };
        setup.document(FIRST, steps)
    }

    pub fn reaches(self, reaches: Reaches) -> Setup {
        Setup { reaches, ..self }
    }

    pub fn caller(self, caller: CallerInfo) -> Setup {
        Setup { caller, ..self }
    }

    /// The next document at this URL.
    pub fn document(mut self, url: &str, steps: Vec<Step>) -> Setup {
        self.documents.entry(url.to_owned()).or_default().push_back(Some(steps));
        self
    }

    /// The next document at this URL cannot be had.
    pub fn no_document(mut self, url: &str) -> Setup {
        self.documents.insert(url.to_owned(), VecDeque::from([None]));
        self
    }

    /// Documents at this URL come when told.
    pub fn held(mut self, url: &str) -> Setup {
        self.documents.remove(url);
        self
    }

    pub fn devices(mut self, identity: &str, count: usize) -> Setup {
        self.bindings.insert(identity.to_owned(), count);
        self
    }

    pub fn hold_bindings(self) -> Setup {
        Setup { hold_bindings: true, ..self }
    }

    pub fn store(self, store: Option<Result<(), StoreError>>) -> Setup {
        Setup { store, ..self }
    }

    pub fn start(self) -> Bench {
        let start = origin();
        let now = Now { instant: start, unix_ms: UNIX_MS };
        let config = CallConfig {
            account_sid: "AC1".into(),
            trunk_caller_id: Some("+1900".into()),
            recordings_url: "http://e.example/Recordings".into(),
            languages: Languages::English,
            voices: Voices::Named(&["rms", "slt"]),
        };
        let mut entropy = ChaCha8Rng::seed_from_u64(1);
        let call = Call::new(Arc::new(config), now, self.caller, self.reaches, &mut entropy);
        let mut bench = Bench {
            call,
            start,
            now,
            documents: self.documents,
            bindings: self.bindings,
            store: self.store,
            hand_over: Some(true),
            held_writes: vec![],
            held_events: vec![],
            held_documents: vec![],
            held_bindings: vec![],
            hold_bindings: self.hold_bindings,
            hold_answer: false,
            said: vec![],
            attended: BTreeSet::new(),
            plays: vec![],
            sounds: vec![],
            prepared: vec![],
            recordings: vec![],
            invites: vec![],
            requests: vec![],
            events: vec![],
            writes: vec![],
            notices: vec![],
            counts: vec![],
            finished: false,
        };
        bench.settle();
        bench
    }
}

/// A call that runs this Dial at once; each client named here has so many devices.
pub fn dialing(dial: Dial, devices: &[(&str, usize)]) -> Bench {
    let setup = Setup::new(vec![Step::Dial(dial)]);
    devices.iter().fold(setup, |setup, (identity, count)| setup.devices(identity, *count)).start()
}

impl Bench {
    /// One input, and all that follows at once.
    pub fn input(&mut self, input: CallInput) {
        self.call.handle(self.now, input);
        self.settle();
    }

    pub fn provisional(&mut self, leg: u16, code: u16) {
        self.input(CallInput::LegProvisional { leg: LegId(leg), code });
    }

    pub fn answers(&mut self, leg: u16) {
        self.input(CallInput::LegAnswered { leg: LegId(leg) });
    }

    pub fn refuses(&mut self, leg: u16, code: u16) {
        self.input(CallInput::LegRefused { leg: LegId(leg), code });
    }

    pub fn hangs_up(&mut self, leg: u16) {
        self.input(CallInput::LegHungUp { leg: LegId(leg) });
    }

    /// A party presses keys.
    pub fn keys(&mut self, party: Party, keys: &str) {
        keys.chars().for_each(|key| self.input(CallInput::Digit { party, key }));
    }

    /// What plays last is heard to its end.
    pub fn heard(&mut self) {
        self.played(Ok(()));
    }

    pub fn played(&mut self, result: Result<(), PlayError>) {
        let (party, play) = *self.plays.last().unwrap();
        self.input(CallInput::Played { party, play, result });
    }

    /// The last recording is over.
    pub fn recorded(&mut self, seconds: u32, end: RecordingEnd) {
        let recording = self.recordings.last().unwrap().0;
        self.input(CallInput::Recorded { recording, seconds, end });
    }

    /// `RecordingUrl` of the last recording.
    pub fn recording_url(&self) -> String {
        format!("http://e.example/Recordings/{}.wav", self.recordings.last().unwrap().0)
    }

    pub fn cancels(&mut self) {
        self.input(CallInput::CallerCancelled);
    }

    pub fn caller_hangs_up(&mut self) {
        self.input(CallInput::CallerHungUp);
    }

    /// Lets virtual time pass, waking the call exactly when it asks for it.
    pub fn pass(&mut self, milliseconds: u64) {
        let until = self.now.instant + Duration::from_millis(milliseconds);
        while let Some(due) = self.call.next_timeout().filter(|due| *due <= until) {
            self.set(due.max(self.now.instant));
            self.input(CallInput::Timeout);
            assert!(self.call.next_timeout().is_none_or(|next| next > self.now.instant), "woken for nothing");
        }
        self.set(until);
    }

    pub fn pass_seconds(&mut self, seconds: u64) {
        self.pass(seconds * 1000);
    }

    /// Wakes the call only after all of this time.
    pub fn wake_late(&mut self, milliseconds: u64) {
        self.set(self.now.instant + Duration::from_millis(milliseconds));
        self.input(CallInput::Timeout);
    }

    fn set(&mut self, instant: Instant) {
        let elapsed = u64::try_from(instant.duration_since(self.start).as_millis()).unwrap();
        self.now = Now { instant, unix_ms: UNIX_MS + elapsed };
    }

    /// The oldest held document comes with these verbs; `None`: it cannot be had.
    pub fn document(&mut self, steps: Option<Vec<Step>>) {
        let (ticket, _) = self.held_documents.remove(0);
        self.evaluated(ticket, steps);
    }

    fn evaluated(&mut self, ticket: Ticket, steps: Option<Vec<Step>>) {
        let outcome = steps.map_or(Outcome::Failed, |steps| Outcome::Program(Program { steps }));
        let cookies = vec![format!("seen={}", self.requests.len())];
        let response = evaluation::Response { outcome, cookies, notices: vec![] };
        self.input(CallInput::Evaluated { ticket, result: Ok(response) });
    }

    /// The oldest held write is answered.
    pub fn written(&mut self, result: Result<(), StoreError>) -> Write {
        let (ticket, write) = self.held_writes.remove(0);
        self.input(CallInput::Written { ticket, result });
        write
    }

    /// The oldest held event is answered.
    pub fn handed_over(&mut self, accepted: bool) {
        let (ticket, _) = self.held_events.remove(0);
        self.input(CallInput::HandedOver { ticket, accepted });
    }

    /// The oldest held document comes, empty.
    pub fn input_held_document(&mut self) {
        self.document(Some(vec![]));
    }

    /// The store answers again: held writes first.
    pub fn release_store(&mut self) {
        self.store = Some(Ok(()));
        while !self.held_writes.is_empty() {
            self.written(Ok(()));
        }
    }

    /// The parent's last write was sent.
    pub fn final_status_queued(&self) -> bool {
        self.writes.iter().any(|write| matches!(write, Write::Parent { ended_unix_ms: Some(_), .. }))
    }

    fn found(&self, identities: &[String]) -> Vec<Vec<Target>> {
        let devices = |aor: &String| {
            let key = |n| Target::Binding { aor: aor.clone(), key: format!("{aor}/{n}") };
            (0..self.bindings.get(aor).copied().unwrap_or(0)).map(key).collect()
        };
        identities.iter().map(devices).collect()
    }

    pub fn bindings(&mut self) {
        let (ticket, identities) = self.held_bindings.remove(0);
        let found = self.found(&identities);
        self.input(CallInput::Bindings { ticket, found });
    }

    /// Takes every output, answers what is answered at once, until nothing is left.
    fn settle(&mut self) {
        let mut answers = VecDeque::new();
        loop {
            while let Some(output) = self.call.poll() {
                self.take(output, &mut answers);
            }
            let Some(answer) = answers.pop_front() else { return };
            match answer {
                Answer::Input(input) => self.call.handle(self.now, input),
                Answer::Document(ticket, steps) => self.evaluated(ticket, steps),
            }
        }
    }

    fn take(&mut self, output: CallOutput, answers: &mut VecDeque<Answer>) {
        assert!(!self.finished, "nothing comes after Finished: {output:?}");
        match output {
            CallOutput::Ring => self.say("ring"),
            CallOutput::Refuse { code } => self.say(format!("refuse {code}")),
            CallOutput::AnswerWith { leg } => {
                self.say(format!("answer {}", leg.0));
                if !self.hold_answer {
                    answers.push_front(Answer::Input(CallInput::CallerAnswered));
                }
            }
            CallOutput::AnswerAlone => {
                self.say("answer");
                if !self.hold_answer {
                    answers.push_front(Answer::Input(CallInput::CallerAnswered));
                }
            }
            CallOutput::EarlyMedia => self.say("early media"),
            CallOutput::Attend { party } => assert!(self.attended.insert(party), "attended twice: {party:?}"),
            CallOutput::Play { party, play, sound, loops } => {
                assert!(self.attended.contains(&party), "{party:?} is not attended");
                let what = match &sound {
                    Sound::Speech { text, .. } => text.to_string(),
                    Sound::File { url } => url.rsplit('/').next().unwrap_or_default().to_owned(),
                    Sound::Beep => "beep".to_owned(),
                };
                let times = if loops == 1 { String::new() } else { format!(" x{loops}") };
                self.say(format!("play {} {what}{times}", name(party)));
                self.plays.push((party, play));
                self.sounds.push(sound);
            }
            CallOutput::Stop { party } => self.say(format!("stop {}", name(party))),
            CallOutput::Prepare { sound } => self.prepared.push(sound),
            CallOutput::Record { party, recording, call, other, limits } => {
                assert!(self.attended.contains(&party) || other.is_some(), "{party:?} is not attended");
                let with = other.map_or_else(String::new, |leg| format!(" and {}", leg.0));
                self.say(format!("record {}{with}", name(party)));
                self.recordings.push((recording, call, limits));
            }
            CallOutput::StopRecording { .. } => self.say("stop recording"),
            CallOutput::HangUp => self.say("hang up"),
            CallOutput::Invite(invite) => {
                self.say(format!("invite {}", invite.leg.0));
                self.invites.push(*invite);
            }
            CallOutput::Cancel { leg, elsewhere } => {
                self.say(format!("cancel {}{}", leg.0, if elsewhere { " elsewhere" } else { "" }));
            }
            CallOutput::Bye { leg } => self.say(format!("bye {}", leg.0)),
            CallOutput::Bridge { leg } => self.say(format!("bridge {}", leg.0)),
            CallOutput::RingingTone { on } => self.say(if on { "tone on" } else { "tone off" }),
            CallOutput::FindBindings { ticket, identities } if self.hold_bindings => {
                self.held_bindings.push((ticket, identities));
            }
            CallOutput::FindBindings { ticket, identities } => {
                let found = self.found(&identities);
                answers.push_back(Answer::Input(CallInput::Bindings { ticket, found }));
            }
            CallOutput::Evaluate { ticket, request } => {
                self.requests.push((*request).clone());
                match self.documents.get_mut(&request.document.url).and_then(VecDeque::pop_front) {
                    Some(steps) => answers.push_back(Answer::Document(ticket, steps)),
                    None if request.purpose == Purpose::Unused => {
                        answers.push_back(Answer::Document(ticket, Some(vec![])));
                    }
                    None => self.held_documents.push((ticket, *request)),
                }
            }
            CallOutput::Write { ticket, write } => {
                self.writes.push(write.clone());
                match self.store {
                    Some(result) => answers.push_back(Answer::Input(CallInput::Written { ticket, result })),
                    None => self.held_writes.push((ticket, write)),
                }
            }
            CallOutput::Deliver { ticket, event } => {
                self.events.push(Arc::clone(&event));
                match self.hand_over {
                    Some(accepted) => {
                        answers.push_back(Answer::Input(CallInput::HandedOver { ticket, accepted }));
                    }
                    None => self.held_events.push((ticket, event)),
                }
            }
            CallOutput::Notify(notice) => self.notices.push(notice),
            CallOutput::Log { .. } => {}
            CallOutput::Count { metric, .. } => self.counts.push(metric),
            CallOutput::Finished => self.finished = true,
        }
    }

    /// The 200 that was held leaves.
    pub fn answer_leaves(&mut self) {
        self.input(CallInput::CallerAnswered);
    }

    fn say(&mut self, text: impl Into<String>) {
        self.said.push(text.into());
    }

    /// What signalling was told since the last time, separated by commas.
    #[track_caller]
    pub fn says(&mut self, expected: &str) {
        assert_eq!(std::mem::take(&mut self.said).join(", "), expected);
    }

    /// Forgets what signalling was told so far.
    pub fn skip(&mut self) {
        self.said.clear();
    }

    /// The events of a leg as `kind status`, in the order of their sequence.
    pub fn leg_events(&self, leg: usize) -> Vec<String> {
        let sid = self.invites[leg].sid;
        let mut events: Vec<_> = self.events.iter().filter(|event| event.leg == sid).collect();
        events.sort_by_key(|event| event.sequence);
        events.iter().map(|event| format!("{:?} {}", event.kind, parameter(&event.parameters, "CallStatus"))).collect()
    }

    /// The last event of a leg: status and duration.
    pub fn completed(&self, leg: usize) -> (String, String) {
        let sid = self.invites[leg].sid;
        let last = self.events.iter().filter(|event| event.leg == sid).max_by_key(|event| event.sequence).unwrap();
        assert_eq!(last.kind, crate::control::EventKind::Completed, "leg {leg} is not over");
        (parameter(&last.parameters, "CallStatus"), parameter(&last.parameters, "CallDuration"))
    }

    /// Parameters of the last request to this URL.
    pub fn request(&self, url: &str) -> &evaluation::Request {
        self.requests.iter().rev().find(|request| request.document.url == url).unwrap()
    }

    /// `DialCallStatus` of the action.
    pub fn dial_status(&self) -> String {
        parameter(&self.request(ACTION).parameters, "DialCallStatus")
    }

    /// Final status of the parent.
    pub fn final_status(&self) -> &'static str {
        let last = |write: &Write| match write {
            Write::Parent { status, ended_unix_ms: Some(_), .. } => Some(status.as_str()),
            _ => None,
        };
        self.writes.iter().rev().find_map(last).unwrap()
    }
}

fn name(party: Party) -> String {
    match party {
        Party::Caller => "caller".to_owned(),
        Party::Leg(leg) => leg.0.to_string(),
    }
}

pub const CALLER: Party = Party::Caller;

pub fn leg(leg: u16) -> Party {
    Party::Leg(LegId(leg))
}

pub fn say(text: &str) -> Prompt {
    Prompt::Say { text: text.to_owned(), voice: None, language: "en".to_owned(), loops: 1 }
}

pub fn play(url: &str, loops: u32) -> Prompt {
    Prompt::Play { url: url.to_owned(), loops }
}

/// A Gather with RCML.md's defaults.
pub fn gather(prompts: Vec<Prompt>) -> Gather {
    Gather {
        action: at(ACTION),
        prompts,
        timeout: 5,
        finish_on_key: Some('#'),
        num_digits: None,
        action_on_empty_result: false,
    }
}

pub fn gathering(gather: Gather) -> Step {
    Step::Gather(Box::new(gather))
}

/// A Record with RCML.md's defaults.
pub fn record() -> Record {
    Record { action: at(ACTION), timeout: 5, finish_on_key: "1#".to_owned(), max_length: 3600, play_beep: true }
}

enum Answer {
    Input(CallInput),
    Document(Ticket, Option<Vec<Step>>),
}

pub fn parameter(parameters: &[(String, String)], name: &str) -> String {
    let found = parameters.iter().find(|(key, _)| key == name);
    found.map_or("(absent)".to_owned(), |(_, value)| value.clone())
}
