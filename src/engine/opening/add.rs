//! `add`: jobs that somebody wants on a push. Pure.

use super::field::{Field, Named, Patterns, Wanted, find};
use crate::event::{AddParams, Label, PushId, Reason, Target};

/// The jobs that are meant: labels and patterns, narrowed by platform, suite, and what is on the push.
///
/// Of each, `times` further runs are wanted; those that wait, run or are asked for count as such.
pub fn add(field: &Field, push: PushId, params: &AddParams) -> Wanted {
    match choose(field, push, params) {
        Ok(wanted) => wanted,
        Err(why) => Wanted::No(Reason::NotPossible, why),
    }
}

fn choose(field: &Field, push: PushId, params: &AddParams) -> Result<Wanted, String> {
    let platforms = Patterns::read(&params.platforms)?;
    let suites = Patterns::read(&params.suites)?;
    let narrows = !platforms.is_empty() || !suites.is_empty() || params.failed || params.existing_only;
    if params.labels.is_empty() && !narrows {
        return Err("no jobs are named: neither labels nor platforms nor suites".to_owned());
    }
    let universe = field.universe();
    let seen = field.seen();
    // Old names in the history are no reason to ask for what does not exist any longer.
    let can_run = |label: &Label| field.graph.is_some() || seen.contains(label);
    let found = match params.labels.is_empty() {
        true => Named {
            labels: universe
                .keys()
                .filter(|label| can_run(label))
                .map(|label| (*label).clone())
                .collect(),
            unable: Vec::new(),
        },
        false => find(&params.labels, &universe, can_run)?,
    };
    let mut targets = Vec::new();
    for label in found.labels {
        let there = field.on(&label, push);
        let traits = universe.get(&label);
        let fits = traits.is_none_or(|traits| {
            let is_named = params.labels.iter().any(|name| name == label.as_str());
            traits.is_on(&platforms) && traits.is_of(&suites) && (traits.is_job || is_named)
        });
        let is_meant = (!params.failed || there.counts.failed > 0) && (!params.existing_only || there.is_there());
        if fits && is_meant {
            targets.push(Target {
                platform: traits.map_or_else(|| "unknown".into(), |traits| traits.platform.clone()),
                label,
                push,
                times: there.counts.total() + there.pending + params.times.saturating_sub(there.coming()),
            });
        }
    }
    let still_wanted = |target: &Target| {
        let there = field.on(&target.label, push);
        target.times > there.counts.total() + there.pending
    };
    let none = match targets.is_empty() {
        true => (Reason::NotPossible, "no job of the push is meant"),
        false => (
            Reason::NothingMissing,
            "everything that is meant waits, runs or is asked for",
        ),
    };
    targets.retain(still_wanted);
    Ok(Wanted::of(targets, found.unable, none))
}
