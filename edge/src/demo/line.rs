//! The sound of a scripted phone: it sends one stream with numbers that go on, a tone, silence or a key in it, and
//! judges what it hears.

use std::time::Duration;

use ringfork_media::dtmf::Sender;
use ringfork_media::g711::Law;
use ringfork_media::rtp::{Header, Packet};
use tokio::net::UdpSocket;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::phone::{Dialog, Phone, PhoneError, Seen};
use super::tones;

/// Samples, and octets of G.711, in 20 ms.
const FRAME: u16 = 160;
const STEP: Duration = Duration::from_millis(20);
/// So many packets in a row without the prompt: it is over. They are counted, not timed: on a machine that is busy both
/// sides stand still for a while.
const PAUSE: u32 = 20;

/// What a phone heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// Packets of sound.
    pub packets: usize,
    /// How much of them was the tone that it listened for, 0 to 1.
    pub tone: f64,
    /// How much of them was the demonstration's prompt.
    pub prompt: Duration,
}

/// The stream that a phone sends.
#[derive(Debug)]
pub(super) struct Stream {
    header: Header,
}

impl Stream {
    pub(super) fn new(ssrc: u32) -> Self {
        Stream { header: Header { marker: true, payload: Law::Mu.payload(), sequence: 1, timestamp: 0, ssrc } }
    }

    /// 20 ms of a tone; of silence where there is none.
    fn sound(&mut self, hertz: Option<f64>) -> Vec<u8> {
        let mut packet = self.header.to_bytes().to_vec();
        packet.extend((0..FRAME).map(|index| match hertz {
            Some(hertz) => Law::Mu.encode(tones::sample(hertz, f64::from(self.header.timestamp) + f64::from(index))),
            None => Law::Mu.silence(),
        }));
        self.header.marker = false;
        self.step();
        packet
    }

    /// A packet of a key that began at this timestamp.
    fn event(&mut self, payload: u8, began: u32, first: bool, data: [u8; 4]) -> Vec<u8> {
        let header = Header { marker: first, payload, timestamp: began, ..self.header };
        let mut packet = header.to_bytes().to_vec();
        packet.extend(data);
        self.step();
        packet
    }

    fn step(&mut self) {
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(u32::from(FRAME));
    }
}

impl Phone {
    /// Talks until `count` packets were heard, and as many sent since the first: a tone of `hertz` towards the other
    /// side. Where both sides talk so, each hears `count` packets, however long one of them stands still: what is sent
    /// since something was heard is heard. Returns what it heard since the call began, `listen` hertz being the tone
    /// that is due.
    ///
    /// # Errors
    /// When so much does not come in time; the network's.
    pub async fn talk(&mut self, dialog: &Dialog, hertz: f64, listen: f64, count: usize) -> Result<Heard, PhoneError> {
        let mut heard = Vec::new();
        let (mut packets, mut sent) = (0, 0);
        let mut ticks = ticks();
        let time = STEP * u32::try_from(count).unwrap_or(u32::MAX);
        let deadline = Instant::now() + time + self.patience;
        while packets < count || sent < count {
            if Instant::now() > deadline {
                return Err(self.silence("the other side's sound"));
            }
            tokio::select! {
                _ = ticks.tick() => {
                    let packet = self.stream.sound(Some(hertz));
                    self.utter(dialog, &packet).await?;
                    sent += usize::from(packets > 0);
                }
                samples = hear(&self.rtp) => {
                    let samples = samples?;
                    packets += usize::from(!samples.is_empty());
                    heard.extend(samples);
                }
            }
        }
        Ok(Heard { packets, tone: tones::strength(&heard, listen), prompt: tones::prompt_in(&heard) })
    }

    /// Listens in silence until the demonstration's prompt has come and is over. Returns how long it was.
    ///
    /// # Errors
    /// When none comes, or it does not end.
    pub async fn listen(&mut self, dialog: &Dialog) -> Result<Duration, PhoneError> {
        let mut length = Duration::ZERO;
        let mut ticks = ticks();
        let mut without = 0;
        let deadline = Instant::now() + self.patience;
        while length.is_zero() || without < PAUSE {
            if Instant::now() > deadline {
                return Err(self.silence("a prompt and its end"));
            }
            tokio::select! {
                _ = ticks.tick() => {
                    let packet = self.stream.sound(None);
                    self.utter(dialog, &packet).await?;
                }
                samples = hear(&self.rtp) => {
                    let prompt = tones::prompt_in(&samples?);
                    length += prompt;
                    without = if prompt.is_zero() { without + 1 } else { 0 };
                }
            }
        }
        self.report(Seen::Prompt { phone: self.label.clone(), length });
        Ok(length)
    }

    /// Presses a key (RFC 4733).
    ///
    /// # Errors
    /// When the other side did not agree to hear keys, or there is no such key.
    pub async fn press(&mut self, dialog: &Dialog, key: char) -> Result<(), PhoneError> {
        let mut sender = Sender::default();
        let Some(payload) = dialog.keys.filter(|_| sender.push(key)) else {
            return Err(PhoneError::Unexpected {
                phone: self.label.clone(),
                what: format!("telephone-event for key {key}"),
                got: "none".into(),
            });
        };
        self.report(Seen::Pressed { phone: self.label.clone(), key });
        let mut began = self.stream.header.timestamp;
        let mut ticks = ticks();
        while let Some(keyed) = sender.step() {
            if keyed.first {
                began = self.stream.header.timestamp;
            }
            ticks.tick().await;
            let packet = self.stream.event(payload, began, keyed.first, keyed.event.to_bytes());
            self.utter(dialog, &packet).await?;
        }
        Ok(())
    }

    async fn utter(&self, dialog: &Dialog, packet: &[u8]) -> Result<(), PhoneError> {
        if let Some(target) = dialog.sound {
            self.rtp.send_to(packet, target).await?;
        }
        Ok(())
    }
}

/// The next packet's samples; none where it is not G.711.
async fn hear(rtp: &UdpSocket) -> Result<Vec<f64>, PhoneError> {
    let mut buffer = [0u8; 2048];
    let (length, _) = rtp.recv_from(&mut buffer).await?;
    let packet = buffer.get(..length).and_then(Packet::parse);
    let law = |payload| [Law::Mu, Law::A].into_iter().find(|law| law.payload() == payload);
    let Some((packet, law)) = packet.and_then(|packet| Some((packet, law(packet.header.payload)?))) else {
        return Ok(Vec::new());
    };
    Ok(packet.data.iter().map(|code| f64::from(law.decode(*code))).collect())
}

fn ticks() -> Interval {
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfork_media::dtmf::Receiver;

    #[test]
    fn a_key_and_the_sound_around_it_are_one_stream() {
        let mut stream = Stream::new(7);
        let (mut sender, mut receiver, mut keys) = (Sender::default(), Receiver::default(), String::new());
        sender.push('2');
        let mut packets = vec![stream.sound(None)];
        let began = stream.header.timestamp;
        while let Some(keyed) = sender.step() {
            packets.push(stream.event(101, began, keyed.first, keyed.event.to_bytes()));
        }
        packets.push(stream.sound(Some(440.0)));
        for (packet, sequence) in packets.iter().zip(1..) {
            let packet = Packet::parse(packet).unwrap();
            assert_eq!((packet.header.sequence, packet.header.ssrc), (sequence, 7));
            if packet.header.payload == 101 {
                keys.extend(receiver.packet(&packet.header, packet.data));
            }
        }
        assert_eq!((packets.len(), keys.as_str()), (9, "2"));
        assert_eq!(Packet::parse(&packets[8]).unwrap().header.timestamp, 8 * 160);
    }
}
