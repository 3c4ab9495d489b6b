//! A document as it was written: typed verbs with their lines, and the warnings of reading it (RCML.md part 2).

use roxmltree::Node;
use url::Url;

use crate::codes::{Code, quote};
use crate::dial;
use crate::evaluation::Notice;
use crate::program::{DocumentRef, RejectReason, Step};
use crate::reader::{Reader, UrlValue, shown, value};
use crate::voice::{self, Place};
use crate::xml::{self, Lines, direct_text};

/// Verbs of the language that this version skips with a warning.
const LATER_VERBS: [&str; 7] = ["Sms", "Message", "Email", "Fax", "Hold", "Resume", "Refer"];

/// A document that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The verbs that can run, in order.
    pub verbs: Vec<Verb>,
    /// Line of the first `<Dial>` anywhere in the document, inside other elements too: RCML.md 1.3 refuses a screening
    /// document for it.
    pub first_dial: Option<u32>,
    /// What was skipped or replaced by a default.
    pub warnings: Vec<Notice>,
}

/// One verb and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verb {
    /// Line in the document, from 1.
    pub line: u32,
    /// What it does, with every default filled in.
    pub step: Step,
}

impl Document {
    /// Reads `text`, the document at `base`. An error is one notice that says why it is no RCML.
    pub fn parse(text: &str, base: &Url) -> Result<Self, Notice> {
        let url = shown(base);
        let tree = xml::parse(text).map_err(|fault| fault.code.notice(&fault.found, Some(&url), fault.line))?;
        let lines = Lines::of(&tree, text);
        let root = tree.root_element();
        if root.tag_name().name() != "Response" {
            let found = format!("root element <{}>", quote(root.tag_name().name()));
            return Err(Code::WrongRoot.notice(&found, Some(&url), Some(lines.of_node(root))));
        }
        let mut reader = Reader::new(base, lines);
        reader.check_attributes(root, &[], &[]);
        let text = direct_text(root);
        if !text.is_empty() {
            reader.warn(Code::Unknown, &format!("text \"{}\" in <Response>", quote(&text)), root);
        }
        let verbs = root
            .children()
            .filter(Node::is_element)
            .filter_map(|node| Some(Verb { line: reader.line(node), step: step(&mut reader, node)? }))
            .collect();
        let first_dial = root.descendants().find(|node| node.has_tag_name_local("Dial")).map(|node| reader.line(node));
        Ok(Self { verbs, first_dial, warnings: reader.into_warnings() })
    }
}

/// Names are compared without their namespace, as everywhere here.
trait LocalName {
    fn has_tag_name_local(&self, name: &str) -> bool;
}

impl LocalName for Node<'_, '_> {
    fn has_tag_name_local(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

/// One verb, or `None` where it is skipped.
fn step(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Option<Step> {
    match node.tag_name().name() {
        "Dial" => Some(Step::Dial(dial::read(reader, node))),
        "Say" => voice::say(reader, node, Place::Verb).map(Step::Prompt),
        "Play" => voice::play(reader, node, Place::Verb).map(Step::Prompt),
        "Gather" => Some(Step::Gather(Box::new(voice::gather(reader, node)))),
        "Record" => Some(Step::Record(voice::record(reader, node))),
        "Pause" => {
            check(reader, node, &["length"]);
            Some(Step::Pause { seconds: reader.seconds(node, "length", 1, Code::PauseLength) })
        }
        "Redirect" => {
            check(reader, node, &["method"]);
            redirect(reader, node)
        }
        "Reject" => {
            check(reader, node, &["reason"]);
            Some(Step::Reject { reason: reason(reader, node) })
        }
        "Hangup" => {
            check(reader, node, &[]);
            Some(Step::Hangup)
        }
        name => {
            let code = if LATER_VERBS.contains(&name) { Code::NotBuilt } else { Code::Unknown };
            reader.warn(code, &format!("<{}>", quote(name)), node);
            None
        }
    }
}

fn check(reader: &mut Reader<'_>, node: Node<'_, '_>, attributes: &[&str]) {
    reader.check_attributes(node, attributes, &[]);
    reader.check_no_children(node);
}

/// A target that can never be fetched stays as written: its fetch fails and ends the call, as RCML.md part 2 says of
/// any later document. Skipping it would run what the author wrote for another case.
fn redirect(reader: &mut Reader<'_>, node: Node<'_, '_>) -> Option<Step> {
    let method = reader.method(node, "method", Code::RedirectMethod);
    let text = direct_text(node);
    if text.is_empty() {
        reader.warn(Code::RedirectEmpty, "<Redirect> without a URL", node);
        return None;
    }
    let (UrlValue::Good(url) | UrlValue::Bad(url)) = reader.resolve(&text);
    Some(Step::Redirect { to: DocumentRef { url, method } })
}

fn reason(reader: &mut Reader<'_>, node: Node<'_, '_>) -> RejectReason {
    match value(node, "reason") {
        None | Some("rejected") => RejectReason::Rejected,
        Some("busy") => RejectReason::Busy,
        Some(_) => {
            reader.warn_value(Code::RejectReason, node, "reason");
            RejectReason::Rejected
        }
    }
}
