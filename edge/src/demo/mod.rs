//! The demonstration (`ringfork demo`, `make run`): clients, a number and a sample application at first start, one call
//! through the running server with scripted phones, drawn as it happens; then a live line for each real call.

mod app;
mod ladder;
mod line;
mod phone;
mod rows;
mod script;
mod setup;
mod tones;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Duration;

use crate::serve::Server;
use crate::start::StartError;

use app::Told;
use ladder::Ladder;
pub use line::Heard;
pub use phone::{Account, Answered, Dialog, Phone, PhoneError, Seen};

/// Things to show that may wait; what is beyond is not shown.
const QUEUE: usize = 1024;
/// After the call: for its last callbacks, and the request after the Dial, to come.
const LAST_CALLBACKS: Duration = Duration::from_secs(10);

/// The parties of the picture, from the left.
const PARTIES: [&str; 6] = ["alice", "ringfork", "bob desk", "bob mobile", "carol", "application"];

/// What the picture shows. Phones and the application tell it by one queue, so that it shows nothing before its cause:
/// who tells of it does so before it has any effect.
#[derive(Debug, Clone)]
pub enum Happening {
    /// At a phone.
    Phone(Seen),
    /// At the sample application.
    App(Told),
}

/// Prepares the store and starts the sample application.
///
/// # Errors
/// One line that names the fix.
pub async fn prepare(server: &mut Server, domain: &str) -> Result<Demonstration, StartError> {
    let admin = server.services.stores.admin.clone();
    let path = server.folder().credentials();
    let made = setup::provide(&mut server.credentials, &admin, domain, crate::core::now().unix_ms).await?;
    if made {
        server.credentials.write(&path)?;
    }
    let logins: Vec<String> = server.credentials.clients.iter().map(|client| client.login.clone()).collect();
    let (tell, told) = mpsc::channel(QUEUE);
    let application = app::start(logins, tell.clone()).await;
    let application = application.map_err(|error| StartError(format!("the sample application: {error}")))?;
    let number = server.credentials.number.clone().unwrap_or_default();
    setup::point(&number, &admin, &format!("http://{application}/voice")).await?;
    Ok(Demonstration { domain: domain.to_owned(), number, application, made, tell, told })
}

/// A prepared demonstration.
pub struct Demonstration {
    domain: String,
    number: String,
    application: SocketAddr,
    made: bool,
    tell: mpsc::Sender<Happening>,
    told: mpsc::Receiver<Happening>,
}

impl Demonstration {
    /// Shows the secrets if they are new, places the call, and says how to join.
    pub async fn show(&mut self, server: &Server) {
        self.introduce(server);
        self.call(server).await;
        self.invite(server);
    }

    /// A line for each thing that happens to a real call; for as long as it is polled.
    pub async fn watch(mut self) {
        let mut calls: BTreeMap<String, String> = BTreeMap::new();
        while let Some(happening) = self.told.recv().await {
            let Happening::App(told) = happening else { continue };
            if let Some(line) = rows::live(&told, &mut calls) {
                say(&line);
            }
        }
    }

    fn introduce(&self, server: &Server) {
        say("");
        say("Ringfork is running.");
        if self.made {
            say("");
            say("Made for this demonstration, and shown only this once:");
            say(&format!("  account    {}", server.credentials.account_sid));
            say(&format!("  auth token {}", server.credentials.auth_token));
            for client in &server.credentials.clients {
                say(&format!("  client     {:<12} password {}", client.login, client.password));
            }
            say(&format!(
                "  number     {}, answered by the sample application at http://{}/voice",
                self.number, self.application
            ));
        }
        say(&format!("Secrets are kept in {}", server.ready.credentials.display()));
    }

    async fn call(&mut self, server: &Server) {
        let accounts: Vec<Account> = server
            .credentials
            .clients
            .iter()
            .map(|client| Account {
                login: client.login.clone(),
                password: client.password.clone(),
                domain: self.domain.clone(),
            })
            .collect();
        let (Ok(accounts), Some(sip)) = (<[Account; 3]>::try_from(accounts), server.ready.sip.first()) else { return };
        let ladder = Ladder::new(&PARTIES, colours());
        say("");
        say(&format!(
            "One call through it: alice calls {}; the application says <Dial> bob and carol; bob has two phones.",
            self.number
        ));
        say(
            "Whoever answers hears a prompt of three notes first: 1 accepts, 2 declines, and alice goes on hearing ringing.",
        );
        say("");
        let trace = self.tell.clone();
        let (registered, is_registered) = oneshot::channel();
        let number = self.number.clone();
        let edge = reachable(*sip);
        let mut script = tokio::spawn(async move { script::place(edge, accounts, &number, trace, registered).await });
        if is_registered.await.is_ok() {
            say("Four phones have registered, each with a digest challenge.");
            say("");
        }
        say(&ladder.head());
        let start = Instant::now();
        let (mut completed, mut after) = (0, false);
        let mut ended = None;
        let last = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(last);
        while ended.is_none() || completed < 3 || !after {
            let happening = tokio::select! {
                biased;
                Some(happening) = self.told.recv() => happening,
                end = &mut script, if ended.is_none() => {
                    ended = Some(end);
                    last.as_mut().reset(tokio::time::Instant::now() + LAST_CALLBACKS);
                    continue;
                }
                () = &mut last, if ended.is_some() => break,
            };
            match &happening {
                Happening::App(Told::Event(event)) => completed += usize::from(event.get("CallDuration").is_some()),
                Happening::App(Told::After(_)) => after = true,
                _ => {}
            }
            let row = rows::draw(&ladder, start.elapsed().as_secs_f64(), &happening);
            if !row.is_empty() {
                say(&row);
            }
        }
        say("");
        let Some(ended) = ended else { return };
        match ended {
            Ok(Ok(observed)) => {
                let line = |who: &str, heard: line::Heard, whose: &str| {
                    let (packets, tone) = (heard.packets, heard.tone * 100.0);
                    format!("{who} heard {packets} packets of sound, {tone:.0} % of it {whose} tone")
                };
                say(&format!(
                    "{}, {} of the prompt.",
                    line("alice", observed.alice, "carol's"),
                    if observed.alice.prompt.is_zero() {
                        "nothing".to_owned()
                    } else {
                        rows::seconds(observed.alice.prompt)
                    }
                ));
                say(&format!("{}.", line("carol", observed.carol, "alice's")));
                if observed.is_good() && completed == 3 {
                    say("Each of the three legs was reported to the application, the last event once.");
                } else {
                    say("Something is not as it should be: the log on stderr says more with --log debug.");
                }
            }
            Ok(Err(problem)) => say(&format!("The demonstration call failed: {problem}")),
            Err(problem) => say(&format!("The demonstration call failed: {problem}")),
        }
    }

    fn invite(&self, server: &Server) {
        let Some(sip) = server.ready.sip.first() else { return };
        say("");
        say("Now your own phones. In a softphone (Linphone, Zoiper, baresip, ...) set");
        say(&format!(
            "  domain {}   proxy {} (UDP or TCP)   user and password of one of the clients",
            self.domain,
            reachable(*sip)
        ));
        say(&format!(
            "and dial {}, or another client's name. REST, health and metrics are at http://{}.",
            self.number, server.ready.http
        ));
        say("Ctrl-C finishes the calls that are up and ends. Real calls to the number show here:");
        say("");
    }
}

/// Where a phone on this machine reaches a listener.
fn reachable(listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.port()),
        IpAddr::V6(v6) if v6.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listener.port()),
        _ => listener,
    }
}

fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A closed stdout is no reason to end.
fn say(line: &str) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}
