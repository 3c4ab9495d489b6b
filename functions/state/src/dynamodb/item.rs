//! Items: attributes in and out, and one small builder for conditional updates.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::{Result, StoreError};

/// As the SDK has it.
pub(super) type Item = HashMap<String, AttributeValue>;

/// A string attribute.
pub(super) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number attribute.
pub(super) fn n(number: impl Into<u64>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

/// A binary attribute.
pub(super) fn b(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Builds an item, leaving out what is absent.
#[derive(Default)]
pub(super) struct Write(pub Item);

impl Write {
    pub fn put(&mut self, name: &str, value: AttributeValue) -> &mut Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.put(name, s(text))
    }

    pub fn maybe_text(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.text(name, text);
        }
        self
    }

    pub fn number(&mut self, name: &str, number: u64) -> &mut Self {
        self.put(name, n(number))
    }

    pub fn maybe_number(&mut self, name: &str, number: Option<u64>) -> &mut Self {
        if let Some(number) = number {
            self.number(name, number);
        }
        self
    }

    /// Written only when true.
    pub fn flag(&mut self, name: &str, set: bool) -> &mut Self {
        if set {
            self.put(name, AttributeValue::Bool(true));
        }
        self
    }
}

/// Reads an item; what is missing or of another type is `Corrupt`, named.
#[derive(Clone, Copy)]
pub(super) struct Read<'a>(pub &'a Item);

impl<'a> Read<'a> {
    pub fn bad(self, name: &str) -> StoreError {
        let key =
            |part| self.0.get(part).and_then(|value: &AttributeValue| value.as_s().ok()).map_or("?", String::as_str);
        StoreError::Corrupt(format!("attribute {name} of item {} {}", key("pk"), key("sk")))
    }

    pub fn maybe_str(self, name: &str) -> Result<Option<&'a str>> {
        self.0.get(name).map(|value| value.as_s().map(String::as_str).map_err(|_| self.bad(name))).transpose()
    }

    pub fn str(self, name: &str) -> Result<&'a str> {
        self.maybe_str(name)?.ok_or_else(|| self.bad(name))
    }

    pub fn text(self, name: &str) -> Result<String> {
        self.str(name).map(str::to_owned)
    }

    pub fn maybe_text(self, name: &str) -> Result<Option<String>> {
        self.maybe_str(name).map(|text| text.map(str::to_owned))
    }

    pub fn maybe_number(self, name: &str) -> Result<Option<u64>> {
        let read = |value: &AttributeValue| value.as_n().ok().and_then(|digits| digits.parse().ok());
        self.0.get(name).map(|value| read(value).ok_or_else(|| self.bad(name))).transpose()
    }

    pub fn number(self, name: &str) -> Result<u64> {
        self.maybe_number(name)?.ok_or_else(|| self.bad(name))
    }

    pub fn small_number(self, name: &str) -> Result<u32> {
        u32::try_from(self.number(name)?).map_err(|_| self.bad(name))
    }

    pub fn flag(self, name: &str) -> bool {
        matches!(self.0.get(name), Some(AttributeValue::Bool(true)))
    }

    pub fn list(self, name: &str) -> Result<&'a [AttributeValue]> {
        self.0.get(name).map_or(Ok(&[]), |value| value.as_l().map(Vec::as_slice).map_err(|_| self.bad(name)))
    }

    pub fn map(self, name: &str) -> Result<Option<&'a Item>> {
        self.0.get(name).map(|value| value.as_m().map_err(|_| self.bad(name))).transpose()
    }

    /// A string attribute that holds JSON.
    pub fn json<T: serde::de::DeserializeOwned>(self, name: &str) -> Result<Option<T>> {
        self.maybe_str(name)?.map(|text| serde_json::from_str(text).map_err(|_| self.bad(name))).transpose()
    }
}

/// JSON of a value that always has one.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// One UpdateItem's expressions. Every attribute goes by an alias (`#name`), so that none is a reserved word.
#[derive(Default)]
pub(super) struct Update {
    set: String,
    remove: String,
    condition: String,
    pub names: HashMap<String, String>,
    pub values: Item,
}

impl Update {
    /// The alias of an attribute, for use in a condition or path.
    pub fn name(&mut self, attribute: &str) -> String {
        let alias = format!("#{attribute}");
        self.names.entry(alias.clone()).or_insert_with(|| attribute.to_owned());
        alias
    }

    /// The alias of a value.
    pub fn value(&mut self, name: &str, value: AttributeValue) -> String {
        let alias = format!(":{name}");
        self.values.insert(alias.clone(), value);
        alias
    }

    pub fn set(&mut self, attribute: &str, value: AttributeValue) {
        let name = self.name(attribute);
        let value = self.value(attribute, value);
        self.set_to(&name, &value);
    }

    /// `path = expression`, both already in aliases.
    pub fn set_to(&mut self, path: &str, expression: &str) {
        let lead = if self.set.is_empty() { "SET " } else { ", " };
        let _ = write!(self.set, "{lead}{path} = {expression}");
    }

    /// `path` already in aliases.
    pub fn remove(&mut self, path: &str) {
        let lead = if self.remove.is_empty() { "REMOVE " } else { ", " };
        let _ = write!(self.remove, "{lead}{path}");
    }

    /// Joined with AND.
    pub fn condition(&mut self, condition: &str) {
        let lead = if self.condition.is_empty() { "" } else { " AND " };
        let _ = write!(self.condition, "{lead}{condition}");
    }

    pub fn expression(&self) -> String {
        format!("{} {}", self.set, self.remove)
    }

    pub fn condition_text(&self) -> String {
        self.condition.clone()
    }
}
