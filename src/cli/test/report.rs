//! What `sheriffd test` prints.
//!
//! In: what came of each test. Out: text, JSON or JUnit XML. Never: judging.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::judge::Difference;
use super::stage::{Moment, Played};
use crate::cli::common::count;
use crate::cli::trace::write_clauses;
use crate::engine::ledger::DecisionResult;
use crate::rules::{RuleTest, TestExpectation};

/// One test and what came of it.
pub(super) struct Told<'t> {
    /// The test.
    pub test: &'t RuleTest,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a test.
pub(super) enum Outcome {
    /// Everything is as expected.
    Passed,
    /// Something is not; with the story.
    Failed(Vec<Difference>, Box<Played>),
    /// It could not be played.
    Broken(String),
}

impl Told<'_> {
    pub(super) fn passed(&self) -> bool {
        matches!(self.outcome, Outcome::Passed)
    }

    /// What is wrong, for people: expected against got, then what happened.
    fn story(&self) -> String {
        let mut out = Vec::new();
        // A vector takes everything.
        let _ = self.write_story(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write_story(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.outcome {
            Outcome::Passed => Ok(()),
            Outcome::Broken(why) => writeln!(out, "  it cannot be played: {why}"),
            Outcome::Failed(differences, played) => {
                for difference in differences {
                    writeln!(out, "  {} {}", difference.rule, difference.what)?;
                    writeln!(out, "    expected  {}", difference.expected)?;
                    writeln!(out, "    got       {}", difference.got)?;
                }
                writeln!(out, "  what happened")?;
                let rules: Vec<&str> = self.test.expectations.iter().map(rule_of).collect();
                for moment in &played.moments {
                    write_moment(moment, &rules, out)?;
                }
                for request in &played.requests {
                    let held: Vec<&str> = request.held.iter().map(|reason| reason.sentence()).collect();
                    if !held.is_empty() {
                        writeln!(
                            out,
                            "    held back: {} on push {} ({}): {}",
                            request.label,
                            request.push,
                            request.rule,
                            held.join("; ")
                        )?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn rule_of(expectation: &TestExpectation) -> &str {
    expectation.rule.as_str()
}

fn write_moment(moment: &Moment, rules: &[&str], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "    {} {}", moment.at, moment.what)?;
    for decision in moment
        .decisions
        .iter()
        .filter(|decision| rules.contains(&decision.rule.as_str()))
    {
        let why = match decision.result {
            DecisionResult::Opened => "a case is opened",
            DecisionResult::No(reason) => reason.sentence(),
        };
        writeln!(
            out,
            "      rule {}: {} - {why}",
            decision.rule,
            decision.result.as_str()
        )?;
        write_clauses(&decision.detail["clauses"], "        ", out)?;
    }
    for unmatched in moment
        .unmatched
        .iter()
        .filter(|unmatched| rules.contains(&unmatched.rule.as_str()))
    {
        writeln!(out, "      rule {}: no-match - its `match` said no", unmatched.rule)?;
        write_clauses(&json!(unmatched.clauses), "        ", out)?;
    }
    for news in &moment.news {
        writeln!(out, "      {news}")?;
    }
    Ok(())
}

/// For people: a line a test, and under each that failed what is wrong and what happened.
pub(super) fn pretty(told: &[Told<'_>], untested: &[&str], out: &mut dyn Write) -> io::Result<()> {
    for one in told {
        let word = if one.passed() { "ok  " } else { "FAIL" };
        writeln!(out, "{word}  {}  ({}:{})", one.test.name, one.test.file, one.test.line)?;
        one.write_story(out)?;
    }
    if !untested.is_empty() {
        writeln!(out, "without a test: {}", untested.join(", "))?;
    }
    let failed = told.iter().filter(|one| !one.passed()).count();
    writeln!(
        out,
        "{}: {} passed, {failed} failed",
        count(told.len() as u64, "test"),
        told.len() - failed
    )
}

/// For programs.
pub(super) fn json(told: &[Told<'_>], untested: &[&str]) -> Value {
    let one = |told: &Told<'_>| {
        let mut value = json!({
            "name": told.test.name,
            "file": told.test.file,
            "line": told.test.line,
            "passed": told.passed(),
        });
        match &told.outcome {
            Outcome::Passed => {}
            Outcome::Broken(why) => value["error"] = json!(why),
            Outcome::Failed(differences, played) => {
                value["differences"] = json!(differences);
                value["moments"] = played.moments.iter().map(moment).collect();
            }
        }
        value
    };
    let failed = told.iter().filter(|one| !one.passed()).count();
    json!({
        "tests": told.len(),
        "failed": failed,
        "untested": untested,
        "results": told.iter().map(one).collect::<Vec<_>>(),
    })
}

fn moment(moment: &Moment) -> Value {
    json!({
        "at": moment.at,
        "what": moment.what,
        "decisions": moment.decisions,
        "unmatched": moment.unmatched,
        "news": moment.news,
    })
}

/// JUnit XML, as test reporters read it: one suite a rule file.
pub(super) fn junit(told: &[Told<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut files: BTreeMap<&str, Vec<&Told<'_>>> = BTreeMap::new();
    for one in told {
        files.entry(&one.test.file).or_default().push(one);
    }
    let failures = |told: &[&Told<'_>]| {
        let broken = |one: &&&Told<'_>| matches!(one.outcome, Outcome::Broken(_));
        let failed = told.iter().filter(|one| !one.passed()).count();
        let errors = told.iter().filter(broken).count();
        (failed - errors, errors)
    };
    let (failed, errors) = failures(&told.iter().collect::<Vec<_>>());
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuites name="sheriffd test" tests="{}" failures="{failed}" errors="{errors}">"#,
        told.len()
    )?;
    for (file, told) in files {
        let (failed, errors) = failures(&told);
        writeln!(
            out,
            r#"  <testsuite name="{}" tests="{}" failures="{failed}" errors="{errors}">"#,
            xml(file),
            told.len()
        )?;
        for one in told {
            let (name, class) = (xml(&one.test.name), xml(file));
            let line = one.test.line;
            let (tag, message) = match &one.outcome {
                Outcome::Passed => {
                    writeln!(
                        out,
                        r#"    <testcase name="{name}" classname="{class}" file="{class}" line="{line}"/>"#
                    )?;
                    continue;
                }
                Outcome::Broken(why) => ("error", why.clone()),
                Outcome::Failed(differences, _) => ("failure", in_short(differences)),
            };
            writeln!(
                out,
                r#"    <testcase name="{name}" classname="{class}" file="{class}" line="{line}">"#
            )?;
            writeln!(
                out,
                r#"      <{tag} message="{}">{}</{tag}>"#,
                xml(&message),
                xml(&one.story())
            )?;
            writeln!(out, "    </testcase>")?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

fn in_short(differences: &[Difference]) -> String {
    let one = |difference: &Difference| {
        format!(
            "{} {}: expected {}, got {}",
            difference.rule, difference.what, difference.expected, difference.got
        )
    };
    differences.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Text as XML 1.0 can hold it: markup escaped, characters that XML has no place for replaced.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(character),
            control if control < ' ' || matches!(control, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            plain => escaped.push(plain),
        }
    }
    escaped
}
