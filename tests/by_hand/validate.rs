//! `sheriffd validate`.

use crate::world::{GROUP, LINUX, TEST, WINDOWS, World};

const ON_15: [&str; 5] = ["validate", "--project", "autoland", "--push", "15"];

#[tokio::test]
async fn a_test_is_validated_on_the_platforms_that_are_known_to_run_it() {
    let world = World::of_yesterday().await;
    let (code, said) = world.says(&[&ON_15[..], &["--test", TEST]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("C1 validate      open (shadow)"), "{said}");
    assert!(
        said.contains(&format!("{GROUP} ({TEST}) push 15: at least 61 more passes")),
        "{said}"
    );
    for line in [
        format!("  on linux2404-64: {LINUX}\n"),
        format!("  on windows11-64: {WINDOWS}\n"),
        "`sheriffd case show C1` tells how it goes\n".to_owned(),
    ] {
        assert!(said.contains(&line), "{line:?} in {said}");
    }
    let (_, again) = world.says(&[&ON_15[..], &["--test", TEST]].concat());
    assert!(again.starts_with("there is an open case already\nC1 "), "{again}");

    let (_, shown) = world.says(&["case", "show", "C1"]);
    assert!(shown.contains(" by tester\n"), "{shown}");
    assert!(
        shown.contains(&format!("    1.1 {LINUX} on push 15 x3: shadow\n")),
        "{shown}"
    );
    assert!(
        shown.contains(&format!("    1.2 {WINDOWS} on push 15 x3: shadow\n")),
        "{shown}"
    );
}

#[tokio::test]
async fn group_platforms_and_rates_can_be_chosen() {
    let world = World::of_yesterday().await;
    let options = "--group dom/a/mochitest.toml --platform win* --ok-rate 0.01 --bad-rate 0.1 --alpha 0.02 --beta 0.1 \
                   --parallel 2 --max-jobs 40 --env MOZ_LOG=all:5 --shadow";
    let options: Vec<&str> = options.split_whitespace().collect();
    let answer = world.json(&[&ON_15[..], &["--test", TEST], &options].concat());
    assert_eq!(answer["state"], "opened");
    let case = &answer["case"];
    assert_eq!(case["targets"].as_array().unwrap().len(), 1, "{case}");
    assert_eq!(case["targets"][0]["label"], WINDOWS);
    let params = &case["params"];
    for (name, value) in [("ok_rate", 0.01), ("bad_rate", 0.1), ("alpha", 0.02), ("beta", 0.1)] {
        assert_eq!(params[name], value, "{name}");
    }
    assert_eq!((&params["parallel"], &params["max_jobs"]), (&2.into(), &40.into()));
    assert_eq!(params["input"]["env"]["MOZ_LOG"], "all:5");
}

#[tokio::test]
async fn what_cannot_be_validated_is_said_with_the_reason_and_is_no_success() {
    let world = World::of_yesterday().await;
    for (arguments, code, reason) in [
        (
            "--push 15 --test dom/a/test_a.html --platform mac*",
            1,
            "no wanted platform runs the test; it runs on linux2404-64/opt, windows11-64/opt",
        ),
        (
            "--push 15 --test dom/z/test_z.html",
            // The history does not know it; the task graph of the push may, and only the daemon can ask for that.
            0,
            "it waits until the daemon has fetched what is not known yet (graph)",
        ),
        (
            "--push 999 --test dom/a/test_a.html",
            1,
            "push 999 of autoland is not known here: is the number right?",
        ),
        ("--test dom/a/test_a.html", 1, "name it by its number with --push"),
        ("--push 15", 2, "--test <TEST>"),
        (
            "--push 15 --test dom/a/test_a.html --ok-rate 0.5",
            2,
            "`ok_rate` is 0.5, but must be over 0 and under `bad_rate`",
        ),
    ] {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let (status, said) = world.says(&[&["validate", "--project", "autoland"], &arguments[..]].concat());
        assert_eq!(status, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}
