//! Authorization and WWW-Authenticate values, from both sides.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfork_sip::digest::{Attempt, Client, Offer, Secrets, Server, Verdict, challenges, credentials};

const MD5: &str = "0123456789abcdef0123456789abcdef";
const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for found in credentials(&text) {
        let _ = (found.username(), format!("{found:?}"));
    }
    let mut server = Server::new("ringfork.local", &[7; 32], Offer::Both, 300_000, 16);
    if let Some(selected) = server.select([&*text]) {
        for secrets in [None, Some(Secrets { md5: MD5, sha256: SHA256 })] {
            let verdict = server.verify(1_000_000, "REGISTER", Some(&selected), secrets);
            // Nobody finds the hash of a nonce that was never given.
            assert_ne!(verdict, Verdict::Valid);
        }
    }
    let count = challenges(&text).count();
    let mut client = Client::new("a\"b", "secret");
    if let Ok(answer) = client.answer(&mut Attempt::default(), [&*text], "INVITE", "sip:a@b", 5) {
        assert!(count > 0);
        assert!(!answer.contains("secret"));
        let own = credentials(&answer).next().expect("an answer of ours is readable");
        assert_eq!((own.username().as_ref(), own.uri), ("a\"b", "sip:a@b"));
    }
});
