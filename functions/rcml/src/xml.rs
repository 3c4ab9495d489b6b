//! The XML layer: limits and refusals before anything is interpreted (RCML.md part 2), and reading elements with
//! their line numbers.

use roxmltree::{Attribute, Error, Node, ParsingOptions};

use crate::codes::{Code, quote};

/// Longest document in bytes (RCML.md part 2: 64 KB).
pub const MAX_BYTES: usize = 64 * 1024;
/// Deepest nesting of elements; RCML itself needs four.
const MAX_DEPTH: usize = 32;
/// Most nodes in a document: elements, texts, comments. A document of 64 KB that is not an attack has a few hundred.
const MAX_NODES: u32 = 20_000;

/// Why a text is not a document: a code and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which refusal.
    pub code: Code,
    /// What was found, for the message.
    pub found: String,
    /// Line, from 1.
    pub line: Option<u32>,
}

/// Parses `text` under all limits.
pub fn parse(text: &str) -> Result<roxmltree::Document<'_>, Fault> {
    if text.len() > MAX_BYTES {
        return Err(Fault { code: Code::TooLarge, found: format!("document of {} bytes", text.len()), line: None });
    }
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(Fault { code: Code::EmptyBody, found: "empty body".to_owned(), line: None });
    }
    // Leading white space is not allowed before an XML declaration, yet templates often leave a line there.
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let body = text.trim_start_matches('\u{feff}').trim_start();
    let lines_before = text[..text.len() - body.len()].matches('\n').count() as u32;
    let document = roxmltree::Document::parse_with_options(body, options).map_err(|error| {
        let line = Some(error.pos().row.saturating_add(lines_before));
        let code = match error {
            Error::DtdDetected | Error::UnknownEntityReference(..) | Error::EntityReferenceLoop(_) => Code::Doctype,
            Error::NodesLimitReached => Code::TooDeep,
            _ => Code::Malformed,
        };
        Fault { code, found: quote(&error.to_string()), line }
    })?;
    if let Some(node) = too_deep(&document) {
        let line = Some(document.text_pos_at(node.range().start).row.saturating_add(lines_before));
        return Err(Fault { code: Code::TooDeep, found: format!("more than {MAX_DEPTH} nested elements"), line });
    }
    Ok(document)
}

/// The first element that lies too deep. Walks without recursion: depth comes from outside.
fn too_deep<'a, 'i>(document: &'a roxmltree::Document<'i>) -> Option<Node<'a, 'i>> {
    let mut depth = 0usize;
    let mut node = document.root_element();
    loop {
        if depth >= MAX_DEPTH {
            return Some(node);
        }
        if let Some(child) = node.first_element_child() {
            node = child;
            depth += 1;
            continue;
        }
        loop {
            if let Some(next) = node.next_sibling_element() {
                node = next;
                break;
            }
            node = node.parent_element()?;
            depth = depth.checked_sub(1)?;
        }
    }
}

/// Turns byte offsets into lines without scanning the text again for each.
#[derive(Debug)]
pub struct Lines {
    starts: Vec<usize>,
    /// Lines of the text that lie before what was parsed.
    before: u32,
}

impl Lines {
    /// For `document`, parsed from `text`.
    pub fn of(document: &roxmltree::Document<'_>, text: &str) -> Self {
        let body = document.input_text();
        let skipped = text.len().saturating_sub(body.len());
        let before = text.as_bytes().iter().take(skipped).filter(|byte| **byte == b'\n').count() as u32;
        let starts = body.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect();
        Self { starts, before }
    }

    /// Line of a byte offset, from 1.
    fn line(&self, offset: usize) -> u32 {
        let before = self.starts.partition_point(|start| *start <= offset) as u32;
        before.saturating_add(self.before).saturating_add(1)
    }

    /// Line of a node.
    pub fn of_node(&self, node: Node<'_, '_>) -> u32 {
        self.line(node.range().start)
    }

    /// Line of an attribute.
    pub fn of_attribute(&self, attribute: Attribute<'_, '_>) -> u32 {
        self.line(attribute.range().start)
    }
}

/// The text that lies directly in an element (its children's not), trimmed.
pub fn direct_text(node: Node<'_, '_>) -> String {
    let mut all = String::new();
    for text in node.children().filter(|child| child.is_text()).filter_map(|child| child.text()) {
        all.push_str(text);
    }
    let trimmed = all.trim();
    if trimmed.len() == all.len() { all } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        parse(text).expect_err("must be refused")
    }

    /// RCML.md part 2: documents are at most 64 KB.
    #[test]
    fn the_limit_is_64_kilobytes() {
        let fill = |total: usize| format!("<Response><!--{}--></Response>", "x".repeat(total - 28));
        assert_eq!(fill(MAX_BYTES).len(), MAX_BYTES);
        assert!(parse(&fill(MAX_BYTES)).is_ok());
        assert_eq!(fault(&fill(MAX_BYTES + 1)).code, Code::TooLarge);
    }

    /// RCML.md part 2: no DTD, no entities beyond XML's five.
    #[test]
    fn dtd_and_foreign_entities_are_refused() {
        let dtd = "<!DOCTYPE r [<!ENTITY a \"b\">]>\n<Response>&a;</Response>";
        assert_eq!(fault(dtd).code, Code::Doctype);
        assert_eq!(fault("<Response>\n&nbsp;</Response>").code, Code::Doctype);
        assert_eq!(fault("<Response>\n&nbsp;</Response>").line, Some(2));
        let five = parse("<Response>&amp;&lt;&gt;&quot;&apos;&#65;</Response>").unwrap();
        assert_eq!(direct_text(five.root_element()), "&<>\"'A");
    }

    /// RCML.md part 2: XML that does not parse is an error.
    #[test]
    fn malformed_texts_are_refused() {
        for text in
            ["<Response>", "<Response></Dial>", "<a/><b/>", "hello", "<Response>&</Response>", "<Response a=1/>"]
        {
            assert_eq!(fault(text).code, Code::Malformed, "{text}");
        }
        assert_eq!(fault(" \n\t").code, Code::EmptyBody);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(fault(&nested(MAX_DEPTH + 1)).code, Code::TooDeep);
        assert_eq!(fault(&nested(9_000)).code, Code::TooDeep);
    }

    #[test]
    fn white_space_and_bom_before_the_declaration_are_tolerated() {
        let text = "\u{feff}\n\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response/>";
        let document = parse(text).unwrap();
        assert_eq!(Lines::of(&document, text).of_node(document.root_element()), 4);
        assert_eq!(fault("\n\n<Response>\n<a></b></Response>").line, Some(4));
    }
}
