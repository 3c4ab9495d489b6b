//! What the parent and its legs share while they decide: configuration, the parent's card, the outputs, the journal, and
//! the documents that are being fetched.

use std::sync::Arc;

use ringfork_rcml::evaluation::{self, Outcome, Purpose};
use ringfork_rcml::program::DocumentRef;

use super::identity::CallerInfo;
use super::journal::Journal;
use super::outbox::Outbox;
use super::params::{self, Form};
use super::program::Runner;
use super::recording::Recordings;
use super::sid::SidSource;
use super::signals::{CallOutput, LegId, Party, Ticket};
use super::{CallDescription, CallSid, CallStatus, notices};
use crate::action::{Now, PlayId, RecordingSid, Sound};

/// Which languages the voice of `<Say>` speaks. It reads every text all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Languages {
    /// Whatever is asked of it, as far as it can.
    #[default]
    Any,
    /// English alone.
    English,
}

impl Languages {
    /// Whether a language, written as in `<Say language>` (RFC 5646), is among them.
    pub(super) fn include(self, language: &str) -> bool {
        match self {
            Languages::Any => true,
            Languages::English => {
                language.split(['-', '_']).next().is_some_and(|primary| primary.eq_ignore_ascii_case("en"))
            }
        }
    }
}

/// Which names of voices `<Say>` knows. A text with another one is spoken all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Voices {
    /// Whatever is written.
    #[default]
    Any,
    /// These, and those that every server knows.
    Named(&'static [&'static str]),
    /// As [`Voices::Named`], and as TwiML writes them: `Polly.Joanna`, `Polly.Joanna-Neural`.
    Polly(&'static [&'static str]),
}

impl Voices {
    /// Those that every server has one for, by what other platforms call them.
    const COMMON: [&'static str; 5] = ["man", "woman", "alice", "male", "female"];

    /// Whether a voice, written as in `<Say voice>`, is among them; case does not matter.
    pub(super) fn include(self, voice: &str) -> bool {
        let voice = voice.trim();
        let among = |names: &[&str], voice: &str| names.iter().any(|name| name.eq_ignore_ascii_case(voice));
        among(&Self::COMMON, voice)
            || match self {
                Voices::Any => true,
                Voices::Named(names) => among(names, voice),
                Voices::Polly(names) => {
                    let name = voice.strip_prefix("Polly.").unwrap_or(voice);
                    among(names, name.strip_suffix("-Neural").unwrap_or(name))
                }
            }
    }
}

/// What every call of an edge has in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallConfig {
    /// `AccountSid` of every request.
    pub account_sid: String,
    /// The trunk's own number: `--trunk-caller-id`.
    pub trunk_caller_id: Option<String>,
    /// Absolute URL of the account's recordings in REST, without a slash at its end: `RecordingUrl` begins with it.
    pub recordings_url: String,
    /// What `<Say>` is spoken in.
    pub languages: Languages,
    /// Whose names `<Say voice>` may have.
    pub voices: Voices,
}

impl CallConfig {
    /// `RecordingUrl` (RCML.md 1.5, part 2): the sound itself.
    pub(super) fn recording_url(&self, recording: RecordingSid) -> String {
        format!("{}/{recording}.wav", self.recordings_url)
    }
}

pub(super) struct Desk {
    pub(super) config: Arc<CallConfig>,
    pub(super) caller: CallerInfo,
    pub(super) card: CallDescription,
    pub(super) out: Outbox,
    pub(super) journal: Journal,
    pub(super) sids: SidSource,
    pub(super) recordings: Recordings,
    asked: Vec<Asked>,
    legs: u16,
    /// The last `PlayId`: they begin where the call's SID says, which no other call has.
    plays: u64,
}

/// A document under way: also when nobody waits for it any more its notices are kept.
struct Asked {
    ticket: Ticket,
    sid: CallSid,
    url: String,
}

/// Why and for whom a document is wanted.
pub(super) struct Errand {
    pub(super) sid: CallSid,
    pub(super) purpose: Purpose,
    pub(super) fallback: Option<DocumentRef>,
    pub(super) parameters: Form,
}

impl Desk {
    pub(super) fn new(config: Arc<CallConfig>, caller: CallerInfo, card: CallDescription, sids: SidSource) -> Desk {
        let (out, journal, recordings) = (Outbox::default(), Journal::default(), Recordings::default());
        let [.., a, b, c, d, e, f, g, h] = card.sid.0;
        let plays = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        Desk { config, caller, card, out, journal, sids, recordings, asked: Vec::new(), legs: 0, plays }
    }

    /// The next leg's number, while there are any.
    pub(super) fn leg_id(&mut self) -> Option<LegId> {
        let id = LegId(self.legs);
        self.legs = self.legs.checked_add(1)?;
        Some(id)
    }

    /// Plays a sound to an attended party.
    pub(super) fn play(&mut self, party: Party, sound: Sound, loops: u32) -> PlayId {
        self.plays = self.plays.wrapping_add(1);
        let play = PlayId(self.plays);
        self.out.push(CallOutput::Play { party, play, sound, loops });
        play
    }

    /// The standard parameters of the caller's call.
    pub(super) fn parameters(&self, status: CallStatus) -> Form {
        params::standard(&self.config.account_sid, &self.card, status, &self.caller.headers)
    }

    /// Asks for a document with the cookies that `runner` keeps.
    pub(super) fn evaluate(&mut self, runner: &Runner, document: DocumentRef, errand: Errand) -> Ticket {
        self.evaluate_with(runner.cookies().to_vec(), document, errand)
    }

    /// The same with these cookies.
    pub(super) fn evaluate_with(&mut self, cookies: Vec<String>, document: DocumentRef, errand: Errand) -> Ticket {
        let ticket = self.out.ticket();
        let Errand { sid, purpose, fallback, parameters } = errand;
        self.asked.push(Asked { ticket, sid, url: document.url.clone() });
        let request = evaluation::Request {
            account_sid: self.config.account_sid.clone(),
            call_sid: sid.to_string(),
            document,
            fallback,
            parameters,
            cookies,
            purpose,
        };
        self.out.push(CallOutput::Evaluate { ticket, request: Box::new(request) });
        ticket
    }

    /// The answer to [`Desk::evaluate`]: its notices are kept with the call; what it says is for whoever waits for it.
    pub(super) fn evaluated(
        &mut self,
        now: Now,
        ticket: Ticket,
        result: Result<evaluation::Response, String>,
    ) -> Option<Document> {
        let index = self.asked.iter().position(|asked| asked.ticket == ticket)?;
        let Asked { sid, url, .. } = self.asked.swap_remove(index);
        match result {
            Ok(response) => {
                for notice in response.notices {
                    self.out.notify(sid, now, notice);
                }
                Some(Document { outcome: response.outcome, cookies: Some(response.cookies) })
            }
            Err(reason) => {
                self.out.notify(sid, now, notices::evaluate_failed(&reason, &url));
                Some(Document { outcome: Outcome::Failed, cookies: None })
            }
        }
    }

    /// No document, no recording and no write is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.recordings.is_empty() && self.journal.is_idle()
    }

    /// The call is no longer ours: nothing more is written, sent or waited for.
    pub(super) fn discard(&mut self) {
        self.journal.discard();
        self.asked.clear();
        self.recordings.discard();
    }
}

/// A document as it came, or did not come.
pub(super) struct Document {
    pub(super) outcome: Outcome,
    /// The call's cookies from now on; `None` where nobody was asked.
    pub(super) cookies: Option<Vec<String>>,
}
