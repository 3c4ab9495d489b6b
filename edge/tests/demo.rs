//! The demonstration as a newcomer sees it: the built binary's own lines on stdout.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Ends what it started, whatever the test comes to.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything up to the invitation to call with one's own phones.
fn shown() -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfork"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGFORK_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.args(["demo", "--data", "memory", "--sip", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let mut running =
        Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let out = BufReader::new(running.0.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut shown = Vec::new();
    loop {
        // The longest that any step of it may take is 20 s.
        match lines.recv_timeout(Duration::from_secs(60)) {
            Ok(line) if line.starts_with("Now your own phones") => return shown,
            Ok(line) => shown.push(line),
            Err(error) => panic!("{error}, after\n{}", shown.join("\n")),
        }
    }
}

/// Issue 4, 4: a leg that screens and accepts beside one that declines, with the lengths of sound and the digits; the
/// caller hears nothing of the prompt.
#[test]
fn one_phone_declines_and_another_accepts() {
    let lines = shown();
    let text = lines.join("\n");
    // The place of the one line that ends in this.
    let place = |end: &str| {
        let found: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].ends_with(end)).collect();
        assert_eq!(found.len(), 1, "{end:?} in\n{text}");
        found[0]
    };
    let digits = |key: &str, to: &str, reply: &str| {
        let end = format!(" Digits={key} → {reply}");
        let place = place(&end);
        assert!(lines[place].contains("POST /key") && lines[place].contains(&format!("{to} …")), "{}", lines[place]);
        place
    };
    let declined = [
        place("  bob desk heard 1.9 s of prompt"),
        place("  bob desk pressed 2"),
        digits("2", "client:bob", "<Response><Hangup/></Response>"),
    ];
    let accepted = [
        place("  carol heard 1.9 s of prompt"),
        place("  carol pressed 1"),
        digits("1", "client:carol", "<Response/>"),
        place("  Reason: SIP;cause=200;text=\"Call completed elsewhere\""),
    ];
    assert!(declined.is_sorted() && accepted.is_sorted(), "{text}");
    assert_eq!(lines.iter().filter(|line| line.ends_with(" → <Gather><Play>")).count(), 2, "{text}");
    assert!(lines.iter().any(|line| line.contains("DialCallStatus=completed")), "{text}");

    let heard = |who: &str, end: &str| {
        let line = lines.iter().find(|line| line.starts_with(&format!("{who} heard "))).expect(&text);
        assert!(line.ends_with(end), "{line}");
    };
    heard("alice", " of it carol's tone, nothing of the prompt.");
    heard("carol", " of it alice's tone.");
    place("Each of the three legs was reported to the application, the last event once.");
}
