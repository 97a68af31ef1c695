//! What is in force and where each value came from: `sheriffd config`.

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use super::error::Origin;

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its full key, as `--set` takes it.
    pub key: String,
    /// Its value, a secret masked; null where it has none.
    pub value: Json,
    /// Where the value came from.
    pub origin: Origin,
    /// The value it has when nobody gives one.
    pub default: Json,
    /// What may be given.
    pub expected: String,
    /// What it means.
    pub doc: String,
}

/// Every setting, in the order of the documentation. As JSON a list of [`Entry`]; as text one line each, in TOML with
/// the origin as a comment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Explanation {
    /// The settings.
    pub entries: Vec<Entry>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |entry: &Entry| match toml_value(&entry.value) {
            Some(value) => format!("{} = {value}", entry.key),
            None => format!("# {} is not set", entry.key),
        };
        let lines: Vec<String> = self.entries.iter().map(line).collect();
        /// Origins stand in one column, unless a line is longer than this.
        const COLUMN: usize = 70;
        let width = lines
            .iter()
            .map(|line| line.chars().count())
            .filter(|width| *width <= COLUMN)
            .max()
            .unwrap_or(0);
        for (line, entry) in lines.iter().zip(&self.entries) {
            writeln!(f, "{line:<width$}  # {}", entry.origin)?;
        }
        Ok(())
    }
}

/// A value as TOML writes it; `None` for null, which TOML does not have.
fn toml_value(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Array(values) => {
            let values: Vec<String> = values.iter().filter_map(toml_value).collect();
            Some(format!("[{}]", values.join(", ")))
        }
        Json::Object(table) => {
            let entry = |(name, value): (&String, &Json)| {
                Some(format!("{} = {}", Json::from(name.as_str()), toml_value(value)?))
            };
            let entries: Vec<String> = table.iter().filter_map(entry).collect();
            Some(if entries.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", entries.join(", "))
            })
        }
        // Texts, numbers and booleans are written alike in both.
        other => Some(other.to_string()),
    }
}
