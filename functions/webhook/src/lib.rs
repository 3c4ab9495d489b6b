//! The HTTP client for customers' URLs (RCML.md 3.2, 3.3): limits, redirects, cookies, signatures, address guard.
//!
//! A [`Download`] is a file that is read while it comes, under the same rules.
//!
//! One [`Client`] per process keeps the connections; one [`Request`] describes one logical request, whatever redirects
//! and second tries it takes; one [`Jar`] lives as long as a call. What can go wrong is a [`Failure`].

mod client;
mod clock;
mod download;
mod failure;
pub mod guard;
mod jar;
mod request;
pub mod signature;

pub use client::{Client, Config, is_sound};
pub use clock::{Clock, SystemClock};
pub use download::{Body, Download, DownloadLimits};
pub use failure::{Failure, Reason};
pub use jar::Jar;
pub use request::{Answer, AuthToken, Limits, Method, Request};

/// Makes rustls use ring, as every TLS client of this process must; call it first in `main`. Calling it again is fine.
pub fn install_crypto_provider() {
    // The error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
