//! Pushes: one landing in a project.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Project, PushId, Revision, Timestamp, test_path};

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
    /// Those of its files that it adds; `None`: not known, as pushlogs do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<Vec<Arc<str>>>,
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

impl PushEvent {
    /// Whether the changeset may add tests, and does not say whether it does.
    fn is_open_question(changeset: &Changeset) -> bool {
        changeset.added.is_none() && changeset.files.iter().any(|file| test_path::is_test(file))
    }

    /// The changesets that may add tests and do not say whether they do.
    pub fn unknown_additions(&mut self) -> impl Iterator<Item = &mut Changeset> {
        self.changesets
            .iter_mut()
            .filter(|changeset| PushEvent::is_open_question(changeset))
    }

    /// The tests that the push adds, each once, in order; `None` while that is not known. A test that is there only
    /// because of a merge was new elsewhere, and is not counted.
    pub fn tests_added(&self) -> Option<Vec<&Arc<str>>> {
        let own = || self.changesets.iter().filter(|changeset| changeset.parents.len() < 2);
        if self.changesets.is_empty() || own().any(PushEvent::is_open_question) {
            return None;
        }
        let mut tests: Vec<&Arc<str>> = own()
            .flat_map(|changeset| changeset.added.iter().flatten())
            .filter(|file| test_path::is_test(file))
            .collect();
        tests.sort();
        tests.dedup();
        Some(tests)
    }
}
