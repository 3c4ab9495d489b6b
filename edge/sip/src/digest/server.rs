//! The server side: challenges, and what credentials are worth.

use smallvec::SmallVec;
use subtle::ConstantTimeEq as _;

use super::nonce::{Issued, NonceKey};
use super::replay::ReplayTable;
use super::{Algorithm, Credentials, Hash, credentials, header, hex_digits, response};

/// Nonces from another edge may be this much ahead of our clock, milliseconds.
const SKEW_MS: u64 = 60_000;

/// Which challenges are sent (DESIGN "SIP choices", `--digest`). Both algorithms are accepted in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offer {
    /// SHA-256, then MD5 (RFC 8760 §2.4: most preferred first).
    #[default]
    Both,
    /// MD5 alone, for phones that stumble over two challenges.
    Md5,
}

/// HA1 values of a user in hex, as [`super::ha1`] makes them. A secret: no `Debug`.
#[derive(Clone, Copy)]
pub struct Secrets<'a> {
    /// By MD5.
    pub md5: &'a str,
    /// By SHA-256.
    pub sha256: &'a str,
}

/// What a request's credentials are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are right and used for the first time.
    Valid,
    /// They are right, but the nonce has expired, is not ours, or was used with this count before: challenge with
    /// `stale=true`. Not to be counted as an attack.
    Stale,
    /// They are wrong, or the user is unknown: challenge again, and count it.
    Wrong,
    /// There are none for our realm: challenge.
    Missing,
}

/// Writes challenges and judges credentials of one realm. Not `Debug`: it holds the deployment's key.
pub struct Server {
    realm: String,
    offer: Offer,
    validity_ms: u64,
    key: NonceKey,
    replay: ReplayTable,
}

impl Server {
    /// `key` is the deployment's, the same at each edge; a nonce lives `validity_ms` (five minutes is usual); the use
    /// counts of at most `capacity` nonces are kept (24 octets each), and when there are more the oldest become stale
    /// early. Each edge keeps its own counts.
    pub fn new(realm: impl Into<String>, key: &[u8; 32], offer: Offer, validity_ms: u64, capacity: usize) -> Server {
        let realm = realm.into();
        let key = NonceKey::new(key, &realm);
        Server { realm, offer, validity_ms, key, replay: ReplayTable::new(validity_ms, capacity) }
    }

    /// The values of the WWW-Authenticate (401) or Proxy-Authenticate (407) headers, most preferred first, with one
    /// fresh nonce. `random` must not repeat within a millisecond.
    pub fn challenges(&self, now_ms: u64, random: u64, stale: bool) -> SmallVec<[String; 2]> {
        let nonce = self.key.issue(Issued { at_ms: now_ms, random });
        let algorithms: &[Algorithm] = match self.offer {
            Offer::Both => &[Algorithm::SHA_256, Algorithm::MD5],
            Offer::Md5 => &[Algorithm::MD5],
        };
        algorithms
            .iter()
            .map(|algorithm| {
                format!(
                    "Digest realm=\"{}\", nonce=\"{nonce}\", algorithm={}, qop=\"auth\"{}",
                    self.realm,
                    algorithm.as_str(),
                    if stale { ", stale=true" } else { "" }
                )
            })
            .collect()
    }

    /// The credentials to judge among the values of a request's Authorization (or Proxy-Authorization) headers: those
    /// for our realm by an algorithm that we have, SHA-256 before MD5. Look its user up, then call [`Server::verify`].
    pub fn select<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> Option<Credentials<'a>> {
        let ours = values
            .into_iter()
            .flat_map(credentials)
            .filter(|found| header::unescape(found.realm) == self.realm.as_str() && found.algorithm.is_some());
        // `max_by_key` takes the last of equals; the first is wanted.
        ours.reduce(|best, next| if hash_of(&next) > hash_of(&best) { next } else { best })
    }

    /// Judges credentials. `secrets` is `None` for a user that does not exist or may not log in: the work and the
    /// verdict are those of a wrong password. `method` is the request's, as sent.
    pub fn verify(
        &mut self,
        now_ms: u64,
        method: &str,
        credentials: Option<&Credentials<'_>>,
        secrets: Option<Secrets<'_>>,
    ) -> Verdict {
        let Some(sent) = credentials else { return Verdict::Missing };
        let Some(algorithm) = sent.algorithm else { return Verdict::Missing };
        let Some(count) = use_count(sent) else { return Verdict::Wrong };
        if algorithm.session && sent.cnonce.is_none() {
            return Verdict::Wrong;
        }
        let dummy = hex_digits(&self.key.dummy_ha1(&sent.username()));
        let dummy = match algorithm.hash {
            Hash::Md5 => dummy.get(..32).unwrap_or_default(),
            Hash::Sha256 => dummy.as_slice(),
        };
        let ha1 = match (secrets, algorithm.hash) {
            (None, _) => dummy,
            (Some(secrets), Hash::Md5) => secrets.md5.as_bytes(),
            (Some(secrets), Hash::Sha256) => secrets.sha256.as_bytes(),
        };
        let quality = sent.qop.map(|qop| (sent.nc.unwrap_or_default(), qop));
        let cnonce = sent.cnonce.unwrap_or_default();
        let expected = response(algorithm, ha1, sent.nonce, cnonce, quality, method, sent.uri);
        let given = sent.response.to_ascii_lowercase();
        let equal = bool::from(expected.as_slice().ct_eq(given.as_bytes()));
        if !equal || secrets.is_none() {
            return Verdict::Wrong;
        }
        let oldest = now_ms.saturating_sub(self.validity_ms);
        self.replay.forget_before(oldest);
        match self.key.read(sent.nonce) {
            Some(issued)
                if issued.at_ms > oldest
                    && issued.at_ms <= now_ms.saturating_add(SKEW_MS)
                    && self.replay.first_use(issued, count) =>
            {
                Verdict::Valid
            }
            _ => Verdict::Stale,
        }
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Nonces whose counts are kept now.
    pub fn remembered(&self) -> usize {
        self.replay.len()
    }
}

fn hash_of(credentials: &Credentials<'_>) -> Option<Hash> {
    credentials.algorithm.map(|algorithm| algorithm.hash)
}

/// The nonce count. Without qop (RFC 2069 style) a nonce serves once, as if by count 1. `None`: not to be answered so:
/// an unknown qop, or qop without cnonce or a count of up to eight hex digits that is not 0.
fn use_count(sent: &Credentials<'_>) -> Option<u32> {
    let Some(qop) = sent.qop else { return Some(1) };
    if !qop.eq_ignore_ascii_case("auth") || sent.cnonce.is_none() {
        return None;
    }
    let digits = sent.nc.filter(|nc| (1..=8).contains(&nc.len()) && nc.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::super::{Attempt, Client, challenges, ha1};
    use super::*;

    const NOW: u64 = 1_790_000_000_000;
    const KEY: [u8; 32] = [42; 32];

    struct User {
        md5: String,
        sha256: String,
    }

    impl User {
        fn new(name: &str, password: &str) -> User {
            let of = |hash| ha1(hash, name, "ringfork.local", password);
            User { md5: of(Hash::Md5), sha256: of(Hash::Sha256) }
        }

        fn secrets(&self) -> Option<Secrets<'_>> {
            Some(Secrets { md5: &self.md5, sha256: &self.sha256 })
        }
    }

    fn server(offer: Offer) -> Server {
        Server::new("ringfork.local", &KEY, offer, 300_000, 1000)
    }

    /// What a correct phone sends.
    fn sent(nonce: &str, algorithm: Algorithm, quality: Option<(&str, &str)>, user: &str, password: &str) -> String {
        let ha1 = ha1(algorithm.hash, user, "ringfork.local", password);
        let response = response(algorithm, ha1.as_bytes(), nonce, "cc", quality, "REGISTER", "sip:ringfork.local");
        let mut value = format!(
            "Digest username=\"{user}\", realm=\"ringfork.local\", nonce=\"{nonce}\", uri=\"sip:ringfork.local\", \
             response=\"{}\", algorithm={}, cnonce=\"cc\"",
            String::from_utf8(response.to_vec()).unwrap(),
            algorithm.as_str().to_lowercase(),
        );
        if let Some((nc, qop)) = quality {
            value.push_str(&format!(", nc={nc}, qop={qop}"));
        }
        value
    }

    fn nonce_of(server: &Server, now: u64, random: u64) -> String {
        challenges(&server.challenges(now, random, false)[0]).next().unwrap().nonce.to_owned()
    }

    fn judge(server: &mut Server, now: u64, value: &str, secrets: Option<Secrets<'_>>) -> Verdict {
        let selected = server.select([value]);
        server.verify(now, "REGISTER", selected.as_ref(), secrets)
    }

    /// DESIGN "SIP choices": SHA-256 then MD5, `qop=auth`; or MD5 alone.
    #[test]
    fn challenges_as_designed() {
        let both = server(Offer::Both).challenges(NOW, 1, false);
        assert_eq!(both.len(), 2);
        let read: Vec<_> = both.iter().flat_map(|value| challenges(value)).collect();
        assert_eq!(read[0].algorithm, Some(Algorithm::SHA_256));
        assert_eq!(read[1].algorithm, Some(Algorithm::MD5));
        for challenge in &read {
            assert_eq!((challenge.realm, challenge.qop, challenge.stale), ("ringfork.local", Some("auth"), false));
        }
        let alone = server(Offer::Md5).challenges(NOW, 1, true);
        let read: Vec<_> = alone.iter().flat_map(|value| challenges(value)).collect();
        assert_eq!((read.len(), read[0].algorithm, read[0].stale), (1, Some(Algorithm::MD5), true));
    }

    #[test]
    fn every_algorithm_and_quality_is_judged_right() {
        let alice = User::new("alice", "secret");
        let mut server = server(Offer::Both);
        let mut random = 0;
        for name in ["MD5", "SHA-256", "MD5-sess", "SHA-256-sess"] {
            let algorithm = Algorithm::parse(name).unwrap();
            for quality in [None, Some(("00000001", "auth")), Some(("0000000a", "AUTH")), Some(("ffffffff", "auth"))] {
                random += 1;
                let nonce = nonce_of(&server, NOW, random);
                let right = sent(&nonce, algorithm, quality, "alice", "secret");
                let wrong = sent(&nonce, algorithm, quality, "alice", "Secret");
                assert_eq!(judge(&mut server, NOW, &wrong, alice.secrets()), Verdict::Wrong);
                assert_eq!(judge(&mut server, NOW, &right, None), Verdict::Wrong);
                assert_eq!(judge(&mut server, NOW, &right, alice.secrets()), Verdict::Valid, "{name} {quality:?}");
                assert_eq!(judge(&mut server, NOW, &right, alice.secrets()), Verdict::Stale, "replayed");
            }
        }
    }

    /// RFC 7616 §3.4.5: a nonce serves for many requests, with a rising count, from any edge that has the key.
    #[test]
    fn counts_and_other_edges() {
        let alice = User::new("alice", "secret");
        let nonce = nonce_of(&server(Offer::Both), NOW, 5);
        let mut other = server(Offer::Both);
        for count in 1..=300u32 {
            let value = sent(&nonce, Algorithm::MD5, Some((&format!("{count:08x}"), "auth")), "alice", "secret");
            assert_eq!(judge(&mut other, NOW + 1, &value, alice.secrets()), Verdict::Valid, "{count:08x}");
        }
        assert_eq!(other.remembered(), 1);
    }

    /// DESIGN "SIP choices": a stale nonce gets a fresh one with `stale=true`: expired, from the future, another key's.
    #[test]
    fn stale_nonces() {
        let alice = User::new("alice", "secret");
        let mut server = server(Offer::Both);
        let foreign = Server::new("ringfork.local", &[1; 32], Offer::Both, 300_000, 10);
        let good = Some(("00000001", "auth"));
        for (nonce, now, verdict) in [
            (nonce_of(&server, NOW, 1), NOW + 299_999, Verdict::Valid),
            (nonce_of(&server, NOW, 2), NOW + 300_000, Verdict::Stale),
            (nonce_of(&server, NOW + 400_000, 3), NOW + 340_000, Verdict::Valid),
            (nonce_of(&server, NOW + 400_001, 4), NOW + 340_000, Verdict::Stale),
            (nonce_of(&foreign, NOW, 5), NOW, Verdict::Stale),
            ("invented".to_owned(), NOW, Verdict::Stale),
        ] {
            let right = sent(&nonce, Algorithm::SHA_256, good, "alice", "secret");
            assert_eq!(judge(&mut server, now, &right, alice.secrets()), verdict, "{nonce}");
            let wrong = sent(&nonce, Algorithm::SHA_256, good, "alice", "guess");
            assert_eq!(judge(&mut server, now, &wrong, alice.secrets()), Verdict::Wrong, "wrong is never stale");
        }
    }

    /// Nothing for our realm is Missing; what answers no challenge of ours is Wrong.
    #[test]
    fn missing_and_odd_credentials() {
        let alice = User::new("alice", "secret");
        let mut server = server(Offer::Both);
        let nonce = nonce_of(&server, NOW, 1);
        let right = sent(&nonce, Algorithm::SHA_256, Some(("00000001", "auth")), "alice", "secret");
        for (value, verdict) in [
            ("NoOneKnowsThisScheme opaque-data=here".to_owned(), Verdict::Missing),
            (right.replace("ringfork.local\", n", "elsewhere\", n"), Verdict::Missing),
            (right.replace("sha-256", "SHA-512-256"), Verdict::Missing),
            (right.replace("qop=auth", "qop=auth-int"), Verdict::Wrong),
            (right.replace("nc=00000001", "nc=00000000"), Verdict::Wrong),
            (right.replace("nc=00000001", "nc=000000001"), Verdict::Wrong),
            (right.replace("nc=00000001", "nc=0000+001"), Verdict::Wrong),
            (right.replace("nc=00000001", "nc=zzzzzzzz"), Verdict::Wrong),
            (right.replace(", nc=00000001", ""), Verdict::Wrong),
            (right.replace(", cnonce=\"cc\"", ""), Verdict::Wrong),
            (right.replace("uri=\"sip:r", "uri=\"sip:%72"), Verdict::Wrong),
        ] {
            assert_eq!(judge(&mut server, NOW, &value, alice.secrets()), verdict, "{value}");
        }
        assert_eq!(server.verify(NOW, "REGISTER", None, None), Verdict::Missing);
        let selected = server.select([right.as_str()]);
        assert_eq!(server.verify(NOW, "INVITE", selected.as_ref(), alice.secrets()), Verdict::Wrong);
        assert_eq!(
            judge(&mut server, NOW, &right.replace("qop=auth", "qop=\"auth\""), alice.secrets()),
            Verdict::Valid
        );
    }

    /// Of several credentials the strongest for our realm is judged.
    #[test]
    fn the_strongest_is_selected() {
        let server = server(Offer::Both);
        let md5 = sent("n1", Algorithm::MD5, None, "a", "p");
        let sha = sent("n2", Algorithm::SHA_256, None, "b", "p");
        let foreign = sha.replace("ringfork.local\", n", "elsewhere\", n");
        for values in [[&md5, &sha, &foreign], [&foreign, &sha, &md5], [&sha, &md5, &md5]] {
            assert_eq!(server.select(values.map(String::as_str)).unwrap().username(), "b");
        }
        assert_eq!(server.select([md5.as_str()]).unwrap().username(), "a");
    }

    /// RFC 7616 §3.9.1 (with its qop and both algorithms): the vectors that everybody must meet.
    #[test]
    fn vectors_of_rfc_7616() {
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (hash, expected) in [
            (Hash::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Hash::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let ha1 = ha1(hash, "Mufasa", "http-auth@example.org", "Circle of Life");
            let algorithm = Algorithm { hash, session: false };
            let quality = Some(("00000001", "auth"));
            let made = response(algorithm, ha1.as_bytes(), nonce, cnonce, quality, "GET", "/dir/index.html");
            assert_eq!(std::str::from_utf8(&made).unwrap(), expected);
        }
    }

    /// Our own client logs in at our own server, by either policy, and again after its nonce has gone stale.
    #[test]
    fn client_and_server_agree() {
        for offer in [Offer::Both, Offer::Md5] {
            let mut server = server(offer);
            let user = User::new("trunk \"1\"", "p:ä");
            let mut client = Client::new("trunk \"1\"", "p:ä");
            let mut attempt = Attempt::default();
            let challenge = server.challenges(NOW, 1, false);
            let value =
                client.answer(&mut attempt, challenge.iter().map(String::as_str), "REGISTER", "sip:x", 99).unwrap();
            let found = server.select([value.as_str()]).unwrap();
            assert_eq!(found.username(), "trunk \"1\"");
            assert_eq!(server.verify(NOW, "REGISTER", Some(&found), user.secrets()), Verdict::Valid);
            let again = client.authorize("INVITE", "sip:y", 100).unwrap();
            let found = server.select([again.as_str()]);
            assert_eq!(server.verify(NOW, "INVITE", found.as_ref(), user.secrets()), Verdict::Valid);
            let late = client.authorize("INVITE", "sip:y", 101).unwrap();
            let found = server.select([late.as_str()]);
            assert_eq!(server.verify(NOW + 300_000, "INVITE", found.as_ref(), user.secrets()), Verdict::Stale);
        }
    }
}
