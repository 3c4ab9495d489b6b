//! What happens in a run, drawn from its seed before it starts. Times are milliseconds.

use ringfork_rcml::program::{
    Callback, Dial, DocumentRef, Endpoint, Events, Gather, Method, Noun, Program, Prompt, Record, Screening, Step,
};

use crate::dice::Dice;
use crate::registering::Registering;

/// What a leg in screening is told, and nobody else.
pub const PRIVATE: &str = "private";

/// Everything that is decided in advance.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// Probability that it comes twice.
    pub duplicate: f64,
    /// Longest way of a datagram: two sent within it may overtake each other.
    pub jitter: u64,
    /// Client identities, each with the phones that it registered (`0`: a client without binding).
    pub clients: Vec<Vec<CalleePlan>>,
    /// Targets of the trunk, best first; empty: its name is not found.
    pub trunk: Vec<CalleePlan>,
    /// The callers: the first calls 1000, the second, where there is one, 1001, which rings the same clients.
    pub callers: Vec<CallerPlan>,
    /// SIGTERM comes so long after the start.
    pub drain: Option<u64>,
    /// The lease is lost so long after the start, for ten seconds.
    pub lease_lost: Option<u64>,
    /// Documents by path.
    pub documents: Vec<(String, DocumentPlan)>,
    /// Probability that a write of the store is not done and must be tried again.
    pub store_fails: f64,
    /// Longest time that a write takes.
    pub store_delay: u64,
    /// Probability that the hand-over of an event fails.
    pub handover_fails: f64,
    /// The phones register themselves, so; `None`: they are registered from the start.
    pub registering: Option<Registering>,
}

/// A document.
#[derive(Debug, Clone)]
pub struct DocumentPlan {
    /// How long it takes.
    pub delay: u64,
    /// What it is; `None`: it cannot be had.
    pub program: Option<Program>,
    /// The function itself cannot be run.
    pub broken: bool,
}

/// What a called phone does with an INVITE.
#[derive(Debug, Clone)]
pub struct CalleePlan {
    /// Answers nothing at all.
    pub dead: bool,
    /// Sends 100 first.
    pub trying: bool,
    /// Provisional response and when.
    pub provisional: Option<(u16, u64)>,
    /// Sends it reliably where that is supported (RFC 3262).
    pub reliable: bool,
    /// Final response and when; `None`: it rings until it is cancelled.
    pub last: Option<(u16, u64)>,
    /// Its 200 has SDP.
    pub sound: bool,
    /// It answers 200 although a CANCEL came, as one that crosses it does.
    pub crosses: bool,
    /// Hangs up so long after the ACK.
    pub talk: u64,
    /// Holds, and resumes, the call so long after the ACK.
    pub hold: Option<u64>,
    /// Falls silent for good so long after the ACK.
    pub vanishes: Option<u64>,
    /// Asks for credentials with this code first (401 or 407).
    pub challenge: Option<u16>,
    /// What it does once the call is up.
    pub habits: Habits,
}

/// What either side of a call may do while it is up.
#[derive(Debug, Clone, Default)]
pub struct Habits {
    /// Changes the session by UPDATE rather than by re-INVITE, and says so in Allow.
    pub update: bool,
    /// Asks for a session interval of so many seconds.
    pub interval: Option<u64>,
    /// Refreshes the session itself.
    pub refreshes: bool,
    /// Takes no interval below this: 422.
    pub min_se: Option<u64>,
    /// Sends a digit by INFO so long after the ACK.
    pub digit: Option<u64>,
}

/// What the caller does.
#[derive(Debug, Clone)]
pub struct CallerPlan {
    /// Calls so long after the start.
    pub starts: u64,
    /// Gives up so long after its INVITE, if it is not answered.
    pub patience: u64,
    /// Hangs up so long after the answer.
    pub talk: u64,
    /// Its INVITE has no SDP; its ACK has.
    pub offerless: bool,
    /// Holds, and resumes, so long after the answer.
    pub hold: Option<u64>,
    /// Falls silent for good so long after its INVITE.
    pub vanishes: Option<u64>,
    /// Supports reliable provisional responses and requires them.
    pub reliable: bool,
    /// `Expires` of its INVITE, seconds.
    pub expires: Option<u64>,
    /// What it does once the call is up.
    pub habits: Habits,
}

impl Habits {
    fn draw(dice: &mut Dice) -> Habits {
        let timer = dice.chance(0.25);
        Habits {
            update: dice.chance(0.3),
            interval: timer.then(|| dice.pick(&[90, 90, 120, 1800])),
            refreshes: dice.chance(0.5),
            min_se: dice.chance(0.04).then(|| dice.pick(&[1900, 3600])),
            digit: dice.chance(0.15).then(|| dice.between(0, 1500)),
        }
    }
}

impl Plan {
    /// Draws a plan.
    pub fn draw(dice: &mut Dice) -> Plan {
        let network = dice.between(0, 3);
        // Half of the runs are quick: everything happens within moments of everything else, which is where races are.
        let tight = dice.chance(0.5);
        let most = if dice.chance(0.1) { 10 } else { 3 };
        let clients = dice.between(1, most);
        let clients: Vec<Vec<CalleePlan>> = (0..clients)
            .map(|_| {
                let devices = dice.pick(&[0, 1, 1, 1, 2, 2]);
                (0..devices).map(|_| CalleePlan::draw(dice, tight)).collect()
            })
            .collect();
        let mut documents = Vec::new();
        let callers = if dice.chance(0.2) { 2 } else { 1 };
        let with_trunk = dice.chance(0.2);
        for call in 0..callers {
            Plan::documents_of(dice, call, clients.len(), with_trunk, tight, &mut documents);
        }
        let targets = if with_trunk { dice.pick(&[0, 1, 2, 2, 3]) } else { 0 };
        let trunk = (0..targets).map(|_| CalleePlan::draw_trunk(dice, tight)).collect();
        let mut callers: Vec<_> = (0..callers).map(|_| CallerPlan::draw(dice, tight)).collect();
        let soonest = if tight { 40 } else { 4000 };
        for caller in callers.iter_mut().skip(1) {
            caller.starts += dice.between(0, soonest);
        }
        let mut clients = clients;
        // Both sides change the session at once: glare.
        if dice.chance(0.15) {
            let after = dice.between(0, 500);
            for caller in &mut callers {
                (caller.hold, caller.talk) = (Some(after), caller.talk.max(5000));
            }
            for callee in clients.iter_mut().flatten() {
                (callee.hold, callee.talk) = (Some(after + dice.between(0, 30)), callee.talk.max(5000));
            }
        }
        let interrupted = |dice: &mut Dice| dice.chance(0.05).then(|| dice.between(0, soonest));
        let (drain, lease_lost) = (interrupted(dice), interrupted(dice));
        Plan {
            loss: [0.0, 0.0, 0.1, 0.2][network as usize],
            duplicate: [0.0, 0.1, 0.0, 0.1][network as usize],
            jitter: dice.pick(&[1, 20, 200]),
            clients,
            trunk,
            callers,
            drain,
            lease_lost,
            documents,
            store_fails: dice.pick(&[0.0, 0.0, 0.0, 0.3]),
            store_delay: dice.pick(&[0, 5, 50, 5000]),
            handover_fails: dice.pick(&[0.0, 0.0, 0.2]),
            registering: None,
        }
    }

    /// The documents of one call's number.
    fn documents_of(
        dice: &mut Dice,
        call: usize,
        clients: usize,
        with_trunk: bool,
        tight: bool,
        documents: &mut Vec<(String, DocumentPlan)>,
    ) {
        let dials = dice.pick(&[1, 1, 1, 2]);
        for dial in 0..dials {
            let path = if dial == 0 { format!("/voice/{call}") } else { format!("/action/{call}/{dial}") };
            let mut steps = Vec::new();
            if dice.chance(0.1) {
                steps.push(Step::Pause { seconds: dice.between(1, 3) as u32 });
            }
            if dice.chance(0.15) {
                steps.push(Plan::voice(dice, "public", "/empty"));
            }
            let action = (dial + 1 < dials || dice.chance(0.5))
                .then(|| DocumentRef { url: format!("http://web/action/{call}/{}", dial + 1), method: Method::Post });
            let mut endpoints: Vec<_> =
                (0..clients).map(|client| Endpoint::Client { identity: format!("c{client}") }).collect();
            if with_trunk {
                endpoints.push(Endpoint::Number { digits: "+15550002222".into() });
            }
            let mut nouns = Vec::new();
            for (index, endpoint) in endpoints.into_iter().enumerate() {
                let mark = format!("{call}.{dial}.{index}");
                nouns.push(Plan::noun(dice, endpoint, mark, tight, documents));
            }
            steps.push(Step::Dial(Dial {
                action,
                timeout: dice.pick(&[1, 2, 5, 30]),
                time_limit: dice.pick(&[1, 5, 14400, 14400]),
                caller_id: dice.chance(0.2).then(|| "client:desk".to_owned()),
                record: dice.chance(0.15),
                dial_music: dice.chance(0.2).then(|| "http://web/music.mp3".to_owned()),
                nouns,
            }));
            if dice.chance(0.1) {
                steps.push(Plan::voice(dice, "public", "/empty"));
            }
            match dice.between(0, 9) {
                0 => steps.push(Step::Hangup),
                1 => steps.push(Step::Pause { seconds: 1 }),
                2 => steps.push(Step::Redirect {
                    to: DocumentRef { url: format!("http://web/after/{dial}"), method: Method::Get },
                }),
                _ => {}
            }
            documents.push((path, DocumentPlan::draw(dice, tight, Program { steps })));
        }
    }

    /// `mark` is what its INVITE says of it: call, Dial and noun.
    fn noun(
        dice: &mut Dice,
        endpoint: Endpoint,
        mark: String,
        tight: bool,
        documents: &mut Vec<(String, DocumentPlan)>,
    ) -> Noun {
        let screening = dice.chance(0.3).then(|| {
            let path = format!("/screen/{}", documents.len());
            let steps = Plan::screening(dice, tight, &path, documents);
            documents.push((path.clone(), DocumentPlan::draw(dice, tight, Program { steps })));
            Screening {
                document: DocumentRef { url: format!("http://web{path}"), method: Method::Post },
                timeout: dice.pick(&[1, 3, 60]),
            }
        });
        let callback = dice.chance(0.8).then(|| {
            let events = if dice.chance(0.5) {
                Events::ALL
            } else {
                let subset = dice.between(1, 15);
                Events {
                    initiated: subset & 1 != 0,
                    ringing: subset & 2 != 0,
                    answered: subset & 4 != 0,
                    completed: subset & 8 != 0,
                }
            };
            Callback { url: "http://web/events".into(), method: Method::Post, events }
        });
        Noun { endpoint, headers: vec![("X-Noun".to_owned(), mark)], screening, callback }
    }

    /// A private document: what it says is marked with its path.
    fn screening(dice: &mut Dice, tight: bool, path: &str, documents: &mut Vec<(String, DocumentPlan)>) -> Vec<Step> {
        let mut steps = Vec::new();
        if dice.chance(0.4) {
            steps.push(Step::Pause { seconds: dice.between(1, 4) as u32 });
        }
        if dice.chance(0.6) {
            // "Press 1": its action accepts by an empty answer, or declines.
            let action = format!("/pressed{path}");
            let answer = if dice.chance(0.3) { vec![Step::Hangup] } else { Vec::new() };
            documents.push((action.clone(), DocumentPlan::draw(dice, tight, Program { steps: answer })));
            steps.push(Plan::voice(dice, PRIVATE, &action));
        }
        if dice.chance(0.3) {
            steps.push(Plan::voice(dice, PRIVATE, "/empty"));
        }
        if dice.chance(0.4) {
            steps.push(Step::Hangup);
        }
        if dice.chance(0.05) {
            let nouns = Vec::new();
            let (action, caller_id, dial_music) = (None, None, None);
            let dial = Dial { action, timeout: 1, time_limit: 1, caller_id, record: false, dial_music, nouns };
            steps.push(Step::Dial(dial));
        }
        steps
    }

    /// A verb with media.
    fn voice(dice: &mut Dice, text: &str, action: &str) -> Step {
        let action = DocumentRef { url: format!("http://web{action}"), method: Method::Post };
        let say = |loops| Prompt::Say { text: text.to_owned(), voice: None, language: "en".to_owned(), loops };
        match dice.between(0, 7) {
            0 => Step::Prompt(say(dice.pick(&[1, 1, 0]))),
            1 => Step::Prompt(Prompt::Play { url: format!("http://web/{text}.wav"), loops: 1 }),
            2 => Step::Record(Record {
                action,
                timeout: 2,
                finish_on_key: "1#".to_owned(),
                max_length: 5,
                play_beep: dice.chance(0.5),
            }),
            _ => {
                let mut prompts = vec![say(1); dice.between(0, 2) as usize];
                if dice.chance(0.2) {
                    prompts.push(Prompt::Pause { seconds: 1 });
                }
                Step::Gather(Box::new(Gather {
                    action,
                    prompts,
                    timeout: dice.pick(&[1, 2, 5]),
                    finish_on_key: Some('#'),
                    num_digits: dice.pick(&[Some(1), Some(1), Some(2), None]),
                    action_on_empty_result: dice.chance(0.2),
                }))
            }
        }
    }

    /// The calls whose own documents answer the caller.
    pub fn speaks(&self, call: usize) -> bool {
        let own = [format!("/voice/{call}"), format!("/action/{call}/1")];
        let programs = self.documents.iter().filter(|(path, _)| own.contains(path));
        let mut steps = programs.filter_map(|(_, plan)| plan.program.as_ref()).flat_map(|program| &program.steps);
        steps.any(|step| matches!(step, Step::Prompt(_) | Step::Gather(_) | Step::Record(_)))
    }

    /// The document of a URL.
    pub fn document(&self, url: &str) -> DocumentPlan {
        let path = url.strip_prefix("http://web").unwrap_or(url);
        let found = self.documents.iter().find(|(known, _)| known == path).map(|(_, plan)| plan.clone());
        found.unwrap_or(DocumentPlan { delay: 5, program: Some(Program::default()), broken: false })
    }
}

impl DocumentPlan {
    fn draw(dice: &mut Dice, tight: bool, program: Program) -> DocumentPlan {
        let delay = if tight { dice.between(0, 30) } else { dice.pick(&[5, 300, 3000]) };
        let fails = dice.chance(0.07);
        DocumentPlan { delay, program: (!fails).then_some(program), broken: dice.chance(0.02) }
    }
}

impl CalleePlan {
    fn draw(dice: &mut Dice, tight: bool) -> CalleePlan {
        let soon = |dice: &mut Dice| if tight { dice.between(0, 40) } else { dice.between(0, 4000) };
        let first = soon(dice);
        let provisional = dice.chance(0.8).then(|| (dice.pick(&[180, 180, 183]), first));
        let code = dice.pick(&[200, 200, 200, 200, 200, 200, 200, 486, 600, 603, 408, 480, 487, 500, 302, 404, 401]);
        let after = first + soon(dice);
        CalleePlan {
            dead: dice.chance(0.04),
            trying: dice.chance(0.3),
            provisional,
            reliable: dice.chance(0.2),
            last: dice.chance(0.8).then_some((code, after)),
            sound: dice.chance(0.95),
            crosses: dice.chance(0.3),
            talk: dice.pick(&[0, 30, 1500, 60_000, 400_000]),
            hold: dice.chance(0.3).then(|| dice.between(0, 1000)),
            vanishes: dice.chance(0.03).then(|| dice.between(0, 3000)),
            challenge: None,
            habits: Habits::draw(dice),
        }
    }

    /// One of a trunk's targets: it may be silent, ask for credentials, or be out of service.
    fn draw_trunk(dice: &mut Dice, tight: bool) -> CalleePlan {
        let mut plan = CalleePlan::draw(dice, tight);
        plan.dead = dice.chance(0.25);
        plan.challenge = dice.chance(0.4).then(|| dice.pick(&[401, 407]));
        if dice.chance(0.2) {
            plan.last = Some((503, 10));
        }
        plan
    }
}

impl CallerPlan {
    fn draw(dice: &mut Dice, tight: bool) -> CallerPlan {
        let patience = if tight { dice.between(0, 150) } else { dice.between(0, 20_000) };
        let (offerless, reliable) = (dice.chance(0.2), dice.chance(0.2));
        // Our 200 waits for a PRACK then: a moment to give up in.
        let impatient = dice.chance(if offerless && reliable { 0.8 } else { 0.4 });
        CallerPlan {
            starts: 10,
            patience: if impatient { patience } else { 200_000 },
            talk: dice.pick(&[0, 30, 1500, 60_000, 400_000]),
            offerless,
            hold: dice.chance(0.3).then(|| dice.between(0, 1000)),
            vanishes: dice.chance(0.03).then(|| dice.between(0, 8000)),
            reliable,
            expires: dice.chance(0.1).then(|| dice.between(1, 20)),
            habits: {
                let mut habits = Habits::draw(dice);
                if dice.chance(0.02) {
                    habits.interval = Some(30); // Below what anyone may ask for: 422.
                }
                habits
            },
        }
    }
}
