//! Pushes: one landing in a project.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Project, PushId, Revision, Timestamp, test_path};

/// Folders that a push is known by; one that touches more tells nothing by where it is.
const FOLDERS: usize = 200;
/// The longest path of a folder that is kept, in bytes: the longest in gecko has under 200.
const FOLDER_BYTES: usize = 300;

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

    /// The folders that the push touches files in, each once, in order, the top of the tree as an empty text; `None` where
    /// nobody has told what it holds. None at all where that tells nothing: a merge, more folders than are kept (or one with
    /// a path beyond all measure), or changesets whose files were not named.
    pub fn folders_touched(&self) -> Option<Vec<&str>> {
        if self.changesets.is_empty() {
            return None;
        }
        if self.changesets.iter().any(|changeset| changeset.parents.len() > 1) {
            return Some(Vec::new());
        }
        let mut folders = BTreeSet::new();
        for file in self.changesets.iter().flat_map(|changeset| &changeset.files) {
            let folder = test_path::folder(file);
            folders.insert(folder);
            if folders.len() > FOLDERS || folder.len() > FOLDER_BYTES {
                return Some(Vec::new());
            }
        }
        Some(folders.into_iter().collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn push(changesets: &[(&[&str], usize)]) -> PushEvent {
        let changeset = |(files, parents): &(&[&str], usize)| Changeset {
            files: files.iter().map(|file| Arc::from(*file)).collect(),
            parents: (0..*parents).map(|number| number.to_string().into()).collect(),
            ..Changeset::default()
        };
        PushEvent {
            project: Project::from("autoland"),
            push: Some(PushId(1)),
            revision: Revision::from("aa"),
            at: None,
            user: None,
            changesets: changesets.iter().map(changeset).collect(),
        }
    }

    #[test]
    fn a_push_touches_the_folders_of_the_files_of_all_its_changesets() {
        let touched = push(&[(&["dom/b.cpp", "README", "dom/a.cpp"], 1), (&["css/a/x.rs"], 1)]);
        assert_eq!(touched.folders_touched(), Some(vec!["", "css/a", "dom"]));
        assert_eq!(push(&[]).folders_touched(), None, "nobody has told");
    }

    #[test]
    fn merges_and_pushes_that_touch_everything_or_name_nothing_tell_nothing() {
        assert_eq!(
            push(&[(&["dom/a"], 1), (&["css/a"], 2)]).folders_touched(),
            Some(vec![])
        );
        assert_eq!(push(&[(&[], 1)]).folders_touched(), Some(vec![]));
        let many: Vec<String> = (0..=FOLDERS).map(|number| format!("{number}/a")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(push(&[(&many, 1)]).folders_touched(), Some(vec![]));
        assert_eq!(
            push(&[(&many[1..], 1)]).folders_touched().map(|folders| folders.len()),
            Some(FOLDERS)
        );
        let long = format!("{}/a", "x".repeat(FOLDER_BYTES + 1));
        assert_eq!(push(&[(&["dom/a", &long], 1)]).folders_touched(), Some(vec![]));
    }
}
