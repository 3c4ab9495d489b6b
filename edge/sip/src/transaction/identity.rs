//! Which server transaction a request belongs to (RFC 3261 §17.2.3), as one number of 128 bits.
//!
//! The number is a keyed hash of what must be equal. With the key unknown, nobody can make two requests collide; by
//! chance two of 2^20 transactions do once in 2^88 tables. So the table needs no copy of branches and headers.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::header::Via;
use crate::message::{Message, Method};
use crate::uri::Host;

/// What a request is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity([u64; 2]);

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// A map's hash function for keys that are hashes already.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A table by identity.
pub(super) type ByIdentity<V> = std::collections::HashMap<Identity, V, BuildHasherDefault<AsItIs>>;

/// Makes identities, all with one secret key.
#[derive(Clone)]
pub(super) struct Identities {
    hasher: SipHasher13,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

impl Identities {
    pub fn new(key: [u64; 2]) -> Self {
        Self { hasher: SipHasher13::new_with_keys(key[0], key[1]) }
    }

    /// Of the transaction of `method` that a request with these headers belongs to: for an ACK or a CANCEL that is
    /// INVITE, to find what they are for. `None` without the headers that it takes.
    ///
    /// RFC 3261 §17.2.3: branch, sent-by and method where the branch is unique to the transaction. Call-ID and CSeq are
    /// taken in too, which are equal in every request of a transaction, its ACK and its CANCEL included (§17.1.1.3,
    /// §9.1), and where there is neither, so is the Request-URI: a sender that uses a branch twice is then not taken for
    /// one that retransmits, and is answered. Where the branch is not unique
    /// (RFC 2543, or the bare cookie): Request-URI, From tag, Call-ID, CSeq and the whole top Via. The To tag is left
    /// out then, so that one rule serves an ACK, whose To tag is that of the response; a request with another CSeq is
    /// another transaction anyway.
    pub fn of_transaction(&self, message: &Message, via: &Via<'_>, method: &Method) -> Option<Identity> {
        let mut hash = Fields(self.hasher);
        match via.branch().filter(|_| via.has_rfc3261_branch()) {
            Some(branch) => {
                hash.field(b"3261");
                hash.field(branch.as_bytes());
                hash.host(&via.host);
                hash.number(u64::from(via.port_or_default()));
                hash.field(message.call_id()?.as_bytes());
                hash.number(u64::from(message.cseq()?.number));
                if *method != Method::Invite {
                    hash.field(message.request_uri()?.as_bytes());
                }
            }
            None => {
                hash.field(b"2543");
                hash.field(message.request_uri()?.as_bytes());
                self.caller(&mut hash, message)?;
                hash.field(via.raw);
            }
        }
        hash.field(method.as_str().as_bytes());
        Some(hash.finish())
    }

    /// Of what a merged request has in common with the one that came by another path (RFC 3261 §8.2.2.2).
    pub fn of_merged(&self, message: &Message) -> Option<Identity> {
        let mut hash = Fields(self.hasher);
        hash.field(b"merged");
        self.caller(&mut hash, message)?;
        Some(hash.finish())
    }

    fn caller(&self, hash: &mut Fields, message: &Message) -> Option<()> {
        hash.field(message.from_tag().unwrap_or_default().as_bytes());
        hash.field(message.call_id()?.as_bytes());
        hash.number(u64::from(message.cseq()?.number));
        Some(())
    }
}

/// Feeds fields to a hash so that no two different sequences of them look alike.
struct Fields(SipHasher13);

impl Fields {
    fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.write(bytes);
    }

    fn number(&mut self, number: u64) {
        self.0.write_u64(number);
    }

    /// Names without regard to case, addresses by value.
    fn host(&mut self, host: &Host<'_>) {
        match host {
            Host::V4(address) => self.field(&address.octets()),
            Host::V6(address) => self.field(&address.octets()),
            Host::Domain(name) => {
                self.number(name.len() as u64);
                let mut lower = [0u8; 64];
                for chunk in name.as_bytes().chunks(lower.len()) {
                    for (to, from) in lower.iter_mut().zip(chunk) {
                        *to = from.to_ascii_lowercase();
                    }
                    self.0.write(lower.get(..chunk.len()).unwrap_or_default());
                }
            }
        }
    }

    fn finish(self) -> Identity {
        let hash = self.0.finish128();
        Identity([hash.h1, hash.h2])
    }
}
