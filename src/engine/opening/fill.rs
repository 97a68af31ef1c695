//! `fill`: what was meant to run on a push, or ran on its neighbours, and is missing there. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::field::{Field, Patterns, Wanted};
use crate::engine::ledger::PushRow;
use crate::event::{FillParams, Label, PushId, Reason, Target, Timestamp, Unable};

/// What is missing on a push.
///
/// A job is meant to run where the push's task graph says so, and otherwise where a neighbour ran it. It is missing
/// where nothing of it ended, runs, waits, is asked for or was cancelled, on `gap` pushes in a row. Pushes after
/// `settled` are not counted into a row: their jobs may still come.
pub fn fill(field: &Field, push: PushId, params: &FillParams, settled: PushId) -> Wanted {
    let patterns = match Patterns::read(&params.labels) {
        Ok(patterns) => patterns,
        Err(why) => return Wanted::No(Reason::NotPossible, why),
    };
    let universe = field.universe();
    let mut meant: BTreeSet<&Label> = neighbours(field, push, params.neighbours);
    if let Some(graph) = &field.graph {
        let targeted = graph.jobs.iter().filter(|(_, job)| job.targeted);
        meant.extend(targeted.map(|(label, _)| label));
    }
    let mut targets = Vec::new();
    let mut unable = Vec::new();
    let mut wanted: BTreeSet<&Label> = BTreeSet::new();
    for label in meant {
        let traits = universe.get(label);
        let is_meant = match patterns.is_empty() {
            true => traits.is_some_and(|traits| traits.is_job),
            false => patterns.is_match(label.as_str()),
        };
        if !is_meant || field.on(label, push).is_there() || row_of_gaps(field, label, push, settled) < params.gap {
            continue;
        }
        if traits.is_none() {
            unable.push(Unable {
                label: label.clone(),
                push: Some(push),
                why: "a neighbour ran it, and the push's task graph does not have it".to_owned(),
            });
            continue;
        }
        wanted.insert(label);
        wanted.extend(missing_builds(field, label, push));
    }
    for label in wanted {
        let platform = universe.get(label).map(|traits| traits.platform.clone());
        targets.push(Target {
            label: label.clone(),
            platform: platform.unwrap_or_else(|| "unknown".into()),
            push,
            times: 1,
        });
    }
    Wanted::of(
        targets,
        unable,
        (Reason::NothingMissing, "nothing is missing on the push"),
    )
}

/// Labels that ran on a push near this one, or wait there.
fn neighbours(field: &Field, push: PushId, reach: u32) -> BTreeSet<&Label> {
    let Some(at) = field.pushes.iter().position(|row| row.push == push) else {
        return BTreeSet::new();
    };
    let first = at.saturating_sub(reach as usize);
    let near: BTreeSet<PushId> = field
        .pushes
        .iter()
        .skip(first)
        .take(at - first + reach as usize + 1)
        .map(|row| row.push)
        .collect();
    field
        .jobs
        .iter()
        .filter(|((_, on), jobs)| *on != push && near.contains(on) && jobs.counts.total() + jobs.pending > 0)
        .map(|((label, _), _)| label)
        .collect()
}

/// Pushes in a row around this one that lack a label, this one counted.
fn row_of_gaps(field: &Field, label: &Label, push: PushId, settled: PushId) -> u32 {
    let lacks = |row: &&PushRow| row.push <= settled && !field.on(label, row.push).is_there();
    let before = field
        .pushes
        .iter()
        .rev()
        .filter(|row| row.push < push)
        .take_while(lacks);
    let after = field.pushes.iter().filter(|row| row.push > push).take_while(lacks);
    u32::try_from(before.count() + after.count() + 1).unwrap_or(u32::MAX)
}

/// Builds that a job needs and that the push does not have.
fn missing_builds<'a>(field: &'a Field, label: &Label, push: PushId) -> Vec<&'a Label> {
    let Some(job) = field.graph.as_ref().and_then(|graph| graph.jobs.get(label)) else {
        return Vec::new();
    };
    let Some(graph) = &field.graph else { return Vec::new() };
    let builds = job.needs.iter().filter(|need| need.names_a_build());
    builds
        .filter_map(|need| graph.jobs.get_key_value(need))
        .map(|(need, _)| need)
        .filter(|need| !field.on(need, push).is_there())
        .collect()
}

/// The newest push that landed before a moment and has jobs: what it lacks, it lacks for good. When a push landed the
/// messages on the bus do not say: a job that has been there since before that moment shows it too.
pub fn settled(field: &Field, before: Timestamp) -> Option<PushId> {
    let mut since: BTreeMap<PushId, Option<Timestamp>> = BTreeMap::new();
    for ((_, push), jobs) in &field.jobs {
        let first = since.entry(*push).or_default();
        *first = [*first, jobs.since].into_iter().flatten().min();
    }
    let is_before = |at: Option<Timestamp>| at.is_some_and(|at| at <= before);
    let is_settled = |row: &&PushRow| {
        let jobs = since.get(&row.push);
        jobs.is_some_and(|first| is_before(row.at) || is_before(*first))
    };
    field.pushes.iter().rev().find(is_settled).map(|row| row.push)
}
