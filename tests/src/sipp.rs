//! Real SIP endpoints: sipp processes run from scenarios that are put together here, one step a line.
//!
//! A phone registers with digest from its port and then serves calls on the same port; a caller places calls from
//! [`crate::edge::PEER`]. sipp itself checks each step: a message that is missing, or is not the one expected, fails
//! the run, and [`Run::succeed`] fails the test with sipp's own account of it.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::process::{Child, Command};

use crate::edge::Edge;
use crate::{BUSY_PAUSE, BUSY_TRIES, PATIENCE};

/// SDP of a party that offers or answers G.711 on its own media port.
const SDP: &str = "v=0\n      o=sipp 1 1 IN IP[media_ip_type] [media_ip]\n      s=-\n      c=IN IP[media_ip_type] [media_ip]\n      t=0 0\n      m=audio [media_port] RTP/AVP 0 8 101\n      a=rtpmap:0 PCMU/8000\n      a=rtpmap:8 PCMA/8000\n      a=rtpmap:101 telephone-event/8000";

/// A sipp scenario under construction. Each method adds a step.
#[derive(Clone, Default)]
pub struct Scenario {
    steps: String,
}

impl Scenario {
    /// An empty scenario.
    pub fn new() -> Scenario {
        Scenario::default()
    }

    fn step(mut self, xml: &str) -> Scenario {
        self.steps.push_str(xml);
        self.steps.push('\n');
        self
    }

    fn send(self, message: &str, attributes: &str) -> Scenario {
        self.step(&format!("  <send {attributes}><![CDATA[\n{message}\n  ]]></send>"))
    }

    // ---- the called side

    /// Waits for an INVITE and keeps its CSeq for later answers.
    pub fn invited(self) -> Scenario {
        self.step(
            r#"  <recv request="INVITE" rrs="true"><action>
    <ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="1"/>
    <ereg regexp=".*" search_in="hdr" header="Via:" assign_to="2"/>
  </action></recv><Reference variables="1,2"/>"#,
        )
    }

    /// Waits for an INVITE whose header holds this text.
    pub fn invited_with(self, header: &str, pattern: &str) -> Scenario {
        self.step(&format!(
            r#"  <recv request="INVITE" rrs="true"><action>
    <ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="1"/>
    <ereg regexp=".*" search_in="hdr" header="Via:" assign_to="2"/>
    <ereg regexp="{pattern}" search_in="hdr" header="{header}:" check_it="true" assign_to="3"/>
  </action></recv><Reference variables="1,2,3"/>"#
        ))
    }

    /// Waits for an INVITE and keeps what [`Scenario::hang_up_called`] needs of it.
    pub fn invited_to_leave(self) -> Scenario {
        self.step(
            r#"<recv request="INVITE" rrs="true"><action>
    <ereg regexp=".*" search_in="hdr" header="From:" assign_to="5"/>
    <ereg regexp=".*" search_in="hdr" header="To:" assign_to="7"/>
    <assignstr assign_to="6" value="[$7];tag=t[pid]-[call_number]"/>
  </action></recv><Reference variables="5,6,7"/>"#,
        )
    }

    /// Answers the last request with this status, no body.
    pub fn answer(self, status: &str) -> Scenario {
        self.send(
            &format!(
                "      SIP/2.0 {status}\n      [last_Via:]\n      [last_From:]\n      [last_To:];tag=t[pid]-[call_number]\n      [last_Call-ID:]\n      [last_CSeq:]\n      Contact: <sip:[local_ip]:[local_port]>\n      Content-Length: 0\n"
            ),
            "",
        )
    }

    /// Answers the last INVITE with 200 and SDP; repeated until the ACK.
    pub fn accept(self) -> Scenario {
        self.send(
            &format!(
                "      SIP/2.0 200 OK\n      [last_Via:]\n      [last_From:]\n      [last_To:];tag=t[pid]-[call_number]\n      [last_Call-ID:]\n      [last_CSeq:]\n      [last_Record-Route:]\n      Contact: <sip:[local_ip]:[local_port]>\n      Content-Type: application/sdp\n      Content-Length: [len]\n\n      {SDP}"
            ),
            r#"retrans="500""#,
        )
    }

    /// Answers the INVITE, after a CANCEL came, with this status; with SDP where it is a 200.
    pub fn answer_invite_late(self, status: &str) -> Scenario {
        let head = format!(
            "      SIP/2.0 {status}\n      Via:[$2]\n      [last_From:]\n      [last_To:];tag=t[pid]-[call_number]\n      [last_Call-ID:]\n      CSeq:[$1]\n      Contact: <sip:[local_ip]:[local_port]>\n"
        );
        if status.starts_with('2') {
            self.send(
                &format!("{head}      Content-Type: application/sdp\n      Content-Length: [len]\n\n      {SDP}"),
                r#"retrans="500""#,
            )
        } else {
            self.send(&format!("{head}      Content-Length: 0\n"), r#"retrans="500""#)
        }
    }

    /// Waits for a request of this method.
    pub fn recv(self, method: &str) -> Scenario {
        self.step(&format!(r#"  <recv request="{method}"/>"#))
    }

    /// Waits for the CANCEL of an INVITE and answers both, `elsewhere`: it must say that the call was completed
    /// elsewhere (RCML.md 1.2); otherwise it must carry no Reason.
    pub fn cancelled(self, elsewhere: bool) -> Scenario {
        self.cancel_received(elsewhere).answer_invite_late("487 Request Terminated").recv("ACK")
    }

    /// Waits for the CANCEL and answers it, not yet the INVITE.
    pub fn cancel_received(self, elsewhere: bool) -> Scenario {
        let check = if elsewhere { r#"check_it="true""# } else { r#"check_it_inverse="true""# };
        let scenario = self.step(&format!(
            r#"  <recv request="CANCEL"><action>
    <ereg regexp="SIP;cause=200;text=.Call completed elsewhere." search_in="hdr" header="Reason:" {check} assign_to="4"/>
  </action></recv><Reference variables="4"/>"#
        ));
        scenario.answer("200 OK")
    }

    /// Waits for the BYE and answers it. An ACK may come again before: where sipp was late to read the first it has sent
    /// its 200 twice.
    pub fn hung_up(self) -> Scenario {
        self.step(r#"  <recv request="ACK" optional="true"/>"#).recv("BYE").answer("200 OK")
    }

    /// Hangs up as the called side.
    pub fn hang_up_called(self) -> Scenario {
        self.send(
            "      BYE [next_url] SIP/2.0\n      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n      [routes]\n      From: [$6]\n      To: [$5]\n      [last_Call-ID:]\n      CSeq: 100 BYE\n      Max-Forwards: 70\n      Content-Length: 0\n",
            r#"retrans="500""#,
        )
        .received("200")
    }

    // ---- the calling side

    /// Calls `[service]` with SDP.
    pub fn call(self) -> Scenario {
        self.call_with("")
    }

    /// Calls `[service]` with SDP and these extra header lines.
    pub fn call_with(self, headers: &str) -> Scenario {
        let headers: String = headers.lines().map(|line| format!("      {line}\n")).collect();
        self.send(
            &format!(
                "      INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n      From: \"Test Caller\" <sip:+15550001111@[local_ip]:[local_port]>;tag=f[pid]-[call_number]\n      To: <sip:[service]@[remote_ip]:[remote_port]>\n      Call-ID: [call_id]\n      CSeq: 1 INVITE\n      Contact: <sip:caller@[local_ip]:[local_port]>\n      Max-Forwards: 70\n{headers}      Content-Type: application/sdp\n      Content-Length: [len]\n\n      {SDP}"
            ),
            r#"retrans="500""#,
        )
    }

    /// Names telephone events in its session descriptions by another payload number than 101.
    pub fn events_as(mut self, payload: u8) -> Scenario {
        self.steps = self.steps.replace("RTP/AVP 0 8 101", &format!("RTP/AVP 0 8 {payload}"));
        self.steps = self.steps.replace("rtpmap:101 ", &format!("rtpmap:{payload} "));
        self
    }

    /// Sends an INFO with this body as the calling side, its CSeq so high, and waits for the 200.
    pub fn info(self, cseq: u32, content_type: &str, body: &str) -> Scenario {
        let body: String = body.lines().map(|line| format!("      {line}\n")).collect();
        self.send(
            &format!(
                "      INFO [next_url] SIP/2.0\n      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n      [routes]\n      From: \"Test Caller\" <sip:+15550001111@[local_ip]:[local_port]>;tag=f[pid]-[call_number]\n      [last_To:]\n      Call-ID: [call_id]\n      CSeq: {cseq} INFO\n      Max-Forwards: 70\n      Content-Type: {content_type}\n      Content-Length: [len]\n\n{body}"
            ),
            r#"retrans="500""#,
        )
        .step(r#"  <recv response="200"/>"#)
    }

    /// Plays a capture of RTP from its media port; it goes on to the next step at once.
    pub fn play(self, capture: &std::path::Path) -> Scenario {
        let capture = capture.display();
        self.step(&format!(r#"  <nop><action><exec play_pcap_audio="{capture}"/></action></nop>"#))
    }

    /// Plays these keys by sipp's own means (payload 96) with tones and gaps of so many milliseconds, 50 at least; it
    /// goes on to the next step at once.
    pub fn play_keys(self, keys: &str, tone_ms: u32) -> Scenario {
        self.step(&format!(r#"  <nop><action><exec play_dtmf="{keys},{tone_ms}"/></action></nop>"#))
    }

    /// Waits for a response; provisional ones before it are let pass.
    pub fn received(self, code: &str) -> Scenario {
        self.step(&format!(r#"  <recv response="{code}" rtd="true" rrs="true"/>"#))
    }

    /// Waits for a 200 that makes no dialog: sipp complains of one without Contact where it is to learn a route from it.
    fn done(self) -> Scenario {
        self.step(r#"  <recv response="200" rtd="true"/>"#)
    }

    /// Lets this response pass if it comes.
    pub fn maybe(self, code: &str) -> Scenario {
        self.step(&format!(r#"  <recv response="{code}" optional="true"/>"#))
    }

    /// Lets 100 and 180 pass and waits for the final response.
    pub fn finally(self, code: &str) -> Scenario {
        let scenario = self.maybe("100").maybe("180").received(code);
        if code.starts_with('2') { scenario } else { scenario.ack_refusal() }
    }

    /// ACK of a 2xx.
    pub fn ack(self) -> Scenario {
        self.send(
            "      ACK [next_url] SIP/2.0\n      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n      [routes]\n      From: \"Test Caller\" <sip:+15550001111@[local_ip]:[local_port]>;tag=f[pid]-[call_number]\n      [last_To:]\n      Call-ID: [call_id]\n      CSeq: 1 ACK\n      Max-Forwards: 70\n      Content-Length: 0\n",
            "",
        )
    }

    fn ack_refusal(self) -> Scenario {
        self.send(
            "      ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n      [last_Via:]\n      From: \"Test Caller\" <sip:+15550001111@[local_ip]:[local_port]>;tag=f[pid]-[call_number]\n      [last_To:]\n      Call-ID: [call_id]\n      CSeq: 1 ACK\n      Max-Forwards: 70\n      Content-Length: 0\n",
            "",
        )
    }

    /// Sends CANCEL for the INVITE and waits for its 200 and the INVITE's 487.
    pub fn cancel(self) -> Scenario {
        self.send(
            "      CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n      [last_Via:]\n      From: \"Test Caller\" <sip:+15550001111@[local_ip]:[local_port]>;tag=f[pid]-[call_number]\n      To: <sip:[service]@[remote_ip]:[remote_port]>\n      Call-ID: [call_id]\n      CSeq: 1 CANCEL\n      Max-Forwards: 70\n      Content-Length: 0\n",
            r#"retrans="500""#,
        )
        .maybe("180")
        .done()
        .maybe("180")
        .received("487")
        .ack_refusal()
    }

    /// Hangs up as the calling side and waits for the 200.
    pub fn hang_up(self) -> Scenario {
        self.hang_up_as(2)
    }

    /// The same after further requests: with this CSeq.
    pub fn hang_up_as(self, cseq: u32) -> Scenario {
        self.send(
            &format!("      BYE [next_url] SIP/2.0\n      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n      [routes]\n      From: \"Test Caller\" <sip:+15550001111@[local_ip]:[local_port]>;tag=f[pid]-[call_number]\n      [last_To:]\n      Call-ID: [call_id]\n      CSeq: {cseq} BYE\n      Max-Forwards: 70\n      Content-Length: 0\n"),
            r#"retrans="500""#,
        )
        .done()
    }

    /// Waits on the called side's own clock, milliseconds: what a person does between two keys.
    pub fn pause(self, ms: u32) -> Scenario {
        self.step(&format!(r#"  <pause milliseconds="{ms}"/>"#))
    }

    /// Adds any sipp XML.
    pub fn xml(self, xml: &str) -> Scenario {
        self.step(xml)
    }

    fn file(&self) -> PathBuf {
        let path = tempfile::Builder::new().suffix(".xml").tempfile().unwrap().into_temp_path().keep().unwrap();
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<!DOCTYPE scenario SYSTEM \"sipp.dtd\">\n<scenario name=\"test\">\n{}</scenario>\n",
            self.steps
        );
        std::fs::write(&path, xml).unwrap();
        path
    }
}

/// A running sipp.
pub struct Run {
    child: Child,
    files: Vec<PathBuf>,
    errors: PathBuf,
    messages: PathBuf,
}

/// Arguments of a long run. A repeated request that sipp does not know for one must not end its call: where both a 180
/// and the 200 were lost, sipp takes the INVITE that comes again for an unexpected message.
const LONG: [&str; 2] = ["-default_behaviors", "all,-abortunexp"];

/// Arguments of a run whose every message is kept for the account of a failure.
const TRACED: [&str; 6] = ["-trace_msg", "-timeout", "120s", "-timeout_error", "-recv_timeout", "90000"];

impl Run {
    fn start(scenario: &Scenario, arguments: &[&str]) -> Run {
        Run::start_with(scenario, arguments, &TRACED)
    }

    fn start_with(scenario: &Scenario, arguments: &[&str], more: &[&str]) -> Run {
        let file = scenario.file();
        let (errors, messages) = (file.with_extension("errors"), file.with_extension("messages"));
        let child = Command::new("sipp")
            .args(arguments)
            .args(["-sf", file.to_str().unwrap(), "-nostdin"])
            .args(["-trace_err", "-error_file", errors.to_str().unwrap()])
            .args(["-message_file", messages.to_str().unwrap()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("sipp is not installed: run tests/tools.sh or `make test`");
        Run { child, files: vec![file, errors.clone(), messages.clone()], errors, messages }
    }

    /// Waits for the end of a long run, however long it takes; calls that failed do not fail the test.
    pub async fn finish(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().await.unwrap().code();
        (code, std::fs::read_to_string(&self.errors).unwrap_or_default())
    }

    /// Every message sent and received so far, as sipp logged them.
    pub fn messages(&self) -> String {
        std::fs::read(&self.messages).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until the scenario ran to its end as written; panics with sipp's account otherwise.
    pub async fn succeed(self) -> String {
        self.end().await.unwrap_or_else(|account| panic!("{account}"))
    }

    /// As [`Run::succeed`], without panicking: its messages, or its account of what went wrong.
    async fn end(mut self) -> Result<String, String> {
        let status = tokio::time::timeout(PATIENCE * 2, self.child.wait()).await.expect("sipp hangs").unwrap();
        let messages = self.messages();
        if !status.success() {
            let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
            return Err(format!("sipp ended with {status}: {errors}\n--- messages\n{messages}"));
        }
        Ok(messages)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// A phone: a login registered from a port of its own.
pub struct Phone {
    /// Login.
    pub login: String,
    /// Where it listens.
    pub address: SocketAddr,
    edge: SocketAddr,
}

/// A port of UDP and TCP of this address that is free and stays so: it lies below those that the system gives to whoever
/// binds port 0, and is held against other tests as long as this process runs. sipp and others cannot bind port 0 and
/// say which they got.
pub fn free_port(ip: &str) -> u16 {
    static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let take = |port: u16| {
        // Nothing else uses this address: who has the port of it has that of every address.
        let holder = UdpSocket::bind(("127.99.99.99", port)).ok()?;
        UdpSocket::bind((ip, port)).and(TcpListener::bind((ip, port))).ok()?;
        HELD.lock().unwrap().push(holder);
        Some(port)
    };
    places(4800).find_map(|place| take(5100 + place)).expect("a free port")
}

/// Places of a range one after another, none given twice before all were; processes begin at different ones.
fn places(count: u16) -> impl Iterator<Item = u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    let next = move || {
        let place = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        u16::try_from(place % u32::from(count)).unwrap()
    };
    std::iter::repeat_with(next).take(count.into())
}

impl Phone {
    /// Registers a login for an hour, with digest, from a free port, and waits for the 200.
    pub async fn register(edge: &Edge, login: &str, password: &str) -> Phone {
        let phone = Phone {
            login: login.to_owned(),
            address: SocketAddr::new("127.0.0.1".parse().unwrap(), free_port("127.0.0.1")),
            edge: edge.sip,
        };
        let register = |authorization: &str, cseq: u32| {
            format!(
                "      REGISTER sip:ringfork.local SIP/2.0\n      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport\n      From: <sip:{login}@ringfork.local>;tag=r[call_number]\n      To: <sip:{login}@ringfork.local>\n      Call-ID: [call_id]\n      CSeq: {cseq} REGISTER\n      Contact: <sip:{login}@[local_ip]:[local_port]>\n      Expires: 3600\n      Max-Forwards: 70\n{authorization}      Content-Length: 0\n"
            )
        };
        let authorization = format!("      [authentication username={login} password={password}]\n");
        let scenario = Scenario::new()
            .send(&register("", 1), r#"retrans="500""#)
            .step(r#"  <recv response="401" auth="true"/>"#)
            .send(&register(&authorization, 2), r#"retrans="500""#)
            .received("200");
        let (ip, port) = (phone.address.ip().to_string(), phone.address.port().to_string());
        let edge = edge.sip.to_string();
        for _ in 0..BUSY_TRIES {
            let run = Run::start(&scenario, &[&edge, "-i", &ip, "-p", &port, "-mp", &media_port(), "-m", "1"]);
            match run.end().await {
                Ok(_) => return phone,
                Err(account) if account.contains("SIP/2.0 503") || account.contains("SIP/2.0 500") => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(account) => panic!("{account}"),
            }
        }
        panic!("{login} cannot be registered: the store is busy for ever")
    }

    /// Serves this many calls with a scenario of the called side.
    pub fn serve(&self, scenario: &Scenario, calls: u32) -> Run {
        let (ip, port, calls) = (self.address.ip().to_string(), self.address.port().to_string(), calls.to_string());
        let edge = self.edge.to_string();
        Run::start(scenario, &[&edge, "-i", &ip, "-p", &port, "-mp", &media_port(), "-m", &calls])
    }
}

impl Phone {
    /// Serves calls until it is dropped, keeping no messages: for long runs.
    pub fn serve_forever(&self, scenario: &Scenario) -> Run {
        let (ip, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let edge = self.edge.to_string();
        Run::start_with(scenario, &[&edge, "-i", &ip, "-p", &port, "-mp", &media_port()], &LONG)
    }
}

/// Places `count` calls at `rate` a second from the trusted peer's address, outliving calls that fail; `traced` keeps
/// every message.
pub fn load(edge: &Edge, called: &str, scenario: &Scenario, count: u32, rate: u32, traced: bool) -> Run {
    let port = free_port(crate::edge::PEER).to_string();
    let (target, count, rate) = (edge.sip.to_string(), count.to_string(), rate.to_string());
    let arguments =
        [&target, "-s", called, "-i", crate::edge::PEER, "-p", &port, "-mp", &media_port(), "-m", &count, "-r", &rate];
    let more: Vec<&str> = LONG
        .into_iter()
        .chain(["-recv_timeout", "60000", "-l", "10000"])
        .chain(traced.then_some("-trace_msg"))
        .collect();
    Run::start_with(scenario, &arguments, &more)
}

/// Places one call to `called` from the trusted peer's address.
pub fn call(edge: &Edge, called: &str, scenario: &Scenario) -> Run {
    calls(edge, called, scenario, 1, 1)
}

/// Where a caller has its sockets, so that its packets can be told from those of others.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Port of its signalling.
    pub sip: u16,
    /// Port of its RTP: even.
    pub media: u16,
}

/// Places one call to `called` from the trusted peer's address and these ports, outliving messages that come again
/// because others were lost.
pub fn call_from(edge: &Edge, called: &str, scenario: &Scenario, place: Place) -> Run {
    let (target, port, media) = (edge.sip.to_string(), place.sip.to_string(), place.media.to_string());
    let arguments = [&target, "-s", called, "-i", crate::edge::PEER, "-p", &port, "-mp", &media, "-m", "1"];
    let more: Vec<&str> = LONG.into_iter().chain(TRACED).collect();
    Run::start_with(scenario, &arguments, &more)
}

/// Places `count` calls at `rate` a second from the trusted peer's address.
pub fn calls(edge: &Edge, called: &str, scenario: &Scenario, count: u32, rate: u32) -> Run {
    let port = free_port(crate::edge::PEER).to_string();
    let target = edge.sip.to_string();
    Run::start(
        scenario,
        &[
            &target,
            "-s",
            called,
            "-i",
            crate::edge::PEER,
            "-p",
            &port,
            "-mp",
            &media_port(),
            "-m",
            &count.to_string(),
            "-r",
            &rate.to_string(),
        ],
    )
}

/// A base for sipp's own media sockets, which it binds although nothing is played. They lie below the edge's and the
/// system's own ports; tests that run at once in processes of their own begin at different ones.
fn media_port() -> String {
    let is_free = |port: &u16| {
        let addresses = ["127.0.0.1", crate::edge::PEER];
        addresses.iter().all(|ip| (*port..port + 4).all(|port| UdpSocket::bind((*ip, port)).is_ok()))
    };
    let mut ports = places(2400).map(|place| 10_000 + 4 * place);
    ports.find(is_free).expect("ports for sipp's media").to_string()
}
