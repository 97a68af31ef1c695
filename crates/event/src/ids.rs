//! Names and numbers that identify things. All are cheap to clone.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                $name(Arc::from(text))
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name_type! {
    /// A tree or repository: `autoland`, `try`, `org/repo`.
    Project
}
name_type! {
    /// The name of a job across pushes: `test-linux1804-64/opt-mochitest-1`.
    Label
}
name_type! {
    /// A commit hash, as the version control system writes it (12 or 40 hexadecimal digits, or any text).
    Revision
}
name_type! {
    /// A CI system as the configuration names it: `firefox-ci`, `community`, `sim`.
    BackendName
}
name_type! {
    /// A task of a CI system. For Taskcluster a slug id: 16 bytes in 22 characters of URL-safe base64.
    TaskId
}
name_type! {
    /// The name of a rule, unique over all rule files.
    RuleName
}

/// The number of a push in its project. Pushes are ordered by it, as numbers.
#[derive(Default, Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PushId(pub u64);

impl fmt::Display for PushId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a case, given by the store, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CaseId(pub u64);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C{}", self.0)
    }
}

impl std::str::FromStr for CaseId {
    type Err = std::num::ParseIntError;

    /// Reads `C12` or `12`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix(['C', 'c']).unwrap_or(text).parse().map(CaseId)
    }
}

/// One execution of a label on a push.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunKey {
    /// The CI system that ran it.
    pub backend: BackendName,
    /// The task.
    pub task: TaskId,
    /// The run of the task, counted from 0.
    pub run: u32,
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.task, self.run)
    }
}
