//! Who is calling and as whom legs are rung: From, To, CallerName, privacy and callerId (RCML.md 1.5, 3.1).

use ringfork_rcml::program::{Endpoint, Noun};

use super::CallDescription;
use super::CallSid;
use crate::action::Now;

/// What signalling knows of an inbound call when it hands it over: authenticated, found a target, not yet answered.
///
/// Values are as decoded text: quoting and escapes of SIP are signalling's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallerInfo {
    /// The client that the INVITE authenticated as.
    pub login: Option<String>,
    /// User of P-Asserted-Identity; set for a trusted peer only.
    pub asserted_user: Option<String>,
    /// User of From, where it has one and is not anonymous.
    pub from_user: Option<String>,
    /// Display name of the identity taken, where there is one.
    pub display_name: Option<String>,
    /// `Privacy: id`, `user` or `header`, or a From at anonymous.invalid (RCML.md 3.1).
    pub private: bool,
    /// The Request-URI's user, or the To header's where only that is one of our numbers.
    pub called: String,
    /// User of Diversion, where there is one.
    pub forwarded_from: Option<String>,
    /// The `X-` headers of the INVITE, in order.
    pub headers: Vec<(String, String)>,
}

impl CallerInfo {
    /// `From` of the inbound call (RCML.md 3.1).
    pub fn from(&self) -> String {
        match (&self.login, self.private, self.user()) {
            (Some(login), _, _) => format!("client:{login}"),
            (None, false, Some(user)) => user.to_owned(),
            (None, _, _) => "anonymous".to_owned(),
        }
    }

    /// `CallerName`: none with privacy.
    fn name(&self) -> Option<String> {
        self.display_name.clone().filter(|name| !self.private && !name.is_empty())
    }

    /// The caller's true user where it is no client: asserted by a trusted peer, else of From.
    fn user(&self) -> Option<&str> {
        self.asserted_user.as_deref().or(self.from_user.as_deref()).filter(|user| !user.is_empty())
    }

    /// What the record of the inbound call says. `client` is set where it reaches that client directly.
    pub(super) fn describe(&self, sid: CallSid, client: Option<&str>, now: Now) -> CallDescription {
        CallDescription {
            sid,
            parent: None,
            from: self.from(),
            to: client.map_or_else(|| self.called.clone(), |identity| format!("client:{identity}")),
            caller_name: self.name(),
            forwarded_from: self.forwarded_from.clone(),
            direction: "inbound",
            sip_headers: Vec::new(),
            created_unix_ms: now.unix_ms,
        }
    }

    /// What the INVITE of a leg says of the caller.
    pub(super) fn towards(&self, noun: &Noun, caller_id: Option<&str>, trunk: Option<&str>) -> LegIdentity {
        let display_name = self.name();
        let is_trunk = matches!(noun.endpoint, Endpoint::Number { .. });
        if let Some(user) = caller_id.map(without_client).filter(|user| !user.is_empty()) {
            let user = user.to_owned();
            let asserted = is_trunk.then(|| user.clone());
            return LegIdentity { from_user: Some(user), display_name, asserted };
        }
        let own = self.login.as_deref().or(self.user());
        if !is_trunk {
            return LegIdentity {
                from_user: own.filter(|_| !self.private).map(str::to_owned),
                display_name,
                asserted: None,
            };
        }
        // A client's login is no number, even where it is made of digits.
        let number = self.user().filter(|user| self.login.is_none() && is_number(user)).or(trunk);
        let shown = number.or(own).filter(|_| !self.private).map(str::to_owned);
        LegIdentity { from_user: shown, display_name, asserted: number.map(str::to_owned) }
    }
}

/// From and P-Asserted-Identity of a leg's INVITE (fields as in [`Invite`](super::signals::Invite)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LegIdentity {
    pub(super) from_user: Option<String>,
    pub(super) display_name: Option<String>,
    pub(super) asserted: Option<String>,
}

/// Drops a leading `client:`.
fn without_client(caller_id: &str) -> &str {
    caller_id.strip_prefix("client:").unwrap_or(caller_id)
}

/// A telephone number as trunks take it: digits, perhaps after a `+`.
fn is_number(user: &str) -> bool {
    let digits = user.strip_prefix('+').unwrap_or(user);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `To` of a leg: `client:LOGIN`, the number as dialed, or the SIP URI's user (its host, where it has no user).
pub(super) fn leg_to(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Client { identity } => format!("client:{identity}"),
        Endpoint::Number { digits } => digits.clone(),
        Endpoint::Sip { uri, .. } => uri_user(uri).to_owned(),
    }
}

fn uri_user(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    match rest.split_once('@') {
        Some((user, _)) => user.split([':', ';']).next().unwrap_or(user),
        None => rest.split([':', ';', '?']).next().unwrap_or(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noun(endpoint: Endpoint) -> Noun {
        Noun { endpoint, headers: vec![], screening: None, callback: None }
    }
    fn client() -> Noun {
        noun(Endpoint::Client { identity: "bob".into() })
    }
    fn number() -> Noun {
        noun(Endpoint::Number { digits: "+15550001".into() })
    }
    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }
    fn peer() -> CallerInfo {
        CallerInfo { from_user: some("+15557"), display_name: some("Ann"), ..Default::default() }
    }
    fn alice() -> CallerInfo {
        CallerInfo { login: some("alice"), from_user: some("alice"), display_name: some("Alice"), ..Default::default() }
    }
    fn identity(from_user: Option<&str>, name: Option<&str>, asserted: Option<&str>) -> LegIdentity {
        LegIdentity {
            from_user: from_user.map(str::to_owned),
            display_name: name.map(str::to_owned),
            asserted: asserted.map(str::to_owned),
        }
    }

    /// RCML.md 3.1 "Inbound call": whose name `From` is.
    #[test]
    fn from_of_an_inbound_call() {
        assert_eq!(alice().from(), "client:alice");
        assert_eq!(peer().from(), "+15557");
        assert_eq!(CallerInfo { asserted_user: some("+15558"), ..peer() }.from(), "+15558");
        assert_eq!(CallerInfo::default().from(), "anonymous");
    }

    /// RCML.md 3.1 "Privacy": a peer is anonymous, a client stays itself, nobody has a CallerName.
    #[test]
    fn privacy_hides_a_peer_and_the_name() {
        let (ann, alice) = (CallerInfo { private: true, ..peer() }, CallerInfo { private: true, ..alice() });
        assert_eq!(ann.from(), "anonymous");
        assert_eq!(alice.from(), "client:alice");
        assert_eq!((ann.name(), alice.name()), (None, None));
    }

    /// RCML.md 1.5 callerId and 3.1 "Privacy": From of a client's leg.
    #[test]
    fn from_of_a_client_leg() {
        assert_eq!(alice().towards(&client(), None, None), identity(Some("alice"), Some("Alice"), None));
        assert_eq!(peer().towards(&client(), None, None), identity(Some("+15557"), Some("Ann"), None));
        assert_eq!(peer().towards(&client(), Some("client:sales"), None), identity(Some("sales"), Some("Ann"), None));
        assert_eq!(CallerInfo { private: true, ..peer() }.towards(&client(), None, None), identity(None, None, None));
        assert_eq!(CallerInfo { private: true, ..alice() }.towards(&client(), None, None), identity(None, None, None));
        let shown = CallerInfo { private: true, ..peer() }.towards(&client(), Some("+1800"), None);
        assert_eq!(shown, identity(Some("+1800"), None, None));
    }

    /// RCML.md part 2 "Number" and 3.1 "Privacy": callerId, else the caller's number, else the trunk's own; the trunk
    /// alone gets the identity of a private caller.
    #[test]
    fn from_of_a_trunk_leg() {
        let trunk = Some("+1900");
        assert_eq!(
            peer().towards(&number(), Some("+1800"), trunk),
            identity(Some("+1800"), Some("Ann"), Some("+1800"))
        );
        assert_eq!(peer().towards(&number(), None, trunk), identity(Some("+15557"), Some("Ann"), Some("+15557")));
        assert_eq!(alice().towards(&number(), None, trunk), identity(Some("+1900"), Some("Alice"), Some("+1900")));
        assert_eq!(
            CallerInfo { login: some("1001"), ..Default::default() }.towards(&number(), None, trunk),
            identity(Some("+1900"), None, Some("+1900"))
        );
        assert_eq!(
            CallerInfo { private: true, ..peer() }.towards(&number(), None, trunk),
            identity(None, None, Some("+15557"))
        );
        assert_eq!(alice().towards(&number(), None, None), identity(Some("alice"), Some("Alice"), None));
    }

    /// RCML.md 3.1 "Leg": `To`.
    #[test]
    fn to_of_a_leg() {
        let sip = |uri: &str| leg_to(&Endpoint::Sip { uri: uri.into(), username: None, password: None });
        assert_eq!(leg_to(&client().endpoint), "client:bob");
        assert_eq!(leg_to(&number().endpoint), "+15550001");
        assert_eq!(sip("sip:carol@example.com;transport=tcp"), "carol");
        assert_eq!(sip("sips:dave:secret@[2001:db8::1]:5061"), "dave");
        assert_eq!(sip("sip:example.com:5060"), "example.com");
    }
}
