//! The demonstration (`ringfork demo`, `make run`): clients, a number and a sample application at first start, one call
//! through the running server with scripted phones, drawn as it happens; then a live line for each real call.

mod app;
mod ladder;
mod phone;
mod script;
mod setup;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Duration;

use crate::serve::Server;
use crate::start::StartError;

use app::Told;
use ladder::{Ladder, Tint};
pub use phone::{Account, Answered, Dialog, Phone, PhoneError, Seen};

/// Things to show that may wait; what is beyond is not shown.
const QUEUE: usize = 1024;
/// After the call: for its last callbacks to come.
const LAST_CALLBACKS: Duration = Duration::from_secs(3);

/// The parties of the picture, from the left.
const PARTIES: [&str; 6] = ["alice", "ringfork", "bob desk", "bob mobile", "carol", "application"];

/// What the picture shows.
enum Happening {
    Sip(Seen),
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
    let (told, heard) = mpsc::channel(QUEUE);
    let application = app::start(logins, told).await;
    let application = application.map_err(|error| StartError(format!("the sample application: {error}")))?;
    let number = server.credentials.number.clone().unwrap_or_default();
    setup::point(&number, &admin, &format!("http://{application}/voice")).await?;
    Ok(Demonstration { domain: domain.to_owned(), number, application, made, heard })
}

/// A prepared demonstration.
pub struct Demonstration {
    domain: String,
    number: String,
    application: SocketAddr,
    made: bool,
    heard: mpsc::Receiver<Told>,
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
        while let Some(told) = self.heard.recv().await {
            if let Some(line) = live_line(&told, &mut calls) {
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
        say("");
        let (trace, mut seen) = mpsc::channel(QUEUE);
        let (registered, is_registered) = oneshot::channel();
        let number = self.number.clone();
        let edge = reachable(*sip);
        let script = tokio::spawn(async move { script::place(edge, accounts, &number, trace, registered).await });
        if is_registered.await.is_ok() {
            say("Four phones have registered, each with a digest challenge.");
            say("");
        }
        say(&ladder.head());
        let start = Instant::now();
        let mut completed = 0;
        let mut over: Option<tokio::time::Instant> = None;
        loop {
            let end = async {
                match over {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let happening = tokio::select! {
                sip = seen.recv(), if over.is_none() => match sip {
                    Some(sip) => Happening::Sip(sip),
                    None => {
                        over = Some(tokio::time::Instant::now() + LAST_CALLBACKS);
                        continue;
                    }
                },
                Some(told) = self.heard.recv() => Happening::App(told),
                () = end => break,
            };
            if let Happening::App(Told::Event(event)) = &happening {
                completed += usize::from(event.get("CallDuration").is_some());
            }
            let row = draw(&ladder, start.elapsed().as_secs_f64(), &happening);
            if !row.is_empty() {
                say(&row);
            }
            if over.is_some() && completed == 3 {
                break;
            }
        }
        say("");
        match script.await {
            Ok(Ok(observed)) => {
                let line = |who: &str, (packets, strength): (usize, f64), whose: &str| {
                    format!("{who} heard {packets} packets of sound, {:.0} % of it {whose} tone.", strength * 100.0)
                };
                say(&line("alice", observed.alice, "bob's"));
                say(&line("bob", observed.bob, "alice's"));
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

/// One message or request as a row of the picture.
fn draw(ladder: &Ladder, seconds: f64, happening: &Happening) -> String {
    match happening {
        Happening::Sip(Seen { phone, sent, message }) => {
            let (label, tint) = match (message.method(), message.status()) {
                (Some(method), _) => {
                    let tint = if matches!(method.as_str(), "CANCEL" | "BYE") { Tint::Bad } else { Tint::Plain };
                    (method.as_str().to_owned(), tint)
                }
                (None, Some(status)) => {
                    let tint = match status {
                        100 => Tint::Faint,
                        200..=299 => Tint::Good,
                        400.. => Tint::Bad,
                        _ => Tint::Plain,
                    };
                    (format!("{status} {}", ringfork_sip::build::reason_phrase(status)), tint)
                }
                _ => return String::new(),
            };
            let (from, to) = if *sent { (phone.as_str(), "ringfork") } else { ("ringfork", phone.as_str()) };
            let reason = message.fields_named("Reason").next().map(|field| format!("Reason: {}", field.text()));
            ladder.row(seconds, from, to, &label, &reason.unwrap_or_default(), tint)
        }
        Happening::App(told) => {
            let (label, remark) = match told {
                Told::Call(form) => ("POST /voice", format!("From={} → <Dial>", value(form, "From"))),
                Told::Event(form) => ("POST /events", event_text(form)),
                Told::After(form) => (
                    "POST /after",
                    format!(
                        "DialCallStatus={} DialCallDuration={}",
                        value(form, "DialCallStatus"),
                        value(form, "DialCallDuration")
                    ),
                ),
            };
            ladder.row(seconds, "ringfork", "application", label, &remark, Tint::Faint)
        }
    }
}

/// A status callback in few words.
fn event_text(form: &BTreeMap<String, String>) -> String {
    let sid = value(form, "CallSid");
    let tail = sid.get(sid.len().saturating_sub(4)..).unwrap_or_default();
    let mut text = format!(
        "{} …{tail} {} (event {})",
        value(form, "To"),
        value(form, "CallStatus"),
        value(form, "SequenceNumber")
    );
    if let Some(duration) = form.get("CallDuration") {
        text.push_str(&format!(", over after {duration} s"));
    }
    text
}

/// A line of the live list, if this deserves one.
fn live_line(told: &Told, calls: &mut BTreeMap<String, String>) -> Option<String> {
    let time = ringfork_call::control::rfc2822(crate::core::now().unix_ms);
    let time = time.split(' ').find(|word| word.contains(':')).unwrap_or_default().to_owned();
    // Bounded: a call whose end was missed is forgotten with the oldest.
    while calls.len() > QUEUE {
        calls.pop_first();
    }
    match told {
        Told::Call(form) => {
            let (from, to) = (value(form, "From"), value(form, "To"));
            calls.insert(value(form, "CallSid").to_owned(), from.to_owned());
            Some(format!("{time}  {from} calls {to}"))
        }
        Told::Event(form) => {
            let from = calls.get(value(form, "ParentCallSid")).map_or("a call", String::as_str);
            Some(format!("{time}  {from}: {}", event_text(form)))
        }
        Told::After(form) => {
            let from = calls.remove(value(form, "CallSid")).unwrap_or_else(|| "a call".into());
            let (status, seconds) = (value(form, "DialCallStatus"), value(form, "DialCallDuration"));
            Some(format!("{time}  {from}: over, {status}, {seconds} s"))
        }
    }
}

fn value<'a>(form: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    form.get(name).map_or("", String::as_str)
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
