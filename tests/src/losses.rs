//! Packets lost on purpose: nftables rules in the network namespace of a test ([`crate::baresip::in_namespace`]).

use std::process::Command;

/// The rules of one test.
pub struct Losses(());

fn nft(arguments: &str) -> String {
    let output = Command::new("nft").args(arguments.split(' ')).output().expect("nftables is not installed");
    assert!(output.status.success(), "nft {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Losses {
    /// None yet.
    pub fn new() -> Losses {
        nft("add table inet loss");
        nft("add chain inet loss input { type filter hook input priority 0 ; }");
        Losses(())
    }

    /// Loses, of the packets that match, those that the numbers choose: `inc mod 10 == 3` is each tenth one from the
    /// fourth on, the same at each run; `random mod 100 < 20` is one in five by chance.
    pub fn lose(&self, packets: &str, numbers: &str) {
        nft(&format!("add rule inet loss input {packets} numgen {numbers} counter drop"));
    }

    /// Asserts that each rule lost something.
    pub fn assert_each_lost(&self) {
        let rules = nft("list ruleset");
        assert!(rules.contains(" drop"), "no rules: {rules}");
        assert_eq!(rules.matches("packets 0 ").count(), 0, "a rule lost nothing: {rules}");
    }
}

impl Default for Losses {
    fn default() -> Self {
        Losses::new()
    }
}
