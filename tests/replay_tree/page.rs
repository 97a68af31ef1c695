//! The page `docs/replay-2014.md`: what became of every failure of the recorded tree.

use std::collections::BTreeMap;
use std::path::Path;

use crate::oracle::{Done, Verdict};
use crate::tree::Tree;

/// The page says what is true today. With `UPDATE_DOCS=1` in the environment it is written anew instead.
pub fn check(tree: &Tree, verdicts: &[Verdict]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/replay-2014.md");
    let text = text(tree, verdicts);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        written, text,
        "docs/replay-2014.md is out of date: run this test with UPDATE_DOCS=1 in the environment"
    );
}

fn numbers(pushes: &[u64]) -> String {
    let numbers: Vec<String> = pushes.iter().map(ToString::to_string).collect();
    if numbers.is_empty() {
        "-".to_owned()
    } else {
        numbers.join(", ")
    }
}

fn number(push: Option<u64>) -> String {
    push.map_or_else(|| "-".to_owned(), |push| push.to_string())
}

fn done(verdict: &Verdict) -> String {
    match verdict.done {
        Done::Asked => format!("asked for on {}", numbers(&verdict.missing)),
        Done::Moot => "nothing: backed out, and green since".to_owned(),
        Done::No(reason) => reason.to_owned(),
    }
}

fn text(tree: &Tree, verdicts: &[Verdict]) -> String {
    let row = |verdict: &Verdict| {
        format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            verdict.push,
            verdict.label,
            number(verdict.last_good),
            number(verdict.first_bad),
            numbers(&verdict.missing),
            done(verdict),
        )
    };
    let rows: String = verdicts.iter().map(row).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for verdict in verdicts {
        let word = match verdict.done {
            Done::Asked => "asked for",
            Done::Moot => "moot",
            Done::No(reason) => reason,
        };
        *counts.entry(word).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{word} {count}")).collect();
    let asked: usize = verdicts
        .iter()
        .filter(|verdict| verdict.done == Done::Asked)
        .map(|verdict| verdict.missing.len())
        .sum();
    format!(
        "# A real tree, replayed

Ten pushes of mozilla-inbound of 2014-04-15 with {jobs} jobs in two thirds of all job series, as Treeherder showed them
at one moment (mozilla/treeherder, `tests/ui/mock/resultset_list.json`, MPL-2.0). A generator makes the messages that
Taskcluster would have sent about them, in the order in which the jobs were submitted; `sheriffd replay` reads them with
a rule that looks at every failure. This is what becomes of each, in the order of the stream. The page is written by the
test `replay_tree`, which also holds the program's answer against it.

*Last good* is the last push before the failure on which the job had passed and not failed at that moment, *first bad*
the first push after it that had failed, *missing* the pushes between the two on which the job had not run and was not
waiting. Coalesced and cancelled jobs are no runs; neither are those that a lost machine ended.

{failures} failures: {counts}.
Requests: {asked}, each for one job on one push, none twice.

| push | job | last good | first bad | missing | what is done |
|---|---|---|---|---|---|
{rows}
What the words mean:

- **no-last-good**: on none of the pushes before had the job passed: nothing to start from. Most failures on the first
  pushes of any recording are of this kind, and so is what always fails.
- **no-gap**: the push before the first bad one was green: nothing is missing, the push itself is the suspect.
- **in-flight**: what is missing waits or runs already.
- **joined**: an open case is about the same job: the failure is evidence there.
",
        jobs = tree.jobs.len(),
        failures = verdicts.len(),
        counts = counts.join(", "),
    )
}
