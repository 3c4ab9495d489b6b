//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760; RFC 2617 where a phone has no `qop`), both sides.
//!
//! [`Server`] writes challenges with stateless nonces and judges [`Credentials`]; [`Client`] answers the challenges of
//! a trunk. Passwords are never kept on the server side: it is given HA1 values, per user and realm. Time and
//! randomness are arguments; secrets are compared in constant time and never shown by `Debug`.

mod client;
mod header;
mod nonce;
mod replay;
mod server;

pub use client::{Attempt, Client, ClientError};
pub use header::{Challenge, Credentials, challenges, credentials};
pub use server::{Offer, Secrets, Server, Verdict};

use md5::Md5;
use sha2::Sha256;
use smallvec::SmallVec;

/// A hash function of RFC 7616 that we have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// MD5 (RFC 2617).
    Md5,
    /// SHA-256 (RFC 8760).
    Sha256,
}

/// An `algorithm` value: a hash, and whether it is the `-sess` variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithm {
    /// The hash.
    pub hash: Hash,
    /// `-sess`: HA1 is mixed with nonce and cnonce (RFC 7616 §3.4.2). Understood, never asked for.
    pub session: bool,
}

impl Algorithm {
    /// Plain MD5, which a missing `algorithm` means too (RFC 7616 §3.3).
    pub const MD5: Algorithm = Algorithm { hash: Hash::Md5, session: false };
    /// Plain SHA-256.
    pub const SHA_256: Algorithm = Algorithm { hash: Hash::Sha256, session: false };

    /// Reads a value, in any case; `None` for one that we do not have.
    pub fn parse(text: &str) -> Option<Algorithm> {
        [
            Algorithm::MD5,
            Algorithm::SHA_256,
            Algorithm { hash: Hash::Md5, session: true },
            Algorithm { hash: Hash::Sha256, session: true },
        ]
        .into_iter()
        .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }

    /// Its value as registered.
    pub fn as_str(self) -> &'static str {
        match (self.hash, self.session) {
            (Hash::Md5, false) => "MD5",
            (Hash::Md5, true) => "MD5-sess",
            (Hash::Sha256, false) => "SHA-256",
            (Hash::Sha256, true) => "SHA-256-sess",
        }
    }
}

/// A hash in lower-case hex: 32 or 64 digits.
pub(crate) type HexDigest = SmallVec<[u8; 64]>;

impl Hash {
    /// The hash of the parts joined by colons, in hex.
    pub(crate) fn of(self, parts: &[&[u8]]) -> HexDigest {
        fn run<D: sha2::Digest>(parts: &[&[u8]]) -> HexDigest {
            let mut hasher = D::new();
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    hasher.update(b":");
                }
                hasher.update(part);
            }
            hex_digits(&hasher.finalize())
        }
        match self {
            Hash::Md5 => run::<Md5>(parts),
            Hash::Sha256 => run::<Sha256>(parts),
        }
    }
}

pub(crate) fn hex_digits(octets: &[u8]) -> HexDigest {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    octets.iter().flat_map(|octet| [octet >> 4, octet & 15]).map(|nibble| DIGITS[usize::from(nibble)]).collect()
}

/// HA1 of RFC 7616 §3.4.2 in lower-case hex: what is kept of a password.
pub fn ha1(hash: Hash, user: &str, realm: &str, password: &str) -> String {
    let digits = hash.of(&[user.as_bytes(), realm.as_bytes(), password.as_bytes()]);
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// The `response` of RFC 7616 §3.4.1 in hex. `quality` is nc, cnonce and qop as sent; without it RFC 2069's form.
pub(crate) fn response(
    algorithm: Algorithm,
    ha1: &[u8],
    nonce: &str,
    cnonce: &str,
    quality: Option<(&str, &str)>,
    method: &str,
    uri: &str,
) -> HexDigest {
    let hash = algorithm.hash;
    let ha2 = hash.of(&[method.as_bytes(), uri.as_bytes()]);
    let mixed;
    let ha1 = if algorithm.session {
        mixed = hash.of(&[ha1, nonce.as_bytes(), cnonce.as_bytes()]);
        mixed.as_slice()
    } else {
        ha1
    };
    match quality {
        Some((nc, qop)) => {
            hash.of(&[ha1, nonce.as_bytes(), nc.as_bytes(), cnonce.as_bytes(), qop.as_bytes(), ha2.as_slice()])
        }
        None => hash.of(&[ha1, nonce.as_bytes(), ha2.as_slice()]),
    }
}
