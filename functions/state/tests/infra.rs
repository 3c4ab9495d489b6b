//! `infra/tables.yaml` and `src/table.rs` define the same tables (DESIGN "Map of the repository").

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use ringfork_state::table::{TABLES, Table};
use yaml_rust2::{Yaml, YamlLoader};

fn template(name: &str) -> Yaml {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join(name)).unwrap();
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

/// Every resource of a type.
fn resources<'a>(template: &'a Yaml, kind: &str) -> Vec<&'a Yaml> {
    let all = template["Resources"].as_hash().unwrap().values();
    all.filter(|resource| resource["Type"].as_str() == Some(kind)).collect()
}

fn keys(schema: &Yaml) -> Vec<(String, String)> {
    let text = |value: &Yaml| value.as_str().unwrap().to_owned();
    schema.as_vec().unwrap().iter().map(|key| (text(&key["AttributeName"]), text(&key["KeyType"]))).collect()
}

fn expected_keys(hash: &str, range: Option<&str>) -> Vec<(String, String)> {
    let hash = Some((hash.to_owned(), "HASH".to_owned()));
    hash.into_iter().chain(range.map(|range| (range.to_owned(), "RANGE".to_owned()))).collect()
}

fn check(table: &Table, resource: &Yaml) {
    let properties = &resource["Properties"];
    assert_eq!(properties["BillingMode"].as_str(), Some("PAY_PER_REQUEST"), "{table:?}");
    assert_eq!(keys(&properties["KeySchema"]), expected_keys(table.hash, table.range), "{table:?}");
    let ttl = &properties["TimeToLiveSpecification"];
    assert_eq!(ttl["AttributeName"].as_str(), table.ttl, "{table:?}");
    assert_eq!(ttl["Enabled"].as_bool(), table.ttl.map(|_| true), "{table:?}");
    let indexes = properties["GlobalSecondaryIndexes"].as_vec().cloned().unwrap_or_default();
    assert_eq!(indexes.len(), usize::from(table.index.is_some()), "{table:?}");
    let mut attributes: BTreeSet<&str> = [Some(table.hash), table.range].into_iter().flatten().collect();
    for (index, found) in table.index.iter().zip(&indexes) {
        assert_eq!(found["IndexName"].as_str(), Some(index.name));
        assert_eq!(keys(&found["KeySchema"]), expected_keys(index.hash, Some(index.range)));
        assert_eq!(found["Projection"]["ProjectionType"].as_str(), Some("KEYS_ONLY"));
        attributes.extend([index.hash, index.range]);
    }
    let defined = properties["AttributeDefinitions"].as_vec().unwrap();
    assert!(defined.iter().all(|one| one["AttributeType"].as_str() == Some("S")), "{table:?}");
    let defined: BTreeSet<&str> = defined.iter().map(|one| one["AttributeName"].as_str().unwrap()).collect();
    assert_eq!(defined, attributes, "{table:?}");
}

#[test]
fn the_template_defines_the_tables_that_the_adapter_uses() {
    let template = template("infra/tables.yaml");
    let found = resources(&template, "AWS::DynamoDB::Table");
    assert_eq!(found.len(), TABLES.len());
    for table in &TABLES {
        let name = table.name("${TablePrefix}");
        let own = found.iter().find(|resource| resource["Properties"]["TableName"].as_str() == Some(&name));
        check(table, own.unwrap_or_else(|| panic!("no table {name}")));
    }
}

/// A policy that forgets a table or index shows only on AWS.
#[test]
fn the_policy_names_every_table_and_index() {
    let template = template("infra/tables.yaml");
    let policy = resources(&template, "AWS::IAM::ManagedPolicy").remove(0);
    let statement = &policy["Properties"]["PolicyDocument"]["Statement"][0];
    let named = statement["Resource"].as_vec().unwrap();
    let tables = template["Resources"].as_hash().unwrap();
    for (name, resource) in tables.iter().filter(|(_, one)| one["Type"].as_str() == Some("AWS::DynamoDB::Table")) {
        let arn = format!("{}.Arn", name.as_str().unwrap());
        assert!(named.iter().any(|one| one.as_str() == Some(&arn)), "{arn}");
        for index in resource["Properties"]["GlobalSecondaryIndexes"].as_vec().into_iter().flatten() {
            let arn = format!("${{{arn}}}/index/{}", index["IndexName"].as_str().unwrap());
            assert!(named.iter().any(|one| one.as_str() == Some(&arn)), "{arn}");
        }
    }
}

#[test]
fn the_root_composes_the_tables() {
    let template = template("template.yaml");
    let nested = resources(&template, "AWS::Serverless::Application");
    assert!(nested.iter().any(|one| one["Properties"]["Location"].as_str() == Some("infra/tables.yaml")));
}
