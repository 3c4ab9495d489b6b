//! What a REGISTER changes, or why it changes nothing.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{Binding, BindingRecord, Bindings};
use crate::flow::Flow;
use crate::header::{Contacts, HeaderName, NameAddr, Params, scan};
use crate::message::Message;
use crate::uri::Uri;

/// How much longer than granted a binding is kept in the store, seconds (DESIGN "State in DynamoDB"): refreshes within
/// it need no write.
pub const SLACK: u64 = 3600;

/// Most contacts in one REGISTER.
pub const MAX_CONTACTS: usize = 32;

/// The registrar's numbers (DESIGN "SIP choices").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Below it 423, seconds.
    pub min_expires: u32,
    /// What is granted at most, seconds.
    pub max_expires: u32,
    /// What is granted where nothing is asked, seconds.
    pub default_expires: u32,
    /// Bindings of one AOR.
    pub per_aor: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { min_expires: 60, max_expires: 3600, default_expires: 600, per_aor: 10 }
    }
}

/// A REGISTER that changes nothing, and what it is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: `*` beside other contacts, or without `Expires: 0` (RFC 3261 §10.3 step 6).
    #[error("Contact * needs Expires 0 and no other Contact")]
    Star,
    /// 400: a contact that cannot be read, or is no SIP URI.
    #[error("Malformed Contact")]
    Contact,
    /// 400: more than [`MAX_CONTACTS`].
    #[error("Too many Contacts")]
    TooMany,
    /// 400: an outbound registration is of one contact over one flow (RFC 5626 §6).
    #[error("Several Contacts with reg-id")]
    SeveralFlows,
    /// 423 with Min-Expires.
    #[error("Interval Too Brief")]
    TooBrief {
        /// For the Min-Expires header.
        min_expires: u32,
    },
    /// 403: one binding too many for this AOR.
    #[error("Too many bindings")]
    Limit,
    /// 439: a proxy on the way does not do outbound (RFC 5626 §6, §11.6).
    #[error("First Hop Lacks Outbound Support")]
    FirstHop,
    /// 500: a CSeq not above the last one of the same Call-ID (RFC 3261 §10.3 step 7).
    #[error("Out of order")]
    OutOfOrder,
    /// 503 with Retry-After: the table is full.
    #[error("Registrar full")]
    Full,
}

impl Refusal {
    /// Status code.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Star | Refusal::Contact | Refusal::TooMany | Refusal::SeveralFlows => 400,
            Refusal::TooBrief { .. } => 423,
            Refusal::Limit => 403,
            Refusal::FirstHop => 439,
            Refusal::OutOfOrder => 500,
            Refusal::Full => 503,
        }
    }
}

/// One change of one binding, to be given to [`Bindings::apply`] after [`Change::write`] was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// New, moved or refreshed.
    Put {
        /// As it is to be.
        record: Box<BindingRecord>,
        /// Whether the store needs to know (DESIGN "State in DynamoDB").
        write: bool,
    },
    /// Given up by the device.
    Remove {
        /// The AOR's user.
        aor: String,
        /// Its key.
        key: String,
    },
}

/// What the 200 says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Values of Contact headers: every binding of the AOR as it was sent, with `expires`.
    pub contacts: Vec<String>,
    /// Values of Path headers, as received (RFC 3327 §5.3).
    pub path: Vec<String>,
    /// `Require: outbound` (RFC 5626 §6).
    pub require_outbound: bool,
}

/// A REGISTER that is in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// All to be done, or none.
    pub changes: Vec<Change>,
    /// For the 200, valid once the changes are made.
    pub reply: Reply,
}

/// Reads an authenticated, validated REGISTER for the AOR with this user part, that came over `flow`. `now` is in Unix
/// seconds. Nothing is changed.
///
/// # Errors
/// A refusal: nothing is to change.
pub fn register(
    bindings: &Bindings,
    message: &Message,
    aor: &str,
    flow: Flow,
    now: u64,
    limits: &Limits,
) -> Result<Outcome, Refusal> {
    let existing: SmallVec<[Binding<'_>; 10]> = bindings.of(aor, now).collect();
    let call_id = message.call_id().unwrap_or_default();
    let cseq = message.cseq().map_or(0, |cseq| cseq.number);
    let path: Vec<String> = message.list(HeaderName::Path).map(readable).collect();
    let in_order = |binding: &Binding<'_>| binding.call_id() != call_id || cseq > binding.cseq();

    let sent = match message.contacts() {
        Contacts::Malformed if message.list(HeaderName::Contact).any(|element| element == b"*") => {
            return Err(Refusal::Star);
        }
        Contacts::Malformed => return Err(Refusal::Contact),
        Contacts::Star => {
            if message.expires() != Some(0) {
                return Err(Refusal::Star);
            }
            if !existing.iter().all(in_order) {
                return Err(Refusal::OutOfOrder);
            }
            let changes = existing.iter().map(|b| remove(aor, b.key())).collect();
            return Ok(Outcome { changes, reply: Reply { contacts: Vec::new(), path, require_outbound: false } });
        }
        Contacts::None => Vec::new(),
        Contacts::List(sent) if sent.len() > MAX_CONTACTS => return Err(Refusal::TooMany),
        Contacts::List(sent) => sent,
    };

    let asked = sent
        .iter()
        .map(|contact| asked_expiry(contact, message, limits))
        .collect::<Result<SmallVec<[u32; 2]>, Refusal>>()?;
    let outbound = outbound(message, &sent, &asked)?;

    let mut changes: Vec<Change> = Vec::with_capacity(sent.len());
    let mut contacts: Vec<String> = Vec::with_capacity(existing.len() + 1);
    for (contact, &expires) in sent.iter().zip(&asked) {
        let uri = contact.uri().filter(Uri::is_sip).ok_or(Refusal::Contact)?;
        let instance = instance_key(contact, outbound);
        let matching = find(&existing, instance.as_deref(), &uri);
        if matching.is_some_and(|binding| !in_order(&binding)) {
            return Err(Refusal::OutOfOrder);
        }
        let key = match (matching, instance) {
            (Some(binding), _) => binding.key().to_owned(),
            (None, Some(key)) => key,
            (None, None) => changes
                .iter()
                .find_map(|change| put_for(change, &uri))
                .map_or_else(|| contact.uri_text.to_owned(), |record| record.key.clone()),
        };
        // The same binding twice in one request: the last one counts.
        changes.retain(|change| change.key() != key);
        if expires == 0 {
            if matching.is_some() {
                changes.push(remove(aor, &key));
            }
            continue;
        }
        let mut record = BindingRecord {
            aor: aor.to_owned(),
            key,
            contact: contact.uri_text.to_owned(),
            contact_params: params_without_expires(contact.params),
            flow,
            path: path.clone(),
            call_id: call_id.to_owned(),
            cseq,
            user_agent: message.text(HeaderName::UserAgent).map(Cow::into_owned).filter(|text| !text.is_empty()),
            expires_at: now + u64::from(expires),
            stored_until: now + u64::from(expires) + SLACK,
        };
        let write = match matching.filter(|binding| is_refresh(binding, &record)) {
            Some(binding) if binding.stored_until() >= record.expires_at => {
                record.stored_until = binding.stored_until();
                false
            }
            _ => true,
        };
        changes.push(Change::Put { record: Box::new(record), write });
    }

    let is_known = |key: &str| existing.iter().any(|binding| binding.key() == key);
    let removed = changes.iter().filter(|change| matches!(change, Change::Remove { .. })).count();
    let new =
        changes.iter().filter(|change| matches!(change, Change::Put { record, .. } if !is_known(&record.key))).count();
    if new > 0 && existing.len() - removed + new > limits.per_aor {
        return Err(Refusal::Limit);
    }
    if new > removed && bindings.is_full() {
        return Err(Refusal::Full);
    }

    for binding in &existing {
        if !changes.iter().any(|change| change.key() == binding.key()) {
            contacts.push(contact_value(binding.contact(), binding.contact_params(), binding.deadline() - now));
        }
    }
    for change in &changes {
        if let Change::Put { record, .. } = change {
            contacts.push(contact_value(&record.contact, &record.contact_params, record.expires_at - now));
        }
    }
    let require_outbound = outbound && message.has_token(HeaderName::Supported, "outbound");
    Ok(Outcome { changes, reply: Reply { contacts, path, require_outbound } })
}

/// Values of Contact headers for a 200 whose changes took a while to be made: every binding that the AOR has at `now`
/// (Unix seconds), with what is left of its time.
pub fn contacts(bindings: &Bindings, aor: &str, now: u64) -> Vec<String> {
    let value = |binding: Binding<'_>| {
        contact_value(binding.contact(), binding.contact_params(), binding.deadline().saturating_sub(now))
    };
    bindings.of(aor, now).map(value).collect()
}

impl Change {
    /// The key of its binding.
    pub fn key(&self) -> &str {
        match self {
            Change::Put { record, .. } => &record.key,
            Change::Remove { key, .. } => key,
        }
    }
}

/// RFC 3261 §10.3 step 6: the contact's own `expires`, else Expires, else our default. 0 removes.
fn asked_expiry(contact: &NameAddr<'_>, message: &Message, limits: &Limits) -> Result<u32, Refusal> {
    let asked = contact.expires().or_else(|| message.expires()).unwrap_or(limits.default_expires);
    if asked > 0 && asked < limits.min_expires {
        return Err(Refusal::TooBrief { min_expires: limits.min_expires });
    }
    Ok(asked.min(limits.max_expires))
}

/// RFC 5626 §6: whether `reg-id` counts. It does where we are the first hop, or the first hop says `ob` in its Path; it
/// needs an instance.
fn outbound(message: &Message, sent: &[NameAddr<'_>], asked: &[u32]) -> Result<bool, Refusal> {
    let has_flow = |contact: &NameAddr<'_>| contact.reg_id().is_some() && contact.instance().is_some();
    if !sent.iter().any(has_flow) {
        return Ok(false);
    }
    let says_ob = |element: Option<NameAddr<'_>>| element.is_some_and(|address| address.is_outbound());
    let first_hop = message.via_values().nth(1).is_none()
        || says_ob(message.addresses(HeaderName::Path).next())
        || says_ob(message.addresses(HeaderName::Path).last());
    if !first_hop {
        let wants = message.has_token(HeaderName::Supported, "outbound");
        return if wants { Err(Refusal::FirstHop) } else { Ok(false) };
    }
    let kept = || sent.iter().zip(asked).filter(|(_, expires)| **expires > 0);
    if kept().count() > 1 && kept().any(|(contact, _)| has_flow(contact)) {
        return Err(Refusal::SeveralFlows);
    }
    Ok(true)
}

/// `<urn:uuid:…>` and reg-id; the instance alone without outbound; `None`: the contact itself is the key.
/// Always in angle brackets, as RFC 5626 §4.1 has it, so that it is never taken for a contact.
fn instance_key(contact: &NameAddr<'_>, outbound: bool) -> Option<String> {
    let instance = contact.instance()?.trim_start_matches('<').trim_end_matches('>');
    if instance.is_empty() {
        return None;
    }
    let mut key = String::with_capacity(instance.len() + 6);
    key.push('<');
    key.extend(instance.chars().filter(|c| !c.is_ascii_control()));
    // UUIDs are compared without case (RFC 8141 §3.1, RFC 4122 §3).
    if instance.get(..9).is_some_and(|urn| urn.eq_ignore_ascii_case("urn:uuid:")) {
        key.make_ascii_lowercase();
    }
    key.push('>');
    if let Some(reg_id) = contact.reg_id().filter(|_| outbound) {
        key.push_str(&format!(";{reg_id}"));
    }
    Some(key)
}

/// The binding that a contact replaces: by instance, else by contact (RFC 3261 §19.1.4) among those without one.
fn find<'b>(existing: &[Binding<'b>], instance: Option<&str>, uri: &Uri<'_>) -> Option<Binding<'b>> {
    let is_it = |binding: &&Binding<'b>| match instance {
        Some(key) => binding.key() == key,
        None => !is_instance(binding.key()) && same_uri(binding.contact(), uri),
    };
    existing.iter().find(is_it).copied()
}

/// What this request has already made of an equal contact without instance.
fn put_for<'c>(change: &'c Change, uri: &Uri<'_>) -> Option<&'c BindingRecord> {
    let Change::Put { record, .. } = change else { return None };
    (!is_instance(&record.key) && same_uri(&record.contact, uri)).then_some(record)
}

/// No URI begins so.
fn is_instance(key: &str) -> bool {
    key.starts_with('<')
}

fn same_uri(text: &str, uri: &Uri<'_>) -> bool {
    Uri::parse(text).is_ok_and(|other| other.is_equivalent(uri))
}

/// Nothing but CSeq and expiry has changed.
fn is_refresh(binding: &Binding<'_>, record: &BindingRecord) -> bool {
    binding.contact() == record.contact
        && binding.contact_params() == record.contact_params
        && binding.flow() == record.flow
        && binding.call_id() == record.call_id
        && binding.user_agent() == record.user_agent.as_deref()
        && binding.path().eq(record.path.iter().map(String::as_str))
}

fn remove(aor: &str, key: &str) -> Change {
    Change::Remove { aor: aor.to_owned(), key: key.to_owned() }
}

fn contact_value(uri: &str, params: &str, seconds: u64) -> String {
    format!("<{uri}>{params};expires={seconds}")
}

/// `;name=value` of each, as sent.
fn params_without_expires(params: Params<'_>) -> String {
    let raw = scan::unfold(params.raw());
    let mut text = String::with_capacity(raw.len());
    for param in Params::new(&raw).iter() {
        if param.name.is_empty() || param.name.eq_ignore_ascii_case(b"expires") {
            continue;
        }
        text.push(';');
        text.push_str(&readable(param.name));
        if let Some(value) = param.value {
            text.push('=');
            text.push_str(&readable(value));
        }
    }
    text
}

/// As text on one line; octets that are not UTF-8 are read as Latin-1.
fn readable(raw: &[u8]) -> String {
    let text = scan::text_lossy(scan::unfold(raw));
    if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], " ") } else { text.into_owned() }
}
