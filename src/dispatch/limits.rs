//! How much may be asked for.
//!
//! The account is the outbox itself: what was sent, when, and what it is charged. There is no second book that could get
//! out of step, and a restart or a second daemon on the same store sees the same numbers.
//!
//! In: what a request would be charged to ([`Brakes::charges`]) and the accounts as they are. Out: what does not fit.
//! Never: sending.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::engine::ledger::LedgerError;
use crate::event::{Duration, Label, Project, Reason, Timestamp};
use crate::rules::{Budget, BudgetScope, Counted};
use crate::store::sqlite::{Account, Books, Dimension, Due, Measure};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longer than any daemon has run: a century.
const EVER: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
/// Milliseconds in an hour of machine time.
const HOUR_MS: u64 = 3_600_000;

/// Limits on jobs, machine time and requests. Hours and days are the last 60 minutes and the last 24 hours, not the
/// calendar's. `None`: no limit.
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
    /// Hours of machine time in a day, over all.
    pub machine_hours_per_day: Option<u64>,
    /// Hours of machine time in a day for one rule.
    pub machine_hours_per_rule_per_day: Option<u64>,
    /// Hours of machine time in a day in one project.
    pub machine_hours_per_project_per_day: Option<u64>,
    /// Hours of machine time in a day on one platform.
    pub machine_hours_per_platform_per_day: Option<u64>,
    /// The machine time that a job is expected to take while none of its label has ended.
    pub assumed_job_time: Duration,
    /// Jobs waiting for a machine on a platform from which on nothing more is asked for there.
    pub pending_jobs_per_platform: Option<u64>,
    /// Jobs waiting for a machine in the worker pool of a label from which on the label is not asked for.
    pub pending_jobs_per_pool: Option<u64>,
    /// The share of a platform's runs that end by infrastructure from which on it is left alone, over 0 to 1.
    pub infra_share: f64,
    /// Runs of a platform in an hour that it takes to say so.
    pub infra_runs: u32,
    /// The share of a backend's answers that are failures from which on it is left alone, over 0 to 1.
    pub error_share: f64,
    /// Requests in a second, in the long run; under 1 for one request in several seconds.
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
            machine_hours_per_day: None,
            machine_hours_per_rule_per_day: None,
            machine_hours_per_project_per_day: None,
            machine_hours_per_platform_per_day: None,
            assumed_job_time: Duration::from_secs(1_800),
            pending_jobs_per_platform: None,
            pending_jobs_per_pool: None,
            infra_share: 0.5,
            infra_runs: 20,
            error_share: 0.5,
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
    /// Rules that ask for jobs in projects whose tree is closed, too.
    pub through_closed_trees: BTreeSet<String>,
}

/// What is counted against a limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counter {
    /// What was asked for.
    Spent(Account, Measure),
    /// Failures of our own runs, and runs that may fail yet, over what has one value of a dimension.
    Attention(Option<(Dimension, String)>),
}

/// One thing that a request would be charged to.
#[derive(Debug, Clone, PartialEq)]
pub struct Charge {
    counter: Counter,
    window: Duration,
    amount: u64,
    limit: u64,
    /// Why a request waits that does not fit.
    pub reason: Reason,
}

impl Charge {
    /// Whether it would fit into an account from which nothing is spent.
    pub fn fits_alone(&self) -> bool {
        self.amount <= self.limit
    }

    /// Whether what is spent from the account is forgotten in time.
    pub fn drains(&self) -> bool {
        self.window < EVER
    }
}

/// What a request is expected to take.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cost {
    /// The machine time of one of the jobs that are asked for, in milliseconds.
    pub job_ms: u64,
    /// Builds that the CI has to make along: the jobs need them, and the push does not have them.
    pub builds: Vec<Label>,
    /// The machine time of all of these together, in milliseconds.
    pub build_ms: u64,
}

impl Cost {
    fn jobs(&self, times: u32) -> u64 {
        u64::from(times).saturating_add(self.builds.len() as u64)
    }

    fn machine_ms(&self, times: u32) -> u64 {
        u64::from(times)
            .saturating_mul(self.job_ms)
            .saturating_add(self.build_ms)
    }
}

/// The accounts as one transaction sees them: each is read once, and what is charged in the transaction is added.
#[derive(Debug, Default)]
pub struct Accounts {
    spent: HashMap<(Counter, Duration), u64>,
    reserved: HashSet<(Counter, Duration)>,
    job_ms: HashMap<(String, String), u64>,
}

impl Accounts {
    fn spent(&mut self, books: &mut Books<'_>, charge: &Charge, now: Timestamp) -> Result<u64, LedgerError> {
        let key = (charge.counter.clone(), charge.window);
        if let Some(known) = self.spent.get(&key) {
            return Ok(*known);
        }
        let since = now.minus(charge.window);
        let spent = match &charge.counter {
            Counter::Spent(account, measure) => books.spent(account, *measure, since)?,
            Counter::Attention(account) => {
                let attention = books.attention(account.as_ref(), since)?;
                attention.failed + attention.open
            }
        };
        self.spent.insert(key, spent);
        Ok(spent)
    }

    /// The first charge that does not fit, or that somebody waits for who came long before.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn first_refused<'c>(
        &mut self,
        books: &mut Books<'_>,
        charges: &'c [Charge],
        now: Timestamp,
    ) -> Result<Option<&'c Charge>, LedgerError> {
        for charge in charges {
            let is_reserved = self.reserved.contains(&(charge.counter.clone(), charge.window));
            if is_reserved || self.spent(books, charge, now)?.saturating_add(charge.amount) > charge.limit {
                return Ok(Some(charge));
            }
        }
        Ok(None)
    }

    /// Lets nobody else be charged to an account in this transaction.
    pub fn reserve(&mut self, charge: &Charge) {
        self.reserved.insert((charge.counter.clone(), charge.window));
    }

    /// Charges a request that fits.
    pub fn charge(&mut self, charges: &[Charge]) {
        for charge in charges {
            if let Some(spent) = self.spent.get_mut(&(charge.counter.clone(), charge.window)) {
                *spent = spent.saturating_add(charge.amount);
            }
        }
    }

    /// What a request is expected to take.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn cost(&mut self, books: &mut Books<'_>, due: &Due, assumed: Duration) -> Result<Cost, LedgerError> {
        let request = &due.request;
        let builds = match &request.existing {
            // What ran on the push already has its build there.
            Some(_) => Vec::new(),
            None => books.missing_builds(&request.project, &request.label, request.push)?,
        };
        let mut build_ms: u64 = 0;
        for build in &builds {
            build_ms = build_ms.saturating_add(self.job_ms(books, &request.project, build, assumed)?);
        }
        Ok(Cost {
            job_ms: self.job_ms(books, &request.project, &request.label, assumed)?,
            builds,
            build_ms,
        })
    }

    /// The machine time expected of one run of a label, in milliseconds.
    fn job_ms(
        &mut self,
        books: &mut Books<'_>,
        project: &Project,
        label: &Label,
        assumed: Duration,
    ) -> Result<u64, LedgerError> {
        let key = (project.to_string(), label.to_string());
        if let Some(known) = self.job_ms.get(&key) {
            return Ok(*known);
        }
        let expected = books.expected_duration(project, label)?;
        let expected = expected.unwrap_or_else(|| u64::try_from(assumed.as_millis()).unwrap_or(u64::MAX / 1_000));
        self.job_ms.insert(key, expected);
        Ok(expected)
    }
}

impl Brakes {
    /// Everything that a request would be charged to.
    pub fn charges(&self, due: &Due, cost: &Cost) -> Vec<Charge> {
        let request = &due.request;
        let (project, limits) = (&request.project, &self.limits);
        let (jobs, machine_ms) = (cost.jobs(request.times), cost.machine_ms(request.times));
        let of = |dimension, value: &str| Account::Of(dimension, value.to_owned());
        let rule = || of(Dimension::Rule, &due.rule);
        let in_project = || of(Dimension::Project, project.as_str());
        let platform = || of(Dimension::Platform, &due.platform);
        let mut charges = Vec::new();
        let mut add = |limit: Option<u64>, account: Account, measure, window, reason| {
            let Some(limit) = limit else { return };
            let (amount, limit) = match measure {
                Measure::Jobs => (jobs, limit),
                Measure::MachineTime => (machine_ms, limit.saturating_mul(HOUR_MS)),
            };
            charges.push(Charge {
                counter: Counter::Spent(account, measure),
                window,
                amount,
                limit,
                reason,
            });
        };
        let (work, time, limit) = (Measure::Jobs, Measure::MachineTime, Reason::Limit);
        let case = Account::Case(request.key.case);
        add(Some(due.max_jobs.into()), case, work, EVER, Reason::MaxJobs);
        let push = Account::Push(project.clone(), request.push.0);
        add(limits.jobs_per_push, push, work, EVER, limit);
        add(limits.jobs_per_hour, Account::All, work, HOUR, limit);
        add(limits.jobs_per_day, Account::All, work, DAY, limit);
        add(limits.jobs_per_rule_per_day, rule(), work, DAY, limit);
        add(limits.jobs_per_project_per_day, in_project(), work, DAY, limit);
        add(limits.jobs_per_platform_per_day, platform(), work, DAY, limit);
        let label = Account::Label(project.clone(), request.label.clone());
        add(limits.jobs_per_label_per_day, label, work, DAY, limit);
        add(limits.machine_hours_per_day, Account::All, time, DAY, limit);
        add(limits.machine_hours_per_rule_per_day, rule(), time, DAY, limit);
        add(limits.machine_hours_per_project_per_day, in_project(), time, DAY, limit);
        add(limits.machine_hours_per_platform_per_day, platform(), time, DAY, limit);
        for (name, budget) in &self.budgets {
            let is_named = due.budget.as_ref() == Some(name);
            let dimension = dimension(budget.per);
            let value = dimension.map_or("", |dimension| value_of(dimension, due));
            let of_value = dimension.map(|dimension| (dimension, value.to_owned()));
            let daily = u64::from(budget.daily(value));
            match budget.counts {
                Counted::Jobs if is_named => {
                    add(
                        Some(daily),
                        Account::Budget(name.clone(), of_value),
                        work,
                        DAY,
                        Reason::Budget,
                    );
                }
                Counted::MachineHours if is_named => {
                    add(
                        Some(daily),
                        Account::Budget(name.clone(), of_value),
                        time,
                        DAY,
                        Reason::Budget,
                    );
                }
                Counted::Jobs | Counted::MachineHours | Counted::Failures => {}
            }
        }
        charges.extend(self.attention(due, jobs));
        charges
    }

    /// What budgets of attention say: they hold for every request, whether or not its rule names them.
    fn attention(&self, due: &Due, jobs: u64) -> impl Iterator<Item = Charge> {
        self.budgets
            .values()
            .filter(|budget| budget.counts == Counted::Failures)
            .map(move |budget| {
                let account = dimension(budget.per).map(|dimension| (dimension, value_of(dimension, due).to_owned()));
                let limit = budget.daily(account.as_ref().map_or("", |(_, value)| value));
                Charge {
                    counter: Counter::Attention(account),
                    window: DAY,
                    amount: jobs,
                    limit: limit.into(),
                    reason: Reason::Attention,
                }
            })
    }

    /// What is left of each budget today, in its unit: in the account that has the least left. An account that has
    /// spent nothing has its whole allowance left.
    ///
    /// # Errors
    /// The store is busy or damaged.
    pub fn budgets_left(&self, books: &mut Books<'_>, now: Timestamp) -> Result<Vec<(String, u64)>, LedgerError> {
        let mut left = Vec::new();
        for (name, budget) in &self.budgets {
            let since = now.minus(DAY);
            let spent = match budget.counts {
                Counted::Jobs => books.spent_of_budget(name, dimension(budget.per), Measure::Jobs, since)?,
                Counted::MachineHours => books
                    .spent_of_budget(name, dimension(budget.per), Measure::MachineTime, since)?
                    .into_iter()
                    .map(|(account, ms)| (account, ms.div_ceil(HOUR_MS)))
                    .collect(),
                // By project and so on it would take a look at each; the sum says whether people are near their limit.
                Counted::Failures => vec![(String::new(), books.attention(None, since)?.failed)],
            };
            let of_spenders = spent
                .iter()
                .map(|(account, amount)| u64::from(budget.daily(account)).saturating_sub(*amount));
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

/// A request's value of a dimension.
fn value_of(dimension: Dimension, due: &Due) -> &str {
    match dimension {
        Dimension::Rule => &due.rule,
        Dimension::Project => due.request.project.as_str(),
        Dimension::Platform => &due.platform,
        Dimension::Label => due.request.label.as_str(),
    }
}
