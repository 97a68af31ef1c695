//! The composition root: wires the parts, starts and stops them. The only place that knows them all.

pub mod alerts;
mod credentials;
mod fetch;
pub mod intake;
mod observe;
pub mod parts;
pub mod pipeline;
pub mod reconcile;
pub mod reload;
mod run;
mod trees;

pub use observe::{observe_notes, observe_round, observe_store, observe_taken};
pub use run::{RunError, run};

use crate::dispatch::limits::{Brakes, Limits};
use crate::rules::RuleSet;

/// The brakes of a configuration and a rule set together.
pub fn brakes(limits: Limits, rules: &RuleSet) -> Brakes {
    Brakes {
        limits,
        budgets: rules
            .budgets()
            .iter()
            .map(|budget| (budget.name.to_string(), budget.clone()))
            .collect(),
        through_closed_trees: rules
            .rules()
            .iter()
            .filter(|rule| !rule.waits_for_tree)
            .map(|rule| rule.name.to_string())
            .collect(),
    }
}
