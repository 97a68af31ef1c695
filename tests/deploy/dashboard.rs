//! The dashboard: every query is sound, names what exists, and no metric is left out.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use sheriffd::telemetry::metric;

use super::alerts::alerts;
use super::promql::names;
use super::vocabulary::{assert_query_names_what_exists, metric_of};
use super::{promtool, read, texts, yaml};

const DASHBOARD: &str = "deploy/grafana/dashboards/sheriffd.json";

/// One query of a panel.
struct Target {
    panel: String,
    query: String,
    legend: String,
}

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON")
}

fn panels() -> Vec<Value> {
    dashboard()["panels"].as_array().expect("there are panels").clone()
}

fn targets() -> Vec<Target> {
    let of_panel = |panel: &Value| {
        let title = texts(&panel["title"]).concat();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| Target {
            panel: title.clone(),
            query: texts(&target["expr"]).concat(),
            legend: texts(&target["legendFormat"]).concat(),
        })
    };
    panels().iter().flat_map(of_panel).collect()
}

#[test]
fn every_query_names_metrics_labels_and_values_that_exist() {
    assert!(!targets().is_empty());
    for target in targets() {
        // The instances are chosen in the browser.
        assert_query_names_what_exists(&target.query, &target.panel);
    }
}

#[test]
fn prometheus_understands_every_query() {
    let recorded = |(number, target): (usize, Target)| {
        let query = target.query.replace("$__rate_interval", "5m");
        json!({ "record": format!("panel:{number}"), "expr": query })
    };
    let rules: Vec<Value> = targets().into_iter().enumerate().map(recorded).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yml");
    // JSON is YAML.
    let text = json!({ "groups": [{ "name": "queries", "rules": rules }] }).to_string();
    fs::write(&file, text).unwrap();
    promtool(&["check", "rules", &file.display().to_string()]);
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let targets = targets();
    let shown: BTreeSet<&str> = targets
        .iter()
        .flat_map(|target| names(&target.query).selectors)
        .filter_map(|selector| metric_of(&selector.metric))
        .map(|metric| metric.name)
        .collect();
    let all: BTreeSet<&str> = metric::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, all);
}

#[test]
fn a_legend_shows_only_labels_that_its_query_keeps() {
    for Target { panel, query, legend } in targets() {
        let kept = names(&query).grouping;
        for label in legend.split("{{").skip(1).filter_map(|part| part.split("}}").next()) {
            assert!(kept.contains(label), "{panel}: {legend} of {query}");
        }
    }
}

#[test]
fn a_panel_says_what_it_shows_and_names_alerts_that_exist() {
    let alerts: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    for panel in panels().iter().filter(|panel| panel["type"] != "row") {
        let title = texts(&panel["title"]).concat();
        let description = texts(&panel["description"]).concat();
        assert!(description.ends_with('.'), "{title}: {description:?}");
        if let Some((_, alert)) = description.split_once("Runbook: ") {
            assert!(alerts.contains(alert.trim_end_matches('.')), "{title}: {alert}");
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    let mut taken = BTreeSet::new();
    for panel in panels() {
        let cell = |key: &str| panel["gridPos"][key].as_u64().expect("a panel has a place");
        assert!(cell("x") + cell("w") <= 24, "{} leaves the page", panel["title"]);
        for x in cell("x")..cell("x") + cell("w") {
            for y in cell("y")..cell("y") + cell("h") {
                assert!(taken.insert((x, y)), "{} overlaps", panel["title"]);
            }
        }
    }
}

#[test]
fn grafana_finds_the_dashboard_and_the_dashboard_its_source() {
    let sources = yaml("deploy/grafana/provisioning/datasources/prometheus.yml");
    let uid = texts(&sources["datasources"][0]["uid"]);
    for panel in panels().iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(texts(&panel["datasource"]["uid"]), uid, "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(texts(&target["datasource"]["uid"]), uid, "{}", panel["title"]);
        }
    }
    let provider = yaml("deploy/grafana/provisioning/dashboards/sheriffd.yml");
    let folder = texts(&provider["providers"][0]["options"]["path"]).concat();
    let mounts = texts(&yaml("deploy/compose.yaml")["services"]["grafana"]["volumes"]);
    assert!(
        mounts.contains(&format!("./grafana/dashboards:{folder}:ro")),
        "{folder} is not mounted: {mounts:?}"
    );
}
