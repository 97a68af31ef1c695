//! The storm guard in the books: whether a search that would be opened belongs to a storm, and what a storm does to the
//! searches that are open.

use super::advance::{SEARCHES_LOOKED_AT, supersede};
use super::apply::{Engine, Note};
use super::batch::Batch;
use super::ledger::{CaseRow, Ledger, LedgerError};
use super::opening::Draft;
use super::storm::{self, Breaking, Newcomer, Weather};
use crate::event::{CaseId, PushId, Reason, Timestamp};

impl Engine {
    /// Whether a search that would be opened belongs to a storm that another one looks into: why, and which. One that
    /// stands for a storm is told so in its draft.
    pub(super) fn shelter(
        &mut self,
        ledger: &mut dyn Ledger,
        batch: &mut Batch,
        draft: &mut Draft,
        now: Timestamp,
    ) -> Result<Option<(Reason, CaseId)>, LedgerError> {
        let Some(span) = draft.span else { return Ok(None) };
        let since = now.minus(storm::REMEMBERED);
        let recent = ledger.recent_searches(&draft.subject.project, since, SEARCHES_LOOKED_AT)?;
        let newcomer = Newcomer {
            label: &draft.label,
            platform: &draft.platform,
            span,
        };
        let settings = self.settings();
        match storm::weather(&recent, &newcomer, settings.storm_labels, settings.storm_window, now) {
            Weather::Calm => Ok(None),
            Weather::Joins(head) => Ok(Some((Reason::Storm, head))),
            Weather::Explained(head) => Ok(Some((Reason::Explained, head))),
            Weather::StandsFor(head) => {
                draft.storm = Some(head);
                Ok(None)
            }
            Weather::Breaks(breaking) => {
                let head = breaking.head;
                let stands = breaking.newcomer_stands;
                break_storm(ledger, batch, recent, &breaking, span.first_bad, now)?;
                if stands {
                    draft.storm = Some(head);
                }
                Ok((!stands).then_some((Reason::Storm, head)))
            }
        }
    }
}

/// Marks the searches that stand for a storm, and closes the others with it.
fn break_storm(
    ledger: &mut dyn Ledger,
    batch: &mut Batch,
    searches: Vec<CaseRow>,
    breaking: &Breaking,
    first_bad: PushId,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let head = breaking.head;
    for mut case in searches {
        let is_closed = breaking.close.contains(&case.id);
        if !is_closed && !breaking.stand.contains(&case.id) {
            continue;
        }
        case.storm = Some(head);
        if is_closed {
            let why = format!(
                "{} labels fail newly on push {first_bad}: {head} looks for the cause of all",
                breaking.labels
            );
            supersede(ledger, &mut case, why, now)?;
        }
        ledger.save_case(&case)?;
        if is_closed {
            batch.notes.push(Note::Closed(Box::new(case)));
        }
    }
    Ok(())
}
