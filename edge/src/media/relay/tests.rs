//! Silence of bridged parties, in a time of the test's own: what comes is real, when it comes is not.

use super::*;
use crate::media::PortPool;
use crate::media::source::NoSounds;
use ringfork_call::action::Ports;

const LIMIT: Duration = Duration::from_secs(300);
const SIGNALLING: &str = "127.77.3.1";
const RTP: &[u8] = b"\x80\0sound";
const RTCP: &[u8] = b"\x80\xc9report";

struct Bench {
    relay: Relay,
    pool: PortPool,
    inputs: mpsc::Receiver<Input>,
    now: Instant,
    /// The relay ends when its commands do, its recordings' writer when it does.
    _commands: std::sync::mpsc::SyncSender<Command>,
}

/// A party's sockets for RTP and RTCP, and its session's ports.
struct Party {
    media: MediaId,
    sockets: [UdpSocket; 2],
    port: u16,
}

impl Bench {
    fn start() -> Bench {
        let (sender, inputs) = mpsc::channel(16);
        let (_commands, receiver) = std::sync::mpsc::sync_channel(1);
        let settings = RelaySettings {
            silence: LIMIT,
            trusted: Arc::new(|_| false),
            counters: Arc::default(),
            sounds: Arc::new(NoSounds),
            ringing: Ringing::Europe,
            recordings: PathBuf::from("/nonexistent"),
        };
        let (relay, ..) = Relay::new(settings, receiver, sender).unwrap();
        let pool = PortPool::new(vec![SIGNALLING.parse().unwrap()], "22100-22199".parse().unwrap(), 50, 0);
        Bench { relay, pool, inputs, now: Instant::now(), _commands }
    }

    fn party(&mut self, id: u64) -> Party {
        let sockets = [0, 0].map(|port| UdpSocket::bind((SIGNALLING, port)).unwrap());
        let party = Party { media: MediaId(id), sockets, port: self.pool.lease().unwrap() };
        let pair = self.pool.pair(party.port).unwrap();
        self.relay.obey(Command::Open { media: party.media, pair }, self.now);
        self.peer(&party, true);
        party
    }

    /// An exchange with the party: a call that goes on, or one on hold.
    fn peer(&mut self, party: &Party, receive: bool) {
        let description = Description {
            rtp: Some(party.sockets[0].local_addr().unwrap()),
            signalling: SIGNALLING.parse().unwrap(),
            send: true,
            receive,
            formats: Formats::default(),
        };
        self.relay.obey(Command::Peer { media: party.media, description }, self.now);
    }

    fn bridge(&mut self, a: &Party, b: &Party) {
        let map = PayloadMap::default;
        self.relay.obey(Command::Bridge { a: a.media, b: b.media, a_to_b: map(), b_to_a: map() }, self.now);
    }

    /// The party sends RTP (0) or RTCP (1), and the relay reads it.
    fn hear(&mut self, party: &Party, stream: usize, packet: &[u8]) {
        let port = party.port + u16::try_from(stream).unwrap();
        party.sockets[stream].send_to(packet, (SIGNALLING, port)).unwrap();
        let slot = self.relay.by_id[&party.media];
        self.relay.read((slot as u64) << 2 | stream as u64, &mut [0; PACKET], self.now);
    }

    /// Lets time pass in steps of the relay's check; who was reported meanwhile, in order.
    fn pass(&mut self, time: Duration) -> Vec<MediaId> {
        let end = self.now + time;
        while self.now < end {
            self.now += SILENCE_CHECK;
            self.relay.look_for_silence(self.now);
        }
        let mut silent = Vec::new();
        while let Ok(input) = self.inputs.try_recv() {
            let Input::MediaSilent { media } = input else { panic!("{input:?}") };
            silent.push(media);
        }
        silent
    }
}

/// Issue 3, "neither RTP nor RTCP": RTCP alone keeps a party, and so does RTP; without both it is reported at the limit,
/// once.
#[test]
fn rtcp_alone_is_a_sign_of_life() {
    let mut bench = Bench::start();
    let (a, b, c, d) = (bench.party(1), bench.party(2), bench.party(3), bench.party(4));
    bench.bridge(&a, &b);
    bench.bridge(&c, &d);
    let step = LIMIT * 2 / 3;
    assert_eq!(bench.pass(step), []);
    for (party, stream, packet) in [(&a, 1, RTCP), (&c, 1, RTCP), (&b, 0, RTP)] {
        bench.hear(party, stream, packet);
    }
    assert_eq!(bench.pass(step), [d.media], "nothing came of it");
    bench.hear(&a, 1, RTCP);
    assert_eq!(bench.pass(step), [b.media, c.media]);
    assert_eq!(bench.pass(LIMIT), [a.media], "each once");
}

/// Issue 3, "not on hold": silence on hold does not count, and it counts anew afterwards, also after a report.
#[test]
fn silence_on_hold_does_not_count() {
    let mut bench = Bench::start();
    let (a, b) = (bench.party(1), bench.party(2));
    bench.bridge(&a, &b);
    bench.peer(&a, false);
    assert_eq!(bench.pass(LIMIT), [b.media]);
    bench.peer(&b, false);
    assert_eq!(bench.pass(LIMIT * 5), []);
    bench.peer(&a, true);
    bench.peer(&b, true);
    assert_eq!(bench.pass(LIMIT - SILENCE_CHECK), []);
    assert_eq!(bench.pass(SILENCE_CHECK), [a.media, b.media]);
}

/// Issue 3: both parties fell silent at once and the call of one goes on: its next bridge ends at the limit too.
#[test]
fn a_party_reported_before_is_reported_in_its_next_bridge() {
    let mut bench = Bench::start();
    let (caller, first, second) = (bench.party(1), bench.party(2), bench.party(3));
    bench.bridge(&caller, &first);
    assert_eq!(bench.pass(LIMIT), [caller.media, first.media]);
    bench.relay.obey(Command::Close { media: first.media }, bench.now);
    assert_eq!(bench.pass(LIMIT), [], "in no bridge");
    bench.bridge(&caller, &second);
    assert_eq!(bench.pass(LIMIT - SILENCE_CHECK), []);
    assert_eq!(bench.pass(SILENCE_CHECK), [caller.media, second.media]);
}
