//! Every option: its name, value, default and the sentence that explains it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use ringfork_media::tone::Ringing;

use super::value::{
    Data, PortRange, Secret, account_sid, base_url, domain, network, public_address, sip_uri, socket_address,
};

/// The options of `serve` and `demo`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Read options from this TOML file: the names below without `--`. Flags win over variables, variables over it.
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,

    /// Folder of the store and of credentials.json; `memory` keeps nothing.
    #[arg(long, value_name = "DIR", default_value = "./ringfork-data")]
    pub data: Data,

    /// When the store's file is synced: `normal` survives kill -9, `full` a power cut too, at one fsync a write.
    #[arg(long, value_enum, default_value = "normal")]
    pub data_sync: DataSync,

    /// Where SIP answers, on UDP and TCP; may be given several times. Port 0 is any free port.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5060", value_delimiter = ',', value_parser = socket_address)]
    pub sip: Vec<SocketAddr>,

    /// Where REST, /health and /metrics answer. Port 0 is any free port.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080", value_parser = socket_address)]
    pub http: SocketAddr,

    /// The address that Via, Contact and SDP carry towards anyone outside --local-net.
    #[arg(long, value_name = "ADDR", value_parser = public_address)]
    pub public_address: Option<IpAddr>,

    /// The base of absolute URLs that point to this server's REST API.
    #[arg(long, value_name = "URL", value_parser = base_url)]
    pub public_url: Option<String>,

    /// A network that is reached without --public-address; may be given several times.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    pub local_net: Vec<IpNet>,

    /// The SIP domain and digest realm, fixed at first start.
    #[arg(long, value_name = "NAME", default_value = "ringfork.local", value_parser = domain)]
    pub domain: String,

    /// The ports of sound: even for RTP, the next for RTCP.
    #[arg(long, value_name = "FIRST-LAST", default_value = "20000-29999")]
    pub rtp_ports: PortRange,

    /// The ringing tone that a caller hears who was answered before the leg is.
    #[arg(long, value_enum, default_value = "europe")]
    pub ringing: RingingChoice,

    /// What speaks <Say>: flite on this machine, Amazon Polly (region and role from the environment), or nothing.
    #[arg(long, value_enum, default_value = "flite")]
    pub speech: SpeechChoice,

    /// The trunk that <Number> goes to.
    #[arg(long, value_name = "SIP-URI", value_parser = sip_uri)]
    pub trunk: Option<String>,

    /// The user name that the trunk asks for.
    #[arg(long, value_name = "NAME")]
    pub trunk_user: Option<String>,

    /// The password that the trunk asks for; better in the file or the variable than on a command line.
    #[arg(long, value_name = "SECRET")]
    pub trunk_password: Option<Secret>,

    /// The number that calls to the trunk come from where the caller has none.
    #[arg(long, value_name = "NUMBER")]
    pub trunk_caller_id: Option<String>,

    /// A trusted network: its calls are not challenged and reach numbers and clients; may be given several times.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    pub peer: Vec<IpNet>,

    /// The account made at first start; random where none is given.
    #[arg(long, value_name = "AC…", value_parser = account_sid)]
    pub account_sid: Option<String>,

    /// The account's token made at first start; random where none is given.
    #[arg(long, value_name = "SECRET")]
    pub auth_token: Option<Secret>,

    /// Create or update clients before the server is ready: one `login,password` a line.
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,

    /// The shortest registration that is granted, in seconds; less gets 423.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub min_expires: u32,

    /// The longest registration that is granted, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub max_expires: u32,

    /// Which digest challenges phones get; `md5` for phones that stumble over two.
    #[arg(long, value_enum, default_value = "both")]
    pub digest: DigestChoice,

    /// Wrong credentials and unreadable messages from one source in 10 s, beyond which it is dropped for 10 s; 0 is off.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub abuse_limit: u32,

    /// Let documents and callbacks live at loopback, private and link-local addresses (demo: on).
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set
    )]
    pub allow_private_urls: bool,

    /// What the log holds: a level, or a filter as `info,ringfork::net=debug`; RUST_LOG is taken where it is not given.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,

    /// The form of the log, on stderr.
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

impl Options {
    /// What one option alone cannot tell: how they fit together.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.min_expires > self.max_expires {
            return Err(format!(
                "--min-expires {} is above --max-expires {}: make it smaller",
                self.min_expires, self.max_expires
            ));
        }
        let trunk_parts = [self.trunk_user.is_some(), self.trunk_password.is_some(), self.trunk_caller_id.is_some()];
        if self.trunk.is_none() && trunk_parts.contains(&true) {
            return Err("--trunk-user, --trunk-password and --trunk-caller-id need --trunk SIP-URI".into());
        }
        if self.trunk_user.is_some() != self.trunk_password.is_some() {
            return Err("--trunk-user and --trunk-password belong together: give both or neither".into());
        }
        if self.auth_token.as_ref().is_some_and(|token| token.expose().len() < 16) {
            return Err("--auth-token is too short: give at least 16 characters".into());
        }
        if let Some(address) = self.public_address
            && !self.sip.iter().any(|sip| sip.is_ipv4() == address.is_ipv4() || sip.ip().is_unspecified())
        {
            return Err(format!("--public-address {address}: no --sip address is of that IP version"));
        }
        for (index, address) in self.sip.iter().enumerate() {
            if address.port() != 0 && self.sip.iter().skip(index + 1).any(|other| other == address) {
                return Err(format!("--sip {address} is given twice: give it once"));
            }
        }
        if let Some(filter) = &self.log
            && let Err(problem) = filter.parse::<tracing_subscriber::filter::Targets>()
            && filter.parse::<tracing_subscriber::EnvFilter>().is_err()
        {
            return Err(format!("--log {filter}: {problem}: give a level such as info, or target=level"));
        }
        Ok(())
    }
}

/// `--data-sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DataSync {
    /// Safe against kill -9.
    Normal,
    /// One fsync a write.
    Full,
}

/// `--speech`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SpeechChoice {
    /// flite as a child process.
    Flite,
    /// Amazon Polly.
    Polly,
    /// Nothing: a Say fails.
    Off,
}

/// `--ringing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RingingChoice {
    /// 425 Hz, one second on, four off.
    Europe,
    /// 440 and 480 Hz together, two seconds on, four off.
    NorthAmerica,
}

impl From<RingingChoice> for Ringing {
    fn from(choice: RingingChoice) -> Ringing {
        match choice {
            RingingChoice::Europe => Ringing::Europe,
            RingingChoice::NorthAmerica => Ringing::NorthAmerica,
        }
    }
}

/// `--digest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DigestChoice {
    /// SHA-256 first, then MD5 (RFC 8760).
    Both,
    /// MD5 alone.
    Md5,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
