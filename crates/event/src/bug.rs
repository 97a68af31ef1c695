//! Bugs, as a tracker knows them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A bug that a failure is known by.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bug {
    /// Its number.
    pub id: u64,
    /// Its keywords: `intermittent-failure`, `sheriffd-hunt`.
    pub keywords: Vec<Arc<str>>,
    /// Its whiteboard, as one text; empty where there is none.
    pub whiteboard: Arc<str>,
    /// Its one-line summary.
    pub summary: Arc<str>,
    /// Its status, in the tracker's word: `NEW`, `ASSIGNED`, `RESOLVED`.
    pub status: Arc<str>,
}

/// The characters that end a test's name in a summary, so that `test_a.html` is not found in `test_a.html5.html`.
fn ends_a_name(next: Option<char>) -> bool {
    next.is_none_or(|next| !(next.is_alphanumeric() || matches!(next, '_' | '-' | '/' | '.')))
}

impl Bug {
    /// Whether its summary names this test: `Intermittent path/to/test.html | single tracking bug`.
    pub fn is_about(&self, test: &str) -> bool {
        let test = bare(test);
        let begins = |before: Option<char>| {
            before.is_none_or(|before| !(before.is_alphanumeric() || before == '_' || before == '/'))
        };
        !test.is_empty()
            && self.summary.match_indices(test).any(|(at, found)| {
                begins(self.summary.get(..at).and_then(|before| before.chars().next_back()))
                    && ends_a_name(
                        self.summary
                            .get(at + found.len()..)
                            .and_then(|rest| rest.chars().next()),
                    )
            })
    }

    /// The test that its summary names: the last word with a `/` of the first part, between ` | `, that has one.
    pub fn test(&self) -> Option<&str> {
        self.summary
            .split(" | ")
            .find_map(|part| {
                part.split_whitespace()
                    .rev()
                    .find(|word| word.trim_matches('/').contains('/'))
            })
            .map(|word| word.trim_matches(|c: char| matches!(c, ',' | ';' | ':' | '"' | '(' | ')')))
    }
}

/// A test's name without the manifest that some harnesses put before it.
pub fn bare(test: &str) -> &str {
    match test.rsplit_once(':') {
        Some((manifest, bare)) if [".toml", ".ini", ".list"].iter().any(|end| manifest.ends_with(end)) => bare,
        _ => test,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bug(summary: &str) -> Bug {
        Bug {
            summary: summary.into(),
            ..Bug::default()
        }
    }

    #[test]
    fn summaries_name_tests_in_the_ways_that_sheriffs_write() {
        for (summary, test) in [
            (
                "Intermittent toolkit/content/tests/browser/browser_a.js | single tracking bug",
                "toolkit/content/tests/browser/browser_a.js",
            ),
            ("Permanent dom/test_b.html | expected PASS", "dom/test_b.html"),
            (
                "High frequency TEST-UNEXPECTED-TIMEOUT | /css/c.html | expected OK",
                "/css/c.html",
            ),
        ] {
            assert_eq!(bug(summary).test(), Some(test));
            assert!(bug(summary).is_about(test));
        }
        assert_eq!(bug("Intermittent crash in [@ foo]").test(), None);
    }

    #[test]
    fn a_longer_name_is_another_test() {
        let known = bug("Intermittent dom/test_ab.html | single tracking bug");
        assert!(!known.is_about("dom/test_a.html"));
        assert!(!known.is_about("test_b.html"));
        assert!(!known.is_about("om/test_ab.html"));
        assert!(known.is_about("dom/mochitest.toml:dom/test_ab.html"));
        assert!(!bug("anything").is_about(""));
    }
}
