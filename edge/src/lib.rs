//! The SIP edge: sockets, task wiring, adapters, configuration, metrics and drain.
//!
//! [`serve::Server`] is the whole of it. Threads: the core (SIP, calls) and the media relay have one each; HTTP, store
//! and functions share a runtime. [`core`] feeds the pure agent of `edge/call`; [`adapters`] do what it asks of the
//! store and of functions; [`net`] and [`media`] hold the sockets.

pub mod adapters;
pub mod config;
pub mod core;
pub mod demo;
pub mod http;
pub mod media;
pub mod net;
pub mod recordings;
pub mod serve;
pub mod sounds;
pub mod start;
pub mod store;
pub mod telemetry;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use config::{ConfigError, Mode, Options};
use serve::{Drained, Server};
use tokio::signal::unix::{SignalKind, signal};

/// A start that failed, or a drain that was cut short.
const FAILED: u8 = 1;
/// A bad option or value.
const USAGE: u8 = 2;

/// The binary: exit code 0 after an orderly end, 1 when it could not start or was ended at once, 2 for a bad option.
pub fn run(arguments: impl IntoIterator<Item = OsString>, variable: &dyn Fn(&str) -> Option<OsString>) -> ExitCode {
    let mode = match config::parse(arguments, variable) {
        Ok(mode) => mode,
        Err(ConfigError::Information(text)) => {
            print(&text);
            return ExitCode::SUCCESS;
        }
        Err(ConfigError::Usage(line)) => {
            eprintln!("ringfork: {}", line.trim_end());
            return ExitCode::from(USAGE);
        }
    };
    ringfork_webhook::install_crypto_provider();
    let (options, demonstrate) = match mode {
        Mode::Serve(options) => (options, false),
        Mode::Demo(mut options) => {
            // The picture is not to be drowned in log lines.
            if options.log.is_none() && variable("RUST_LOG").is_none() {
                options.log = Some("warn".into());
            }
            (options, true)
        }
    };
    let log = telemetry::init_log(&options);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ringfork: no runtime: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let code = runtime.block_on(serve(options, demonstrate));
    // Whatever hangs (a name look-up, a customer's server) does not hold up the end.
    runtime.shutdown_background();
    log.flush();
    code
}

async fn serve(options: Options, demonstrate: bool) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("ringfork: signals cannot be taken: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let domain = options.domain.clone();
    let mut server = match Server::start(options).await {
        Ok(server) => server,
        Err(problem) => {
            eprintln!("ringfork: {problem}");
            return ExitCode::from(FAILED);
        }
    };
    print(&format!("{}\n", server.ready));
    if demonstrate {
        match demo::prepare(&mut server, &domain).await {
            Ok(mut demonstration) => {
                let shown = async {
                    demonstration.show(&server).await;
                    demonstration.watch().await;
                    std::future::pending().await
                };
                tokio::select! {
                    () = signals.next() => {}
                    () = shown => {}
                }
            }
            Err(problem) => {
                eprintln!("ringfork: {problem}");
                server.drain(std::future::ready(())).await;
                return ExitCode::from(FAILED);
            }
        }
    } else {
        signals.next().await;
    }
    match server.drain(signals.next()).await {
        Drained::Whole => ExitCode::SUCCESS,
        Drained::Cut => ExitCode::from(FAILED),
    }
}

/// A closed stdout is no reason to end.
fn print(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
