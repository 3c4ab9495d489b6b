//! rtpengine, the peer: its process, and calls and sounds by its control protocol.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::parties::{description, rtp_of, socket};

const CONTROL: &str = "127.0.0.6:2223";

/// A running rtpengine, userspace, on CPU 0.
pub struct Rtpengine {
    process: Child,
    control: UdpSocket,
    _folder: tempfile::TempDir,
}

impl Rtpengine {
    pub fn start() -> Rtpengine {
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new("taskset")
            .args(["-c", "0", "rtpengine", "--table=-1", "--interface=127.0.0.6"])
            .args(["--port-min=30000", "--port-max=39999", "--num-threads=2", "--media-num-threads=1"])
            .args(["--foreground", "--log-stderr", "--log-level=3"])
            .args([format!("--listen-ng={CONTROL}"), format!("--pidfile={}", folder.path().join("pid").display())])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rtpengine is not installed");
        Rtpengine { process, control: socket("127.0.0.2:0"), _folder: folder }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A call between two addresses; where each party sends its sound, `a` first.
    pub fn call(&self, at: usize, a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
        let sdp = |answer: String| rtp_of(&answer[answer.find("v=0").unwrap()..]);
        let to_b = sdp(self.ask(at, "offer", &[("from-tag", "f"), ("sdp", &description(a))]));
        let to_a = sdp(self.ask(at, "answer", &[("from-tag", "f"), ("sdp", &description(b)), ("to-tag", "t")]));
        (to_a, to_b)
    }

    /// Plays a file to the first party of a call.
    pub fn play(&self, at: usize, file: &Path) {
        let file = file.display().to_string();
        self.ask(at, "play media", &[("file", &file), ("from-tag", "f")]);
    }

    /// A command of the control protocol: a bencoded dictionary over UDP, sent again until it is answered.
    fn ask(&self, at: usize, command: &str, fields: &[(&str, &str)]) -> String {
        let text = |value: &str| format!("{}:{value}", value.len());
        let id = format!("c{at}");
        let mut fields = [&[("call-id", id.as_str()), ("command", command)], fields].concat();
        fields.sort_unstable();
        let body: String = fields.iter().map(|(name, value)| text(name) + &text(value)).collect();
        let cookie = format!("{at}{}", command.replace(' ', ""));
        let mut buffer = [0; 4096];
        for _ in 0..50 {
            self.control.send_to(format!("{cookie} d{body}e").as_bytes(), CONTROL).unwrap();
            while let Ok((length, _)) = self.control.recv_from(&mut buffer) {
                let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if answer.starts_with(&format!("{cookie} ")) {
                    assert!(answer.contains("6:result2:ok"), "{command}: {answer}");
                    return answer;
                }
            }
        }
        panic!("rtpengine does not answer");
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        let _ = self.process.wait();
    }
}
