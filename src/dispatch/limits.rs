//! How much may be asked for.
//!
//! The account is the outbox itself: what was sent, and when. There is no second book that could get out of step, and
//! a restart or a second daemon on the same store sees the same numbers.

use std::collections::BTreeMap;

use crate::engine::ledger::LedgerError;
use crate::event::{Duration, Reason, Timestamp};
use crate::rules::{Budget, BudgetScope};
use crate::store::sqlite::{Books, Dimension, Due, Pause, PauseScope, Spent};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longer than any daemon has run: a century.
const EVER: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
/// How long a request that a limit holds back is not looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// The same while a pause is in force: a resume should show soon.
const LOOK_AGAIN_PAUSED: Duration = Duration::from_secs(10);

/// Limits on jobs and requests. Hours and days are the last 60 minutes and the last 24 hours, not the calendar's.
/// `None`: no limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Jobs in an hour, over all.
    pub jobs_per_hour: Option<u64>,
    /// Jobs in a day, over all.
    pub jobs_per_day: Option<u64>,
    /// Jobs in a day for one rule.
    pub jobs_per_rule_per_day: Option<u64>,
    /// Jobs in a day in one project.
    pub jobs_per_project_per_day: Option<u64>,
    /// Jobs in a day on one platform.
    pub jobs_per_platform_per_day: Option<u64>,
    /// Jobs in a day of one label in one project.
    pub jobs_per_label_per_day: Option<u64>,
    /// Jobs on one push, ever.
    pub jobs_per_push: Option<u64>,
    /// Requests in a second; under 1 for one request in several seconds.
    pub requests_per_second: f64,
    /// Requests that may be under way together.
    pub concurrency: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            jobs_per_hour: Some(200),
            jobs_per_day: Some(1_000),
            jobs_per_rule_per_day: None,
            jobs_per_project_per_day: None,
            jobs_per_platform_per_day: None,
            jobs_per_label_per_day: Some(100),
            jobs_per_push: Some(200),
            requests_per_second: 2.0,
            concurrency: 4,
        }
    }
}

/// Everything that may hold a request back.
#[derive(Debug, Clone, Default)]
pub struct Brakes {
    /// The limits of the configuration.
    pub limits: Limits,
    /// The budgets of the rules.
    pub budgets: BTreeMap<String, Budget>,
}

impl Brakes {
    /// Whether a request may be sent now; if not, why, and when to look again.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn admit(
        &self,
        books: &mut Books<'_>,
        due: &Due,
        backend: &str,
        pauses: &[Pause],
        now: Timestamp,
    ) -> Result<Result<(), (Reason, Timestamp)>, LedgerError> {
        let request = &due.request;
        if pauses.iter().any(|pause| match pause.scope {
            PauseScope::All => true,
            PauseScope::Rule => pause.name == due.rule,
            PauseScope::Project => pause.name == request.project.as_str(),
            PauseScope::Platform => pause.name == due.platform,
            PauseScope::Backend => pause.name == backend,
        }) {
            return Ok(Err((Reason::Paused, now.plus(LOOK_AGAIN_PAUSED))));
        }
        let project = request.project.as_str();
        let limits = &self.limits;
        let accounts = [
            (limits.jobs_per_hour, Spent::All, HOUR),
            (limits.jobs_per_day, Spent::All, DAY),
            (limits.jobs_per_rule_per_day, Spent::Of(Dimension::Rule, &due.rule), DAY),
            (
                limits.jobs_per_project_per_day,
                Spent::Of(Dimension::Project, project),
                DAY,
            ),
            (
                limits.jobs_per_platform_per_day,
                Spent::Of(Dimension::Platform, &due.platform),
                DAY,
            ),
            (
                limits.jobs_per_label_per_day,
                Spent::Label(project, request.label.as_str()),
                DAY,
            ),
            (limits.jobs_per_push, Spent::Push(project, request.push.0), EVER),
        ];
        for (limit, account, window) in accounts {
            let Some(limit) = limit else { continue };
            if books.spent(account, now.minus(window))? + u64::from(request.times) > limit {
                return Ok(Err((Reason::Limit, now.plus(LOOK_AGAIN))));
            }
        }
        if let Some((name, budget)) = due.budget.as_ref().and_then(|name| self.budgets.get_key_value(name)) {
            let dimension = dimension(budget.per);
            let value = match dimension {
                None => "",
                Some(Dimension::Rule) => due.rule.as_str(),
                Some(Dimension::Project) => project,
                Some(Dimension::Platform) => due.platform.as_str(),
                Some(Dimension::Label) => request.label.as_str(),
            };
            let account = Spent::Budget(name, dimension.map(|dimension| (dimension, value)));
            let limit = u64::from(budget.daily(value));
            if books.spent(account, now.minus(DAY))? + u64::from(request.times) > limit {
                return Ok(Err((Reason::Budget, now.plus(LOOK_AGAIN))));
            }
        }
        Ok(Ok(()))
    }

    /// Requests that may be sent at this moment, by rate and concurrency.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn room(&self, books: &mut Books<'_>, now: Timestamp) -> Result<u32, LedgerError> {
        let rate = self.limits.requests_per_second.max(1e-6);
        // A window in which at least one request is allowed: a second, or as long as one request takes.
        let window = (1.0 / rate).max(1.0);
        let allowed = (rate * window).floor() as u32;
        let sent = books.requests_since(now.minus(Duration::from_secs_f64(window)))?;
        let by_rate = allowed.saturating_sub(sent);
        let by_concurrency = self.limits.concurrency.saturating_sub(books.sending_count()?);
        Ok(by_rate.min(by_concurrency))
    }

    /// What is left of each budget today: jobs in the account that has the least left. An account that has spent
    /// nothing has its whole allowance left.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn budgets_left(&self, books: &mut Books<'_>, now: Timestamp) -> Result<Vec<(String, u64)>, LedgerError> {
        let mut left = Vec::new();
        for (name, budget) in &self.budgets {
            let spent = books.spent_of_budget(name, dimension(budget.per), now.minus(DAY))?;
            let of_spenders = spent
                .iter()
                .map(|(account, jobs)| u64::from(budget.daily(account)).saturating_sub(*jobs));
            let untouched = budget.special.values().copied().chain(budget.default).map(u64::from);
            let least = of_spenders.min().or_else(|| untouched.min()).unwrap_or(0);
            left.push((name.clone(), least));
        }
        Ok(left)
    }
}

/// What the accounts of a budget are kept by; `None`: there is one for all.
fn dimension(scope: BudgetScope) -> Option<Dimension> {
    match scope {
        BudgetScope::All => None,
        BudgetScope::Rule => Some(Dimension::Rule),
        BudgetScope::Project => Some(Dimension::Project),
        BudgetScope::Platform => Some(Dimension::Platform),
        BudgetScope::Label => Some(Dimension::Label),
    }
}
