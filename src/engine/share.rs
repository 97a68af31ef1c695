//! One failure on several labels in the books: who shares a search, and what its end does to them.

use super::apply::Engine;
use super::batch::Batch;
use super::consider::Asked;
use super::kinship::{self, Kin, Newcomer};
use super::ledger::{CaseRow, Fate, Held, Ledger, LedgerError, Mode, Sharer, View};
use super::opening::{Draft, failure};
use crate::cases::{Around, MAX_AGE};
use crate::event::{CaseId, CaseKind, CaseParams, Label, Reason, Timestamp};

/// Cases about one failure that are looked at: more are open at once only where guards are off.
const LOOKED_AT: u32 = 50;

/// What a rule holds back while a label shares a search, by search and label.
fn key(search: CaseId, label: &Label) -> String {
    format!("same-signature/{search}/{label}")
}

impl Engine {
    /// Whether a search that would be opened is left to one for the same failure on another label: why, and which. The
    /// label is noted there, and its failure held back until that search has ended.
    pub(super) fn share(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        asked: &Asked<'_>,
        draft: &Draft,
        (around, view): (&failure::Surroundings, &View),
    ) -> Result<Option<(Reason, CaseId)>, LedgerError> {
        let (CaseParams::FindCulprit(params), Some(signature), Some(run)) =
            (&draft.params, &draft.subject.signature, &draft.opened_by)
        else {
            return Ok(None);
        };
        let Some(seen_on) = around.pushes.iter().position(|push| push.push == draft.push) else {
            return Ok(None);
        };
        let (project, now) = (&draft.subject.project, asked.now);
        let since = now.minus(kinship::REMEMBERED);
        let mut cases = ledger.cases_of_failure(project, signature, since, LOOKED_AT)?;
        let rule = asked.rule.name.as_str();
        let new = Newcomer {
            label: &draft.subject.label,
            rule,
            is_shadow: self.settings().mode.unwrap_or(asked.rule.mode) != Mode::Live,
            span: draft.span,
            around: Around {
                pushes: &around.pushes,
                seen_on,
                before: view.before,
            },
        };
        let (reason, search, fate) = match kinship::kin(&cases, &new, params) {
            Kin::No => return Ok(None),
            Kin::Shares(search) => (Reason::SameSignature, search, Fate::Waits),
            Kin::Explained(search) => (Reason::Explained, search, Fate::Covered),
        };
        let Some(case) = cases.iter_mut().find(|case| case.id == search) else {
            return Ok(None);
        };
        if case.params.kind() == CaseKind::Validate {
            // A validation is about the test, on whatever label.
            let is_open = case.verdict.is_none();
            return Ok(Some((if is_open { Reason::Joined } else { reason }, search)));
        }
        let sharer = Sharer {
            label: draft.subject.label.clone(),
            platform: draft.platform.clone(),
            push: draft.push,
            run: run.clone(),
            rule: rule.to_owned(),
            fate,
        };
        note(case, sharer);
        ledger.save_case(case)?;
        if fate == Fate::Waits {
            let label = &draft.subject.label;
            ledger.watch_label(search, project, label)?;
            batch.open.insert((project.clone(), label.clone()));
            ledger.hold_event(&Held {
                rule: rule.to_owned(),
                key: key(search, label),
                since: now,
                // The search's end lets it go long before: none outlives this.
                due: now.plus(MAX_AGE).plus(MAX_AGE),
                count: 1,
                event: asked.event.clone(),
            })?;
        }
        Ok(Some((reason, search)))
    }
}

/// Notes a label that shares a search: each once, with its last failure. Only of those that the search explained after
/// its end there may be more than are noted: a search that has no room is not shared.
fn note(case: &mut CaseRow, sharer: Sharer) {
    match case.shared_by.iter().position(|known| known.label == sharer.label) {
        Some(known) => case.shared_by[known] = sharer,
        None if case.shared_by.len() < kinship::MOST => case.shared_by.push(sharer),
        None => {}
    }
}

/// Where a search has ended: lets go of the labels that share it. Those that it may not explain have their failures
/// looked at again at the next look at what is due.
pub(super) fn let_go(ledger: &mut dyn Ledger, case: &mut CaseRow, now: Timestamp) -> Result<(), LedgerError> {
    let fate = kinship::fate(case);
    if fate == Fate::Waits {
        return Ok(());
    }
    let id = case.id;
    for sharer in case.shared_by.iter_mut().filter(|sharer| sharer.fate == Fate::Waits) {
        let key = key(id, &sharer.label);
        let held = ledger.held(&sharer.rule, &key)?;
        let is_fresh = |held: &Held| held.since > now.minus(kinship::REMEMBERED);
        sharer.fate = match held.filter(is_fresh).filter(|_| fate == Fate::OnItsOwn) {
            Some(held) => {
                ledger.hold_event(&Held { due: now, ..held })?;
                Fate::OnItsOwn
            }
            None => {
                ledger.forget_held(&sharer.rule, &key)?;
                if fate == Fate::OnItsOwn { Fate::LetGo } else { fate }
            }
        };
    }
    Ok(())
}
