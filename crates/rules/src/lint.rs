//! Rules that can be used and are probably not meant so.
//!
//! In: what the files say. Out: warnings. Never: errors.

use std::collections::HashMap;

use super::code::Code;
use super::diagnostic::Gathering;
use super::fields::EventKind;
use super::matching::FieldMatch;
use super::read::{Places, Read};
use super::rule::{Budget, Counted, Mode, Rule};
use super::value::Value;
use sheriffd_event::{CaseKind, CausedBy};

/// Adds every warning.
pub(super) fn check(read: &Read, gathering: &mut Gathering) {
    let mut seen: HashMap<Reach, Vec<&Rule>> = HashMap::new();
    for (rule, places) in &read.rules {
        description(rule, places, gathering);
        budget(rule, places, gathering);
        never(rule, places, gathering);
        if rule.mode == Mode::Off {
            continue;
        }
        let alike = seen.entry(reach(rule)).or_default();
        if let Some(earlier) = alike
            .iter()
            .find(|earlier| always_acts(earlier) && (earlier.when.is_none() || same_condition(earlier, rule)))
        {
            let message = format!(
                "`{}` is never needed: `{}` before it matches the same events and opens the same",
                rule.name, earlier.name
            );
            gathering
                .warning(Code::Shadowed, places.name, message)
                .suggest("remove one of them, or make them differ");
        } else {
            alike.push(rule);
        }
    }
    let used = |name: &str| read.rules.iter().any(|(rule, _)| rule.budget.as_deref() == Some(name));
    // What counts failures holds for all rules.
    let is_for_all = |budget: &Budget| budget.counts == Counted::Failures;
    for (name, (_, span)) in read
        .budgets
        .iter()
        .filter(|(name, (budget, _))| !is_for_all(budget) && !used(name))
    {
        let note = gathering.warning(
            Code::UnusedBudget,
            *span,
            format!("no rule draws on the budget `{name}`"),
        );
        note.suggest(format!("write `budget: {name}` in a rule, or remove it"));
    }
    for (name, (_, span)) in read
        .lists
        .iter()
        .filter(|(name, _)| !read.used_lists.contains(name.as_str()))
    {
        let note = gathering.warning(Code::UnusedList, *span, format!("no rule uses the list `{name}`"));
        note.suggest(format!(
            "use it as `{{ list: {name} }}` in `match` or as `lists.{name}` in `when`"
        ));
    }
}

fn description(rule: &Rule, places: &Places, gathering: &mut Gathering) {
    if rule.description.is_none() {
        let message = format!("`{}` does not say what it is for", rule.name);
        gathering
            .warning(Code::MissingDescription, places.name, message)
            .suggest("add `description:` for the people it works for");
    }
}

fn budget(rule: &Rule, places: &Places, gathering: &mut Gathering) {
    if rule.budget.is_none() && rule.mode == Mode::Live {
        let message = format!(
            "`{}` asks for up to {} jobs a case, and no budget bounds its cases",
            rule.name,
            rule.open.max_jobs()
        );
        gathering
            .warning(Code::NoBudget, places.name, message)
            .suggest("add `budget:`");
    }
}

/// A condition that contradicts itself or the match fields.
fn never(rule: &Rule, places: &Places, gathering: &mut Gathering) {
    let (Some(when), Some(span)) = (&rule.when, places.when) else {
        return;
    };
    for clause in when.expr.clauses() {
        if clause.as_truth() == Some(false) {
            gathering.warning(
                Code::NeverMatches,
                span,
                format!("`{}` never matches: its condition is false", rule.name),
            );
            return;
        }
        let Some((name, values)) = clause.as_equality() else {
            continue;
        };
        let refused = |fields: &[FieldMatch]| {
            let of_field = fields.iter().filter(|matched| matched.field.name == name);
            of_field
                .into_iter()
                .any(|matched| values.iter().all(|value| !matched.accepts(value)))
        };
        if !rule.matches.is_empty() && rule.matches.iter().all(|(_, fields)| refused(fields)) {
            let text = when.text.get(clause.span()).unwrap_or_default();
            let message = format!(
                "`{}` never matches: `match` lets no event through for which `{text}`",
                rule.name
            );
            let note = gathering.warning(Code::NeverMatches, span, message);
            if values.iter().any(|value| value.same(&Value::text("infra"))) {
                note.suggest("infra outcomes match only where `match.outcome` names `infra`");
            }
            return;
        }
    }
}

/// What two rules must share for one to shadow the other: events, match fields, whose runs, and the kind of case.
type Reach = (Vec<(EventKind, Vec<String>)>, Vec<CausedBy>, CaseKind);

fn reach(rule: &Rule) -> Reach {
    let events = rule.matches.iter().map(|(kind, fields)| {
        let mut fields: Vec<String> = fields.iter().map(FieldMatch::to_string).collect();
        fields.sort();
        (*kind, fields)
    });
    (events.collect(), rule.caused_by.clone(), rule.open.kind())
}

/// Whether a rule acts on every event that it matches, at once and as a whole.
fn always_acts(rule: &Rule) -> bool {
    let waits = rule.quiet_hours.is_some() || rule.debounce.is_some() || rule.schedule.is_some();
    !waits && rule.for_each.is_none() && rule.once_within.is_none() && rule.throttle.is_none()
}

/// Whether two conditions are the same but for white space.
fn same_condition(a: &Rule, b: &Rule) -> bool {
    let words = |rule: &Rule| {
        rule.when
            .as_ref()
            .map(|when| when.text.split_whitespace().collect::<String>())
    };
    words(a) == words(b)
}
