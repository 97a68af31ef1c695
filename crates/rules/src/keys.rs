//! The keys of rule files: one table for the reader, the JSON Schema and the documentation.

use super::shape::{Key, Keys, Shape};

/// The one version of the format.
pub(super) const VERSION: i64 = 1;

/// The largest daily allowance of a budget.
const MAX_ALLOWANCE: i64 = 1_000_000;

const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        shape,
        required: false,
        doc,
    }
}

const fn needed(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        shape,
        required: true,
        doc,
    }
}

/// A whole file.
pub(super) static FILE: Keys = Keys {
    what: "a rule file",
    keys: &[
        needed("version", Shape::Int(VERSION, VERSION), "The version of the format: 1."),
        key(
            "defaults",
            Shape::Keys(&DEFAULTS),
            "What every rule of this file has unless it says otherwise; `match` fields are added one by one.",
        ),
        key(
            "lists",
            Shape::Names(&Shape::List(&Shape::Scalar)),
            "Shared lists, for `match: { field: { list: name } }` and `lists.name` in expressions; all files see them.",
        ),
        key(
            "budgets",
            Shape::Names(&Shape::Keys(&BUDGET)),
            "Daily allowances that rules draw on; all files see them.",
        ),
        key("rules", Shape::List(&Shape::Keys(&RULE)), "The rules."),
        key(
            "tests",
            Shape::List(&Shape::Keys(&TEST)),
            "Tests of the rules: events, and what must come of them.",
        ),
    ],
};

/// The words of `mode`.
pub(super) const MODES: &[&str] = &["shadow", "live", "off"];
/// The words of `caused_by`.
pub(super) const CAUSERS: &[&str] = &["push", "person"];
/// The words of a budget's `per`.
pub(super) const SCOPES: &[&str] = &["project", "platform", "rule", "label", "all"];
/// The words of a budget's `counts`, the same as [`super::rule::Counted::as_str`].
pub(super) const COUNTED: &[&str] = &["jobs", "machine-hours", "failures"];
/// The words of `when_closed`.
pub(super) const WHEN_CLOSED: &[&str] = &["wait", "go-on"];
/// The words of `on`, the same as [`super::fields::EventKind::as_str`].
pub(super) const EVENTS: &[&str] = &[
    "job.finished",
    "job.running",
    "job.pending",
    "push.created",
    "request.received",
    "perf.alert",
];

/// One rule.
pub(super) static RULE: Keys = Keys {
    what: "a rule",
    keys: &[
        needed(
            "name",
            Shape::Name,
            "Its name, unique over all files: in cases, metrics and explanations.",
        ),
        key(
            "description",
            Shape::Text,
            "What it is for, in a sentence for the people it works for.",
        ),
        key(
            "on",
            Shape::OneOrMore(&Shape::Word(EVENTS)),
            "The events it looks at; must be there unless `schedule` is.",
        ),
        key(
            "match",
            Shape::Match,
            "What the fields of the event must be; looked up in one index over all rules.",
        ),
        key("when", Shape::Expression, "A condition for events that match."),
        key(
            "for_each",
            Shape::Expression,
            "A list: the rule opens a case for each element (200 at most), which texts of `open` know as `each`.",
        ),
        needed(
            "open",
            Shape::Open,
            "The case to open: `kind`, `max_jobs`, and what else the kind takes; `${{ … }}` in its texts is filled in.",
        ),
        key("budget", Shape::Name, "The budget that its jobs are drawn from."),
        key(
            "mode",
            Shape::Word(MODES),
            "`shadow` (the default): decides and records, asks for nothing; `live`: asks; `off`: is not looked at.",
        ),
        key(
            "caused_by",
            Shape::OneOrMore(&Shape::Word(CAUSERS)),
            "Whose runs may open a case: `push` (the default), `person`. Runs of sheriffd, and of unknown cause, \
            never do.",
        ),
        key("throttle", Shape::Keys(&THROTTLE), "How often it may open a case."),
        key(
            "debounce",
            Shape::Keys(&DEBOUNCE),
            "Waits until events like this one have stopped coming; the last of them counts, with the history of that moment.",
        ),
        key(
            "once_within",
            Shape::Duration,
            "A subject (and element of `for_each`) that had a case of this rule gets no other within this time.",
        ),
        key(
            "quiet_hours",
            Shape::Keys(&QUIET_HOURS),
            "The hours in which it opens nothing; what happens in them is not made up for.",
        ),
        key(
            "schedule",
            Shape::Text,
            "When it runs without an event: a cron line of five fields, in UTC. Minutes that were missed are made up for by one run.",
        ),
        key(
            "approve",
            Shape::Keys(&APPROVE),
            "When a person must approve before anything is asked for: `sheriffd case approve ID`.",
        ),
        key("notify", Shape::Keys(&NOTIFY), "Who is told of the verdict."),
        key("guards", Shape::Keys(&GUARD_KEYS), "Guards to relax, by name."),
        key(
            "when_closed",
            Shape::Word(WHEN_CLOSED),
            "What its requests do while the project's tree is closed, where a treestatus service is configured: `wait` \
            (the default) or `go-on`.",
        ),
    ],
};

/// The keys of a rule that `defaults:` may set.
pub(super) static DEFAULTS: Keys = Keys {
    what: "`defaults`",
    keys: &[
        key(
            "match",
            Shape::Match,
            "Fields that every rule wants unless it writes them itself.",
        ),
        key("budget", Shape::Name, "As in a rule."),
        key("mode", Shape::Word(MODES), "As in a rule."),
        key("caused_by", Shape::OneOrMore(&Shape::Word(CAUSERS)), "As in a rule."),
        key("throttle", Shape::Keys(&THROTTLE), "As in a rule."),
        key("debounce", Shape::Keys(&DEBOUNCE), "As in a rule."),
        key("once_within", Shape::Duration, "As in a rule."),
        key("quiet_hours", Shape::Keys(&QUIET_HOURS), "As in a rule."),
        key("approve", Shape::Keys(&APPROVE), "As in a rule."),
        key("notify", Shape::Keys(&NOTIFY), "As in a rule."),
        key("guards", Shape::Keys(&GUARD_KEYS), "As in a rule."),
    ],
};

/// A budget.
pub(super) static BUDGET: Keys = Keys {
    what: "a budget",
    keys: &[
        needed(
            "per",
            Shape::Word(SCOPES),
            "What has an account of its own: each `project`, `platform`, `rule` or `label`, or `all` together.",
        ),
        needed(
            "daily",
            Shape::Either(
                &Shape::Int(0, MAX_ALLOWANCE),
                &Shape::Names(&Shape::Int(0, MAX_ALLOWANCE)),
            ),
            "What may be spent in 24 hours: one number, or numbers by the beginning of the project's, platform's, rule's or \
            label's name (the longest that fits), with `default` for the rest.",
        ),
        key(
            "counts",
            Shape::Word(COUNTED),
            "`jobs` (the default) or `machine-hours` of the rules that name it; or `failures` of our own runs, of all \
            rules, those that have not ended counted as if they had failed (the default of a budget called `attention`).",
        ),
    ],
};

/// `throttle:`
pub(super) static THROTTLE: Keys = Keys {
    what: "`throttle`",
    keys: &[
        needed("max", Shape::Int(1, 100_000), "Cases at most."),
        needed("per", Shape::Duration, "In this time."),
        key(
            "by",
            Shape::List(&Shape::FieldName),
            "Counted apart for each value of these fields; without it, for the rule as a whole.",
        ),
    ],
};

/// `debounce:`
pub(super) static DEBOUNCE: Keys = Keys {
    what: "`debounce`",
    keys: &[
        needed(
            "quiet",
            Shape::Duration,
            "Acts when no further event came for this long.",
        ),
        key(
            "by",
            Shape::List(&Shape::FieldName),
            "Events with the same values of these fields belong together.",
        ),
        key(
            "at_most",
            Shape::Duration,
            "Acts after this long even if events keep coming.",
        ),
    ],
};

/// `quiet_hours:`
pub(super) static QUIET_HOURS: Keys = Keys {
    what: "`quiet_hours`",
    keys: &[
        needed("tz", Shape::Text, "The time zone, by its IANA name."),
        key("hours", Shape::Text, "The quiet hours, as `22:00-06:00`."),
        key(
            "except",
            Shape::Text,
            "The only hours that are not quiet, as `22:00-06:00`.",
        ),
    ],
};

/// `approve:`
pub(super) static APPROVE: Keys = Keys {
    what: "`approve`",
    keys: &[
        key(
            "when",
            Shape::Expression,
            "Needed only if this holds, or is not known; may use `estimate.jobs`, `estimate.hours` and `each`.",
        ),
        needed("by", Shape::Name, "The group of people who may approve."),
        key(
            "expires",
            Shape::Duration,
            "Withdrawn if nobody has approved by then; without it, after a day.",
        ),
    ],
};

/// `notify:`
pub(super) static NOTIFY: Keys = Keys {
    what: "`notify`",
    keys: &[needed(
        "webhook",
        Shape::Name,
        "A webhook of the configuration, `[notify.NAME]`, that is told instead of the common one.",
    )],
};

/// `guards:`
pub(super) static GUARD_KEYS: Keys = Keys {
    what: "`guards`",
    keys: &[
        key(
            "storm",
            Shape::Word(&["off"]),
            "`off`: many labels failing on one push open a case each.",
        ),
        key(
            "same-signature",
            Shape::Word(&["off"]),
            "`off`: one failure (test and group) on several labels has a search on each.",
        ),
        key(
            "one-open-case",
            Shape::Word(&["off"]),
            "`off`: a subject with an open case may get another.",
        ),
        key(
            "in-flight",
            Shape::Word(&["off"]),
            "`off`: runs that are pending or running do not count as done.",
        ),
    ],
};

/// One test.
pub(super) static TEST: Keys = Keys {
    what: "a test",
    keys: &[
        needed("name", Shape::Text, "What it shows, as a sentence."),
        key(
            "at",
            Shape::Time,
            "The time of the first event; without it, 2026-01-01T00:00:00Z.",
        ),
        key(
            "history",
            Shape::List(&Shape::Keys(&TEST_RUN)),
            "Runs before the first event.",
        ),
        key(
            "pushes",
            Shape::List(&Shape::Keys(&TEST_PUSH)),
            "What is special about pushes. All pushes between the lowest and the highest number in the test exist.",
        ),
        key(
            "limits",
            Shape::Keys(&TEST_LIMITS),
            "Limits of jobs, as in the configuration; without it, none. The budgets of the rules are always in force.",
        ),
        key(
            "tasks",
            Shape::List(&Shape::Text),
            "Recorded task definitions (JSON Lines), files beside the rule file: for recorded messages.",
        ),
        needed(
            "events",
            Shape::List(&Shape::Keys(&TEST_STEP)),
            "What happens, in order.",
        ),
        needed(
            "expect",
            Shape::List(&Shape::Keys(&TEST_EXPECT)),
            "What must come of it.",
        ),
    ],
};

const OUTCOMES: &[&str] = &["passed", "failed", "infra", "cancelled"];

/// A run of a test's history.
pub(super) static TEST_RUN: Keys = Keys {
    what: "a run of `history`",
    keys: &[
        needed("label", Shape::Text, "Its label."),
        needed("push", Shape::Int(0, i64::MAX), "Its push."),
        needed("outcome", Shape::Word(OUTCOMES), "How it ended."),
        key("project", Shape::Text, "Its project; without it, `autoland`."),
        key(
            "caused_by",
            Shape::Word(&["push", "person", "sheriffd"]),
            "Who made it happen; without it, the push.",
        ),
        key(
            "ago",
            Shape::Duration,
            "How long before the first event; without it, an hour for each push between.",
        ),
    ],
};

/// A push of a test.
pub(super) static TEST_PUSH: Keys = Keys {
    what: "a push of `pushes`",
    keys: &[
        needed("push", Shape::Int(0, i64::MAX), "Its number."),
        key("project", Shape::Text, "Its project; without it, `autoland`."),
        key(
            "revision",
            Shape::Text,
            "Its head revision; without it, the number in twelve digits.",
        ),
        key("description", Shape::Text, "The commit message of its one changeset."),
        key(
            "ago",
            Shape::Duration,
            "How long before the first event it landed; without it, an hour for each push between.",
        ),
    ],
};

/// The most jobs that a limit of a test can name.
const MAX_LIMIT: i64 = 1_000_000;

/// `limits:` of a test, the names of the configuration's `[limits]`.
pub(super) static TEST_LIMITS: Keys = Keys {
    what: "`limits`",
    keys: &[
        key("jobs_per_hour", Shape::Int(0, MAX_LIMIT), "Jobs in an hour, over all."),
        key("jobs_per_day", Shape::Int(0, MAX_LIMIT), "Jobs in a day, over all."),
        key(
            "jobs_per_rule_per_day",
            Shape::Int(0, MAX_LIMIT),
            "Jobs in a day for one rule.",
        ),
        key(
            "jobs_per_project_per_day",
            Shape::Int(0, MAX_LIMIT),
            "Jobs in a day in one project.",
        ),
        key(
            "jobs_per_platform_per_day",
            Shape::Int(0, MAX_LIMIT),
            "Jobs in a day on one platform.",
        ),
        key(
            "jobs_per_label_per_day",
            Shape::Int(0, MAX_LIMIT),
            "Jobs in a day of one label in one project.",
        ),
        key("jobs_per_push", Shape::Int(0, MAX_LIMIT), "Jobs on one push, ever."),
        key(
            "machine_hours_per_day",
            Shape::Int(0, MAX_LIMIT),
            "Hours of machine time in a day, over all.",
        ),
        key(
            "machine_hours_per_rule_per_day",
            Shape::Int(0, MAX_LIMIT),
            "The same for one rule.",
        ),
        key(
            "machine_hours_per_project_per_day",
            Shape::Int(0, MAX_LIMIT),
            "The same in one project.",
        ),
        key(
            "machine_hours_per_platform_per_day",
            Shape::Int(0, MAX_LIMIT),
            "The same on one platform.",
        ),
        key(
            "pending_jobs_per_platform",
            Shape::Int(0, MAX_LIMIT),
            "Jobs waiting for a machine on a platform from which on nothing more is asked for there.",
        ),
    ],
};

/// A step of a test: one of these keys.
pub(super) static TEST_STEP: Keys = Keys {
    what: "a step of `events`",
    keys: &[
        key("file", Shape::Text, "A recorded message, beside the rule file."),
        key("after", Shape::Duration, "Time passes."),
        key(
            "job.finished",
            Shape::Names(&Shape::Any),
            "A run ended: fields of the event.",
        ),
        key(
            "job.running",
            Shape::Names(&Shape::Any),
            "A run began: fields of the event.",
        ),
        key(
            "job.pending",
            Shape::Names(&Shape::Any),
            "A run was scheduled: fields of the event.",
        ),
        key(
            "push.created",
            Shape::Names(&Shape::Any),
            "A push landed: fields of the event.",
        ),
        key(
            "request.received",
            Shape::Names(&Shape::Any),
            "A person asked for something: fields of the event.",
        ),
        key(
            "perf.alert",
            Shape::Names(&Shape::Any),
            "A series stepped: fields of the event.",
        ),
    ],
};

/// An expectation of a test.
pub(super) static TEST_EXPECT: Keys = Keys {
    what: "an expectation",
    keys: &[
        needed("rule", Shape::Name, "The rule it is about."),
        key(
            "opened",
            Shape::Either(&Shape::Bool, &Shape::Int(0, 10_000)),
            "How many cases it opened: a number, or whether any.",
        ),
        key(
            "because",
            Shape::Text,
            "Why it opened nothing, or held a request back, in the word of `explain`: `lineage`, `joined`, `limit`; \
            `no-match` where its `match` let no event through.",
        ),
        key("verdict", Shape::Name, "How its case ended."),
        key(
            "actions",
            Shape::List(&Shape::Keys(&TEST_ACTION)),
            "The jobs that were asked for, in any order.",
        ),
    ],
};

/// An action that a test expects.
pub(super) static TEST_ACTION: Keys = Keys {
    what: "an expected action",
    keys: &[
        needed("label", Shape::Text, "The label."),
        needed("push", Shape::Int(0, i64::MAX), "The push."),
        key("times", Shape::Int(1, 100), "How often; without it, once."),
    ],
};
