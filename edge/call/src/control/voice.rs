//! A verb with media on one party: Say, Play, Gather, Record (RCML.md part 2), for the caller's own call and for a leg in
//! screening alike. Its owner hands it keys, ends of sounds and recordings, and time; it says what comes next
//! ([`Progress`]).
//!
//! Keys count only while a Gather runs, its prompts included, and while a Record does; what is pressed otherwise is lost.

use std::time::{Duration, Instant};
use std::vec::IntoIter;

use ringfork_rcml::program::{DocumentRef, Gather, Prompt, Record, Step};

use super::desk::Desk;
use super::params::{self, Form};
use super::program::Runner;
use super::recording::After;
use super::signals::{CallOutput, Party};
use super::{CallSid, notices};
use crate::action::{Now, PlayError, PlayId, RecordingEnd, RecordingLimits, RecordingSid, Sound};

/// Most keys of one Gather; they end the entry as `numDigits` would.
const MAX_DIGITS: usize = 256;
/// Most sounds of one document that are prepared ahead.
const MAX_PREPARED: usize = 16;

/// One verb at work.
pub(super) struct Voice {
    party: Party,
    /// The call that it runs on: the caller's, or the leg's.
    sid: CallSid,
    verb: Verb,
    /// Something was heard, gathered or recorded: the document was no empty link of a chain (RCML.md part 2, Redirect).
    waited: bool,
}

enum Verb {
    Prompt(Player),
    Gather(Box<Gathering>),
    /// Before a recording.
    Beep {
        record: Record,
        play: PlayId,
    },
    Recording {
        record: Record,
        recording: RecordingSid,
        /// The key that ended it: the end is under way.
        key: Option<char>,
    },
}

struct Gathering {
    gather: Gather,
    player: Player,
    digits: String,
    /// The entry's timeout, once the prompts are over.
    until: Option<Instant>,
}

/// What a party did or heard.
pub(super) enum Heard {
    /// It pressed a key.
    Digit(char),
    /// A sound is over.
    Played(PlayId, Result<(), PlayError>),
    /// A recording is over, after so many whole seconds.
    Recorded(RecordingSid, u32, RecordingEnd),
}

/// How far the verb is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    Waits,
    /// The next verb runs.
    Next,
    /// This document goes on, asked with these parameters beside the standard ones.
    Ask(DocumentRef, Form),
}

/// Prompts one after the other.
struct Player {
    queue: IntoIter<Prompt>,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Playing(PlayId),
    Pausing(Instant),
    Over,
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}

/// What is heard of a prompt, and how often; `None` of a Pause.
fn sound(prompt: &Prompt) -> Option<(Sound, u32)> {
    match prompt {
        Prompt::Say { text, voice, language, loops } => {
            let (text, voice, language) = (text.as_str(), voice.as_deref(), language.as_str());
            Some((Sound::Speech { text: text.into(), voice: voice.map(Into::into), language: language.into() }, *loops))
        }
        Prompt::Play { url, loops } => Some((Sound::File { url: url.as_str().into() }, *loops)),
        Prompt::Pause { .. } => None,
    }
}

/// A document of the call `sid` was just loaded: its sounds are fetched and spoken, but for the one that is played at
/// once. A language that the voice does not speak leaves a warning, one for the document, and so does an unknown voice.
pub(super) fn prepare(now: Now, sid: CallSid, steps: &[Step], desk: &mut Desk) {
    let prompts = || {
        steps.iter().flat_map(|step| match step {
            Step::Prompt(prompt) => std::slice::from_ref(prompt),
            Step::Gather(gather) => gather.prompts.as_slice(),
            _ => &[],
        })
    };
    let unspoken = prompts().find_map(|prompt| match prompt {
        Prompt::Say { language, .. } if !desk.config.languages.include(language) => Some(language),
        _ => None,
    });
    if let Some(language) = unspoken {
        desk.out.notify(sid, now, notices::not_spoken(language));
    }
    let unknown = prompts().find_map(|prompt| match prompt {
        Prompt::Say { voice: Some(voice), .. } if !desk.config.voices.include(voice) => Some(voice),
        _ => None,
    });
    if let Some(voice) = unknown {
        desk.out.notify(sid, now, notices::unknown_voice(voice));
    }
    let first_is_heard = matches!(steps.first(), Some(Step::Prompt(_) | Step::Gather(_)));
    for (sound, _) in prompts().filter_map(sound).skip(usize::from(first_is_heard)).take(MAX_PREPARED) {
        desk.out.push(CallOutput::Prepare { sound });
    }
}

impl Voice {
    /// Say or Play.
    pub(super) fn prompt(now: Now, (party, sid): (Party, CallSid), prompt: Prompt, desk: &mut Desk) -> Voice {
        let player = Player::start(now, party, vec![prompt], desk);
        Voice { party, sid, verb: Verb::Prompt(player), waited: false }
    }

    /// Gather: its prompts first.
    pub(super) fn gather(now: Now, (party, sid): (Party, CallSid), mut gather: Gather, desk: &mut Desk) -> Voice {
        let player = Player::start(now, party, std::mem::take(&mut gather.prompts), desk);
        let mut gathering = Gathering { gather, player, digits: String::new(), until: None };
        gathering.listen(now);
        Voice { party, sid, verb: Verb::Gather(Box::new(gathering)), waited: true }
    }

    /// Record: the beep first.
    pub(super) fn record(now: Now, (party, sid): (Party, CallSid), record: Record, desk: &mut Desk) -> Voice {
        let verb = if record.play_beep {
            let play = desk.play(party, Sound::Beep, 1);
            Verb::Beep { record, play }
        } else {
            start_recording(now, (party, sid), record, desk)
        };
        Voice { party, sid, verb, waited: false }
    }

    /// Whether it was more than a link of a chain of documents.
    pub(super) fn has_waited(&self) -> bool {
        self.waited
    }

    /// Something of its party.
    pub(super) fn heard(&mut self, now: Now, heard: Heard, desk: &mut Desk) -> Progress {
        match heard {
            Heard::Digit(key) => self.digit(now, key, desk),
            Heard::Played(play, result) => self.played(now, play, result, desk),
            Heard::Recorded(recording, length, end) => self.recorded(recording, length, end, desk),
        }
    }

    /// A key.
    fn digit(&mut self, now: Now, key: char, desk: &mut Desk) -> Progress {
        match &mut self.verb {
            Verb::Gather(gathering) => {
                gathering.player.stop(self.party, desk);
                gathering.digit(now, key)
            }
            Verb::Recording { record, recording, key: ended @ None } if record.finish_on_key.contains(key) => {
                *ended = Some(key);
                desk.stop_recording(now, *recording);
                Progress::Waits
            }
            Verb::Prompt(_) | Verb::Beep { .. } | Verb::Recording { .. } => Progress::Waits,
        }
    }

    /// A sound is over. One that was not heard leaves a notice and what comes after it runs.
    fn played(&mut self, now: Now, play: PlayId, result: Result<(), PlayError>, desk: &mut Desk) -> Progress {
        let awaited = match &self.verb {
            Verb::Prompt(player) => player.at == At::Playing(play),
            Verb::Gather(gathering) => gathering.player.at == At::Playing(play),
            Verb::Beep { play: awaited, .. } => *awaited == play,
            Verb::Recording { .. } => false,
        };
        if !awaited {
            return Progress::Waits;
        }
        match result {
            Ok(()) => self.waited = true,
            Err(error) => desk.out.notify(self.sid, now, notices::not_heard(&error)),
        }
        self.advance(now, desk)
    }

    /// A recording is over.
    fn recorded(&mut self, recording: RecordingSid, length: u32, end: RecordingEnd, desk: &Desk) -> Progress {
        let Verb::Recording { record, recording: awaited, key } = &self.verb else { return Progress::Waits };
        if *awaited != recording {
            return Progress::Waits;
        }
        self.waited |= length > 0 || end != RecordingEnd::Failed;
        // Nothing was said: as if nothing had been gathered.
        if length == 0 {
            return Progress::Next;
        }
        let mut form = params::recording(&desk.config.recording_url(recording), length);
        if let Some(key) = key {
            params::add_digits(&mut form, key.encode_utf8(&mut [0; 4]));
        }
        Progress::Ask(record.action.clone(), form)
    }

    /// Does what is due.
    pub(super) fn timeout(&mut self, now: Now, desk: &mut Desk) -> Progress {
        if let Verb::Gather(gathering) = &self.verb
            && gathering.until.is_some_and(|until| until <= now.instant)
        {
            return gathering.result();
        }
        let player = match &self.verb {
            Verb::Prompt(player) => player,
            Verb::Gather(gathering) => &gathering.player,
            Verb::Beep { .. } | Verb::Recording { .. } => return Progress::Waits,
        };
        match player.at {
            At::Pausing(until) if until <= now.instant => self.advance(now, desk),
            _ => Progress::Waits,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let (player, until) = match &self.verb {
            Verb::Prompt(player) => (player, None),
            Verb::Gather(gathering) => (&gathering.player, gathering.until),
            Verb::Beep { .. } | Verb::Recording { .. } => return None,
        };
        match player.at {
            At::Pausing(at) => Some(at),
            At::Playing(_) | At::Over => until,
        }
    }

    /// The party is gone, or is ended in the middle of the verb. What was recorded is kept; where the party hung up,
    /// Record's `action` is still asked with it, and its answer is unused (RCML.md part 2). `parameters`: the standard
    /// ones, after a hangup.
    pub(super) fn abandon(self, now: Now, runner: &Runner, parameters: Option<Form>, desk: &mut Desk) {
        let Verb::Recording { record, recording, key } = self.verb else { return };
        let after = parameters.map(|mut parameters| {
            let key = key.map_or_else(|| "hangup".to_owned(), String::from);
            params::add_digits(&mut parameters, &key);
            After { action: record.action, parameters, cookies: runner.cookies().to_vec() }
        });
        desk.leave_recording(now, recording, after);
    }

    /// The next prompt, or what comes after the beep.
    fn advance(&mut self, now: Now, desk: &mut Desk) -> Progress {
        match &mut self.verb {
            Verb::Prompt(player) => {
                player.next(now, self.party, desk);
                if player.at == At::Over { Progress::Next } else { Progress::Waits }
            }
            Verb::Gather(gathering) => {
                gathering.player.next(now, self.party, desk);
                gathering.listen(now);
                Progress::Waits
            }
            Verb::Beep { record, .. } => {
                let record = record.clone();
                self.verb = start_recording(now, (self.party, self.sid), record, desk);
                Progress::Waits
            }
            Verb::Recording { .. } => Progress::Waits,
        }
    }
}

fn start_recording(now: Now, (party, sid): (Party, CallSid), record: Record, desk: &mut Desk) -> Verb {
    let limits = RecordingLimits { max_seconds: record.max_length, silence_seconds: Some(record.timeout) };
    let recording = desk.start_recording(now, sid, party, None, limits);
    Verb::Recording { record, recording, key: None }
}

impl Gathering {
    /// The time for a key begins when the prompts are over.
    fn listen(&mut self, now: Now) {
        if self.player.at == At::Over && self.until.is_none() {
            self.until = Some(now.instant + seconds(self.gather.timeout));
        }
    }

    fn digit(&mut self, now: Now, key: char) -> Progress {
        if self.gather.finish_on_key == Some(key) {
            return self.result();
        }
        self.digits.push(key);
        let most = self.gather.num_digits.map_or(MAX_DIGITS, |most| MAX_DIGITS.min(most as usize));
        if self.digits.len() >= most {
            return self.result();
        }
        self.until = Some(now.instant + seconds(self.gather.timeout));
        Progress::Waits
    }

    /// The entry is over: `action` learns it, unless there is none and it is not asked then.
    fn result(&self) -> Progress {
        if self.digits.is_empty() && !self.gather.action_on_empty_result {
            return Progress::Next;
        }
        let mut form = Form::new();
        params::add_digits(&mut form, &self.digits);
        Progress::Ask(self.gather.action.clone(), form)
    }
}

impl Player {
    fn start(now: Now, party: Party, prompts: Vec<Prompt>, desk: &mut Desk) -> Player {
        let mut player = Player { queue: prompts.into_iter(), at: At::Over };
        player.next(now, party, desk);
        player
    }

    fn next(&mut self, now: Now, party: Party, desk: &mut Desk) {
        self.at = match self.queue.next() {
            None => At::Over,
            Some(prompt) => match (sound(&prompt), prompt) {
                (Some((sound, loops)), _) => At::Playing(desk.play(party, sound, loops)),
                (None, Prompt::Pause { seconds: count }) => At::Pausing(now.instant + seconds(count)),
                (None, _) => At::Over,
            },
        };
    }

    /// The first key ends all prompts.
    fn stop(&mut self, party: Party, desk: &mut Desk) {
        if let At::Playing(_) = self.at {
            desk.out.push(CallOutput::Stop { party });
        }
        self.at = At::Over;
        self.queue = Vec::new().into_iter();
    }
}
