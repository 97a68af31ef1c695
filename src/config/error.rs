//! What can be wrong with a configuration, and where a value came from.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody gave it.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable, by name.
    Environment(String),
    /// A flag of the command line, by the key it sets.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Flag(key) => write!(f, "flag --set {key}"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that is wrong with a configuration. Never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("the configuration file {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file is not TOML.
    #[error("{}:{line}:{column}: this is not TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// A `--set` flag is not `key=value`.
    #[error("`--set {0}` sets nothing: write it as `--set section.key=value`")]
    Flag(String),
    /// There is no such setting.
    #[error("{origin}: there is no setting `{key}`{}", did_you_mean(suggestion.as_deref()))]
    Unknown {
        /// What was set.
        key: String,
        /// Where.
        origin: Origin,
        /// The setting whose name is nearest, where one is near.
        suggestion: Option<String>,
    },
    /// A value is not what its setting takes.
    #[error("{origin}: `{key}` is {got}, but must be {expected}{}", in_brackets(detail.as_deref()))]
    Value {
        /// The setting.
        key: String,
        /// What was given, for people; a secret is masked.
        got: String,
        /// What may be given.
        expected: String,
        /// What exactly is wrong, where the above does not say.
        detail: Option<String>,
        /// Where it was given.
        origin: Origin,
    },
    /// A secret cannot be had.
    #[error("{origin}: the secret `{key}` {reason}")]
    Secret {
        /// The setting.
        key: String,
        /// What is wrong with its reference.
        reason: String,
        /// Where it was given.
        origin: Origin,
    },
    /// Settings do not go together.
    #[error("{0}")]
    Conflict(String),
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn in_brackets(detail: Option<&str>) -> String {
    detail.map_or_else(String::new, |detail| format!(" ({detail})"))
}

impl ConfigError {
    /// Where the wrong value was given; none for what is wrong with a whole file, a flag, or several values together.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            ConfigError::Unknown { origin, .. }
            | ConfigError::Value { origin, .. }
            | ConfigError::Secret { origin, .. } => Some(origin),
            ConfigError::Unreadable { .. }
            | ConfigError::Syntax { .. }
            | ConfigError::Flag(_)
            | ConfigError::Conflict(_) => None,
        }
    }
}
