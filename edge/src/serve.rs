//! The whole server: put together, kept up, drained.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use ringfork_api::Api;
use ringfork_call::action::Input;
use ringfork_call::agent::{AgentConfig, DigestPolicy, Listener, Transport, Trunk};
use ringfork_callback::Deliverer;
use ringfork_evaluate::Evaluator;
use ringfork_reap::Reaper;
use ringfork_state::{CallbackEvent, Owner, Renewal, Unreaped};
use ringfork_webhook::{AuthToken, Client};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sha2::Sha256;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::adapters::{
    BindingWriter, CallWriter, HandOver, Lease, LocalCallbacks, Resolver, ServiceLoad, Services, Stores,
};
use crate::config::{self, Data, DigestChoice, Options, SpeechChoice};
use crate::core::{self, CoreLoad, CoreSettings, CoreThread};
use crate::http::{self, CoreChanges, Pages};
use crate::media::source::Sounds;
use crate::media::{MediaCounters, RelaySettings};
use crate::net::{bind_all, local_addresses};
use crate::recordings::{self, Ledger};
use crate::sounds::speech::{Off, Speaker, Speech, flite::Flite, polly::Polly};
use crate::sounds::{Fetcher, Library};
use crate::start::{Credentials, Folder, StartError, establish, import, random, read_import};
use crate::store::{DataSync, EmbeddedStore, StoreMetrics};
use crate::telemetry::{ProcessMetrics, install_metrics};

/// This edge's slot: there is one edge where the store is local.
const EDGE: &str = "local";
/// Descriptors kept for everything but media.
const OTHER_FILES: u64 = 2048;
/// A call without leg and dialog is fetching a document, or only owes status callbacks: it is waited for so long.
const QUIET: Duration = Duration::from_secs(40);
/// After the last call: for writes and status callbacks under way.
const LAST_WORK: Duration = Duration::from_secs(30);
/// Between two looks for what dead edges left (DESIGN "Callbacks").
const REAP_PERIOD: Duration = Duration::from_secs(60);
/// For the HTTP server's last requests.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// What the `ready` line says.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The SIP listeners; the line names the first.
    pub sip: Vec<SocketAddr>,
    /// The HTTP listener.
    pub http: SocketAddr,
    /// `AC…`.
    pub account_sid: String,
    /// Path of `credentials.json`.
    pub credentials: PathBuf,
}

impl std::fmt::Display for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(sip) = self.sip.first() else { return Err(std::fmt::Error) };
        let Ready { http, account_sid, credentials, .. } = self;
        write!(f, "ready sip={sip} http=http://{http} account_sid={account_sid} credentials={}", credentials.display())
    }
}

/// A running server.
pub struct Server {
    /// What the `ready` line says.
    pub ready: Ready,
    /// The account and its secrets.
    pub credentials: Credentials,
    /// This start made the account.
    pub first_start: bool,
    /// The core's sizes.
    pub load: Arc<CoreLoad>,
    /// Store and functions.
    pub services: Arc<Services>,
    folder: Folder,
    owner: Owner,
    core: CoreThread,
    draining: Arc<AtomicBool>,
    http: tokio::task::JoinHandle<()>,
    end_http: oneshot::Sender<()>,
    lease: tokio::task::JoinHandle<()>,
    reaper: tokio::task::JoinHandle<()>,
    ledger: tokio::task::JoinHandle<()>,
    /// The store's engine, where it is in this process: the last to end.
    _embedded: Option<EmbeddedStore>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every call was finished.
    Whole,
    /// It was cut short.
    Cut,
}

impl Server {
    /// Starts everything; returns when SIP and REST answer. Needs a multi-thread runtime's context.
    ///
    /// # Errors
    /// One line that names the fix.
    pub async fn start(options: Options) -> Result<Server, StartError> {
        let metrics = install_metrics().ok_or_else(|| StartError("metrics cannot be recorded".into()))?;
        let descriptors = raise_file_limit();
        let imported = options.import.as_deref().map(read_import).transpose()?;
        let folder = Folder::open(&options.data)?;
        let fail = |error: &dyn std::fmt::Display| StartError(error.to_string());
        let listeners = bind_all(&options.sip).map_err(|error| fail(&error))?;
        let (http_listener, http_address) = http::bind(options.http).await.map_err(|error| fail(&error))?;
        for listener in &listeners {
            if let Some(granted) = listener.capped {
                tracing::warn!(
                    address = %listener.address, granted,
                    "the kernel caps the SIP receive buffer: set net.core.rmem_max to 4194304 or more"
                );
            }
        }
        let sip: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();

        let (stores, embedded) = open_store(&options, &folder).await?;
        let unavailable = |error: &dyn std::fmt::Display| {
            StartError(format!("--data {}: the store cannot be used: {error}", folder.path().display()))
        };
        let now = core::now();
        let identity = establish(&options, &folder, &*stores.admin, now.unix_ms).await?;
        let credentials = identity.credentials;
        if let Some(clients) = imported {
            let report =
                import(clients, stores.admin.clone(), &credentials.account_sid, &options.domain, now.unix_ms).await?;
            tracing::info!(created = report.created, updated = report.updated, "clients imported");
            if report.weak > 0 {
                tracing::warn!(
                    weak = report.weak,
                    "imported passwords that REST would refuse: under 8 characters, or the login"
                );
            }
        }

        let addresses: Vec<String> = sip.iter().map(ToString::to_string).collect();
        let start = stores.edges.start(EDGE, &addresses, now.unix_ms).await.map_err(|error| unavailable(&error))?;
        let (owner, unreaped) = (start.owner, start.unreaped);
        let bindings = BindingWriter::new(stores.bindings.clone(), owner.clone());
        let loaded = bindings.load().await.map_err(|error| unavailable(&error))?;

        let (inputs, received) = mpsc::channel(core::INPUTS);
        let client = Client::new(ringfork_webhook::Config::allowing_private(options.allow_private_urls))
            .map_err(|error| fail(&error))?;
        let token = AuthToken::new(credentials.auth_token.clone());
        let services = Arc::new(Services {
            runtime: tokio::runtime::Handle::current(),
            inputs: inputs.clone(),
            account_sid: credentials.account_sid.clone(),
            calls: CallWriter::new(
                stores.calls.clone(),
                stores.queries.clone(),
                owner.clone(),
                credentials.account_sid.clone(),
            ),
            bindings,
            resolver: Resolver::new(options.allow_private_urls),
            evaluate: Arc::new(Evaluator::new(client.clone(), token.clone())),
            hand_over: Arc::new(LocalCallbacks::new(
                Deliverer::new(client.clone(), token.clone()),
                stores.notifications.clone(),
            )),
            stores: stores.clone(),
            load: ServiceLoad::default(),
        });

        let reaper = tokio::spawn(reap(stores.clone(), services.hand_over.clone(), unreaped));
        let files = recordings::Files::new(folder.recordings());
        let (journal, ledger) = Ledger::new(stores.recordings.clone(), files.clone(), &credentials.account_sid);
        let ledger = tokio::spawn(ledger.run(now.unix_ms));
        let speaker = Speaker::new(speech(options.speech).await, folder.speech());
        let mut agent = agent_config(&options, &credentials, &sip, http_address)?;
        (agent.languages, agent.voices) = (speaker.languages(), speaker.voices());
        let sounds = Library::new(tokio::runtime::Handle::current(), Fetcher { client, token }, speaker);
        let media = Arc::new(MediaCounters::default());
        let relay = relay_settings(&options, &agent, folder.recordings(), media.clone(), Arc::new(sounds));
        let (load, asked) = CoreLoad::new();
        let core = CoreThread::start(CoreSettings {
            agent,
            seed: random()?,
            bindings: loaded,
            listeners,
            rtp_ports: options.rtp_ports,
            pairs: usize::try_from(descriptors.saturating_sub(OTHER_FILES) / 4).unwrap_or(usize::MAX).max(16),
            media: relay,
            recordings: journal,
            services: services.clone(),
            inputs: received,
            load: load.clone(),
            asked,
        })
        .map_err(|error| fail(&error))?;

        let draining = Arc::new(AtomicBool::new(false));
        let (lease, watch) = Lease::new(stores.edges.clone(), owner.clone(), inputs.clone());
        let lease = tokio::spawn({
            let (load, draining) = (load.clone(), draining.clone());
            lease.run(move || Renewal {
                now_unix_ms: core::now().unix_ms,
                load: u32::try_from(load.calls.load(Ordering::Relaxed)).unwrap_or(u32::MAX),
                draining: draining.load(Ordering::Relaxed),
            })
        });
        let pages = Arc::new(Pages {
            metrics: ProcessMetrics {
                handle: metrics,
                core: load.clone(),
                media,
                services: services.clone(),
                listeners: sip.clone(),
            },
            draining: draining.clone(),
            lease: watch,
            api: Api {
                directory: stores.admin.clone(),
                calls: stores.queries.clone(),
                notifications: stores.notifications.clone(),
                recordings: stores.recordings.clone(),
                files: Arc::new(files.clone()),
                changes: Arc::new(CoreChanges(inputs)),
                environment: Arc::new(ringfork_api::SystemEnvironment),
            },
            recordings: files,
        });
        let (end_http, end) = oneshot::channel();
        let http = tokio::spawn(http::serve(http_listener, pages, end));
        let ready = Ready {
            sip,
            http: http_address,
            account_sid: credentials.account_sid.clone(),
            credentials: folder.credentials(),
        };
        tracing::info!(sip = ?ready.sip, http = %ready.http, domain = options.domain, "ready");
        Ok(Server {
            ready,
            credentials,
            first_start: identity.first_start,
            load,
            services,
            folder,
            owner,
            core,
            draining,
            http,
            end_http,
            lease,
            reaper,
            ledger,
            _embedded: embedded,
        })
    }

    /// Where the data is.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Refuses new calls, finishes those that are up, delivers what is owed, and ends. `cut` ends it at once.
    pub async fn drain(self, cut: impl Future<Output = ()>) -> Drained {
        self.draining.store(true, Ordering::Relaxed);
        let _ = self.services.inputs.send(Input::Drain).await;
        tracing::info!(calls = self.load.calls.load(Ordering::Relaxed), "draining: new calls get 503");
        let outcome = tokio::select! {
            () = self.finish() => Drained::Whole,
            () = cut => Drained::Cut,
        };
        self.core.stop();
        // The core held the journal: what it wrote there is written down, and the ledger ends.
        let _ = tokio::time::timeout(LAST_REQUESTS, self.ledger).await;
        self.lease.abort();
        self.reaper.abort();
        let _ = self.end_http.send(());
        let _ = tokio::time::timeout(LAST_REQUESTS, self.http).await;
        let nothing_owed = self.services.load.events() == 0 && self.services.load.work() == 0;
        if outcome == Drained::Whole && nothing_owed {
            // Nobody has to wait for the lease, and nothing is left to reap.
            if let Err(error) = self.services.stores.edges.stop(&self.owner).await {
                tracing::warn!(%error, "the orderly end could not be written: the next start looks for what is left");
            }
        }
        tracing::info!(?outcome, "ended");
        outcome
    }

    async fn finish(&self) {
        let (mut told, mut busy) = (Instant::now(), Instant::now());
        let count = |place: &AtomicUsize| place.load(Ordering::Relaxed);
        let calls = || count(&self.load.calls);
        // The core publishes its sizes a few times a second: what it says must be newer than the drain.
        self.load.renewed(QUIET).await;
        while calls() > 0 && busy.elapsed() < QUIET && !self.load.stopped.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(50)).await;
            if count(&self.load.legs) + count(&self.load.dialogs) > 0 {
                busy = Instant::now();
            }
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                tracing::info!(calls = calls(), "draining: waiting for these calls to end");
            }
        }
        let deadline = Instant::now() + LAST_WORK;
        let owed = || self.services.load.events() + self.services.load.work();
        while owed() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
        if owed() > 0 {
            tracing::warn!(owed = owed(), "status callbacks are left: the next start over this folder delivers them");
        }
    }
}

/// The store of `--data`. The embedded one ends when what is beside it is dropped.
async fn open_store(options: &Options, folder: &Folder) -> Result<(Stores, Option<EmbeddedStore>), StartError> {
    match &options.data {
        Data::Memory => Ok((Stores::memory(), None)),
        Data::Directory(_) => {
            let sync = match options.data_sync {
                config::DataSync::Normal => DataSync::Normal,
                config::DataSync::Full => DataSync::Full,
            };
            let opened = EmbeddedStore::open(folder.path(), sync, Some(Arc::new(StoreMetrics))).await;
            let embedded = opened.map_err(|error| StartError(format!("--data: {error}")))?;
            Ok((Stores::of(Arc::new(embedded.store()), false), Some(embedded)))
        }
    }
}

/// What speaks (`--speech`).
async fn speech(choice: SpeechChoice) -> Arc<dyn Speech> {
    match choice {
        SpeechChoice::Flite => Arc::new(Flite::default()),
        SpeechChoice::Polly => Arc::new(Polly::from_environment().await),
        SpeechChoice::Off => Arc::new(Off),
    }
}

/// Hands what a dead edge left to the same deliveries as everything else.
struct LeftEvents(Arc<dyn HandOver>);

#[async_trait::async_trait]
impl ringfork_reap::Deliverer for LeftEvents {
    async fn deliver(&self, event: CallbackEvent) -> bool {
        self.0.hand_over(event).await.is_ok()
    }
}

fn reaper_clock() -> ringfork_reap::Now {
    let now = core::now();
    ringfork_reap::Now { instant: now.instant, unix_ms: now.unix_ms }
}

/// Closes what the former process left, then looks again each minute.
async fn reap(stores: Stores, hand_over: Arc<dyn HandOver>, unreaped: Vec<Unreaped>) {
    let reaper = Reaper::new(stores.edges, stores.reaping, Arc::new(LeftEvents(hand_over))).sparing(EDGE);
    match reaper.recover(EDGE, &unreaped, reaper_clock()).await {
        Ok(report) if report != ringfork_reap::Report::default() => {
            tracing::info!(?report, "closed what the former process left");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "what the former process left could not be closed yet"),
    }
    reaper.keep_running(REAP_PERIOD, reaper_clock).await;
}

fn agent_config(
    options: &Options,
    credentials: &Credentials,
    sip: &[SocketAddr],
    http: SocketAddr,
) -> Result<AgentConfig, StartError> {
    let mut config = AgentConfig::new(&options.domain, &credentials.account_sid, nonce_key(&credentials.auth_token)?);
    config.digest = match options.digest {
        DigestChoice::Both => DigestPolicy::Both,
        DigestChoice::Md5 => DigestPolicy::Md5,
    };
    config.listeners = sip
        .iter()
        .flat_map(|address| [Transport::Udp, Transport::Tcp].map(|transport| Listener { address: *address, transport }))
        .collect();
    config.local_addresses = local_addresses();
    config.public_url = options.public_url.clone().unwrap_or_else(|| own_url(http, &config.local_addresses));
    config.public_address = options.public_address;
    config.local_nets.clone_from(&options.local_net);
    config.peers.clone_from(&options.peer);
    config.trunk = options.trunk.as_ref().map(|uri| Trunk {
        uri: uri.clone(),
        user: options.trunk_user.clone(),
        password: options.trunk_password.as_ref().map(|password| password.expose().to_owned()),
        caller_id: options.trunk_caller_id.clone(),
    });
    config.min_expires = options.min_expires;
    config.max_expires = options.max_expires;
    config.default_expires = config.default_expires.clamp(options.min_expires, options.max_expires);
    config.abuse_limit = options.abuse_limit;
    Ok(config)
}

/// What the media thread is told.
fn relay_settings(
    options: &Options,
    agent: &AgentConfig,
    recordings: PathBuf,
    counters: Arc<MediaCounters>,
    sounds: Arc<dyn Sounds>,
) -> RelaySettings {
    RelaySettings {
        silence: agent.media_timeout,
        trusted: media_trust(options),
        counters,
        sounds,
        ringing: options.ringing.into(),
        recordings,
    }
}

/// Where REST answers without `--public-url`: an address of this machine where it listens on all of them.
fn own_url(http: SocketAddr, local: &[IpAddr]) -> String {
    let same_family = |ip: &&IpAddr| ip.is_ipv4() == http.is_ipv4();
    let ip = if http.ip().is_unspecified() { local.iter().find(same_family).copied() } else { None };
    format!("http://{}", SocketAddr::new(ip.unwrap_or(http.ip()), http.port()))
}

/// Every edge of a deployment has it, and it survives a restart: nonces stay good.
fn nonce_key(auth_token: &str) -> Result<[u8; 32], StartError> {
    let mac = Hmac::<Sha256>::new_from_slice(auth_token.as_bytes());
    let mut mac = mac.map_err(|_| StartError("the auth token cannot be a key".into()))?;
    mac.update(b"ringfork nonce key 1");
    Ok(mac.finalize().into_bytes().into())
}

/// Whom media may be sent to before anything came from there (DESIGN "Media"): `--local-net`, trunk and peers, and what
/// the address guard allows.
fn media_trust(options: &Options) -> Arc<dyn Fn(IpAddr) -> bool + Send + Sync> {
    let mut nets = options.local_net.clone();
    nets.extend(&options.peer);
    nets.extend(options.trunk.as_deref().and_then(trunk_address).map(ipnet::IpNet::from));
    let any = options.allow_private_urls;
    Arc::new(move |address| {
        any || ringfork_webhook::guard::is_public(address) || nets.iter().any(|net| net.contains(&address))
    })
}

/// A trunk's address where its URI has a literal one.
fn trunk_address(uri: &str) -> Option<IpAddr> {
    let rest = uri.get(4..)?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?']).next()?;
    if let Some(v6) = host.strip_prefix('[') {
        return v6.split(']').next()?.parse().ok();
    }
    host.split(':').next()?.parse().ok()
}

/// Raises the soft limit of open files to the hard one; returns what holds then.
fn raise_file_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 3: a bridged party without RTP and RTCP for 300 s, not on hold, is ended.
    #[test]
    fn silence_is_reported_after_300_seconds() {
        let words = ["ringfork", "serve"].into_iter().map(Into::into);
        let Ok(config::Mode::Serve(options)) = config::parse(words, &|_| None) else { panic!() };
        let credentials =
            Credentials { account_sid: "AC0".into(), auth_token: "secret".into(), clients: Vec::new(), number: None };
        let agent = agent_config(&options, &credentials, &options.sip, options.http).unwrap();
        let sounds = Arc::new(crate::media::source::NoSounds);
        let settings = relay_settings(&options, &agent, PathBuf::new(), Arc::default(), sounds);
        assert_eq!(settings.silence, Duration::from_secs(300));
    }

    #[test]
    fn a_trunks_literal_address_is_found() {
        let found = |uri| trunk_address(uri).map(|address| address.to_string());
        assert_eq!(found("sip:192.0.2.9:5070;transport=tcp").as_deref(), Some("192.0.2.9"));
        assert_eq!(found("sip:user@[2001:db8::1]:5060").as_deref(), Some("2001:db8::1"));
        assert_eq!(found("sip:carrier.example"), None);
    }

    /// Nonces stay good over a restart and are another's for another account.
    #[test]
    fn the_nonce_key_follows_the_token() {
        assert_eq!(nonce_key("a").unwrap(), nonce_key("a").unwrap());
        assert_ne!(nonce_key("a").unwrap(), nonce_key("b").unwrap());
    }
}
