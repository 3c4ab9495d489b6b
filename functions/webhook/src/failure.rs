//! What can go wrong with a request, by what its sender does about it.

use std::net::IpAddr;

/// Why a request did not end in a 2xx.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct Failure {
    /// The URL of the hop that failed, without credentials.
    pub url: String,
    /// Why.
    pub reason: Reason,
}

/// The reasons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not an absolute http or https URL.
    #[error("not an absolute http or https URL")]
    BadUrl,
    /// The address guard refused where it leads (RCML.md 3.2).
    #[error("leads to {0}, which is not a public address")]
    Refused(IpAddr),
    /// No name, no connection, no TLS.
    #[error("no connection: {0}")]
    NoConnection(String),
    /// Connected, but not done in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer was not HTTP, or broke off.
    #[error("the answer broke off or was not HTTP: {0}")]
    Protocol(String),
    /// An answer that is neither 2xx nor a redirect.
    #[error("answered {0}")]
    Status(u16),
    /// More than five redirects.
    #[error("more than {} redirects", crate::client::MAX_REDIRECTS)]
    TooManyRedirects,
    /// A redirect without a usable Location.
    #[error("redirects to nowhere")]
    BadRedirect,
    /// The body is longer than allowed.
    #[error("answered more than {0} bytes")]
    TooLarge(usize),
}
