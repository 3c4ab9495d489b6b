//! The customers' reference names every code.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use ringfork_rcml::Code;
use ringfork_rcml::evaluation::Level;

/// RCML.md 3.4: what a Notification shows can be looked up in `docs/rcml.md`.
#[test]
fn every_code_is_in_the_reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rcml.md");
    let reference = std::fs::read_to_string(path).expect("docs/rcml.md");
    for code in Code::ALL {
        let level = if code.level() == Level::Error { 'E' } else { 'W' };
        let row = format!("| {} | {level} | ", code.number());
        assert!(reference.contains(&row), "{code:?}: no row begins {row:?}");
    }
}
