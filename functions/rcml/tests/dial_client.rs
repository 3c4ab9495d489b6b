//! RCML.md part 1: every attribute of `<Client>`, and whom a Dial rings.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{dial, noun};
use ringfork_rcml::program::{Callback, DocumentRef, Endpoint, Events, Method, Screening};

const NONE: Events = Events { initiated: false, ringing: false, answered: false, completed: false };

fn client(text: &str) -> (String, Vec<u32>) {
    let (noun, codes) = noun(text);
    match noun.endpoint {
        Endpoint::Client { identity } => (identity, codes),
        other => panic!("{other:?}"),
    }
}

/// RCML.md 1.1: the text is the identity, trimmed, without `client:`; `<Identity>` is accepted in its place.
#[test]
fn identity() {
    for text in [
        "<Client>alice</Client>",
        "<Client>\n   alice\n  </Client>",
        "<Client>client:alice</Client>",
        "<Client><Identity>alice</Identity></Client>",
        "<Client>\n<Identity> client:alice </Identity>\n</Client>",
        "<Client><![CDATA[alice]]></Client>",
        "<Client>ali<!-- a comment -->ce</Client>",
    ] {
        assert_eq!(client(text), ("alice".to_owned(), vec![]), "{text}");
    }
    // Case is the client's own; text beside Identity does not count.
    assert_eq!(client("<Client>Client:Alice</Client>").0, "Client:Alice");
    assert_eq!(client("<Client>bob<Identity>alice</Identity></Client>"), ("alice".to_owned(), vec![12200]));
    let (dial, codes) = dial("<Dial><Client> client: </Client><Client>bob</Client></Dial>");
    assert_eq!((dial.nouns.len(), codes), (1, vec![13225]));
}

/// RCML.md 1.1: `name?X-A=1&X-B=2` and `<Parameter>` become headers of the INVITE, under limits.
#[test]
fn headers() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let (alice, codes) = noun("<Client>alice?X-A=1&amp;B=2&amp;X-C=%0D%0Ax</Client>");
    assert_eq!(alice.endpoint, Endpoint::Client { identity: "alice".to_owned() });
    assert_eq!(alice.headers, [pair("X-A", "1"), pair("X-B", "2"), pair("X-C", "x")]);
    assert_eq!(codes, [0; 0]);

    let text = r#"<Client><Identity>alice</Identity><Parameter name="Tier" value="gold"/><Parameter name="X-Q" value=" 7 "/></Client>"#;
    assert_eq!(noun(text).0.headers, [pair("X-Tier", "gold"), pair("X-Q", "7")]);

    // A name that is no token, and one too many, are left out with a warning each.
    let (alice, codes) = noun(r#"<Client>alice<Parameter name="a b" value="1"/><Parameter value="1"/></Client>"#);
    assert_eq!((alice.headers.len(), codes), (0, vec![13224, 13224]));
    let many: String = (0..11).map(|n| format!(r#"<Parameter name="H{n}" value="{n}"/>"#)).collect();
    let (alice, codes) = noun(&format!("<Client>alice{many}</Client>"));
    assert_eq!((alice.headers.len(), codes), (10, vec![13224]));
    let long = format!(r#"<Client>alice<Parameter name="X-L" value="{}"/></Client>"#, "x".repeat(257));
    assert_eq!((noun(&long).0.headers.len(), noun(&long).1), (0, vec![13224]));
}

/// RCML.md 1.1: `url`, absolute or relative to the running document; default none.
#[test]
fn url_and_method() {
    let screening = |attributes: &str| {
        let (noun, codes) = noun(&format!("<Client {attributes}>alice</Client>"));
        (noun.screening, codes)
    };
    let of =
        |url: &str, method, timeout| Some(Screening { document: DocumentRef { url: url.to_owned(), method }, timeout });
    let post = |url: &str| of(url, Method::Post, 60);
    for (attributes, expected) in [
        ("", None),
        (r#"url="https://other.example/s""#, post("https://other.example/s")),
        (r#"url=" screen.xml ""#, post("https://example.com/voice/screen.xml")),
        (r#"url="/s?a=1&amp;b=2""#, post("https://example.com/s?a=1&b=2")),
        (r#"url="?b=2""#, post("https://example.com/voice/start.xml?b=2")),
        (r#"url="s#fragment""#, post("https://example.com/voice/s")),
        (r#"url="s" method="GET""#, of("https://example.com/voice/s", Method::Get, 60)),
        (r#"url="s" method=" post ""#, post("https://example.com/voice/s")),
        (r#"url="s" timeout="7""#, of("https://example.com/voice/s", Method::Post, 7)),
    ] {
        assert_eq!(screening(attributes), (expected, vec![]), "{attributes}");
    }
    // Bad values: the default and a warning.
    assert_eq!(screening(r#"url="s" method="PUT""#), (post("https://example.com/voice/s"), vec![13210]));
    assert_eq!(screening(r#"url="""#), (None, vec![13222]));
    // One that can never be fetched keeps the leg from being accepted, RCML.md 1.3.
    assert_eq!(screening(r#"url="ftp://a/b""#), (post("ftp://a/b"), vec![13227]));
    assert_eq!(screening(r#"url="http://[bad""#), (post("http://[bad"), vec![13227]));
}

/// RCML.md 1.1: `timeout` is positive whole seconds, default 60; it bounds screening, so without `url` it is a warning.
#[test]
fn timeout() {
    let timeout = |value: &str| {
        let (noun, codes) = noun(&format!(r#"<Client url="s" timeout="{value}">alice</Client>"#));
        (noun.screening.unwrap().timeout, codes)
    };
    assert_eq!(timeout("1"), (1, vec![]));
    assert_eq!(timeout(" 90 "), (90, vec![]));
    for bad in ["0", "-1", "+5", "1.5", "abc", "", "10s", "99999999999", "٣"] {
        assert_eq!(timeout(bad), (60, vec![13219]), "{bad}");
    }
    assert_eq!(noun(r#"<Client timeout="10">alice</Client>"#).1, [13220]);
}

/// RCML.md 1.1: `statusCallback`, `statusCallbackMethod`.
#[test]
fn status_callback() {
    let callback = |attributes: &str| {
        let (noun, codes) = noun(&format!("<Client {attributes}>alice</Client>"));
        (noun.callback, codes)
    };
    let of = |url: &str, method| Some(Callback { url: url.to_owned(), method, events: Events::ALL });
    assert_eq!(callback(""), (None, vec![]));
    assert_eq!(callback(r#"statusCallback="cb""#), (of("https://example.com/voice/cb", Method::Post), vec![]));
    assert_eq!(
        callback(r#"statusCallback="http://a.example/b?c=d" statusCallbackMethod="get""#),
        (of("http://a.example/b?c=d", Method::Get), vec![])
    );
    assert_eq!(
        callback(r#"statusCallback="cb" statusCallbackMethod="DELETE""#),
        (of("https://example.com/voice/cb", Method::Post), vec![13210])
    );
    assert_eq!(callback(r#"statusCallback="mailto:a@b""#), (None, vec![13222]));
}

/// RCML.md 1.1: `statusCallbackEvent`: commas and/or white space, any case, unknown names dropped, only an empty rest
/// is the default.
#[test]
fn status_callback_event() {
    let events = |value: &str| {
        let (noun, codes) =
            noun(&format!(r#"<Client statusCallback="cb" statusCallbackEvent="{value}">alice</Client>"#));
        (noun.callback.unwrap().events, codes)
    };
    let ringing = Events { ringing: true, ..NONE };
    for (value, expected) in [
        ("initiated,ringing,answered,completed", Events::ALL),
        ("initiated ringing answered completed", Events::ALL),
        ("completed , answered,\tringing initiated", Events::ALL),
        ("ringing", ringing),
        (" RINGING,, ringing ,", ringing),
        ("initiated,  answered", Events { initiated: true, answered: true, ..NONE }),
        ("Completed", Events { completed: true, ..NONE }),
    ] {
        assert_eq!(events(value), (expected, vec![]), "{value}");
    }
    assert_eq!(events("ringing,bogus"), (ringing, vec![13221]));
    assert_eq!(events("bogus"), (Events::ALL, vec![13221]));
    assert_eq!(events(" , "), (Events::ALL, vec![13221]));
}

/// RCML.md 1.2: at most ten nouns; an eleventh and later is not dialed and leaves a warning.
#[test]
fn eleventh_noun() {
    let mixed = |count: usize| {
        let nouns: String = (0..count)
            .map(|n| match n % 3 {
                0 => format!("<Client>c{n}</Client>"),
                1 => format!("<Number>+49{n}</Number>"),
                _ => format!("<Sip>sip:s{n}@example.org</Sip>"),
            })
            .collect();
        let (dial, codes) = dial(&format!("<Dial>{nouns}</Dial>"));
        (dial.nouns.len(), codes)
    };
    assert_eq!(mixed(10), (10, vec![]));
    assert_eq!(mixed(11), (10, vec![13217]));
    assert_eq!(mixed(13), (10, vec![13217; 3]));
}

/// RCML.md 1.2: text beside nouns is ignored with a warning.
#[test]
fn text_beside_nouns() {
    let (dial, codes) = dial("<Dial>+15551234567<Client>alice</Client></Dial>");
    assert_eq!(dial.nouns.len(), 1);
    assert!(matches!(&dial.nouns[0].endpoint, Endpoint::Client { identity } if identity == "alice"));
    assert_eq!(codes, [13218]);
}

/// RCML.md 1.5 and part 2: the attributes of Dial with their defaults.
#[test]
fn dial_attributes() {
    let read = |attributes: &str| dial(&format!("<Dial {attributes}><Client>a</Client></Dial>"));
    let (plain, codes) = read("");
    assert_eq!(codes, [0; 0]);
    assert_eq!((plain.timeout, plain.time_limit, plain.record), (30, 14_400, false));
    assert_eq!((plain.action, plain.caller_id, plain.dial_music), (None, None, None));

    let (dial, codes) = read(r#"action="done" method="GET" timeout="5" timeLimit="60" callerId=" client:bob ""#);
    assert_eq!(codes, [0; 0]);
    assert_eq!(
        dial.action,
        Some(DocumentRef { url: "https://example.com/voice/done".to_owned(), method: Method::Get })
    );
    assert_eq!((dial.timeout, dial.time_limit), (5, 60));
    assert_eq!(dial.caller_id.as_deref(), Some("client:bob"), "kept as written, RCML.md 3.1");

    for (attributes, code) in [
        (r#"method="HEAD""#, 13210),
        (r#"record="maybe""#, 13211),
        (r#"timeout="0""#, 13212),
        (r#"callerId="""#, 13214),
        (r#"callerId="a b""#, 13214),
        (r#"timeLimit="-3""#, 13216),
        (r#"action="gopher://a""#, 13222),
        (r#"answerOnBridge="true""#, 12200),
        (r#"Timeout="5""#, 12200),
    ] {
        let (dial, codes) = read(attributes);
        assert_eq!(codes, [code], "{attributes}");
        assert_eq!((dial.timeout, dial.time_limit, dial.record), (30, 14_400, false), "{attributes}");
        assert_eq!((dial.action, dial.caller_id), (None, None), "{attributes}");
    }
    let (dial, codes) = read(r#"record="true" dialMusic="m.wav""#);
    assert!(dial.record);
    assert_eq!(dial.dial_music.as_deref(), Some("https://example.com/voice/m.wav"));
    assert_eq!(codes, [0; 0]);
}
