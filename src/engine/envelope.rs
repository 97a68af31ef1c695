//! When a rule acts, besides its condition: quiet hours, debounce, once_within, throttle, schedule, approval.
//!
//! In: a rule that matched, `now`, what the books remember of the rule. Out: that it acts, or the reason why not (yet).
//! Never: a wait that is not in the books: what is held back, and when a scheduled rule last ran, outlive a restart.

use std::sync::Arc;

use super::apply::{Engine, Note};
use super::batch::Batch;
use super::consider::{Asked, Occasion};
use super::facts::Priced;
use super::ledger::{CaseApproval, CaseRow, Decision, Held, Ledger, LedgerError};
use super::opening::{Draft, Placed};
use crate::event::{CaseId, Event, Reason, Tick, Timestamp};
use crate::rules::{Debounce, Estimate, Facts, Mode, RuleIndex, Value};

/// When a burst of events is over: after the quiet time, at the latest when `at_most` has passed since the first.
fn due(debounce: &Debounce, since: Timestamp, now: Timestamp) -> Timestamp {
    let quiet = now.plus(debounce.quiet);
    debounce.at_most.map_or(quiet, |span| quiet.min(since.plus(span)))
}

impl Engine {
    /// Why a rule that matched does not act now, if it does not. Holds the event back where it acts later.
    pub(super) fn not_now(
        &mut self,
        ledger: &mut dyn Ledger,
        asked: &Asked<'_>,
        decision: &mut Decision,
    ) -> Result<Option<Reason>, LedgerError> {
        let (rule, now) = (asked.rule, asked.now);
        if rule.quiet_hours.as_ref().is_some_and(|hours| hours.is_quiet(now)) {
            return Ok(Some(Reason::QuietHours));
        }
        let Some(debounce) = rule.debounce.as_ref().filter(|_| asked.occasion == Occasion::Message) else {
            return Ok(None);
        };
        let (name, key) = (rule.name.as_str(), debounce.by.key(asked.event));
        let (since, count) = ledger
            .held(name, &key)?
            .map_or((now, 0), |earlier| (earlier.since, earlier.count));
        let held = Held {
            rule: name.to_owned(),
            key,
            since,
            due: due(debounce, since, now),
            count: count.saturating_add(1),
            event: asked.event.clone(),
        };
        ledger.hold_event(&held)?;
        decision.detail["until"] = serde_json::json!(held.due);
        decision.detail["events"] = held.count.into();
        Ok(Some(Reason::Debounced))
    }

    /// Why a rule may not open a case about this now, if it may not. The second part is what its throttle counts by.
    pub(super) fn too_often(
        &mut self,
        ledger: &mut dyn Ledger,
        asked: &Asked<'_>,
        draft: &Draft,
        each: Option<&str>,
    ) -> Result<(Option<Reason>, String), LedgerError> {
        let (rule, now) = (asked.rule, asked.now);
        let name = rule.name.as_str();
        if let Some(span) = rule.once_within
            && let Some(last) = ledger.last_opened(name, &draft.subject, each)?
            && last > now.minus(span)
        {
            return Ok((Some(Reason::OnceWithin), String::new()));
        }
        let Some(throttle) = &rule.throttle else {
            return Ok((None, String::new()));
        };
        let key = throttle.by.key(asked.event);
        let opened = ledger.cases_opened(name, &key, now.minus(throttle.per), throttle.max)?;
        Ok(((opened >= throttle.max).then_some(Reason::Throttled), key))
    }

    /// The approval that a case needs before it asks for anything, with what the rule's condition saw.
    pub(super) fn approval(
        &mut self,
        ledger: &mut dyn Ledger,
        asked: &Asked<'_>,
        facts: &dyn Facts,
        draft: &Draft,
        each: Option<&Value<'_>>,
        decision: &mut Decision,
    ) -> Result<Option<CaseApproval>, LedgerError> {
        let Some(approve) = &asked.rule.approve else {
            return Ok(None);
        };
        let jobs = draft.params.max_jobs();
        let mean = ledger.mean_duration(&draft.subject.project, &draft.label)?;
        let estimate = Estimate {
            jobs,
            hours: mean.map(|mean| mean.as_secs_f64() / 3_600.0 * f64::from(jobs)),
        };
        let priced = Priced { facts, estimate };
        let Some(said) = asked.rules.approval(asked.index, asked.event, &priced, each) else {
            return Ok(None);
        };
        decision.detail["approval"] = serde_json::json!({ "needed": said.needed, "clauses": said.trace });
        Ok(said.needed.then(|| CaseApproval {
            by: Arc::clone(&approve.by),
            expires: asked.now.plus(approve.expires),
            estimate,
            approved: None,
        }))
    }

    /// Approves a case by hand. `None` when no open case of this number waits for approval.
    ///
    /// # Errors
    /// The books are busy or damaged.
    pub fn approve(
        &mut self,
        ledger: &mut dyn Ledger,
        id: CaseId,
        who: &str,
        now: Timestamp,
    ) -> Result<Option<CaseRow>, LedgerError> {
        let Some(mut case) = ledger.case(id)?.filter(|case| case.verdict.is_none()) else {
            return Ok(None);
        };
        if case.awaits_approval().is_none_or(|approval| approval.expires <= now) {
            return Ok(None);
        }
        if let Some(approval) = &mut case.approval {
            approval.approved = Some((who.into(), now));
        }
        case.why = format!("approved by {who}");
        case.wake_at = Some(now);
        ledger.save_case(&case)?;
        Ok(Some(case))
    }

    /// Lets rules act on what they held back, where no further event came in time.
    pub(super) fn release(
        &mut self,
        ledger: &mut dyn Ledger,
        now: Timestamp,
        limit: u32,
        notes: &mut Vec<Note>,
    ) -> Result<(), LedgerError> {
        let due = ledger.take_held(now, limit)?;
        if due.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::begin(ledger)?;
        for held in due {
            let event = &held.event;
            let in_force = self.rules().find(&held.rule).filter(|index| self.is_in_force(*index));
            match (in_force, event) {
                (None, _) => batch.note_decision(ledger, Decision::of_rule_gone(&held.rule, event, now))?,
                (Some(index), Event::Job(job)) => {
                    // Only events whose place is known are held back.
                    if let Some(placed) = Placed::of(job) {
                        self.consider_job(ledger, &mut batch, event, &placed, index, Occasion::Released, now)?;
                    }
                }
                (Some(index), _) => self.consider_other(ledger, &mut batch, event, index, Occasion::Released, now)?,
            }
        }
        notes.append(&mut batch.notes);
        Ok(())
    }

    fn is_in_force(&self, index: RuleIndex) -> bool {
        self.rules().rule(index).is_some_and(|rule| rule.mode != Mode::Off)
    }

    /// Runs scheduled rules that are due. However many of a rule's minutes were missed, it runs once; a rule that was
    /// never seen begins now.
    pub(super) fn tick(
        &mut self,
        ledger: &mut dyn Ledger,
        now: Timestamp,
        notes: &mut Vec<Note>,
    ) -> Result<(), LedgerError> {
        const MINUTE: i64 = 60_000;
        let minute = Timestamp(now.0 - now.0.rem_euclid(MINUTE));
        if self.ticked.is_some_and(|ticked| ticked >= minute) {
            return Ok(());
        }
        let rules = Arc::clone(self.rules());
        let mut batch: Option<Batch> = None;
        for (at, rule) in rules.rules().iter().enumerate() {
            let Some(schedule) = rule.schedule.as_ref().filter(|_| rule.mode != Mode::Off) else {
                continue;
            };
            let name = rule.name.as_str();
            let Some(last) = ledger.last_tick(name)? else {
                ledger.set_last_tick(name, now)?;
                continue;
            };
            let Some(due) = schedule.last_due(last, now) else {
                continue;
            };
            ledger.set_last_tick(name, due)?;
            let event = Event::Timer(Box::new(Tick {
                rule: rule.name.clone(),
                at: due,
            }));
            let batch = match &mut batch {
                Some(batch) => batch,
                None => batch.insert(Batch::begin(ledger)?),
            };
            self.consider_other(ledger, batch, &event, RuleIndex(at), Occasion::Message, now)?;
        }
        if let Some(mut batch) = batch {
            notes.append(&mut batch.notes);
        }
        self.ticked = Some(minute);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::settings::EngineSettings;
    use crate::event::Duration;
    use crate::rules::{By, RuleSet};
    use crate::store::sqlite::SqliteStore;

    /// An engine that a daemon has after a start.
    fn started() -> Engine {
        let rules = "version: 1\nrules:\n  - name: r\n    description: For a test.\n    schedule: \"*/30 * * * *\"\n    open: { \
                     kind: fill, project: autoland, max_jobs: 1 }\n";
        let rules = RuleSet::parse(&[("rules.yaml", rules)]).unwrap();
        Engine::new(Arc::new(rules), EngineSettings::default())
    }

    /// The minutes for which rules ran when the engine looked at the clock.
    fn ran(engine: &mut Engine, store: &mut SqliteStore, now: &str) -> Vec<String> {
        let now = Timestamp::parse(now).unwrap();
        let notes = store.transact(|books| engine.wake(books, now, 10)).unwrap();
        let event = |note: &Note| match note {
            Note::Decided(decision) => Some(decision.event.clone()),
            _ => None,
        };
        notes.iter().filter_map(event).collect()
    }

    #[test]
    fn a_scheduled_rule_runs_in_its_minutes_once_each_and_once_for_all_that_it_missed() {
        let mut store = SqliteStore::in_memory().unwrap();
        let mut engine = started();
        let none: [String; 0] = [];
        assert_eq!(
            ran(&mut engine, &mut store, "2026-06-01T10:00:30Z"),
            none,
            "it begins now"
        );
        assert_eq!(ran(&mut engine, &mut store, "2026-06-01T10:29:59Z"), none);
        let half_past = ["timer/r/2026-06-01T10:30:00Z"];
        assert_eq!(ran(&mut engine, &mut store, "2026-06-01T10:30:01Z"), half_past);
        assert_eq!(ran(&mut engine, &mut store, "2026-06-01T10:30:02Z"), none);
        let mut restarted = started();
        assert_eq!(
            ran(&mut restarted, &mut store, "2026-06-01T10:30:20Z"),
            none,
            "a restart doubles nothing"
        );
        let late = ["timer/r/2026-06-01T14:00:00Z"];
        assert_eq!(
            ran(&mut started(), &mut store, "2026-06-01T14:10:00Z"),
            late,
            "seven were missed"
        );
        assert_eq!(ran(&mut started(), &mut store, "2026-06-01T14:29:00Z"), none);
    }

    #[test]
    fn a_burst_is_over_when_it_is_quiet_and_at_the_latest_after_the_longest_wait() {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        let at = |n: i64| Timestamp(n * 60_000);
        let mut debounce = Debounce {
            quiet: minutes(30),
            by: By::default(),
            at_most: None,
        };
        assert_eq!(due(&debounce, at(0), at(100)), at(130));
        debounce.at_most = Some(minutes(120));
        assert_eq!(due(&debounce, at(0), at(60)), at(90));
        assert_eq!(due(&debounce, at(0), at(100)), at(120));
    }
}
