//! Connections that the agent does not need.

use super::*;
use crate::adapters::{Stores, tests::services};
use crate::media::{MediaCounters, source::NoSounds};
use crate::recordings::{Files, Ledger};
use tokio::io::AsyncReadExt;

/// A core over one listener, and what ends it.
async fn core() -> (Core, SocketAddr, mpsc::Sender<()>) {
    let stores = Stores::memory();
    let folder = std::path::PathBuf::from("/nonexistent");
    let (recordings, _) = Ledger::new(stores.recordings.clone(), Files::new(folder.clone()), "AC0");
    let listeners = crate::net::bind_all(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listeners[0].address;
    let (stop, stopped) = mpsc::channel(1);
    let (load, asked) = CoreLoad::new();
    let settings = CoreSettings {
        agent: AgentConfig::new("ringfork.local", "AC0", [0; 32]),
        seed: [0; 32],
        bindings: Vec::new(),
        listeners,
        rtp_ports: "22200-22203".parse().unwrap(),
        pairs: 1,
        media: RelaySettings {
            silence: Duration::from_secs(300),
            trusted: Arc::new(|_| false),
            counters: Arc::new(MediaCounters::default()),
            sounds: Arc::new(NoSounds),
            ringing: ringfork_media::tone::Ringing::Europe,
            recordings: folder,
        },
        recordings,
        services: services(&stores).await,
        inputs: mpsc::channel(1).1,
        load,
        asked,
    };
    (Core::new(settings, stopped).unwrap(), address, stop)
}

/// Somebody connects: both ends of it.
async fn connect(core: &mut Core, address: SocketAddr) -> (TcpStream, TcpStream, SocketAddr) {
    let ours = TcpStream::connect(address).await.unwrap();
    let Some(StreamEvent::Accepted(stream, remote)) = core.stream_events.recv().await else { panic!() };
    (ours, stream, remote)
}

/// docs/operations.md "Limits": closed after 32 minutes of silence, and not before.
#[tokio::test]
async fn a_silent_connection_is_closed() {
    LocalSet::new()
        .run_until(async {
            let (mut core, address, _stop) = core().await;
            let (mut ours, stream, remote) = connect(&mut core, address).await;
            let start = tokio::time::Instant::now();
            core.accept(stream, remote, start);
            core.close_silent(start + SILENCE - Duration::from_secs(1), SILENCE);
            assert_eq!(core.streams.len(), 1);
            core.close_silent(start + SILENCE + Duration::from_secs(1), SILENCE);
            assert!(core.streams.is_empty());
            assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0, "the end of the stream");
        })
        .await;
}

/// docs/operations.md "Limits": where all places are taken, two minutes of silence free them; a young one keeps its own.
#[tokio::test]
async fn silent_connections_make_room() {
    LocalSet::new()
        .run_until(async {
            let (mut core, address, _stop) = core().await;
            core.streams.limit(1);
            let start = tokio::time::Instant::now();
            let mut phones = Vec::new();
            // The first finds room, the second comes too early, the third when the first was silent for long enough.
            for (after, taken) in [(0, 1), (60, 1), (121, 2)] {
                let (ours, stream, remote) = connect(&mut core, address).await;
                phones.push(ours);
                core.accept(stream, remote, start + Duration::from_secs(after));
                assert_eq!(core.streams.len(), 1);
                let numbers = core.streams.silent(start + SILENCE * 2, SILENCE).map(|flow| match flow {
                    Flow::Tcp { connection, .. } => *connection,
                    Flow::Udp { .. } => 0,
                });
                assert_eq!(numbers.collect::<Vec<_>>(), [taken]);
            }
            assert_eq!(phones[0].read(&mut [0; 1]).await.unwrap(), 0, "the end of the stream");
        })
        .await;
}
