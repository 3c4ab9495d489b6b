//! Where a SIP host is: RFC 3263's SRV, then A and AAAA; a literal is itself. Under the address guard where asked.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use rand::RngExt;
use ringfork_call::action::{RefusedAddress, ResolvedTarget};

/// RFC 3261 §19.1.2.
const DEFAULT_PORT: u16 = 5060;
/// Targets handed to the core: more are never tried in time.
const TARGETS: usize = 8;

/// The resolver of this process.
pub struct Resolver {
    dns: Option<TokioResolver>,
    allow_private: bool,
}

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

impl Resolver {
    /// By the system's configuration; without one only literals resolve, and a warning says so.
    pub fn new(allow_private: bool) -> Self {
        let dns = TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
        if let Err(error) = &dns {
            tracing::warn!(%error, "host names cannot be resolved: only addresses work in SIP URIs");
        }
        Resolver { dns: dns.ok(), allow_private }
    }

    /// Best first; empty: nothing found. With `guard`, one refused address refuses the host: a name that leads to both
    /// public and private addresses is not to be trusted (RCML.md part 2, Sip).
    pub async fn resolve(
        &self,
        host: &str,
        port: Option<u16>,
        tcp: bool,
        guard: bool,
    ) -> Result<Vec<ResolvedTarget>, RefusedAddress> {
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let mut addresses = match (literal, port) {
            (Ok(address), port) => vec![SocketAddr::new(address, port.unwrap_or(DEFAULT_PORT))],
            (Err(_), Some(port)) => self.addresses(host, port).await,
            (Err(_), None) => self.services(host, tcp).await,
        };
        if guard
            && !self.allow_private
            && let Some(refused) = addresses.iter().find(|address| !ringfork_webhook::guard::is_public(address.ip()))
        {
            return Err(RefusedAddress(refused.ip()));
        }
        addresses.truncate(TARGETS);
        Ok(addresses.into_iter().map(|address| ResolvedTarget { address, tcp }).collect())
    }

    /// RFC 3263 §4.2: SRV, and where there is none the addresses of the host itself.
    async fn services(&self, host: &str, tcp: bool) -> Vec<SocketAddr> {
        let Some(dns) = &self.dns else { return Vec::new() };
        let name = format!("_sip._{}.{}.", if tcp { "tcp" } else { "udp" }, host.trim_end_matches('.'));
        let mut services = Vec::new();
        if let Ok(found) = dns.srv_lookup(name).await {
            for record in found.answers() {
                if let RData::SRV(srv) = &record.data {
                    services.push(Service {
                        priority: srv.priority,
                        weight: srv.weight,
                        port: srv.port,
                        target: srv.target.to_utf8(),
                    });
                }
            }
        }
        if services.is_empty() {
            return self.addresses(host, DEFAULT_PORT).await;
        }
        let mut addresses = Vec::new();
        for service in in_order(services, |total| rand::rng().random_range(0..=total)) {
            if addresses.len() >= TARGETS {
                break;
            }
            addresses.extend(self.addresses(&service.target, service.port).await);
        }
        addresses
    }

    async fn addresses(&self, host: &str, port: u16) -> Vec<SocketAddr> {
        let Some(dns) = &self.dns else { return Vec::new() };
        match dns.lookup_ip(host).await {
            Ok(found) => found.iter().map(|address| SocketAddr::new(address, port)).collect(),
            Err(error) => {
                tracing::debug!(host, %error, "a host has no address");
                Vec::new()
            }
        }
    }
}

/// RFC 2782: by priority; within one, by chance in proportion to weight. `pick(n)` gives a number from 0 to `n`.
fn in_order(mut services: Vec<Service>, mut pick: impl FnMut(u64) -> u64) -> Vec<Service> {
    // Zero weights first, so that they have a small chance.
    services.sort_by_key(|service| (service.priority, service.weight));
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(priority) = services.first().map(|service| service.priority) {
        let group = services.iter().take_while(|service| service.priority == priority);
        let total: u64 = group.clone().map(|service| u64::from(service.weight)).sum();
        let chosen = pick(total);
        let mut sum = 0;
        let place = group.clone().position(|service| {
            sum += u64::from(service.weight);
            sum >= chosen
        });
        ordered.push(services.remove(place.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, port: u16) -> Service {
        Service { priority, weight, port, target: "x.".into() }
    }

    /// RFC 2782: lower priority first, whatever the weight; all are kept.
    #[test]
    fn services_come_by_priority_then_weight() {
        let services = vec![service(20, 100, 1), service(10, 0, 2), service(10, 60, 3), service(10, 40, 4)];
        let ports = |pick: fn(u64) -> u64| -> Vec<u16> {
            in_order(services.clone(), pick).iter().map(|service| service.port).collect()
        };
        assert_eq!(ports(|_| 0), [2, 4, 3, 1]);
        assert_eq!(ports(|total| total), [3, 4, 2, 1]);
    }

    /// RFC 3263 §4: a literal is itself; RCML.md part 2, Sip: each address passes the guard.
    #[tokio::test]
    async fn literals_and_the_guard() {
        let resolver = Resolver { dns: None, allow_private: false };
        let found = resolver.resolve("192.168.0.1", None, false, false).await;
        assert_eq!(found, Ok(vec![ResolvedTarget { address: "192.168.0.1:5060".parse().unwrap(), tcp: false }]));
        let refused = resolver.resolve("192.168.0.1", None, false, true).await;
        assert_eq!(refused, Err(RefusedAddress("192.168.0.1".parse().unwrap())));
        let found = resolver.resolve("[2606:4700::1111]", Some(7), true, true).await;
        assert_eq!(found, Ok(vec![ResolvedTarget { address: "[2606:4700::1111]:7".parse().unwrap(), tcp: true }]));
        let open = Resolver { dns: None, allow_private: true };
        assert_eq!(open.resolve("127.0.0.1", None, false, true).await.unwrap().len(), 1);
    }
}
