//! Silence of bridged parties, in a time of the test's own: what comes is real, when it comes is not.

use super::*;
use std::sync::atomic::AtomicU8;

use crate::media::PortPool;
use crate::media::source::NoSounds;
use ringfork_call::action::{Ports, RecordingEnd};
use ringfork_media::g711::Law;
use ringfork_media::rtp::Header;

const LIMIT: Duration = Duration::from_secs(300);
const RTP: &[u8] = b"\x80\0sound";
const RTCP: &[u8] = b"\x80\xc9report";

struct Bench {
    relay: Relay,
    pool: PortPool,
    inputs: mpsc::Receiver<Input>,
    /// Of this bench alone.
    address: IpAddr,
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
        Bench::recording_to(PathBuf::from("/nonexistent"))
    }

    fn recording_to(recordings: PathBuf) -> Bench {
        let (sender, inputs) = mpsc::channel(16);
        let (_commands, receiver) = std::sync::mpsc::sync_channel(1);
        let settings = RelaySettings {
            silence: LIMIT,
            trusted: Arc::new(|_| false),
            counters: Arc::default(),
            sounds: Arc::new(NoSounds),
            ringing: Ringing::Europe,
            recordings,
        };
        let (relay, ..) = Relay::new(settings, receiver, sender).unwrap();
        static BENCHES: AtomicU8 = AtomicU8::new(100);
        let address = crate::media::pool::address(BENCHES.fetch_add(1, Ordering::Relaxed));
        let pool = PortPool::new(vec![address], "22100-22199".parse().unwrap(), 50, 0);
        Bench { relay, pool, inputs, address, now: Instant::now(), _commands }
    }

    fn party(&mut self, id: u64) -> Party {
        let sockets = [0, 0].map(|port| UdpSocket::bind((self.address, port)).unwrap());
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
            signalling: self.address,
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
        party.sockets[stream].send_to(packet, (self.address, port)).unwrap();
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

/// docs/operations.md "Limits": a party that we attend (it hears a prompt, or its keys are waited for) and from which
/// nothing comes is reported too, from when we began to attend it; one that is neither attended nor bridged is not.
#[test]
fn silence_of_an_attended_party_is_reported() {
    let mut bench = Bench::start();
    let (prompted, ringing) = (bench.party(1), bench.party(2));
    assert_eq!(bench.pass(LIMIT * 2), []);
    bench.relay.obey(Command::Attend { media: prompted.media }, bench.now);
    assert_eq!(bench.pass(LIMIT - SILENCE_CHECK), []);
    bench.hear(&prompted, 1, RTCP);
    bench.relay.obey(Command::Attend { media: prompted.media }, bench.now);
    assert_eq!(bench.pass(LIMIT - SILENCE_CHECK), []);
    assert_eq!(bench.pass(LIMIT), [prompted.media], "{:?} is not attended", ringing.media);
}

/// Power at one frequency.
fn power(samples: &[i16], frequency: f64) -> f64 {
    let turn = std::f64::consts::TAU * frequency / 8000.0;
    let (mut x, mut y) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        x += f64::from(*sample) * (turn * at as f64).cos();
        y += f64::from(*sample) * (turn * at as f64).sin();
    }
    (x * x + y * y) / (samples.len() as f64).powi(2)
}

/// RCML.md 1.1 `record`: both parties of a bridge, one WAV.
#[test]
fn a_recording_has_both_parties() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::recording_to(folder.path().to_owned());
    let (a, b) = (bench.party(1), bench.party(2));
    for party in [&a, &b] {
        let description = Description {
            rtp: Some(party.sockets[0].local_addr().unwrap()),
            signalling: bench.address,
            send: true,
            receive: true,
            formats: Formats::plain(Law::Mu),
        };
        bench.relay.obey(Command::Peer { media: party.media, description }, bench.now);
    }
    bench.bridge(&a, &b);
    let recording = RecordingSid([0xab; 16]);
    let limits = RecordingLimits { max_seconds: 1, silence_seconds: None };
    let record = Command::Record { recording, call: CallSid([1; 16]), media: a.media, other: Some(b.media), limits };
    bench.relay.obey(record, bench.now);
    let mut step = 0u16;
    while !bench.relay.recordings.is_empty() {
        for (party, frequency) in [(&a, 400.0), (&b, 1300.0)] {
            let timestamp = u32::from(step) * 160;
            let header = Header { sequence: step, timestamp, ssrc: 99, ..Header::default() };
            let mut packet = header.to_bytes().to_vec();
            packet.extend((0..160).map(|at| {
                let turn = (f64::from(timestamp) + f64::from(at)) * std::f64::consts::TAU / 8000.0;
                Law::Mu.encode(((turn * frequency).sin() * 8000.0) as i16)
            }));
            bench.hear(party, 0, &packet);
        }
        step += 1;
        assert!(step < 1000, "it never ends");
        bench.now += Duration::from_millis(20);
        bench.relay.recordings.step(bench.now);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let input = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), bench.inputs.recv()).await });
    let Ok(Some(Input::Recorded { recording: sid, seconds: 1, end: RecordingEnd::Full })) = input else {
        panic!("{input:?}")
    };
    assert_eq!(sid, recording);
    let octets = std::fs::read(folder.path().join(format!("{recording}.wav"))).unwrap();
    assert_eq!(octets[..44], ringfork_media::wav::header(8000));
    let samples: Vec<i16> = octets[44..].chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    assert_eq!(samples.len(), 8000);
    let (first, second, neither) = (power(&samples, 400.0), power(&samples, 1300.0), power(&samples, 900.0));
    assert!(first > 50.0 * neither && second > 50.0 * neither, "{first} {second} {neither}");
    assert!(recording.to_string().starts_with("REabab"));
}
