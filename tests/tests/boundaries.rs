//! The boundaries of the packages: arrows never run back (ARCHITECTURE.md, "Map").
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;

use serde_json::Value;

/// Every package with the names of all it depends on, directly and through others, development dependencies left out.
fn dependencies() -> HashMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let output = if output.status.success() {
        output
    } else {
        // Packages for other platforms may not be downloaded yet.
        Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap()
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: HashMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let direct: HashMap<&str, Vec<&str>> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let normal = node["deps"].as_array().unwrap().iter().filter(|dependency| {
                dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null())
            });
            (node["id"].as_str().unwrap(), normal.map(|dependency| dependency["pkg"].as_str().unwrap()).collect())
        })
        .collect();
    let reach = |start: &str| {
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(id) = open.pop() {
            for next in &direct[id] {
                if seen.insert(*next) {
                    open.push(next);
                }
            }
        }
        seen.into_iter().map(|id| names[id].to_owned()).collect()
    };
    names
        .iter()
        .filter(|(_, name)| name.starts_with("ringfork"))
        .map(|(id, name)| ((*name).to_owned(), reach(id)))
        .collect()
}

/// Pure packages know nothing of tokio, sockets or AWS; functions know nothing of SIP.
#[test]
fn arrows_never_run_back() {
    let dependencies = dependencies();
    let none_of = |package: &str, forbidden: &[&str]| {
        let reached = &dependencies[package];
        for name in forbidden {
            assert!(!reached.contains(*name), "{package} must not depend on {name}");
        }
    };
    for pure in ["ringfork-sip", "ringfork-media", "ringfork-call", "ringfork-rcml"] {
        none_of(pure, &["tokio", "reqwest", "aws-config", "aws-sdk-dynamodb", "socket2", "mio", "hyper"]);
    }
    for function in ["rcml", "webhook", "state", "evaluate", "callback", "api", "reap"] {
        none_of(
            &format!("ringfork-{function}"),
            &["ringfork", "ringfork-sip", "ringfork-call", "ringfork-media", "rsip", "dynoxide-rs"],
        );
    }
    none_of("ringfork-sip", &["ringfork-call", "ringfork-rcml", "ringfork-media"]);
    none_of("ringfork-media", &["ringfork-call", "ringfork-rcml"]);
}
