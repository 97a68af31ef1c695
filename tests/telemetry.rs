//! The metrics page.

use sheriffd::telemetry::{install_metrics, metric};

#[test]
fn the_page_describes_what_was_counted_and_shows_the_rest_at_zero() {
    let page = install_metrics().expect("this process has no recorder yet");
    metric::EVENTS_RECEIVED.counter(&["job.finished"]).increment(3);
    metric::CASES_CLOSED
        .counter(&["find-culprit", "no-culprit"])
        .increment(1);
    metric::STORE_TRANSACTION.histogram(&[]).record(0.003);
    metric::BUILD_INFO.gauge(&["0.1.0"]).set(1.0);

    let text = page.render();

    for line in [
        "# TYPE sheriffd_events_received_total counter",
        "# HELP sheriffd_events_received_total Events read from messages, by the event's name in rules.",
        r#"sheriffd_events_received_total{event="job.finished"} 3"#,
        r#"sheriffd_cases_closed_total{kind="find-culprit",verdict="no-culprit"} 1"#,
        r#"sheriffd_store_transaction_duration_seconds_bucket{le="0.0025"} 0"#,
        r#"sheriffd_store_transaction_duration_seconds_bucket{le="0.005"} 1"#,
        r#"sheriffd_build_info{version="0.1.0"} 1"#,
        "sheriffd_amqp_possible_losses_total 0",
        "sheriffd_amqp_connected 0",
        "sheriffd_outbox_depth 0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    assert!(install_metrics().is_err(), "a second recorder is refused, not ignored");
}
