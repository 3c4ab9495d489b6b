//! What the tests of this crate share.
#![allow(dead_code, clippy::unwrap_used)]

use ringfork_rcml::evaluation::{Notice, Purpose};
use ringfork_rcml::program::{Dial, Noun, Step};
use ringfork_rcml::{Compiled, compile};
use url::Url;

pub const BASE: &str = "https://example.com/voice/start.xml?x=1";

pub fn run(body: &str) -> Compiled {
    run_for(body, Purpose::Call)
}

pub fn run_for(body: &str, purpose: Purpose) -> Compiled {
    compile(&format!("<Response>{body}</Response>"), &Url::parse(BASE).unwrap(), purpose)
}

pub fn steps(body: &str) -> (Vec<Step>, Vec<u32>) {
    let compiled = run(body);
    (compiled.program.unwrap().steps, codes(&compiled.warnings))
}

pub fn codes(notices: &[Notice]) -> Vec<u32> {
    notices.iter().map(|notice| notice.code).collect()
}

pub fn dial(body: &str) -> (Dial, Vec<u32>) {
    let (mut steps, codes) = steps(body);
    assert_eq!(steps.len(), 1);
    match steps.pop() {
        Some(Step::Dial(dial)) => (dial, codes),
        other => panic!("no Dial but {other:?}"),
    }
}

pub fn noun(noun: &str) -> (Noun, Vec<u32>) {
    let (mut dial, codes) = dial(&format!("<Dial>{noun}</Dial>"));
    assert_eq!(dial.nouns.len(), 1, "{noun}");
    (dial.nouns.pop().unwrap(), codes)
}
