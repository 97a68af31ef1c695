//! Pushes: one landing in a project.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Project, PushId, Revision, Timestamp};

/// One changeset of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Changeset {
    /// Its hash.
    pub node: Arc<str>,
    /// Its author, as recorded.
    pub author: Arc<str>,
    /// The commit message.
    pub description: Arc<str>,
    /// Files it touched.
    pub files: Vec<Arc<str>>,
    /// Hashes of its parents; two or more mean a merge.
    pub parents: Vec<Arc<str>>,
}

impl Changeset {
    /// Whether the message says that it backs other changesets out.
    pub fn is_backout(&self) -> bool {
        let head = self.description.lines().next().unwrap_or_default().to_ascii_lowercase();
        ["back out", "backed out", "backout", "revert"]
            .iter()
            .any(|word| head.starts_with(word))
    }

    /// The hashes that a backout names in its message: runs of 12 to 40 hexadecimal digits with at least one digit
    /// in it (so that no word is taken for one).
    pub fn backs_out(&self) -> Vec<&str> {
        if !self.is_backout() {
            return Vec::new();
        }
        self.description
            .split(|c: char| !c.is_ascii_hexdigit())
            .filter(|word| (12..=40).contains(&word.len()) && word.bytes().any(|b| b.is_ascii_digit()))
            .collect()
    }
}

/// A push landed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PushEvent {
    /// Where.
    pub project: Project,
    /// Its number. `None` where the source has none (GitHub): ordered by time then.
    pub push: Option<PushId>,
    /// The head revision after the push.
    pub revision: Revision,
    /// When, by the server's clock. `None` where the message's time cannot be trusted.
    pub at: Option<Timestamp>,
    /// Who.
    pub user: Option<Arc<str>>,
    /// What it holds; empty where the message does not say.
    pub changesets: Vec<Changeset>,
}
