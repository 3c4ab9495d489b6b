//! Documents: whatever the text, there is a program or one error, and what there is survives the way to the edge.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfork_rcml::evaluation::Purpose;
use ringfork_rcml::{Program, compile};
use url::Url;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let base = Url::parse("https://example.com/a/b.xml?c=d").expect("a URL");
    for purpose in [Purpose::Call, Purpose::Screening] {
        let compiled = compile(text, &base, purpose);
        assert!(compiled.warnings.len() <= ringfork_rcml::MAX_WARNINGS + 1);
        if let Ok(program) = compiled.program {
            let json = serde_json::to_string(&program).expect("a program can be sent");
            assert_eq!(serde_json::from_str::<Program>(&json).expect("and read"), program);
        }
    }
});
