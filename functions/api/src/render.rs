//! Resources as JSON and as XML: one description of their fields, two writings (RCML.md 3.4).

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use quick_xml::escape::escape;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::ApiError;
use crate::page::Listing;
use crate::recording::SoundBody;
use crate::route::Kind;

/// A field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Text(String),
    Number(u64),
    Bool(bool),
    Object(Fields),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(number)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// Fields in order, by their JSON names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub Vec<(&'static str, Value)>);

impl Fields {
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }
}

/// What a request is answered with.
pub(crate) enum Reply {
    /// The element's name in XML, and its fields.
    One(&'static str, Fields),
    /// As `One`, with a text for the `Warning` header.
    Warned(&'static str, Fields, &'static str),
    /// A page of resources.
    List(Box<Listing>),
    /// 204.
    Gone,
    /// A file, or a part of it.
    Sound(SoundBody),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Number(number) => serializer.serialize_u64(*number),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Object(fields) => fields.serialize(serializer),
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (*name, value)))
    }
}

/// Names of a list: its key in JSON, its element and that of an item in XML.
fn names(kind: Kind) -> (&'static str, &'static str, &'static str) {
    match kind {
        Kind::Clients => ("clients", "Clients", "Client"),
        Kind::Applications => ("applications", "Applications", "Application"),
        Kind::Numbers => ("incoming_phone_numbers", "IncomingPhoneNumbers", "IncomingPhoneNumber"),
        Kind::Calls => ("calls", "Calls", "Call"),
        Kind::Notifications => ("notifications", "Notifications", "Notification"),
        Kind::Recordings => ("recordings", "Recordings", "Recording"),
    }
}

impl Serialize for Listing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(7))?;
        map.serialize_entry("page", &self.page)?;
        map.serialize_entry("page_size", &self.page_size)?;
        map.serialize_entry("uri", &self.uri)?;
        map.serialize_entry("first_page_uri", &self.first)?;
        map.serialize_entry("next_page_uri", &self.next)?;
        map.serialize_entry("previous_page_uri", &self.previous)?;
        map.serialize_entry(names(self.kind).0, &self.items)?;
        map.end()
    }
}

/// The response to what could be done.
pub(crate) fn render(reply: Reply, json: bool) -> Response<Bytes> {
    match reply {
        Reply::One(element, fields) => one(StatusCode::OK, element, &fields, json),
        Reply::Warned(element, fields, warning) => {
            let mut response = one(StatusCode::OK, element, &fields, json);
            if let Ok(value) = header::HeaderValue::from_str(&format!("299 - \"{warning}\"")) {
                response.headers_mut().insert(header::WARNING, value);
            }
            response
        }
        Reply::List(listing) if json => json_response(StatusCode::OK, &*listing),
        Reply::List(listing) => xml_response(StatusCode::OK, |out| xml_list(out, &listing)),
        Reply::Sound(body) => sound(body),
        Reply::Gone => with_status(Response::new(Bytes::new()), StatusCode::NO_CONTENT),
    }
}

/// The response to what could not.
pub(crate) fn render_error(error: &ApiError, json: bool) -> Response<Bytes> {
    let fields = Fields::default()
        .with("code", u64::from(error.code))
        .with("message", error.message.as_str())
        .with("more_info", error.more_info())
        .with("status", u64::from(error.status.as_u16()));
    let mut response = one(error.status, "RestException", &fields, json);
    let headers = response.headers_mut();
    if error.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"Ringfork\""));
    }
    if error.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    if let Some(total) = error.total {
        headers.insert(header::CONTENT_RANGE, content_range(total));
    }
    if let Some(allow) = error.allow {
        headers.insert(header::ALLOW, header::HeaderValue::from_static(allow));
    }
    response
}

/// RFC 9110 §15.5.17.
fn content_range(total: u64) -> header::HeaderValue {
    let value = header::HeaderValue::from_str(&format!("bytes */{total}"));
    value.unwrap_or_else(|_| header::HeaderValue::from_static("bytes */*"))
}

/// Head of a sound; its body goes along as an extension.
fn sound(body: SoundBody) -> Response<Bytes> {
    let length = body.range.end.saturating_sub(body.range.start);
    let whole = length == body.total;
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    let mut set = |name: header::HeaderName, text: &str| {
        // Digits and names are always a header's value.
        if let Ok(value) = header::HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_LENGTH, &length.to_string());
    set(header::ACCEPT_RANGES, "bytes");
    set(header::CONTENT_DISPOSITION, &format!("inline; filename=\"{}.wav\"", body.sid));
    if !whole {
        let last = body.range.end.saturating_sub(1);
        set(header::CONTENT_RANGE, &format!("bytes {}-{last}/{}", body.range.start, body.total));
    }
    response.extensions_mut().insert(body);
    with_type(response, if whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT }, "audio/wav")
}

fn one(status: StatusCode, element: &str, fields: &Fields, json: bool) -> Response<Bytes> {
    if json { json_response(status, fields) } else { xml_response(status, |out| xml_object(out, element, fields)) }
}

fn json_response(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // These types always have a JSON form.
    let body = serde_json::to_vec(body).unwrap_or_default();
    with_type(Response::new(Bytes::from(body)), status, "application/json")
}

fn xml_response(status: StatusCode, write: impl FnOnce(&mut String)) -> Response<Bytes> {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<RestcommResponse>");
    write(&mut out);
    out.push_str("</RestcommResponse>\n");
    with_type(Response::new(Bytes::from(out)), status, "application/xml; charset=utf-8")
}

fn with_type(mut response: Response<Bytes>, status: StatusCode, media: &'static str) -> Response<Bytes> {
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media));
    with_status(response, status)
}

fn with_status(mut response: Response<Bytes>, status: StatusCode) -> Response<Bytes> {
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// `<Clients page= pagesize= …><Client>…`: attributes are the JSON names without underscores.
fn xml_list(out: &mut String, listing: &Listing) {
    let (_, element, item) = names(listing.kind);
    let (page, size) = (listing.page.to_string(), listing.page_size.to_string());
    let attributes = [
        ("page", Some(&page)),
        ("pagesize", Some(&size)),
        ("uri", Some(&listing.uri)),
        ("firstpageuri", Some(&listing.first)),
        ("nextpageuri", listing.next.as_ref()),
        ("previouspageuri", listing.previous.as_ref()),
    ];
    out.push('<');
    out.push_str(element);
    for (name, value) in attributes {
        let value = value.map(String::as_str).unwrap_or_default();
        out.push_str(&format!(" {name}=\"{}\"", escape(xml_text(value))));
    }
    out.push('>');
    for fields in &listing.items {
        xml_object(out, item, fields);
    }
    out.push_str(&format!("</{element}>"));
}

fn xml_object(out: &mut String, element: &str, fields: &Fields) {
    out.push_str(&format!("<{element}>"));
    for (name, value) in &fields.0 {
        let name = pascal(name);
        match value {
            Value::Null => out.push_str(&format!("<{name}/>")),
            Value::Text(text) => out.push_str(&format!("<{name}>{}</{name}>", escape(xml_text(text)))),
            Value::Number(number) => out.push_str(&format!("<{name}>{number}</{name}>")),
            Value::Bool(truth) => out.push_str(&format!("<{name}>{truth}</{name}>")),
            Value::Object(fields) => xml_object(out, &name, fields),
        }
    }
    out.push_str(&format!("</{element}>"));
}

/// `voice_url` is `VoiceUrl` in XML.
fn pascal(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect()
}

/// XML 1.0 cannot hold most control characters in any writing; a phone's display name may.
fn xml_text(text: &str) -> Cow<'_, str> {
    let illegal =
        |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if text.contains(illegal) { Cow::Owned(text.replace(illegal, "\u{fffd}")) } else { Cow::Borrowed(text) }
}
