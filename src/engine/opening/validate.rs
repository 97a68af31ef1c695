//! A test is new: which jobs run it, and whether it is to be validated.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Draft;
use crate::engine::ledger::{Groups, Ledger, LedgerError, Runner};
use crate::engine::settings::globs;
use crate::event::test_path;
use crate::event::{
    CaseParams, Label, Project, PushId, Signature, Subject, Target, TaskGraph, Timestamp, Unable, ValidateParams,
};

/// Tests of one push that are validated: a push that adds more imports them from elsewhere, where they are not new.
pub const MOST_TESTS: usize = 50;

/// A test that may be validated.
#[derive(Debug, Clone, Copy)]
pub struct NewTest<'a> {
    /// The tree.
    pub project: &'a Project,
    /// The push.
    pub push: PushId,
    /// Its path.
    pub path: &'a str,
    /// Its group (manifest), when somebody named it.
    pub group: Option<&'a str>,
    /// Files that the push touches: a manifest among them is the likeliest.
    pub touched: &'a [Arc<str>],
}

/// Labels that the history knows to run the group of the test, or, where it knows none, those that the task graph of the
/// push names, if that was fetched: of the group that was named, else of the one that the test's path, its name and the
/// push tell.
///
/// # Errors
/// The books are busy or damaged.
pub fn runners(ledger: &mut dyn Ledger, test: &NewTest<'_>, since: Timestamp) -> Result<Vec<Runner>, LedgerError> {
    let known = choose(test, |groups| ledger.runners(test.project, groups, since))?;
    if !known.is_empty() {
        return Ok(known);
    }
    let Some(graph) = ledger.graph_of(test.project, test.push)? else {
        return Ok(Vec::new());
    };
    choose(test, |groups| Ok(in_graph(&graph, groups, test.push)))
}

/// The jobs of a task graph that run one of these groups.
fn in_graph(graph: &TaskGraph, groups: Groups<'_>, push: PushId) -> Vec<Runner> {
    let is_meant = |group: &&Arc<str>| match groups {
        Groups::Named(name) => ***group == *name,
        Groups::In(folder) => test_path::folder_of_group(group) == folder,
    };
    let runners = graph.jobs.iter().flat_map(|(label, job)| {
        let place = job
            .platform
            .as_deref()
            .or(label.place_and_rest().map(|(place, _)| place));
        let platform = place.and_then(|place| place.split('/').next()).unwrap_or("unknown");
        job.groups.iter().filter(is_meant).map(move |group| Runner {
            label: label.clone(),
            series: label.without_number(),
            platform: platform.into(),
            group: Arc::clone(group),
            push,
        })
    });
    runners.collect()
}

/// The runners of the group that the test is in, as far as it can be told.
fn choose(
    test: &NewTest<'_>,
    mut find: impl FnMut(Groups<'_>) -> Result<Vec<Runner>, LedgerError>,
) -> Result<Vec<Runner>, LedgerError> {
    if let Some(group) = test.group {
        return find(Groups::Named(group));
    }
    for group in test_path::web_platform_groups(test.path) {
        let found = find(Groups::Named(&group))?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let mut found = find(Groups::In(test_path::folder(test.path)))?;
    let rank = |group: &str| {
        let touched = test
            .touched
            .iter()
            .any(|file| group == &**file || group.ends_with(&format!(":{file}")));
        (test_path::fit(group, test.path), touched)
    };
    let best = found.iter().map(|runner| rank(&runner.group)).max();
    found.retain(|runner| Some(rank(&runner.group)) == best && rank(&runner.group).0 > 0);
    Ok(found)
}

/// The case about a test, or why there can be none.
pub fn draft(test: &NewTest<'_>, params: &ValidateParams, runners: &[Runner]) -> Result<Draft, String> {
    let mut groups: Vec<&Arc<str>> = runners.iter().map(|runner| &runner.group).collect();
    groups.sort();
    groups.dedup();
    let group = match groups.as_slice() {
        [] => return Err(format!("no job is known to run {}", what(test))),
        [only] => Arc::clone(only),
        several => {
            let names: Vec<&str> = several.iter().map(|group| &***group).collect();
            return Err(format!(
                "{} may belong to any of several groups ({}): name one",
                test.path,
                names.join(", ")
            ));
        }
    };
    let wanted = globs(&params.platforms).map_err(|error| format!("`platforms` cannot be used: {error}"))?;
    // One job a platform and option: of variants and chunks the shortest name, the newest, the first.
    let mut by_platform: BTreeMap<String, &Runner> = BTreeMap::new();
    let mut left_out: BTreeMap<String, &Runner> = BTreeMap::new();
    for runner in runners {
        let platform = platform_and_option(runner);
        let is_wanted = params.platforms.is_empty() || wanted.is_match(&platform) || wanted.is_match(&*runner.platform);
        let place = if is_wanted { &mut by_platform } else { &mut left_out };
        let order = |runner: &Runner| {
            (
                runner.series.as_str().len(),
                std::cmp::Reverse(runner.push),
                runner.label.clone(),
            )
        };
        place
            .entry(platform)
            .and_modify(|best| {
                if order(runner) < order(best) {
                    *best = runner;
                }
            })
            .or_insert(runner);
    }
    if by_platform.is_empty() {
        let names: Vec<String> = left_out.into_keys().collect();
        return Err(format!(
            "no wanted platform runs the test; it runs on {}",
            names.join(", ")
        ));
    }
    let platforms: Vec<&Arc<str>> = by_platform.values().map(|runner| &runner.platform).collect();
    let targets: Vec<Target> = by_platform
        .iter()
        .map(|(platform, runner)| Target {
            label: runner.label.clone(),
            // Where a platform has several options, only both together tell the jobs apart.
            platform: match platforms.iter().filter(|other| ***other == runner.platform).count() {
                1 => Arc::clone(&runner.platform),
                _ => platform.as_str().into(),
            },
            push: test.push,
            times: 0,
        })
        .collect();
    let Some(first) = targets.first() else {
        return Err(format!("no job is known to run {}", what(test)));
    };
    let label = first.label.clone();
    Ok(Draft {
        platform: Arc::clone(&first.platform),
        targets,
        ..Draft::about(
            CaseParams::Validate(params.clone()),
            subject(test, &group),
            label,
            test.push,
        )
    })
}

/// A case that a person opened and that cannot do anything: it says so as its verdict.
pub fn hopeless(test: &NewTest<'_>, params: &ValidateParams, why: String) -> Draft {
    let group = test.group.unwrap_or(test.path);
    Draft {
        unable: vec![Unable {
            label: Label::from(group),
            push: Some(test.push),
            why,
        }],
        ..Draft::about(
            CaseParams::Validate(params.clone()),
            subject(test, group),
            Label::from(group),
            test.push,
        )
    }
}

/// The group stands in place of a label: the case is about no single one.
fn subject(test: &NewTest<'_>, group: &str) -> Subject {
    Subject {
        project: test.project.clone(),
        label: Label::from(group),
        series: None,
        signature: Some(Signature {
            group: Some(group.into()),
            test: test.path.into(),
        }),
    }
}

fn what(test: &NewTest<'_>) -> String {
    match test.group {
        Some(group) => format!("{group}, as far as history and task graph tell"),
        None => format!("a manifest beside {}, as far as history and task graph tell", test.path),
    }
}

/// `linux2404-64/opt` of `test-linux2404-64/opt-mochitest-1`; the platform where the label has no option.
fn platform_and_option(runner: &Runner) -> String {
    let label = runner.label.as_str();
    let label = label.strip_prefix("test-").unwrap_or(label);
    let Some(slash) = label.find('/') else {
        return runner.platform.to_string();
    };
    let end = label
        .get(slash..)
        .and_then(|rest| rest.find('-'))
        .map_or(label.len(), |dash| slash + dash);
    label.get(..end).unwrap_or(label).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(label: &str, series: &str, group: &str, push: u64) -> Runner {
        Runner {
            label: Label::from(label),
            series: Label::from(series),
            platform: label
                .trim_start_matches("test-")
                .split('/')
                .next()
                .unwrap_or_default()
                .into(),
            group: group.into(),
            push: PushId(push),
        }
    }

    fn drafted(runners: &[Runner], platforms: &[&str]) -> Result<Vec<(String, String)>, String> {
        let project = Project::from("autoland");
        let test = NewTest {
            project: &project,
            push: PushId(9),
            path: "dom/test/test_a.html",
            group: None,
            touched: &[],
        };
        let params = ValidateParams {
            platforms: platforms.iter().map(ToString::to_string).collect(),
            ..ValidateParams::default()
        };
        let draft = draft(&test, &params, runners)?;
        let target = |target: &Target| (target.platform.to_string(), target.label.to_string());
        Ok(draft.targets.iter().map(target).collect())
    }

    const GROUP: &str = "dom/test/mochitest.toml";

    #[test]
    fn there_is_one_job_a_platform_and_option_the_plainest_and_newest() {
        let runners = [
            runner(
                "test-linux/opt-mochitest-swr-1",
                "test-linux/opt-mochitest-swr",
                GROUP,
                8,
            ),
            runner("test-linux/opt-mochitest-4", "test-linux/opt-mochitest", GROUP, 7),
            runner("test-linux/opt-mochitest-2", "test-linux/opt-mochitest", GROUP, 3),
            runner("test-linux/debug-mochitest-1", "test-linux/debug-mochitest", GROUP, 8),
            runner("test-mac/opt-mochitest-1", "test-mac/opt-mochitest", GROUP, 8),
        ];
        let wanted = [
            ("linux/debug", "test-linux/debug-mochitest-1"),
            ("linux/opt", "test-linux/opt-mochitest-4"),
            ("mac", "test-mac/opt-mochitest-1"),
        ];
        let wanted = wanted.map(|(platform, label)| (platform.to_owned(), label.to_owned()));
        assert_eq!(drafted(&runners, &[]), Ok(wanted.to_vec()));
        assert_eq!(drafted(&runners, &["mac*"]), Ok(wanted[2..].to_vec()));
        // With one option left, the platform's name is enough.
        let only_debug = vec![("linux".to_owned(), "test-linux/debug-mochitest-1".to_owned())];
        assert_eq!(drafted(&runners, &["*/debug"]), Ok(only_debug));
        let error = drafted(&runners, &["windows*"]).unwrap_err();
        assert!(error.contains("it runs on linux/debug, linux/opt, mac/opt"), "{error}");
    }

    #[test]
    fn a_test_that_no_job_or_too_many_groups_may_hold_is_refused_with_the_reason() {
        assert!(drafted(&[], &[]).unwrap_err().contains("no job is known to run"));
        let two = [
            runner("test-linux/opt-a-1", "test-linux/opt-a", "dom/test/a.toml", 8),
            runner("test-linux/opt-b-1", "test-linux/opt-b", "dom/test/b.toml", 8),
        ];
        let error = drafted(&two, &[]).unwrap_err();
        assert!(
            error.contains("(dom/test/a.toml, dom/test/b.toml): name one"),
            "{error}"
        );
    }
}
