//! A scripted SIP phone over UDP with one sound stream (`line.rs`): enough to register, call, be called and hang up. It
//! is for loopback, where nothing is lost: it sends each request once.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use ringfork_sip::digest::{Attempt, Client};
use ringfork_sip::{HeaderName, Message, Method, RequestBuilder, ResponseBuilder};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Happening;
use super::line::Stream;

/// The payload type of keys where this phone names it.
const KEYS: u8 = 101;

/// What happened at one phone, which is named by its label.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A message.
    Message {
        /// Whose.
        phone: String,
        /// It sent it.
        sent: bool,
        /// The message.
        message: Box<Message>,
    },
    /// It heard a prompt to its end.
    Prompt {
        /// Which phone.
        phone: String,
        /// How much of the prompt arrived.
        length: Duration,
    },
    /// It presses a key.
    Pressed {
        /// Which phone.
        phone: String,
        /// The key.
        key: char,
    },
}

/// What a phone could not do.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// The network.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Nothing came in time.
    #[error("{phone} waited in vain for {what}")]
    Silence {
        /// Whose wait it was.
        phone: String,
        /// For what.
        what: String,
    },
    /// Something else came.
    #[error("{phone} expected {what} and got {got}")]
    Unexpected {
        /// Whose.
        phone: String,
        /// What was due.
        what: String,
        /// What came.
        got: String,
    },
}

/// Who a phone registers and calls as.
#[derive(Clone)]
pub struct Account {
    /// The AOR's user.
    pub login: String,
    /// A secret.
    pub password: String,
    /// The AOR's host.
    pub domain: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("login", &self.login).finish_non_exhaustive()
    }
}

/// A phone.
pub struct Phone {
    pub(super) label: String,
    account: Account,
    edge: SocketAddr,
    digest: Client,
    sip: UdpSocket,
    pub(super) rtp: UdpSocket,
    pub(super) stream: Stream,
    local: SocketAddr,
    backlog: VecDeque<Message>,
    trace: Option<mpsc::Sender<Happening>>,
    pub(super) patience: Duration,
    serial: u32,
}

/// An established dialog, from the phone's side.
#[derive(Debug, Clone)]
pub struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
    cseq: u32,
    /// Where the other side hears.
    pub sound: Option<SocketAddr>,
    /// The payload type of keys, where the other side takes them.
    pub keys: Option<u8>,
}

/// What a caller's INVITE came to.
pub struct Answered {
    /// Statuses of the provisional responses, in order.
    pub provisional: Vec<u16>,
    /// The dialog.
    pub dialog: Dialog,
}

impl Phone {
    /// A phone at `address`, whose messages go to `edge`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn new(label: &str, address: IpAddr, edge: SocketAddr, account: Account) -> Result<Phone, PhoneError> {
        let sip = UdpSocket::bind((address, 0)).await?;
        let rtp = UdpSocket::bind((address, 0)).await?;
        let local = sip.local_addr()?;
        let digest = Client::new(account.login.clone(), account.password.clone());
        Ok(Phone {
            label: label.to_owned(),
            account,
            edge,
            digest,
            sip,
            rtp,
            stream: Stream::new(u32::from(local.port())),
            local,
            backlog: VecDeque::new(),
            trace: None,
            patience: Duration::from_secs(10),
            serial: 0,
        })
    }

    /// Shows every message to `trace` from now on.
    pub fn show_to(&mut self, trace: mpsc::Sender<Happening>) {
        self.trace = Some(trace);
    }

    /// Shows nothing any more.
    pub fn hide(&mut self) {
        self.trace = None;
    }

    /// Registers for ten minutes.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn register(&mut self) -> Result<(), PhoneError> {
        self.bind(600).await
    }

    /// Takes its registration back.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn unregister(&mut self) -> Result<(), PhoneError> {
        self.bind(0).await
    }

    async fn bind(&mut self, expires: u32) -> Result<(), PhoneError> {
        let uri = format!("sip:{}", self.account.domain);
        let call_id = self.unique("reg");
        let tag = self.unique("t");
        let mut attempt = Attempt::default();
        let mut credentials: Option<String> = None;
        for cseq in 1.. {
            let aor = self.aor();
            let mut request = RequestBuilder::new(Method::Register, &uri)
                .via(rsip::Transport::Udp, self.local, &self.branch())
                .max_forwards(70)
                .address(HeaderName::From, None, &aor, Some(&tag))
                .address(HeaderName::To, None, &aor, None)
                .call_id(&call_id)
                .cseq(cseq)
                .header(HeaderName::Contact, format!("<{}>;expires={expires}", self.contact()));
            if let Some(value) = &credentials {
                request = request.header(HeaderName::Authorization, value);
            }
            self.send(request.build()).await?;
            let response = self.final_response("the answer to REGISTER").await?;
            match response.status() {
                Some(200) => return Ok(()),
                Some(401) => {
                    credentials = Some(self.credentials(
                        &response,
                        HeaderName::WwwAuthenticate,
                        &mut attempt,
                        Method::Register.as_str(),
                        &uri,
                    )?);
                }
                _ => return Err(self.unexpected("200 to REGISTER", &response)),
            }
        }
        Ok(())
    }

    /// Calls `user` at the domain and waits for the answer.
    ///
    /// # Errors
    /// When it is not answered.
    pub async fn call(&mut self, user: &str) -> Result<Answered, PhoneError> {
        match self.try_call(user).await? {
            Ok(answered) => Ok(answered),
            Err(status) => Err(PhoneError::Unexpected {
                phone: self.label.clone(),
                what: "an answer to its call".into(),
                got: status.to_string(),
            }),
        }
    }

    /// As [`Phone::call`]; a refusal is its status.
    ///
    /// # Errors
    /// When nothing comes, or the answer cannot be used.
    pub async fn try_call(&mut self, user: &str) -> Result<Result<Answered, u16>, PhoneError> {
        let uri = format!("sip:{user}@{}", self.account.domain);
        let call_id = self.unique("call");
        let from = format!("<{}>;tag={}", self.aor(), self.unique("t"));
        let mut attempt = Attempt::default();
        let mut credentials: Option<String> = None;
        let mut provisional = Vec::new();
        for cseq in 1.. {
            let mut request = RequestBuilder::new(Method::Invite, &uri)
                .via(rsip::Transport::Udp, self.local, &self.branch())
                .max_forwards(70)
                .header(HeaderName::From, &from)
                .address(HeaderName::To, None, &uri, None)
                .call_id(&call_id)
                .cseq(cseq)
                .header(HeaderName::Contact, format!("<{}>", self.contact()));
            if let Some(value) = &credentials {
                request = request.header(HeaderName::ProxyAuthorization, value);
            }
            let invite = request.body("application/sdp", self.sdp(KEYS)?).build();
            self.send(invite.clone()).await?;
            let invite = self.parse(invite)?;
            let response = loop {
                let response = self.response("the answer to INVITE").await?;
                match response.status() {
                    Some(status @ 101..=199) => provisional.push(status),
                    Some(200..) => break response,
                    _ => {}
                }
            };
            match response.status() {
                Some(200) => {
                    let remote = response.text(HeaderName::To).unwrap_or_default().into_owned();
                    let dialog = Dialog {
                        call_id,
                        local: from,
                        remote,
                        target: target(&response).unwrap_or(uri),
                        cseq,
                        sound: sound(response.body()),
                        keys: keys(response.body()),
                    };
                    let ack = self.within(&dialog, Method::Ack, cseq).build();
                    self.send(ack).await?;
                    return Ok(Ok(Answered { provisional, dialog }));
                }
                Some(407) => {
                    self.send(RequestBuilder::ack_for(&invite, &response).build()).await?;
                    credentials = Some(self.credentials(
                        &response,
                        HeaderName::ProxyAuthenticate,
                        &mut attempt,
                        Method::Invite.as_str(),
                        &uri,
                    )?);
                }
                status => {
                    self.send(RequestBuilder::ack_for(&invite, &response).build()).await?;
                    return Ok(Err(status.unwrap_or_default()));
                }
            }
        }
        Ok(Err(0))
    }

    /// Waits for a call.
    ///
    /// # Errors
    /// When none comes.
    pub async fn called(&mut self) -> Result<Message, PhoneError> {
        self.request(&Method::Invite).await
    }

    /// Says that it rings.
    ///
    /// # Errors
    /// The network's.
    pub async fn ring(&mut self, invite: &Message) -> Result<(), PhoneError> {
        let tag = self.tag(invite);
        let contact = format!("<{}>", self.contact());
        let response = ResponseBuilder::new(invite, 180, self.edge, Some(&tag)).header(HeaderName::Contact, contact);
        self.send(response.build()).await
    }

    /// Answers a call and waits for the ACK.
    ///
    /// # Errors
    /// When no ACK comes.
    pub async fn answer(&mut self, invite: &Message) -> Result<Dialog, PhoneError> {
        let tag = self.tag(invite);
        let contact = format!("<{}>", self.contact());
        let response = ResponseBuilder::new(invite, 200, self.edge, Some(&tag))
            .header(HeaderName::Contact, contact)
            .body("application/sdp", self.sdp(keys(invite.body()).unwrap_or(KEYS))?);
        let response = response.build();
        self.send(response.clone()).await?;
        let response = self.parse(response)?;
        self.request(&Method::Ack).await?;
        Ok(Dialog {
            call_id: invite.call_id().unwrap_or_default().to_owned(),
            local: response.text(HeaderName::To).unwrap_or_default().into_owned(),
            remote: invite.text(HeaderName::From).unwrap_or_default().into_owned(),
            target: target(invite).unwrap_or_default(),
            cseq: 1,
            sound: sound(invite.body()),
            keys: keys(invite.body()),
        })
    }

    /// Waits for the CANCEL of a call and ends it with 487. Returns the CANCEL's Reason.
    ///
    /// # Errors
    /// When none comes.
    pub async fn cancelled(&mut self, invite: &Message) -> Result<Option<String>, PhoneError> {
        let cancel = self.request(&Method::Cancel).await?;
        let tag = self.tag(invite);
        self.send(ResponseBuilder::new(&cancel, 200, self.edge, Some(&tag)).build()).await?;
        self.send(ResponseBuilder::new(invite, 487, self.edge, Some(&tag)).build()).await?;
        self.request(&Method::Ack).await?;
        Ok(cancel.fields_named("Reason").next().map(|field| field.text().into_owned()))
    }

    /// Refuses a call.
    ///
    /// # Errors
    /// When no ACK comes.
    pub async fn refuse(&mut self, invite: &Message, status: u16) -> Result<(), PhoneError> {
        let tag = self.tag(invite);
        self.send(ResponseBuilder::new(invite, status, self.edge, Some(&tag)).build()).await?;
        self.request(&Method::Ack).await.map(drop)
    }

    /// Hangs up.
    ///
    /// # Errors
    /// When the other side does not agree.
    pub async fn hang_up(&mut self, dialog: &Dialog) -> Result<(), PhoneError> {
        let bye = self.within(dialog, Method::Bye, dialog.cseq + 1).build();
        self.send(bye).await?;
        let response = self.final_response("the answer to BYE").await?;
        if response.status() == Some(200) { Ok(()) } else { Err(self.unexpected("200 to BYE", &response)) }
    }

    /// Waits until the other side hangs up.
    ///
    /// # Errors
    /// When it does not.
    pub async fn hung_up(&mut self) -> Result<(), PhoneError> {
        let bye = self.request(&Method::Bye).await?;
        self.send(ResponseBuilder::new(&bye, 200, self.edge, None).build()).await
    }

    fn within(&mut self, dialog: &Dialog, method: Method, cseq: u32) -> RequestBuilder {
        RequestBuilder::new(method, &dialog.target)
            .via(rsip::Transport::Udp, self.local, &self.branch())
            .max_forwards(70)
            .header(HeaderName::From, &dialog.local)
            .header(HeaderName::To, &dialog.remote)
            .call_id(&dialog.call_id)
            .cseq(cseq)
    }

    fn credentials(
        &mut self,
        response: &Message,
        header: HeaderName,
        attempt: &mut Attempt,
        method: &str,
        uri: &str,
    ) -> Result<String, PhoneError> {
        let values: Vec<String> = response.fields_of(header).map(|field| field.text().into_owned()).collect();
        let answer = self.digest.answer(attempt, values.iter().map(String::as_str), method, uri, rand::random());
        answer.map_err(|error| PhoneError::Unexpected {
            phone: self.label.clone(),
            what: "a challenge that it can answer".into(),
            got: error.to_string(),
        })
    }

    /// A request that is due; OPTIONS are answered by the way.
    async fn request(&mut self, method: &Method) -> Result<Message, PhoneError> {
        self.take(method.as_str(), |message| message.is_method(method)).await
    }

    async fn final_response(&mut self, what: &str) -> Result<Message, PhoneError> {
        self.take(what, |message| message.status().is_some_and(|status| status >= 200)).await
    }

    async fn response(&mut self, what: &str) -> Result<Message, PhoneError> {
        self.take(what, Message::is_response).await
    }

    async fn take(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Result<Message, PhoneError> {
        if let Some(place) = self.backlog.iter().position(&wanted)
            && let Some(found) = self.backlog.remove(place)
        {
            return Ok(found);
        }
        let deadline = Instant::now() + self.patience;
        let mut buffer = vec![0u8; 65_535];
        loop {
            let received = timeout_at(deadline, self.sip.recv_from(&mut buffer)).await;
            let Ok(received) = received else {
                return Err(self.silence(what));
            };
            let (length, _) = received?;
            let Ok(message) = Message::parse(Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default())) else {
                continue;
            };
            self.show(false, &message);
            if message.is_method(&Method::Options) {
                self.send(ResponseBuilder::new(&message, 200, self.edge, Some("o")).build()).await?;
            } else if wanted(&message) {
                return Ok(message);
            } else {
                self.backlog.push_back(message);
            }
        }
    }

    async fn send(&mut self, payload: Bytes) -> Result<(), PhoneError> {
        self.sip.send_to(&payload, self.edge).await?;
        if let Ok(message) = Message::parse(payload) {
            self.show(true, &message);
        }
        Ok(())
    }

    fn show(&self, sent: bool, message: &Message) {
        if self.trace.is_some() {
            self.report(Seen::Message { phone: self.label.clone(), sent, message: Box::new(message.clone()) });
        }
    }

    pub(super) fn report(&self, seen: Seen) {
        if let Some(trace) = &self.trace {
            // Who watches may fall behind: the call does not wait for the picture.
            let _ = trace.try_send(Happening::Phone(seen));
        }
    }

    pub(super) fn silence(&self, what: &str) -> PhoneError {
        PhoneError::Silence { phone: self.label.clone(), what: what.to_owned() }
    }

    fn parse(&self, payload: Bytes) -> Result<Message, PhoneError> {
        Message::parse(payload).map_err(|fault| PhoneError::Unexpected {
            phone: self.label.clone(),
            what: "its own message to be sound".into(),
            got: fault.reason.to_owned(),
        })
    }

    fn unexpected(&self, what: &str, got: &Message) -> PhoneError {
        PhoneError::Unexpected {
            phone: self.label.clone(),
            what: what.to_owned(),
            got: got.status().unwrap_or_default().to_string(),
        }
    }

    fn aor(&self) -> String {
        format!("sip:{}@{}", self.account.login, self.account.domain)
    }

    fn contact(&self) -> String {
        format!("sip:{}@{}", self.account.login, self.local)
    }

    fn tag(&self, invite: &Message) -> String {
        format!("{}{}", self.local.port(), invite.call_id().map_or(0, str::len))
    }

    fn unique(&mut self, what: &str) -> String {
        self.serial += 1;
        format!("{what}{}x{:x}", self.serial, rand::random::<u64>())
    }

    fn branch(&mut self) -> String {
        format!("{}{}", ringfork_sip::header::MAGIC_COOKIE, self.unique("b"))
    }

    fn sdp(&self, keys: u8) -> Result<String, PhoneError> {
        let rtp = self.rtp.local_addr()?;
        let family = if rtp.is_ipv4() { "IP4" } else { "IP6" };
        Ok(format!(
            "v=0\r\no=- 1 1 IN {family} {0}\r\ns=-\r\nc=IN {family} {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0 8 {keys}\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:{keys} telephone-event/8000\r\n\
             a=fmtp:{keys} 0-15\r\na=sendrecv\r\n",
            rtp.ip(),
            rtp.port()
        ))
    }
}

/// The URI of the Contact.
fn target(message: &Message) -> Option<String> {
    message.contact().map(|contact| contact.uri_text.to_owned())
}

/// Where an SDP wants sound.
fn sound(sdp: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(sdp).ok()?;
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let address: IpAddr = line("c=IN ")?.split(' ').nth(1)?.trim().parse().ok()?;
    let port: u16 = line("m=audio ")?.split(' ').next()?.parse().ok()?;
    (port != 0).then_some(SocketAddr::new(address, port))
}

/// The payload type of telephone-event in an SDP.
fn keys(sdp: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(sdp).ok()?;
    text.lines().find_map(|line| {
        let (payload, encoding) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        encoding.trim().eq_ignore_ascii_case("telephone-event/8000").then(|| payload.parse().ok())?
    })
}
