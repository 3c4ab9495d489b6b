//! Real softphones with sound: baresip processes that play a tone into the call and keep what they hear.
//!
//! baresip uses no loopback interface, so these tests run in a network namespace of their own ([`in_namespace`]) on a
//! pair of virtual interfaces with the address [`ADDRESS`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::edge::Edge;

/// The one address inside the namespace, besides loopback.
pub const ADDRESS: &str = "10.9.0.1";

/// Runs the ignored test `name` of this test binary inside a new network namespace, and fails as it fails.
pub fn in_namespace(name: &str) {
    run_inside(name, &["--map-root-user", "--net"]);
}

/// As [`in_namespace`], and with mounts of its own: [`SmallDisk`].
pub fn in_namespace_with_mounts(name: &str) {
    run_inside(name, &["--map-root-user", "--net", "--mount"]);
}

fn run_inside(name: &str, namespaces: &[&str]) {
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && ip link add ring0 type veth peer name ring1 && ip address add {ADDRESS}/24 dev ring0 && \
         ip link set ring0 up && ip link set ring1 up && exec \"$0\" --exact {name} --ignored --nocapture --test-threads 1"
    );
    // Whatever ends this process ends all that runs inside: the phones and the edge must not stay.
    let output = std::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"])
        .args(namespaces)
        .args(["sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .output()
        .expect("setpriv and unshare (util-linux) are not installed");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "the test did not run in its namespace: {text}");
}

/// A folder on a disk of its own that can be filled; within [`in_namespace_with_mounts`] alone. Dropped, it is taken
/// away with all that lies on it.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Makes the folder, of so many KiB.
    pub fn mount(folder: &Path, kibibytes: u32) -> SmallDisk {
        std::fs::create_dir_all(folder).unwrap();
        let size = format!("size={kibibytes}k,mode=0700");
        let status =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder).status();
        assert!(status.expect("mount (util-linux) is not installed").success(), "{} is not mounted", folder.display());
        SmallDisk { folder: folder.to_owned() }
    }

    /// Leaves no octet free.
    pub fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.folder.join("ballast")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let error = file.write_all(&[0]).expect_err("a full disk takes nothing");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Frees what was filled.
    pub fn clear(&self) {
        std::fs::remove_file(self.folder.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// A running baresip.
pub struct Softphone {
    child: Child,
    folder: tempfile::TempDir,
    control: SocketAddr,
    /// What its account line holds that no log may show.
    secret: Option<String>,
}

impl Softphone {
    /// The ports of RTP of a phone whose SIP port this is.
    pub fn rtp_ports(port: u16) -> std::ops::RangeInclusive<u16> {
        port + 10_000..=port + 10_018
    }

    /// Starts a phone with this account line that plays a tone of `hertz` into each call. `commands` are typed at its
    /// start, as at its keyboard (`/dial sip:…`).
    pub fn start(account: &str, port: u16, hertz: u32, commands: &[&str]) -> Softphone {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        write_tone(&path.join("tone.wav"), hertz, 30);
        std::fs::create_dir(path.join("heard")).unwrap();
        let shown = path.display();
        let control = SocketAddr::new("127.0.0.1".parse().unwrap(), crate::sipp::free_port("127.0.0.1"));
        let (first, last) = Softphone::rtp_ports(port).into_inner();
        let config = format!(
            "poll_method epoll\nsip_listen {ADDRESS}:{port}\nrtp_ports {first}-{last}\ncall_local_timeout 120\ncall_max_calls 4\n\
             audio_player aufile,{shown}/unused.wav\naudio_source aufile,{shown}/tone.wav\n\
             audio_alert aufile,{shown}/unused.wav\nausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\n\
             auplay_channels 1\nnet_interface ring0\nmodule_path {}\nmodule g711.so\nmodule aufile.so\n\
             module sndfile.so\nmodule uuid.so\nmodule_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen {control}\nsnd_path {shown}/heard\n",
            modules().display()
        );
        std::fs::write(path.join("config"), config).unwrap();
        std::fs::write(path.join("accounts"), format!("{account}\n")).unwrap();
        std::fs::write(path.join("contacts"), "").unwrap();
        let log = std::fs::File::create(path.join("log")).unwrap();
        let mut command = Command::new("baresip");
        command.arg("-f").arg(path);
        for line in commands {
            command.args(["-e", line]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("baresip is not installed: run tests/tools.sh or `make test`");
        let secret = account.split(';').find_map(|part| part.strip_prefix("auth_pass=")).map(str::to_owned);
        Softphone { child, folder, control, secret }
    }

    /// Types a command, as at its keyboard.
    pub async fn command(&self, command: &str, parameters: &str) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.control).await.expect("baresip's control port");
        let text = serde_json::json!({ "command": command, "params": parameters, "token": "t" }).to_string();
        // A netstring each way.
        stream.write_all(format!("{}:{text},", text.len()).as_bytes()).await.unwrap();
        // Events come before the answer; its last part is our token.
        let mut answers = Vec::new();
        let asked = tokio::time::timeout(crate::PATIENCE, async {
            while !String::from_utf8_lossy(&answers).contains(r#""token":"t""#) {
                assert_ne!(stream.read_buf(&mut answers).await.unwrap(), 0, "{command} {parameters}: no answer");
            }
        });
        asked.await.unwrap_or_else(|_| panic!("{command} {parameters}: no answer"));
        let answers = String::from_utf8_lossy(&answers).into_owned();
        assert!(answers.contains("\"ok\":true"), "{command} {parameters}: {answers}");
    }

    /// Presses a key in the call that is up: RFC 4733.
    pub async fn press(&self, key: char) {
        self.command("sndcode", &key.to_string()).await;
    }

    /// An account of a client at this edge that answers by itself.
    pub fn account(edge: &Edge, login: &str, password: &str) -> String {
        format!(
            "<sip:{login}@ringfork.local>;auth_user={login};auth_pass={password};outbound=\"sip:{}\";regint=60;answermode=auto",
            edge.sip
        )
    }

    /// Ends it with SIGTERM, as a person closes a phone, so that its recordings are complete.
    pub async fn close(&mut self) {
        if let Some(pid) = self.child.id() {
            Command::new("kill").args(["-TERM", &pid.to_string()]).status().await.unwrap();
        }
        self.child.wait().await.unwrap();
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The samples that it heard in its calls, 8 kHz, all calls one after another.
    pub fn heard(&self) -> Vec<i16> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.folder.path().join("heard"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        files.sort();
        files.iter().flat_map(|file| samples(&std::fs::read(file).unwrap())).collect()
    }
}

impl Drop for Softphone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut log = self.log();
            if let Some(secret) = &self.secret {
                log = log.replace(secret, "…");
            }
            eprintln!("--- last lines of a phone's log");
            // The meter of its call is written over and over: its last state is enough.
            let lines: Vec<&str> = log.lines().filter_map(|line| line.trim_end().rsplit('\r').next()).collect();
            lines[lines.len().saturating_sub(30)..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn modules() -> PathBuf {
    ["/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("baresip's modules are not where Debian puts them")
}

/// Writes a mono 16-bit WAV of 8 kHz with a sine tone.
pub fn write_tone(path: &Path, hertz: u32, seconds: u32) {
    let count = 8000 * seconds;
    let mut bytes = Vec::with_capacity(44 + 2 * count as usize);
    bytes.extend(b"RIFF");
    bytes.extend((36 + 2 * count).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    bytes.extend([1, 0, 1, 0]);
    bytes.extend(8000u32.to_le_bytes());
    bytes.extend(16000u32.to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend((2 * count).to_le_bytes());
    for index in 0..count {
        let phase = f64::from(index) * f64::from(hertz) * std::f64::consts::TAU / 8000.0;
        bytes.extend(((phase.sin() * 12000.0) as i16).to_le_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

/// The samples of a 16-bit mono WAV; its header may be unfinished.
pub fn samples(wav: &[u8]) -> Vec<i16> {
    let start = wav.windows(4).position(|window| window == b"data").map_or(wav.len(), |at| at + 8);
    wav.get(start..).unwrap_or_default().chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// The share of the sound's energy at one frequency (Goertzel), from 0 to 1.
pub fn share_at(samples: &[i16], hertz: f64) -> f64 {
    let omega = std::f64::consts::TAU * hertz / 8000.0;
    let coefficient = 2.0 * omega.cos();
    // Blocks of 100 ms, so that a pause or a phase jump between packets costs little.
    let (mut at, mut all) = (0.0, 0.0);
    for block in samples.chunks_exact(800) {
        let (mut one, mut two) = (0.0, 0.0);
        for sample in block {
            let next = f64::from(*sample) + coefficient * one - two;
            two = one;
            one = next;
        }
        at += (one * one + two * two - coefficient * one * two) * 2.0 / 800.0;
        all += block.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
    }
    if all == 0.0 { 0.0 } else { at / all }
}

/// Tenths of a second in which most of the energy is at this frequency, by their place.
pub fn tenths_at(samples: &[i16], hertz: f64) -> Vec<usize> {
    let loud = |block: &[i16]| block.iter().any(|sample| sample.unsigned_abs() > 500);
    samples
        .chunks_exact(800)
        .enumerate()
        .filter(|(_, block)| loud(block) && share_at(block, hertz) > 0.7)
        .map(|(at, _)| at)
        .collect()
}

/// A mono 16-bit WAV of 8 kHz with a sine tone, as a web server would serve it.
pub fn tone_file(hertz: u32, seconds: u32) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    write_tone(file.path(), hertz, seconds);
    std::fs::read(file.path()).unwrap()
}

/// The address of a phone inside the namespace.
pub fn address(port: u16) -> SocketAddr {
    SocketAddr::new(ADDRESS.parse().unwrap(), port)
}
