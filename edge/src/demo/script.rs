//! The demonstration call: alice calls the number; bob's two phones and carol's ring; bob's desk phone and carol answer
//! and hear the prompt, bob declines with 2, carol accepts with 1, bob's mobile stops ringing; alice and carol hear each
//! other; alice hangs up.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Happening;
use super::line::Heard;
use super::phone::{Account, Dialog, Phone, PhoneError};

/// How long they talk: packets of 20 ms.
const TALK: usize = 100;
/// How long bob's desk phone and carol's ring before they are picked up: a person sees it, and both hear the prompt at
/// once for a while.
const BOB_RINGS: Duration = Duration::from_millis(800);
const CAROL_RINGS: Duration = Duration::from_millis(1400);
/// What they press.
const DECLINE: char = '2';
const ACCEPT: char = '1';
/// The tones that they send, hertz.
const ALICE_TONE: f64 = 440.0;
const CAROL_TONE: f64 = 620.0;

/// What the phones observed.
#[derive(Debug)]
pub struct Observed {
    /// What alice heard, carol's tone being due.
    pub alice: Heard,
    /// What carol heard once she was connected, alice's tone being due.
    pub carol: Heard,
    /// How much of the prompt bob's desk phone and carol's heard.
    pub prompts: [Duration; 2],
    /// Why bob's mobile was told to stop.
    pub reason: Option<String>,
}

impl Observed {
    /// Both heard the other, who was screened heard the prompt and alice did not, and the loser knows why.
    pub fn is_good(&self) -> bool {
        let heard = |heard: Heard| heard.packets > 25 && heard.tone > 0.5;
        heard(self.alice)
            && heard(self.carol)
            && self.alice.prompt.is_zero()
            && self.prompts.iter().all(|prompt| prompt.as_millis() > 1500)
            && self.reason.as_ref().is_some_and(|reason| reason.contains("Call completed elsewhere"))
    }
}

/// Places the call. `accounts` are alice, bob and carol; every message goes to `trace` once all are registered.
///
/// # Errors
/// What a phone could not do.
pub async fn place(
    edge: SocketAddr,
    [alice, bob, carol]: [Account; 3],
    number: &str,
    trace: mpsc::Sender<Happening>,
    registered: oneshot::Sender<()>,
) -> Result<Observed, PhoneError> {
    let at = edge.ip();
    let mut caller = Phone::new("alice", at, edge, alice).await?;
    let mut desk = Phone::new("bob desk", at, edge, bob.clone()).await?;
    let mut mobile = Phone::new("bob mobile", at, edge, bob).await?;
    let mut other = Phone::new("carol", at, edge, carol).await?;
    for phone in [&mut caller, &mut desk, &mut mobile, &mut other] {
        phone.register().await?;
        phone.show_to(trace.clone());
    }
    let _ = registered.send(());

    let number = number.to_owned();
    let caller = tokio::spawn(async move {
        let answered = caller.call(&number).await?;
        let heard = caller.talk(&answered.dialog, ALICE_TONE, CAROL_TONE, TALK).await?;
        caller.hang_up(&answered.dialog).await?;
        caller.hide();
        caller.unregister().await?;
        Ok::<_, PhoneError>(heard)
    });
    let loser = tokio::spawn(async move {
        let invite = mobile.called().await?;
        mobile.ring(&invite).await?;
        let reason = mobile.cancelled(&invite).await?;
        mobile.hide();
        mobile.unregister().await?;
        Ok::<_, PhoneError>(reason)
    });
    let declining = tokio::spawn(async move {
        let (_, prompt) = screened(&mut desk, BOB_RINGS, DECLINE).await?;
        desk.hung_up().await?;
        desk.hide();
        desk.unregister().await?;
        Ok::<_, PhoneError>(prompt)
    });
    let (dialog, prompt) = screened(&mut other, CAROL_RINGS, ACCEPT).await?;
    let carol = other.talk(&dialog, CAROL_TONE, ALICE_TONE, TALK).await?;
    other.hung_up().await?;
    other.hide();
    other.unregister().await?;

    let lost = |error: tokio::task::JoinError| PhoneError::Io(std::io::Error::other(error));
    let reason = loser.await.map_err(lost)??;
    let prompts = [declining.await.map_err(lost)??, prompt];
    Ok(Observed { alice: caller.await.map_err(lost)??, carol, prompts, reason })
}

/// Rings for a while, answers, hears the prompt and presses a key. Returns how much of the prompt it heard.
async fn screened(phone: &mut Phone, rings: Duration, key: char) -> Result<(Dialog, Duration), PhoneError> {
    let invite = phone.called().await?;
    phone.ring(&invite).await?;
    tokio::time::sleep(rings).await;
    let dialog = phone.answer(&invite).await?;
    let prompt = phone.listen(&dialog).await?;
    phone.press(&dialog, key).await?;
    Ok((dialog, prompt))
}
