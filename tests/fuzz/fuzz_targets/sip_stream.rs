//! A stream: the same frames come out however it is cut, and none hides octets behind its body. The first octet says
//! how it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../../edge/sip/tests/exercise/mod.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let chunks: Vec<&[u8]> = stream.chunks(usize::from(*cut) + 1).collect();
    assert_eq!(exercise::framed(&chunks), exercise::framed(&[stream]));
});
