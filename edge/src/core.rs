//! The core's thread: one loop that feeds the pure [`Agent`] with packets, answers and timeouts, and carries out what
//! it wants. Nothing here waits for a disk, a function or another thread.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use metrics::Counter;
use ringfork_call::action::{Action, BindingRecord, Input, LogLevel, MediaAction, Now};
use ringfork_call::agent::{Agent, AgentConfig};
use ringfork_sip::flow::{Flow, Transmit};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{Sleep, sleep_until};

use crate::adapters::Services;
use crate::config::PortRange;
use crate::media::{Media, PortPool, RelaySettings, media_addresses};
use crate::net::{Bound, DATAGRAM, SILENCE, SILENCE_WHEN_FULL, Sent, StreamEvent, Streams, UdpPort, metric};
use crate::recordings::Journal;

/// Datagrams taken from one socket before the other sources have their turn.
const BATCH: usize = 64;
/// Answers and stream messages taken in one turn.
const ANSWERS: usize = 256;
/// Between two looks at the sizes of the tables.
const PUBLISH: Duration = Duration::from_millis(200);
/// The same where somebody asked: counting takes a moment, however many ask.
const PUBLISH_ASKED: Duration = Duration::from_millis(10);
/// Between two looks for silent connections.
const SWEEP: Duration = Duration::from_secs(60);
/// The same where there is no room for a further one.
const MAKE_ROOM: Duration = Duration::from_secs(1);
/// Answers waiting for the core; whoever brings one more waits.
pub const INPUTS: usize = 65_536;
/// Stream messages waiting for the core; beyond it streams are not read.
const STREAM_EVENTS: usize = 1024;

/// What others may know of the core: for health, metrics and the drain. It is as old as a fifth of a second; who needs
/// what holds now calls [`CoreLoad::renewed`] first.
#[derive(Debug)]
pub struct CoreLoad {
    /// Calls that are not over.
    pub calls: AtomicUsize,
    /// Calls that are over and owe writes or callbacks.
    pub finishing: AtomicUsize,
    /// Legs under way or answered.
    pub legs: AtomicUsize,
    /// SIP transactions.
    pub transactions: AtomicUsize,
    /// Dialogs.
    pub dialogs: AtomicUsize,
    /// Registered bindings.
    pub bindings: AtomicUsize,
    /// Requests of the core that wait for an answer.
    pub waiting: AtomicUsize,
    /// Port pairs lent to calls.
    pub ports_leased: AtomicUsize,
    /// Port pairs bound.
    pub ports_bound: AtomicUsize,
    /// Port pairs that may be bound.
    pub ports_limit: AtomicUsize,
    /// Stream connections.
    pub streams: AtomicUsize,
    /// The core has stopped.
    pub stopped: AtomicBool,
    /// How often somebody asked for what holds now; up to which of them it was published; wakes the core.
    asked: AtomicU64,
    answered: watch::Sender<u64>,
    wake: mpsc::Sender<()>,
}

impl CoreLoad {
    /// Everything 0; the receiver is the core's.
    pub fn new() -> (Arc<CoreLoad>, mpsc::Receiver<()>) {
        // One is enough: the core answers all who asked until then.
        let (wake, woken) = mpsc::channel(1);
        let load = CoreLoad {
            calls: AtomicUsize::new(0),
            finishing: AtomicUsize::new(0),
            legs: AtomicUsize::new(0),
            transactions: AtomicUsize::new(0),
            dialogs: AtomicUsize::new(0),
            bindings: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            ports_leased: AtomicUsize::new(0),
            ports_bound: AtomicUsize::new(0),
            ports_limit: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            answered: watch::Sender::new(0),
            wake,
        };
        (Arc::new(load), woken)
    }

    /// Waits until the sizes are newer than this call, and than every input that was sent to the core before it: some
    /// milliseconds. False: the core has stopped, or had not come to it in this time.
    pub async fn renewed(&self, within: Duration) -> bool {
        let ask = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if let Err(mpsc::error::TrySendError::Closed(())) = self.wake.try_send(()) {
            return false;
        }
        let mut answered = self.answered.subscribe();
        let answer = answered.wait_for(|answered| *answered >= ask);
        tokio::select! {
            answer = tokio::time::timeout(within, answer) => answer.is_ok_and(|answer| answer.is_ok()),
            () = self.wake.closed() => false,
        }
    }
}

/// What the core's thread starts with.
pub struct CoreSettings {
    /// The agent's configuration.
    pub agent: AgentConfig,
    /// Seed of its randomness.
    pub seed: [u8; 32],
    /// Bindings that the store held.
    pub bindings: Vec<BindingRecord>,
    /// The SIP listeners.
    pub listeners: Vec<Bound>,
    /// `--rtp-ports`.
    pub rtp_ports: PortRange,
    /// Port pairs that may be bound at most (descriptors).
    pub pairs: usize,
    /// The media thread's settings.
    pub media: RelaySettings,
    /// Who writes down what is recorded.
    pub recordings: Journal,
    /// Everything outside.
    pub services: Arc<Services>,
    /// The core's queue; its sender is `services.inputs`.
    pub inputs: mpsc::Receiver<Input>,
    /// To be kept up to date, and who wakes the core for it.
    pub load: Arc<CoreLoad>,
    /// As [`CoreLoad::new`] gave it.
    pub asked: mpsc::Receiver<()>,
}

/// The core's thread.
pub struct CoreThread {
    stop: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl CoreThread {
    /// Starts it; returns once it listens.
    ///
    /// # Errors
    /// When the system gives no thread, reactor or epoll.
    pub fn start(settings: CoreSettings) -> io::Result<CoreThread> {
        let (stop, stopped) = mpsc::channel(1);
        let (up, is_up) = std::sync::mpsc::channel();
        let load = settings.load.clone();
        let thread = std::thread::Builder::new().name("core".into()).spawn(move || {
            let result = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let result = result.and_then(|runtime| {
                LocalSet::new().block_on(&runtime, async move {
                    let core = Core::new(settings, stopped)?;
                    let _ = up.send(Ok(()));
                    core.run().await;
                    Ok(())
                })
            });
            if let Err(error) = result {
                // The sender is gone with a failed start: then `is_up` sees the closed channel.
                tracing::error!(%error, "the core cannot run");
            }
            load.stopped.store(true, Ordering::Relaxed);
        })?;
        match is_up.recv() {
            Ok(result) => result.map(|()| CoreThread { stop, thread }),
            Err(_) => Err(io::Error::other("the core did not start: see the log")),
        }
    }

    /// Ends it at once, whatever is up.
    pub fn stop(self) {
        let _ = self.stop.try_send(());
        let _ = self.thread.join();
    }
}

struct Core {
    agent: Agent<PortPool>,
    udp: Vec<UdpPort>,
    streams: Streams,
    stream_events: mpsc::Receiver<StreamEvent>,
    media: Media,
    pool: PortPool,
    recordings: Journal,
    services: Arc<Services>,
    inputs: mpsc::Receiver<Input>,
    stop: mpsc::Receiver<()>,
    /// Answers that were there at once, and what polling took from the queues.
    ready: VecDeque<Input>,
    stream_ready: VecDeque<StreamEvent>,
    counters: HashMap<(&'static str, &'static str), Counter>,
    received: Counter,
    sent: Counter,
    load: Arc<CoreLoad>,
    /// Something happened since the load was published.
    stale: bool,
    /// When room for connections was last made.
    made_room: tokio::time::Instant,
    /// Somebody asks for the load; up to which of them it was answered.
    asked: mpsc::Receiver<()>,
    answered: u64,
}

impl Core {
    fn new(settings: CoreSettings, stop: mpsc::Receiver<()>) -> io::Result<Core> {
        let addresses = media_addresses(settings.listeners.iter().map(|listener| listener.address.ip()));
        let pool = PortPool::new(addresses, settings.rtp_ports, settings.pairs, rand::random());
        let media = Media::start(pool.clone(), settings.media, settings.services.inputs.clone())?;
        let (sender, stream_events) = mpsc::channel(STREAM_EVENTS);
        let streams = Streams::new(sender);
        let mut udp = Vec::with_capacity(settings.listeners.len());
        for listener in settings.listeners {
            udp.push(UdpPort::new(listener.udp)?);
            streams.listen(listener.tcp)?;
        }
        let agent = Agent::new(settings.agent, settings.seed, pool.clone(), now(), settings.bindings);
        Ok(Core {
            agent,
            udp,
            streams,
            stream_events,
            media,
            pool,
            recordings: settings.recordings,
            services: settings.services,
            inputs: settings.inputs,
            stop,
            ready: VecDeque::new(),
            stream_ready: VecDeque::new(),
            counters: HashMap::new(),
            received: metrics::counter!("ringfork_sip_received_total"),
            sent: metrics::counter!("ringfork_sip_sent_total"),
            load: settings.load,
            stale: true,
            made_room: tokio::time::Instant::now(),
            asked: settings.asked,
            answered: 0,
        })
    }

    async fn run(mut self) {
        let mut buffer = Box::new([0u8; DATAGRAM]);
        let sleep = sleep_until(tokio::time::Instant::now());
        tokio::pin!(sleep);
        let mut armed: Option<Instant> = None;
        let mut published = Instant::now();
        let mut swept = published;
        // A new agent may have something to say already (bindings to probe).
        self.drain();
        loop {
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.close_silent(swept.into(), SILENCE);
            }
            let mut due = self.agent.next_timeout();
            if !self.streams.is_empty() {
                due = Some(due.map_or(swept + SWEEP, |due| due.min(swept + SWEEP)));
            }
            // Counting calls takes a moment where there are many: a few times a second is enough.
            let asked = self.asked_for();
            let next = published + if asked.is_some() { PUBLISH_ASKED } else { PUBLISH };
            if Instant::now() >= next {
                self.publish(asked);
                published = Instant::now();
                self.stale = false;
            } else if self.stale || asked.is_some() {
                due = Some(due.map_or(next, |due| due.min(next)));
            }
            if due != armed {
                armed = due;
                if let Some(due) = due {
                    sleep.as_mut().reset(due.into());
                }
            }
            if !poll_fn(|context| self.poll(context, sleep.as_mut(), armed.is_some())).await {
                return;
            }
            self.stale |= self.turn(&mut buffer);
        }
    }

    /// Ready when there is something to do; false: the end.
    fn poll(&mut self, context: &mut Context<'_>, sleep: Pin<&mut Sleep>, armed: bool) -> Poll<bool> {
        if self.stop.poll_recv(context).is_ready() {
            return Poll::Ready(false);
        }
        let mut something = !self.ready.is_empty() || !self.stream_ready.is_empty();
        for port in &mut self.udp {
            something |= port.poll_ready(context).is_ready();
        }
        if let Poll::Ready(Some(input)) = self.inputs.poll_recv(context) {
            self.ready.push_back(input);
            something = true;
        }
        something |= self.asked.poll_recv(context).is_ready();
        if let Poll::Ready(Some(event)) = self.stream_events.poll_recv(context) {
            self.stream_ready.push_back(event);
            something = true;
        }
        something |= armed && sleep.poll(context).is_ready();
        if something { Poll::Ready(true) } else { Poll::Pending }
    }

    /// A bounded share of everything that waits; whether there was anything.
    fn turn(&mut self, buffer: &mut [u8; DATAGRAM]) -> bool {
        let mut something = self.time_out();
        for index in 0..self.udp.len() {
            for _ in 0..BATCH {
                let Some((flow, payload)) = self.udp.get(index).and_then(|port| port.receive(buffer)) else { break };
                self.received.increment(1);
                self.feed(Input::Packet { flow, payload });
                something = true;
            }
        }
        for _ in 0..ANSWERS {
            let Some(input) = self.ready.pop_front().or_else(|| self.inputs.try_recv().ok()) else { break };
            self.feed(input);
            something = true;
        }
        for _ in 0..ANSWERS {
            let Some(event) = self.stream_ready.pop_front().or_else(|| self.stream_events.try_recv().ok()) else {
                break;
            };
            self.stream_event(event);
            something = true;
        }
        something
    }

    fn time_out(&mut self) -> bool {
        let now = now();
        let due = self.agent.next_timeout().is_some_and(|due| due <= now.instant);
        if due {
            self.agent.handle(now, Input::Timeout);
            self.drain();
        }
        due
    }

    fn feed(&mut self, input: Input) {
        if let Input::Recorded { recording, seconds, .. } = &input {
            self.recordings.ended(*recording, *seconds, now().unix_ms);
        }
        self.agent.handle(now(), input);
        self.drain();
    }

    fn stream_event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Accepted(stream, remote) => self.accept(stream, remote, tokio::time::Instant::now()),
            StreamEvent::Opened(connection, stream) => match self.streams.opened(connection, stream) {
                Some(flow) => self.feed(Input::Connected { connection, flow }),
                None => self.feed(Input::FlowClosed { connection }),
            },
            StreamEvent::Message(flow, payload) => {
                self.received.increment(1);
                self.feed(Input::Packet { flow, payload });
            }
            StreamEvent::Unframed(flow, head) => self.feed(Input::Unframed { flow, head }),
            StreamEvent::Closed(connection) => {
                self.streams.close(connection);
                self.feed(Input::FlowClosed { connection });
            }
        }
    }

    fn accept(&mut self, stream: TcpStream, remote: SocketAddr, now: tokio::time::Instant) {
        if self.streams.is_full() && now.saturating_duration_since(self.made_room) >= MAKE_ROOM {
            self.made_room = now;
            self.close_silent(now, SILENCE_WHEN_FULL);
        }
        if !self.streams.accept(stream, remote) {
            self.count(metric::STREAM_REFUSED, "limit", 1);
        }
    }

    /// Closes connections that were silent for so long and that the agent does not need.
    fn close_silent(&mut self, now: tokio::time::Instant, limit: Duration) {
        let needless = |flow: &&Flow| !self.agent.needs(flow);
        let silent: Vec<Flow> = self.streams.silent(now, limit).filter(needless).copied().collect();
        for flow in silent {
            if let Flow::Tcp { connection, .. } = flow {
                self.count(metric::STREAM_REFUSED, "silent", 1);
                self.streams.close(connection);
                self.feed(Input::FlowClosed { connection });
            }
        }
    }

    /// Carries out everything that the agent wants, in order.
    fn drain(&mut self) {
        while let Some(action) = self.agent.poll_action() {
            match action {
                Action::Transmit(transmit) => self.transmit(transmit),
                Action::Media(action) => {
                    if let MediaAction::Record { recording, call, .. } = &action {
                        self.recordings.began(*recording, *call, now().unix_ms);
                    }
                    self.media.handle(action);
                }
                Action::Connect { connection, remote } => self.streams.connect(connection, remote),
                Action::Close { flow } => {
                    if let Flow::Tcp { connection, .. } = flow {
                        self.streams.close(connection);
                    }
                }
                Action::Count { metric, label, by } => self.count(metric, label, by),
                Action::Log { level, call, message } => log(level, call, &message),
                other => self.services.perform(other, &mut self.ready),
            }
        }
    }

    fn transmit(&mut self, Transmit { flow, payload }: Transmit) {
        self.sent.increment(1);
        match flow {
            Flow::Udp { local, remote } => {
                // A binding from before a restart may name a port of then: any of the same family reaches the device.
                let exact = self.udp.iter().position(|port| port.local() == local);
                let place =
                    exact.or_else(|| self.udp.iter().position(|port| port.local().is_ipv4() == remote.is_ipv4()));
                let sent = place.and_then(|place| self.udp.get_mut(place)).map(|port| port.send(payload, remote));
                match sent {
                    Some(Sent::Yes) => {}
                    Some(Sent::Full) => self.count(metric::UDP_UNSENT, "full", 1),
                    Some(Sent::Refused) => self.count(metric::UDP_UNSENT, "refused", 1),
                    None => self.count(metric::UDP_UNSENT, "no_listener", 1),
                }
            }
            Flow::Tcp { connection, .. } => {
                if !self.streams.send(connection, payload) {
                    self.count(metric::STREAM_REFUSED, "write", 1);
                }
            }
        }
    }

    fn count(&mut self, metric: &'static str, label: &'static str, by: u64) {
        let counter = self.counters.entry((metric, label)).or_insert_with(|| {
            let name = format!("ringfork_{metric}");
            if label.is_empty() { metrics::counter!(name) } else { metrics::counter!(name, "kind" => label) }
        });
        counter.increment(by);
    }

    /// Who asks for the load and can be answered: not before all that was told to the core is done.
    fn asked_for(&self) -> Option<u64> {
        let asked = self.load.asked.load(Ordering::SeqCst);
        (asked > self.answered && self.ready.is_empty() && self.inputs.is_empty()).then_some(asked)
    }

    fn publish(&mut self, asked: Option<u64>) {
        let gauges = self.agent.gauges();
        let pool = self.pool.sizes();
        let load = &self.load;
        for (place, value) in [
            (&load.calls, gauges.calls),
            (&load.finishing, gauges.finishing),
            (&load.legs, gauges.legs),
            (&load.transactions, gauges.transactions),
            (&load.dialogs, gauges.dialogs),
            (&load.bindings, gauges.bindings),
            (&load.waiting, gauges.waiting),
            (&load.ports_leased, pool.leased),
            (&load.ports_bound, pool.bound),
            (&load.ports_limit, pool.limit),
            (&load.streams, self.streams.len()),
        ] {
            place.store(value, Ordering::Relaxed);
        }
        if let Some(asked) = asked {
            self.answered = asked;
            self.load.answered.send_replace(asked);
        }
    }
}

/// Both clocks.
pub fn now() -> Now {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
}

fn log(level: LogLevel, call: Option<ringfork_call::control::CallSid>, message: &str) {
    macro_rules! line {
        ($level:ident) => {
            match call {
                Some(call) => tracing::$level!(target: "ringfork::call", %call, "{message}"),
                None => tracing::$level!(target: "ringfork::call", "{message}"),
            }
        };
    }
    match level {
        LogLevel::Error => line!(error),
        LogLevel::Warn => line!(warn),
        LogLevel::Info => line!(info),
        LogLevel::Debug => line!(debug),
    }
}

#[cfg(test)]
mod tests;
