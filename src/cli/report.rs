//! `sheriffd report`: what was asked for and what came of it; what rules in shadow would have asked for.
//!
//! In: the store. Out: cases by rule and verdict, jobs by day and platform, of live rules beside those in shadow. Never:
//! changing anything.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde_json::json;

use super::CliError;
use super::common::{ConfigArgs, FormatArgs};
use super::costs::{CostLine, Costs, beside, write_table};
use crate::clock::{Clock, SystemClock};
use crate::event::{Duration, parse_duration};
use crate::store::sqlite::{CasesOfRule, Spending};

/// Arguments of `sheriffd report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Only what rules in shadow would have done
    #[arg(long)]
    shadow: bool,
    /// Only one rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// How far back: `24h`, `7d`
    #[arg(long, value_name = "DURATION", value_parser = span, default_value = "7d")]
    since: Duration,
    #[command(flatten)]
    format: FormatArgs,
}

fn span(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// What the cases of a rule came to, in one mode.
#[derive(Debug, Default, serde::Serialize)]
struct RuleLine {
    kind: String,
    shadow: bool,
    cases: u64,
    /// Cases by verdict; `open` are those without.
    verdicts: BTreeMap<String, u64>,
    /// Jobs that they asked for, or in shadow would have.
    jobs: u64,
}

/// Runs `sheriffd report`.
///
/// # Errors
/// There is no store, or the output is closed.
pub fn run(args: &ReportArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let since = SystemClock.now().minus(args.since);
    let (spending, cases) = config.with_store(|books| Ok((books.spending(since)?, books.cases_by_rule(since)?)))?;
    let is_wanted =
        |rule: &str, shadow: bool| args.rule.as_ref().is_none_or(|wanted| wanted == rule) && (shadow || !args.shadow);
    let spending: Vec<Spending> = spending
        .into_iter()
        .filter(|line| is_wanted(&line.rule, line.shadow))
        .collect();
    let cases: Vec<CasesOfRule> = cases
        .into_iter()
        .filter(|line| is_wanted(&line.rule, line.shadow))
        .collect();
    let (mut live, mut shadow) = (Costs::default(), Costs::default());
    for line in &spending {
        let side = if line.shadow { &mut shadow } else { &mut live };
        side.add(line.day, &line.platform, line.jobs);
    }
    let costs = beside(&live, &shadow);
    let rules = rules(&spending, cases);
    let answer = json!({ "since": since, "rules": listed(&rules), "costs": costs });
    args.format.write(out, &answer, |out| text(&rules, &costs, out))
}

/// A rule and whether it was in shadow.
type Account = (String, bool);

fn rules(spending: &[Spending], cases: Vec<CasesOfRule>) -> BTreeMap<Account, RuleLine> {
    let mut rules: BTreeMap<Account, RuleLine> = BTreeMap::new();
    for line in cases {
        let rule = rules.entry((line.rule, line.shadow)).or_default();
        rule.kind = line.kind;
        rule.shadow = line.shadow;
        rule.cases += line.count;
        *rule
            .verdicts
            .entry(line.verdict.unwrap_or_else(|| "open".to_owned()))
            .or_default() += line.count;
    }
    for line in spending {
        // Jobs of cases that were opened earlier count too.
        let rule = rules.entry((line.rule.clone(), line.shadow)).or_default();
        rule.shadow = line.shadow;
        rule.jobs += line.jobs;
    }
    rules
}

fn listed(rules: &BTreeMap<Account, RuleLine>) -> Vec<serde_json::Value> {
    let one = |((name, _), rule): (&Account, &RuleLine)| {
        let mut value = json!(rule);
        value["rule"] = json!(name);
        value
    };
    rules.iter().map(one).collect()
}

fn text(rules: &BTreeMap<Account, RuleLine>, costs: &[CostLine], out: &mut dyn Write) -> std::io::Result<()> {
    if rules.is_empty() {
        return writeln!(out, "no case was opened and no job asked for");
    }
    for ((name, shadow), rule) in rules {
        let verdicts: Vec<String> = rule
            .verdicts
            .iter()
            .map(|(verdict, count)| format!("{verdict} {count}"))
            .collect();
        writeln!(
            out,
            "{name}{}: {} cases ({}), {} jobs",
            if *shadow { " (shadow)" } else { "" },
            rule.cases,
            verdicts.join(", "),
            rule.jobs
        )?;
    }
    if costs.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    write_table(costs, ["live", "shadow"], out)
}
