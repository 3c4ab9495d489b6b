//! One dialog's session: what we wrote last, which offer is open, what was agreed.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::description::MediaLine;
use super::{Codec, Description, Direction, Host, SdpError, Terms};
use crate::g711::Law;

/// A codec that both sides of a dialog use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedCodec {
    /// The codec as the party described it (its fmtp says what it wants to receive).
    pub codec: Codec,
    /// The payload number under which the party sends it to us.
    pub receive: u8,
    /// The payload number under which we send it to the party.
    pub send: u8,
}

#[derive(Debug, Clone)]
struct Agreed {
    codecs: Vec<AgreedCodec>,
    /// Ours, as we wrote them: an answer of our own repeats these.
    local: Terms,
    /// From our point of view.
    direction: Direction,
    remote: Description,
    /// The offer was ours.
    ours: bool,
}

/// Our side of one dialog. Clone it where a forked INVITE makes several dialogs of one offer.
///
/// At most one offer is open at a time; the caller sees to that (RFC 3264 §4, RFC 3261 §14).
#[derive(Debug, Clone)]
pub struct Session {
    id: u64,
    version: u64,
    address: IpAddr,
    port: u16,
    /// What followed the `o=` line last, to see whether the version must rise. Empty: nothing was sent.
    written: String,
    /// The media lines of this dialog, which every later offer repeats (RFC 3264 §8), and which of them is ours.
    lines: Vec<MediaLine>,
    audio_line: usize,
    /// Which codec each number has meant in this dialog: it must not change (RFC 3264 §8.3.2).
    numbers: Vec<Codec>,
    offered: Option<Terms>,
    agreed: Option<Agreed>,
}

impl Session {
    /// A dialog whose media we take at `address` and `port`. `id` is random: the session id of our `o=` lines, kept
    /// below 2^62 since some parsers read it as a signed number.
    pub fn new(id: u64, address: IpAddr, port: u16) -> Session {
        Session {
            id: id >> 2,
            version: 1,
            address,
            port,
            written: String::new(),
            lines: Vec::new(),
            audio_line: 0,
            numbers: Vec::new(),
            offered: None,
            agreed: None,
        }
    }

    /// Writes our offer: our address and port, the codecs in order, the direction as it is. Payload numbers are kept
    /// unless this dialog has used one for another codec before (RFC 3264 §8.3.2); then the codec gets a free dynamic
    /// one, or is left out when there is none.
    pub fn make_offer(&mut self, terms: &Terms) -> Bytes {
        let mut terms = terms.clone();
        self.assign_numbers(&mut terms.codecs);
        if self.lines.is_empty() {
            self.lines.push(our_line("RTP/AVP"));
        }
        let body = self.write(&terms, None);
        self.offered = Some(terms);
        body
    }

    /// Reads the party's answer to our open offer. The offer stays known, so that a 200 may repeat the answer of a 183.
    ///
    /// # Errors
    /// The answer is not usable: no audio, or no codec in common. Nothing has changed then.
    pub fn accept_answer(&mut self, body: &[u8]) -> Result<(), SdpError> {
        let offered = self.offered.as_ref().ok_or(SdpError::NoOffer)?;
        let remote = Description::parse(body)?;
        let codecs = agree(&offered.codecs, &remote.audio().codecs);
        if !codecs.iter().any(|agreed| agreed.codec.is_speech()) {
            return Err(SdpError::NoCodec);
        }
        let direction = offered.direction.and(remote.audio().direction.reversed());
        let local = offered.clone();
        self.remember(&remote.audio().codecs);
        self.agreed = Some(Agreed { codecs, local, direction, remote, ours: true });
        Ok(())
    }

    /// Our offer was refused or is given up: what was agreed before stands.
    pub fn withdraw_offer(&mut self) {
        self.offered = None;
    }

    /// Writes our answer to the party's offer, from the other party's terms (or [`Terms::standard`]): the codecs of
    /// both in the offer's order, with the offer's payload numbers and the other party's fmtp; the direction narrowed
    /// to what the offer allows; as many media lines as the offer has, all others with port 0 (RFC 3264 §6). Where no
    /// speech codec is in both, but G.711 by one law in the offer and by the other in the terms, the offer's law is
    /// taken: the relay makes one of the other.
    ///
    /// # Errors
    /// [`SdpError::NoCodec`]: nothing in common, answer 488. Nothing has changed then.
    pub fn make_answer(&mut self, offer: &Description, terms: &Terms) -> Result<Bytes, SdpError> {
        let audio = offer.audio();
        let shared = |offered: &Codec| offered.is_speech() && best_match(offered, &terms.codecs).is_some();
        let transcodes = !audio.codecs.iter().any(shared) && terms.codecs.iter().any(|codec| codec.law().is_some());
        let codecs: Vec<Codec> = audio
            .codecs
            .iter()
            .filter_map(|offered| match best_match(offered, &terms.codecs) {
                Some(other) => Some(Codec { fmtp: other.fmtp.clone(), ..offered.clone() }),
                None => (transcodes && offered.law().is_some()).then(|| offered.clone()),
            })
            .collect();
        if !codecs.iter().any(Codec::is_speech) {
            return Err(SdpError::NoCodec);
        }
        let direction = audio.direction.reversed().and(terms.direction);
        let answer = Terms { codecs, direction, ptime: terms.ptime, maxptime: terms.maxptime };
        self.lines.clone_from(&offer.lines);
        self.audio_line = audio.line;
        self.remember(&audio.codecs);
        let body = self.write(&answer, Some(offer));
        let codecs = agree(&answer.codecs, &audio.codecs);
        self.offered = None;
        self.agreed = Some(Agreed { codecs, local: answer, direction, remote: offer.clone(), ours: false });
        Ok(body)
    }

    /// Answers an offer without asking the other party: with this dialog's own codecs, or those that we offer of
    /// ourselves where none was agreed or none fits any more. For a refresh pass [`Session::direction`].
    ///
    /// # Errors
    /// [`SdpError::NoCodec`]: answer 488.
    pub fn answer_ourselves(&mut self, offer: &Description, direction: Direction) -> Result<Bytes, SdpError> {
        if let Some(agreed) = &self.agreed {
            let terms = Terms { direction, ..agreed.local.clone() };
            if let Ok(body) = self.make_answer(offer, &terms) {
                return Ok(body);
            }
        }
        self.make_answer(offer, &Terms { direction, ..Terms::standard() })
    }

    /// Whether an offer says what the party said last, so that it is only a refresh (RFC 4028 §7.4, RFC 3264 §8). The
    /// media are compared rather than the `o=` version: it must be equal where the version is, and phones that raise
    /// the version with each refresh, or never, are told from those that change something. Lines that we refuse do not
    /// count: after our answer a phone repeats them with port 0.
    pub fn changes_nothing(&self, offer: &Description) -> bool {
        self.remote().is_some_and(|remote| remote.audio().same_media(offer.audio()))
    }

    /// What the party said last, to be carried to the other: its codecs under the numbers it sends them by, its
    /// direction, its packet times. `None` before an exchange was completed.
    pub fn remote_terms(&self) -> Option<Terms> {
        let agreed = self.agreed.as_ref()?;
        let codecs = agreed.codecs.iter().map(|c| Codec { payload: c.receive, ..c.codec.clone() }).collect();
        let audio = agreed.remote.audio();
        Some(Terms { codecs, direction: audio.direction, ptime: audio.ptime, maxptime: audio.maxptime })
    }

    /// The direction that the party wants of its own accord: what it said, but where it only followed a narrower offer
    /// of ours, as if that offer had left it free. `None` before an exchange was completed.
    pub fn remote_direction(&self) -> Option<Direction> {
        let agreed = self.agreed.as_ref()?;
        let said = agreed.remote.audio().direction;
        if !agreed.ours {
            return Some(said);
        }
        let allowed = agreed.local.direction.reversed();
        Some(Direction::new(said.sends() || !allowed.sends(), said.receives() || !allowed.receives()))
    }

    /// What we said last and the party took: an offer of these is a refresh. `None` before an exchange was completed.
    pub fn local_terms(&self) -> Option<Terms> {
        let agreed = self.agreed.as_ref()?;
        Some(agreed.local.clone())
    }

    /// What was agreed: codecs in the order of preference. Empty before an exchange was completed.
    pub fn codecs(&self) -> impl Iterator<Item = &AgreedCodec> {
        self.agreed.iter().flat_map(|agreed| agreed.codecs.iter())
    }

    /// Whether an offer and its answer have been exchanged.
    pub fn is_agreed(&self) -> bool {
        self.agreed.is_some()
    }

    /// What the party's description said last, once agreed.
    pub fn remote(&self) -> Option<&Description> {
        self.agreed.as_ref().map(|agreed| &agreed.remote)
    }

    /// The agreed direction from our point of view; `sendrecv` before an exchange was completed.
    pub fn direction(&self) -> Direction {
        self.agreed.as_ref().map_or(Direction::SendRecv, |agreed| agreed.direction)
    }

    /// Whether the call is held in this dialog by either side: silence is no fault then.
    pub fn on_hold(&self) -> bool {
        self.direction() != Direction::SendRecv
    }

    /// Where the party wants RTP; `None` before agreement, for a host name ([`Session::remote_name`]) and for the hold
    /// of RFC 2543.
    pub fn remote_rtp(&self) -> Option<SocketAddr> {
        self.remote()?.audio().rtp()
    }

    /// Host name and port, where the party named a host instead of an address.
    pub fn remote_name(&self) -> Option<(&str, u16)> {
        let audio = self.remote()?.audio();
        match &audio.host {
            Host::Name(name) => Some((name, audio.port)),
            Host::Ip(_) => None,
        }
    }

    /// G.711 and the payload number for sound of our own towards the party; `None` where we cannot make any.
    pub fn g711(&self) -> Option<(Law, u8)> {
        self.codecs().find_map(|agreed| Some((agreed.codec.law()?, agreed.send)))
    }

    /// The telephone-event numbers agreed at 8000 Hz: as we receive it, and as we send it.
    pub fn telephone_event(&self) -> Option<(u8, u8)> {
        self.codecs()
            .find(|agreed| agreed.codec.is_telephone_event() && agreed.codec.rate == 8000)
            .map(|agreed| (agreed.receive, agreed.send))
    }

    /// Our RTP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Records what numbers mean in this dialog. A party that gives one another meaning, as a PBX does that puts another
    /// phone in its place, is right: what it said last counts.
    fn remember(&mut self, codecs: &[Codec]) {
        for codec in codecs.iter().filter(|codec| codec.payload >= FIRST_CHANGEABLE) {
            match self.numbers.iter_mut().find(|known| known.payload == codec.payload) {
                Some(known) if known.same_format(codec) => {}
                Some(known) => known.clone_from(codec),
                None => self.numbers.push(codec.clone()),
            }
        }
    }

    /// RFC 3264 §8.3.2: a codec that had a number here keeps it; a number that meant another codec is not taken.
    fn assign_numbers(&mut self, codecs: &mut Vec<Codec>) {
        let mut assigned: Vec<Codec> = Vec::with_capacity(codecs.len());
        for codec in codecs.drain(..) {
            let free = |number: u8, assigned: &[Codec], numbers: &[Codec]| {
                !assigned.iter().any(|a| a.payload == number) && !numbers.iter().any(|k| k.payload == number)
            };
            let unused = |number: u8, assigned: &[Codec]| !assigned.iter().any(|a| a.payload == number);
            let kept = self.numbers.iter().find(|known| {
                known.payload == codec.payload && known.same_format(&codec) && unused(known.payload, &assigned)
            });
            let former =
                || self.numbers.iter().find(|known| known.same_format(&codec) && unused(known.payload, &assigned));
            let number = if let Some(known) = kept.or_else(former) {
                Some(known.payload)
            } else if free(codec.payload, &assigned, &self.numbers) {
                Some(codec.payload)
            } else {
                (96..=127).find(|number| free(*number, &assigned, &self.numbers))
            };
            if let Some(payload) = number {
                assigned.push(Codec { payload, ..codec });
            }
        }
        self.remember(&assigned);
        *codecs = assigned;
    }

    /// Writes a body; `answered` is the offer where it is an answer. The version rises when anything has changed.
    fn write(&mut self, terms: &Terms, answered: Option<&Description>) -> Bytes {
        let mut tail = String::with_capacity(64 + 40 * terms.codecs.len());
        // Writing into a String cannot fail.
        let _ = write!(tail, "s=-\r\nc=IN {}\r\nt=0 0\r\n", Family(self.address));
        for (index, line) in self.lines.iter().enumerate() {
            if index == self.audio_line {
                let proto = if answered.is_some() { line.proto.as_str() } else { our_profile(&line.proto) };
                let _ = write!(tail, "m=audio {} {proto}", self.port);
                for codec in &terms.codecs {
                    let _ = write!(tail, " {}", codec.payload);
                }
                tail.push_str("\r\n");
                write_audio(&mut tail, terms);
            } else {
                let _ = write!(tail, "m={} 0 {} {}\r\n", line.media, line.proto, line.format);
            }
        }
        if !self.written.is_empty() && self.written != tail {
            self.version += 1;
        }
        let body = format!("v=0\r\no=- {} {} IN {}\r\n{tail}", self.id, self.version, Family(self.address));
        self.written = tail;
        Bytes::from(body)
    }
}

/// Numbers from here on are bound by an rtpmap and not by RFC 3551.
const FIRST_CHANGEABLE: u8 = 35;

fn our_line(proto: &str) -> MediaLine {
    MediaLine { media: "audio".to_owned(), proto: proto.to_owned(), format: "0".to_owned() }
}

/// The profile of a later offer: the one that this dialog's audio line has.
fn our_profile(proto: &str) -> &str {
    if proto.eq_ignore_ascii_case("RTP/AVPF") { "RTP/AVPF" } else { "RTP/AVP" }
}

fn write_audio(tail: &mut String, terms: &Terms) {
    for codec in &terms.codecs {
        let _ = write!(tail, "a=rtpmap:{} {}/{}", codec.payload, codec.name, codec.rate);
        if codec.channels > 1 {
            let _ = write!(tail, "/{}", codec.channels);
        }
        tail.push_str("\r\n");
        if let Some(fmtp) = &codec.fmtp {
            let _ = write!(tail, "a=fmtp:{} {fmtp}\r\n", codec.payload);
        }
    }
    if let Some(ptime) = terms.ptime {
        let _ = write!(tail, "a=ptime:{ptime}\r\n");
    }
    if let Some(maxptime) = terms.maxptime {
        let _ = write!(tail, "a=maxptime:{maxptime}\r\n");
    }
    let _ = write!(tail, "a={}\r\n", terms.direction.as_str());
}

/// The party's codecs, in its order, that are ours too.
fn agree(ours: &[Codec], theirs: &[Codec]) -> Vec<AgreedCodec> {
    theirs
        .iter()
        .filter_map(|codec| {
            let our = best_match(codec, ours)?;
            Some(AgreedCodec { codec: codec.clone(), receive: our.payload, send: codec.payload })
        })
        .collect()
}

/// The same format, under the same number where there is one.
fn best_match<'a>(codec: &Codec, among: &'a [Codec]) -> Option<&'a Codec> {
    let mut same = among.iter().filter(|candidate| candidate.same_format(codec));
    same.clone().find(|candidate| candidate.payload == codec.payload).or_else(|| same.next())
}

/// `IP4 192.0.2.1`.
struct Family(IpAddr);

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => write!(f, "IP4 {ip}"),
            IpAddr::V6(ip) => write!(f, "IP6 {ip}"),
        }
    }
}
