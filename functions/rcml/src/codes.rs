//! The one table of warning and error codes (REST Notifications): number, severity, and the text that names the fix.
//!
//! Numbers are those that TwiML and Restcomm customers know; where neither has one, a free number beside them.

use crate::evaluation::{Level, Notice};

/// Longest piece of a customer's text that is quoted in a message, in characters.
const QUOTE_LIMIT: usize = 100;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $level:ident, $fix:literal;)*) => {
        /// What went wrong. The number is what `error_code` of a Notification and `ErrorCode` of a fallback request show.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The number that customers see.
            pub const fn number(self) -> u32 {
                match self { $(Code::$name => $number,)* }
            }

            /// Whether something was not done (error) or a default was taken (warning).
            pub const fn level(self) -> Level {
                match self { $(Code::$name => Level::$level,)* }
            }

            /// What to do about it; follows the finding in every message.
            pub const fn fix(self) -> &'static str {
                match self { $(Code::$name => $fix,)* }
            }
        }
    };
}

codes! {
    /// A dialed client without binding, or none of that name.
    ClientNotRegistered = 11008, Warning, "it has no registered device and was not rung; register one, or check the name";
    /// A URL that is not one, or not http(s), where a document was to be fetched.
    BadUrl = 11100, Error, "give an absolute http or https URL, or one relative to the running document";
    /// The customer's server answered, but not with 2xx.
    HttpStatus = 11200, Error, "make the URL answer 200 with an RCML document";
    /// No connection, no name, or no answer in time.
    HttpConnection = 11205, Error, "check that the host name resolves and that its web server answers within 15 seconds";
    /// What came back was not HTTP, or broke off.
    HttpProtocol = 11206, Error, "check that the web server speaks HTTP and completes its answers";
    /// More than five redirects, or one without a usable target.
    HttpRedirects = 11215, Error, "redirect at most five times, each time to an http or https URL";
    /// The function that fetches documents could not be run.
    EvaluateUnavailable = 11216, Error, "the document could not be evaluated at all; if it happens again, see the edge's log";
    /// The address guard refused the target.
    AddressRefused = 11220, Error, "use a public address; loopback, private, link-local and metadata addresses are refused";
    /// The body is longer than 64 KB.
    TooLarge = 11750, Error, "keep documents at or below 64 KB";
    /// Not well-formed XML.
    Malformed = 12100, Error, "serve well-formed XML in UTF-8; a bare & must be written &amp;";
    /// A DOCTYPE, or an entity beyond XML's five.
    Doctype = 12101, Error, "leave out the DOCTYPE and any entity but &amp; &lt; &gt; &quot; &apos;";
    /// Another root element than Response.
    WrongRoot = 12102, Error, "make <Response> the root element (names are case-sensitive)";
    /// An empty body.
    EmptyBody = 12103, Error, "answer with a document; <Response/> is the smallest one";
    /// Elements nested too deeply, or too many.
    TooDeep = 12104, Error, "RCML nests a few levels only; remove the surplus elements";
    /// An element, attribute or text that RCML does not know at this place.
    Unknown = 12200, Warning, "it was skipped; check spelling and case";
    /// Part of the language, but not in this version.
    NotBuilt = 12210, Warning, "it is not built yet and was skipped";
    /// More warnings than are kept.
    MoreWarnings = 12220, Warning, "mend the warnings before this one to see the rest";
    /// A sound that could not be spoken or read.
    PromptFailed = 12400, Error, "it was not heard and the next verb ran; check the voice and language, or serve WAV or MP3";
    /// The screening document holds a Dial.
    DialInScreening = 13201, Error, "a screening document may not contain <Dial>; nothing of it was run";
    /// Dial or noun `method` or `statusCallbackMethod`.
    DialMethod = 13210, Warning, "use GET or POST; POST is used";
    /// Dial `record`.
    DialRecord = 13211, Warning, "use true or false; false is used";
    /// Dial `timeout`.
    DialTimeout = 13212, Warning, "use whole seconds of at least 1; 30 is used";
    /// Dial `callerId`.
    DialCallerId = 13214, Warning, "use a number or client:NAME; the caller's own identity is used";
    /// Dial without anybody to ring.
    DialEmpty = 13215, Warning, "put a <Client>, <Number> or <Sip> into it; it ends at once as failed";
    /// Dial `timeLimit`.
    DialTimeLimit = 13216, Warning, "use whole seconds of at least 1; 14400 is used";
    /// More than ten nouns.
    DialTooManyNouns = 13217, Warning, "a Dial rings ten nouns at most; this one is not rung";
    /// Text beside nouns.
    DialText = 13218, Warning, "text beside nouns is ignored; put it into a noun of its own";
    /// A noun whose `timeout` is not whole seconds.
    NounTimeout = 13219, Warning, "use whole seconds of at least 1; 60 is used";
    /// A noun's `timeout` without `url`.
    NounTimeoutUnused = 13220, Warning, "timeout bounds screening, so it needs a url; to bound ringing use the timeout of <Dial>";
    /// An unknown name in `statusCallbackEvent`.
    CallbackEvent = 13221, Warning, "use initiated, ringing, answered, completed, separated by commas or spaces";
    /// An optional URL that is not usable.
    OptionalUrl = 13222, Warning, "give an absolute http or https URL, or one relative to the running document; it is treated as absent";
    /// Not a number to be dialed.
    NumberFormat = 13223, Warning, "write digits with an optional leading +; it is not rung";
    /// A header of the INVITE that was left out.
    Header = 13224, Warning, "header names are tokens, and at most ten headers of 256 characters are sent; it was left out";
    /// A Client without a name.
    ClientEmpty = 13225, Warning, "name the client, as in <Client>alice</Client>; it is not rung";
    /// Not a SIP URI.
    SipUri = 13226, Warning, "write sip:user@host; it is not rung";
    /// A noun's `url` that can never be fetched.
    NounUrl = 13227, Warning, "give an absolute http or https URL, or one relative to the running document; until then its legs are never accepted";
    /// More devices than a Dial rings.
    DialTooManyLegs = 13228, Warning, "a Dial rings a hundred devices at most; the others were not rung";
    /// An address of a SIP URI's host that the guard refuses.
    SipAddressRefused = 13229, Warning, "use a public address; loopback, private, link-local and metadata addresses are refused, so its leg failed";
    /// `sips:`, or a transport that is not built.
    SipTransport = 13230, Warning, "only UDP and TCP are built: write sip: without transport, or with transport=udp or tcp; it is not rung";
    /// Gather `finishOnKey`.
    GatherFinishKey = 13310, Warning, "use one of 0-9, * and #, or nothing for none; # is used";
    /// Gather `method`.
    GatherMethod = 13312, Warning, "use GET or POST; POST is used";
    /// Gather `timeout`.
    GatherTimeout = 13313, Warning, "use whole seconds of at least 1; 5 is used";
    /// Gather `numDigits`.
    GatherNumDigits = 13314, Warning, "use a whole number of at least 1; the number of keys is not bounded";
    /// Gather `input`.
    GatherInput = 13316, Warning, "only dtmf is built; keys are gathered";
    /// Gather `actionOnEmptyResult`.
    GatherEmptyResult = 13317, Warning, "use true or false; false is used";
    /// Another verb than Say, Play and Pause in a Gather.
    GatherNested = 13320, Warning, "a Gather nests <Say>, <Play> and <Pause>; it was skipped";
    /// `loop` of a Say in a Gather.
    GatherSayLoop = 13321, Warning, "use a whole number, 0 for without end; 1 is used";
    /// `loop` of a Play in a Gather.
    GatherPlayLoop = 13325, Warning, "use a whole number, 0 for without end; 1 is used";
    /// Play `loop`.
    PlayLoop = 13410, Warning, "use a whole number, 0 for without end; 1 is used";
    /// Play without a usable URL.
    PlayUrl = 13411, Warning, "give an absolute http or https URL, or one relative to the running document; it was skipped";
    /// Say `loop`.
    SayLoop = 13510, Warning, "use a whole number, 0 for without end; 1 is used";
    /// Say `voice` or `language`.
    SayVoice = 13511, Warning, "name a voice or language that this server's speech has; another one is used";
    /// Say in a language that the server's voice does not speak.
    SayLanguage = 13512, Warning, "this server's voice knows English only and reads the text so; start it with --speech polly for other languages";
    /// Say without text.
    SayEmpty = 13520, Warning, "write the text between the tags; it was skipped";
    /// Record `method`.
    RecordMethod = 13610, Warning, "use GET or POST; POST is used";
    /// Record `playBeep` or `transcribe`.
    RecordFlag = 13611, Warning, "use true or false; the default is used";
    /// Record `timeout` or `maxLength`.
    RecordLimit = 13612, Warning,
        "use whole seconds from 1 to 14400: 14400 is used where it is more, else the default (timeout 5, maxLength 3600)";
    /// Record `finishOnKey`.
    RecordFinishKey = 13613, Warning, "use keys of 0-9, * and #, or nothing for none; any key ends the recording";
    /// A recording broke off.
    RecordingFailed = 13620, Warning, "what was written before is kept; check the space where recordings are kept";
    /// Redirect `method`.
    RedirectMethod = 13710, Warning, "use GET or POST; POST is used";
    /// Redirect without a URL.
    RedirectEmpty = 13711, Warning, "write the URL between the tags; it was skipped";
    /// The 21st document in a row in which nothing waited wanted another.
    RedirectChain = 13712, Error, "21 documents in a row led on without a pause, a prompt or a ringing Dial; break the circle";
    /// Reject `reason`.
    RejectReason = 13810, Warning, "use rejected or busy; rejected is used";
    /// Reject in a screening document.
    RejectInScreening = 13811, Warning, "the leg is already answered, so Reject was skipped; use <Hangup/> to decline it";
    /// Reject on a call that was answered.
    RejectAnswered = 13812, Warning, "only an unanswered call can be refused, so Reject was skipped; use <Hangup/>";
    /// Pause `length`.
    PauseLength = 13910, Warning, "use whole seconds of at least 1; 1 is used";
    /// The callback URL answered, but with something that is not repeated.
    CallbackRejected = 15003, Warning, "make the status callback URL answer with any 2xx; this callback is not repeated";
    /// The callback could not be delivered.
    CallbackFailed = 15004, Error, "check the status callback URL; this callback was given up";
    /// Nothing at the URL.
    NotFound = 21402, Error, "check the path of the URL";
}

impl Code {
    /// A notice about `found` in the document at `url` (as it may be shown), on `line` where one is known.
    pub fn notice(self, found: &str, url: Option<&str>, line: Option<u32>) -> Notice {
        Notice {
            level: self.level(),
            code: self.number(),
            message: format!("{found}: {}", self.fix()),
            url: url.map(str::to_owned),
            line,
        }
    }
}

/// `text` as it may stand in a message: one line, without control characters, at most 100 characters.
pub fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTE_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(QUOTE_LIMIT).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// RCML.md 3.4: a code names one finding.
    #[test]
    fn numbers_are_unique() {
        let numbers: HashSet<u32> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
    }

    #[test]
    fn quotes_stay_short_and_on_one_line() {
        let quoted = quote(&format!("a\r\nb\0{}", "x".repeat(500)));
        assert!(quoted.starts_with("a  b "));
        assert_eq!(quoted.chars().count(), QUOTE_LIMIT + 1);
    }
}
