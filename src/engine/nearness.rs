//! Which pushes touch files near a failing test.
//!
//! In: what a search is about, and where the books say that pushes touch files. Out: the marks on its evidence, and whether
//! that has to be asked for first. Never: a search that waits for it a second time: it saves runs, and no more.

use std::collections::HashSet;

use super::apply::Engine;
use super::facts::HistoryFacts;
use super::ledger::{CaseRow, Ledger, LedgerError};
use super::opening::{self, Opening, PUSHES_FETCHED, Placed, failure};
use crate::cases::Evidence;
use crate::event::{CaseParams, CausedBy, Event, JobEvent, Neighbourhood, PushId, Timestamp};
use crate::rules::{Matched, Rule, RuleIndex, Tracing};

/// Marks the pushes that touch files near the test that a search is about.
pub(super) fn mark_near(ledger: &mut dyn Ledger, case: &CaseRow, evidence: &mut Evidence) -> Result<(), LedgerError> {
    let wants_it = matches!(&case.params, CaseParams::FindCulprit(params) if params.near_prior > 0.0);
    let test = case.subject.signature.as_ref().filter(|_| wants_it);
    let Some(near) = test.and_then(Neighbourhood::of) else {
        return Ok(());
    };
    let (Some(first), Some(last)) = (evidence.pushes.first(), evidence.pushes.get(evidence.seen_on)) else {
        return Ok(());
    };
    let touched = ledger.touched_between(&case.subject.project, first.push, last.push)?;
    let is_near = |folders: &Vec<String>| folders.iter().any(|folder| near.holds(folder));
    let near: HashSet<PushId> = touched
        .iter()
        .filter(|row| row.folders.as_ref().is_some_and(is_near))
        .map(|row| row.push)
        .collect();
    for push in &mut evidence.pushes {
        push.near = near.contains(&push.push);
    }
    Ok(())
}

impl Engine {
    /// Whether a failure would open a search that looks at where pushes touch files, and of some of these nobody has told.
    /// Pushes that one answer of the pushlog does not reach do not count.
    pub(super) fn lacks_places(
        &self,
        ledger: &mut dyn Ledger,
        event: &Event,
        placed: &Placed<'_>,
        candidates: &[RuleIndex],
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let JobEvent { facts, .. } = placed.job;
        let is_path = facts
            .signatures
            .iter()
            .flatten()
            .any(|test| Neighbourhood::of(test).is_some());
        if !is_path || !self.settings().has_pushlog {
            return Ok(false);
        }
        let searches: Vec<(RuleIndex, &Rule)> = candidates
            .iter()
            .filter_map(|index| Some((*index, self.rules().rule(*index)?)))
            .filter(|(_, rule)| self.suspects_the_near(placed, rule))
            .collect();
        let Some(depth) = searches.iter().filter_map(|(_, rule)| rule.open.max_depth()).max() else {
            return Ok(false);
        };
        let back = u64::from(depth).min(PUSHES_FETCHED);
        let first = PushId(placed.push.0.saturating_sub(back));
        let touched = ledger.touched_between(placed.project, first, placed.push)?;
        if touched.iter().all(|row| row.folders.is_some()) {
            return Ok(false);
        }
        for (index, rule) in searches {
            if self.would_search(ledger, event, placed, (index, rule), now)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a rule's searches suspect pushes near the test more, and nothing keeps it from this run from the start.
    fn suspects_the_near(&self, placed: &Placed<'_>, rule: &Rule) -> bool {
        let CaseParams::FindCulprit(params) = &rule.open else {
            return false;
        };
        let allows_person = rule.caused_by.contains(&CausedBy::Person);
        params.near_prior > 0.0 && opening::guards(placed, rule.open.kind(), allows_person, self.settings()).is_none()
    }

    /// Whether a rule that opens searches would open one about a test that failed, as far as the books as they are tell.
    fn would_search(
        &self,
        ledger: &mut dyn Ledger,
        event: &Event,
        placed: &Placed<'_>,
        (index, rule): (RuleIndex, &Rule),
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let view = ledger.view(&self.query_of_rule(placed, rule, now))?;
        let bugs = Engine::bugs_of(ledger, placed)?;
        let facts = HistoryFacts::new(placed, &view, bugs, self.settings(), now);
        if self.rules().evaluate(index, event, &facts, Tracing::Off).matched != Matched::True {
            return Ok(false);
        }
        let opens = placed.subjects().iter().any(|subject| {
            let wanted = failure::Wanted {
                params: &rule.open,
                subject,
                relaxed: &rule.relaxed,
            };
            let (opening, _) = failure::consider(placed, wanted, &view, self.settings(), now);
            subject.signature.is_some() && matches!(opening, Opening::Open(_))
        });
        Ok(opens)
    }
}
