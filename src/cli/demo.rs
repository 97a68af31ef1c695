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
use crate::bus::{Batch, Bus};
use crate::clock::Clock;
use crate::daemon::pipeline::Pipeline;
use crate::engine::Note;
use crate::engine::ledger::{CaseRow, DecisionResult};
use crate::engine::settings::EngineSettings;
use crate::event::{CaseKind, Duration, JobRequest, Label, Outcome, PushId, Reason, Timestamp, VerdictKind};
use crate::rules::RuleSet;
use crate::sim::{Defect, Plan, SimCi, SimEvent};
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
    #[arg(long, default_value_t = 10)]
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

const LABELS: [&str; 8] = [
    "test-linux2404-64/opt-mochitest-browser-chrome",
    "test-linux2404-64/debug-xpcshell",
    "test-linux2404-64/opt-web-platform-tests",
    "test-windows11-64/opt-mochitest-plain",
    "test-windows11-64/debug-reftest",
    "test-macosx1470-64/opt-mochitest-media",
    "test-macosx1470-64/debug-crashtest",
    "test-android-em-14/opt-geckoview-junit",
];
/// The label that breaks for good.
const BROKEN: &str = LABELS[0];
/// The label that begins to fail now and then.
const INTERMITTENT: &str = LABELS[3];

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
        meters: Vec::new(),
        uplifts: Vec::new(),
        seed: args.seed,
    }
}

/// Runs the demo and tells its story.
///
/// # Errors
/// The page's address is taken, or the terminal is gone.
pub async fn run(args: &DemoArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let plan = plan(args);
    let ci = SimCi::new(plan.clone());
    let rules = Arc::new(RuleSet::parse(&[("demo_rules.yaml", RULES)]).map_err(|e| CliError::config(e.to_string()))?);
    let store = Handle::start(SqliteStore::in_memory()?)?;
    let clock: Arc<dyn Clock> = ci.clock();
    let facts = Arc::new(ci.facts());
    let pipeline = ci.daemon(&rules, store.clone(), facts, EngineSettings::default());
    let address = serve(args.listen, store, &rules, Arc::clone(&clock)).await?;
    let mut story = Story::new(out, &plan);
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
    oranges: u64,
    silent: BTreeMap<Reason, u64>,
    closed: Vec<CaseRow>,
    opened: u64,
}

impl<'a> Story<'a> {
    fn new(out: &'a mut dyn Write, plan: &'a Plan) -> Story<'a> {
        Story {
            out,
            plan,
            oranges: 0,
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
                    &format!("{} {} about {}", case.id, case.params.kind(), case.subject.label),
                )
            }
            Note::Asked(case, requests) => {
                self.line(at, "asked", &format!("{} {}: {}", case.id, asked(requests), case.why))
            }
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
        let defect = self.plan.defects.iter().find(|defect| defect.label == case.label);
        match verdict.kind {
            VerdictKind::Culprit => {
                Some(defect.is_some_and(|defect| verdict.pushes.iter().any(|named| named.push == defect.from)))
            }
            VerdictKind::NoCulprit if case.params.kind() == CaseKind::FindCulprit => {
                Some(defect.is_none_or(|defect| defect.from > case.push))
            }
            _ => None,
        }
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
            "  {} oranges opened {} cases; the others opened none, because:",
            self.oranges, self.opened
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
                case.subject.label,
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

/// `push 12, push 13 x3`.
fn asked(requests: &[JobRequest]) -> String {
    let one = |request: &JobRequest| match request.times {
        1 => format!("push {}", request.push),
        times => format!("push {} x{times}", request.push),
    };
    requests.iter().map(one).collect::<Vec<_>>().join(", ")
}
