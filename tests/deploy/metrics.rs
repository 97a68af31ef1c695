//! What a running daemon shows to Prometheus.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use sheriffd::daemon::observe_round;
use sheriffd::dispatch::{Counted, Outcome, Round};
use sheriffd::event::{ActionKey, BackendName, CaseId, JobRequest, PushId, Reason, RunInput};
use sheriffd::telemetry::install_metrics;

use super::demo::Demo;
use super::vocabulary::metric_of;

#[test]
fn the_page_shows_known_metrics_in_a_form_that_prometheus_has_nothing_against() {
    let demo = Demo::start();
    let page = demo.page("/metrics");
    for line in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        assert!(metric_of(name).is_some(), "{line}");
    }
    for part in ["bus", "store", "rules"] {
        let line = format!("sheriffd_ready{{part=\"{part}\"}} 1");
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }

    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is not installed: run scripts/install-test-deps.sh");
    let mut stdin = promtool.stdin.take().expect("its input is piped");
    stdin.write_all(page.as_bytes()).expect("it reads");
    drop(stdin);
    let checked = promtool.wait_with_output().expect("it ends");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn a_request_that_has_to_wait_is_counted_by_its_reason() {
    let page = install_metrics().expect("no other test of this binary installs a recorder");
    let request = JobRequest {
        key: ActionKey {
            case: CaseId(1),
            step: 1,
            slot: 1,
        },
        project: "autoland".into(),
        push: PushId(12),
        revision: "abcdef".into(),
        label: "test".into(),
        times: 1,
        existing: None,
        group: None,
        input: RunInput::default(),
        why: "a test".to_owned(),
    };
    let later = Outcome::Later(Reason::BackendRefused, "missing scope".to_owned(), None);
    let round = Round {
        done: vec![(request, "a-rule".to_owned(), later, Duration::from_millis(20))],
        held: Vec::new(),
        cancelled: Vec::new(),
        counted: vec![("t/linux".to_owned(), Counted::Failed("HTTP 503".to_owned()))],
    };

    observe_round(&round, &BackendName::from("ci"));

    let text = page.render();
    for line in [
        r#"sheriffd_actions_total{rule="a-rule",backend="ci",result="later"} 1"#,
        r#"sheriffd_actions_suppressed_total{reason="backend-refused"} 1"#,
        r#"sheriffd_pools_counted_total{result="failed"} 1"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
}
