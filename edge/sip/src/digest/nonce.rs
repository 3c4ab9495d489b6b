//! Stateless nonces: time and randomness under an HMAC of the deployment's key, so that any edge can check them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Octets: 6 of time, 8 of randomness, 13 of HMAC; 36 characters in base64url, without padding or spare bits, so that
/// each nonce has one spelling.
const LENGTH: usize = 27;
const MAC: usize = 13;

/// The keyed half of a server. Not `Debug`: it is a secret.
#[derive(Clone)]
pub(super) struct NonceKey {
    /// Keyed once, cloned for each use.
    nonces: Hmac<Sha256>,
    unknown: Hmac<Sha256>,
}

/// What a nonce of ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Issued {
    /// Unix milliseconds.
    pub at_ms: u64,
    /// What tells nonces of the same millisecond apart.
    pub random: u64,
}

impl NonceKey {
    pub(super) fn new(key: &[u8; 32], realm: &str) -> NonceKey {
        let keyed = |purpose: &[u8]| {
            let mut mac = Hmac::<Sha256>::new(&block(key).into());
            mac.update(purpose);
            mac.update(realm.as_bytes());
            Hmac::<Sha256>::new(&block(&mac.finalize().into_bytes()).into())
        };
        NonceKey { nonces: keyed(b"ringfork digest nonce\0"), unknown: keyed(b"ringfork digest unknown user\0") }
    }

    pub(super) fn issue(&self, issued: Issued) -> String {
        let mut octets = [0u8; LENGTH];
        let (head, mac) = octets.split_at_mut(LENGTH - MAC);
        head[..6].copy_from_slice(&issued.at_ms.to_be_bytes()[2..]);
        head[6..].copy_from_slice(&issued.random.to_be_bytes());
        mac.copy_from_slice(&self.mac(head)[..MAC]);
        URL_SAFE_NO_PAD.encode(octets)
    }

    /// `None`: not one of ours.
    pub(super) fn read(&self, nonce: &str) -> Option<Issued> {
        let mut octets = [0u8; LENGTH];
        if nonce.len() != LENGTH / 3 * 4 || URL_SAFE_NO_PAD.decode_slice(nonce, &mut octets) != Ok(LENGTH) {
            return None;
        }
        let (head, mac) = octets.split_at(LENGTH - MAC);
        if !bool::from(self.mac(head)[..MAC].ct_eq(mac)) {
            return None;
        }
        let number = |octets: &[u8]| octets.iter().fold(0u64, |sum, octet| sum << 8 | u64::from(*octet));
        Some(Issued { at_ms: number(&head[..6]), random: number(&head[6..]) })
    }

    /// What stands in for the HA1 of a user that does not exist: always the same for a name, known to nobody.
    pub(super) fn dummy_ha1(&self, user: &str) -> [u8; 32] {
        let mut mac = self.unknown.clone();
        mac.update(user.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn mac(&self, head: &[u8]) -> [u8; 32] {
        let mut mac = self.nonces.clone();
        mac.update(head);
        mac.finalize().into_bytes().into()
    }
}

/// A key of up to one block as RFC 2104 pads it.
fn block(key: &[u8]) -> [u8; 64] {
    let mut block = [0; 64];
    for (octet, key) in block.iter_mut().zip(key) {
        *octet = *key;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_edge_with_the_key_reads_it_and_nobody_makes_one() {
        let issued = Issued { at_ms: 1_790_000_000_123, random: 0xfeed_beef_0123_4567 };
        let nonce = NonceKey::new(&[7; 32], "ringfork.local").issue(issued);
        assert_eq!(nonce.len(), 36);
        assert!(nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        let key = NonceKey::new(&[7; 32], "ringfork.local");
        assert_eq!(key.read(&nonce), Some(issued));
        assert_eq!(NonceKey::new(&[8; 32], "ringfork.local").read(&nonce), None);
        assert_eq!(NonceKey::new(&[7; 32], "elsewhere").read(&nonce), None);
        for at in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.read(std::str::from_utf8(&forged).unwrap()), None, "{at}");
        }
        for odd in ["", "x", &nonce[1..], &format!("{nonce}="), &"é".repeat(18)] {
            assert_eq!(key.read(odd), None);
        }
    }
}
