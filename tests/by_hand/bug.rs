//! Cases about a bug: `sheriffd culprit --bug N` and `until-hit --bug N`.

use crate::eventually::eventually;
use crate::tracker::Tracker;
use crate::world::{LINUX, TEST, World};

async fn tracker() -> Tracker {
    Tracker::start(&[
        (
            7,
            "Intermittent dom/a/test_a.html | single tracking bug",
            &["intermittent-failure"],
            "",
        ),
        (8, "Intermittent crash in [@ foo]", &[], ""),
        (9, "Intermittent dom/z/test_z.html | single tracking bug", &[], ""),
    ])
    .await
}

#[tokio::test]
async fn a_bug_gives_the_test_and_its_failures_the_job_and_the_push() {
    let world = World::of_yesterday().await;
    let tracker = tracker().await;
    world.configure(&format!("[bugs]\nurl = \"{}\"\n", tracker.url()));
    let ask = |kind: &str, bug: &str| world.says(&[kind, "--project", "autoland", "--bug", bug]);
    for (kind, named) in [("culprit", "find-culprit"), ("until-hit", "until-hit")] {
        let (code, said) = ask(kind, "7");
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("it waits until the daemon has fetched"), "{said}");
        assert!(
            said.contains(&format!("`sheriffd explain request/autoland/?/{named}`")),
            "{said}"
        );
    }
    for bug in ["8", "9", "10"] {
        assert_eq!(ask("culprit", bug).0, Some(0));
    }
    let daemon = world.daemon();
    let cases = eventually("both cases are opened", async || {
        let answer = world.json(&["case", "list"]);
        let cases = answer["cases"].as_array().unwrap().clone();
        (cases.len() == 2).then_some(cases)
    })
    .await;
    let told = eventually("the rest is refused", async || {
        let (_, said) = world.says(&["explain", "request/autoland/?/find-culprit"]);
        (said.matches("facts-unknown").count() == 3).then_some(said)
    })
    .await;
    drop(daemon);
    for case in &cases {
        assert_eq!(case["subject"]["signature"]["test"], TEST);
        assert_eq!(case["label"], LINUX, "the job in which it failed");
    }
    let push_of = |kind: &str| {
        let case = cases.iter().find(|case| case["params"]["kind"] == kind);
        case.and_then(|case| case["push"].as_u64()).expect("a push")
    };
    assert!(
        push_of("find-culprit") < push_of("until-hit"),
        "a search starts at the first failure, a hunt at the newest"
    );
    for why in [
        "the tracker did not tell what bug 8 is about",
        "bug 9 is about dom/z/test_z.html, and no failure of it is known on autoland in the last 14 days",
        "the tracker did not tell what bug 10 is about",
    ] {
        assert!(told.contains(why), "{why}: {told}");
    }
    assert!(
        told.contains("name the job with --label and the push with --push"),
        "{told}"
    );
    assert_eq!(tracker.questions(), 4, "each bug once, however many ask");
}

#[tokio::test]
async fn without_a_tracker_a_bug_says_nothing_and_the_command_says_what_to_do() {
    let world = World::of_yesterday().await;
    for kind in ["culprit", "until-hit", "validate"] {
        let (code, said) = world.says(&[kind, "--project", "autoland", "--bug", "7"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("no tracker is set (`bugs.url`): name the job with --label"),
            "{said}"
        );
    }
    // What is named needs no bug.
    let named = [
        "culprit",
        "--project",
        "autoland",
        "--bug",
        "7",
        "--push",
        "15",
        "--label",
        LINUX,
    ];
    let (code, said) = world.says(&named);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("find-culprit"), "{said}");
}
