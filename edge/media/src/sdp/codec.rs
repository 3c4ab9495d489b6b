//! One RTP format of an audio line, with what RFC 3551 says where no rtpmap does.

use crate::g711::Law;

/// A format of an audio line: payload number, rtpmap and fmtp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// Payload type number, 0-127.
    pub payload: u8,
    /// Encoding name as written; compared without case.
    pub name: String,
    /// Clock rate in Hz.
    pub rate: u32,
    /// Channels, at least 1.
    pub channels: u8,
    /// Format parameters as written, without the payload number.
    pub fmtp: Option<String>,
}

impl Codec {
    /// A mono codec without parameters.
    pub fn new(payload: u8, name: &str, rate: u32) -> Codec {
        Codec { payload, name: name.to_owned(), rate, channels: 1, fmtp: None }
    }

    /// PCMU as payload type 0.
    pub fn pcmu() -> Codec {
        Codec::new(0, "PCMU", 8000)
    }

    /// PCMA as payload type 8.
    pub fn pcma() -> Codec {
        Codec::new(8, "PCMA", 8000)
    }

    /// telephone-event (RFC 4733) as payload type 101, events 0-15.
    pub fn telephone_event() -> Codec {
        Codec { fmtp: Some("0-15".to_owned()), ..Codec::new(101, "telephone-event", 8000) }
    }

    /// The static audio assignments of RFC 3551 §6 for a payload number without rtpmap.
    pub fn static_assignment(payload: u8) -> Option<Codec> {
        let (name, rate, channels) = match payload {
            0 => ("PCMU", 8000, 1),
            3 => ("GSM", 8000, 1),
            4 => ("G723", 8000, 1),
            5 => ("DVI4", 8000, 1),
            6 => ("DVI4", 16000, 1),
            7 => ("LPC", 8000, 1),
            8 => ("PCMA", 8000, 1),
            9 => ("G722", 8000, 1),
            10 => ("L16", 44100, 2),
            11 => ("L16", 44100, 1),
            12 => ("QCELP", 8000, 1),
            13 => ("CN", 8000, 1),
            14 => ("MPA", 90000, 1),
            15 => ("G728", 8000, 1),
            16 => ("DVI4", 11025, 1),
            17 => ("DVI4", 22050, 1),
            18 => ("G729", 8000, 1),
            _ => return None,
        };
        Some(Codec { channels, ..Codec::new(payload, name, rate) })
    }

    /// Whether both name the same encoding, whatever their numbers (RFC 3264 §6.1): name, rate and channels, and for
    /// AMR the payload layout that fmtp chooses (RFC 4867 §8.3.1: `octet-align` must match).
    pub fn same_format(&self, other: &Codec) -> bool {
        self.rate == other.rate
            && self.channels == other.channels
            && self.name.eq_ignore_ascii_case(&other.name)
            && (!self.is_amr() || self.octet_aligned() == other.octet_aligned())
    }

    /// RFC 4733 named events.
    pub fn is_telephone_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }

    /// The law, where it is G.711 at 8000 Hz, mono.
    pub fn law(&self) -> Option<Law> {
        if self.rate != 8000 || self.channels != 1 {
            None
        } else if self.name.eq_ignore_ascii_case("PCMU") {
            Some(Law::Mu)
        } else if self.name.eq_ignore_ascii_case("PCMA") {
            Some(Law::A)
        } else {
            None
        }
    }

    /// Whether it carries speech by itself: not events, not comfort noise.
    pub fn is_speech(&self) -> bool {
        !self.is_telephone_event() && !self.name.eq_ignore_ascii_case("CN")
    }

    /// What we can decode ourselves: G.711, and telephone-event at 8000 Hz.
    pub fn is_decodable(&self) -> bool {
        self.law().is_some() || (self.is_telephone_event() && self.rate == 8000)
    }

    /// Redundancy and error correction formats name other payload numbers in their fmtp, which a change of numbers
    /// would break; they are left out of what we pass on.
    pub(crate) fn refers_to_others(&self) -> bool {
        ["red", "rtx", "ulpfec", "flexfec", "flexfec-03", "parityfec"]
            .iter()
            .any(|name| self.name.eq_ignore_ascii_case(name))
    }

    fn is_amr(&self) -> bool {
        self.name.eq_ignore_ascii_case("AMR") || self.name.eq_ignore_ascii_case("AMR-WB")
    }

    fn octet_aligned(&self) -> bool {
        self.fmtp.as_deref().is_some_and(|fmtp| {
            fmtp.split(';').any(|parameter| {
                parameter
                    .split_once('=')
                    .is_some_and(|(name, value)| name.trim().eq_ignore_ascii_case("octet-align") && value.trim() == "1")
            })
        })
    }
}
