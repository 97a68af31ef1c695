//! Everything goes wrong around the daemon, by a seed; and after every step what has to hold is checked.
//!
//! In: a seed. Out: what was done, or the promise that was broken, with the shortest story of how. The engine, the store,
//! the pipeline and the dispatcher are the real ones, and so are messages and definitions; the bus, the CI, the clocks and
//! the disk are simulated, and fail: see [`Fault`]. Never: chance that does not follow from the seed; a seed that
//! fails fails again.
//!
//! What has to hold (docs/robustness.md): no request is done twice at the CI; nothing exceeds a limit, a budget or a
//! rate; no case is opened by a run of ours; what was acknowledged is durable; and once nothing goes wrong any more, every
//! case ends, every request comes to an end, and the history knows each job of the CI as it is in truth.

mod broker;
mod chance;
mod check;
mod ci;
mod disk;
mod many;
mod plan;
mod process;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;

pub use many::{Sum, tell_many};
pub use plan::{Fault, Scenario};

use crate::engine::Note;
use crate::engine::ledger::{CaseRow, LedgerError};
use crate::event::{CaseId, Delivery, Duration, Timestamp, VerdictKind};
use crate::rules::RuleSet;
use crate::sim::world::World;
use chance::{Chances, lock};
use ci::Ci;
use disk::Disk;
use process::{Daemon, Surroundings, Turn, Wall};

/// How long a process takes to come back: longer than a CI acts late, shorter than a lease.
const RESTART: Duration = Duration::from_secs(40);
/// The shortest and the longest pause between two turns in which nothing is to be done.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// The longest pause once nothing goes wrong any more: cases then only wait for limits and for their end.
const QUIET_PAUSE: Duration = Duration::from_secs(2 * 3600);
/// A case lives two weeks at most; whatever is not over by then is never over.
const AT_REST_WITHIN: Duration = Duration::from_secs(40 * 24 * 3600);
/// Turns of a story, at most.
const TURNS: usize = 60_000;
/// How far the wall clock jumps at most, in milliseconds.
const JUMPS: i64 = 3_600_000;
/// Messages of a storm.
const STORM: u64 = 100;
/// Simpler stories that are tried in the search for the shortest.
const SIMPLER: usize = 400;

/// How a story went.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was broken; empty when everything held.
    pub breaches: Vec<String>,
    /// How often each fault struck.
    pub struck: Vec<(&'static str, u64)>,
    /// Messages published by the CI.
    pub messages: u64,
    /// Cases that were opened.
    pub cases: u64,
    /// Requests that the CI did.
    pub requests: u64,
    /// Those of them that came with others in one call.
    pub together: u64,
    /// Processes that died.
    pub deaths: u64,
    /// Culprits that were named, and how many of them truly.
    pub culprits: (u64, u64),
    /// What happened, line by line.
    #[serde(skip)]
    pub story: Vec<String>,
}

/// Tells the story of a seed.
///
/// # Errors
/// The simulation itself could not be set up: no broken promise.
pub fn tell(seed: u64) -> Result<Outcome, LedgerError> {
    tell_scenario(&Scenario::of(seed))
}

/// Tells a story.
///
/// # Errors
/// As [`tell`].
pub fn tell_scenario(scenario: &Scenario) -> Result<Outcome, LedgerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| LedgerError::Broken(error.to_string()))?;
    runtime.block_on(async { Stage::set(scenario)?.play().await })
}

/// The shortest story found that still breaks something: what is not needed for it is left out, one thing after the
/// other.
///
/// # Errors
/// As [`tell`].
pub fn shortest(scenario: &Scenario) -> Result<(Scenario, Outcome), LedgerError> {
    let mut best = (scenario.clone(), tell_scenario(scenario)?);
    let mut tried = 0;
    'again: loop {
        for simpler in best.0.simpler() {
            tried += 1;
            if tried > SIMPLER {
                break 'again;
            }
            let outcome = tell_scenario(&simpler)?;
            if !outcome.breaches.is_empty() {
                best = (simpler, outcome);
                continue 'again;
            }
        }
        break;
    }
    Ok(best)
}

/// The rules of a story.
fn rules(scenario: &Scenario) -> Result<RuleSet, LedgerError> {
    let caused_by = if scenario.names_persons {
        "[push, person]"
    } else {
        "[push]"
    };
    let fill = match scenario.fills {
        true => format!(
            r#"
  - name: fill
    on: push.created
    match: {{ project: {project} }}
    open: {{ kind: fill, labels: ["test-*"], gap: 1, max_jobs: 12 }}
    budget: trouble
    mode: live
"#,
            project = plan::PROJECT
        ),
        false => String::new(),
    };
    let text = format!(
        r#"
version: 1
budgets:
  trouble: {{ per: platform, daily: {{ default: {budget} }} }}
rules:
  - name: find
    on: job.finished
    match: {{ outcome: failed, project: {project}, kind: test }}
    caused_by: {caused_by}
    when: history.passed_before(event)
    open: {{ kind: find-culprit, max_depth: 25, parallel: 4, max_jobs: 24 }}
    budget: trouble
    mode: live
  - name: hunt
    on: job.finished
    match: {{ outcome: failed, project: {project}, label: ["test-windows*"] }}
    caused_by: {caused_by}
    open: {{ kind: until-hit, rate: 0.2, max_jobs: 12 }}
    budget: trouble
    mode: live
{fill}"#,
        budget = scenario.budget,
        project = plan::PROJECT,
    );
    RuleSet::parse(&[("faults.yaml", &text)]).map_err(|error| LedgerError::Broken(error.to_string()))
}

/// The stage of one story.
struct Stage {
    around: Surroundings,
    daemons: Vec<Option<Daemon>>,
    restarts: Vec<Timestamp>,
    disk: Disk,
    /// The rule of each case.
    known_cases: BTreeMap<CaseId, String>,
    checked: (usize, usize),
    outcome: Outcome,
}

impl Stage {
    fn set(scenario: &Scenario) -> Result<Stage, LedgerError> {
        let start = scenario.world.start;
        let (disk, store) = if scenario.on_disk {
            Disk::file()?
        } else {
            Disk::memory()?
        };
        let around = Surroundings {
            scenario: scenario.clone(),
            rules: Arc::new(rules(scenario)?),
            store: Arc::new(Mutex::new(store)),
            broker: Arc::default(),
            ci: Arc::new(Mutex::new(Ci::new(World::new(scenario.world.clone()), start))),
            wall: Arc::new(Mutex::new(Wall { now: start, offset: 0 })),
            chances: Arc::new(Chances::of(scenario)),
        };
        let daemons = (0..scenario.daemons)
            .map(|number| Some(Daemon::start(number, &around)))
            .collect();
        Ok(Stage {
            around,
            daemons,
            restarts: vec![start; scenario.daemons],
            disk,
            known_cases: BTreeMap::new(),
            checked: (0, 0),
            outcome: Outcome {
                seed: scenario.seed,
                ..Outcome::default()
            },
        })
    }

    async fn play(mut self) -> Result<Outcome, LedgerError> {
        let healed_at = self.around.scenario.healed_at();
        let end = self.around.scenario.world.start.plus(AT_REST_WITHIN);
        let mut pause = PAUSE.0;
        let mut turns = 0;
        let mut is_at_rest = false;
        while self.outcome.breaches.is_empty() {
            turns += 1;
            let is_busy = self.turn().await?;
            let longest = if self.around.chances.is_healed() {
                QUIET_PAUSE
            } else {
                PAUSE.1
            };
            pause = if is_busy { PAUSE.0 } else { (pause * 2).min(longest) };
            let Some(next) = self.next(pause)? else {
                is_at_rest = true;
                break;
            };
            if next > end || turns > TURNS {
                break;
            }
            if next >= healed_at {
                self.around.chances.heal();
            }
            self.advance(next);
        }
        if self.outcome.breaches.is_empty() {
            if !is_at_rest {
                let what = format!("after {turns} turns it still is not at rest");
                self.outcome.breaches.push(what);
            }
            let ci = lock(&self.around.ci);
            let scenario = &self.around.scenario;
            let mut breaches = check::look(&self.around.store, |books| check::at_rest(books, scenario, &ci))?;
            drop(ci);
            self.outcome.breaches.append(&mut breaches);
        }
        self.sum_up()
    }

    /// Every daemon does what it can at this moment.
    async fn turn(&mut self) -> Result<bool, LedgerError> {
        let now = lock(&self.around.wall).now;
        for (number, daemon) in self.daemons.iter_mut().enumerate() {
            if daemon.is_none() && self.restarts.get(number).is_none_or(|at| *at <= now) {
                *daemon = Some(Daemon::start(number, &self.around));
                self.outcome
                    .story
                    .push(line(&self.around, &format!("daemon {number} is back")));
            }
        }
        let mut running = self.daemons.iter().flatten();
        let turns = match (running.next(), running.next()) {
            (Some(first), None) => vec![(first.number, first.turn(&self.around).await)],
            (Some(first), Some(second)) => {
                let (one, other) = tokio::join!(first.turn(&self.around), second.turn(&self.around));
                vec![(first.number, one), (second.number, other)]
            }
            _ => Vec::new(),
        };
        let mut is_busy = false;
        let mut has_cases = false;
        for (number, turn) in turns {
            is_busy |= turn.is_busy;
            // A process that dies tells nobody what it has opened.
            has_cases |= turn.died || turn.notes.iter().any(|note| matches!(note, Note::Opened(_)));
            self.after(number, turn, now)?;
        }
        self.check(has_cases)?;
        Ok(is_busy)
    }

    /// Takes note of what a turn brought.
    fn after(&mut self, number: usize, turn: Turn, now: Timestamp) -> Result<(), LedgerError> {
        let told = std::mem::take(&mut lock(&self.around.ci).told);
        for text in told {
            self.outcome.story.push(line(&self.around, &text));
        }
        for note in &turn.notes {
            if let Some(text) = told_note(note) {
                self.outcome.story.push(line(&self.around, &text));
            }
        }
        if let Some(daemon) = self.daemons.get(number).and_then(Option::as_ref)
            && !turn.acked.is_empty()
        {
            let reading = daemon.read(&turn.acked);
            let ci = lock(&self.around.ci);
            let mut breaches = check::look(&self.around.store, |books| {
                check::acknowledged_is_durable(books, &ci, reading.events())
            })?;
            self.outcome.breaches.append(&mut breaches);
        }
        match turn.failed {
            Some(LedgerError::Busy(_)) => {
                // What was taken and not committed is given out again.
                lock(&self.around.broker).disconnect(number);
            }
            Some(error) => self.outcome.breaches.push(format!("daemon {number}: {error}")),
            None => {}
        }
        if turn.died {
            self.outcome.deaths += 1;
            if let Some(daemon) = self.daemons.get_mut(number) {
                *daemon = None;
            }
            if let Some(restart) = self.restarts.get_mut(number) {
                *restart = now.plus(RESTART);
            }
            // With another process at it the file stays open; what the dead one did not commit is rolled back for both.
            if self.around.scenario.daemons == 1 {
                self.disk.survives(&self.around.store, &self.around.chances)?;
            } else {
                lock(&self.around.store).forget_names();
            }
            let again = lock(&self.around.broker).disconnect(number);
            let text = format!("daemon {number} dies; {again} messages come again");
            self.outcome.story.push(line(&self.around, &text));
        }
        Ok(())
    }

    /// Checks what has to hold after every step.
    fn check(&mut self, has_cases: bool) -> Result<(), LedgerError> {
        let mut ci = lock(&self.around.ci);
        let mut breaches = std::mem::take(&mut ci.breaches);
        let scenario = &self.around.scenario;
        let is_news = self.checked != (ci.deeds.len(), ci.sent.len());
        if is_news || has_cases {
            let known = &mut self.known_cases;
            check::look(&self.around.store, |books| {
                let all = check::cases(books)?;
                for case in check::unknown(&all, known) {
                    breaches.extend(check::opened_by_others(case, &ci));
                }
                known.extend(all.iter().map(|case| (case.id, case.cause.rule_name().to_owned())));
                if is_news {
                    for case in &all {
                        breaches.extend(check::case_limit_holds(books, case, &ci)?);
                    }
                }
                Ok(())
            })?;
        }
        breaches.extend(check::limits_hold(scenario, &ci, &self.known_cases, self.checked.0));
        breaches.extend(check::rate_holds(scenario, &ci, self.checked.1));
        self.checked = (ci.deeds.len(), ci.sent.len());
        drop(ci);
        self.outcome.breaches.append(&mut breaches);
        Ok(())
    }

    /// When the next thing happens; `None` when nothing does any more.
    fn next(&self, pause: Duration) -> Result<Option<Timestamp>, LedgerError> {
        let wall = lock(&self.around.wall);
        let (now, shown) = (wall.now, wall.shows());
        drop(wall);
        let soon = now.plus(pause);
        let due = check::look(&self.around.store, |books| books.next_due())?;
        // A daemon's clock may be behind the wall clock or before it: what is due is looked at again, then.
        let clock = self.daemons.iter().flatten().map(|daemon| daemon.clock.now()).max();
        let due = due.map(|due| now.plus(due.since(clock.unwrap_or(shown))).max(soon));
        let broker = lock(&self.around.broker);
        let waiting = broker.is_waiting().then_some(soon);
        let late = broker.next_at();
        drop(broker);
        let restart = self
            .daemons
            .iter()
            .zip(&self.restarts)
            .filter(|(daemon, _)| daemon.is_none())
            .map(|(_, at)| *at)
            .min();
        let happens = lock(&self.around.ci).next_at();
        Ok([due, waiting, late, restart, happens].into_iter().flatten().min())
    }

    /// Lets time pass.
    fn advance(&mut self, next: Timestamp) {
        let chances = Arc::clone(&self.around.chances);
        let now = next.max(lock(&self.around.wall).now);
        lock(&self.around.wall).now = now;
        if chances.strikes(Fault::ClockJump) {
            let by = chances.below(Fault::ClockJump, 2 * JUMPS as usize) as i64 - JUMPS;
            lock(&self.around.wall).offset = by;
            let text = format!("the wall clock is wrong by {} s", by / 1000);
            self.outcome.story.push(line(&self.around, &text));
        }
        let mut ci = lock(&self.around.ci);
        if chances.strikes(Fault::Person) {
            let jobs = ci.world.job_count();
            ci.world.retrigger(chances.below(Fault::Person, jobs), now);
        }
        let mut messages = ci.advance(now, &chances);
        drop(ci);
        if chances.strikes(Fault::Storm) {
            let number = chances.below(Fault::Storm, 1_000_000);
            messages.extend((0..STORM).map(|place| exception(number, place, now)));
        }
        self.outcome.messages += messages.len() as u64;
        let mut broker = lock(&self.around.broker);
        broker.advance(now, &chances);
        for message in messages {
            broker.publish(message, now, &chances);
        }
    }

    fn sum_up(mut self) -> Result<Outcome, LedgerError> {
        let cases = check::look(&self.around.store, check::cases)?;
        let ci = lock(&self.around.ci);
        self.outcome.cases = cases.len() as u64;
        self.outcome.requests = ci.deeds.len() as u64;
        self.outcome.together = ci.done_together();
        for case in &cases {
            let Some(is_true) = names_truly(case, &self.around.scenario) else {
                continue;
            };
            self.outcome.culprits.0 += 1;
            self.outcome.culprits.1 += u64::from(is_true);
        }
        let struck = self.around.chances.struck().into_iter();
        self.outcome.struck = struck.map(|(fault, count)| (fault.as_str(), count)).collect();
        drop(ci);
        Ok(self.outcome)
    }
}

/// Whether a verdict that names pushes names the right one; `None` where it names none.
fn names_truly(case: &CaseRow, scenario: &Scenario) -> Option<bool> {
    let verdict = case.verdict.as_ref()?;
    if verdict.kind != VerdictKind::Culprit {
        return None;
    }
    let defect = scenario.world.defects.iter().find(|defect| defect.label == case.label);
    Some(defect.is_some_and(|defect| verdict.pushes.iter().any(|named| named.push == defect.from)))
}

/// A line of the story, with its time.
fn line(around: &Surroundings, text: &str) -> String {
    let seconds = lock(&around.wall).now.since(around.scenario.world.start).as_secs();
    format!(
        "{:4}:{:02}:{:02}  {text}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn told_note(note: &Note) -> Option<String> {
    match note {
        Note::Opened(case) => Some(format!(
            "{} opened: {} about {}",
            case.id,
            case.params.kind(),
            case.subject
        )),
        Note::Asked(case, requests) => {
            let keys: Vec<String> = requests.iter().map(|request| request.key.to_string()).collect();
            Some(format!("{} asks for {}: {}", case.id, keys.join(", "), case.why))
        }
        Note::Closed(case) => {
            let verdict = case.verdict.as_ref().map_or("", |verdict| verdict.kind.as_str());
            Some(format!("{} {verdict}: {}", case.id, case.why))
        }
        _ => None,
    }
}

/// The message of a task that nobody else knows.
fn exception(storm: usize, place: u64, now: Timestamp) -> Delivery {
    let body = serde_json::json!({
        "version": 1, "runId": 0,
        "status": {
            "taskId": format!("storm-{storm}-{place}"), "taskGroupId": format!("storm-{storm}"), "state": "exception",
            "runs": [{ "runId": 0, "state": "exception", "reasonResolved": "worker-shutdown",
                "scheduled": now.to_string(), "resolved": now.to_string() }],
        },
    });
    Delivery {
        exchange: "exchange/taskcluster-queue/v1/task-exception".into(),
        routing_key: "primary".into(),
        cc: Vec::new(),
        redelivered: false,
        body: bytes::Bytes::from(body.to_string()),
        tag: 0,
    }
}
