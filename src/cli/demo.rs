//! `sheriffd demo`: the daemon against a simulated CI. No broker, no database, no account.
//!
//! It is the real pipeline; only the bus, the CI and the clock are simulated, behind the same borders as the real ones.
//! Simulated time stands still while the daemon works, so the same seed always tells the same story.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use clap::Args;

use super::CliError;
use super::common::count;
use crate::bus::{Batch, Bus};
use crate::clock::Clock;
use crate::daemon::pipeline::Pipeline;
use crate::engine::Note;
use crate::engine::ledger::{CaseRow, DecisionResult};
use crate::engine::settings::{EngineSettings, globs};
use crate::event::{CaseKind, Duration, JobRequest, Label, Outcome, PushId, Reason, Timestamp, VerdictKind};
use crate::rules::{EventKind, RuleSet};
use crate::sim::{Defect, Meter, NewTest, Plan, SimCi, SimEvent};
use crate::store::Handle;
use crate::store::sqlite::SqliteStore;
use crate::web::{Readiness, RulesShown, WebState};

const RULES: &str = include_str!("demo_rules.yaml");
/// Messages applied together; the simulated CI never has more at one moment.
const BATCH: usize = 500;

/// Arguments of `sheriffd demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many pushes land (4 to 10000)
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(4..=10_000))]
    pushes: u64,
    /// What is left to chance: the same seed tells the same story
    #[arg(long, default_value_t = 8)]
    seed: u64,
    /// Simulated seconds in a real second; 0: as fast as the machine can
    #[arg(long, default_value_t = 1500.0)]
    speed: f64,
    /// Leave the page up at the end, until Ctrl-C
    #[arg(long)]
    keep_running: bool,
    /// Where the page and the metrics are served; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

const LABELS: [&str; 11] = [
    "test-linux2404-64/opt-mochitest-browser-chrome",
    "test-linux2404-64/debug-xpcshell",
    "test-linux2404-64/opt-web-platform-tests",
    "test-windows11-64/opt-mochitest-plain",
    "test-windows11-64/debug-reftest",
    "test-macosx1470-64/opt-mochitest-media",
    "test-macosx1470-64/debug-crashtest",
    "test-android-em-14/opt-geckoview-junit",
    "test-android-em-14/opt-xpcshell",
    "test-macosx1470-64/opt-xpcshell",
    "test-linux2404-64/opt-talos-tp5o",
];
/// The label that breaks for good.
const BROKEN: &str = LABELS[0];
/// The label that begins to fail now and then.
const INTERMITTENT: &str = LABELS[3];
/// The labels that run the new test; on the last of them it is flaky.
const RUN_NEW_TEST: [&str; 3] = [LABELS[1], LABELS[8], LABELS[9]];
/// The label that measures something, and its suite.
const MEASURES: (&str, &str) = (LABELS[10], "tp5o");

fn plan(args: &DemoArgs) -> Plan {
    Plan {
        project: "demo".into(),
        start: Timestamp::parse("2026-06-01T08:00:00Z").unwrap_or_default(),
        pushes: args.pushes,
        between: Duration::from_secs(20 * 60),
        labels: LABELS.into_iter().map(Label::from).collect(),
        skipped: 0.6,
        background: 0.002,
        infra: 0.02,
        defects: vec![
            Defect {
                label: Label::from(BROKEN),
                from: PushId((args.pushes * 2 / 5).max(3)),
                rate: 1.0,
            },
            Defect {
                label: Label::from(INTERMITTENT),
                from: PushId((args.pushes / 3).max(2)),
                rate: 0.35,
            },
        ],
        meters: vec![Meter {
            label: Label::from(MEASURES.0),
            suite: MEASURES.1.to_owned(),
            level: 250.0,
            noise: 0.01,
            steps: vec![(PushId((args.pushes / 2).max(3)), 1.06)],
        }],
        uplifts: Vec::new(),
        seed: args.seed,
    }
}

/// A push adds a test, which fails now and then on one platform.
fn new_test(args: &DemoArgs) -> NewTest {
    let rate = |label: &str| if label == RUN_NEW_TEST[2] { 0.3 } else { 0.0 };
    NewTest {
        path: "toolkit/new/test_new.js".to_owned(),
        group: "toolkit/new/xpcshell.toml".to_owned(),
        push: PushId((args.pushes * 4 / 5).max(2)),
        rates: RUN_NEW_TEST
            .iter()
            .map(|label| (Label::from(*label), rate(label)))
            .collect(),
    }
}

/// Runs the demo and tells its story.
///
/// # Errors
/// The page's address is taken, or the terminal is gone.
pub async fn run(args: &DemoArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let plan = plan(args);
    let test = new_test(args);
    let ci = SimCi::with_tests_and_detector(plan.clone(), vec![test.clone()]);
    let rules = Arc::new(RuleSet::parse(&[("demo_rules.yaml", RULES)]).map_err(|e| CliError::config(e.to_string()))?);
    let store = Handle::start(SqliteStore::in_memory()?)?;
    let clock: Arc<dyn Clock> = ci.clock();
    let facts = Arc::new(ci.facts());
    let settings = EngineSettings {
        read_failures: true,
        has_pushlog: true,
        has_graphs: true,
        measured: globs([MEASURES.0]).map_err(|error| CliError::config(error.to_string()))?,
        ..EngineSettings::default()
    };
    let pipeline = ci.daemon(&rules, store.clone(), facts, settings);
    let address = serve(args.listen, store, &rules, Arc::clone(&clock)).await?;
    let mut story = Story::new(out, &plan, &test);
    story.begin(address, args.seed)?;
    play(&ci, &pipeline, args.speed, &mut story).await?;
    story.end(&ci, address)?;
    if args.keep_running {
        writeln!(story.out, "\nThe page stays up at http://{address}/ until Ctrl-C.")?;
        tokio::signal::ctrl_c().await?;
    }
    Ok(())
}

async fn serve(
    listen: SocketAddr,
    store: Handle,
    rules: &RuleSet,
    clock: Arc<dyn Clock>,
) -> Result<SocketAddr, CliError> {
    let readiness = Arc::new(Readiness::default());
    readiness.all_there();
    let state = WebState {
        reload: None,
        token: None,
        engine: None,
        store,
        metrics: crate::telemetry::install_metrics().map_err(|error| CliError::unavailable(error.to_string()))?,
        readiness,
        clock,
        rules: Arc::new(RwLock::new(RulesShown::of(rules))),
    };
    crate::web::serve(listen, state)
        .await
        .map_err(|error| CliError::unavailable(error.to_string()))
}

async fn play(ci: &SimCi, pipeline: &Pipeline, speed: f64, story: &mut Story<'_>) -> Result<(), CliError> {
    let mut bus = ci.bus();
    let clock = ci.clock();
    while let Some(next) = ci.next_at() {
        if speed > 0.0 {
            let ahead = next.since(clock.now()).as_secs_f64() / speed;
            tokio::time::sleep(Duration::from_secs_f64(ahead)).await;
        } else {
            // Lets the page answer meanwhile.
            tokio::task::yield_now().await;
        }
        if let Some((at, event)) = ci.step() {
            story.ci(at, &event)?;
        }
        let mut notes = Vec::new();
        while let Batch::Deliveries(deliveries) = bus.next(BATCH, Duration::ZERO, Duration::ZERO).await? {
            let mut taken = pipeline.take(&deliveries).await?;
            crate::daemon::observe_taken(&taken, clock.now());
            notes.append(&mut taken.notes);
            if let Some(last) = deliveries.last() {
                bus.ack(last.tag).await?;
            }
        }
        for round in pipeline.settle(&mut notes).await? {
            crate::daemon::observe_round(&round, ci.name());
        }
        crate::daemon::observe_notes(&notes);
        for note in &notes {
            story.note(clock.now(), note)?;
        }
    }
    Ok(())
}

/// Tells what happens, line by line, and remembers what the end needs.
struct Story<'a> {
    out: &'a mut dyn Write,
    plan: &'a Plan,
    test: &'a NewTest,
    oranges: u64,
    alerts: u64,
    silent: BTreeMap<Reason, u64>,
    closed: Vec<CaseRow>,
    opened: u64,
}

impl<'a> Story<'a> {
    fn new(out: &'a mut dyn Write, plan: &'a Plan, test: &'a NewTest) -> Story<'a> {
        Story {
            out,
            plan,
            test,
            oranges: 0,
            alerts: 0,
            silent: BTreeMap::new(),
            closed: Vec::new(),
            opened: 0,
        }
    }

    fn begin(&mut self, address: SocketAddr, seed: u64) -> std::io::Result<()> {
        let plan = self.plan;
        writeln!(
            self.out,
            "A simulated CI: {} pushes, {} test jobs, of which it skips {:.0} % on each push. Seed {seed}.",
            plan.pushes,
            plan.labels.len(),
            plan.skipped * 100.0
        )?;
        for defect in &plan.defects {
            let how = if defect.rate >= 1.0 {
                "breaks for good".to_owned()
            } else {
                format!("begins to fail {:.0} % of the time", defect.rate * 100.0)
            };
            writeln!(
                self.out,
                "What nobody knows yet: {} {how} with push {}.",
                defect.label, defect.from
            )?;
        }
        for meter in &plan.meters {
            for (from, factor) in &meter.steps {
                let more = (factor - 1.0) * 100.0;
                let (suite, label) = (&meter.suite, &meter.label);
                writeln!(
                    self.out,
                    "What nobody knows yet: {suite} of {label} takes {more:.0} % longer from push {from} on."
                )?;
            }
        }
        for (label, rate) in self.test.rates.iter().filter(|(_, rate)| *rate > 0.0) {
            let (path, push, often) = (&self.test.path, self.test.push, rate * 100.0);
            writeln!(
                self.out,
                "What nobody knows yet: {path}, which push {push} adds, fails {often:.0} % of the time in {label}."
            )?;
        }
        writeln!(
            self.out,
            "Page: http://{address}/   metrics: http://{address}/metrics\n"
        )?;
        self.out.flush()
    }

    fn line(&mut self, at: Timestamp, who: &str, what: &str) -> std::io::Result<()> {
        let minutes = at.since(self.plan.start).as_secs() / 60;
        writeln!(self.out, "{:3}:{:02}  {who:<9} {what}", minutes / 60, minutes % 60)?;
        self.out.flush()
    }

    fn ci(&mut self, at: Timestamp, event: &SimEvent) -> std::io::Result<()> {
        match event {
            SimEvent::Landed {
                push,
                scheduled,
                skipped,
            } => {
                let revision = push.revision.as_str().get(..12).unwrap_or_default();
                let text = format!(
                    "push {} {revision} landed: {scheduled} jobs scheduled, {skipped} skipped",
                    push.id
                );
                self.line(at, "tree", &text)
            }
            SimEvent::Ended {
                label,
                push,
                outcome: Outcome::Failed,
                requested,
            } => {
                if !requested {
                    self.oranges += 1;
                }
                let whose = if *requested { " (a run we asked for)" } else { "" };
                self.line(at, "orange", &format!("{label} on push {push}{whose}"))
            }
            SimEvent::Alerted(alert) => {
                self.alerts += 1;
                let more = (alert.new / alert.old - 1.0) * 100.0;
                let (suite, push, previous) = (&alert.suite, alert.push, alert.previous);
                let text = format!("{suite} takes {more:.0} % longer on push {push} than on push {previous}");
                self.line(at, "alert", &text)
            }
            SimEvent::Ended { .. } | SimEvent::Made { .. } | SimEvent::Started => Ok(()),
        }
    }

    fn note(&mut self, at: Timestamp, note: &Note) -> std::io::Result<()> {
        match note {
            Note::Opened(case) => {
                self.opened += 1;
                self.line(
                    at,
                    "opened",
                    &format!("{} {} about {}", case.id, case.params.kind(), about(case)),
                )
            }
            Note::Asked(case, requests) => self.line(
                at,
                "asked",
                &format!("{} {}: {}", case.id, asked(case, requests), case.why),
            ),
            Note::Established(case, levels) => levels
                .iter()
                .try_for_each(|level| self.line(at, "baseline", &format!("{}: {level}", case.id))),
            Note::Closed(case) => {
                self.closed.push((**case).clone());
                let verdict = case.verdict.as_ref().map_or("", |verdict| verdict.kind.as_str());
                self.line(at, "verdict", &format!("{} {verdict}: {}", case.id, case.why))
            }
            Note::Decided(decision) => match decision.result {
                DecisionResult::Opened => Ok(()),
                // Of the pushes, nearly all add no test: that is no news.
                DecisionResult::No(_) if decision.on == EventKind::PushCreated.as_str() => Ok(()),
                DecisionResult::No(reason) => {
                    *self.silent.entry(reason).or_default() += 1;
                    Ok(())
                }
            },
            Note::HeldBack(_, reason) => {
                *self.silent.entry(*reason).or_default() += 1;
                Ok(())
            }
            Note::Discarded(_) | Note::Waits(_) => Ok(()),
        }
    }

    /// Whether a verdict says what is true in the simulated world. `None` where it claims nothing.
    fn is_right(&self, case: &CaseRow) -> Option<bool> {
        let verdict = case.verdict.as_ref()?;
        let cause = self.cause(case);
        match verdict.kind {
            VerdictKind::Culprit => {
                Some(cause.is_some_and(|cause| verdict.pushes.iter().any(|named| named.push == cause)))
            }
            VerdictKind::NoCulprit | VerdictKind::NoChange => Some(cause.is_none_or(|cause| cause > case.push)),
            VerdictKind::Stable => Some(self.test.rates.iter().all(|(_, rate)| *rate == 0.0)),
            VerdictKind::Flaky => Some(self.test.rates.iter().any(|(_, rate)| (0.05..=0.5).contains(rate))),
            VerdictKind::Broken => Some(self.test.rates.iter().any(|(_, rate)| *rate > 0.5)),
            _ => None,
        }
    }

    /// The push that is behind what a search is about, if any is.
    fn cause(&self, case: &CaseRow) -> Option<PushId> {
        if case.params.kind() == CaseKind::FindPerfCulprit {
            let meter = self.plan.meters.iter().find(|meter| meter.label == case.label)?;
            return meter.steps.first().map(|(from, _)| *from);
        }
        if case.subject.signature.is_some() {
            return Some(self.test.push);
        }
        let defect = self.plan.defects.iter().find(|defect| defect.label == case.label);
        defect.map(|defect| defect.from)
    }

    fn end(&mut self, ci: &SimCi, address: SocketAddr) -> std::io::Result<()> {
        let (asked, all) = ci.jobs();
        writeln!(self.out, "\nSummary")?;
        writeln!(
            self.out,
            "  {} pushes, {} jobs by the CI's own scheduling, {asked} asked for by sheriffd.",
            self.plan.pushes,
            all as u64 - asked
        )?;
        writeln!(
            self.out,
            "  {}, {} and {} opened {}; the others opened none, because:",
            count(self.oranges, "orange"),
            count(self.alerts, "performance alert"),
            count(u64::from(self.test.push.0 <= self.plan.pushes), "new test"),
            count(self.opened, "case")
        )?;
        let silent: Vec<(Reason, u64)> = self.silent.iter().map(|(reason, count)| (*reason, *count)).collect();
        for (reason, count) in silent {
            writeln!(self.out, "    {count:5}  {reason}: {}", reason.sentence())?;
        }
        let closed = std::mem::take(&mut self.closed);
        for case in &closed {
            let Some(verdict) = &case.verdict else { continue };
            let truth = match self.is_right(case) {
                Some(true) => "  [true]",
                Some(false) => "  [WRONG]",
                None => "",
            };
            writeln!(
                self.out,
                "  {} {} {}: {} - {}{truth}",
                case.id,
                case.params.kind(),
                about(case),
                verdict.kind,
                verdict.why
            )?;
        }
        writeln!(
            self.out,
            "\nNext, for a CI of your own:
  1. sheriffd doctor --config sheriffd.toml     says what would not work before it does not
  2. sheriffd replay FILE --rules rules/        shows what the rules would have done on recorded messages
  3. sheriffd run --config sheriffd.toml        watches and decides; asks for nothing until you say `mode: live`
  docs/guide.md leads through them. The page was at http://{address}/ (--keep-running leaves it up)."
        )?;
        self.out.flush()
    }
}

/// What a case is about, without the tree.
fn about(case: &CaseRow) -> String {
    let subject = &case.subject;
    match (&subject.signature, &subject.series) {
        (Some(signature), _) if case.params.kind() == CaseKind::Validate => signature.to_string(),
        (Some(signature), _) => format!("{signature} in {}", subject.label),
        (None, Some(series)) => format!("{series} of {}", subject.label),
        (None, None) => subject.label.to_string(),
    }
}

/// `push 12, push 13 x3`; with the labels where the case is about several.
fn asked(case: &CaseRow, requests: &[JobRequest]) -> String {
    let one = |request: &JobRequest| {
        let place = match case.targets.is_empty() {
            true => format!("push {}", request.push),
            false => format!("{} on push {}", request.label, request.push),
        };
        match request.times {
            1 => place,
            times => format!("{place} x{times}"),
        }
    };
    requests.iter().map(one).collect::<Vec<_>>().join(", ")
}
