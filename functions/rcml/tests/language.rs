//! RCML.md part 2: the document, the other verbs and nouns; 1.3: what a screening document may hold.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{BASE, codes, dial, noun, run, run_for, steps};
use ringfork_rcml::evaluation::{Level, Purpose};
use ringfork_rcml::program::{DocumentRef, Endpoint, Method, RejectReason, Step};
use ringfork_rcml::{Document, MAX_WARNINGS, compile};
use url::Url;

fn whole(text: &str) -> Result<Vec<Step>, u32> {
    let compiled = compile(text, &Url::parse(BASE).unwrap(), Purpose::Call);
    compiled.program.map(|program| program.steps).map_err(|notice| {
        assert_eq!(notice.level, Level::Error);
        notice.code
    })
}

/// RCML.md part 2: the root is Response, XML must parse, no DTD, at most 64 KB.
#[test]
fn what_is_no_document() {
    assert_eq!(whole("<Response/>"), Ok(vec![]));
    assert_eq!(whole("<response/>"), Err(12102));
    assert_eq!(whole("<html><body/></html>"), Err(12102));
    assert_eq!(whole("<Response><Hangup></Response>"), Err(12100));
    assert_eq!(whole("Not Found"), Err(12100));
    assert_eq!(whole(""), Err(12103));
    assert_eq!(whole("<!DOCTYPE Response><Response/>"), Err(12101));
    assert_eq!(whole(&format!("<Response>{}</Response>", " ".repeat(64 * 1024))), Err(11750));
}

/// RCML.md part 2: verbs run in order; Pause (1), Redirect (POST), Reject (rejected), Hangup.
#[test]
fn verbs_of_this_version() {
    let to = |url: &str, method| Step::Redirect { to: DocumentRef { url: url.to_owned(), method } };
    let table: &[(&str, Vec<Step>, &[u32])] = &[
        ("<Pause/>", vec![Step::Pause { seconds: 1 }], &[]),
        ("<Pause length=' 10 '/>", vec![Step::Pause { seconds: 10 }], &[]),
        ("<Pause length='0'/>", vec![Step::Pause { seconds: 1 }], &[13910]),
        ("<Hangup/>", vec![Step::Hangup], &[]),
        ("<Hangup now='1'/>", vec![Step::Hangup], &[12200]),
        ("<Reject/>", vec![Step::Reject { reason: RejectReason::Rejected }], &[]),
        ("<Reject reason='rejected'/>", vec![Step::Reject { reason: RejectReason::Rejected }], &[]),
        ("<Reject reason=' busy '/>", vec![Step::Reject { reason: RejectReason::Busy }], &[]),
        ("<Reject reason='later'/>", vec![Step::Reject { reason: RejectReason::Rejected }], &[13810]),
        ("<Redirect>\n next \n</Redirect>", vec![to("https://example.com/voice/next", Method::Post)], &[]),
        ("<Redirect method='GET'>http://b.example/</Redirect>", vec![to("http://b.example/", Method::Get)], &[]),
        ("<Redirect method='PUT'>a</Redirect>", vec![to("https://example.com/voice/a", Method::Post)], &[13710]),
        ("<Redirect>ftp://b/</Redirect>", vec![to("ftp://b/", Method::Post)], &[]),
        ("<Redirect/><Hangup/>", vec![Step::Hangup], &[13711]),
        ("<Pause/><Hangup/>", vec![Step::Pause { seconds: 1 }, Step::Hangup], &[]),
    ];
    for (body, expected, warned) in table {
        assert_eq!(steps(body), (expected.clone(), warned.to_vec()), "{body}");
    }
}

/// RCML.md part 2: names are case-sensitive; what is unknown is skipped with a warning; later verbs say so.
#[test]
fn unknown_and_later_verbs() {
    assert_eq!(steps("<hangup/><Hangup/>"), (vec![Step::Hangup], vec![12200]));
    assert_eq!(steps("<Enqueue>q</Enqueue>"), (vec![], vec![12200]));
    assert_eq!(steps("hello<Hangup/>"), (vec![Step::Hangup], vec![12200]));
    for verb in ["Sms", "Message", "Email", "Hold", "Resume", "Refer"] {
        let body = format!("<{verb}>text</{verb}><Hangup/>");
        assert_eq!(steps(&body), (vec![Step::Hangup], vec![12210]), "{verb}");
    }
    let (dial, codes) = dial("<Dial>room<Conference>room</Conference></Dial>");
    assert_eq!((dial.nouns.len(), codes), (0, vec![12210, 13218, 13215]));
}

/// Every warning says where: the line of the element or attribute, and the document.
#[test]
fn warnings_carry_lines() {
    let text = "<?xml version='1.0'?>\n<Response>\n  <Dial\n    timeout='x'>\n    <Client>a</Client>\n    <Foo/>\n  </Dial>\n</Response>";
    let document = Document::parse(text, &Url::parse("https://u:secret@example.com/a").unwrap()).unwrap();
    let lines: Vec<(u32, Option<u32>)> = document.warnings.iter().map(|w| (w.code, w.line)).collect();
    assert_eq!(lines, [(13212, Some(4)), (12200, Some(6))]);
    assert_eq!(document.verbs[0].line, 3);
    assert_eq!(document.warnings[0].url.as_deref(), Some("https://example.com/a"), "without credentials");
    assert!(document.warnings[0].message.contains("timeout=\"x\""), "{}", document.warnings[0].message);
}

/// What a document can leave behind is bounded.
#[test]
fn warnings_are_bounded() {
    let compiled = run(&"<Foo/>".repeat(500));
    assert_eq!(compiled.warnings.len(), MAX_WARNINGS + 1);
    assert_eq!(compiled.warnings.last().unwrap().code, 12220);
}

/// RCML.md part 2, Number: visual separators and white space are removed; bare text is a Number.
#[test]
fn numbers() {
    let digits = |text: &str| {
        let (noun, codes) = noun(text);
        match noun.endpoint {
            Endpoint::Number { digits } => (digits, codes),
            other => panic!("{other:?}"),
        }
    };
    for text in ["<Number>+1 (555) 123-45.67</Number>", "+1-555-123-4567", "<Number>\n+15551234567\n</Number>"] {
        assert_eq!(digits(text), ("+15551234567".to_owned(), vec![]), "{text}");
    }
    assert_eq!(digits("<Number>*31#100</Number>").0, "*31#100");
    let (noun, _) = noun("<Number url='s' statusCallback='c'>100?X-A=1</Number>");
    assert_eq!(noun.headers, [("X-A".to_owned(), "1".to_owned())]);
    assert!(noun.screening.is_some() && noun.callback.is_some());
    for bad in ["<Number>alice</Number>", "<Number>+</Number>", "<Number/>", "client:alice", "<Number>1+2</Number>"] {
        let (dial, codes) = dial(&format!("<Dial>{bad}</Dial>"));
        assert_eq!((dial.nouns.len(), codes), (0, vec![13223, 13215]), "{bad}");
    }
    assert_eq!(dial("<Dial/>").1, [13215]);
}

/// RCML.md part 2, Sip: as Number, and username, password; the text is a SIP URI.
#[test]
fn sip_uris() {
    let (noun, codes) = noun("<Sip username=' u ' password='p'>sip:bob@example.org:5070;transport=tcp?X-A=b%20c</Sip>");
    assert_eq!(codes, [0; 0]);
    assert_eq!(
        noun.endpoint,
        Endpoint::Sip {
            uri: "sip:bob@example.org:5070;transport=tcp".to_owned(),
            username: Some("u".to_owned()),
            password: Some("p".to_owned()),
        }
    );
    assert_eq!(noun.headers, [("X-A".to_owned(), "b c".to_owned())]);
    assert!(!format!("{noun:?}").contains("\"p\""), "a password is never in Debug output");
    for good in ["SIP:bob@example.org", "sip:example.org;Transport=UDP", "sip:bob@[2001:db8::1]:5060"] {
        assert_eq!(dial(&format!("<Dial><Sip>{good}</Sip></Dial>")).0.nouns.len(), 1, "{good}");
    }
    for bad in ["bob@example.org", "tel:+1555", "sip:", "sip:bob@", "sip:a b@c", "sip:a@b&gt;", "sip:a&#10;@b"] {
        assert_eq!(dial(&format!("<Dial><Sip>{bad}</Sip></Dial>")).1, [13226, 13215], "{bad}");
    }
    // RFC 3261 §26.2.2: what asks for TLS never goes in clear.
    for other in ["SIPS:bob@example.org", "sip:bob@example.org:5061;lr;Transport=TLS", "sip:example.org;transport=ws"] {
        assert_eq!(dial(&format!("<Dial><Sip>{other}</Sip></Dial>")).1, [13230, 13215], "{other}");
    }
    assert_eq!(dial("<Dial><Sip>sip:a;transport=tls@example.org</Sip></Dial>").0.nouns.len(), 1, "of the user");
    // Credentials belong to Sip only.
    assert_eq!(common::noun("<Client username='u'>a</Client>").1, [12200]);
}

/// RCML.md 1.3: a screening document that contains Dial is refused as a whole; Reject is skipped with a warning.
#[test]
fn screening_documents() {
    for body in
        ["<Dial><Client>a</Client></Dial>", "<Hangup/><Dial/>", "<Gather><Dial/></Gather>", "<Pause/><X><Dial/></X>"]
    {
        let compiled = run_for(body, Purpose::Screening);
        assert_eq!(
            compiled.program.map_err(|notice| (notice.level, notice.code)),
            Err((Level::Error, 13201)),
            "{body}"
        );
        assert!(run(body).program.is_ok());
    }
    let compiled = run_for("<Reject/><Pause/><Hangup/>", Purpose::Screening);
    assert_eq!(codes(&compiled.warnings), [13811]);
    assert_eq!(compiled.program.unwrap().steps, [Step::Pause { seconds: 1 }, Step::Hangup]);
    assert_eq!(run_for("", Purpose::Screening).program.unwrap().steps, []);
}

/// What TwiML helper libraries write is understood; attributes that RCML has not are warnings only.
#[test]
fn twiml_helper_output() {
    let text = concat!(
        r#"<?xml version="1.0" encoding="UTF-8"?><Response><Dial action="/done" answerOnBridge="true" callerId="+15550001" "#,
        r#"recordingStatusCallbackEvent="completed" referUrl="/r" ringTone="de" sequential="false" timeLimit="600" timeout="20">"#,
        r#"<Client statusCallback="/e" statusCallbackEvent="initiated ringing answered completed" statusCallbackMethod="POST">"#,
        r#"<Identity>alice</Identity><Parameter name="FirstName" value="Jane"/></Client>"#,
        r#"<Number byoc="BY1" sendDigits="ww1">+15550002</Number><Sip machineDetection="Enable">sip:x@example.org</Sip></Dial>"#,
        r#"<Pause length="2"/><Redirect method="POST">/next</Redirect><Reject reason="busy"/><Hangup/></Response>"#
    );
    let compiled = compile(text, &Url::parse(BASE).unwrap(), Purpose::Call);
    assert!(compiled.warnings.iter().all(|w| w.code == 12200 && w.level == Level::Warning), "{:?}", compiled.warnings);
    assert_eq!(compiled.warnings.len(), 8);
    let steps = compiled.program.unwrap().steps;
    assert_eq!(steps.len(), 5);
    let Step::Dial(dial) = &steps[0] else { panic!() };
    assert_eq!((dial.nouns.len(), dial.timeout, dial.time_limit), (3, 20, 600));
    assert_eq!(dial.nouns[0].headers, [("X-FirstName".to_owned(), "Jane".to_owned())]);
}

/// The program is the payload of an invocation: it survives JSON.
#[test]
fn programs_survive_json() {
    let program = run("<Dial action='a'><Client url='s'>a</Client>7</Dial><Dial>+1</Dial><Reject/>").program.unwrap();
    let json = serde_json::to_string(&program).unwrap();
    assert_eq!(serde_json::from_str::<ringfork_rcml::Program>(&json).unwrap(), program);
}
