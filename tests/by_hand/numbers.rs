//! `sheriffd perf` and `sheriffd baseline`.

use crate::world::{LINUX, TALOS, World};

#[tokio::test]
async fn the_push_that_made_a_series_step_is_looked_for_by_series_or_by_label() {
    let world = World::of_yesterday().await;
    let by_series = ["perf", "--project", "autoland", "--push", "14", "--series", "tp5o"];
    let (code, said) = world.says(&by_series);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("C1 "), "{said}");
    assert!(
        said.contains(&format!(
            "find-perf-culprit open (shadow)      autoland {TALOS} (tp5o) push 14: "
        )),
        "{said}"
    );
    // The same series by its job and by the ends of the range is the same question.
    let by_label = "perf --project autoland --from 8 --to 14 --label";
    let by_label: Vec<&str> = by_label.split(' ').chain([TALOS]).collect();
    let (code, said) = world.says(&by_label);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("there is an open case already\nC1 "), "{said}");
}

#[tokio::test]
async fn options_of_a_search_for_a_step_reach_the_case() {
    let world = World::of_yesterday().await;
    let command = "perf --project autoland --from 8 --to 14 --series tp5o --confidence 0.99 --min-shift 0.05 --parallel 3 \
                   --max-jobs 30";
    let answer = world.json(&command.split_whitespace().collect::<Vec<_>>());
    let params = &answer["case"]["params"];
    assert_eq!(params["kind"], "find-perf-culprit");
    assert_eq!(
        (&params["confidence"], &params["min_shift"]),
        (&0.99.into(), &0.05.into())
    );
    assert_eq!((&params["parallel"], &params["max_jobs"]), (&3.into(), &30.into()));
    assert_eq!(params["max_depth"], 11, "the range and some pushes before it");
}

#[tokio::test]
async fn a_baseline_names_what_it_measures_and_what_it_cannot() {
    let world = World::of_yesterday().await;
    let command = "baseline --project autoland --push 15 --label *talos* --label *raptor* --precision 0.02";
    let command: Vec<&str> = command.split(' ').collect();
    let (code, said) = world.says(&command);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("autoland *talos* *raptor* push 15: 0 of 1 job is established"),
        "{said}"
    );
    assert!(
        said.contains("  not possible: *raptor*: no such job ran lately\n"),
        "{said}"
    );
    let (_, shown) = world.says(&["case", "show", "1"]);
    assert!(shown.contains(&format!("    1.1 {TALOS} on push 15 x")), "{shown}");
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_in_words_that_lead_on() {
    let world = World::of_yesterday().await;
    let on_mochitest = format!("perf --project autoland --push 14 --label {LINUX}");
    for (command, code, reason) in [
        (
            "perf --project autoland --push 14 --series tp6",
            1,
            "no job of autoland is known to have measured `tp6`: name the job with --label",
        ),
        (
            on_mochitest.as_str(),
            1,
            "is not known to have measured anything on autoland: name the --series",
        ),
        (
            "perf --project autoland --push 999 --series tp5o",
            1,
            "push 999 of autoland is not known here",
        ),
        (
            "perf --project autoland --from 14 --to 8 --series tp5o",
            2,
            "--from 14 has to be before --to 8",
        ),
        ("perf --project autoland --push 14", 2, "--label <LABEL>"),
        (
            "perf --project elsewhere --push 14 --series tp5o",
            1,
            "elsewhere is not watched",
        ),
        (
            "perf --project autoland --series tp5o",
            1,
            "name it by its number with --push",
        ),
        (
            "perf --project autoland --push 14 --series tp5o --set engine.read_values=false",
            1,
            "what runs measured is not read",
        ),
        (
            "baseline --project autoland --push 14 --label *raptor*",
            1,
            "no job that ran lately on autoland fits `*raptor*`",
        ),
        ("baseline --project autoland --push 14", 2, "--label <PATTERN>"),
        (
            "baseline --project autoland --push 14 --label *talos* --precision 7",
            2,
            "`precision` is 7",
        ),
    ] {
        let (status, said) = world.says(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(status, Some(code), "{command}: {said}");
        assert!(said.contains(reason), "{command}: {said}");
    }
    let (_, none) = world.says(&["case", "list"]);
    assert_eq!(none, "no cases\n", "nothing was opened");
}
