//! A second opinion on the registrar: who is registered where, by what was asked and answered on the wire alone
//! (RFC 3261 §10.3, DESIGN "SIP choices").
//!
//! What the wire does not tell to the second is held as a span: a binding is certainly live, certainly gone, or maybe
//! either.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use ringfork_call::action::{BindingWrite, Token};

use super::Fault;
use crate::proof::{parameter, password, response};
use crate::text::Text;

/// Bindings of one client at most.
const MOST: usize = 10;
/// How long a nonce lives, milliseconds.
const NONCE: u64 = 300_000;
/// After how long an OPTIONS that was not answered has certainly failed (Timer F).
const OPTIONS: Duration = Duration::from_secs(33);

/// What the registry of a run is told before it.
#[derive(Debug, Default, Clone)]
pub struct Rules {
    /// A write of bindings may fail.
    pub writes_fail: bool,
    /// It may fail or be late.
    pub store_fails: bool,
}

/// A binding.
#[derive(Debug, Clone)]
struct Held {
    client: String,
    key: String,
    uri: String,
    address: SocketAddr,
    call_id: String,
    cseq: u32,
    /// Since when there is a binding under this key.
    since: Duration,
    /// It ends between these, Unix seconds.
    until: (u64, u64),
    /// Its flow may have been given up before its device was heard again.
    doubtful: bool,
}

/// A REGISTER that came.
#[derive(Debug)]
struct Asked {
    text: Text,
    from: SocketAddr,
    heard_ms: u64,
    proof: Proof,
    answered: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    None,
    Wrong,
    Stale,
    Right,
    /// Right, if the nonce is not found stale: it is about to be.
    Ageing,
}

/// A flow, for keep-alive.
#[derive(Debug, Default)]
struct Seen {
    /// OPTIONS since it was heard last, and when the last one was new.
    unanswered: u32,
    newest: Duration,
    /// It answered one: maybe before it was given up, certainly since it was bound.
    answered: (bool, bool),
}

/// How sure it is that a binding is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sure {
    Live,
    Maybe,
    Gone,
}

/// Whom a noun of a Dial is to ring.
#[derive(Debug, Default)]
struct Round {
    /// Bindings of its client when the Dial began: key, and whether they were certainly there.
    targets: Vec<(String, bool)>,
    client: String,
    rung: HashSet<String>,
    seen: bool,
}

/// Registrations as the wire tells them.
#[derive(Debug, Default)]
pub struct Registry {
    rules: Rules,
    held: Vec<Held>,
    /// Former bindings: since when they are gone, their client and key.
    gone: Vec<(Duration, String, String)>,
    asked: HashMap<String, Asked>,
    nonces: HashMap<String, u64>,
    counts: HashSet<(String, u32)>,
    flows: HashMap<SocketAddr, Seen>,
    /// Call-IDs of the OPTIONS sent.
    options: HashSet<String>,
    /// Call, Dial and noun.
    rounds: HashMap<(usize, usize, usize), Round>,
    closed: HashSet<SocketAddr>,
    deleted: HashSet<String>,
    /// What is to be written of REGISTERs, by Call-ID and CSeq, and is not.
    unwritten: HashMap<(String, u32), Token>,
    /// What the store has: AOR and key.
    stored: HashSet<(String, String)>,
    /// What happened, of the things worth counting.
    pub reached: Vec<&'static str>,
}

impl Registry {
    /// Of a run with these rules.
    pub fn new(rules: Rules) -> Registry {
        Registry { rules, ..Registry::default() }
    }

    /// The edge wants these bindings written.
    pub fn writes(&mut self, token: Token, bindings: &[BindingWrite]) {
        for binding in bindings {
            if let BindingWrite::Put(record) = binding {
                self.unwritten.insert((record.call_id.clone(), record.cseq), token);
            }
        }
    }

    /// A write was answered.
    pub fn written(&mut self, token: Token) {
        self.unwritten.retain(|_, other| *other != token);
    }

    /// The store has these.
    pub fn stored(&mut self, bindings: &[BindingWrite]) {
        for binding in bindings {
            match binding {
                BindingWrite::Put(record) => self.stored.insert((record.aor.clone(), record.key.clone())),
                BindingWrite::Delete { aor, key } => self.stored.remove(&(aor.clone(), key.clone())),
            };
        }
    }

    /// Every client is deleted.
    pub fn finished(&self) -> Result<(), Fault> {
        match self.stored.iter().next() {
            Some((aor, key)) if !self.rules.writes_fail => {
                Err(format!("the store still has {key} of {aor} (RFC 3261 10.3)"))
            }
            _ => Ok(()),
        }
    }

    /// A client was deleted, and its bindings with it.
    pub fn deleted(&mut self, login: &str, at: Duration) {
        self.end(at, |held| held.client == login);
        self.deleted.insert(login.to_owned());
    }

    /// A connection ended.
    pub fn closed(&mut self, address: SocketAddr, at: Duration) {
        self.end(at, |held| held.address == address);
        self.closed.insert(address);
    }

    fn end(&mut self, at: Duration, ends: impl Fn(&Held) -> bool) {
        for held in self.held.extract_if(.., |held| ends(held)) {
            self.gone.push((at, held.client, held.key));
        }
    }

    /// Whether the connection of this address has ended.
    pub fn is_closed(&self, address: SocketAddr) -> bool {
        self.closed.contains(&address)
    }

    fn sure(&self, held: &Held, at: Duration, now: u64) -> Sure {
        let flow = self.flows.get(&held.address);
        let silent = flow.is_some_and(|flow| flow.unanswered >= 3);
        let given_up = flow.is_some_and(|flow| silent && flow.answered.1 && at > flow.newest + OPTIONS);
        let maybe = flow.is_some_and(|flow| silent && flow.answered.0);
        if now >= held.until.1 || given_up {
            Sure::Gone
        } else if now >= held.until.0 || maybe || held.doubtful {
            Sure::Maybe
        } else {
            Sure::Live
        }
    }

    fn forget_gone(&mut self, at: Duration, now: u64) {
        let gone: Vec<bool> = self.held.iter().map(|held| self.sure(held, at, now) == Sure::Gone).collect();
        let mut gone = gone.into_iter();
        for held in self.held.extract_if(.., |_| gone.next().unwrap_or(false)) {
            self.gone.push((at, held.client, held.key));
        }
        for (address, flow) in &mut self.flows {
            flow.answered.1 &= self.held.iter().any(|held| held.address == *address);
        }
    }

    /// Something came from a phone.
    pub fn heard(&mut self, from: SocketAddr, text: &Text, at: Duration, unix_ms: u64) {
        self.forget_gone(at, unix_ms / 1000);
        let doubtful: Vec<bool> =
            self.held.iter().map(|held| self.sure(held, at, unix_ms / 1000) == Sure::Maybe).collect();
        for (held, doubtful) in self.held.iter_mut().zip(doubtful) {
            held.doubtful |= doubtful && held.address == from && unix_ms / 1000 < held.until.0;
        }
        let flow = self.flows.entry(from).or_default();
        flow.unanswered = 0;
        if text.status().is_some_and(|status| status >= 200) && text.cseq().1 == "OPTIONS" {
            flow.answered = (true, true);
        }
        if text.method() == Some("REGISTER") && !self.asked.contains_key(text.branch()) {
            let proof = self.proof(text, unix_ms);
            let asked = Asked { text: text.clone(), from, heard_ms: unix_ms, proof, answered: None };
            self.asked.insert(text.branch().to_owned(), asked);
        }
    }

    fn proof(&mut self, text: &Text, unix_ms: u64) -> Proof {
        let Some(value) = text.get("Authorization") else { return Proof::None };
        let get = |name| parameter(value, name).unwrap_or_default();
        let login = get("username");
        let count = u32::from_str_radix(get("nc"), 16).unwrap_or_default();
        let sha256 = get("algorithm") == "SHA-256";
        if response(sha256, login, &password(login), get("nonce"), count, get("cnonce")) != get("response") {
            return Proof::Wrong;
        }
        let Some(issued) = self.nonces.get(get("nonce")) else { return Proof::Stale };
        if !self.counts.insert((get("nonce").to_owned(), count)) {
            return Proof::Stale;
        }
        match unix_ms - issued {
            age if age > NONCE => Proof::Stale,
            age if age > NONCE - 1000 => Proof::Ageing,
            _ => Proof::Right,
        }
    }

    /// The edge sends this request outside dialogs, or response to a REGISTER.
    pub fn sent(&mut self, to: SocketAddr, text: &Text, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        if self.closed.contains(&to) {
            return Err(format!("sent to {to}, whose connection has ended: {}", text.start));
        }
        let now = unix_ms / 1000;
        if text.method() == Some("OPTIONS") && self.options.insert(text.call_id().to_owned()) {
            // A binding ends at a whole second, and may be asked for within it before its timer fires.
            let live = |held: &Held| self.sure(held, at, now.saturating_sub(1)) != Sure::Gone;
            if !self.held.iter().any(|held| held.address == to && live(held)) {
                return Err(format!("OPTIONS to {to}, where nobody is registered"));
            }
            let flow = self.flows.entry(to).or_default();
            flow.unanswered += 1;
            flow.newest = at;
            if flow.unanswered == 3 && flow.answered.0 {
                self.reached.push("a device is silent");
            }
        }
        if let (Some(status), (_, "REGISTER")) = (text.status(), text.cseq()) {
            for challenge in text.all("WWW-Authenticate") {
                if let Some(nonce) = parameter(challenge, "nonce") {
                    self.nonces.entry(nonce.to_owned()).or_insert(unix_ms);
                }
            }
            self.answered(to, text, status, at, unix_ms)?;
        }
        Ok(())
    }

    fn answered(&mut self, to: SocketAddr, text: &Text, status: u16, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        let now = unix_ms / 1000;
        let Some(asked) = self.asked.get_mut(text.branch()) else {
            return Err(format!("{status} to a REGISTER that nobody sent"));
        };
        let (from, heard, proof) = (asked.from, asked.heard_ms / 1000, asked.proof);
        if from != to {
            return Err(format!("{status} to {to} for a REGISTER of {from}"));
        }
        if let Some(before) = asked.answered.replace(status) {
            return if before == status { Ok(()) } else { Err(format!("a REGISTER got {before}, then {status}")) };
        }
        let request = asked.text.clone();
        let what = format!("{status} to {} {}", request.call_id(), request.get("CSeq").unwrap_or_default());
        let stale = text.all("WWW-Authenticate").iter().any(|value| parameter(value, "stale").is_some());
        match (proof, status, stale) {
            (Proof::None, 401, false) => self.reached.push("a REGISTER is challenged"),
            (Proof::Wrong, 401, false) => self.reached.push("a REGISTER has a wrong password"),
            (Proof::Stale | Proof::Ageing, 401, true) => self.reached.push("a nonce is stale"),
            (Proof::Right | Proof::Ageing, 200..=399 | 402..=599, _) => {}
            _ => return Err(format!("{what}: its credentials are {proof:?} (RFC 7616)")),
        }
        if status == 401 {
            return Ok(());
        }
        let written = (request.call_id().to_owned(), request.cseq().0);
        if status == 200 && self.unwritten.contains_key(&written) {
            return Err(format!("{what} before its bindings were written (DESIGN \"The split\")"));
        }
        self.forget_gone(at, heard);
        let mut judged = self.judge(&request, from, (heard, now), at);
        if status == 200 && matches!(judged, Err(Refused::Perhaps)) {
            // What stood against it has gone.
            let client = client_of(&request);
            let unsure = |held: &Held| held.client == client && self.sure(held, at, now) != Sure::Live;
            let (gone, held): (Vec<_>, Vec<_>) = self.held.clone().into_iter().partition(unsure);
            let (named, asked) = (text.all("Contact"), request.all("Contact"));
            let stays = |held: &Held| {
                named.iter().any(|value| value.contains(&held.uri))
                    && !asked.iter().any(|value| value.contains(&held.uri) || value.contains(&held.key))
            };
            self.held = held;
            self.held.extend(gone.into_iter().filter(stays));
            judged = self.judge(&request, from, (heard, now), at);
        }
        match (status, &judged) {
            (200, Ok(after)) => {
                self.check_list(text, after, (heard, now), at).map_err(|fault| format!("{what}: {fault}"))?;
                self.reached.push(match request.get("Contact") {
                    None => "bindings are fetched",
                    Some("*") => "all bindings are removed",
                    Some(_) => "a REGISTER is accepted",
                });
                for before in &self.held {
                    if !after.iter().any(|held| (&held.client, &held.key) == (&before.client, &before.key)) {
                        self.gone.push((at, before.client.clone(), before.key.clone()));
                    }
                }
                self.held.clone_from(after);
                let client = client_of(&request);
                if self.held.iter().filter(|held| held.client == client).count() > MOST + self.unsure(&client, at, now)
                {
                    return Err(format!("{what}: more than ten bindings"));
                }
                return Ok(());
            }
            (423, Err(Refused::Brief)) => self.reached.push("an expiry is too brief"),
            (403, Err(Refused::Limit)) => self.reached.push("an eleventh binding is refused"),
            (500, Err(Refused::Order)) => self.reached.push("a REGISTER is out of order"),
            // It depends on a binding that may have gone.
            (200 | 403 | 500, Err(Refused::Perhaps)) => {
                if status == 200 {
                    return Err(format!("{what}: cannot be followed"));
                }
            }
            (403, _) if self.deleted.contains(&client_of(&request)) => self.reached.push("a deleted client registers"),
            (500, _) if self.rules.store_fails && text.get("Retry-After").is_some() => {
                self.reached.push("a binding cannot be written");
            }
            (_, Ok(_)) => return Err(format!("{what}: it is in order (RFC 3261 10.3)")),
            (_, Err(refused)) => return Err(format!("{what}: {refused:?} (RFC 3261 10.3)")),
        }
        Ok(())
    }

    fn unsure(&self, client: &str, at: Duration, now: u64) -> usize {
        self.held.iter().filter(|held| held.client == client && self.sure(held, at, now) != Sure::Live).count()
    }

    /// What a REGISTER makes of the bindings.
    fn judge(
        &self,
        request: &Text,
        from: SocketAddr,
        (heard, now): (u64, u64),
        at: Duration,
    ) -> Result<Vec<Held>, Refused> {
        let client = client_of(request);
        let (call_id, cseq) = (request.call_id(), request.cseq().0);
        let default: Option<u64> = request.get("Expires").and_then(|value| value.parse().ok());
        let mut after = self.held.clone();
        let late = |held: &Held| held.call_id == call_id && cseq <= held.cseq;
        let sure = |held: &Held| self.sure(held, at, now);
        if request.get("Contact") == Some("*") {
            let mut against = self.held.iter().filter(|held| held.client == client && late(held)).map(sure);
            match against.next() {
                Some(first) if first == Sure::Live || against.any(|other| other == Sure::Live) => {
                    return Err(Refused::Order);
                }
                Some(_) => return Err(Refused::Perhaps),
                None => {}
            }
            after.retain(|held| held.client != client);
            return Ok(after);
        }
        let mut new = 0;
        let mut removed = 0;
        let contacts = request.all("Contact");
        let asked = |contact: &str| {
            contact.split(";expires=").nth(1).and_then(|value| value.parse().ok()).or(default).unwrap_or(600)
        };
        if contacts.iter().any(|contact| (1..60).contains(&asked(contact))) {
            return Err(Refused::Brief);
        }
        for contact in contacts {
            let expires = asked(contact).min(3600);
            let uri = contact.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(uri, _)| uri);
            let instance = contact.split_once("+sip.instance=\"").and_then(|(_, rest)| rest.split_once('"'));
            let key = instance.map_or(uri, |(instance, _)| instance).to_owned();
            let before = self.held.iter().find(|held| held.client == client && held.key == key);
            if let Some(before) = before.filter(|before| late(before)) {
                return Err(if sure(before) == Sure::Live { Refused::Order } else { Refused::Perhaps });
            }
            after.retain(|held| held.client != client || held.key != key);
            match before {
                None if expires > 0 => new += 1,
                Some(_) if expires == 0 => removed += 1,
                _ => {}
            }
            if expires > 0 {
                after.push(Held {
                    client: client.clone(),
                    key,
                    uri: uri.to_owned(),
                    address: from,
                    call_id: call_id.to_owned(),
                    cseq,
                    since: before.map_or(at, |before| before.since),
                    until: (heard + expires, now + expires),
                    doubtful: false,
                });
            }
        }
        let before = self.held.iter().filter(|held| held.client == client).count();
        if new > 0 && before - removed + new > MOST {
            return Err(if self.unsure(&client, at, now) == 0 { Refused::Limit } else { Refused::Perhaps });
        }
        Ok(after)
    }

    /// A 200 names every binding of its AOR, with the seconds that it has left.
    fn check_list(&self, text: &Text, after: &[Held], (heard, now): (u64, u64), at: Duration) -> Result<(), String> {
        let client = client_of(text);
        let mut listed = HashMap::new();
        for contact in text.all("Contact") {
            let (uri, rest) = contact.split_once('<').and_then(|(_, rest)| rest.split_once('>')).unwrap_or_default();
            let left = rest.rsplit_once(";expires=").and_then(|(_, left)| left.parse::<u64>().ok());
            listed.insert(uri, left.ok_or_else(|| format!("{contact} has no expires"))?);
        }
        if listed.len() != text.all("Contact").len() {
            return Err("it names a binding twice".into());
        }
        for held in after.iter().filter(|held| held.client == client) {
            let Some(left) = listed.remove(held.uri.as_str()) else {
                if self.sure(held, at, now) == Sure::Live {
                    return Err(format!("it does not name {}", held.uri));
                }
                continue;
            };
            let span = held.until.0.saturating_sub(now)..=held.until.1.saturating_sub(heard);
            if !span.contains(&left) {
                return Err(format!("{left} s left for {} instead of {span:?}", held.uri));
            }
        }
        match listed.keys().next() {
            Some(uri) => Err(format!("it names {uri}, which is not registered")),
            None => Ok(()),
        }
    }

    /// The legs of a Dial that began after `from` are named: how many each noun has, and whom they ring.
    pub fn dials(
        &mut self,
        (call, dial): (usize, usize),
        nouns: &HashMap<usize, (String, usize)>,
        (from, at): (Duration, Duration),
        unix_ms: u64,
    ) -> Result<(), Fault> {
        self.forget_gone(at, unix_ms / 1000);
        for (noun, (client, legs)) in nouns {
            let of_client = self.held.iter().filter(|held| held.client == *client);
            let live = |held: &Held| held.since < from && self.sure(held, at, unix_ms / 1000) == Sure::Live;
            let mut targets: Vec<_> = of_client.map(|held| (held.key.clone(), live(held))).collect();
            for (_, _, key) in self.gone.iter().filter(|(gone, owner, _)| *gone >= from && owner == client) {
                if !targets.iter().any(|(target, _)| target == key) {
                    targets.push((key.clone(), false));
                }
            }
            let least = targets.iter().filter(|(_, live)| *live).count();
            if !(least..=targets.len()).contains(legs) {
                return Err(format!("{legs} legs for {client}, who has {least} bindings: {targets:?} (RCML 1.2)"));
            }
            match legs {
                0 => {}
                1 => self.reached.push("a client is rung at one binding"),
                _ => self.reached.push("a client is rung at several bindings"),
            }
            self.rounds.insert((call, dial, *noun), Round { targets, client: client.clone(), ..Round::default() });
        }
        Ok(())
    }

    /// A Dial found no binding of this client.
    pub fn is_absent(&mut self, client: &str, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        let live = |held: &&Held| held.client == client && self.sure(held, at, unix_ms / 1000) == Sure::Live;
        if let Some(held) = self.held.iter().find(live) {
            return Err(format!("{client} is said not to be registered, but is at {} (RCML 1.2)", held.address));
        }
        self.reached.push("nobody of a client is registered");
        Ok(())
    }

    /// An INVITE of a noun leaves.
    pub fn rings(
        &mut self,
        (call, dial, noun): (usize, usize, usize),
        uri: &str,
        to: SocketAddr,
        at: Duration,
        now: u64,
    ) -> Result<(), Fault> {
        let client = format!("c{noun}");
        let is_it = |held: &&Held| {
            held.client == client && held.uri == uri && held.address == to && self.sure(held, at, now) != Sure::Gone
        };
        let Some(key) = self.held.iter().find(is_it).map(|held| held.key.clone()) else {
            return Err(format!("INVITE to {uri} at {to}, which {client} has not registered (RCML 1.2)"));
        };
        let Some(round) = self.rounds.get_mut(&(call, dial, noun)) else { return Ok(()) };
        round.seen = true;
        if !round.targets.iter().any(|(target, _)| *target == key) {
            return Err(format!("INVITE to {uri}, registered after its Dial began (RCML 1.2)"));
        }
        if !round.rung.insert(key) {
            return Err(format!("{uri} is rung twice (RCML 1.2)"));
        }
        Ok(())
    }

    /// Whether a binding that this noun was to ring is gone, or may be.
    pub fn is_unsure(&self, place: (usize, usize, usize), at: Duration, now: u64) -> bool {
        let Some(round) = self.rounds.get(&place) else { return false };
        let live = |key: &str| {
            let is_it = |held: &&Held| held.client == round.client && held.key == key;
            self.held.iter().find(is_it).is_some_and(|held| self.sure(held, at, now) == Sure::Live)
        };
        round.targets.iter().any(|(key, _)| !live(key))
    }

    /// All INVITEs of what was begun have left.
    pub fn settled(&mut self, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        let mut done = Vec::new();
        for (place, round) in self.rounds.iter().filter(|(_, round)| round.seen) {
            for (key, live) in &round.targets {
                let held = self.held.iter().find(|held| held.client == round.client && held.key == *key);
                let still = held.is_some_and(|held| self.sure(held, at, unix_ms / 1000) == Sure::Live);
                if *live && still && !round.rung.contains(key) {
                    return Err(format!("{key} of {} is registered and is not rung (RCML 1.2)", round.client));
                }
            }
            done.push(*place);
        }
        for place in done {
            self.rounds.entry(place).and_modify(|round| {
                round.seen = false;
                round.targets.iter_mut().for_each(|(_, live)| *live = false);
            });
        }
        Ok(())
    }
}

/// Why a REGISTER changes nothing.
#[derive(Debug)]
enum Refused {
    Brief,
    Limit,
    Order,
    /// Something that may have ended meanwhile stands against it.
    Perhaps,
}

fn client_of(text: &Text) -> String {
    let to = text.get("To").unwrap_or_default();
    to.split_once("sip:").and_then(|(_, rest)| rest.split_once('@')).map_or("", |(login, _)| login).to_owned()
}
