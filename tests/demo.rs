//! `sheriffd demo`, as somebody who has nothing but cargo sees it.

use std::process::Command;

/// What the demo tells with these arguments, as fast as it can, without the one line that names a free port.
fn story(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sheriffd"))
        .args(["demo", "--speed", "0"])
        .args(arguments)
        .output()
        .expect("the program can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .filter(|line| !line.contains("http://"))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_same_seed_tells_the_same_story() {
    assert_eq!(story(&["--seed", "7"]), story(&["--seed", "7"]));
    assert_ne!(story(&["--seed", "7"]), story(&["--seed", "8"]));
}

#[test]
fn the_demo_finds_what_is_broken_and_says_what_comes_next() {
    let story = story(&[]);
    let verdicts: Vec<&str> = story.lines().filter(|line| line.contains(": culprit - ")).collect();
    assert_eq!(
        verdicts.len(),
        3,
        "the permanent failure, the intermittent and the slower push:\n{story}"
    );
    let validation = story
        .lines()
        .find(|line| line.contains("validate toolkit/new/test_new.js: flaky - on macosx1470-64: "));
    for verdict in verdicts.into_iter().chain(Some(validation.unwrap_or(&story))) {
        assert!(verdict.ends_with("[true]"), "{verdict}");
    }
    let alert = story
        .find("  alert     tp5o takes 6 % longer on push ")
        .expect("an alert");
    let slower = story.find("find-perf-culprit tp5o of test-linux2404-64/opt-talos-tp5o: culprit - push 15 ");
    assert!(slower.is_some_and(|verdict| alert < verdict), "{story}");
    assert!(
        story.contains("until-hit test-windows11-64/opt-mochitest-plain: hit"),
        "{story}"
    );
    assert!(story.contains("never ran it"), "why jobs are asked for:\n{story}");
    assert!(
        story.contains("lineage: the run is one of our own"),
        "why others open nothing:\n{story}"
    );
    for step in ["1. sheriffd doctor", "2. sheriffd replay", "3. sheriffd run"] {
        assert!(story.contains(step), "{story}");
    }
}

#[test]
fn no_seed_makes_the_demo_name_a_wrong_push_often() {
    let mut right = 0;
    let mut wrong = 0;
    for seed in 20..28 {
        let story = story(&["--seed", &seed.to_string()]);
        right += story.matches("[true]").count();
        wrong += story.matches("[WRONG]").count();
    }
    assert!(right >= 20, "{right} right verdicts over 8 seeds");
    // Stated at 95 %: of so few, two wrong ones are still in keeping with that, four are not.
    assert!(
        wrong <= 3,
        "{wrong} wrong verdicts beside {right} right ones over 8 seeds"
    );
}

#[test]
fn a_longer_or_shorter_demo_ends_by_itself() {
    assert!(story(&["--pushes", "4"]).contains("Summary"));
    assert!(story(&["--pushes", "60", "--seed", "2"]).contains("60 pushes"));
}

#[test]
fn arguments_out_of_range_are_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_sheriffd"))
        .args(["demo", "--pushes", "1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--pushes"));
}
