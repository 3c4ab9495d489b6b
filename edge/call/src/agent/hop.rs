//! Where a request goes (RFC 3263, RFC 3261 §12.2.1.1): over the flow of a client, or along the route set and Contact of
//! a trunk, a peer or a `<Sip>`; and the streams that we open for that.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use ringfork_sip::flow::Flow;
use ringfork_sip::uri::Uri;

use super::config::Transport;
use super::core::{Core, Owner, Pending, Timer};
use super::timers::TimerId;
use crate::action::{Action, LogLevel, Ports, ResolvedTarget};

/// How long a stream may take to come up.
const CONNECT: Duration = Duration::from_secs(5);

/// How requests within a dialog find their way (DESIGN "SIP choices").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A client: over its flow.
    Flow,
    /// A trunk or peer: by route set and Contact.
    Follow,
    /// A `<Sip>`: the same under the address guard.
    Guarded,
}

/// A written request that waits for an address or a stream.
#[derive(Debug)]
pub struct Deferred {
    /// Where its dialog began: the socket to send from.
    pub flow: Flow,
    /// The request without Via.
    pub request: Bytes,
    /// Whom its outcome concerns.
    pub owner: Option<Owner>,
    /// An ACK makes no transaction.
    pub ack: bool,
}

/// What waits for a stream.
#[derive(Debug)]
pub enum Waiter {
    /// A request.
    Request(Box<Deferred>),
    /// The INVITE of a leg, which is written once the flow is known.
    Leg { call: super::slab::Key, leg: crate::control::signals::LegId },
}

#[derive(Debug)]
struct Opening {
    remote: SocketAddr,
    waiters: Vec<Waiter>,
    timer: Option<TimerId>,
}

/// Streams that we opened, by where they lead.
#[derive(Debug, Default)]
pub struct Streams {
    next: u64,
    open: HashMap<SocketAddr, Flow>,
    opening: HashMap<u64, Opening>,
}

impl Streams {
    /// How many are being opened.
    pub fn opening(&self) -> usize {
        self.opening.len()
    }

    /// Connection numbers of ours have the top bit set; those that the shell accepts do not.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next | 1 << 63
    }

    /// A stream ended.
    fn closed(&mut self, connection: u64) {
        self.open.retain(|_, flow| !matches!(flow, Flow::Tcp { connection: open, .. } if *open == connection));
    }
}

/// What is known of the way to a target.
pub enum Way {
    /// There it is.
    Known(Flow),
    /// A stream is being opened; the waiter was kept.
    Opening,
    /// We have no socket for it.
    None,
}

impl<P: Ports> Core<P> {
    /// Sends a request within a dialog. One that cannot be sent comes back in [`Core::failed`].
    pub fn send_routed(&mut self, route: Route, next_hop: &str, deferred: Deferred) {
        if route == Route::Flow {
            return if self.is_open(deferred.flow) {
                self.send_deferred(deferred.flow, deferred)
            } else {
                self.fail(deferred)
            };
        }
        let Ok(uri) = Uri::parse(next_hop) else { return self.fail(deferred) };
        let tcp = wants_tcp(&uri, deferred.flow.is_reliable());
        if let Some(ip) = uri.host().ip() {
            // An address that the first request went to has passed the guard.
            if route == Route::Follow || ip == deferred.flow.remote().ip().to_canonical() {
                let target = ResolvedTarget { address: SocketAddr::new(ip, uri.port().unwrap_or(5060)), tcp };
                return self.send_to(target, deferred);
            }
        }
        let host = host_text(&uri);
        let port = uri.port();
        let guard = route == Route::Guarded;
        let token = self.token(Pending::Route(Box::new(deferred)));
        self.actions.push_back(Action::Resolve { token, host, port, tcp, guard });
    }

    /// The addresses of a deferred request are known.
    pub fn route_resolved(&mut self, deferred: Deferred, targets: &[ResolvedTarget]) {
        match targets.first() {
            Some(target) => self.send_to(*target, deferred),
            None => self.fail(deferred),
        }
    }

    fn send_to(&mut self, target: ResolvedTarget, deferred: Deferred) {
        // A stream that the dialog began on serves as long as it is up and leads there.
        if target.tcp
            && deferred.flow.is_reliable()
            && self.is_open(deferred.flow)
            && deferred.flow.remote().ip() == target.address.ip()
        {
            return self.send_deferred(deferred.flow, deferred);
        }
        let prefer = match deferred.flow {
            Flow::Udp { local, .. } => Some(local),
            Flow::Tcp { .. } => None,
        };
        match self.way(target, prefer) {
            Some(flow) => self.send_deferred(flow, deferred),
            None if target.tcp => self.open_stream(target.address, Waiter::Request(Box::new(deferred))),
            None => self.fail(deferred),
        }
    }

    fn send_deferred(&mut self, flow: Flow, deferred: Deferred) {
        if deferred.ack {
            self.ack(flow, &deferred.request);
            return;
        }
        let Deferred { request, owner, .. } = deferred;
        let sent_by = self.sent_by(flow).to_string();
        match self.txns.request(self.now.instant, flow, &sent_by, &request) {
            Ok(key) => {
                if let Some(owner) = owner {
                    self.owners.insert(key, owner);
                }
            }
            Err(error) => self.unsent(owner, LogLevel::Error, format!("A request could not be sent: {error}")),
        }
        self.flush();
    }

    fn fail(&mut self, deferred: Deferred) {
        self.unsent(deferred.owner, LogLevel::Warn, "A request within a dialog has nowhere to go".to_owned());
    }

    /// A request did not leave: said with the call that it was for once its owner is told.
    fn unsent(&mut self, owner: Option<Owner>, level: LogLevel, why: String) {
        match owner {
            Some(owner) => self.failed.push_back(Unsent { owner, level, why }),
            None => self.log(level, None, why),
        }
    }

    /// The flow to a target, if there is one without opening a stream.
    fn way(&self, target: ResolvedTarget, prefer: Option<SocketAddr>) -> Option<Flow> {
        if target.tcp {
            return self.streams.open.get(&target.address).copied();
        }
        let local = prefer
            .filter(|local| local.is_ipv4() == target.address.is_ipv4())
            .or_else(|| self.config.listener_for(target.address.ip(), Transport::Udp))?;
        Some(Flow::Udp { local, remote: target.address })
    }

    /// The flow to a target of a leg; where a stream must be opened first the leg is told by [`Waiter::Leg`].
    pub fn way_for_leg(&mut self, target: ResolvedTarget, waiter: Waiter) -> Way {
        match self.way(target, None) {
            Some(flow) => Way::Known(flow),
            None if target.tcp => {
                self.open_stream(target.address, waiter);
                Way::Opening
            }
            None => Way::None,
        }
    }

    fn open_stream(&mut self, remote: SocketAddr, waiter: Waiter) {
        if let Some(opening) = self.streams.opening.values_mut().find(|opening| opening.remote == remote) {
            opening.waiters.push(waiter);
            return;
        }
        let connection = self.streams.number();
        let timer = Some(self.timers.set(self.now.instant + CONNECT, Timer::Connecting(connection)));
        self.streams.opening.insert(connection, Opening { remote, waiters: vec![waiter], timer });
        self.actions.push_back(Action::Connect { connection, remote });
    }

    /// A stream of ours is up. Returns the legs that waited for it; `None`: it is not awaited.
    pub fn stream_opened(&mut self, connection: u64, flow: Flow) -> Option<Vec<Waiter>> {
        let mut opening = self.streams.opening.remove(&connection)?;
        self.timers.clear(&mut opening.timer);
        self.streams.open.insert(opening.remote, flow);
        let mut legs = Vec::new();
        for waiter in opening.waiters {
            match waiter {
                Waiter::Request(deferred) => self.send_deferred(flow, *deferred),
                leg @ Waiter::Leg { .. } => legs.push(leg),
            }
        }
        Some(legs)
    }

    /// A stream ended, or could not be opened. Returns the legs that waited for it.
    pub fn stream_closed(&mut self, connection: u64) -> Vec<Waiter> {
        self.streams.closed(connection);
        let Some(mut opening) = self.streams.opening.remove(&connection) else { return Vec::new() };
        self.timers.clear(&mut opening.timer);
        let mut legs = Vec::new();
        for waiter in opening.waiters {
            match waiter {
                Waiter::Request(deferred) => self.fail(*deferred),
                leg @ Waiter::Leg { .. } => legs.push(leg),
            }
        }
        legs
    }
}

/// Whether a URI wants TCP; one that does not say goes as its dialog began.
fn wants_tcp(uri: &Uri<'_>, default: bool) -> bool {
    match uri.transport() {
        Some(transport) => !transport.eq_ignore_ascii_case("udp"),
        None => default,
    }
}

/// A URI's host without brackets.
pub fn host_text(uri: &Uri<'_>) -> String {
    match uri.host().ip() {
        Some(IpAddr::V6(v6)) => v6.to_string(),
        _ => uri.host().to_string(),
    }
}

/// A request that could not be sent: its owner is told as of a transport error.
#[derive(Debug)]
pub struct Unsent {
    /// Whom it concerns.
    pub owner: Owner,
    /// How grave that is.
    pub level: LogLevel,
    /// Why, for the log.
    pub why: String,
}

/// Those whose owners are not told yet.
pub type Failed = VecDeque<Unsent>;
