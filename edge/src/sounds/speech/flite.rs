//! flite as a child process: the voice of a laptop. The text goes by its standard input, never through a shell.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ringfork_call::action::PlayError;
use ringfork_call::control::{Languages, Voices};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::super::decode::decode;
use super::super::unreadable;
use super::{Speech, Utterance, polly};

/// For one text, waiting for its turn included.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of its complaints that are read.
const COMPLAINTS: u64 = 1000;

/// Speaks with flite.
pub struct Flite {
    program: PathBuf,
    patience: Duration,
    turns: Arc<Semaphore>,
}

impl Default for Flite {
    /// `flite` of the PATH, as many at a time as there are processors.
    fn default() -> Self {
        let turns = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
        Self { program: "flite".into(), patience: PATIENCE, turns: Arc::new(Semaphore::new(turns)) }
    }
}

/// Its voices by name.
const VOICES: [&str; 5] = ["rms", "slt", "awb", "kal", "kal16"];

/// The best understood one where none is asked for; those that other platforms know by `man` and `woman` too, and for
/// one of Polly's a voice of the same gender.
fn voice(asked: Option<&str>) -> &'static str {
    let asked = asked.unwrap_or_default().trim();
    match asked.to_ascii_lowercase().as_str() {
        "slt" | "woman" | "alice" | "female" => "slt",
        "kal" | "kal16" => "kal16",
        "awb" => "awb",
        _ if polly::is_woman(asked) => "slt",
        _ => "rms",
    }
}

impl Flite {
    async fn run(&self, utterance: &Utterance) -> Result<Vec<u8>, PlayError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => unreadable(
                "flite, which speaks <Say>, is not installed: apt install flite, or start with --speech polly or off",
            ),
            _ => unreadable(format!("flite cannot be run: {error}")),
        };
        let file = tempfile::Builder::new().prefix("ringfork-say-").suffix(".wav").tempfile().map_err(failed)?;
        let mut child = Command::new(&self.program)
            .args(["-voice", voice(utterance.voice.as_deref()), "-f", "/dev/stdin", "-o"])
            .arg(file.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        if let Some(mut input) = child.stdin.take() {
            // Line breaks and NULs are no part of what is said; it wants its text to end in one.
            let text: String = utterance.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let _ = input.write_all(text.as_bytes()).await;
            let _ = input.write_all(b"\n").await;
        }
        let mut complaints = String::new();
        if let Some(output) = child.stderr.take() {
            let _ = output.take(COMPLAINTS).read_to_string(&mut complaints).await;
        }
        let status = child.wait().await.map_err(failed)?;
        if !status.success() {
            let complaint = complaints.lines().next().unwrap_or_default();
            return Err(unreadable(format!("flite failed ({status}): {complaint}")));
        }
        tokio::fs::read(file.path()).await.map_err(failed)
    }
}

#[async_trait]
impl Speech for Flite {
    /// The second way of choosing its voices.
    fn name(&self) -> &str {
        "flite 2"
    }

    /// Its voices are English; it reads every text so.
    fn languages(&self) -> Languages {
        Languages::English
    }

    fn voices(&self) -> Voices {
        Voices::Named(&VOICES)
    }

    async fn speak(&self, utterance: &Utterance) -> Result<Vec<i16>, PlayError> {
        let spoken = async {
            let _turn = self.turns.acquire().await;
            self.run(utterance).await
        };
        let late = || unreadable("flite did not speak in time: this machine has too much to say");
        let wav = tokio::time::timeout(self.patience, spoken).await.map_err(|_| late())??;
        let decoded = tokio::task::spawn_blocking(move || {
            let mut samples = Vec::new();
            decode(Box::new(io::Cursor::new(wav)), Some("audio/wav"), &mut |chunk| {
                samples.extend(chunk);
                true
            })
            .map(|()| samples)
        });
        decoded.await.unwrap_or_else(|_| Err(unreadable("what flite said cannot be read")))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn utterance(text: &str) -> Utterance {
        Utterance { text: text.into(), voice: None, language: "en".into() }
    }

    /// A program in flite's place.
    fn stand_in(script: &str) -> (tempfile::TempDir, Flite) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("flite");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        (folder, Flite { program, ..Flite::default() })
    }

    /// What it says by this stand-in. A program that was just written cannot be run while a child that another test is
    /// starting still has it open.
    async fn speak(flite: &Flite) -> Result<Vec<i16>, PlayError> {
        for _ in 0..1000 {
            match flite.speak(&utterance("hello")).await {
                Err(error) if error.reason.contains("Text file busy") => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                spoken => return spoken,
            }
        }
        panic!("the stand-in is busy for ever")
    }

    /// With flite itself, where it is installed (tests/tools.sh): a sentence has its length and its energy, and what a
    /// shell would do with a text does not happen.
    #[tokio::test]
    async fn a_sentence_is_spoken() {
        let flite = Flite::default();
        let spoken = flite.speak(&utterance("Press one to accept this call.")).await;
        if matches!(&spoken, Err(error) if error.reason.contains("apt install flite")) {
            assert!(std::env::var_os("CI").is_none(), "flite is not installed: run tests/tools.sh");
            return;
        }
        let spoken = spoken.unwrap();
        let seconds = spoken.len() as f64 / 8000.0;
        assert!((1.0..5.0).contains(&seconds), "{seconds} s");
        let energy: f64 = spoken.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / spoken.len() as f64;
        assert!(energy.sqrt() > 300.0, "{}", energy.sqrt());
        let longer = flite.speak(&utterance("Press one to accept this call. Press two to decline this call.")).await;
        assert!(longer.unwrap().len() > spoken.len() * 3 / 2);
        let marker = std::env::temp_dir().join(format!("ringfork-no-{}", std::process::id()));
        let evil = format!("-o; touch {0} $(touch {0}) `touch {0}`", marker.display());
        assert!(!flite.speak(&utterance(&evil)).await.unwrap().is_empty());
        assert!(!marker.exists());
    }

    /// RCML.md part 2, Say: the names of TwiML have voices of their gender.
    #[test]
    fn voices() {
        for (asked, spoken) in [
            (None, "rms"),
            (Some("man"), "rms"),
            (Some("Alice"), "slt"),
            (Some("woman"), "slt"),
            (Some("kal16"), "kal16"),
            (Some("Polly.Joanna"), "slt"),
            (Some("Polly.Amy-Neural"), "slt"),
            (Some("Polly.Matthew"), "rms"),
            (Some("Polly.Nobody"), "rms"),
            (Some("nobody"), "rms"),
        ] {
            assert_eq!(voice(asked), spoken, "{asked:?}");
        }
        assert!(VOICES.contains(&voice(None)));
    }

    #[tokio::test]
    async fn a_missing_flite_names_the_fix() {
        let flite = Flite { program: "/nowhere/flite".into(), ..Flite::default() };
        let error = flite.speak(&utterance("hello")).await.unwrap_err();
        assert!(error.reason.contains("apt install flite") && !error.fetch, "{}", error.reason);
    }

    #[tokio::test]
    async fn a_failing_flite_is_told() {
        let (_folder, flite) = stand_in("echo no such voice >&2; exit 3");
        let error = speak(&flite).await.unwrap_err();
        assert!(error.reason.contains("no such voice"), "{}", error.reason);
        let (_folder, flite) = stand_in("cat >/dev/null");
        assert!(speak(&flite).await.is_err(), "no sound");
    }

    #[tokio::test]
    async fn a_hanging_flite_is_ended() {
        let (_folder, flite) = stand_in("exec sleep 600");
        let flite = Flite { patience: Duration::from_millis(200), ..flite };
        let error = speak(&flite).await.unwrap_err();
        assert!(error.reason.contains("in time"), "{}", error.reason);
    }
}
