//! Builders that the tests of the rule language share.
#![allow(dead_code, reason = "every test binary uses some of them")]

use std::sync::Arc;

use sheriffd::event::{
    CausedBy, Changeset, Chunk, Duration, Event, JobEvent, JobFacts, Label, Outcome, PerfAlert, Project, PushEvent,
    PushId, Revision, RunKey, RunState, Signature, Timestamp,
};
use sheriffd::rules::{Bug, Estimate, Facts, Matched, RuleIndex, RuleSet, Tracing};

/// A finished run of which everything is known.
pub fn job() -> JobEvent {
    JobEvent {
        run: RunKey {
            backend: "firefox-ci".into(),
            task: "aTaskIdOfTwentyTwoChar".into(),
            run: 0,
        },
        group: None,
        state: RunState::Finished(Outcome::Failed),
        reason: Some("failed".into()),
        latest: true,
        at: Timestamp::parse("2026-06-01T10:00:00Z").unwrap(),
        scheduled: Timestamp::parse("2026-06-01T09:00:00Z"),
        started: Timestamp::parse("2026-06-01T09:10:00Z"),
        resolved: Timestamp::parse("2026-06-01T10:00:00Z"),
        worker: None,
        pool: Some("gecko-t/t-linux-large".into()),
        facts: JobFacts {
            project: Some(Project::from("autoland")),
            revision: Some(Revision::from("0123456789ab")),
            push: Some(PushId(14)),
            label: Some(Label::from("test-linux1804-64/opt-mochitest-1")),
            platform: Some("linux1804-64".into()),
            option: Some("opt".into()),
            tier: Some(1),
            kind: Some("test".into()),
            suite: Some("mochitest".into()),
            variant: None,
            chunk: Some(Chunk { current: 1, total: 5 }),
            symbol: Some("1".into()),
            group_symbol: Some("M".into()),
            parent: None,
            action: None,
            caused_by: CausedBy::Push,
            signatures: Some(vec![Signature {
                group: Some("dom/mochitest.ini".into()),
                test: "dom/test_a.html".into(),
            }]),
            groups: Some(vec!["dom/mochitest.ini".into(), "layout/mochitest.ini".into()]),
            classification: Some("not classified".into()),
            values: None,
            bugs: None,
            needs: None,
        },
    }
}

/// The run as an event.
pub fn event(job: JobEvent) -> Event {
    Event::Job(Box::new(job))
}

/// A push of two changesets.
pub fn push() -> PushEvent {
    let changeset = |node: &str, description: &str| Changeset {
        node: node.into(),
        author: "A. Person".into(),
        description: description.into(),
        files: vec!["dom/a.cpp".into(), "dom/test_a.html".into()],
        parents: vec!["0".into()],
        added: None,
    };
    PushEvent {
        project: Project::from("autoland"),
        push: Some(PushId(14)),
        revision: Revision::from("0123456789ab"),
        at: Timestamp::parse("2026-06-01T10:00:00Z"),
        user: Some("sheriff".into()),
        changesets: vec![
            changeset("1", "Bug 1 - change it"),
            changeset("2", "Backed out changeset 123456789012 for failures"),
        ],
    }
}

/// A performance alert.
pub fn alert() -> PerfAlert {
    PerfAlert {
        id: 7,
        project: Project::from("autoland"),
        series: "abc".into(),
        push: Some(PushId(14)),
        previous_push: Some(PushId(13)),
        platform: "linux1804-64".into(),
        test: "tp5o responsiveness".into(),
        magnitude: 0.05,
        regression: true,
        at: Timestamp::parse("2026-06-01T10:00:00Z"),
        measure: None,
        revision: None,
        previous_revision: None,
        label: None,
        task: None,
    }
}

/// Facts that are given, not looked up.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub passed_before: Option<bool>,
    pub failed_before: Option<bool>,
    pub failure_rate: Option<f64>,
    pub runs: Option<u64>,
    pub in_flight: Option<u64>,
    pub bugs: Option<Vec<Bug>>,
}

impl Given {
    /// A label that passed 1,000 times and failed once, with one bug.
    pub fn settled() -> Given {
        let bug = Bug {
            id: 1234567,
            keywords: vec!["intermittent-failure".into(), "sheriffd-hunt".into()],
            whiteboard: Arc::from("[stockwell]"),
            summary: Arc::from("Intermittent dom/test_a.html"),
            status: Arc::from("NEW"),
        };
        Given {
            passed_before: Some(true),
            failed_before: Some(true),
            failure_rate: Some(0.001),
            runs: Some(1001),
            in_flight: Some(0),
            bugs: Some(vec![bug]),
        }
    }
}

impl Facts for Given {
    fn passed_before(&self, _: &Event) -> Option<bool> {
        self.passed_before
    }

    fn failed_before(&self, _: &Event) -> Option<bool> {
        self.failed_before
    }

    fn failure_rate(&self, _: &Event, _: Duration) -> Option<f64> {
        self.failure_rate
    }

    fn runs(&self, _: &Event) -> Option<u64> {
        self.runs
    }

    fn in_flight(&self, _: &Event) -> Option<u64> {
        self.in_flight
    }

    fn bugs(&self, _: &Event) -> Option<&[Bug]> {
        self.bugs.as_deref()
    }

    fn estimate(&self) -> Option<Estimate> {
        None
    }
}

/// A rule set of one rule with these keys besides `name` and `open`.
pub fn rule(keys: &str) -> RuleSet {
    let keys: String = keys.lines().map(|line| format!("    {}\n", line)).collect();
    let text = format!("version: 1\nrules:\n  - name: r\n{keys}    open: {{ kind: find-culprit, max_jobs: 10 }}\n");
    RuleSet::parse(&[("rules.yaml", &text)]).unwrap_or_else(|diagnostics| panic!("{diagnostics}\n{text}"))
}

/// What a condition says to an event.
pub fn condition(when: &str, event: &Event, facts: &dyn Facts) -> Matched {
    let set = rule(&format!(
        "on: {}\nwhen: |\n  {}",
        event.name(),
        when.replace('\n', "\n  ")
    ));
    set.evaluate(RuleIndex(0), event, facts, Tracing::Off).matched
}
