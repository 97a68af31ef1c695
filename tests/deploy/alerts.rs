//! Alerts: Prometheus takes them, each fires when it should, each can be looked up.

use std::collections::BTreeSet;

use serde_json::Value;

use super::promql::names;
use super::vocabulary::{assert_query_names_what_exists, dead_letter_reasons};
use super::{promtool, read, texts, yaml};

/// One alerting rule.
pub struct Alert {
    pub name: String,
    pub query: String,
    rule: Value,
}

/// The alerts, in the order of the file.
pub fn alerts() -> Vec<Alert> {
    let file = yaml("deploy/alerts.yml");
    let rules = file["groups"][0]["rules"].as_array().expect("a group has rules");
    rules
        .iter()
        .map(|rule| Alert {
            name: texts(&rule["alert"]).concat(),
            query: texts(&rule["expr"]).concat(),
            rule: rule.clone(),
        })
        .collect()
}

#[test]
fn prometheus_takes_the_configuration_and_its_alerts() {
    promtool(&["check", "config", "prometheus.yml"]);
}

#[test]
fn each_alert_fires_in_the_world_it_is_for_and_not_in_the_one_beside_it() {
    promtool(&["test", "rules", "alerts.test.yml"]);
}

#[test]
fn no_alert_is_without_a_world_in_which_it_fires() {
    let file = yaml("deploy/alerts.test.yml");
    let worlds = file["tests"].as_array().expect("there are tests");
    let tested: BTreeSet<String> = worlds
        .iter()
        .flat_map(|world| world["alert_rule_test"].as_array().into_iter().flatten())
        .filter(|test| test["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty()))
        .flat_map(|test| texts(&test["alertname"]))
        .collect();
    let named: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    assert_eq!(named, tested);
}

#[test]
fn every_alert_asks_for_metrics_labels_and_values_that_exist() {
    for alert in alerts() {
        assert_query_names_what_exists(&alert.query, &alert.name);
    }
}

#[test]
fn the_alert_on_dead_letters_counts_every_reason_why_a_message_cannot_be_read() {
    let alert = alerts()
        .into_iter()
        .find(|alert| alert.name == "SheriffdDeadLetters")
        .unwrap();
    let counted: Vec<String> = names(&alert.query).selectors[0].matchers[0].1.clone();
    assert_eq!(counted, dead_letter_reasons());
}

#[test]
fn every_alert_has_a_severity_and_a_section_of_its_name_in_the_manual() {
    let manual = read("docs/operations.md");
    let sections: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut described: BTreeSet<&str> = sections
        .iter()
        .copied()
        .filter(|name| name.starts_with("Sheriffd"))
        .collect();
    for alert in alerts() {
        let name = alert.name.as_str();
        let severity = texts(&alert.rule["labels"]["severity"]).concat();
        assert!(
            ["critical", "warning", "info"].contains(&severity.as_str()),
            "{name}: {severity}"
        );
        let runbook = format!("docs/operations.md#{}", name.to_lowercase());
        assert_eq!(texts(&alert.rule["annotations"]["runbook"]), [runbook], "{name}");
        assert!(
            described.remove(name),
            "docs/operations.md has no section `### {name}` that says what to do"
        );
    }
    assert!(
        described.is_empty(),
        "runbooks of alerts that do not exist: {described:?}"
    );
}
