//! Messages of pushes do not say which files they touch: a search for what broke a test asks the pushlog first, once.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sheriffd::engine::Note;
use sheriffd::engine::ledger::CaseRow;
use sheriffd::enrich::{FactError, FactSource, PushQuery};
use sheriffd::event::{Label, Project, PushEvent, PushId};
use sheriffd::sim::{NewTest, Plan};

use crate::desk::{BACKFILL, Desk, plan};

const LABEL: &str = "test-linux2404-64/opt-mochitest-plain";

/// What a pushlog was asked.
type Asked = Arc<Mutex<Vec<PushQuery>>>;

/// A pushlog that remembers what it was asked.
struct Pushlog {
    pushes: Arc<dyn FactSource>,
    asked: Asked,
    /// What it says to everything, if it has no answer.
    trouble: Option<FactError>,
}

#[async_trait]
impl FactSource for Pushlog {
    async fn pushes(&self, project: &Project, query: &PushQuery) -> Result<Vec<PushEvent>, FactError> {
        self.asked.lock().unwrap().push(query.clone());
        match &self.trouble {
            Some(trouble) => Err(trouble.clone()),
            None => self.pushes.pushes(project, query).await,
        }
    }
}

/// A test that push `push` adds, and that fails on a label from there on.
fn broken(name: &str, push: u64, label: &str) -> NewTest {
    NewTest {
        path: format!("dom/{name}/test_{name}.html"),
        group: format!("dom/{name}/mochitest.toml"),
        push: PushId(push),
        rates: vec![(Label::from(label), 1.0)],
    }
}

/// A tree that skips most jobs, and in which push 12 adds a test that fails from there on.
async fn played(rules: &str, trouble: Option<FactError>) -> (Vec<CaseRow>, Vec<PushQuery>) {
    let (desk, asked) = tree_of(&[LABEL], vec![broken("a", 12, LABEL)], rules, trouble).await;
    (desk.cases().await, asked)
}

/// A tree that skips most jobs, after everything has happened, and what its pushlog was asked.
async fn tree_of(
    labels: &[&str],
    tests: Vec<NewTest>,
    rules: &str,
    trouble: Option<FactError>,
) -> (Desk, Vec<PushQuery>) {
    let plan = Plan {
        skipped: 0.8,
        background: 0.0,
        ..plan(labels, 24, 4)
    };
    let asked = Asked::default();
    let pushlog = |pushes| {
        let asked = Arc::clone(&asked);
        Arc::new(Pushlog { pushes, asked, trouble }) as Arc<dyn FactSource>
    };
    let mut desk = Desk::with_pushlog(plan, tests, rules, pushlog);
    desk.play(None).await;
    let asked = asked.lock().unwrap().clone();
    (desk, asked)
}

fn culprit(cases: &[CaseRow]) -> &str {
    let [only] = cases else { panic!("{cases:#?}") };
    let verdict = only.verdict.as_ref().expect("it ended");
    assert_eq!(verdict.kind.as_str(), "culprit", "{verdict:?}");
    assert_eq!(verdict.pushes[0].push, PushId(12));
    &verdict.why
}

#[tokio::test]
async fn the_pushlog_is_asked_once_for_a_search_and_its_answer_counts() {
    let (cases, asked) = played(BACKFILL, None).await;
    let why = culprit(&cases);
    assert!(why.ends_with("it touches files near the test"), "{why}");
    let [PushQuery::Range { from, to }] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(
        (*from, *to),
        (PushId(1), cases[0].push),
        "all that it looks at, and nothing after it"
    );
}

#[tokio::test]
async fn a_search_that_does_not_look_at_files_asks_nobody() {
    let rules = BACKFILL.replace("max_jobs: 60", "max_jobs: 60, near_prior: 0");
    let (cases, asked) = played(&rules, None).await;
    assert!(!culprit(&cases).contains("near"));
    assert_eq!(asked, []);
}

#[tokio::test]
async fn a_search_opens_all_the_same_where_the_pushlog_does_not_answer() {
    let later = |retry_after| FactError::Later {
        retry_after,
        detail: "the pushlog is down".to_owned(),
    };
    let hour = std::time::Duration::from_secs(3_600);
    let absent = FactError::Absent("pushes of autoland".to_owned());
    for (trouble, most) in [(later(None), 4), (later(Some(hour)), 1), (absent, 1)] {
        let (cases, asked) = played(BACKFILL, Some(trouble.clone())).await;
        assert!(!culprit(&cases).contains("near"), "nobody has told");
        assert_eq!(asked.len(), most, "{trouble:?}: {asked:?}");
    }
}

#[tokio::test]
async fn a_later_search_asks_only_about_pushes_of_which_nobody_has_told() {
    let other = "test-linux2404-64/opt-xpcshell";
    let tests = vec![broken("a", 8, LABEL), broken("b", 16, other)];
    let (desk, asked) = tree_of(&[LABEL, other], tests, BACKFILL, None).await;
    let cases = desk.cases().await;
    let seen_on: Vec<PushId> = cases.iter().map(|case| case.push).collect();
    let [first, second] = seen_on.as_slice() else {
        panic!("{cases:#?}")
    };
    let range = |from: u64, to: PushId| PushQuery::Range { from: PushId(from), to };
    assert_eq!(asked, [range(1, *first), range(first.0 + 1, *second)]);
}

#[tokio::test]
async fn rules_about_pushes_do_not_look_again_at_pushes_that_are_told_of_for_a_search() {
    let rules = format!(
        "{BACKFILL}
  - name: every-push
    on: push.created
    open: {{ kind: fill, max_jobs: 5 }}
    mode: shadow
"
    );
    let (desk, asked) = tree_of(&[LABEL], vec![broken("a", 12, LABEL)], &rules, None).await;
    assert_eq!(asked.len(), 1);
    let looks = desk.notes.iter().filter(|note| match note {
        Note::Decided(decision) => decision.rule.as_str() == "every-push",
        _ => false,
    });
    assert_eq!(looks.count(), 24, "each push once");
}
