//! The demonstration call: alice calls the number; bob's two phones and carol's ring; bob's desk phone answers; they
//! hear each other; alice hangs up.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::phone::{Account, Phone, PhoneError, Seen};

/// How long they talk.
const TALK: Duration = Duration::from_secs(2);
/// How long the phones ring before one is picked up: a person sees it.
const RING: Duration = Duration::from_millis(1200);
/// The tones that they send, hertz.
const ALICE_TONE: f64 = 440.0;
const BOB_TONE: f64 = 620.0;

/// What the phones observed.
#[derive(Debug)]
pub struct Observed {
    /// Packets that alice heard, and how much of them was bob's tone, 0 to 1.
    pub alice: (usize, f64),
    /// The same of bob.
    pub bob: (usize, f64),
    /// Why the other phones were told to stop.
    pub reasons: Vec<Option<String>>,
}

impl Observed {
    /// Both heard the other, and the losers know why.
    pub fn is_good(&self) -> bool {
        let heard = |(packets, strength): (usize, f64)| packets > 25 && strength > 0.5;
        heard(self.alice)
            && heard(self.bob)
            && self.reasons.iter().flatten().filter(|reason| reason.contains("Call completed elsewhere")).count() == 2
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
    trace: mpsc::Sender<Seen>,
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
        let heard = caller.talk(&answered.dialog, ALICE_TONE, BOB_TONE, TALK).await?;
        caller.hang_up(&answered.dialog).await?;
        caller.hide();
        caller.unregister().await?;
        Ok::<_, PhoneError>(heard)
    });
    let losers = [mobile, other].map(|mut phone| {
        tokio::spawn(async move {
            let invite = phone.called().await?;
            phone.ring(&invite).await?;
            let reason = phone.cancelled(&invite).await?;
            phone.hide();
            phone.unregister().await?;
            Ok::<_, PhoneError>(reason)
        })
    });
    let invite = desk.called().await?;
    desk.ring(&invite).await?;
    tokio::time::sleep(RING).await;
    let dialog = desk.answer(&invite).await?;
    let heard = desk.talk(&dialog, BOB_TONE, ALICE_TONE, TALK).await?;
    desk.hung_up().await?;
    desk.hide();
    desk.unregister().await?;

    let lost = |error: tokio::task::JoinError| PhoneError::Io(std::io::Error::other(error));
    let mut reasons = Vec::new();
    for loser in losers {
        reasons.push(loser.await.map_err(lost)??);
    }
    Ok(Observed { alice: caller.await.map_err(lost)??, bob: heard, reasons })
}
