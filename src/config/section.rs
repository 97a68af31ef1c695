//! Sections: structs of settings, each declared once with its type, bounds, default and meaning.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use config::{Map, Value, ValueKind};
use serde_json::Value as Json;

use super::error::{ConfigError, Origin};
use super::explain::Entry;
use super::layers::{Merged, join_key};
use super::secret_reference::SecretSource;
use super::setting::{Given, NotTaken, Setting};
use crate::telemetry::redact_url;

/// Declares a section: for each setting its meaning (the doc comment, which the reference shows too), name, type,
/// bounds (both included) where it has some, and default.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident: $type:ty $([$low:expr, $high:expr])? = $default:expr;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default,)+ }
            }
        }

        impl $crate::config::section::Section for $name {
            fn read(reader: &mut $crate::config::section::Reader<'_>, path: &[&str]) -> Self {
                reader.open(path);
                let default = Self::default();
                $name {
                    $($field: reader.key(
                        path,
                        stringify!($field),
                        concat!($($doc, "\n"),+),
                        default.$field,
                        $crate::config::section::section!(@bounds $type $(, $low, $high)?),
                    ),)+
                }
            }
        }
    };
    (@bounds $type:ty) => { None::<($type, $type)> };
    (@bounds $type:ty, $low:expr, $high:expr) => { Some::<($type, $type)>(($low, $high)) };
}
pub(super) use section;

/// A struct of settings that reads itself.
pub(super) trait Section: Sized {
    /// Reads every setting under `path`; what is not given is as by default. Errors go to the reader.
    fn read(reader: &mut Reader<'_>, path: &[&str]) -> Self;
}

/// Reads settings out of the merged layers, and takes note of all errors, origins and known names.
pub(super) struct Reader<'a> {
    tree: &'a Map<String, Value>,
    origins: &'a HashMap<String, Origin>,
    sections: &'a HashMap<Vec<String>, Origin>,
    environment: &'a [(String, String)],
    /// Errors so far.
    pub errors: Vec<ConfigError>,
    /// What every setting is, so far.
    pub entries: Vec<Entry>,
    /// Every section and its settings and sections, by path; settings have none.
    known: BTreeMap<Vec<String>, BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub fn new(merged: &'a Merged, environment: &'a [(String, String)]) -> Reader<'a> {
        Reader {
            tree: &merged.tree,
            origins: &merged.origins,
            sections: &merged.sections,
            environment,
            errors: Vec::new(),
            entries: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    /// A section is known, and has to be a table where it is given.
    pub fn open(&mut self, path: &[&str]) {
        let mut names = Vec::new();
        for (depth, name) in path.iter().enumerate() {
            self.known.entry(names.clone()).or_default().insert((*name).to_owned());
            names.push((*name).to_owned());
            // A section within sections is opened once for each of its own.
            if self.known.contains_key(&names) {
                continue;
            }
            self.known.insert(names.clone(), BTreeSet::new());
            let path = &path[..=depth];
            if let Some(value) = self
                .find(path)
                .filter(|value| !matches!(value.kind, ValueKind::Table(_)))
            {
                self.errors.push(ConfigError::Value {
                    key: join_key(path),
                    got: shown(&value.kind),
                    expected: format!("a section of settings, as [{}]", join_key(path)),
                    detail: None,
                    origin: self.origin(value),
                });
            }
        }
    }

    /// The names of the sections that are given inside of a section, in order, but for one that is a setting.
    pub fn sections_in(&self, path: &[&str], but: &str) -> Vec<&'a str> {
        let Some(ValueKind::Table(table)) = self.find(path).map(|value| &value.kind) else {
            return Vec::new();
        };
        let is_section = |value: &Value| matches!(value.kind, ValueKind::Table(_));
        let mut names: Vec<&str> = table
            .iter()
            .filter(|(name, value)| *name != but && is_section(value))
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    /// Reads one setting.
    pub fn key<T: Setting>(
        &mut self,
        section: &[&str],
        name: &str,
        doc: &str,
        default: T,
        bounds: Option<(T, T)>,
    ) -> T {
        let path = [section, &[name]].concat();
        self.known
            .entry(section.iter().map(|part| (*part).to_owned()).collect())
            .or_default()
            .insert(name.to_owned());
        let expected = match &bounds {
            Some((low, high)) => format!("{}, {} to {}", T::expected(), plain(&low.show()), plain(&high.show())),
            None => T::expected(),
        };
        let mut entry = Entry {
            key: join_key(&path),
            value: Json::Null,
            origin: Origin::Default,
            default: default.show(),
            expected,
            doc: doc
                .lines()
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
                .trim()
                .to_owned(),
        };
        let setting = match self.find(&path) {
            None => default,
            Some(value) => {
                entry.origin = self.origin(value);
                self.take(value, &entry, bounds.as_ref()).unwrap_or(default)
            }
        };
        entry.value = setting.show();
        self.entries.push(entry);
        setting
    }

    fn take<T: Setting>(&mut self, value: &Value, entry: &Entry, bounds: Option<&(T, T)>) -> Option<T> {
        let origin = entry.origin.clone();
        let given = match (&value.kind, &origin) {
            (ValueKind::String(text), Origin::Environment(_) | Origin::Flag(_)) => Given::Text(text),
            (kind, _) => Given::Typed(kind),
        };
        let take_literal = matches!(origin, Origin::Environment(_));
        let secrets = SecretSource {
            environment: self.environment,
            take_literal,
        };
        let detail = match T::read(&given, &secrets) {
            Ok(setting) if bounds.is_none_or(|(low, high)| setting.within(low, high)) => return Some(setting),
            Ok(_) => None,
            Err(NotTaken::Form(detail)) => detail,
            Err(NotTaken::Secret(reason)) => {
                self.errors.push(ConfigError::Secret {
                    key: entry.key.clone(),
                    reason,
                    origin,
                });
                return None;
            }
        };
        let got = if T::SECRET {
            "a value that is not shown".to_owned()
        } else {
            shown(&value.kind)
        };
        let (key, expected) = (entry.key.clone(), entry.expected.clone());
        self.errors.push(ConfigError::Value {
            key,
            got,
            expected,
            detail,
            origin,
        });
        None
    }

    /// Takes note of everything that was given and is no setting.
    pub fn refuse_unknown(&mut self) {
        self.refuse_unknown_in(self.tree, &mut Vec::new());
    }

    fn refuse_unknown_in(&mut self, table: &Map<String, Value>, path: &mut Vec<String>) {
        let mut names: Vec<&String> = table.keys().collect();
        names.sort();
        for name in names {
            let value = &table[name];
            let is_known = self.known.get(path).is_some_and(|names| names.contains(name));
            path.push(name.clone());
            match &value.kind {
                _ if !is_known => {
                    let suggestion = self.suggestion(path);
                    let origin = self.sections.get(path).cloned().unwrap_or_else(|| self.origin(value));
                    self.errors.push(ConfigError::Unknown {
                        key: join_key(path),
                        origin,
                        suggestion,
                    });
                }
                ValueKind::Table(inner) if self.known.contains_key(path) => self.refuse_unknown_in(inner, path),
                _ => {}
            }
            path.pop();
        }
    }

    /// The known setting or section that was probably meant: of a near name in the same place, else of the same name
    /// elsewhere.
    fn suggestion(&self, path: &[String]) -> Option<String> {
        /// Names less alike than this are not meant (1 is the same).
        const ALIKE: f64 = 0.7;
        let (name, place) = path.split_last()?;
        let near = self.known.get(place).and_then(|names| {
            let scored = names
                .iter()
                .map(|known| (strsim::normalized_damerau_levenshtein(known, name), known));
            scored
                .filter(|(score, _)| *score >= ALIKE)
                .max_by(|(a, _), (b, _)| a.total_cmp(b))
                .map(|(_, known)| known)
        });
        if let Some(known) = near {
            return Some(join_key(&[place, std::slice::from_ref(known)].concat()));
        }
        let (place, _) = self.known.iter().find(|(_, names)| names.contains(name))?;
        Some(join_key(&[place, std::slice::from_ref(name)].concat()))
    }

    fn find(&self, path: &[&str]) -> Option<&'a Value> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.tree.get(*first)?, |value, part| match &value.kind {
                ValueKind::Table(table) => table.get(*part),
                _ => None,
            })
    }

    /// Where a value came from; of a table that several layers made, where the first of its values did.
    fn origin(&self, value: &Value) -> Origin {
        if let Some(origin) = value.origin().and_then(|text| self.origins.get(text)) {
            return origin.clone();
        }
        match &value.kind {
            ValueKind::Table(table) => table
                .values()
                .map(|value| self.origin(value))
                .min()
                .unwrap_or(Origin::Default),
            _ => Origin::Default,
        }
    }
}

/// A given value for people, its beginning if it is long.
fn shown(kind: &ValueKind) -> String {
    /// Longer values are cut, in characters.
    const LONGEST: usize = 60;
    let text = match kind {
        // A password in a URL is a mistake that its check names; it is not repeated.
        ValueKind::String(text) if text.contains('@') || text.contains("://") => format!("{:?}", redact_url(text)),
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a section".to_owned(),
        ValueKind::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| shown(&value.kind)).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A bound for people: without the quotes of JSON.
fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
