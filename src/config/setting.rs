//! One value of the configuration: how it is read from a file or a text, and how it is shown.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use config::{Value, ValueKind};
use serde_json::Value as Json;
use toml::de::DeValue;

use super::secret_reference::SecretSource;
use super::{BackendChoice, BrokerUrl};
use crate::bus::bindings::{Binding, Source};
use crate::event::{Duration, Project, format_duration, parse_duration};
use crate::secret::{MASK, Secret};
use crate::telemetry::LogFormat;

/// A value as it was given.
pub(super) enum Given<'a> {
    /// In a file: of a type.
    Typed(&'a ValueKind),
    /// In the environment or a flag: a text, whatever it stands for.
    Text(&'a str),
}

impl<'a> Given<'a> {
    /// The text, if it is one.
    fn text(&self) -> Option<&'a str> {
        match self {
            Given::Typed(ValueKind::String(text)) => Some(text),
            Given::Text(text) => Some(text),
            Given::Typed(_) => None,
        }
    }
}

/// Why a value was not taken.
pub(super) enum NotTaken {
    /// It is not of the expected form; says more where that helps.
    Form(Option<String>),
    /// It is a secret that cannot be had.
    Secret(String),
}

impl NotTaken {
    fn form() -> NotTaken {
        NotTaken::Form(None)
    }

    fn because(reason: impl fmt::Display) -> NotTaken {
        NotTaken::Form(Some(reason.to_string()))
    }
}

/// A type that settings can have.
pub(super) trait Setting: Sized {
    /// Whether a given value may be shown in an error.
    const SECRET: bool = false;

    /// What may be given, for errors and the reference.
    fn expected() -> String;

    /// Reads it. `secrets` resolves references.
    fn read(given: &Given<'_>, secrets: &SecretSource<'_>) -> Result<Self, NotTaken>;

    /// The value for people, secrets masked; null where there is none.
    fn show(&self) -> Json;

    /// Whether it lies between these bounds, both included; types without an order have none.
    fn within(&self, _low: &Self, _high: &Self) -> bool {
        true
    }
}

macro_rules! whole_number {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn expected() -> String {
                "a whole number".to_owned()
            }

            fn read(given: &Given<'_>, _: &SecretSource<'_>) -> Result<Self, NotTaken> {
                match given {
                    Given::Typed(ValueKind::I64(number)) => <$type>::try_from(*number).map_err(|_| NotTaken::form()),
                    Given::Text(text) => text.trim().parse().map_err(|_| NotTaken::form()),
                    Given::Typed(_) => Err(NotTaken::form()),
                }
            }

            fn show(&self) -> Json {
                Json::from(*self)
            }

            fn within(&self, low: &Self, high: &Self) -> bool {
                (low..=high).contains(&self)
            }
        }
    )+};
}

whole_number!(u16, u32, u64, usize);

/// How many jobs may be asked for in a period; `None`: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimit(pub Option<u64>);

/// What stands for no limit.
const UNLIMITED: &str = "unlimited";

impl Setting for JobLimit {
    fn expected() -> String {
        format!("a whole number, or \"{UNLIMITED}\"")
    }

    fn read(given: &Given<'_>, secrets: &SecretSource<'_>) -> Result<Self, NotTaken> {
        if given.text() == Some(UNLIMITED) {
            return Ok(JobLimit(None));
        }
        u64::read(given, secrets).map(|jobs| JobLimit(Some(jobs)))
    }

    fn show(&self) -> Json {
        self.0.map_or_else(|| Json::from(UNLIMITED), Json::from)
    }
}

impl Setting for f64 {
    fn expected() -> String {
        "a number".to_owned()
    }

    fn read(given: &Given<'_>, _: &SecretSource<'_>) -> Result<Self, NotTaken> {
        let number = match given {
            Given::Typed(ValueKind::Float(number)) => *number,
            // Whole numbers of this size are exact.
            Given::Typed(ValueKind::I64(number)) if number.unsigned_abs() < 1 << 53 => *number as f64,
            Given::Text(text) => text.trim().parse().map_err(|_| NotTaken::form())?,
            Given::Typed(_) => return Err(NotTaken::form()),
        };
        if number.is_finite() {
            Ok(number)
        } else {
            Err(NotTaken::form())
        }
    }

    fn show(&self) -> Json {
        Json::from(*self)
    }

    fn within(&self, low: &Self, high: &Self) -> bool {
        (low..=high).contains(&self)
    }
}

impl Setting for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn read(given: &Given<'_>, _: &SecretSource<'_>) -> Result<Self, NotTaken> {
        match given {
            Given::Typed(ValueKind::Boolean(boolean)) => Ok(*boolean),
            Given::Text(text) => text.trim().parse().map_err(|_| NotTaken::form()),
            Given::Typed(_) => Err(NotTaken::form()),
        }
    }

    fn show(&self) -> Json {
        Json::from(*self)
    }
}

impl Setting for String {
    fn expected() -> String {
        "a text".to_owned()
    }

    fn read(given: &Given<'_>, _: &SecretSource<'_>) -> Result<Self, NotTaken> {
        given.text().map(str::to_owned).ok_or_else(NotTaken::form)
    }

    fn show(&self) -> Json {
        Json::from(self.as_str())
    }
}

impl Setting for PathBuf {
    fn expected() -> String {
        "a path".to_owned()
    }

    fn read(given: &Given<'_>, _: &SecretSource<'_>) -> Result<Self, NotTaken> {
        match given.text() {
            Some(text) if !text.is_empty() => Ok(PathBuf::from(text)),
            _ => Err(NotTaken::form()),
        }
    }

    fn show(&self) -> Json {
        Json::from(self.display().to_string())
    }
}

impl Setting for Duration {
    fn expected() -> String {
        "a span of time, as \"30s\", \"4h\" or \"2d\"".to_owned()
    }

    fn read(given: &Given<'_>, _: &SecretSource<'_>) -> Result<Self, NotTaken> {
        let text = given.text().ok_or_else(NotTaken::form)?;
        parse_duration(text).map_err(NotTaken::because)
    }

    fn show(&self) -> Json {
        Json::from(format_duration(*self))
    }

    fn within(&self, low: &Self, high: &Self) -> bool {
        (low..=high).contains(&self)
    }
}

impl Setting for Secret {
    const SECRET: bool = true;

    fn expected() -> String {
        "a reference to a secret, as \"env:NAME\" or \"file:/path\"".to_owned()
    }

    fn read(given: &Given<'_>, secrets: &SecretSource<'_>) -> Result<Self, NotTaken> {
        let text = given.text().ok_or_else(NotTaken::form)?;
        secrets.resolve(text).map_err(NotTaken::Secret)
    }

    fn show(&self) -> Json {
        Json::from(MASK)
    }
}

impl<T: Setting> Setting for Option<T> {
    const SECRET: bool = T::SECRET;

    fn expected() -> String {
        T::expected()
    }

    fn read(given: &Given<'_>, secrets: &SecretSource<'_>) -> Result<Self, NotTaken> {
        T::read(given, secrets).map(Some)
    }

    fn show(&self) -> Json {
        self.as_ref().map_or(Json::Null, T::show)
    }

    fn within(&self, low: &Self, high: &Self) -> bool {
        match (self, low, high) {
            (Some(value), Some(low), Some(high)) => value.within(low, high),
            _ => true,
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn expected() -> String {
        format!("a list, each {}", T::expected())
    }

    /// As text: a TOML array, or values between commas.
    fn read(given: &Given<'_>, secrets: &SecretSource<'_>) -> Result<Self, NotTaken> {
        match given {
            Given::Typed(ValueKind::Array(values)) => values
                .iter()
                .map(|value| T::read(&Given::Typed(&value.kind), secrets))
                .collect(),
            Given::Typed(_) => Err(NotTaken::form()),
            Given::Text(text) if text.trim_start().starts_with('[') => {
                let parsed = DeValue::parse(text.trim()).map_err(|error| NotTaken::because(error.message()))?;
                let DeValue::Array(values) = parsed.get_ref() else {
                    return Err(NotTaken::form());
                };
                values
                    .iter()
                    .map(|value| match value.get_ref() {
                        DeValue::String(text) => T::read(&Given::Text(text), secrets),
                        DeValue::Integer(number) => T::read(&Given::Text(number.as_str()), secrets),
                        _ => Err(NotTaken::form()),
                    })
                    .collect()
            }
            Given::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Given::Text(text) => text
                .split(',')
                .map(|part| T::read(&Given::Text(part.trim()), secrets))
                .collect(),
        }
    }

    fn show(&self) -> Json {
        Json::Array(self.iter().map(T::show).collect())
    }
}

/// A text that may hold a secret (a hook's address): `env:` and `file:` are references, all else is the text itself.
/// Masked when shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateText(pub Secret);

impl Setting for PrivateText {
    const SECRET: bool = true;

    fn expected() -> String {
        "a text, or a reference to one, as \"env:NAME\"".to_owned()
    }

    fn read(given: &Given<'_>, secrets: &SecretSource<'_>) -> Result<Self, NotTaken> {
        let text = given.text().ok_or_else(NotTaken::form)?;
        secrets.resolve_or_take(text).map(PrivateText).map_err(NotTaken::Secret)
    }

    fn show(&self) -> Json {
        Json::from(MASK)
    }
}

/// Names with texts, each like a [`PrivateText`] (HTTP headers).
impl Setting for BTreeMap<String, Secret> {
    const SECRET: bool = true;

    fn expected() -> String {
        "a table of texts".to_owned()
    }

    fn read(given: &Given<'_>, secrets: &SecretSource<'_>) -> Result<Self, NotTaken> {
        let Given::Typed(ValueKind::Table(table)) = given else {
            return Err(NotTaken::form());
        };
        let entry = |(name, value): (&String, &Value)| match &value.kind {
            ValueKind::String(text) => {
                let secret = secrets.resolve_or_take(text).map_err(NotTaken::Secret)?;
                Ok((name.clone(), secret))
            }
            _ => Err(NotTaken::because(format!("`{name}` is no text"))),
        };
        table.iter().map(entry).collect()
    }

    fn show(&self) -> Json {
        Json::Object(self.keys().map(|name| (name.clone(), Json::from(MASK))).collect())
    }
}

/// Names with texts.
impl Setting for BTreeMap<String, String> {
    fn expected() -> String {
        "a table of texts".to_owned()
    }

    fn read(given: &Given<'_>, _: &SecretSource<'_>) -> Result<Self, NotTaken> {
        let Given::Typed(ValueKind::Table(table)) = given else {
            return Err(NotTaken::form());
        };
        let entry = |(name, value): (&String, &Value)| match &value.kind {
            ValueKind::String(text) => Ok((name.clone(), text.clone())),
            _ => Err(NotTaken::because(format!("`{name}` is no text"))),
        };
        table.iter().map(entry).collect()
    }

    fn show(&self) -> Json {
        Json::Object(
            self.iter()
                .map(|(name, text)| (name.clone(), Json::from(text.as_str())))
                .collect(),
        )
    }
}

/// Any JSON value: as a table, or as JSON in a text.
impl Setting for Json {
    fn expected() -> String {
        "a table, or JSON in a text".to_owned()
    }

    fn read(given: &Given<'_>, _: &SecretSource<'_>) -> Result<Self, NotTaken> {
        match given {
            Given::Typed(ValueKind::String(text)) => serde_json::from_str(text).map_err(NotTaken::because),
            Given::Text(text) => serde_json::from_str(text).map_err(NotTaken::because),
            Given::Typed(kind) => Ok(json(kind)),
        }
    }

    fn show(&self) -> Json {
        self.clone()
    }
}

fn json(kind: &ValueKind) -> Json {
    match kind {
        ValueKind::Boolean(boolean) => Json::from(*boolean),
        ValueKind::I64(number) => Json::from(*number),
        ValueKind::Float(number) => Json::from(*number),
        ValueKind::String(text) => Json::from(text.as_str()),
        ValueKind::Array(values) => Json::Array(values.iter().map(|value| json(&value.kind)).collect()),
        ValueKind::Table(table) => Json::Object(
            table
                .iter()
                .map(|(name, value)| (name.clone(), json(&value.kind)))
                .collect(),
        ),
        // The layers make no values of other kinds.
        _ => Json::Null,
    }
}

/// Makes a setting of a type that is read from text and shown as text.
macro_rules! text_setting {
    ($type:ty, $expected:expr) => {
        impl Setting for $type {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn read(given: &Given<'_>, _: &SecretSource<'_>) -> Result<Self, NotTaken> {
                let text = given.text().ok_or_else(NotTaken::form)?;
                text.parse().map_err(NotTaken::because)
            }

            fn show(&self) -> Json {
                Json::from(self.to_string())
            }
        }
    };
}
text_setting!(SocketAddr, "an address with a port, as 127.0.0.1:8642 or [::1]:8642");
text_setting!(Binding, "an exchange and a routing key, as \"exchange/hgpushes/v1 #\"");

/// Makes a setting of an enum whose values are words: it has `ALL` and `as_str`.
macro_rules! word_setting {
    ($type:ty) => {
        impl Setting for $type {
            fn expected() -> String {
                format!("one of {}", <$type>::ALL.map(<$type>::as_str).join(", "))
            }

            fn read(given: &Given<'_>, _: &SecretSource<'_>) -> Result<Self, NotTaken> {
                let text = given.text().ok_or_else(NotTaken::form)?;
                <$type>::ALL
                    .into_iter()
                    .find(|word| word.as_str() == text)
                    .ok_or_else(NotTaken::form)
            }

            fn show(&self) -> Json {
                Json::from(self.as_str())
            }
        }
    };
}

word_setting!(LogFormat);
word_setting!(Source);
word_setting!(BackendChoice);

/// A project's name, or a pattern of names: `autoland`, `mozilla-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectPattern(String);

impl ProjectPattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The project, if the pattern is the name of one.
    pub fn project(&self) -> Option<Project> {
        let special = |c: char| matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!');
        (!self.0.contains(special)).then(|| Project::from(self.as_str()))
    }
}

impl ProjectPattern {
    /// Patterns that are known to be sound.
    pub(super) fn list(patterns: &[&str]) -> Vec<ProjectPattern> {
        patterns
            .iter()
            .map(|pattern| ProjectPattern((*pattern).to_owned()))
            .collect()
    }
}

impl AsRef<str> for ProjectPattern {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProjectPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        globset::Glob::new(text).map_err(|error| error.kind().to_string())?;
        Ok(ProjectPattern(text.to_owned()))
    }
}

text_setting!(ProjectPattern, "a project's name, or a pattern as \"mozilla-*\"");

/// The URL of a web server: `http` or `https`, with a host, without user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HttpUrl {
    /// Without its query, which may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::telemetry::redact_url(&self.0))
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("it does not begin with http:// or https:// and a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not hold a user or password".to_owned());
        }
        Ok(HttpUrl(text.to_owned()))
    }
}

text_setting!(BrokerUrl, "a broker's address, as amqps://pulse.example.com");
text_setting!(HttpUrl, "the URL of a web server, as https://ci.example.com");
