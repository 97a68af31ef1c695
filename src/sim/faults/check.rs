//! What has to hold, whatever goes wrong. Each check says in words what is broken.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::Value;

use super::chance::lock;
use super::ci::{Ci, Deed, NAME, Runs};
use super::plan::{Fault, Scenario};
use crate::engine::ledger::{ActionState, Actions as _, CaseRow, LedgerError, Pushes as _, Runs as _};
use crate::event::{BackendName, CaseId, CausedBy, Duration, Event, JobEvent, RunKey, TaskId};
use crate::sim::world::{Job, SHORTEST_RUN};
use crate::store::sqlite::{Books, CaseFilter, SqliteStore};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Cases of a story at most.
const CASES: u32 = 10_000;

/// Reads the books behind everybody's back.
pub(super) fn look<R>(
    store: &Mutex<SqliteStore>,
    question: impl FnOnce(&mut Books<'_>) -> Result<R, LedgerError>,
) -> Result<R, LedgerError> {
    lock(store).transact(question)
}

/// An acknowledged message's effects, or the message itself, are in the books.
pub(super) fn acknowledged_is_durable(
    books: &mut Books<'_>,
    ci: &Ci,
    events: &[Event],
) -> Result<Vec<String>, LedgerError> {
    let mut breaches = Vec::new();
    for event in events {
        match event {
            Event::Job(job) if ci.world.definition(&job.run.task).is_some() && !is_kept(books, job)? => {
                breaches.push(format!(
                    "the message that run {} is {} was acknowledged, and is not in the books",
                    job.run,
                    job.state.as_str()
                ));
            }
            Event::Push(push) if books.push_of(&push.project, &push.revision)? != push.push => {
                breaches.push(format!(
                    "push {} was acknowledged, and is not in the books",
                    push.revision
                ));
            }
            _ => {}
        }
    }
    Ok(breaches)
}

fn is_kept(books: &mut Books<'_>, job: &JobEvent) -> Result<bool, LedgerError> {
    if books.run(&job.run)?.is_some_and(|row| row.state >= job.state) {
        return Ok(true);
    }
    books.is_waiting(&format!("{}:{}", job.run, job.state.as_str()))
}

/// Nothing that was sent exceeds a limit. Windows are those of the true time: where the wall clock jumps, a daemon that
/// starts anew cannot know of it, and only limits without a window are looked at. `rules` are those of cases.
pub(super) fn limits_hold(scenario: &Scenario, ci: &Ci, rules: &BTreeMap<CaseId, String>, from: usize) -> Vec<String> {
    let limits = &scenario.limits;
    let is_timed = scenario.chance(Fault::ClockJump) == 0.0;
    let mut breaches = Vec::new();
    // What never runs is not charged once it is given up, and what runs after that nobody could expect.
    let comes = |deed: &&Deed| deed.runs == Runs::Soon;
    let platform = |deed: &Deed| platform_of(deed.request.label.as_str()).to_owned();
    let rule = |deed: &Deed| rules.get(&deed.request.key.case);
    for deed in ci.deeds.iter().skip(from).filter(comes) {
        let jobs_in = |window: Option<Duration>, same: &dyn Fn(&Deed) -> bool| -> u64 {
            let since = window.map(|window| deed.sent_at.minus(window));
            ci.deeds
                .iter()
                .filter(comes)
                .filter(|other| same(other) && other.sent_at <= deed.sent_at)
                .filter(|other| since.is_none_or(|since| other.sent_at > since))
                .map(|other| u64::from(other.request.times))
                .sum()
        };
        let of_all = |_: &Deed| true;
        let of_platform = |other: &Deed| platform(other) == platform(deed);
        let of_rule = |other: &Deed| rule(other) == rule(deed);
        let of_label = |other: &Deed| other.request.label == deed.request.label;
        let of_push = |other: &Deed| other.request.push == deed.request.push;
        let budget = Some(u64::from(scenario.budget));
        type Same<'a> = &'a dyn Fn(&Deed) -> bool;
        let counted: [(&str, Option<u64>, Option<Duration>, Same<'_>); 8] = [
            ("in an hour", limits.jobs_per_hour, Some(HOUR), &of_all),
            ("in a day", limits.jobs_per_day, Some(DAY), &of_all),
            (
                "in a day in the project",
                limits.jobs_per_project_per_day,
                Some(DAY),
                &of_all,
            ),
            (
                "in a day of the rule",
                limits.jobs_per_rule_per_day,
                Some(DAY),
                &of_rule,
            ),
            (
                "in a day on the platform",
                limits.jobs_per_platform_per_day,
                Some(DAY),
                &of_platform,
            ),
            (
                "in a day of the label",
                limits.jobs_per_label_per_day,
                Some(DAY),
                &of_label,
            ),
            ("in a day of the platform's budget", budget, Some(DAY), &of_platform),
            ("on the push", limits.jobs_per_push, None, &of_push),
        ];
        for (what, limit, window, same) in counted {
            let Some(limit) = limit.filter(|_| is_timed || window.is_none()) else {
                continue;
            };
            let jobs = jobs_in(window, same);
            if jobs > limit {
                breaches.push(format!("{}: {jobs} jobs {what}, {limit} are allowed", deed.request.key));
            }
        }
        // However long a job is thought to take, or has taken: it is no less than the shortest run.
        let timed: [(&str, Option<u64>, Same<'_>); 3] = [
            ("in a day", limits.machine_hours_per_day, &of_all),
            ("in a day of the rule", limits.machine_hours_per_rule_per_day, &of_rule),
            (
                "in a day on the platform",
                limits.machine_hours_per_platform_per_day,
                &of_platform,
            ),
        ];
        for (what, hours, same) in timed {
            let Some(hours) = hours.filter(|_| is_timed) else {
                continue;
            };
            let jobs = jobs_in(Some(DAY), same);
            if SHORTEST_RUN.as_secs() * jobs > hours * HOUR.as_secs() {
                let key = deed.request.key;
                breaches.push(format!(
                    "{key}: {jobs} jobs {what} take more than the {hours} hours that are allowed"
                ));
            }
        }
    }
    breaches
}

fn platform_of(label: &str) -> &str {
    let label = label.strip_prefix("test-").unwrap_or(label);
    label.split('/').next().unwrap_or(label)
}

/// No more requests went out in any window than the rate allows.
pub(super) fn rate_holds(scenario: &Scenario, ci: &Ci, from: usize) -> Vec<String> {
    if scenario.chance(Fault::ClockJump) > 0.0 {
        return Vec::new();
    }
    let rate = scenario.limits.requests_per_second;
    let at_once = rate.floor().max(1.0);
    let mut breaches = Vec::new();
    for (index, end) in ci.sent.iter().enumerate().skip(from) {
        for (first, start) in ci.sent.iter().take(index + 1).enumerate() {
            let sent = (index - first + 1) as f64;
            let window = end.since(*start);
            if sent > at_once + rate * window.as_secs_f64() + 1e-6 {
                breaches.push(format!("{sent} requests went out within {window:?} at {rate} a second"));
            }
        }
    }
    breaches
}

/// Every case that was opened: by a run that sheriffd did not cause.
pub(super) fn opened_by_others(case: &CaseRow, ci: &Ci) -> Option<String> {
    let opened_by = case.opened_by.as_ref()?;
    let job = ci.world.jobs().iter().find(|job| job.task == opened_by.task)?;
    let key = ci.asked_for(job)?;
    Some(format!(
        "{} was opened by run {opened_by}, which is ours ({key})",
        case.id
    ))
}

/// All cases.
pub(super) fn cases(books: &mut Books<'_>) -> Result<Vec<CaseRow>, LedgerError> {
    books.cases(&CaseFilter {
        limit: CASES,
        ..CaseFilter::default()
    })
}

/// No case asks for more jobs than it may. Jobs that were given up because they did not come are not among them.
pub(super) fn case_limit_holds(books: &mut Books<'_>, case: &CaseRow, ci: &Ci) -> Result<Option<String>, LedgerError> {
    let has_given_up = books
        .actions_of(case.id)?
        .iter()
        .any(|action| action.state == ActionState::Overdue);
    let asked: u32 = ci
        .deeds
        .iter()
        .filter(|deed| deed.request.key.case == case.id)
        .map(|deed| deed.request.times)
        .sum();
    let allowed = case.params.max_jobs();
    Ok(
        (asked > allowed && !has_given_up)
            .then(|| format!("{} asked for {asked} jobs, {allowed} are allowed", case.id)),
    )
}

/// What has to be so once everything has come to rest.
pub(super) fn at_rest(books: &mut Books<'_>, scenario: &Scenario, ci: &Ci) -> Result<Vec<String>, LedgerError> {
    let mut breaches = Vec::new();
    for case in cases(books)? {
        if case.verdict.is_none() {
            breaches.push(format!("{} never ends: {}", case.id, case.why));
        }
        for action in books.case_requests(case.id.0)? {
            breaches.extend(settled(&action, scenario, ci));
            breaches.extend(paid(&action, scenario, ci));
        }
    }
    for job in ci.world.jobs() {
        let key = RunKey {
            backend: BackendName::from(NAME),
            task: job.task.clone(),
            run: 0,
        };
        let Some(row) = books.run(&key)? else {
            breaches.push(format!("run {key} of {} is not in the history", job.label));
            continue;
        };
        if row.state != job.state {
            breaches.push(format!(
                "run {key} is {:?} in the history, and {:?} in truth",
                row.state, job.state
            ));
        }
        let is_ours = ci.ours.contains(&job.parent);
        let wrong = match row.caused_by {
            CausedBy::Sheriffd => !is_ours,
            CausedBy::Push | CausedBy::Person => is_ours,
            // Where no receipt names the task that made it nobody knows whose it is.
            CausedBy::Unknown => is_ours && books.is_receipt(&job.parent)?,
        };
        if wrong {
            let whose = if is_ours { "ours" } else { "not ours" };
            breaches.push(format!(
                "run {key} of {} is {whose} ({:?}, scheduled after {:?}), and caused by {} in the books",
                job.label,
                ci.asked_for(job).map(|key| key.to_string()),
                job.scheduled.since(scenario.world.start),
                row.caused_by.as_str()
            ));
        }
    }
    let known = books.summary()?.runs;
    let jobs = ci.world.job_count() as u64;
    if known > jobs {
        breaches.push(format!("{known} runs are in the history of {jobs} jobs"));
    }
    Ok(breaches)
}

/// A request has come to its end, and its receipt is the one that the CI gave for it.
fn settled(action: &Value, scenario: &Scenario, ci: &Ci) -> Option<String> {
    let state = action["state"].as_str().unwrap_or_default();
    let request: crate::event::JobRequest = serde_json::from_value(action["request"].clone()).ok()?;
    let ends = ["accepted", "refused", "dropped", "overdue", "shadow"];
    let may_stay = state == "in-doubt" && !scenario.can_tell;
    if !ends.contains(&state) && !may_stay {
        return Some(format!("request {} is {state} for ever", request.key));
    }
    let receipt = action["receipt"].as_str()?;
    let given = ci.world.action_of(&request);
    (given.as_ref().map(TaskId::as_str) != Some(receipt))
        .then(|| format!("request {} has receipt {receipt}, the CI gave {given:?}", request.key))
}

/// Nothing is charged for ghosts, and no job of ours is free. Of a CI that names no tasks nobody knows whose they are. A
/// request is charged in full, whatever came, where nobody could tell what became of it until its case went on without it,
/// or where its case ended before its jobs were overdue.
fn paid(action: &Value, scenario: &Scenario, ci: &Ci) -> Option<String> {
    if !scenario.can_tell || !scenario.names_tasks {
        return None;
    }
    let request: crate::event::JobRequest = serde_json::from_value(action["request"].clone()).ok()?;
    let (state, reason) = (action["state"].as_str()?, action["reason"].as_str());
    let charged = action["charged"].as_u64()?;
    let made_by_it = |job: &&Job| ci.asked_for(job) == Some(request.key);
    let came = ci.world.jobs().iter().filter(made_by_it).count() as u64;
    let holds = match (state, reason) {
        ("accepted", _) | ("overdue", Some("in-doubt")) => charged == came.max(u64::from(request.times)),
        _ => charged == came,
    };
    (!holds).then(|| {
        let key = request.key;
        format!("request {key} ({state}, {reason:?}) is charged {charged} jobs in the end, and {came} came")
    })
}

/// The cases among these that are not in `known` yet.
pub(super) fn unknown<'a>(all: &'a [CaseRow], known: &BTreeMap<CaseId, String>) -> Vec<&'a CaseRow> {
    all.iter().filter(|case| !known.contains_key(&case.id)).collect()
}
