//! Plays one plan: the agent, its phones, the network between them, and the functions and store that answer it, in
//! virtual time.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfork_call::action::{
    Action, Application, BindingRecord, BindingWrite, ClientEntry, Input, MediaAction, MediaId, Now, NumberEntry,
    PlayError, PlayId, Ports, RecordingEnd, RecordingSid, ResolvedTarget, StoreError, Token,
};
use ringfork_call::agent::{Agent, AgentConfig, Listener, Transport, Trunk};
use ringfork_call::control::{Event, Write};
use ringfork_rcml::evaluation::{Outcome, Response};
use ringfork_rcml::program::{DocumentRef, Method, Step};
use ringfork_sip::flow::Flow;

use crate::callee::Callee;
use crate::caller::{Caller, Stage};
use crate::device::Device;
use crate::dice::Dice;
use crate::outside::{Fate, Moment, Nobody, Outside};
use crate::plan::Plan;
use crate::proof::{password, secret};
use crate::registering::{Registering, Task, What};
use crate::session::{Doing, Timer};
use crate::text::Text;
use crate::watch::registry::Rules;
use crate::watch::{Setup, Watch};

/// What a run showed.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// What went wrong, if anything.
    pub fault: Option<String>,
    /// The story of the run, one line a step; only where asked for.
    pub story: Vec<String>,
    /// Steps taken.
    pub steps: u64,
    /// What happened in it, of the things worth counting.
    pub reached: BTreeSet<&'static str>,
    /// When the edge was killed, if it was, milliseconds since the Unix epoch.
    pub killed_unix_ms: Option<u64>,
}

/// Wall clock at the start of every run.
pub const EPOCH_MS: u64 = 1_780_000_000_000;
/// Longest run: longer than any session timer or time limit that a plan can wait for.
const HORIZON: Duration = Duration::from_secs(5 * 3600);
/// Steps after which a run is said to spin.
const MOST_STEPS: u64 = 200_000;

#[derive(Default)]
struct PortBook {
    next: u16,
    lent: HashSet<u16>,
    fault: Option<String>,
}

#[derive(Clone, Default)]
struct CountedPorts(Rc<RefCell<PortBook>>);

impl Ports for CountedPorts {
    fn lease(&mut self) -> Option<u16> {
        let mut book = self.0.borrow_mut();
        let port = 20_000 + book.next * 2;
        book.next += 1;
        book.lent.insert(port);
        Some(port)
    }

    fn release(&mut self, port: u16) {
        let mut book = self.0.borrow_mut();
        if !book.lent.remove(&port) {
            book.fault = Some(format!("port {port} was given back and not lent"));
        }
    }
}

enum Happening {
    ToAgent { from: SocketAddr, bytes: Bytes },
    ToPhone { to: SocketAddr, bytes: Bytes },
    Wake { who: Who, timer: Timer },
    Answer(Box<Input>),
    Played { media: MediaId, play: PlayId, result: Result<(), PlayError> },
    Recorded { recording: RecordingSid, end: RecordingEnd },
    Stored { write: Box<Write>, token: Token, fails: bool },
    Bound { bindings: Vec<BindingWrite>, token: Token, fails: bool },
    Delivered { event: Arc<Event>, token: Token, accepted: bool },
    Silence(IpAddr),
    Start(usize),
    Tell(Box<dyn Fn() -> Input>),
    Task { device: usize, what: What },
    Unregister,
}

/// Who is woken or does something.
#[derive(Debug, Clone, Copy)]
enum Who {
    Caller(usize),
    Phone(usize),
    Device(usize),
}

struct World<'a> {
    agent: Agent<CountedPorts>,
    ports: CountedPorts,
    base: Instant,
    now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    happenings: HashMap<usize, Happening>,
    order: u64,
    dice: Dice,
    plan: Plan,
    phones: Vec<Callee>,
    callers: Vec<Caller>,
    devices: Vec<Device>,
    /// Connections of phones that are up, and those that have ended.
    streams: HashMap<SocketAddr, u64>,
    ended_streams: HashSet<SocketAddr>,
    /// When the last write of bindings that is under way will be done: the store does them in order.
    bound_until: Duration,
    edge: SocketAddr,
    watch: Watch,
    peers: HashMap<MediaId, IpAddr>,
    /// Recordings under way, and what they record.
    recordings: HashMap<RecordingSid, MediaId>,
    report: Report,
    tell: bool,
    outside: &'a mut dyn Outside,
    begins_unix_ms: u64,
}

/// One life of an edge: from its start until it is killed or nothing more happens.
pub struct Life<'a> {
    /// What happens in it.
    pub plan: Plan,
    /// What is not planned.
    pub dice: Dice,
    /// The registrations that it finds in its store; `None`: every phone of the plan.
    pub bindings: Option<Vec<BindingRecord>>,
    /// Wall clock at its start.
    pub begins_unix_ms: u64,
    /// Store and web server.
    pub outside: &'a mut dyn Outside,
    /// Keep its story.
    pub tell: bool,
}

/// Plays the run of this seed. `tell`: keep its story.
pub fn run(seed: u64, tell: bool) -> Report {
    let mut dice = Dice::new(seed);
    let mut plan = Plan::draw(&mut dice);
    // In a quarter of the runs the phones register themselves; the others are what they would be without these.
    let mut own = Dice::new(!seed);
    if own.chance(0.25) {
        plan.registering = Some(Registering::draw(&mut own, &mut plan));
    }
    live(Life { plan, dice, bindings: None, begins_unix_ms: EPOCH_MS, outside: &mut Nobody, tell })
}

/// Plays one life.
pub fn live(life: Life<'_>) -> Report {
    let tell = life.tell;
    let mut world = World::new(life);
    if tell {
        let plan = format!("{:#?}", world.plan);
        world.report.story.extend(plan.lines().map(str::to_owned));
    }
    let result = world.play().and_then(|()| world.leave());
    world.report.fault = result.err();
    world.report.reached = std::mem::take(&mut world.watch.reached);
    world.report
}

/// The registrations of every phone of a plan.
pub fn registrations(plan: &Plan) -> Vec<BindingRecord> {
    let devices = plan.clients.iter().enumerate();
    let devices = devices.flat_map(|(client, devices)| (0..devices.len()).map(move |device| (client, device)));
    devices
        .map(|(client, device)| {
            let address = phone_address(client, device);
            BindingRecord {
                aor: format!("c{client}"),
                key: format!("k{device}"),
                contact: format!("sip:c{client}@{address}"),
                contact_params: String::new(),
                flow: Flow::Udp { local: edge_address(), remote: address },
                path: Vec::new(),
                call_id: format!("r{client}-{device}"),
                cseq: 1,
                user_agent: None,
                expires_at: EPOCH_MS / 1000 + 86_400,
                stored_until: EPOCH_MS / 1000 + 90_000,
            }
        })
        .collect()
}

fn edge_address() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 5060)
}

fn phone_address(client: usize, device: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2 + client as u8, 1 + device as u8)), 5060)
}

impl<'a> World<'a> {
    fn new(life: Life<'a>) -> World<'a> {
        let Life { plan, mut dice, bindings, begins_unix_ms, outside, tell } = life;
        let edge = edge_address();
        let bindings = bindings.unwrap_or_else(|| match &plan.registering {
            Some(_) => Vec::new(),
            None => registrations(&plan),
        });
        let mut phones = Vec::new();
        for (client, devices) in plan.clients.iter().enumerate() {
            for (device, callee) in devices.iter().enumerate() {
                phones.push(Callee::new(phone_address(client, device), callee.clone()));
            }
        }
        let mut devices = Vec::new();
        for device in plan.registering.iter().flat_map(|registering| &registering.devices) {
            let address = phone_address(device.client, device.device);
            let elsewhere = phone_address(100 + device.client, device.device);
            let callee = plan.clients.get(device.client).and_then(|phones| phones.get(device.device));
            phones.extend(callee.map(|callee| Callee::new(elsewhere, callee.clone())));
            devices.push(Device::new(address, elsewhere, device.clone()));
        }
        let mut trunk = HashSet::new();
        for (index, target) in plan.trunk.iter().enumerate() {
            let address = trunk_address(index);
            trunk.insert(address);
            phones.push(Callee::new(address, target.clone()));
        }
        let mut config = AgentConfig::new("ringfork.local", format!("AC{}", "0".repeat(32)), [7; 32]);
        config.listeners = vec![Listener { address: edge, transport: Transport::Udp }];
        if plan.registering.is_some() {
            config.listeners.push(Listener { address: edge, transport: Transport::Tcp });
        }
        config.local_addresses = vec![edge.ip()];
        config.peers.extend("10.0.1.0/24".parse::<ipnet::IpNet>());
        config.trunk = Some(Trunk {
            uri: "sip:trunk.example".into(),
            user: Some("trunkuser".into()),
            password: Some("trunkpassword".into()),
            caller_id: Some("+15550000000".into()),
        });
        let ports = CountedPorts::default();
        let base = Instant::now();
        let now = Now { instant: base, unix_ms: begins_unix_ms };
        let agent = Agent::new(config, dice.seed(), ports.clone(), now, bindings);
        let callers: Vec<_> = (0u8..)
            .zip(&plan.callers)
            .map(|(index, caller)| {
                let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1 + index)), 5060);
                Caller::new(address, edge, &format!("100{index}"), caller.clone())
            })
            .collect();
        let dials = plan.documents.iter().filter_map(|(_, document)| document.program.as_ref());
        let dials = dials.flat_map(|program| &program.steps).filter_map(|step| match step {
            Step::Dial(dial) => Some(dial),
            _ => None,
        });
        let screens = dials.flat_map(|dial| &dial.nouns).filter_map(|noun| {
            let mark = noun.headers.first().map(|(_, mark)| mark.clone())?;
            Some((mark, noun.screening.as_ref()?.timeout))
        });
        let watch = Watch::new(Setup {
            callers: callers.iter().map(|caller| caller.address).collect(),
            phones: phones.iter().map(|phone| phone.address).collect(),
            trunk,
            screens: screens.collect(),
            speaks: (0..callers.len()).filter(|call| plan.speaks(*call)).collect(),
            slow_store: plan.store_fails > 0.0 || plan.store_delay > 1000,
            registering: plan.registering.as_ref().map(|registering| {
                let writes_fail = registering.fails > 0.0;
                (Rules { writes_fail, store_fails: writes_fail || registering.delay > 100 }, plan.clients.len())
            }),
        });
        World {
            agent,
            ports,
            base,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            happenings: HashMap::new(),
            order: 0,
            dice,
            plan,
            phones,
            callers,
            devices,
            streams: HashMap::new(),
            ended_streams: HashSet::new(),
            bound_until: Duration::ZERO,
            edge,
            watch,
            peers: HashMap::new(),
            recordings: HashMap::new(),
            report: Report::default(),
            tell,
            outside,
            begins_unix_ms,
        }
    }

    fn moment(&self) -> Now {
        Now { instant: self.base + self.now, unix_ms: self.begins_unix_ms + self.now.as_millis() as u64 }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.tell {
            let line = format!("{:10.3} {}", self.now.as_secs_f64(), line());
            self.report.story.push(line);
        }
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.order += 1;
        let id = self.order as usize;
        self.happenings.insert(id, happening);
        self.queue.push(Reverse((self.now + delay, self.order, id)));
    }

    /// Puts a datagram on the network, which may lose or double it; what a connection carries comes in order.
    fn travel(&mut self, phone: SocketAddr, make: impl Fn(Bytes) -> Happening, bytes: Bytes) {
        if self.streams.contains_key(&phone) {
            return self.after(Duration::from_millis(1), make(bytes));
        }
        let copies = if self.dice.chance(self.plan.loss) {
            0
        } else if self.dice.chance(self.plan.duplicate) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let micros = self.dice.between(100, self.plan.jitter * 1000);
            self.after(Duration::from_micros(micros), make(bytes.clone()));
        }
    }

    /// The outside sees this; afterwards the edge may be dead.
    fn show(&mut self, moment: Moment<'_>) -> Result<(), String> {
        let now = self.moment();
        if self.outside.sees(now, moment)? == Fate::Dies {
            self.report.killed_unix_ms = Some(now.unix_ms);
        }
        Ok(())
    }

    fn is_killed(&self) -> bool {
        self.report.killed_unix_ms.is_some()
    }

    /// What was under way to the store and to the customer when the edge was killed, in the order of its beginning.
    fn leave(&mut self) -> Result<(), String> {
        if !self.is_killed() {
            return Ok(());
        }
        self.tell(|| "the edge is killed".into());
        let now = self.moment();
        let mut left: Vec<_> = self.happenings.drain().collect();
        left.sort_by_key(|(id, _)| *id);
        for (_, happening) in left {
            match happening {
                Happening::Stored { write, .. } => self.outside.sees(now, Moment::WriteLeft(&write))?,
                Happening::Bound { bindings, .. } => self.outside.sees(now, Moment::BindingsLeft(&bindings))?,
                Happening::Delivered { event, .. } => self.outside.sees(now, Moment::EventLeft(&event))?,
                _ => continue,
            };
        }
        Ok(())
    }

    /// Until nothing more happens, or the edge is killed.
    fn play(&mut self) -> Result<(), String> {
        for index in 0..self.callers.len() {
            self.after(Duration::from_millis(self.plan.callers[index].starts), Happening::Start(index));
        }
        if let Some(at) = self.plan.drain {
            self.after(Duration::from_millis(at), Happening::Tell(Box::new(|| Input::Drain)));
        }
        if let Some(at) = self.plan.lease_lost {
            self.after(Duration::from_millis(at), Happening::Tell(Box::new(|| Input::Lease { held: false })));
            self.after(Duration::from_millis(at + 10_000), Happening::Tell(Box::new(|| Input::Lease { held: true })));
        }
        if let Some(registering) = self.plan.registering.clone() {
            for (device, plan) in registering.devices.into_iter().enumerate() {
                for Task { at, what } in plan.tasks {
                    self.after(Duration::from_millis(at), Happening::Task { device, what });
                }
            }
            if let Some((client, at)) = registering.deleted {
                let deleted = move || Input::ClientChanged { login: format!("c{client}"), deleted: true };
                self.after(Duration::from_millis(at), Happening::Tell(Box::new(deleted)));
            }
        }
        let mut quiet_since: Option<Duration> = None;
        let mut unregistered = false;
        loop {
            self.report.steps += 1;
            if self.report.steps > MOST_STEPS {
                return Err("the run spins".into());
            }
            let next = self.queue.peek().map(|Reverse((at, ..))| *at);
            let wake = self.agent.next_timeout().map(|at| at.saturating_duration_since(self.base));
            let at = match (next, wake) {
                (None, None) => break,
                (Some(next), None) => next,
                (None, Some(wake)) => wake,
                (Some(next), Some(wake)) => next.min(wake),
            };
            if at > HORIZON {
                break;
            }
            self.now = self.now.max(at);
            self.show(Moment::Between)?;
            if self.is_killed() {
                return Ok(());
            }
            if wake.is_some_and(|wake| wake <= self.now) {
                self.input(Input::Timeout)?;
            }
            if next.is_some_and(|next| next <= self.now)
                && let Some(Reverse((_, _, id))) = self.queue.pop()
                && let Some(happening) = self.happenings.remove(&id)
            {
                self.happen(happening)?;
            }
            if self.is_killed() {
                return Ok(());
            }
            // Once nothing is up, the devices are taken away (they are kept alive for ever otherwise), and what still
            // lingers must end by itself.
            let waiting = self.callers.iter().any(|caller| caller.stage == Stage::Calling && !caller.vanished)
                || self.devices.iter().any(|device| !device.is_done());
            if self.agent.gauges().calls == 0 && !waiting {
                let since = *quiet_since.get_or_insert(self.now);
                if !unregistered && self.now > since + Duration::from_secs(70) {
                    unregistered = true;
                    self.after(Duration::ZERO, Happening::Unregister);
                }
            } else {
                quiet_since = None;
            }
        }
        let gauges = self.agent.gauges();
        if (gauges.calls, gauges.legs, gauges.transactions, gauges.dialogs, gauges.leased_ports, gauges.waiting)
            != (0, 0, 0, 0, 0, 0)
        {
            return Err(format!("something is left: {gauges:?}"));
        }
        let book = self.ports.0.borrow();
        if let Some(fault) = &book.fault {
            return Err(fault.clone());
        }
        if !book.lent.is_empty() {
            return Err(format!("ports are left: {:?}", book.lent));
        }
        // Where nothing is lost, a challenged BYE comes again (RCML.md 1.2).
        if self.plan.loss == 0.0
            && let Some(call_id) = self.phones.iter().find_map(|phone| phone.left_up().next())
        {
            return Err(format!("{call_id}: its BYE was challenged and did not come again (RCML 1.2)"));
        }
        self.watch.finished()
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Start(index) => {
                let doing = self.callers[index].start();
                self.carry_out(Who::Caller(index), self.callers[index].address, doing);
            }
            Happening::Tell(make) => self.input(make())?,
            Happening::ToAgent { from, .. } if self.ended_streams.contains(&from) => {}
            Happening::Task { device, what } => self.task(device, what)?,
            Happening::ToAgent { from, bytes } => {
                self.watch.heard(from, &bytes, self.now, self.moment().unix_ms);
                self.tell(|| format!("{from} -> edge  {}", summary(&bytes)));
                let flow = match self.streams.get(&from) {
                    Some(connection) => Flow::Tcp { connection: *connection, local: self.edge, remote: from },
                    None => Flow::Udp { local: self.edge, remote: from },
                };
                self.input(Input::Packet { flow, payload: bytes })?;
            }
            Happening::ToPhone { to, .. } if self.ended_streams.contains(&to) => {}
            Happening::ToPhone { to, bytes } => {
                if let Some((who, doing)) = self.device_hears(to, &bytes) {
                    self.carry_out(who, to, doing);
                    return Ok(());
                }
                let (who, doing) = if let Some(index) = self.callers.iter().position(|caller| caller.address == to) {
                    (Who::Caller(index), self.callers[index].receive(&bytes)?)
                } else {
                    let Some(index) = self.phones.iter().position(|phone| phone.address == to) else { return Ok(()) };
                    (Who::Phone(index), self.phones[index].receive(&bytes)?)
                };
                self.carry_out(who, to, doing);
            }
            Happening::Wake { who, timer } => {
                let vanishes = timer == Timer::Vanish;
                let (address, doing) = match who {
                    Who::Caller(index) => (self.callers[index].address, self.callers[index].wake(timer)),
                    Who::Phone(index) => (self.phones[index].address, self.phones[index].wake(timer)),
                    Who::Device(index) => (self.devices[index].address, self.devices[index].wake(timer)),
                };
                if vanishes {
                    self.tell(|| format!("{address} vanishes"));
                    for round in 1..10 {
                        self.after(Duration::from_secs(300 * round), Happening::Silence(address.ip()));
                    }
                }
                self.carry_out(who, address, doing);
            }
            Happening::Answer(input) => self.input(*input)?,
            // Not what was stopped, replaced or closed meanwhile.
            Happening::Played { media, play, result } => {
                if self.watch.plays(media, play) {
                    self.input(Input::Played { media, play, result })?;
                }
            }
            Happening::Recorded { recording, end } => {
                if self.recordings.remove(&recording).is_some() {
                    let seconds = self.dice.pick(&[0, 1, 3]);
                    self.input(Input::Recorded { recording, seconds, end })?;
                }
            }
            Happening::Stored { write, token, fails } => {
                self.show(Moment::Written { write: &write, fails })?;
                if !fails {
                    self.watch.stored(&write)?;
                }
                let result = if fails { Err(StoreError::Unavailable) } else { Ok(()) };
                self.input(Input::Written { token, result })?;
            }
            Happening::Bound { bindings, token, fails } => {
                if !fails {
                    self.watch.bound(&bindings);
                    self.show(Moment::Bound(&bindings))?;
                }
                let result = if fails { Err(StoreError::Unavailable) } else { Ok(()) };
                self.input(Input::Written { token, result })?;
            }
            Happening::Delivered { event, token, accepted } => {
                self.show(Moment::Delivered { event: &event, accepted })?;
                self.input(Input::HandedOver { token, accepted })?;
            }
            Happening::Silence(ip) => {
                let silent: Vec<MediaId> = self
                    .peers
                    .iter()
                    .filter(|(_, peer)| **peer == ip)
                    .map(|(media, _)| *media)
                    .filter(|media| self.watch.is_bridged(*media) || self.watch.is_attended(*media))
                    .collect();
                for media in silent {
                    if !self.watch.is_bridged(media) {
                        self.watch.reached.insert("a party alone with us is silent");
                    }
                    self.input(Input::MediaSilent { media })?;
                }
            }
            Happening::Unregister => {
                for client in 0..self.plan.clients.len() {
                    self.input(Input::ClientChanged { login: format!("c{client}"), deleted: true })?;
                }
            }
        }
        Ok(())
    }

    /// What a device, rather than the phone at its address, has to say to this.
    fn device_hears(&mut self, to: SocketAddr, bytes: &[u8]) -> Option<(Who, Doing)> {
        let here = |device: &Device| device.address == to || device.elsewhere == to;
        let index = self.devices.iter().position(here)?;
        let text = Text::read(bytes)?;
        let device = &mut self.devices[index];
        match (text.method(), text.cseq().1) {
            (None, "REGISTER") => Some((Who::Device(index), device.receive(&text))),
            (Some("OPTIONS"), _) if self.now > Duration::from_millis(device.plan.lively_until) => {
                Some((Who::Device(index), Doing::default()))
            }
            _ => None,
        }
    }

    /// The time of a device's task has come.
    fn task(&mut self, index: usize, what: What) -> Result<(), String> {
        self.tell(|| format!("device {index}: {what:?}"));
        let device = &mut self.devices[index];
        let (address, stream) = (device.address, device.plan.stream);
        let closes = matches!(what, What::Close) && self.ended_streams.is_empty();
        if stream && !closes && matches!(what, What::Close | What::Move) {
            device.left -= 1;
            return Ok(());
        }
        let moves = matches!(what, What::Move);
        let doing = device.begin(what);
        if moves && self.agent.gauges().legs > 0 {
            self.watch.reached.insert("a phone moves while a call rings");
        }
        if closes && let Some(connection) = self.streams.remove(&address) {
            let device = &mut self.devices[index];
            device.cut_off();
            std::mem::swap(&mut device.address, &mut device.elsewhere);
            self.ended_streams.insert(address);
            self.watch.reached.insert("a phone's connection ends");
            self.watch.closed(address, self.now);
            self.input(Input::FlowClosed { connection })?;
        }
        let device = &self.devices[index];
        let from = device.address;
        if stream && !doing.sends.is_empty() {
            let next = 1 + self.order;
            self.streams.entry(from).or_insert(next);
        }
        self.carry_out(Who::Device(index), from, doing);
        Ok(())
    }

    fn carry_out(&mut self, who: Who, from: SocketAddr, doing: Doing) {
        for bytes in doing.sends {
            self.travel(from, |bytes| Happening::ToAgent { from, bytes }, bytes.into());
        }
        for (delay, timer) in doing.timers {
            self.after(Duration::from_millis(delay), Happening::Wake { who, timer });
        }
    }

    fn input(&mut self, input: Input) -> Result<(), String> {
        if self.is_killed() {
            return Ok(());
        }
        let now = self.moment();
        self.watch.told(&input, self.now);
        self.agent.handle(now, input);
        while let Some(action) = self.agent.poll_action() {
            self.show(Moment::Asked(&action))?;
            if self.is_killed() {
                return Ok(());
            }
            self.watch.said(&action, self.now, now.unix_ms)?;
            self.act(action);
        }
        self.watch.settled(self.now, now.unix_ms)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Transmit(transmit) => {
                let to = transmit.flow.remote();
                self.tell(|| format!("edge -> {to}  {}", summary(&transmit.payload)));
                self.travel(to, |bytes| Happening::ToPhone { to, bytes }, transmit.payload);
            }
            Action::Connect { connection, .. } => {
                self.answer(1, Input::FlowClosed { connection });
            }
            Action::Resolve { token, host, port, .. } => {
                let targets = match host.parse() {
                    Ok(ip) => vec![SocketAddr::new(ip, port.unwrap_or(5060))],
                    Err(_) => (0..self.plan.trunk.len()).map(trunk_address).collect(),
                };
                let targets = targets.into_iter().map(|address| ResolvedTarget { address, tcp: false }).collect();
                self.answer(1, Input::Resolved { token, targets: Ok(targets) });
            }
            Action::LookupClient { token, login } => {
                let known = login.strip_prefix('c').and_then(|number| number.parse::<usize>().ok());
                let entry = known.filter(|client| *client < self.plan.clients.len()).map(|_| ClientEntry {
                    ha1_md5: secret(false, &login, &password(&login)),
                    ha1_sha256: secret(true, &login, &password(&login)),
                    login,
                    voice: None,
                    enabled: true,
                });
                self.answer(2, Input::Client { token, result: Ok(entry) });
            }
            Action::LookupNumber { token, number } => {
                let call = number.strip_prefix("100").and_then(|call| call.parse::<usize>().ok());
                let entry = call.filter(|call| *call < self.callers.len()).map(|call| NumberEntry {
                    number,
                    voice: Some(Application {
                        document: DocumentRef { url: format!("http://web/voice/{call}"), method: Method::Post },
                        fallback: None,
                    }),
                });
                self.answer(2, Input::Number { token, result: Ok(entry) });
            }
            Action::WriteBindings { token, bindings } => {
                let (fails, most) = self
                    .plan
                    .registering
                    .as_ref()
                    .map_or((0.0, 0), |registering| (registering.fails, registering.delay));
                // Two milliseconds where nothing is planned.
                let (delay, fails) = match self.plan.registering {
                    Some(_) => (self.dice.between(0, most), self.dice.chance(fails)),
                    None => (2, false),
                };
                self.bound_until = self.bound_until.max(self.now + Duration::from_millis(delay));
                let delay = self.bound_until - self.now;
                self.after(delay, Happening::Bound { bindings, token, fails });
            }
            Action::WriteCall { token, write } => {
                self.tell(|| format!("write {write:?}"));
                let delay = Duration::from_millis(self.dice.between(0, self.plan.store_delay));
                let fails = self.dice.chance(self.plan.store_fails);
                self.after(delay, Happening::Stored { write: Box::new(write), token, fails });
            }
            Action::Evaluate { token, request } => {
                let plan = self.plan.document(&request.document.url);
                self.tell(|| format!("fetch {} for {}", request.document.url, request.call_sid));
                let outcome = plan.program.map_or(Outcome::Failed, Outcome::Program);
                let outcome = self.watch.refused_for_dial(request.purpose, outcome);
                let response = Response { outcome, cookies: request.cookies, notices: Vec::new() };
                let result = if plan.broken { Err("broken".to_owned()) } else { Ok(response) };
                self.answer(plan.delay, Input::Evaluated { token, result });
            }
            Action::Deliver { token, event } => {
                self.tell(|| format!("event {} {:?} of {}", event.sequence, event.kind, event.leg));
                let accepted = !self.dice.chance(self.plan.handover_fails);
                self.watch.handed_over(event.idempotency_key(), accepted);
                let delay = self.dice.between(1, 2000);
                self.after(Duration::from_millis(delay), Happening::Delivered { event, token, accepted });
            }
            Action::Media(media) => {
                self.tell(|| format!("{media:?}"));
                self.media(media);
            }
            Action::Log { message, .. } => self.tell(|| format!("log {message}")),
            Action::Notify { .. } | Action::Count { .. } | Action::Close { .. } | Action::Finished { .. } => {}
        }
    }

    /// What the media shell does, keys of the party included.
    fn media(&mut self, action: MediaAction) {
        match action {
            MediaAction::Peer { media, rtp: Some(rtp), .. } => drop(self.peers.insert(media, rtp.ip())),
            MediaAction::Attend { media } => {
                for _ in 0..self.dice.pick(&[0, 1, 1, 2, 6]) {
                    let key = self.dice.pick(&['1', '1', '2', '#', '5']);
                    let after = self.dice.between(0, 6000);
                    self.answer(after, Input::Digit { media, key });
                }
            }
            MediaAction::Play { media, play, loops, .. } => {
                let failed = PlayError { reason: "no sound".to_owned(), url: None, fetch: self.dice.chance(0.5) };
                let result = if self.dice.chance(0.1) { Err(failed) } else { Ok(()) };
                let after = self.dice.pick(&[0, 10, 500, 2500]);
                let ends = (loops > 0 || result.is_err()) && self.dice.chance(0.95);
                if ends {
                    self.after(Duration::from_millis(after), Happening::Played { media, play, result });
                }
            }
            MediaAction::Record { recording, media, .. } => {
                self.recordings.insert(recording, media);
                let end = self.dice.pick(&[RecordingEnd::Silence, RecordingEnd::Full, RecordingEnd::Failed]);
                if self.dice.chance(0.7) {
                    let after = Duration::from_millis(self.dice.between(0, 5000));
                    self.after(after, Happening::Recorded { recording, end });
                }
            }
            MediaAction::StopRecording { recording } => {
                self.after(Duration::from_millis(5), Happening::Recorded { recording, end: RecordingEnd::Stopped });
            }
            MediaAction::Close { media, .. } => {
                self.peers.remove(&media);
                let ended = self.recordings.iter().filter(|(_, recorded)| **recorded == media);
                let mut ended: Vec<_> = ended.map(|(recording, _)| *recording).collect();
                ended.sort_unstable();
                for recording in ended {
                    self.after(Duration::from_millis(5), Happening::Recorded { recording, end: RecordingEnd::Stopped });
                }
            }
            _ => {}
        }
    }

    fn answer(&mut self, milliseconds: u64, input: Input) {
        self.after(Duration::from_millis(milliseconds), Happening::Answer(Box::new(input)));
    }
}

fn trunk_address(index: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1 + index as u8)), 5060)
}

fn summary(bytes: &[u8]) -> String {
    Text::read(bytes).map_or_else(
        || String::from_utf8_lossy(bytes).into_owned(),
        |text| {
            let reason = text.get("Reason").map(|reason| format!("  Reason: {reason}")).unwrap_or_default();
            format!("{}  [{} {}]{reason}", text.start, text.call_id(), text.get("CSeq").unwrap_or_default())
        },
    )
}
