//! Digest credentials (RFC 7616, RFC 8760) as phones make them; deliberately not the code under test.

use md5::Md5;
use sha2::{Digest, Sha256};

/// Realm of the edge.
pub const REALM: &str = "ringfork.local";
/// What REGISTERs are for.
pub const REGISTRAR: &str = "sip:ringfork.local";

/// The password of a client.
pub fn password(login: &str) -> String {
    format!("password of {login}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hex digest of a text.
pub fn hash(sha256: bool, text: &str) -> String {
    if sha256 { hex(&Sha256::digest(text)) } else { hex(&Md5::digest(text)) }
}

/// HA1 of a login with this password.
pub fn secret(sha256: bool, login: &str, password: &str) -> String {
    hash(sha256, &format!("{login}:{REALM}:{password}"))
}

/// The `response` of a REGISTER by these.
pub fn response(sha256: bool, login: &str, password: &str, nonce: &str, count: u32, cnonce: &str) -> String {
    let request = hash(sha256, &format!("REGISTER:{REGISTRAR}"));
    let secret = secret(sha256, login, password);
    hash(sha256, &format!("{secret}:{nonce}:{count:08x}:{cnonce}:auth:{request}"))
}

/// A parameter of a challenge or of credentials.
pub fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let rest = value.strip_prefix("Digest ")?;
    rest.split(',').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}
