//! Precedence, bad values and the one line that each of them gives.

use super::*;
use std::io::Write as _;

fn read(words: &[&str], variables: &[(&str, &str)]) -> Result<Options, ConfigError> {
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    let arguments = std::iter::once("ringfork").chain(words.iter().copied()).map(OsString::from);
    match parse(arguments, &lookup)? {
        Mode::Serve(options) | Mode::Demo(options) => Ok(options),
    }
}

fn usage(words: &[&str], variables: &[(&str, &str)]) -> String {
    match read(words, variables) {
        Err(ConfigError::Usage(line)) => line,
        other => panic!("{other:?}"),
    }
}

fn toml(text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    (file, path)
}

/// DESIGN "Running it": the defaults.
#[test]
fn defaults() {
    let options = read(&["serve"], &[]).unwrap();
    assert_eq!(options.data, Data::Directory("./ringfork-data".into()));
    assert_eq!(options.sip, vec!["127.0.0.1:5060".parse().unwrap()]);
    assert_eq!(options.http, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(options.domain, "ringfork.local");
    assert_eq!(options.rtp_ports.to_string(), "20000-29999");
    assert_eq!((options.min_expires, options.max_expires, options.abuse_limit), (60, 3600, 20));
    assert_eq!(options.digest, DigestChoice::Both);
    assert!(!options.allow_private_urls);
}

/// DESIGN "Running it": a flag, a variable and a key of the file, the earlier winning.
#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let (_keep, path) =
        toml("domain = \"file.example\"\nabuse-limit = 1\nmin-expires = 70\nlocal-net = [\"10.0.0.0/8\"]\n");
    let variables = [("RINGFORK_DOMAIN", "variable.example"), ("RINGFORK_ABUSE_LIMIT", "2")];
    let options = read(&["serve", "--config", &path, "--domain", "flag.example"], &variables).unwrap();
    assert_eq!(options.domain, "flag.example");
    assert_eq!(options.abuse_limit, 2);
    assert_eq!(options.min_expires, 70);
    assert_eq!(options.local_net.len(), 1);
}

#[test]
fn the_file_can_be_named_by_a_variable() {
    let (_keep, path) = toml("domain = \"file.example\"\n");
    assert_eq!(read(&["serve"], &[("RINGFORK_CONFIG", &path)]).unwrap().domain, "file.example");
}

#[test]
fn a_repeatable_option_is_replaced_as_a_whole() {
    let (_keep, path) = toml("sip = [\"127.0.0.1:1111\", \"[::1]:1111\"]\n");
    assert_eq!(read(&["serve", "--config", &path], &[]).unwrap().sip.len(), 2);
    let options = read(&["serve", "--config", &path, "--sip", "127.0.0.1:2222"], &[]).unwrap();
    assert_eq!(options.sip, vec!["127.0.0.1:2222".parse().unwrap()]);
    let options = read(&["serve"], &[("RINGFORK_SIP", "127.0.0.1:1,127.0.0.1:2")]).unwrap();
    assert_eq!(options.sip.len(), 2);
}

#[test]
fn an_unknown_key_of_the_file_is_named() {
    let (_keep, path) = toml("sipp = \"127.0.0.1:0\"\n");
    let line = usage(&["serve", "--config", &path], &[]);
    assert!(line.contains("`sipp`") && line.contains(&path), "{line}");
}

#[test]
fn a_bad_value_names_where_it_stands() {
    let (_keep, path) = toml("rtp-ports = \"9\"\n");
    let line = usage(&["serve", "--config", &path], &[]);
    assert!(line.starts_with(&format!("{path}: rtp-ports: ")) && line.contains("20000-29999"), "{line}");
    let line = usage(&["serve"], &[("RINGFORK_HTTP", "nowhere")]);
    assert!(line.starts_with("RINGFORK_HTTP: "), "{line}");
}

#[test]
fn every_bad_option_gives_one_line() {
    for words in [
        &["serve", "--sip", "5060"][..],
        &["serve", "--http", "localhost"],
        &["serve", "--rtp-ports", "1-2"],
        &["serve", "--digest", "sha1"],
        &["serve", "--min-expires", "0"],
        &["serve", "--min-expires", "100", "--max-expires", "90"],
        &["serve", "--trunk-user", "a"],
        &["serve", "--trunk", "sip:x.example", "--trunk-user", "a"],
        &["serve", "--public-address", "0.0.0.0"],
        &["serve", "--sip", "127.0.0.1:5060", "--sip", "127.0.0.1:5060"],
        &["serve", "--nosuch"],
        &["serve", "--domain", "a b"],
        &["serve", "--log", "a=b=c"],
        &["serve", "--config", "/nonexistent/file.toml"],
        &["frobnicate"],
    ] {
        let line = usage(words, &[]);
        assert!(!line.is_empty() && !line.contains('\n'), "{words:?}: {line}");
    }
}

#[test]
fn a_secret_never_appears_in_an_error() {
    let line = usage(&["serve", "--auth-token", "kurz"], &[]);
    assert!(line.contains("--auth-token") && !line.contains("kurz"), "{line}");
    let options = read(&["serve", "--auth-token", "0123456789abcdef"], &[]).unwrap();
    assert!(!format!("{options:?}").contains("0123456789abcdef"));
}

/// RCML.md 3.2: `ringfork demo` gives --allow-private-urls, `serve` does not.
#[test]
fn the_demonstration_allows_private_urls_unless_told() {
    assert!(read(&["demo"], &[]).unwrap().allow_private_urls);
    assert!(!read(&["demo", "--allow-private-urls=false"], &[]).unwrap().allow_private_urls);
    assert!(!read(&["demo"], &[("RINGFORK_ALLOW_PRIVATE_URLS", "false")]).unwrap().allow_private_urls);
    assert!(read(&["serve", "--allow-private-urls"], &[]).unwrap().allow_private_urls);
}

#[test]
fn help_explains_every_option_with_its_variable() {
    let help = match parse(["ringfork", "serve", "--help"].map(OsString::from), &|_| None) {
        Err(ConfigError::Information(text)) => text,
        other => panic!("{other:?}"),
    };
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    for argument in serve.get_arguments() {
        let long = argument.get_long().unwrap();
        assert!(help.contains(&format!("--{long}")), "{long}");
        if long != "help" {
            assert!(argument.get_help().is_some(), "{long}");
            assert!(help.contains(&variable_name(long)), "{long}");
        }
    }
    assert!(help.contains("[default: 127.0.0.1:5060]"));
}

/// The issue: `docs/operations.md` explains the options.
#[test]
fn the_handbook_names_every_option() {
    let handbook = include_str!("../../../docs/operations.md");
    let command = Cli::command();
    for argument in command.find_subcommand("serve").unwrap().get_arguments() {
        let long = argument.get_long().unwrap();
        assert!(long == "help" || handbook.contains(&format!("`--{long}")), "{long}");
    }
}
