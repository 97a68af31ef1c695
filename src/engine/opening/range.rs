//! `range`: labels on a range of pushes. Pure.

use super::field::{Field, Wanted, find};
use crate::engine::ledger::PushRow;
use crate::event::{Label, PushId, RangeParams, Reason, Target, Unable};

/// The jobs that are meant: each label on each push of the range, so many runs in all.
pub fn range(field: &Field, push: PushId, params: &RangeParams) -> Wanted {
    let seen = field.seen();
    let universe = field.universe();
    let found = match find(&params.labels, &universe, |label| seen.contains(label)) {
        Ok(found) => found,
        Err(why) => return Wanted::No(Reason::NotPossible, why),
    };
    let mut unable = found.unable;
    let mut targets = Vec::new();
    for row in pushes(field, push, params) {
        for label in &found.labels {
            if row.revision.is_none() {
                unable.push(no_revision(label, row.push));
                continue;
            }
            let there = field.on(label, row.push);
            if there.counts.total() + there.coming() < params.times {
                targets.push(Target {
                    label: label.clone(),
                    platform: universe
                        .get(label)
                        .map_or_else(|| "unknown".into(), |t| t.platform.clone()),
                    push: row.push,
                    times: params.times - there.asked,
                });
            }
        }
    }
    let none = (
        Reason::NothingMissing,
        "each label has as many runs on each push as are wanted",
    );
    Wanted::of(targets, unable, none)
}

/// The pushes before this one that lack a label, up to the last one that has it: what a backfill asks for.
pub fn backfill(field: &Field, label: &Label, push: PushId, params: &RangeParams) -> Wanted {
    let depth = match params.back {
        0 => BACKFILL_DEPTH,
        back => back,
    };
    let before = field
        .pushes
        .iter()
        .rev()
        .filter(|row| row.push < push)
        .take(depth as usize);
    let lacking = before.take_while(|row| !field.on(label, row.push).is_there());
    let traits = field.universe();
    let platform = traits.get(label).map(|traits| traits.platform.clone());
    let mut targets = Vec::new();
    let mut unable = Vec::new();
    for row in lacking {
        match row.revision {
            Some(_) => targets.push(Target {
                label: label.clone(),
                platform: platform.clone().unwrap_or_else(|| "unknown".into()),
                push: row.push,
                times: params.times,
            }),
            None => unable.push(no_revision(label, row.push)),
        }
    }
    Wanted::of(
        targets,
        unable,
        (Reason::NoGap, "the push before it has the job already"),
    )
}

/// Pushes that a backfill looks back where its rule does not say.
const BACKFILL_DEPTH: u32 = 10;

fn no_revision(label: &Label, push: PushId) -> Unable {
    Unable {
        label: label.clone(),
        push: Some(push),
        why: "the revision of the push is not known".to_owned(),
    }
}

/// The pushes of the range, newest first: those between the ends, every so many of them from the last on.
fn pushes<'a>(field: &'a Field, push: PushId, params: &RangeParams) -> Vec<&'a PushRow> {
    let last = params.to.unwrap_or(push);
    let inside: Vec<&PushRow> = if params.delta > 0 {
        let delta = params.delta as usize;
        let after = field.pushes.iter().filter(|row| row.push > push).take(delta);
        let mut rows: Vec<&PushRow> = after.collect();
        rows.reverse();
        let before = field.pushes.iter().rev().filter(|row| row.push <= push);
        rows.extend(before.take(delta + 1));
        rows
    } else {
        let up_to_last = field.pushes.iter().rev().filter(|row| row.push <= last);
        match params.from {
            Some(from) => up_to_last.take_while(|row| row.push >= from).collect(),
            None => up_to_last.take(params.back as usize + 1).collect(),
        }
    };
    inside.into_iter().step_by(params.skip as usize + 1).collect()
}
