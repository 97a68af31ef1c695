//! The storm guard: one broken push turns hundreds of labels orange, and one case is enough to find it.
//!
//! In: the searches that were opened lately in a project, and a failure that would open another. Out: whether it does.
//! Never: I/O.
//!
//! It is a *storm* when so many labels ([`super::settings::EngineSettings::storm_labels`]) fail newly with the same first
//! bad push within a while ([`super::settings::EngineSettings::storm_window`]) that one cause is likelier than many. The
//! search with the smallest gap becomes the storm's case; up to [`STAND_FOR`] searches in all, of different platforms,
//! go on beside it, in case its label alone cannot tell. All others are closed with it, and further labels join it. When
//! it names the push, the others are closed too; when it ends without, labels open cases of their own again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ledger::CaseRow;
use crate::event::{CaseId, Duration, Label, PushId, Timestamp, VerdictKind};

/// Searches that stand for a storm, each of another platform.
pub const STAND_FOR: usize = 3;
/// How long a storm is remembered after its case was opened: slow platforms fail hours later.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// The pushes between which something broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// The last good push.
    pub last_good: PushId,
    /// The first bad one.
    pub first_bad: PushId,
}

impl Span {
    fn width(self) -> u64 {
        self.first_bad.0.saturating_sub(self.last_good.0)
    }
}

/// A failure that would open a search.
#[derive(Debug, Clone)]
pub struct Newcomer<'a> {
    /// Its label.
    pub label: &'a Label,
    /// Its platform.
    pub platform: &'a Arc<str>,
    /// Where it broke.
    pub span: Span,
}

/// What the storm guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weather {
    /// There is no storm: it opens a case.
    Calm,
    /// It opens a case, as one of those that stand for the storm of this one.
    StandsFor(CaseId),
    /// This case looks for its cause already.
    Joins(CaseId),
    /// This case has named the push that broke it.
    Explained(CaseId),
    /// With it, it has become a storm.
    Breaks(Breaking),
}

/// What is to be done when it has become a storm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaking {
    /// The storm's case.
    pub head: CaseId,
    /// The searches that go on, the storm's case among them.
    pub stand: Vec<CaseId>,
    /// The searches that are closed with it.
    pub close: Vec<CaseId>,
    /// Whether the newcomer opens a case, to stand for the storm too.
    pub newcomer_stands: bool,
    /// Labels that fail.
    pub labels: usize,
}

/// Judges a failure by the searches that were opened lately in its project.
pub fn weather(recent: &[CaseRow], new: &Newcomer<'_>, labels: u32, window: Duration, now: Timestamp) -> Weather {
    let same: Vec<(&CaseRow, Span)> = recent
        .iter()
        .filter_map(|case| Some((case, case.span?)))
        .filter(|(_, span)| span.first_bad == new.span.first_bad)
        .collect();
    let head = same.iter().rev().find(|(case, _)| case.storm == Some(case.id));
    if let Some((head, _)) = head {
        return match head.verdict.as_ref().map(|verdict| verdict.kind) {
            Some(VerdictKind::Culprit) => Weather::Explained(head.id),
            Some(_) => Weather::Calm,
            None => {
                let standing = same
                    .iter()
                    .filter(|(case, _)| case.storm == Some(head.id) && case.verdict.is_none());
                let platforms: Vec<&Arc<str>> = standing.map(|(case, _)| &case.platform).collect();
                match platforms.len() < STAND_FOR && !platforms.contains(&new.platform) {
                    true => Weather::StandsFor(head.id),
                    false => Weather::Joins(head.id),
                }
            }
        };
    }
    let mut open: Vec<(&CaseRow, Span)> = same
        .into_iter()
        .filter(|(case, _)| case.verdict.is_none() && now.since(case.opened_at) <= window)
        .collect();
    let failing: BTreeSet<&Label> = open.iter().map(|(case, _)| &case.label).chain([new.label]).collect();
    if labels == 0 || failing.len() < labels as usize {
        return Weather::Calm;
    }
    open.sort_by_key(|(case, span)| (span.width(), case.id));
    let Some((head, _)) = open.first() else {
        return Weather::Calm;
    };
    let mut platforms: Vec<&Arc<str>> = Vec::new();
    let (mut stand, mut close) = (Vec::new(), Vec::new());
    for (case, _) in &open {
        if platforms.len() < STAND_FOR && !platforms.contains(&&case.platform) {
            platforms.push(&case.platform);
            stand.push(case.id);
        } else {
            close.push(case.id);
        }
    }
    Weather::Breaks(Breaking {
        head: head.id,
        stand,
        close,
        newcomer_stands: platforms.len() < STAND_FOR && !platforms.contains(&new.platform),
        labels: failing.len(),
    })
}
