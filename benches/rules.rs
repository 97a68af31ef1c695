//! What an event costs in the rules: 10 rules against 10,000 on the same stream, and one condition of 8 clauses.
//!
//! `cargo bench --bench rules`. Marks: ratio at most 1.5, a condition at most 1 µs.

use std::hint::black_box;
use std::time::Instant;

use sheriffd::engine::ledger::{Decision, LedgerError, Memory as _};
use sheriffd::event::{
    CausedBy, Chunk, Duration, Event, JobEvent, JobFacts, Label, Outcome, Project, PushId, Reason, RunKey, RunState,
    Timestamp,
};
use sheriffd::rules::{Bug, Estimate, Facts, Matched, RuleIndex, RuleSet, Tracing};
use sheriffd::store::sqlite::{Books, SqliteStore};

const PLATFORMS: [&str; 5] = [
    "linux1804-64-qr",
    "windows11-64-2009-qr",
    "macosx1015-64-qr",
    "android-hw-p5",
    "linux2204-64-wayland",
];
const SUITES: [&str; 6] = [
    "mochitest-browser-chrome",
    "mochitest-plain",
    "xpcshell",
    "web-platform-tests",
    "reftest",
    "crashtest",
];
const PROJECTS: [&str; 4] = ["autoland", "mozilla-central", "try", "mozilla-beta"];
const EVENTS: u64 = 20_000;

/// A rule of a kind that people write; `n` makes it unlike the others.
fn rule(n: usize) -> String {
    let (platform, suite) = (PLATFORMS[n % PLATFORMS.len()], SUITES[n % SUITES.len()]);
    let project = PROJECTS[n % PROJECTS.len()];
    let fields = match n % 5 {
        0 => format!("project: {project}, label: test-{platform}/opt-{suite}-{}", n + 1),
        1 => format!("project: {project}, label: \"test-{platform}/debug-{suite}-{n}*\""),
        2 => format!("label: \"*-{suite}-variant{n}-?\", tier: [1, 2]"),
        3 => format!("label: \"*/asan-{n}-*\", project: {{ not: [try] }}"),
        _ => format!("push: \"{}..{}\", tier: \"<= 2\"", n * 10, n * 10 + 5),
    };
    format!(
        "  - name: rule-{n}\n    on: job.finished\n    match: {{ outcome: failed, {fields} }}\n    open: {{ kind: \
        find-culprit, max_jobs: 10 }}\n"
    )
}

fn rules(count: usize) -> RuleSet {
    let text: String = (0..count).map(rule).collect();
    let text = format!("version: 1\nrules:\n{text}");
    let begin = Instant::now();
    let set = RuleSet::parse(&[("bench.yaml", &text)]).unwrap_or_else(|errors| panic!("{errors}"));
    println!(
        "{count:>6} rules loaded in {:.1} ms",
        begin.elapsed().as_secs_f64() * 1e3
    );
    set
}

fn job(n: u64) -> Event {
    let at = n as usize;
    let (platform, suite) = (PLATFORMS[at % PLATFORMS.len()], SUITES[at % SUITES.len()]);
    let option = ["opt", "debug", "asan"][at % 3];
    let chunk = u32::try_from(n % 16).unwrap_or_default() + 1;
    let outcome = if n.is_multiple_of(4) {
        Outcome::Failed
    } else {
        Outcome::Passed
    };
    Event::Job(Box::new(JobEvent {
        run: RunKey {
            backend: "firefox-ci".into(),
            task: "aTaskIdOfTwentyTwoChar".into(),
            run: 0,
        },
        group: None,
        state: RunState::Finished(outcome),
        reason: None,
        latest: true,
        at: Timestamp(1_780_000_000_000),
        scheduled: None,
        started: Some(Timestamp(1_779_999_000_000)),
        resolved: Some(Timestamp(1_780_000_000_000)),
        worker: None,
        pool: None,
        facts: JobFacts {
            project: Some(Project::from(PROJECTS[at % PROJECTS.len()])),
            push: Some(PushId(200_000 + n)),
            label: Some(Label::from(format!("test-{platform}/{option}-{suite}-{chunk}"))),
            platform: Some(platform.into()),
            option: Some(option.into()),
            tier: Some(1),
            kind: Some("test".into()),
            chunk: Some(Chunk {
                current: chunk,
                total: 16,
            }),
            caused_by: CausedBy::Push,
            classification: Some("not classified".into()),
            ..JobFacts::default()
        },
    }))
}

/// Facts that cost nothing, so that only the language is measured.
struct Constant;

impl Facts for Constant {
    fn passed_before(&self, _: &Event) -> Option<bool> {
        Some(true)
    }

    fn failed_before(&self, _: &Event) -> Option<bool> {
        Some(false)
    }

    fn failure_rate(&self, _: &Event, _: Duration) -> Option<f64> {
        Some(0.001)
    }

    fn runs(&self, _: &Event) -> Option<u64> {
        Some(1_000)
    }

    fn in_flight(&self, _: &Event) -> Option<u64> {
        Some(0)
    }

    fn bugs(&self, _: &Event) -> Option<&[Bug]> {
        Some(&[])
    }

    fn estimate(&self) -> Option<Estimate> {
        None
    }
}

fn is_failed(event: &Event) -> bool {
    matches!(event, Event::Job(job) if job.state == RunState::Finished(Outcome::Failed))
}

/// Rounds of a measurement.
const ROUNDS: usize = 15;

/// Nanoseconds an event, once through.
fn round(events: &[Event], work: &mut impl FnMut(&Event)) -> f64 {
    let begin = Instant::now();
    events.iter().for_each(work);
    begin.elapsed().as_secs_f64() * 1e9 / events.len() as f64
}

/// The best round: what else the machine does only adds.
fn measure(events: &[Event], mut work: impl FnMut(&Event)) -> f64 {
    (0..ROUNDS)
        .map(|_| round(events, &mut work))
        .fold(f64::INFINITY, f64::min)
}

/// What two rule sets cost an event, measured in turns, so that the machine's mood is the same for both.
fn measure_both(events: &[Event], a: &RuleSet, b: &RuleSet) -> (f64, f64) {
    let (mut best_a, mut best_b) = (f64::INFINITY, f64::INFINITY);
    let candidates = |set: &RuleSet| {
        round(events, &mut |event: &Event| {
            drop(black_box(set.candidates(black_box(event))))
        })
    };
    for _ in 0..ROUNDS {
        best_a = best_a.min(candidates(a));
        best_b = best_b.min(candidates(b));
    }
    (best_a, best_b)
}

fn main() {
    let events: Vec<Event> = (0..EVENTS).map(job).collect();
    let failed: Vec<Event> = events.iter().filter(|event| is_failed(event)).cloned().collect();
    let (few, many) = (rules(10), rules(10_000));
    for (name, stream) in [("all runs", &events), ("failed runs only", &failed)] {
        let found = |set: &RuleSet| {
            let found: usize = stream.iter().map(|event| set.candidates(event).len()).sum();
            found as f64 / stream.len() as f64
        };
        let (found_few, found_many) = (found(&few), found(&many));
        let (few, many) = measure_both(stream, &few, &many);
        println!("{name}:");
        println!("      10 rules: {few:6.0} ns an event, {found_few:.4} rules that can match");
        println!("  10,000 rules: {many:6.0} ns an event, {found_many:.4} rules that can match");
        println!("  ratio: {:.2} (mark: at most 1.5)", many / few);
    }

    let when = "event.tier <= 2 && event.kind == \"test\" && event.project in [\"autoland\", \"mozilla-central\"] && \
                event.label.startsWith(\"test-\") && !event.label.matches(\"-(talos|raptor)-\") && \
                event.classification == \"not classified\" && history.passed_before(event) && \
                history.failure_rate(event, duration(\"14d\")) < 0.02";
    let text = format!(
        "version: 1\nrules:\n  - name: r\n    on: job.finished\n    when: '{when}'\n    open: {{ kind: until-hit, \
        max_jobs: 1 }}\n"
    );
    let set = RuleSet::parse(&[("bench.yaml", &text)]).unwrap_or_else(|errors| panic!("{errors}"));
    // Few enough to stay in the cache, as an event does that was just decoded.
    let matching: Vec<Event> = events
        .into_iter()
        .filter(|event| set.evaluate(RuleIndex(0), event, &Constant, Tracing::Off).matched == Matched::True)
        .take(200)
        .collect();
    let off = measure(&matching, |event| {
        black_box(set.evaluate(RuleIndex(0), black_box(event), &Constant, Tracing::Off));
    });
    let on = measure(&matching, |event| {
        black_box(set.evaluate(RuleIndex(0), black_box(event), &Constant, Tracing::On));
    });
    println!("8 clauses, all true: {off:.0} ns (mark: at most 1000), with a trace {on:.0} ns");
    traces(&set, &matching);
}

/// Rows in a transaction, as in a batch of messages.
const ROWS: usize = 500;

/// What is timed on an event.
type Work<'a> = &'a dyn Fn(&mut Books<'_>, &Event) -> Result<(), LedgerError>;

/// What it costs to keep why something happened: a decision with its eight clauses, and a sampled event, each written in
/// transactions of [`ROWS`] into a store on disk; what the commit costs is the batch's anyway.
fn traces(set: &RuleSet, events: &[Event]) {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let mut store = SqliteStore::open(&folder.path().join("bench.db")).unwrap_or_else(|error| panic!("{error}"));
    let rule = &set.rules()[0];
    let mut best = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        let work: [Work<'_>; 3] = [
            &|books, event| {
                let evaluation = set.evaluate(RuleIndex(0), event, &Constant, Tracing::On);
                let mut decision = Decision::no(rule, event, Reason::ConditionFalse, Timestamp(0));
                decision.detail = serde_json::json!({ "clauses": evaluation.trace });
                books.note_decision(&decision)
            },
            &|books, event| books.keep_sample(event, Timestamp(0)),
            &|_, event| {
                drop(black_box(event.id()));
                Ok(())
            },
        ];
        for (best, work) in best.iter_mut().zip(work) {
            let rows = events.iter().cycle().take(ROWS);
            let spent = store
                .transact(|books| {
                    let begin = Instant::now();
                    rows.into_iter().try_for_each(|event| work(books, event))?;
                    Ok(begin.elapsed())
                })
                .unwrap_or_else(|error| panic!("{error}"));
            *best = best.min(spent.as_secs_f64() * 1e6 / ROWS as f64);
        }
    }
    let [decision, sample, nothing] = best;
    println!("a decision with its trace, evaluated and written: {decision:.1} µs");
    println!(
        "an event kept as a sample: {sample:.1} µs, at 1 % of the events {:.2} µs an event",
        sample / 100.0
    );
    println!("neither: {nothing:.2} µs");
}
