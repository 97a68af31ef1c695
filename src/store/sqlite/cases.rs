//! Cases.

use rusqlite::{OptionalExtension, params};

use super::{Books, json, sql};
use crate::engine::ledger::{CaseRow, Cases, LedgerError};
use crate::event::{CaseId, CaseKind, Label, Project, PushId, Signature, Subject, Timestamp};

impl Cases for Books<'_> {
    fn case(&mut self, id: CaseId) -> Result<Option<CaseRow>, LedgerError> {
        self.tx
            .prepare_cached("SELECT id, body FROM cases WHERE id = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([id.0], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?)))
                    .optional()
            })
            .map_err(sql)?
            .map(|(id, body)| case_of(id, &body))
            .transpose()
    }

    fn case_about(
        &mut self,
        kind: CaseKind,
        subject: &Subject,
        push: Option<PushId>,
    ) -> Result<Option<CaseId>, LedgerError> {
        let signature = signature_text(subject)?;
        self.tx
            .prepare_cached(
                "SELECT id FROM cases WHERE project = ?1 AND label = ?2 AND kind = ?3 AND signature IS ?4
                 AND CASE WHEN ?5 IS NULL THEN verdict IS NULL ELSE push = ?5 END ORDER BY id DESC LIMIT 1",
            )
            .and_then(|mut statement| {
                let push = push.map(|push| push.0);
                statement
                    .query_row(
                        params![
                            subject.project.as_str(),
                            subject.label.as_str(),
                            kind.as_str(),
                            signature,
                            push
                        ],
                        |row| row.get(0).map(CaseId),
                    )
                    .optional()
            })
            .map_err(sql)
    }

    fn open_case(&mut self, case: &CaseRow) -> Result<CaseId, LedgerError> {
        let signature = signature_text(&case.subject)?;
        let body = serde_json::to_string(case).map_err(json)?;
        let id = self
            .tx
            .prepare_cached(
                "INSERT INTO cases (kind, rule, project, label, signature, push, opened_at, wake_at, body,
                    throttle_key)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING id",
            )
            .and_then(|mut statement| {
                statement.query_row(
                    params![
                        case.params.kind().as_str(),
                        case.cause.rule_name(),
                        case.subject.project.as_str(),
                        case.subject.label.as_str(),
                        signature,
                        case.push.0,
                        case.opened_at.0,
                        case.wake_at.map(|at| at.0),
                        body,
                        case.throttle_key,
                    ],
                    |row| row.get(0).map(CaseId),
                )
            })
            .map_err(sql)?;
        for target in &case.targets {
            self.watch_label(id, &case.subject.project, &target.label)?;
        }
        Ok(id)
    }

    fn save_case(&mut self, case: &CaseRow) -> Result<(), LedgerError> {
        let verdict = case.verdict.as_ref().map(|verdict| verdict.kind.as_str());
        let body = serde_json::to_string(case).map_err(json)?;
        let was_open = self
            .tx
            .prepare_cached("SELECT verdict IS NULL FROM cases WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([case.id.0], |row| row.get::<_, bool>(0)))
            .map_err(sql)?;
        self.tx
            .prepare_cached("UPDATE cases SET closed_at = ?2, wake_at = ?3, verdict = ?4, body = ?5 WHERE id = ?1")
            .and_then(|mut statement| {
                statement.execute(params![
                    case.id.0,
                    case.closed_at.map(|at| at.0),
                    case.wake_at.map(|at| at.0),
                    verdict,
                    body,
                ])
            })
            .map_err(sql)?;
        if was_open && let Some(closed_at) = case.closed_at {
            self.tx
                .prepare_cached("UPDATE actions SET state = 'dropped' WHERE case_id = ?1 AND state = 'queued'")
                .and_then(|mut statement| statement.execute([case.id.0]))
                .map_err(sql)?;
            self.tx
                .prepare_cached("DELETE FROM case_targets WHERE case_id = ?1")
                .and_then(|mut statement| statement.execute([case.id.0]))
                .map_err(sql)?;
            self.tx
                .prepare_cached("INSERT OR IGNORE INTO notices (case_id, next_try) VALUES (?1, ?2)")
                .and_then(|mut statement| statement.execute(params![case.id.0, closed_at.0]))
                .map_err(sql)?;
        }
        Ok(())
    }

    fn open_subjects(&mut self) -> Result<Vec<(Project, Label)>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT project, label FROM cases WHERE verdict IS NULL UNION SELECT project, label FROM case_targets",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| {
                        Ok((
                            Project::from(row.get::<_, String>(0)?),
                            Label::from(row.get::<_, String>(1)?),
                        ))
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    fn open_about(&mut self, project: &Project, label: &Label, series: &Label) -> Result<Vec<CaseId>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT id FROM cases WHERE verdict IS NULL AND project = ?1 AND label IN (?2, ?3)
                 UNION SELECT case_id FROM case_targets WHERE project = ?1 AND label IN (?2, ?3) ORDER BY 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![project.as_str(), label.as_str(), series.as_str()], |row| {
                        row.get(0).map(CaseId)
                    })?
                    .collect()
            })
            .map_err(sql)
    }

    fn recent_searches(
        &mut self,
        project: &Project,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<CaseRow>, LedgerError> {
        let kind = CaseKind::FindCulprit.as_str();
        self.newest_first(
            "SELECT id, body FROM cases WHERE project = ?1 AND opened_at > ?2 AND kind = ?3
             ORDER BY opened_at DESC, id DESC LIMIT ?4",
            params![project.as_str(), since.0, kind, limit],
        )
    }

    fn cases_of_failure(
        &mut self,
        project: &Project,
        signature: &Signature,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<CaseRow>, LedgerError> {
        let (search, validation) = (CaseKind::FindCulprit.as_str(), CaseKind::Validate.as_str());
        let signature = serde_json::to_string(signature).map_err(json)?;
        self.newest_first(
            "SELECT id, body FROM cases WHERE project = ?1 AND signature = ?2 AND kind IN (?3, ?6)
             AND (closed_at IS NULL OR closed_at > ?4) ORDER BY id DESC LIMIT ?5",
            params![project.as_str(), signature, search, since.0, limit, validation],
        )
    }

    fn watch_label(&mut self, case: CaseId, project: &Project, label: &Label) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached("INSERT OR IGNORE INTO case_targets (case_id, project, label) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![case.0, project.as_str(), label.as_str()]))
            .map(drop)
            .map_err(sql)
    }

    fn cases_opened(&mut self, rule: &str, key: &str, since: Timestamp, limit: u32) -> Result<u32, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT COUNT(*) FROM (SELECT 1 FROM cases WHERE rule = ?1 AND opened_at > ?2 AND throttle_key = ?3
                 LIMIT ?4)",
            )
            .and_then(|mut statement| statement.query_row(params![rule, since.0, key, limit], |row| row.get(0)))
            .map_err(sql)
    }

    fn last_opened(
        &mut self,
        rule: &str,
        subject: &Subject,
        each: Option<&str>,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let signature = signature_text(subject)?;
        self.tx
            .prepare_cached(
                "SELECT MAX(opened_at) FROM cases WHERE project = ?1 AND label = ?2 AND rule = ?3 AND signature IS ?4
                 AND body ->> 'each' IS ?5",
            )
            .and_then(|mut statement| {
                statement.query_row(
                    params![subject.project.as_str(), subject.label.as_str(), rule, signature, each],
                    |row| row.get::<_, Option<i64>>(0),
                )
            })
            .map(|at| at.map(Timestamp))
            .map_err(sql)
    }

    fn waking(&mut self, now: Timestamp, limit: u32) -> Result<Vec<CaseId>, LedgerError> {
        self.tx
            .prepare_cached(
                "SELECT id FROM cases WHERE verdict IS NULL AND wake_at IS NOT NULL AND wake_at <= ?1
                 ORDER BY wake_at, id LIMIT ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![now.0, limit], |row| row.get(0).map(CaseId))?
                    .collect()
            })
            .map_err(sql)
    }

    fn tell_progress(&mut self, case: CaseId, now: Timestamp) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached("INSERT OR IGNORE INTO notices (case_id, next_try) VALUES (?1, ?2)")
            .and_then(|mut statement| statement.execute(params![case.0, now.0]))
            .map(drop)
            .map_err(sql)
    }
}

impl Books<'_> {
    /// Cases that a query gives newest first, turned round: oldest first.
    fn newest_first(&mut self, query: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<CaseRow>, LedgerError> {
        let mut cases = self
            .tx
            .prepare_cached(query)
            .and_then(|mut statement| {
                statement
                    .query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<Vec<(u64, String)>>>()
            })
            .map_err(sql)?;
        cases.reverse();
        cases.into_iter().map(|(id, body)| case_of(id, &body)).collect()
    }
}

/// A subject's signature, or series, as the column for it holds it.
pub(super) fn signature_text(subject: &Subject) -> Result<Option<String>, LedgerError> {
    let text = match (&subject.signature, &subject.series) {
        (Some(signature), _) => Some(serde_json::to_string(signature)),
        (None, Some(series)) => Some(serde_json::to_string(&serde_json::json!({ "series": series }))),
        (None, None) => None,
    };
    text.transpose().map_err(json)
}

/// A case from its row.
pub(super) fn case_of(id: u64, body: &str) -> Result<CaseRow, LedgerError> {
    let mut case: CaseRow = serde_json::from_str(body).map_err(json)?;
    case.id = CaseId(id);
    Ok(case)
}
