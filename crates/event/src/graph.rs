//! Task graphs: what can run on a push.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Label;

/// A job that can run on a push.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GraphJob {
    /// The task graph's kind: `build`, `mochitest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Arc<str>>,
    /// The platform with its option: `linux1804-64-qr/opt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Arc<str>>,
    /// What it needs to have run before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Label>,
    /// Whether it was meant to run on the push: what was left out to save machines is among these.
    #[serde(default)]
    pub targeted: bool,
    /// The test groups (manifests) that it runs, of those that were asked about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Arc<str>>,
}

/// What can run on a push, by label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskGraph {
    /// The jobs.
    pub jobs: std::collections::BTreeMap<Label, GraphJob>,
}

impl GraphJob {
    /// Whether it is a test: it says on which platform it tests, or its kind says so.
    pub fn is_test(&self, label: &Label) -> bool {
        self.kind.as_deref() == Some("test") || label.as_str().starts_with("test-")
    }
}

impl Label {
    /// Whether the name is that of a build, as taskgraph (`build-linux64/opt`) and Buildbot (`Linux x86-64 try build`)
    /// call them.
    pub fn names_a_build(&self) -> bool {
        let name = self.as_str();
        name.starts_with("build-") || name.ends_with(" build") || name.ends_with("-build")
    }

    /// Without the number of its chunk: `test-linux1804-64/opt-mochitest` of `test-linux1804-64/opt-mochitest-1`.
    pub fn without_number(&self) -> Label {
        let name = self.as_str();
        let whole = name.trim_end_matches(|c: char| c.is_ascii_digit());
        match whole.strip_suffix('-').filter(|_| whole.len() < name.len()) {
            Some(whole) => Label::from(whole),
            None => self.clone(),
        }
    }

    /// Platform and option as the label has them, and the rest: `linux1804-64/opt` and `mochitest-1` of
    /// `test-linux1804-64/opt-mochitest-1`. `None` for labels of another form.
    pub fn place_and_rest(&self) -> Option<(&str, &str)> {
        let name = self.as_str();
        let name = ["test-", "build-"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or(name);
        let slash = name.find('/')?;
        let end = name.get(slash..)?.find('-').map_or(name.len(), |dash| slash + dash);
        let (place, rest) = name.split_at(end);
        Some((place, rest.trim_start_matches('-')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_tells_its_place() {
        let place = |label: &str| {
            let label = Label::from(label);
            label
                .place_and_rest()
                .map(|(place, rest)| (place.to_owned(), rest.to_owned()))
        };
        assert_eq!(
            place("test-linux1804-64/opt-mochitest-1"),
            Some(("linux1804-64/opt".to_owned(), "mochitest-1".to_owned()))
        );
        assert_eq!(
            place("build-linux64/opt"),
            Some(("linux64/opt".to_owned(), String::new()))
        );
        assert_eq!(place("Windows 8 64-bit try opt test gtest"), None);
    }

    #[test]
    fn builds_are_known_by_their_names() {
        for name in [
            "build-linux64/opt",
            "TB Linux comm-central build",
            "WINNT 5.2 try pgo-build",
        ] {
            assert!(Label::from(name).names_a_build(), "{name}");
        }
        for name in [
            "test-linux64/opt-gtest",
            "Windows 8 64-bit try opt test gtest",
            "rebuild",
        ] {
            assert!(!Label::from(name).names_a_build(), "{name}");
        }
    }
}
