//! The tags of a Taskcluster task, as gecko and its relatives use them: the part of a definition that messages carry.
//!
//! In: `task.tags`. Out: facts. Never: lineage from `retrigger`, which only says that a task may be retriggered.

use serde::Deserialize;

use super::json::Text;
use sheriffd_event::{CausedBy, JobFacts, Label, Project};

/// The tags that say something about the job.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Tags<'a> {
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) label: Option<Text<'a>>,
    #[serde(borrow)]
    project: Option<Text<'a>>,
    #[serde(borrow, rename = "test-suite")]
    suite: Option<Text<'a>>,
    #[serde(borrow, rename = "test-type")]
    test_type: Option<Text<'a>>,
    #[serde(borrow, rename = "test-variant")]
    variant: Option<Text<'a>>,
    #[serde(borrow, rename = "test-platform")]
    platform: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) action: Option<Text<'a>>,
}

impl Tags<'_> {
    /// Writes what the tags say into facts.
    pub(super) fn fill(&self, facts: &mut JobFacts) {
        facts.kind = self.kind().map(Into::into);
        facts.label = self.label.as_deref().map(Label::from);
        facts.project = self.project.as_deref().map(Project::from);
        facts.suite = self.suite.as_deref().map(Into::into);
        facts.variant = self.variant.as_deref().map(Into::into);
        if let Some((platform, option)) = self.platform.as_deref().and_then(platform_and_option) {
            facts.platform = Some(platform.into());
            facts.option = Some(option.into());
        }
        facts.action = self.action.as_deref().map(Into::into);
        // Whose action it was, the tags do not tell.
        facts.caused_by = CausedBy::Unknown;
    }

    /// The job's kind: `test` for tests, whatever their kind is called in the task graph. Older graphs have one kind
    /// `test`, newer ones a kind a harness (`mochitest`, `web-platform-tests`); rules mean the same by both.
    fn kind(&self) -> Option<&str> {
        let names_a_test = self.suite.is_some() || self.test_type.is_some() || self.platform.is_some();
        let kind = self.kind.as_deref();
        if kind.is_some() && names_a_test {
            Some("test")
        } else {
            kind
        }
    }
}

/// Splits `linux2404-64/opt`. `None` when there is nothing on one of the sides.
pub(super) fn platform_and_option(text: &str) -> Option<(&str, &str)> {
    let (platform, option) = text.split_once('/')?;
    (!platform.is_empty() && !option.is_empty()).then_some((platform, option))
}
