//! What rules say to events, through the public surface.

mod rules_common;

use rules_common::{Given, condition, event, job, rule};
use sheriffd::event::{Event, Outcome, RunState};
use sheriffd::rules::{Matched, NoFacts, RuleIndex, RuleSet, Tracing};

fn matches(keys: &str, event: &Event) -> bool {
    !rule(keys).candidates(event).is_empty()
}

#[test]
fn a_rule_of_the_design_matches_a_new_orange() {
    let set = rule(
        "on: job.finished\nmatch: { outcome: failed, project: autoland, tier: [1, 2], kind: test }\nwhen: \
        history.passed_before(event) && history.failure_rate(event, duration(\"336h\")) < 0.02 && \
        event.classification == \"not classified\"",
    );
    let orange = event(job());
    assert_eq!(set.candidates(&orange), [RuleIndex(0)]);
    let said = set.evaluate(RuleIndex(0), &orange, &Given::settled(), Tracing::Off);
    assert_eq!(said.matched, Matched::True);
    assert!(said.trace.is_empty());
}

#[test]
fn a_trace_names_every_clause_with_the_values_it_saw() {
    let set = rule(
        "on: job.finished\nmatch: { tier: 1 }\nwhen: event.tier == 2 && history.failure_rate(event, \
        duration(\"14d\")) < 0.02",
    );
    let said = set.evaluate(RuleIndex(0), &event(job()), &NoFacts, Tracing::On);
    assert_eq!(said.matched, Matched::False);
    let shown: Vec<String> = said
        .trace
        .iter()
        .map(|clause| {
            let seen: Vec<String> = clause
                .seen
                .iter()
                .map(|seen| format!("{} = {}", seen.what, seen.value))
                .collect();
            format!(
                "{} -> {} ({}) {}",
                clause.text,
                clause.matched.as_str(),
                seen.join(", "),
                clause.note.as_deref().unwrap_or("-")
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "tier: [1] -> true (event.tier = 1) -",
            "outcome: not [infra] -> true (event.outcome = \"failed\") -",
            "event.tier == 2 -> false (event.tier = 1) -",
            "history.failure_rate(event, duration(\"14d\")) < 0.02 -> unknown (history.failure_rate(event, \
            duration(\"14d\")) = unknown) unknown: history.failure_rate is not known yet",
        ]
    );
}

#[test]
fn an_unknown_fact_makes_a_rule_unknown_and_never_true() {
    let mut unknown = job();
    unknown.facts.tier = None;
    let unknown = event(unknown);
    let set = rule("on: job.finished\nmatch: { tier: 1 }");
    assert_eq!(set.candidates(&unknown).len(), 1, "it may turn out to match");
    let said = set.evaluate(RuleIndex(0), &unknown, &NoFacts, Tracing::Off);
    assert_eq!(
        (said.matched, said.unknown.as_slice()),
        (Matched::Unknown, ["tier"].as_slice())
    );
    assert_eq!(condition("event.tier == 1", &unknown, &NoFacts), Matched::Unknown);
    assert_eq!(
        condition("event.tier == 1 && event.project == \"try\"", &unknown, &NoFacts),
        Matched::False
    );
    assert_eq!(
        condition("event.tier == 1 || event.project == \"autoland\"", &unknown, &NoFacts),
        Matched::True
    );
    assert_eq!(condition("!(event.tier == 1)", &unknown, &NoFacts), Matched::Unknown);
    assert_eq!(condition("has(event.tier)", &unknown, &NoFacts), Matched::False);
    assert_eq!(
        condition("has(event.tier) ? event.tier == 1 : true", &unknown, &NoFacts),
        Matched::True
    );
}

#[test]
fn infra_outcomes_match_only_where_a_rule_asks_for_them() {
    let mut infra = job();
    infra.state = RunState::Finished(Outcome::Infra);
    let infra = event(infra);
    assert!(!matches("on: job.finished", &infra));
    assert!(!matches("on: job.finished\nmatch: { outcome: \"!passed\" }", &infra));
    assert!(matches("on: job.finished\nmatch: { outcome: [failed, infra] }", &infra));
}

#[test]
fn match_fields_take_values_lists_patterns_negations_and_ranges() {
    let orange = event(job());
    for (field, expected) in [
        ("project: autoland", true),
        ("project: [try, autoland]", true),
        ("project: try", false),
        ("label: \"test-*\"", true),
        ("label: \"*-mochitest-?\"", true),
        ("label: \"*mochi*\"", true),
        ("label: \"build-*\"", false),
        ("label: [\"test-*\", \"!*-talos-*\"]", true),
        ("label: { not: \"test-*\" }", false),
        ("label: \"!test-*\"", false),
        ("tier: [1, 2]", true),
        ("tier: \">= 2\"", false),
        ("tier: \"<= 2\"", true),
        ("tier: \"1..3\"", true),
        ("tier: { not: [2, 3] }", true),
        ("push: \"10..\"", true),
        ("push: \"..10\"", false),
        ("latest: true", true),
        ("series: test-linux1804-64/opt-mochitest", true),
    ] {
        assert_eq!(
            matches(&format!("on: job.finished\nmatch: {{ {field} }}"), &orange),
            expected,
            "{field}"
        );
    }
}

#[test]
fn conditions_compute_what_cel_computes() {
    let orange = event(job());
    let facts = Given::settled();
    for (when, expected) in [
        ("event.tier + 1 == 2", Matched::True),
        ("7 / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1", Matched::True),
        ("1 / (event.tier - 1) == 0", Matched::False),
        ("1 / (event.tier - 1) == 0 || event.tier == 1", Matched::True),
        ("9223372036854775807 + event.tier > 0", Matched::False),
        ("event.tier < 1.5", Matched::True),
        (
            "event.label.startsWith('test-') && event.label.endsWith('-1') && event.label.contains('mochi')",
            Matched::True,
        ),
        ("event.label.matches(r'^test-.*-\\d+$')", Matched::True),
        (
            "size(event.groups) == 2 && event.groups.size() == 2 && 'layout/mochitest.ini' in event.groups",
            Matched::True,
        ),
        ("event.signatures.exists(s, s.test.startsWith('dom/'))", Matched::True),
        ("event.signatures.all(s, s.group == 'x')", Matched::False),
        (
            "event.groups.filter(g, g.startsWith('dom')) == ['dom/mochitest.ini']",
            Matched::True,
        ),
        ("event.groups.map(g, size(g)).exists_one(n, n > 18)", Matched::True),
        (
            "event.groups.map(g, g.startsWith('dom'), size(g))[0] == 17",
            Matched::True,
        ),
        ("event.groups[5] == 'x'", Matched::False),
        ("event.bugs.exists(b, \"sheriffd-hunt\" in b.keywords)", Matched::True),
        (
            "event.duration == duration('50m') && event.duration < duration('1d')",
            Matched::True,
        ),
        ("event.at - event.started == event.duration", Matched::True),
        (
            "event.at >= timestamp('2026-06-01T10:00:00Z') && event.at.getHours() == 10",
            Matched::True,
        ),
        (
            "event.at.getHours('Europe/Berlin') == 12 && event.at.getDayOfWeek() == 1",
            Matched::True,
        ),
        ("event.tier == 1 ? event.project == 'autoland' : false", Matched::True),
        (
            "string(event.tier) + '!' == '1!' && int('42') == 42 && double(3) == 3.0",
            Matched::True,
        ),
        ("int('x') == 1", Matched::False),
        ("event.tier in [1, 2] && !(event.project in ['try'])", Matched::True),
        (
            "history.runs(event) > 100 && history.in_flight(event) == 0",
            Matched::True,
        ),
        (
            "history.passed_before(event) && history.failed_before(event)",
            Matched::True,
        ),
        (
            "event.caused_by == 'push' && event.outcome != \"passed\"",
            Matched::True,
        ),
    ] {
        assert_eq!(condition(when, &orange, &facts), expected, "{when}");
    }
}

#[test]
fn an_evaluation_that_takes_too_long_ends_and_does_not_match() {
    let mut huge = job();
    huge.facts.groups = Some((0..1_000).map(|n| format!("group-{n}").into()).collect());
    let said = rule("on: job.finished\nwhen: event.groups.all(a, event.groups.all(b, event.groups.all(c, a != 'x')))")
        .evaluate(RuleIndex(0), &event(huge), &NoFacts, Tracing::Off);
    assert_eq!(said.matched, Matched::False);
    assert!(said.error.is_some_and(|error| error.to_string().contains("steps")));
}

#[test]
fn the_version_is_that_of_the_texts() {
    let text = "version: 1\nrules: []\n";
    let version = |files: &[(&str, &str)]| RuleSet::parse(files).unwrap().version().to_owned();
    assert_eq!(version(&[("a", text)]), version(&[("a", text)]));
    assert_ne!(version(&[("a", text)]), version(&[("b", text)]));
    assert_eq!(version(&[("a", text)]).len(), 16);
}

#[test]
fn binding_hints_ask_for_no_less_than_what_can_match() {
    let text = "version: 1
rules:
  - name: a
    on: job.finished
    match: { outcome: failed, project: autoland }
    open: { kind: find-culprit, max_jobs: 1 }
  - name: b
    on: job.finished
    match: { outcome: [failed, infra], project: [try, mozilla-central] }
    open: { kind: until-hit, max_jobs: 1 }
  - name: c
    on: job.finished
    match: { project: \"org/*\" }
    mode: off
    open: { kind: until-hit, max_jobs: 1 }
";
    let set = RuleSet::parse(&[("a", text)]).unwrap();
    let hints = set.binding_hints();
    assert_eq!(hints.len(), 1);
    assert_eq!(hints[0].outcomes, [Outcome::Failed, Outcome::Infra]);
    let projects: Vec<&str> = hints[0].projects.iter().flatten().map(String::as_str).collect();
    assert_eq!(projects, ["autoland", "mozilla-central", "try"]);
    assert!(set.could_match_project("try") && !set.could_match_project("org/repo"));
}
