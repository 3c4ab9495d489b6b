//! Every message of RFC 4475 and RFC 5118, as far as the message layer decides about it. The files are read from a
//! folder beside the repository; without it this test has nothing to do (each rule has a case of its own in
//! `rules.rs`).

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ringfork_sip::{Fault, Message};

/// What the message layer does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Taken.
    Accept,
    /// Refused with this status, and answerable.
    Refuse(u16),
    /// Dropped.
    Discard,
}

fn verdict(raw: Vec<u8>) -> (Verdict, Option<Fault>) {
    match Message::parse_valid(Bytes::from(raw)) {
        Ok(_) => (Verdict::Accept, None),
        Err(fault) if fault.answerable().is_some() => (Verdict::Refuse(fault.status), Some(fault)),
        Err(fault) => (Verdict::Discard, Some(fault)),
    }
}

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/sip-torture");
    if folder.join("INDEX.tsv").exists() {
        return Some(folder);
    }
    eprintln!("no torture files beside this checkout: nothing to do");
    None
}

/// The bytes as they are sent (see the folder's README): RFC 5118's files have bare LF and no exact Content-Length,
/// `baddn` lacks the blank line.
fn wire_bytes(folder: &Path, name: &str) -> Vec<u8> {
    let raw = std::fs::read(folder.join(name)).unwrap();
    if name.ends_with("/baddn.dat") {
        return [&raw, b"\r\n".as_slice()].concat();
    }
    if !name.starts_with("rfc5118/") {
        return raw;
    }
    let text = String::from_utf8(raw).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let body = body.replace('\n', "\r\n");
    let mut out = String::new();
    for line in head.lines() {
        let is_length = line.to_ascii_lowercase().starts_with("content-length") || line.starts_with("l:");
        if is_length {
            out.push_str(&format!("Content-Length: {}\r\n", body.len()));
        } else {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    out.push_str("\r\n");
    out.push_str(&body);
    out.into_bytes()
}

#[test]
fn each_message_gets_the_verdict_of_the_index() {
    let Some(folder) = folder() else { return };
    let index = std::fs::read_to_string(folder.join("INDEX.tsv")).unwrap();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in index.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [file, _, kind, class, expect, allowed, ..] = columns[..] else { panic!("{line}") };
        seen += 1;
        let (got, fault) = verdict(wire_bytes(&folder, file));
        let mut fine = Vec::new();
        match (kind, class) {
            // A response is taken or dropped; it is never answered.
            ("response", "invalid") => fine.push(Verdict::Discard),
            ("response", _) => fine.push(Verdict::Accept),
            // What is right in itself passes here; a layer above refuses what the index says.
            (_, "valid") => fine.push(Verdict::Accept),
            (_, "semantic") => {
                fine.push(Verdict::Accept);
                fine.extend(expect.parse().map(Verdict::Refuse));
            }
            (_, "invalid") => {
                for answer in std::iter::once(expect).chain(allowed.split(',')) {
                    match answer {
                        "accept" => fine.push(Verdict::Accept),
                        status => fine.extend(status.parse().map(Verdict::Refuse)),
                    }
                }
            }
            other => panic!("{other:?}"),
        }
        // These two can only be told here: required fields missing, or there twice.
        if file.ends_with("insuf.dat") || file.ends_with("multi01.dat") || file.ends_with("mcl01.dat") {
            fine.retain(|verdict| *verdict != Verdict::Accept);
        }
        if !fine.contains(&got) {
            wrong.push(format!("{file}: {got:?} ({fault:?}), not one of {fine:?}"));
        }
    }
    assert_eq!(seen, 61);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
