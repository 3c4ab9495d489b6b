//! What one party hears of us: a prompt, a ringing tone, keys or silence, in the one stream that a bridge goes on in.

use std::time::Instant;

use ringfork_call::action::Input;
use ringfork_call::action::MediaId;
use ringfork_media::dtmf::Sender;
use ringfork_media::formats::Formats;
use ringfork_media::rtp::{HEADER, Header, Packet};
use ringfork_media::stream::Stream;
use ringfork_media::tone::{Ringing, SAMPLES, Tone};

use super::play::{Frame, Player};

/// Octets of a packet of 20 ms.
pub const PACKET: usize = HEADER + SAMPLES;

/// One party's stream.
pub struct Outgoing {
    stream: Stream,
    /// [`MediaAction::Attend`](ringfork_call::action::MediaAction::Attend) was said: silence where nothing else is.
    pub attended: bool,
    pub player: Option<Player>,
    pub tone: Option<Tone>,
    pub keys: Sender,
}

/// A packet to be sent.
pub struct Sending {
    pub octets: [u8; PACKET],
    pub length: usize,
}

impl Outgoing {
    /// A stream that begins with random numbers, or goes on after what was relayed to the party last.
    pub fn new(relayed: Option<[u8; HEADER]>, now: Instant) -> Outgoing {
        let stream = match relayed.as_ref().and_then(|octets| Packet::parse(octets)) {
            Some(last) => Stream::taken_over(&last.header, now),
            None => {
                let mut seed = [0u8; 10];
                let _ = getrandom::fill(&mut seed);
                let [a, b, c, d, e, f, g, h, i, j] = seed;
                Stream::new(
                    u32::from_be_bytes([a, b, c, d]),
                    u16::from_be_bytes([i, j]),
                    u32::from_be_bytes([e, f, g, h]),
                )
            }
        };
        Outgoing { stream, attended: false, player: None, tone: None, keys: Sender::default() }
    }

    /// Rings, from the start, or no longer.
    pub fn ring(&mut self, ringing: Option<Ringing>) {
        match ringing {
            Some(ringing) => {
                self.tone.get_or_insert_with(|| Tone::new(ringing));
            }
            None => self.tone = None,
        }
    }

    /// Whether there is something to send in each step: for a bridged party keys alone.
    pub fn is_paced(&self, bridged: bool) -> bool {
        !self.keys.is_idle() || (!bridged && (self.attended || self.tone.is_some() || self.player.is_some()))
    }

    /// The header under which a packet of the other party goes on; none: not now, or it comes too late.
    pub fn relayed(&mut self, header: &Header, now: Instant) -> Option<Header> {
        if self.keys.is_sounding() { None } else { self.stream.relayed(header, now) }
    }

    /// One step of 20 ms. `sends`: the party takes sound now; else what plays goes on unheard.
    pub fn step(
        &mut self,
        media: MediaId,
        formats: &Formats,
        sends: bool,
        bridged: bool,
        due: Instant,
    ) -> (Option<Sending>, Option<Input>) {
        let keyed = match formats.keys {
            Some(number) => self.keys.step().map(|keyed| (number, keyed)),
            None => {
                // The party takes none any more.
                self.keys = Sender::default();
                None
            }
        };
        if bridged {
            return (keyed.filter(|_| sends).map(|(number, keyed)| self.key(number, keyed, due)), None);
        }
        let mut samples = [0i16; SAMPLES];
        let mut input = None;
        let mut sounds = false;
        if let Some(player) = &mut self.player {
            let play = player.play;
            let frame = player.next_frame(&mut samples);
            sounds = matches!(frame, Frame::Sound | Frame::Last);
            let result = match frame {
                Frame::Waiting | Frame::Sound => None,
                Frame::Last => Some(Ok(())),
                Frame::Over(result) => Some(result),
            };
            if let Some(result) = result {
                self.player = None;
                input = Some(Input::Played { media, play, result });
            }
        }
        if let Some((number, keyed)) = keyed {
            return (sends.then(|| self.key(number, keyed, due)), input);
        }
        let Some((law, payload)) = formats.sound else { return (None, input) };
        let ringing = self.tone.as_mut().and_then(|tone| tone.next_frame(law));
        if !sends {
            return (None, input);
        }
        let mut octets = [law.silence(); PACKET];
        let (head, data) = octets.split_at_mut(HEADER);
        head.copy_from_slice(&self.stream.own(payload, due).to_bytes());
        if sounds {
            for (code, sample) in data.iter_mut().zip(samples) {
                *code = law.encode(sample);
            }
        } else if let Some(frame) = ringing {
            data.copy_from_slice(frame);
        }
        (Some(Sending { octets, length: PACKET }), input)
    }

    fn key(&mut self, number: u8, keyed: ringfork_media::dtmf::Keyed, due: Instant) -> Sending {
        let header = if keyed.first {
            // RFC 4733 §2.5.1.2: the marker bit is on the first packet of an event.
            Header { marker: true, ..self.stream.own(number, due) }
        } else {
            self.stream.further(number)
        };
        let mut octets = [0; PACKET];
        let event = keyed.event.to_bytes();
        let length = HEADER + event.len();
        for (place, octet) in octets.iter_mut().zip(header.to_bytes().into_iter().chain(event)) {
            *place = octet;
        }
        Sending { octets, length }
    }
}
