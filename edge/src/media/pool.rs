//! The pool of RTP/RTCP port pairs: bound ahead of need and used again, so that a call costs no `bind`.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;

use ringfork_call::action::Ports;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::PortRange;

/// Kernel buffer of one media socket, bytes: some seconds of G.711. Sockets of ringing legs are not read, so a small
/// buffer also bounds what strangers can park there.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Ports given back are used again only after so many others, unless none is left: a former party's late packets
/// should not meet the next call.
const REST: usize = 128;
/// Ports that others hold are skipped, at most so many for one lease.
const SKIPS: usize = 512;

/// RTP and RTCP sockets of one IP version.
#[derive(Debug)]
pub struct Sockets {
    /// Whether they are IPv4.
    pub ipv4: bool,
    /// On the even port.
    pub rtp: UdpSocket,
    /// On the odd port above.
    pub rtcp: UdpSocket,
}

/// One even port and its neighbour, bound in each IP version that SIP listens on.
#[derive(Debug)]
pub struct PortPair {
    /// The even port.
    pub port: u16,
    /// One or two.
    pub sockets: Vec<Sockets>,
}

/// Sizes of the pool, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolSizes {
    /// Pairs lent to calls.
    pub leased: usize,
    /// Pairs bound, lent or not.
    pub bound: usize,
    /// Pairs that may be bound at most.
    pub limit: usize,
}

#[derive(Debug)]
struct Inner {
    addresses: Vec<IpAddr>,
    range: PortRange,
    /// Even ports that were never tried, or were busy: the next one to try.
    next: u16,
    /// How many ports of the range are left to try in this round.
    untried: usize,
    /// Bound, not lent; the one that rested longest in front.
    free: VecDeque<Arc<PortPair>>,
    leased: HashMap<u16, Arc<PortPair>>,
    bound: usize,
    limit: usize,
}

/// The pool. Clones share it; all live on the core's thread.
#[derive(Debug, Clone)]
pub struct PortPool(Rc<RefCell<Inner>>);

impl PortPool {
    /// A pool over `range`, bound at `addresses` (at most one of each IP version), with at most `limit` pairs, some of
    /// them bound at once. It starts at the pair that `start` falls on: servers that share a machine and a range meet
    /// less where each starts by chance.
    pub fn new(addresses: Vec<IpAddr>, range: PortRange, limit: usize, start: u16) -> Self {
        let pairs = usize::from(range.pairs());
        let limit = limit.min(pairs);
        let start = start % range.pairs().max(1);
        let mut inner = Inner {
            addresses,
            range,
            next: range.first.saturating_add(start.saturating_mul(2)),
            untried: pairs,
            free: VecDeque::new(),
            leased: HashMap::new(),
            bound: 0,
            limit,
        };
        for _ in 0..limit.min(REST) {
            let Some(pair) = inner.bind_next() else { break };
            inner.free.push_back(pair);
        }
        PortPool(Rc::new(RefCell::new(inner)))
    }

    /// The sockets behind a leased port.
    pub fn pair(&self, port: u16) -> Option<Arc<PortPair>> {
        self.0.borrow().leased.get(&port).cloned()
    }

    /// Its sizes.
    pub fn sizes(&self) -> PoolSizes {
        let inner = self.0.borrow();
        PoolSizes { leased: inner.leased.len(), bound: inner.bound, limit: inner.limit }
    }
}

impl Ports for PortPool {
    fn lease(&mut self) -> Option<u16> {
        let mut inner = self.0.borrow_mut();
        let rested = if inner.free.len() >= REST { inner.free.pop_front() } else { None };
        let pair = match rested {
            Some(pair) => pair,
            None => match inner.bind_next() {
                Some(pair) => pair,
                None => inner.free.pop_front()?,
            },
        };
        let port = pair.port;
        inner.leased.insert(port, pair);
        Some(port)
    }

    fn release(&mut self, port: u16) {
        let mut inner = self.0.borrow_mut();
        if let Some(pair) = inner.leased.remove(&port) {
            inner.free.push_back(pair);
        }
    }
}

impl Inner {
    /// Binds one more pair, skipping ports that others hold; `None` when the limit is reached or none can be had.
    fn bind_next(&mut self) -> Option<Arc<PortPair>> {
        if self.bound >= self.limit {
            return None;
        }
        for _ in 0..SKIPS {
            if self.untried == 0 {
                // What was busy in this round may be free by now: the next lease tries again from the start.
                self.untried = usize::from(self.range.pairs());
                return None;
            }
            let port = self.next;
            self.untried -= 1;
            self.next = match port.checked_add(2) {
                Some(next) if next < self.range.last => next,
                _ => self.range.first,
            };
            if self.is_ours(port) {
                continue;
            }
            if let Ok(pair) = bind_pair(&self.addresses, port) {
                self.bound += 1;
                return Some(Arc::new(pair));
            }
        }
        None
    }

    fn is_ours(&self, port: u16) -> bool {
        self.leased.contains_key(&port) || self.free.iter().any(|pair| pair.port == port)
    }
}

fn bind_pair(addresses: &[IpAddr], port: u16) -> std::io::Result<PortPair> {
    let sockets = addresses
        .iter()
        .map(|address| {
            Ok(Sockets {
                ipv4: address.is_ipv4(),
                rtp: bind(SocketAddr::new(*address, port))?,
                rtcp: bind(SocketAddr::new(*address, port.saturating_add(1)))?,
            })
        })
        .collect::<std::io::Result<Vec<_>>>()?;
    Ok(PortPair { port, sockets })
}

fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Where media sockets are bound for these SIP listeners: the listener's own address where an IP version has one,
/// the unspecified one where it has several.
pub fn media_addresses(listeners: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in listeners {
        match found.iter_mut().find(|known| known.is_ipv4() == address.is_ipv4()) {
            None => found.push(address),
            Some(known) if *known == address => {}
            Some(known) => {
                *known = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            }
        }
    }
    found
}

/// A loopback address of this process alone, for one test's ports: another run beside it binds the same ones elsewhere.
#[cfg(test)]
pub(super) fn address(host: u8) -> IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | high & 63, low, host).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn range(first: u16, last: u16) -> PortRange {
        format!("{first}-{last}").parse().unwrap()
    }

    /// DESIGN "Media"; RFC 3550 §11: even ports, the odd neighbour ours too, none lent twice, all come back.
    #[test]
    fn leases_are_even_distinct_and_come_back() {
        let mut pool = PortPool::new(vec![address(1)], range(21000, 21019), 100, 0);
        let leased: HashSet<u16> = std::iter::from_fn(|| pool.lease()).collect();
        assert_eq!(leased.len(), 10);
        assert!(leased.iter().all(|port| port % 2 == 0));
        assert_eq!(pool.sizes(), PoolSizes { leased: 10, bound: 10, limit: 10 });
        for port in &leased {
            assert!(UdpSocket::bind((address(1), port + 1)).is_err(), "the odd port is bound too");
            pool.release(*port);
            pool.release(*port);
        }
        assert_eq!(pool.sizes(), PoolSizes { leased: 0, bound: 10, limit: 10 });
        assert!(pool.lease().is_some());
    }

    #[test]
    fn a_busy_port_is_skipped() {
        let _held = UdpSocket::bind((address(2), 21003)).unwrap();
        let mut pool = PortPool::new(vec![address(2)], range(21000, 21007), 100, 0);
        let leased: Vec<u16> = std::iter::from_fn(|| pool.lease()).collect();
        assert_eq!(leased, [21000, 21004, 21006]);
    }

    #[test]
    fn no_more_pairs_than_the_limit_are_bound() {
        let mut pool = PortPool::new(vec![address(3)], range(21000, 21999), 3, 0);
        assert_eq!(std::iter::from_fn(|| pool.lease()).count(), 3);
    }

    #[test]
    fn one_address_a_version_or_the_unspecified_one() {
        let addresses = |list: &[&str]| media_addresses(list.iter().map(|text| text.parse().unwrap()));
        assert_eq!(addresses(&["127.0.0.1", "127.0.0.1"]), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(
            addresses(&["127.0.0.1", "10.0.0.1", "::1"]),
            ["0.0.0.0".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
        );
    }
}
