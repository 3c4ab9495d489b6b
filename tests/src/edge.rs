//! The edge under test: the built binary as a process, its `ready` line, its credentials and its REST API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{BUSY_PAUSE, BUSY_TRIES, PATIENCE};

/// Address from which test callers place calls: the edge is told to trust it as a peer.
pub const PEER: &str = "127.0.0.2";

/// A running `ringfork serve`.
pub struct Edge {
    child: Child,
    /// Where it answers SIP.
    pub sip: SocketAddr,
    /// Base URL of REST, health and metrics.
    pub http: String,
    /// Its account.
    pub account_sid: String,
    /// Its secret.
    pub auth_token: String,
    /// Its data folder, kept for a second start.
    pub data: PathBuf,
    log: PathBuf,
    client: reqwest::Client,
    _folder: Option<tempfile::TempDir>,
}

/// The built binary beside the running test, or the one that `RINGFORK_BINARY` names.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("RINGFORK_BINARY") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    // A test lies in `deps` of its profile's folder, a program of this package beside the binary.
    let folder = test.parent().unwrap();
    let profile = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
    let path = profile.join("ringfork");
    assert!(path.exists(), "{} is not built: run `cargo build --workspace --bins` or `make test`", path.display());
    path
}

/// An HTTP client for the tests' own requests.
pub fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().unwrap()
}

impl Edge {
    /// Starts over a data folder of its own with `--data DIR`, trusting [`PEER`] and letting webhooks go to loopback. The
    /// folder is in memory where it can be: a disk that stands still is no part of most tests.
    pub async fn start(options: &[&str]) -> Edge {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let data = folder.path().join("data");
        let mut edge = Edge::start_over(&data, "127.0.0.1:0", options).await;
        edge._folder = Some(folder);
        edge
    }

    /// Starts over this data folder on this SIP address.
    pub async fn start_over(data: &Path, sip: &str, options: &[&str]) -> Edge {
        let log = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
        let given = |name: &str| options.iter().any(|option| option.starts_with(name));
        let mut command = Command::new(binary());
        // Whatever the tests run under must not configure what they test.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGFORK_") || name == "RUST_LOG") {
            command.env_remove(name);
        }
        let mut child = command
            .arg("serve")
            .args(["--data", data.to_str().unwrap(), "--sip", sip, "--http", "127.0.0.1:0"])
            .args(["--peer", &format!("{PEER}/32"), "--rtp-ports", "20000-29999"])
            // sipp and baresip answer MD5 challenges only.
            .args(if given("--digest") { &[][..] } else { &["--digest", "md5"] })
            .args((!given("--allow-private-urls")).then_some("--allow-private-urls"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.starts_with("ready ") {
                    return line;
                }
            }
            panic!("the edge ended before it was ready:\n{}", std::fs::read_to_string(&log).unwrap());
        })
        .await
        .expect("no ready line");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let field = |name: &str| {
            ready
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name))
                .unwrap_or_else(|| panic!("{ready}"))
                .to_owned()
        };
        let credentials: Value =
            serde_json::from_str(&std::fs::read_to_string(field("credentials=")).unwrap()).unwrap();
        Edge {
            child,
            sip: field("sip=").parse().unwrap(),
            http: field("http="),
            account_sid: field("account_sid="),
            auth_token: credentials["auth_token"].as_str().unwrap().to_owned(),
            data: data.to_owned(),
            log,
            client: http_client(),
            _folder: None,
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the edge runs")
    }

    /// Sends a REST request under the account, again where the store is slow; panics unless it is answered with a 2xx.
    pub async fn rest(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Value {
        let mut tries = 0;
        loop {
            let (status, body) = self.rest_any(method, path, form).await;
            tries += 1;
            if matches!(status, 500 | 503) && tries <= BUSY_TRIES {
                tokio::time::sleep(BUSY_PAUSE).await;
                continue;
            }
            assert!((200..300).contains(&status), "{method} {path}: {status} {body}");
            return body;
        }
    }

    /// Sends a REST request under the account; any answer.
    pub async fn rest_any(&self, method: &str, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}/restcomm/2012-04-24/Accounts/{}{path}", self.http, self.account_sid);
        let request = self
            .client
            .request(method.parse().unwrap(), url)
            .basic_auth(&self.account_sid, Some(&self.auth_token))
            .header("Accept", "application/json");
        let request = if form.is_empty() { request } else { request.form(form) };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Creates a client and returns its password.
    pub async fn create_client(&self, login: &str) -> String {
        let password = format!("Secret-{login}-1");
        self.rest("POST", "/Clients.json", &[("Login", login), ("Password", &password)]).await;
        password
    }

    /// Deletes every client, and with it its bindings: until then the edge keeps their flows alive with OPTIONS.
    pub async fn delete_clients(&self) {
        let clients = self.rest("GET", "/Clients.json?PageSize=1000", &[]).await;
        for client in clients["clients"].as_array().expect("a list of clients") {
            let sid = client["sid"].as_str().expect("a client's SID");
            self.rest_any("DELETE", &format!("/Clients/{sid}.json"), &[]).await;
        }
    }

    /// Creates a number whose calls fetch `voice_url`.
    pub async fn create_number(&self, number: &str, voice_url: &str) -> Value {
        self.rest("POST", "/IncomingPhoneNumbers.json", &[("PhoneNumber", number), ("VoiceUrl", voice_url)]).await
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        self.client.get(format!("{}/metrics", self.http)).send().await.unwrap().text().await.unwrap()
    }

    /// One metric, all its label sets added up; 0 where it is absent.
    pub async fn metric(&self, name: &str) -> f64 {
        self.metrics()
            .await
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' ')))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Waits until no call, leg, dialog or port is left, as the metrics say.
    pub async fn settled(&self) {
        crate::eventually("an edge without calls, legs and ports", async || {
            let metrics = [
                self.metric("ringfork_calls").await,
                self.metric("ringfork_legs").await,
                self.metric("ringfork_media_ports").await,
            ];
            (metrics == [0.0; 3]).then_some(())
        })
        .await;
    }

    /// Ends it as SIGKILL does.
    pub async fn kill(mut self) -> PathBuf {
        self.child.kill().await.unwrap();
        self.data.clone()
    }

    /// Asks it to end with SIGTERM and waits for its exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().unwrap().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the drain never ended").unwrap().code()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- last lines of the edge's log");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        let _ = std::fs::remove_file(&self.log);
    }
}
