//! The compiled form of a document: what the edge runs, step by step, without coming back for each verb.
//!
//! Every URL in it is absolute, every default filled in, every bad value already replaced by its default
//! (RCML.md part 2): the interpreter never validates. The one exception fails by itself: a Redirect's or a noun's `url`
//! that can never be fetched stays as written, and `evaluate` answers it with a failure.

use serde::{Deserialize, Serialize};

/// HTTP method of a request to the customer (RCML.md 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    /// Parameters in the query.
    #[serde(rename = "GET")]
    Get,
    /// Parameters as a form body; the default everywhere.
    #[serde(rename = "POST")]
    Post,
}

/// Where a document is, and how to ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DocumentRef {
    /// Absolute `http` or `https` URL.
    pub url: String,
    /// Method of the request.
    pub method: Method,
}

/// The steps of one document, in order. After the last one the call is hung up
/// (RCML.md part 2) or, in screening, the leg is accepted (RCML.md 1.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The verbs, in document order.
    pub steps: Vec<Step>,
}

/// One verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Step {
    /// Rings its nouns all at once.
    Dial(Dial),
    /// Waits; while unanswered it rings.
    Pause {
        /// Whole seconds, at least 1.
        seconds: u32,
    },
    /// Say or Play: answers the caller, and is heard to its end.
    Prompt(Prompt),
    /// Keys.
    Gather(Box<Gather>),
    /// What is said from now on.
    Record(Record),
    /// Goes on with another document.
    Redirect {
        /// The next document.
        to: DocumentRef,
    },
    /// Refuses an unanswered call.
    Reject {
        /// The refusal.
        reason: RejectReason,
    },
    /// Ends the call; in screening declines the leg.
    Hangup,
}

/// Something said or played: a verb of its own, or within a Gather.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Prompt {
    /// `<Say>`.
    Say {
        /// What is said, trimmed; not empty.
        text: String,
        /// As written.
        voice: Option<String>,
        /// As written (default `en`).
        language: String,
        /// How often; 0: until hung up.
        loops: u32,
    },
    /// `<Play>`.
    Play {
        /// Absolute URL of a WAV or MP3.
        url: String,
        /// How often; 0: until hung up.
        loops: u32,
    },
    /// `<Pause>` between the prompts of a Gather.
    Pause {
        /// Whole seconds, at least 1.
        seconds: u32,
    },
}

/// `<Gather>`: keys of the caller, or of the leg in screening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gather {
    /// Asked with `Digits` (default: the document that holds it).
    pub action: DocumentRef,
    /// Heard until the first key.
    pub prompts: Vec<Prompt>,
    /// Whole seconds without a key after the prompts, or after the last key.
    pub timeout: u32,
    /// The key that ends the entry and is no part of it; `None`: no key does.
    pub finish_on_key: Option<char>,
    /// So many keys end the entry.
    pub num_digits: Option<u32>,
    /// Ask `action` also where no key was pressed.
    pub action_on_empty_result: bool,
}

/// `<Record>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Asked with the recording (default: the document that holds it).
    pub action: DocumentRef,
    /// Whole seconds of silence that end it.
    pub timeout: u32,
    /// Keys that end it.
    pub finish_on_key: String,
    /// Whole seconds.
    pub max_length: u32,
    /// A beep comes first.
    pub play_beep: bool,
}

/// `<Reject reason>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectReason {
    /// 603.
    Rejected,
    /// 486.
    Busy,
}

/// `<Dial>` with its nouns, at most ten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dial {
    /// Requested when the Dial is over; the document it returns goes on.
    pub action: Option<DocumentRef>,
    /// Whole seconds that bound ringing (default 30).
    pub timeout: u32,
    /// Whole seconds that bound the bridged time (default 14400).
    pub time_limit: u32,
    /// As written, trimmed; a leading `client:` is kept here (RCML.md 3.1, Leg) and dropped in the From.
    pub caller_id: Option<String>,
    /// Record both parties from the bridge on.
    pub record: bool,
    /// URL of a WAV or MP3 that the caller hears in place of ringing.
    pub dial_music: Option<String>,
    /// Who is rung, in document order.
    pub nouns: Vec<Noun>,
}

/// One noun of a Dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noun {
    /// Whom it rings.
    pub endpoint: Endpoint,
    /// Extra `X-` headers of the INVITE, already checked (RCML.md 1.1).
    pub headers: Vec<(String, String)>,
    /// Private document that runs on the leg after its answer.
    pub screening: Option<Screening>,
    /// Status callbacks of each leg of this noun.
    pub callback: Option<Callback>,
}

/// Whom a noun rings.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Endpoint {
    /// Every binding of this client.
    Client {
        /// The login, trimmed, without `client:`.
        identity: String,
    },
    /// The configured trunk.
    Number {
        /// Digits (and `+`) without visual separators.
        digits: String,
    },
    /// A SIP URI under the address guard.
    Sip {
        /// `sip:` URI as written, without the `?` headers.
        uri: String,
        /// Digest user name.
        username: Option<String>,
        /// Digest password: a secret, never logged.
        password: Option<String>,
    },
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Client { identity } => f.debug_struct("Client").field("identity", identity).finish(),
            Endpoint::Number { digits } => f.debug_struct("Number").field("digits", digits).finish(),
            Endpoint::Sip { uri, username, password: _ } => {
                f.debug_struct("Sip").field("uri", uri).field("username", username).finish_non_exhaustive()
            }
        }
    }
}

/// `url`, `method` and `timeout` of a noun (RCML.md 1.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screening {
    /// The private document.
    pub document: DocumentRef,
    /// Whole seconds from the answer (default 60).
    pub timeout: u32,
}

/// `statusCallback*` of a noun (RCML.md 1.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// Absolute URL.
    pub url: String,
    /// Method of each callback.
    pub method: Method,
    /// Which events are sent.
    pub events: Events,
}

/// The set of subscribed events (RCML.md 1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The INVITE is sent, or found undeliverable.
    pub initiated: bool,
    /// First 180 or 183.
    pub ringing: bool,
    /// 200 OK, before any screening.
    pub answered: bool,
    /// The leg is over.
    pub completed: bool,
}

impl Events {
    /// All four: the default.
    pub const ALL: Events = Events { initiated: true, ringing: true, answered: true, completed: true };
}
