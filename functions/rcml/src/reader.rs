//! Reads attributes with their rules and collects the warnings (RCML.md part 2: a bad value takes the default and
//! leaves a warning).

use roxmltree::Node;
use url::Url;

use crate::codes::{Code, quote};
use crate::evaluation::Notice;
use crate::program::{DocumentRef, Method};
use crate::xml::Lines;

/// Most warnings kept of one document; one more says that there were others.
pub const MAX_WARNINGS: usize = 50;

/// The state of one reading: where the document is, and what was found wrong in it.
#[derive(Debug)]
pub struct Reader<'d> {
    base: &'d Url,
    shown_url: String,
    lines: Lines,
    warnings: Vec<Notice>,
}

/// What reading a URL gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlValue {
    /// An absolute http or https URL.
    Good(String),
    /// Cannot be fetched; as written.
    Bad(String),
}

impl<'d> Reader<'d> {
    /// For the document at `base`.
    pub fn new(base: &'d Url, lines: Lines) -> Self {
        Self { base, shown_url: shown(base), lines, warnings: Vec::new() }
    }

    /// The warnings, in the order found.
    pub fn into_warnings(self) -> Vec<Notice> {
        self.warnings
    }

    /// Line of a node, from 1.
    pub fn line(&self, node: Node<'_, '_>) -> u32 {
        self.lines.of_node(node)
    }

    /// Leaves a warning about `node`.
    pub fn warn(&mut self, code: Code, found: &str, node: Node<'_, '_>) {
        self.warn_at(code, found, self.lines.of_node(node));
    }

    fn warn_at(&mut self, code: Code, found: &str, line: u32) {
        let notice = match self.warnings.len() {
            count if count < MAX_WARNINGS => code.notice(found, Some(&self.shown_url), Some(line)),
            MAX_WARNINGS => Code::MoreWarnings.notice("more warnings", Some(&self.shown_url), Some(line)),
            _ => return,
        };
        self.warnings.push(notice);
    }

    /// Warns of every attribute of `node` that is neither in `known` nor in `later`.
    pub fn check_attributes(&mut self, node: Node<'_, '_>, known: &[&str], later: &[&str]) {
        for attribute in node.attributes() {
            let name = attribute.name();
            let plain = attribute.namespace().is_none();
            if plain && known.contains(&name) {
                continue;
            }
            let code = if plain && later.contains(&name) { Code::NotBuilt } else { Code::Unknown };
            let found = format!("attribute {} of <{}>", quote(name), quote(node.tag_name().name()));
            self.warn_at(code, &found, self.lines.of_attribute(attribute));
        }
    }

    /// Warns of every child element: this verb nests nothing.
    pub fn check_no_children(&mut self, node: Node<'_, '_>) {
        for child in node.children().filter(Node::is_element) {
            let found = format!("<{}> in <{}>", quote(child.tag_name().name()), quote(node.tag_name().name()));
            self.warn(Code::Unknown, &found, child);
        }
    }

    /// Warns of a bad value of attribute `name`.
    pub fn warn_value(&mut self, code: Code, node: Node<'_, '_>, name: &str) {
        let Some(attribute) = node.attribute_node(name) else { return };
        let found = format!("<{} {name}=\"{}\">", quote(node.tag_name().name()), quote(attribute.value()));
        self.warn_at(code, &found, self.lines.of_attribute(attribute));
    }

    /// Whole seconds of at least 1, else `default` with a warning.
    pub fn seconds(&mut self, node: Node<'_, '_>, name: &str, default: u32, code: Code) -> u32 {
        let Some(value) = value(node, name) else { return default };
        // `u32::from_str` would take a leading `+`.
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse::<u32>() {
            Ok(seconds) if digits && seconds > 0 => seconds,
            _ => {
                self.warn_value(code, node, name);
                default
            }
        }
    }

    /// As [`Reader::seconds`], and where it is more than `most` that, with a warning.
    pub fn seconds_within(&mut self, node: Node<'_, '_>, name: &str, default: u32, most: u32, code: Code) -> u32 {
        let seconds = self.seconds(node, name, default, code);
        if seconds > most {
            self.warn_value(code, node, name);
        }
        seconds.min(most)
    }

    /// A whole number from 0, else `default` with a warning.
    pub fn count(&mut self, node: Node<'_, '_>, name: &str, default: u32, code: Code) -> u32 {
        let Some(value) = value(node, name) else { return default };
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse::<u32>() {
            Ok(count) if digits => count,
            _ => {
                self.warn_value(code, node, name);
                default
            }
        }
    }

    /// GET or POST in any case, else POST with a warning.
    pub fn method(&mut self, node: Node<'_, '_>, name: &str, code: Code) -> Method {
        let Some(value) = value(node, name) else { return Method::Post };
        if value.eq_ignore_ascii_case("GET") {
            return Method::Get;
        }
        if !value.eq_ignore_ascii_case("POST") {
            self.warn_value(code, node, name);
        }
        Method::Post
    }

    /// `true` or `false` in any case, else `false` with a warning.
    pub fn boolean(&mut self, node: Node<'_, '_>, name: &str, code: Code) -> bool {
        self.boolean_or(node, name, false, code)
    }

    /// `true` or `false` in any case, else `default` with a warning.
    pub fn boolean_or(&mut self, node: Node<'_, '_>, name: &str, default: bool, code: Code) -> bool {
        let Some(value) = value(node, name) else { return default };
        if value.eq_ignore_ascii_case("true") {
            return true;
        }
        if value.eq_ignore_ascii_case("false") {
            return false;
        }
        self.warn_value(code, node, name);
        default
    }

    /// An optional URL; one that cannot be used is as absent, with a warning.
    pub fn optional_url(&mut self, node: Node<'_, '_>, name: &str) -> Option<String> {
        match self.resolve(value(node, name)?) {
            UrlValue::Good(url) => Some(url),
            UrlValue::Bad(_) => {
                self.warn_value(Code::OptionalUrl, node, name);
                None
            }
        }
    }

    /// An optional document: a URL in `url_name` with its method in `method_name`.
    pub fn optional_document(
        &mut self,
        node: Node<'_, '_>,
        url_name: &str,
        method_name: &str,
        method_code: Code,
    ) -> Option<DocumentRef> {
        let method = self.method(node, method_name, method_code);
        Some(DocumentRef { url: self.optional_url(node, url_name)?, method })
    }

    /// Where this document is: asked again by a verb without `action`. A fragment never goes on the wire.
    pub fn own_url(&self) -> String {
        let mut url = self.base.clone();
        url.set_fragment(None);
        url.into()
    }

    /// Resolves a URL against that of the running document (RCML.md 1.1). A fragment never goes on the wire.
    pub fn resolve(&self, text: &str) -> UrlValue {
        let bad = || UrlValue::Bad(text.to_owned());
        if text.is_empty() {
            return bad();
        }
        match self.base.join(text) {
            Ok(mut url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                url.set_fragment(None);
                UrlValue::Good(url.into())
            }
            _ => bad(),
        }
    }
}

/// An attribute's value, trimmed (RCML.md part 2).
pub fn value<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attribute(name).map(str::trim)
}

/// A URL as notices show it: without user name and password.
pub fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // These fail only for URLs that cannot have credentials.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.into()
}
