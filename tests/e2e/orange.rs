//! The situation that most tests begin with: a job that passed, was skipped, and failed.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::ci_tree::Tree;
use crate::eventually::eventually;
use crate::fake_taskcluster::FakeTaskcluster;
use crate::publisher::Message;

/// The last pushes on which a job passes.
pub const GREEN: RangeInclusive<u64> = 1_000..=1_009;
/// The pushes on which it is skipped.
pub const SKIPPED: RangeInclusive<u64> = 1_010..=1_012;
/// The push on which it fails.
pub const ORANGE: u64 = 1_013;

/// All these pushes land; the labels can run on each.
pub fn pushes(tree: &Tree<'_>, labels: &[&str]) -> Vec<Message> {
    (*GREEN.start()..=ORANGE).map(|push| tree.lands(push, labels)).collect()
}

/// What is told of the job on these pushes.
pub fn turns_orange(tree: &Tree<'_>, label: &str) -> Vec<Message> {
    GREEN
        .flat_map(|push| tree.job(push, label).lives(false))
        .chain(tree.job(ORANGE, label).lives(true))
        .collect()
}

/// The requests that follow from it: one for each skipped push.
pub fn wanted(tree: &Tree<'_>, labels: &[&str]) -> BTreeSet<String> {
    labels
        .iter()
        .flat_map(|label| SKIPPED.map(|push| tree.payload_adding(push, label).to_string()))
        .collect()
}

/// The payloads with which hooks were fired so far, as texts in order.
pub fn fired(ci: &FakeTaskcluster) -> Vec<String> {
    let mut payloads: Vec<String> = ci.deeds().iter().map(|request| request.body.to_string()).collect();
    payloads.sort();
    payloads
}

/// Waits until as many hooks were fired as there are requests wanted, and checks that they are those, once each.
pub async fn are_asked_for(ci: &FakeTaskcluster, wanted: BTreeSet<String>) {
    eventually("the skipped jobs are asked for", async || {
        (fired(ci).len() >= wanted.len()).then_some(())
    })
    .await;
    assert_eq!(fired(ci), Vec::from_iter(wanted));
}

/// The reasons, labels and states of a case's requests, as the books have them.
pub fn states(case: &Value) -> Vec<(String, Option<String>)> {
    let actions = case["actions"].as_array().expect("a list of requests");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    actions
        .iter()
        .map(|action| (text(&action["state"]).unwrap_or_default(), text(&action["reason"])))
        .collect()
}
