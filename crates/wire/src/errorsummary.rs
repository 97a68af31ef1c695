//! What failed inside a run: artifacts whose names end in `errorsummary.log`, JSON Lines written by gecko's harnesses.
//!
//! In: an artifact's bytes. Out: [`ErrorSummary`], the failures' signatures and the groups that ran. Never: an error
//! for a bad line (a run that was killed leaves half a line); such lines are counted.
//!
//! | action | what it says |
//! |---|---|
//! | `test_groups` | the groups (manifests) that the run was given |
//! | `group_result` | how a group ended: `OK`, `ERROR`, `SKIP` |
//! | `test_result` | a test ended otherwise than expected; known intermittents are marked |
//! | `crash` | the program crashed |
//! | `log` | a message of high level: no signature |

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use super::json::Text;
use sheriffd_event::Signature;

/// The most lines that are read: the largest recorded summary has under 100, a broken run may write without end.
const MAX_LINES: usize = 200_000;

/// The most different signatures kept of one run. A run that fails more than this is broken as a whole, and no test in
/// it tells more than another.
pub const MAX_SIGNATURES: usize = 1_000;

/// The most groups kept of one run; the largest suites have a few thousand manifests.
pub const MAX_GROUPS: usize = 20_000;

/// What harnesses call the group of tests without one.
const NO_GROUP: &str = "default";

/// What one run's error summaries say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorSummary {
    /// What failed, each once, in order.
    pub signatures: Vec<Signature>,
    /// The groups that ran, in order: those with a result, or with a test that failed. A run that names its groups but
    /// no result of any was cut short, and what of it ran is not known.
    pub groups: Vec<Arc<str>>,
    /// Lines that could not be read.
    pub bad_lines: usize,
}

/// One line. Which fields there are depends on the action.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    action: Text<'a>,
    #[serde(borrow)]
    group: Option<Text<'a>>,
    #[serde(borrow)]
    test: Option<Text<'a>>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow)]
    expected: Option<Text<'a>>,
    #[serde(borrow, default)]
    known_intermittent: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
}

/// Reads an error summary.
pub fn error_summary(artifact: &[u8]) -> ErrorSummary {
    let mut signatures = BTreeSet::new();
    let mut groups: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut bad_lines = 0;
    for line in artifact.split(|&byte| byte == b'\n').take(MAX_LINES) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Ok(line) = serde_json::from_slice::<Line>(line) else {
            bad_lines += 1;
            continue;
        };
        let group = line
            .group
            .as_deref()
            .filter(|group| !group.is_empty() && *group != NO_GROUP);
        let status = line.status.as_deref().unwrap_or_default();
        let failed = match &*line.action {
            "group_result" if status != "SKIP" => None,
            "test_result" => {
                let known = line.known_intermittent.iter().flatten().any(|known| &**known == status);
                let unexpected = match line.expected.as_deref() {
                    Some(expected) => status != expected,
                    None => !matches!(status, "PASS" | "OK" | "SKIP"),
                };
                let unexpected = unexpected && !known && !status.is_empty();
                line.test.as_deref().filter(|test| unexpected && !test.is_empty())
            }
            // Without a stack there is no signature, but the crash is still what failed.
            "crash" => Some(
                line.signature
                    .as_deref()
                    .filter(|text| !text.is_empty())
                    .unwrap_or("unknown crash"),
            ),
            _ => continue,
        };
        let group: Option<Arc<str>> = group.map(Into::into);
        if let Some(group) = group.clone().filter(|_| groups.len() < MAX_GROUPS) {
            groups.insert(group);
        }
        if let Some(test) = failed.filter(|_| signatures.len() < MAX_SIGNATURES) {
            signatures.insert(Signature {
                group,
                test: test.into(),
            });
        }
    }
    ErrorSummary {
        signatures: signatures.into_iter().collect(),
        groups: groups.into_iter().collect(),
        bad_lines,
    }
}
