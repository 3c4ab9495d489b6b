//! The registering side of a phone: REGISTER with digest, as its plan says, repeated as RFC 3261 §17.1.2 has it.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::proof::{REGISTRAR, parameter, password, response};
use crate::registering::{DevicePlan, What};
use crate::session::{Doing, Repeats, Timer};
use crate::text::{Text, finish};

/// A nonce that it was given.
#[derive(Debug, Clone)]
struct Nonce {
    value: String,
    used: u32,
}

/// A REGISTER under way.
#[derive(Debug, Clone)]
struct Asking {
    what: What,
    /// How often it was challenged.
    challenged: u32,
}

/// A device that registers.
#[derive(Debug)]
pub struct Device {
    /// Where it is now.
    pub address: SocketAddr,
    /// Where it is to be found after it has moved.
    pub elsewhere: SocketAddr,
    /// Its plan.
    pub plan: DevicePlan,
    /// What it is to do yet.
    pub left: usize,
    nonce: Option<Nonce>,
    cseq: u32,
    asking: HashMap<String, Asking>,
    repeats: Repeats,
}

impl Device {
    /// At this address; it may move to that one.
    pub fn new(address: SocketAddr, elsewhere: SocketAddr, plan: DevicePlan) -> Device {
        let left = plan.tasks.len();
        Device {
            address,
            elsewhere,
            plan,
            left,
            nonce: None,
            cseq: 0,
            asking: HashMap::new(),
            repeats: Repeats::default(),
        }
    }

    /// Nothing more comes of it.
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.asking.is_empty()
    }

    fn login(&self) -> String {
        format!("c{}", self.plan.client)
    }

    /// The time of a task has come.
    pub fn begin(&mut self, what: What) -> Doing {
        self.left -= 1;
        let mut doing = Doing::default();
        match what {
            What::Move => {
                std::mem::swap(&mut self.address, &mut self.elsewhere);
                self.asking.clear();
                self.repeats = Repeats::default();
            }
            What::Close => {}
            what => {
                if matches!(what, What::Register { afresh: true, .. }) {
                    self.nonce = None;
                }
                self.ask(&mut doing, Asking { what, challenged: 0 });
            }
        }
        doing
    }

    fn ask(&mut self, doing: &mut Doing, asking: Asking) {
        self.cseq += 1;
        let (login, address, cseq) = (self.login(), self.address, self.cseq);
        let (client, device) = (self.plan.client, self.plan.device);
        let transport = if self.plan.stream { "TCP" } else { "UDP" };
        let branch = format!("z9hG4bKr{client}-{device}-{cseq}");
        let mut head = format!(
            "REGISTER {REGISTRAR} SIP/2.0\r\nVia: SIP/2.0/{transport} {address};rport;branch={branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{login}@ringfork.local>;tag=r{client}{device}\r\n\
             To: <sip:{login}@ringfork.local>\r\nCall-ID: reg-{client}-{device}\r\nCSeq: {cseq} REGISTER\r\n"
        );
        match &asking.what {
            What::Register { contacts, expires, .. } => {
                for (contact, own) in contacts {
                    let own = own.map(|own| format!(";expires={own}")).unwrap_or_default();
                    let instance = if self.plan.instance && *contact == 0 {
                        format!(";+sip.instance=\"<urn:x:{client}.{device}>\"")
                    } else {
                        String::new()
                    };
                    head.push_str(&format!("Contact: <sip:{login}.{device}.{contact}@{address}>{instance}{own}\r\n"));
                }
                if let Some(expires) = expires {
                    head.push_str(&format!("Expires: {expires}\r\n"));
                }
            }
            What::RemoveAll => head.push_str("Contact: *\r\nExpires: 0\r\n"),
            What::Fetch | What::Move | What::Close => {}
        }
        if let Some(nonce) = &mut self.nonce {
            nonce.used += 1;
            let sha256 = self.plan.sha256;
            let secret = if self.plan.knows { password(&login) } else { "guessed".to_owned() };
            let proof = response(sha256, &login, &secret, &nonce.value, nonce.used, "cn");
            head.push_str(&format!(
                "Authorization: Digest username=\"{login}\", realm=\"ringfork.local\", nonce=\"{}\", \
                 uri=\"{REGISTRAR}\", response=\"{proof}\", algorithm={}, cnonce=\"cn\", qop=auth, nc={:08x}\r\n",
                nonce.value,
                if sha256 { "SHA-256" } else { "MD5" },
                nonce.used,
            ));
        }
        let message = finish(head, &[], None);
        if self.plan.stream {
            doing.sends.push(message);
        } else {
            self.repeats.start(doing, branch.clone(), message, 4000);
        }
        doing.timers.push((32_000, Timer::Leave(branch.clone())));
        self.asking.insert(branch, asking);
    }

    /// A response to one of its REGISTERs.
    pub fn receive(&mut self, text: &Text) -> Doing {
        let mut doing = Doing::default();
        let Some(status) = text.status().filter(|status| *status >= 200) else { return doing };
        let branch = text.branch().to_owned();
        let Some(asking) = self.asking.remove(&branch) else { return doing };
        self.repeats.stop(&branch);
        if status == 401 {
            let wanted = if self.plan.sha256 { "SHA-256" } else { "MD5" };
            let challenges = text.all("WWW-Authenticate");
            let challenge = challenges.iter().find(|value| parameter(value, "algorithm") == Some(wanted));
            let Some(challenge) = challenge else { return doing };
            let value = parameter(challenge, "nonce").unwrap_or_default().to_owned();
            let stale = parameter(challenge, "stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
            self.nonce = Some(Nonce { value, used: 0 });
            // A second challenge that is not for a stale nonce: the password is wrong.
            if asking.challenged == 0 || (stale && asking.challenged < 3) {
                self.ask(&mut doing, Asking { challenged: asking.challenged + 1, ..asking });
            }
        }
        doing
    }

    /// A wake-up came.
    pub fn wake(&mut self, timer: Timer) -> Doing {
        let mut doing = Doing::default();
        match timer {
            Timer::Again(key, count) => self.repeats.again(&mut doing, key, count),
            Timer::Leave(branch) => {
                self.asking.remove(&branch);
                self.repeats.stop(&branch);
            }
            _ => {}
        }
        doing
    }

    /// Its connection has ended: nothing is waited for.
    pub fn cut_off(&mut self) {
        self.asking.clear();
        self.repeats = Repeats::default();
    }
}
