//! `--config FILE.toml`: the options by their long names, as text for the option parser.

use std::path::Path;

/// Reads the file: each key with its value, or values where it is a list. `_` and `-` are the same in a key.
///
/// # Errors
/// One line that names the file, and the key where there is one.
pub fn read(path: &Path) -> Result<Vec<(String, Vec<String>)>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("--config {}: {error}", path.display()))?;
    parse(&text).map_err(|problem| format!("{}: {problem}", path.display()))
}

fn parse(text: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    // The message of a TOML error may quote the line, and a line may hold a secret: only its place is told.
    let table: toml::Table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = text.get(..offset).unwrap_or_default().lines().count().max(1);
        format!("line {line} is not TOML: write one `option = value` a line, text in quotes")
    })?;
    let mut keys = Vec::with_capacity(table.len());
    for (key, value) in table {
        let values = match value {
            toml::Value::Array(values) => values.into_iter().map(scalar).collect::<Option<Vec<_>>>(),
            value => scalar(value).map(|value| vec![value]),
        };
        let Some(values) = values else {
            return Err(format!("{key}: must be text in quotes, a whole number, true, false, or a list of these"));
        };
        keys.push((key.replace('_', "-"), values));
    }
    Ok(keys)
}

fn scalar(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN "Running it": each option is a key of the file.
    #[test]
    fn values_become_text_and_lists_become_several() {
        let keys = parse("sip = [\"127.0.0.1:0\", \"[::1]:0\"]\nabuse_limit = 7\nallow-private-urls = true\n").unwrap();
        assert!(keys.contains(&("sip".into(), vec!["127.0.0.1:0".into(), "[::1]:0".into()])));
        assert!(keys.contains(&("abuse-limit".into(), vec!["7".into()])));
        assert!(keys.contains(&("allow-private-urls".into(), vec!["true".into()])));
    }

    #[test]
    fn a_broken_file_is_told_by_line_without_quoting_it() {
        let problem = parse("domain = \"a\"\nauth-token = geheim\n").unwrap_err();
        assert!(problem.contains("line 2"), "{problem}");
        assert!(!problem.contains("geheim"), "{problem}");
        assert!(parse("[table]\na = 1\n").unwrap_err().starts_with("table:"));
    }
}
