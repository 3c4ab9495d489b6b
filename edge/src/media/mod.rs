//! The media shell: port pairs, and one thread that relays sound between bridged parties and plays what they
//! hear of us; beside it one that writes recordings.
//!
//! The core says what is wanted ([`MediaAction`]); [`Media`], on the core's thread, keeps what was said of sessions
//! that nobody needs to hear yet (ringing legs) and tells the thread only of those that do: a leg that loses the fork
//! costs the media thread nothing.

mod outgoing;
mod pace;
mod play;
mod pool;
mod recording;
mod relay;
pub mod source;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use ringfork_call::action::{Input, MediaAction, MediaId, Sound};
use ringfork_media::formats::Formats;
use tokio::sync::mpsc;

pub use pool::{PoolSizes, PortPair, PortPool, media_addresses};
pub use recording::whole_seconds;
pub use relay::{MediaCounters, RelaySettings};

use play::Player;
use relay::{Command, Relay, Waker};
use source::Sounds;

/// Commands that may wait for the media thread; beyond it a command is dropped and counted, which can only happen
/// when that thread has stood still for thousands of calls.
const COMMANDS: usize = 65_536;

/// What an SDP said, kept until a session is needed; see [`MediaAction::Peer`].
#[derive(Debug, Clone)]
pub struct Description {
    rtp: Option<SocketAddr>,
    signalling: IpAddr,
    send: bool,
    receive: bool,
    formats: Formats,
}

/// A session as the core's thread knows it.
struct Session {
    pair: Arc<PortPair>,
    peer: Option<Description>,
    /// The media thread has it.
    awake: bool,
}

/// The media shell's end on the core's thread.
pub struct Media {
    pool: PortPool,
    sessions: HashMap<MediaId, Session>,
    commands: SyncSender<Command>,
    waker: Waker,
    counters: Arc<MediaCounters>,
    sounds: Arc<dyn Sounds>,
    /// The media thread, and the recordings' writer, which ends after it.
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Media {
    /// Starts the thread. `inputs` takes [`Input::MediaSilent`].
    ///
    /// # Errors
    /// When the system gives no epoll, eventfd or thread.
    pub fn start(pool: PortPool, settings: RelaySettings, inputs: mpsc::Sender<Input>) -> std::io::Result<Self> {
        let (commands, receiver) = sync_channel(COMMANDS);
        let counters = settings.counters.clone();
        let sounds = settings.sounds.clone();
        let (relay, waker, writer) = Relay::new(settings, receiver, inputs)?;
        let thread = std::thread::Builder::new().name("media".into()).spawn(move || relay.run())?;
        let threads = vec![thread, writer];
        Ok(Media { pool, sessions: HashMap::new(), commands, waker, counters, sounds, threads })
    }

    /// Carries an action out.
    pub fn handle(&mut self, action: MediaAction) {
        match action {
            MediaAction::Open { media, port } => {
                if let Some(pair) = self.pool.pair(port) {
                    self.sessions.insert(media, Session { pair, peer: None, awake: false });
                }
            }
            MediaAction::Peer { media, rtp, signalling, send, receive, formats } => {
                let Some(session) = self.sessions.get_mut(&media) else { return };
                let description = Description { rtp, signalling, send, receive, formats };
                session.peer = Some(description.clone());
                if session.awake {
                    self.tell(Command::Peer { media, description });
                }
            }
            MediaAction::Bridge { a, b, a_to_b, b_to_a } => {
                if self.wake(a) && self.wake(b) {
                    self.tell(Command::Bridge { a, b, a_to_b, b_to_a });
                }
            }
            MediaAction::Unbridge { media } => {
                if self.is_awake(media) {
                    self.tell(Command::Unbridge { media });
                }
            }
            MediaAction::RingingTone { media, on } => {
                if on && self.wake(media) || self.is_awake(media) {
                    self.tell(Command::Tone { media, on });
                }
            }
            MediaAction::Attend { media } => {
                if self.wake(media) {
                    self.tell(Command::Attend { media });
                }
            }
            MediaAction::Play { media, play, sound, loops } => {
                if self.wake(media) {
                    let stream = play::open(&*self.sounds, &sound);
                    let player = Player::new(play, sound, stream, loops, self.sounds.clone());
                    self.tell(Command::Play { media, player: Box::new(player) });
                }
            }
            MediaAction::Stop { media } => {
                if self.is_awake(media) {
                    self.tell(Command::StopPlaying { media });
                }
            }
            MediaAction::Prepare { sound } => {
                if sound != Sound::Beep {
                    self.sounds.prepare(&sound);
                }
            }
            MediaAction::Key { media, key } => {
                if self.wake(media) {
                    self.tell(Command::Key { media, key });
                }
            }
            MediaAction::Record { recording, call, media, other, limits } => {
                // A session that is gone already: the recording begins and, with nobody to close it, ends at once.
                let there = self.wake(media);
                if let Some(other) = other {
                    self.wake(other);
                }
                self.tell(Command::Record { recording, call, media, other, limits });
                if !there {
                    self.tell(Command::StopRecording { recording });
                }
            }
            MediaAction::StopRecording { recording } => self.tell(Command::StopRecording { recording }),
            MediaAction::Close { media, .. } => {
                if self.sessions.remove(&media).is_some_and(|session| session.awake) {
                    self.tell(Command::Close { media });
                }
            }
        }
    }

    fn is_awake(&self, media: MediaId) -> bool {
        self.sessions.get(&media).is_some_and(|session| session.awake)
    }

    /// Gives the session to the thread; false: there is no such session.
    fn wake(&mut self, media: MediaId) -> bool {
        let Some(session) = self.sessions.get_mut(&media) else { return false };
        if !session.awake {
            session.awake = true;
            let (pair, peer) = (session.pair.clone(), session.peer.clone());
            self.tell(Command::Open { media, pair });
            if let Some(description) = peer {
                self.tell(Command::Peer { media, description });
            }
        }
        true
    }

    fn tell(&mut self, command: Command) {
        match self.commands.try_send(command) {
            Ok(()) => self.waker.wake(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.counters.commands_dropped.add(1),
        }
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        let _ = self.commands.try_send(Command::Stop);
        self.waker.wake();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
