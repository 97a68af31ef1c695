//! `sheriffd doctor`: what would not work, before it does not.

use std::io::Write;
use std::sync::Arc;

use serde_json::json;

use super::CliError;
use super::common::{ConfigArgs, FormatArgs};
use crate::bus::amqp;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::daemon::parts;
use crate::event::Duration;
use crate::finding::Finding;
use crate::rules::{Mode, RuleSet};
use crate::store::sqlite::SqliteStore;

/// A history younger than this knows too little of what is normal.
const YOUNG: Duration = Duration::from_secs(3 * 24 * 3600);

fn finding(what: &str, result: Result<String, String>) -> Finding {
    let ok = result.is_ok();
    Finding {
        what: what.to_owned(),
        ok,
        detail: result.unwrap_or_else(|error| error),
    }
}

/// Runs `sheriffd doctor`.
pub async fn run(format: &FormatArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let config = config.load()?.config;
    let mut findings = vec![finding("configuration", Ok("sound".into()))];
    let rules = RuleSet::load(&config.rules.paths);
    findings.push(rules_finding(&rules));
    findings.push(store_finding(&config));
    findings.extend(ci_findings(&config).await);
    match &rules {
        Ok(rules) => {
            let settings = config.broker.amqp(parts::bindings(&config, rules), Vec::new());
            findings.extend(amqp::check(&settings).await);
        }
        Err(_) => findings.push(finding(
            "broker",
            Err("not looked at: bindings are derived from rules".into()),
        )),
    }
    let bad = findings.iter().filter(|finding| !finding.ok).count();
    format.write(out, &json!({ "findings": findings, "bad": bad }), |out| {
        for finding in &findings {
            writeln!(
                out,
                "{} {}: {}",
                if finding.ok { "ok  " } else { "BAD " },
                finding.what,
                finding.detail
            )?;
        }
        Ok(())
    })?;
    match bad {
        0 => Ok(()),
        1 => Err(CliError::no("1 thing would not work")),
        bad => Err(CliError::no(format!("{bad} things would not work"))),
    }
}

fn rules_finding(rules: &Result<RuleSet, crate::rules::Diagnostics>) -> Finding {
    match rules {
        Ok(rules) => {
            let live = rules.rules().iter().filter(|rule| rule.mode == Mode::Live).count();
            finding(
                "rules",
                Ok(format!(
                    "{} rules, {live} of them live, version {}",
                    rules.rules().len(),
                    rules.version()
                )),
            )
        }
        Err(errors) => finding("rules", Err(errors.to_string())),
    }
}

fn store_finding(config: &Config) -> Finding {
    let path = &config.store.path;
    let depth = SqliteStore::open(path).and_then(|mut store| store.transact(|books| books.summary()));
    let result = match depth {
        Err(error) => Err(error.to_string()),
        Ok(summary) => {
            let age = summary
                .oldest_run
                .zip(summary.newest_run)
                .map_or(Duration::ZERO, |(oldest, newest)| newest.since(oldest));
            let young = if age < YOUNG {
                "; a young history stays silent where it does not know what is normal: `sheriffd import` seeds it"
            } else {
                ""
            };
            Ok(format!(
                "{}: {} runs of {} jobs over {:.1} days{young}",
                path.display(),
                summary.runs,
                summary.labels,
                age.as_secs_f64() / 86_400.0
            ))
        }
    };
    finding("store", result)
}

async fn ci_findings(config: &Config) -> Vec<Finding> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut findings = match parts::backend(config, &clock) {
        Ok(backend) => backend.check().await,
        Err(error) => vec![finding("backend", Err(error.to_string()))],
    };
    if !parts::can_ask(config) {
        let text = "no credentials for a CI: everything is decided in shadow, nothing is asked for";
        findings.push(finding("credentials", Ok(text.into())));
    }
    if let Err(error) = parts::facts(config, &clock) {
        findings.push(finding("sources of facts", Err(error.to_string())));
    }
    findings
}
