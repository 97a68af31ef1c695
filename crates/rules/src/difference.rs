//! What another rule set changes.
//!
//! In: two rule sets. Out: the names that are new, gone, or mean something else. Never: the place of a rule in its file:
//! a rule that only moved is the same rule.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::rule::{Budget, Rule};
use super::set::RuleSet;

/// What changed between two rule sets, by names in alphabetical order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Rules that only the new set has.
    pub added: Vec<String>,
    /// Rules that only the old set has.
    pub removed: Vec<String>,
    /// Rules that say something else; shared lists that they use count as part of them.
    pub changed: Vec<String>,
    /// Budgets that are new, gone, or of another size.
    pub budgets: Vec<String>,
}

impl Difference {
    /// Compares two rule sets.
    pub fn between(old: &RuleSet, new: &RuleSet) -> Difference {
        let rules = |set: &RuleSet| -> BTreeMap<String, String> {
            let meaning = |rule: &Rule| (rule.name.to_string(), meaning(rule));
            set.rules().iter().map(meaning).collect()
        };
        let budgets = |set: &RuleSet| -> BTreeMap<String, Budget> {
            let named = |budget: &Budget| (budget.name.to_string(), budget.clone());
            set.budgets().iter().map(named).collect()
        };
        let (old_rules, new_rules) = (rules(old), rules(new));
        let (old_budgets, new_budgets) = (budgets(old), budgets(new));
        let mut other_budgets = changed(&old_budgets, &new_budgets);
        other_budgets.extend(only_first(&old_budgets, &new_budgets));
        other_budgets.extend(only_first(&new_budgets, &old_budgets));
        other_budgets.sort();
        Difference {
            added: only_first(&new_rules, &old_rules),
            removed: only_first(&old_rules, &new_rules),
            changed: changed(&old_rules, &new_rules),
            budgets: other_budgets,
        }
    }

    /// Whether the two sets say the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.budgets.is_empty()
    }
}

/// Everything that a rule says, but not where.
fn meaning(rule: &Rule) -> String {
    let placeless = Rule {
        file: Arc::from(""),
        line: 0,
        ..rule.clone()
    };
    format!("{placeless:?}")
}

fn only_first<V>(first: &BTreeMap<String, V>, second: &BTreeMap<String, V>) -> Vec<String> {
    first
        .keys()
        .filter(|name| !second.contains_key(*name))
        .cloned()
        .collect()
}

fn changed<V: PartialEq>(old: &BTreeMap<String, V>, new: &BTreeMap<String, V>) -> Vec<String> {
    let is_other = |(name, value): &(&String, &V)| new.get(*name).is_some_and(|new| new != *value);
    old.iter().filter(is_other).map(|(name, _)| name.clone()).collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("added", &self.added),
            ("removed", &self.removed),
            ("changed", &self.changed),
            ("budgets", &self.budgets),
        ];
        let said: Vec<String> = parts
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        match said.is_empty() {
            true => f.write_str("no rule says anything else"),
            false => f.write_str(&said.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "version: 1
lists: { trees: [autoland] }
budgets: { b: { per: all, daily: 5 }, c: { per: all, daily: 5 } }
rules:
  - { name: stays, on: job.finished, match: { outcome: failed }, open: { kind: until-hit, max_jobs: 1 } }
  - { name: listed, on: job.finished, match: { project: { list: trees } }, open: { kind: until-hit, max_jobs: 1 } }
  - { name: asks, on: job.finished, when: event.project in lists.trees, open: { kind: until-hit, max_jobs: 1 } }
  - { name: goes, on: job.finished, open: { kind: until-hit, max_jobs: 1 } }
";

    fn set(text: &str) -> RuleSet {
        RuleSet::parse(&[("rules.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn a_list_that_changes_changes_the_rules_that_use_it_and_a_move_changes_nothing() {
        let new = OLD
            .replace("[autoland]", "[autoland, try]")
            .replace("name: goes", "name: comes")
            .replace("b: { per: all, daily: 5 }, c:", "b: { per: all, daily: 6 }, d:")
            .replace("rules:\n", "\n\n# moved down\nrules:\n");
        let difference = Difference::between(&set(OLD), &set(&new));
        assert_eq!(
            difference.to_string(),
            "added: comes; removed: goes; changed: asks, listed; budgets: b, c, d"
        );
        let moved = Difference::between(&set(OLD), &set(&OLD.replace("rules:\n", "\n\nrules:\n")));
        assert!(moved.is_empty(), "{moved}");
    }
}
