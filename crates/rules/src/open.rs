//! `open:` to the parameters of a case.
//!
//! In: the mapping as written. Out: [`CaseParams`], every parameter of the right type and in its range, or every error
//! with its place. Never: defaults of its own: those are in [`sheriffd_event`].
//!
//! A new case kind needs a row in [`KINDS`] with its parameters.

use serde_json::{Map, Value as Json, json};

use super::code::Code;
use super::diagnostic::{Gathering, closest, one_of};
use super::fields::EventKind;
use super::shape::{Key, Keys, Shape};
use super::text::has_expressions;
use super::yaml::{Node, Yaml};
use sheriffd_event::{CaseKind, CaseParams};

/// What a rule can open.
pub(super) struct KindOfCase {
    pub kind: CaseKind,
    /// The parameters; ranges are those of [`CaseParams::check`].
    pub params: &'static Keys,
    /// The events it can be opened on.
    pub on: &'static [EventKind],
    /// What it does.
    pub doc: &'static str,
}

const fn param(name: &'static str, shape: Shape, doc: &'static str) -> Key {
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

const MAX_JOBS: Shape = Shape::Int(1, 10_000);
const CONFIDENCE: Shape = Shape::Number(0.5, 0.9999);
const PATTERNS: Shape = Shape::OneOrMore(&Shape::Text);
/// Parameters that are lists, where one text stands for a list of one.
const LISTS: [&str; 3] = ["labels", "platforms", "suites"];
const ROUND_PRICE: Shape = Shape::Number(0.0, 1_000.0);

/// `input:`
static INPUT: Keys = Keys {
    what: "`input`",
    keys: &[
        param("env", Shape::Names(&Shape::Scalar), "Environment variables to add."),
        param("preferences", Shape::Names(&Shape::Scalar), "Preferences to set."),
        param("action", Shape::Name, "Another action than the usual one."),
    ],
};

static FIND_CULPRIT: Keys = Keys {
    what: "`find-culprit`",
    keys: &[
        needed("kind", Shape::Name, "`find-culprit`."),
        needed("max_jobs", MAX_JOBS, "Jobs the case may ask for in all."),
        param(
            "max_depth",
            Shape::Int(1, 1_000),
            "Pushes to look back for a last good one.",
        ),
        param("confidence", CONFIDENCE, "Probability that a verdict needs."),
        param("parallel", Shape::Int(1, 100), "Jobs asked for together at most."),
        param(
            "round_price",
            ROUND_PRICE,
            "The price of one wait for the CI, counted in jobs: higher means fewer, larger rounds.",
        ),
        param(
            "no_culprit_prior",
            Shape::Number(0.0, 0.99),
            "Probability, before anything is known, that no push in the range did it.",
        ),
        param(
            "near_prior",
            Shape::Number(0.0, 0.9),
            "Probability, before anything is run, that it is one of the pushes that touch files near the test, and not just \
             any; `0`: what pushes touch is not looked at.",
        ),
        param(
            "min_rate",
            Shape::Number(0.0, 0.9),
            "The lowest failure rate worth finding: with `0.1`, a failure that came only once is given up sooner.",
        ),
        param("input", Shape::Keys(&INPUT), "Extra input for the runs."),
    ],
};

static UNTIL_HIT: Keys = Keys {
    what: "`until-hit`",
    keys: &[
        needed("kind", Shape::Name, "`until-hit`."),
        needed("max_jobs", MAX_JOBS, "Jobs the case may ask for in all."),
        param(
            "batch",
            Shape::Either(&Shape::Word(&["auto"]), &Shape::Int(1, 100)),
            "Jobs in a batch; `auto` (the default) grows by what was learned.",
        ),
        param("confidence", CONFIDENCE, "Probability that `not-reproducible` needs."),
        param(
            "rate",
            Shape::Number(0.000_001, 0.999_999),
            "The failure rate below which a failure is called not reproducible.",
        ),
        param(
            "round_price",
            ROUND_PRICE,
            "The price of one wait for the CI, counted in jobs.",
        ),
        param("input", Shape::Keys(&INPUT), "Extra input for the runs."),
    ],
};

static VALIDATE: Keys = Keys {
    what: "`validate`",
    keys: &[
        needed("kind", Shape::Name, "`validate`."),
        needed("max_jobs", MAX_JOBS, "Jobs the case may ask for in all."),
        param(
            "platforms",
            Shape::Either(&Shape::Word(&["all"]), &Shape::List(&Shape::Text)),
            "Platforms to run on, with `*` for any characters, as `linux*` or `*/debug`; `all` (the default): all that run \
             the test.",
        ),
        param(
            "ok_rate",
            Shape::Number(0.000_001, 0.999_999),
            "The failure rate of a test that is good enough.",
        ),
        param(
            "bad_rate",
            Shape::Number(0.000_001, 0.999_999),
            "The failure rate of a test that is not.",
        ),
        param(
            "alpha",
            Shape::Number(0.000_1, 0.5),
            "Probability of calling a good test bad.",
        ),
        param(
            "beta",
            Shape::Number(0.000_1, 0.5),
            "Probability of calling a bad test good.",
        ),
        param("parallel", Shape::Int(1, 100), "Jobs asked for together at most."),
        param("input", Shape::Keys(&INPUT), "Extra input for the runs."),
    ],
};

static FILL: Keys = Keys {
    what: "`fill`",
    keys: &[
        needed("kind", Shape::Name, "`fill`."),
        needed("max_jobs", MAX_JOBS, "Jobs the case may ask for in all."),
        param("project", Shape::Name, "The tree, for rules that run without an event."),
        param(
            "labels",
            PATTERNS,
            "Labels to fill in; without any, all builds and tests.",
        ),
        param(
            "gap",
            Shape::Int(1, 1_000),
            "A label is filled in only where so many pushes in a row lack it.",
        ),
        param(
            "neighbours",
            Shape::Int(1, 100),
            "Pushes on either side whose jobs say what could run.",
        ),
        param("input", Shape::Keys(&INPUT), "Extra input for the runs."),
    ],
};

static FIND_PERF_CULPRIT: Keys = Keys {
    what: "`find-perf-culprit`",
    keys: &[
        needed("kind", Shape::Name, "`find-perf-culprit`."),
        needed("max_jobs", MAX_JOBS, "Jobs the case may ask for in all."),
        param(
            "max_depth",
            Shape::Int(1, 1_000),
            "Pushes to look back; more where the alert spans more.",
        ),
        param("confidence", CONFIDENCE, "Probability that a verdict needs."),
        param(
            "min_shift",
            Shape::Number(0.0001, 0.5),
            "The smallest step worth finding, as a fraction of the level.",
        ),
        param("parallel", Shape::Int(1, 100), "Jobs asked for together at most."),
        param("input", Shape::Keys(&INPUT), "Extra input for the runs."),
    ],
};

static ADD: Keys = Keys {
    what: "`add`",
    keys: &[
        needed("kind", Shape::Name, "`add`."),
        needed("max_jobs", MAX_JOBS, "Jobs the case may ask for in all."),
        param(
            "labels",
            PATTERNS,
            "Labels to add; without any, those that the request names.",
        ),
        param("platforms", PATTERNS, "Only on these platforms."),
        param("suites", PATTERNS, "Only of these suites."),
        param("failed", Shape::Bool, "Only labels that failed on the push."),
        param(
            "existing_only",
            Shape::Bool,
            "Only labels that ran on the push already, or wait there.",
        ),
        param(
            "times",
            Shape::Int(1, 100),
            "Further runs of each label, unless the request says how many.",
        ),
        param("input", Shape::Keys(&INPUT), "Extra input for the runs."),
    ],
};

static RANGE: Keys = Keys {
    what: "`range`",
    keys: &[
        needed("kind", Shape::Name, "`range`."),
        needed("max_jobs", MAX_JOBS, "Jobs the case may ask for in all."),
        param(
            "back",
            Shape::Int(0, 1_000),
            "Pushes to look back for the last one that has the job; 0: 10.",
        ),
        param(
            "times",
            Shape::Int(1, 100),
            "Runs wanted on each push in all, those that are there counted.",
        ),
        param("input", Shape::Keys(&INPUT), "Extra input for the runs."),
    ],
};

static BASELINE: Keys = Keys {
    what: "`baseline`",
    keys: &[
        needed("kind", Shape::Name, "`baseline`."),
        needed("max_jobs", MAX_JOBS, "Jobs the case may ask for in all."),
        needed(
            "labels",
            Shape::OneOrMore(&Shape::Text),
            "Labels whose level is wanted, `*` standing for any characters.",
        ),
        param(
            "precision",
            Shape::Number(0.000_001, 0.999_999),
            "Half the width of the interval that is wanted, as a fraction of the mean.",
        ),
        param("confidence", CONFIDENCE, "Confidence of the interval."),
        param("parallel", Shape::Int(1, 100), "Jobs asked for together at most."),
        param("input", Shape::Keys(&INPUT), "Extra input for the runs."),
    ],
};

/// Every kind of case that rules can open.
pub(super) static KINDS: &[KindOfCase] = &[
    KindOfCase {
        kind: CaseKind::FindCulprit,
        params: &FIND_CULPRIT,
        on: &[EventKind::JobFinished, EventKind::RequestReceived],
        doc: "Which push broke a job, for good or now and then.",
    },
    KindOfCase {
        kind: CaseKind::UntilHit,
        params: &UNTIL_HIT,
        on: &[EventKind::JobFinished],
        doc: "Re-run an intermittent until it fails once.",
    },
    KindOfCase {
        kind: CaseKind::Validate,
        params: &VALIDATE,
        on: &[EventKind::PushCreated],
        doc: "Whether the tests that a push adds are stable, on every platform that runs them.",
    },
    KindOfCase {
        kind: CaseKind::FindPerfCulprit,
        params: &FIND_PERF_CULPRIT,
        on: &[EventKind::PerfAlert],
        doc: "Which push made a performance series step.",
    },
    KindOfCase {
        kind: CaseKind::Baseline,
        params: &BASELINE,
        on: &[EventKind::PushCreated],
        doc: "The level of performance series after an uplift.",
    },
    KindOfCase {
        kind: CaseKind::Fill,
        params: &FILL,
        on: &[EventKind::PushCreated, EventKind::RequestReceived, EventKind::Timer],
        doc: "Run what is missing on a push: the one that a person names, or the newest whose jobs have come.",
    },
    KindOfCase {
        kind: CaseKind::Add,
        params: &ADD,
        on: &[EventKind::RequestReceived],
        doc: "Run more jobs on a push.",
    },
    KindOfCase {
        kind: CaseKind::Range,
        params: &RANGE,
        on: &[EventKind::RequestReceived],
        doc: "Run a job on the pushes before that lack it: what a person's backfill asks for.",
    },
];

/// Reads `open:`.
pub(super) fn read(node: &Node, kinds: &[EventKind], gathering: &mut Gathering) -> Option<CaseParams> {
    let Some(kind) = node.get("kind") else {
        let names = KINDS.iter().map(|known| known.kind.as_str());
        gathering
            .error(Code::MissingKey, node.first(), "`open` needs `kind`")
            .expected(one_of(names));
        return None;
    };
    let Some(word) = kind.text() else {
        Shape::Name.check(kind, "kind", gathering);
        return None;
    };
    let Some(known) = KINDS.iter().find(|known| known.kind.as_str() == word) else {
        let names = KINDS.iter().map(|known| known.kind.as_str());
        let message = format!("there is no case kind `{word}`");
        let note = gathering
            .error(Code::InvalidValue, kind.span, message)
            .expected(one_of(names.clone()));
        match closest(word, names) {
            Some(best) => note.suggest(format!("did you mean `{best}`?")),
            None => note,
        };
        return None;
    };
    if let Some(event) = kinds.iter().find(|event| !known.on.contains(event)) {
        let message = match event {
            EventKind::Timer => format!("`{word}` cannot be opened by a schedule: it needs an event"),
            _ => format!("`{word}` cannot be opened on {}", event.as_str()),
        };
        let allowed = one_of(known.on.iter().map(|kind| kind.as_str()));
        gathering
            .error(Code::Conflict, kind.span, message)
            .expected(format!("{allowed} in `on`"));
    }
    let is_scheduled = kinds.contains(&EventKind::Timer) && known.on.contains(&EventKind::Timer);
    if is_scheduled && node.get("project").is_none() {
        let message = format!("a `{word}` on a schedule needs `project`: no event says where");
        gathering.error(Code::Conflict, kind.span, message);
    }
    if !known.params.check(node, gathering) {
        return None;
    }
    let params: CaseParams = match serde_json::from_value(to_json(node)) {
        Ok(params) => params,
        Err(error) => {
            // The table above and the parameters' own types disagree: say it, rather than open something else.
            gathering.error(Code::InvalidValue, node.span, format!("`open` cannot be read: {error}"));
            return None;
        }
    };
    let breaches = params.check();
    for breach in &breaches {
        let span = node.get(breach.field).map_or(node.span, |node| node.span);
        gathering.error(Code::OutOfRange, span, breach.to_string());
    }
    breaches.is_empty().then_some(params)
}

/// The texts of `open` with expressions in them, by their place in the parameters (a JSON pointer).
pub(super) fn texts<'n>(node: &'n Node, place: &str, found: &mut Vec<(String, &'n Node)>) {
    match &node.value {
        Yaml::Text(text) if has_expressions(text) => found.push((place.to_owned(), node)),
        Yaml::List(items) => {
            for (at, item) in items.iter().enumerate() {
                texts(item, &format!("{place}/{at}"), found);
            }
        }
        Yaml::Map(entries) => {
            for (key, item) in entries {
                // RFC 6901: `~` and `/` of a key are written `~0` and `~1`.
                let key = key.name.replace('~', "~0").replace('/', "~1");
                texts(item, &format!("{place}/{key}"), found);
            }
        }
        _ => {}
    }
}

/// The mapping as the parameters' own deserializer takes it: `batch: auto` is its absence, scalars of `input` are
/// texts.
fn to_json(node: &Node) -> Json {
    let text = |node: &Node| match &node.value {
        Yaml::Bool(value) => json!(value.to_string()),
        Yaml::Int(value) => json!(value.to_string()),
        Yaml::Float(value) => json!(value.to_string()),
        Yaml::Text(value) => json!(value),
        _ => Json::Null,
    };
    let mut map = Map::new();
    for (key, value) in node.entries() {
        let json = match (&value.value, key.name.as_str()) {
            (Yaml::Text(word), "batch") if word == "auto" => continue,
            (Yaml::Text(word), "platforms") if word == "all" => continue,
            (Yaml::List(items), _) => items.iter().map(text).collect(),
            (Yaml::Map(parts), "input") => {
                let parts = parts.iter().map(|(part, value)| {
                    let json = match &value.value {
                        Yaml::Map(entries) => entries
                            .iter()
                            .map(|(key, value)| (key.name.clone(), text(value)))
                            .collect(),
                        _ => text(value),
                    };
                    (part.name.clone(), json)
                });
                Json::Object(parts.collect())
            }
            (Yaml::Text(text), list) if LISTS.contains(&list) => json!([text]),
            (Yaml::Int(number), _) => json!(number),
            (Yaml::Float(number), _) => json!(number),
            (Yaml::Bool(truth), _) => json!(truth),
            (Yaml::Text(text), _) => json!(text),
            (Yaml::Null | Yaml::Map(_), _) => continue,
        };
        map.insert(key.name.clone(), json);
    }
    Json::Object(map)
}

/// The default of a parameter as the documentation shows it; `None` where it must be written.
pub(super) fn default_of(kind: CaseKind, param: &str) -> Option<String> {
    if matches!(param, "kind" | "max_jobs" | "input") {
        return None;
    }
    match serde_json::to_value(CaseParams::default_of(kind)).ok()?.get(param)? {
        Json::Null => Some("auto".to_owned()),
        value => Some(value.to_string()),
    }
}
