//! The layers of a configuration: files, environment, flags; merged by the `config` crate, the later over the earlier.
//!
//! In: [`LoadOptions`]. Out: one tree of values, each with its origin. Never: knowing what the settings mean.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use config::{Map, Source, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Origin};

/// What environment variables of settings begin with; their parts are separated by two underscores.
pub const ENVIRONMENT_PREFIX: &str = "SHERIFFD__";

/// The largest configuration file that is read, in bytes: far over any that people write.
const MAX_FILE: u64 = 1024 * 1024;

/// Where a configuration is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The file, and with it the drop-ins `FILE.d/*.toml` in the order of their names. Without one: defaults.
    pub file: Option<PathBuf>,
    /// The environment: variables `SHERIFFD__SECTION__KEY`, and those that `env:` references name.
    pub environment: Vec<(String, String)>,
    /// The `--set` flags, each `section.key=value`.
    pub set: Vec<String>,
}

impl LoadOptions {
    /// A file, if any, the process's environment, and flags.
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>) -> LoadOptions {
        // A variable that is not UTF-8 cannot be one of ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        LoadOptions {
            file,
            environment: std::env::vars_os().filter_map(text).collect(),
            set,
        }
    }
}

/// All layers merged.
pub(super) struct Merged {
    /// The values.
    pub tree: Map<String, Value>,
    /// What the origins in the tree stand for.
    pub origins: HashMap<String, Origin>,
    /// Where sections begin in files, by path: merging forgets it.
    pub sections: HashMap<Vec<String>, Origin>,
    /// What could not be read at all.
    pub errors: Vec<ConfigError>,
}

/// Reads and merges all layers.
pub(super) fn merge(options: &LoadOptions) -> Merged {
    let mut layers = Layers::default();
    if let Some(file) = &options.file {
        layers.file(file);
        for drop_in in layers.drop_ins(file) {
            layers.file(&drop_in);
        }
    }
    layers.environment(&options.environment);
    layers.flags(&options.set);
    merged(layers)
}

/// A file's text as the only layer.
pub(super) fn of_text(path: &Path, text: &str) -> Merged {
    let mut layers = Layers::default();
    layers.text_of_file(path, text);
    merged(layers)
}

fn merged(layers: Layers) -> Merged {
    let Layers {
        sources,
        origins,
        sections,
        mut errors,
    } = layers;
    let mut builder = config::Config::builder();
    for source in sources {
        builder = builder.add_source(source);
    }
    let tree = match builder.build().and_then(|merged| merged.collect()) {
        Ok(tree) => tree,
        Err(error) => {
            errors.push(ConfigError::Conflict(format!(
                "the configuration's layers cannot be merged: {error}"
            )));
            Map::new()
        }
    };
    Merged {
        tree,
        origins,
        sections,
        errors,
    }
}

/// One layer, ready for the `config` crate.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

#[derive(Default)]
struct Layers {
    sources: Vec<Layer>,
    origins: HashMap<String, Origin>,
    sections: HashMap<Vec<String>, Origin>,
    errors: Vec<ConfigError>,
}

impl Layers {
    fn file(&mut self, path: &Path) {
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(reason) => {
                return self.errors.push(ConfigError::Unreadable {
                    path: path.to_owned(),
                    reason,
                });
            }
        };
        self.text_of_file(path, &text);
    }

    fn text_of_file(&mut self, path: &Path, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            let reason = error.message().to_owned();
            self.errors.push(ConfigError::Syntax {
                path: path.to_owned(),
                line,
                column,
                reason,
            });
        }
        // What a broken file still says might mean something else: its values are not used.
        if errors.is_empty() {
            let place = FilePlace { path, text };
            let values = self.table(table.get_ref(), &mut Vec::new(), &place);
            self.sources.push(Layer(values));
        }
    }

    /// The drop-ins beside a file, sorted by name.
    fn drop_ins(&mut self, file: &Path) -> Vec<PathBuf> {
        let mut folder = file.as_os_str().to_owned();
        folder.push(".d");
        let folder = PathBuf::from(folder);
        if !folder.is_dir() {
            return Vec::new();
        }
        let entries = std::fs::read_dir(&folder).and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
        });
        match entries {
            Ok(mut paths) => {
                paths.retain(|path| path.extension() == Some(OsStr::new("toml")));
                paths.sort();
                paths
            }
            Err(error) => {
                self.errors.push(ConfigError::Unreadable {
                    path: folder,
                    reason: error.to_string(),
                });
                Vec::new()
            }
        }
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        let mut ours: Vec<_> = variables
            .iter()
            .filter_map(|(name, value)| Some((name, name.strip_prefix(ENVIRONMENT_PREFIX)?, value)))
            .collect();
        ours.sort();
        for (name, key, value) in ours {
            let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
            self.text(&path, value, Origin::Environment(name.clone()));
        }
    }

    fn flags(&mut self, flags: &[String]) {
        for flag in flags {
            match flag
                .split_once('=')
                .and_then(|(key, value)| Some((key_path(key)?, value)))
            {
                Some((path, value)) => self.text(&path, value, Origin::Flag(join_key(&path))),
                None => self.errors.push(ConfigError::Flag(flag.clone())),
            }
        }
    }

    /// A layer of one value, given as text.
    fn text(&mut self, path: &[String], text: &str, origin: Origin) {
        let [sections @ .., last] = path else { return };
        let origin = self.origin(origin);
        let mut table = Map::new();
        table.insert(
            last.clone(),
            Value::new(Some(&origin), ValueKind::String(text.to_owned())),
        );
        for section in sections.iter().rev() {
            let inner = Value::new(None, ValueKind::Table(std::mem::take(&mut table)));
            table.insert(section.clone(), inner);
        }
        self.sources.push(Layer(table));
    }

    fn table(&mut self, table: &DeTable<'_>, path: &mut Vec<String>, place: &FilePlace<'_>) -> Map<String, Value> {
        let mut values = Map::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().to_string();
            let origin = place.origin(key.span().start);
            path.push(name.clone());
            if matches!(value.get_ref(), DeValue::Table(_)) {
                self.sections.insert(path.clone(), origin.clone());
            }
            values.insert(name, self.value(value.get_ref(), origin, path, place));
            path.pop();
        }
        values
    }

    fn value(&mut self, value: &DeValue<'_>, origin: Origin, path: &mut Vec<String>, place: &FilePlace<'_>) -> Value {
        let kind = match value {
            DeValue::String(text) => ValueKind::String(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => ValueKind::I64(number),
                // Too large for any setting: its check says so, and shows it.
                Err(_) => ValueKind::String(number.to_string()),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => ValueKind::Float(number),
                Err(_) => ValueKind::String(number.to_string()),
            },
            DeValue::Boolean(boolean) => ValueKind::Boolean(*boolean),
            DeValue::Datetime(time) => ValueKind::String(time.to_string()),
            DeValue::Array(values) => {
                let value = |value: &Spanned<DeValue<'_>>| self.value(value.get_ref(), origin.clone(), path, place);
                ValueKind::Array(values.iter().map(value).collect())
            }
            DeValue::Table(table) => ValueKind::Table(self.table(table, path, place)),
        };
        let origin = self.origin(origin);
        Value::new(Some(&origin), kind)
    }

    /// The text that stands for an origin in the tree.
    fn origin(&mut self, origin: Origin) -> String {
        let text = origin.to_string();
        self.origins.insert(text.clone(), origin);
        text
    }
}

struct FilePlace<'a> {
    path: &'a Path,
    text: &'a str,
}

impl FilePlace<'_> {
    fn origin(&self, at: usize) -> Origin {
        Origin::File {
            path: self.path.to_owned(),
            line: position(self.text, at).0,
        }
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("it is larger than {MAX_FILE} bytes"));
    }
    Ok(text)
}

/// Line and column of a byte, both from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// The parts of a dotted key, as TOML reads it: quotes keep a dot inside one part.
fn key_path(key: &str) -> Option<Vec<String>> {
    let line = format!("{key} = true");
    let table = DeTable::parse(&line).ok()?;
    let mut path = Vec::new();
    let mut table = table.get_ref();
    loop {
        let mut entries = table.iter();
        let (Some((key, value)), None) = (entries.next(), entries.next()) else {
            return None;
        };
        path.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

/// A dotted key, with quotes where TOML needs them.
pub(super) fn join_key<T: AsRef<str>>(path: &[T]) -> String {
    let part = |part: &T| {
        let part = part.as_ref();
        let bare = !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if bare { part.to_owned() } else { format!("{part:?}") }
    };
    path.iter().map(part).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotted_key_is_read_as_toml_does() {
        assert_eq!(
            key_path("broker.prefetch"),
            Some(vec!["broker".to_owned(), "prefetch".to_owned()])
        );
        assert_eq!(key_path(r#"projects."a.b".watch"#).unwrap()[1], "a.b");
        for no_key in ["", "a b", "a..b", "a.", "a = 1\nb"] {
            assert_eq!(key_path(no_key), None, "{no_key}");
        }
    }

    #[test]
    fn a_key_is_written_as_it_is_read() {
        for key in ["broker.prefetch", r#"projects."org/repo".watch"#, r#"projects."a.b""#] {
            assert_eq!(join_key(&key_path(key).unwrap()), key);
        }
    }

    #[test]
    fn positions_count_characters_from_one() {
        assert_eq!(position("ab\ncdé f", 8), (2, 5));
        assert_eq!(position("", 0), (1, 1));
    }
}
