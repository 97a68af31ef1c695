//! `sheriffd culprit`, `until-hit`, `validate`, `fill`, `add`, `range`, `perf`, `baseline`: cases that a person opens. One
//! file a command.
//!
//! In: the arguments. Out: the case that was opened or joined, or the reason why none was. What the store does not know
//! yet waits in the inbox for the daemon, and the command says so.
//!
//! A further command is a file with its arguments and a `run` that makes an [`OpenRequest`] and hands it to [`open`].

mod add;
mod baseline;
mod culprit;
mod fill;
mod perf;
mod range;
mod until_hit;
mod validate;

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;

use super::CliError;
use super::case::line;
use super::common::{ConfigArgs, FormatArgs};
use crate::clock::{Clock, SystemClock};
use crate::daemon::parts;
use crate::engine::ledger::CaseRow;
use crate::engine::{Answer, Engine};
use crate::event::{
    CaseKind, CaseParams, Label, OpenRequest, Project, PushId, RequestEvent, RequestKind, Revision, RunInput,
    Signature, VerdictKind,
};
use crate::rules::RuleSet;

pub use add::{AddArgs, run as add};
pub use baseline::{BaselineArgs, run as baseline};
pub use culprit::{CulpritArgs, run as culprit};
pub use fill::{FillArgs, run as fill};
pub use perf::{PerfArgs, run as perf};
pub use range::{RangeArgs, run as range};
pub use until_hit::{UntilHitArgs, run as until_hit};
pub use validate::{ValidateArgs, run as validate};

/// Where, for whom, and how far: what every command that opens a case takes.
#[derive(Debug, Args)]
pub struct Place {
    /// The tree: `autoland`
    #[arg(long)]
    project: String,
    /// The push, by number
    #[arg(long, value_name = "N", conflicts_with = "revision")]
    push: Option<u64>,
    /// The push, by its head revision
    #[arg(long, alias = "rev", value_name = "REV")]
    revision: Option<String>,
    /// The bug that it is about
    #[arg(long, value_name = "N")]
    bug: Option<u64>,
    /// Jobs that the case may ask for in all
    #[arg(long, value_name = "N")]
    max_jobs: Option<u32>,
    /// Decide, and ask for nothing
    #[arg(long)]
    shadow: bool,
    /// Who asks
    #[arg(long, env = "USER", default_value = "unknown")]
    requester: String,
    #[command(flatten)]
    format: FormatArgs,
}

/// The job that a case is about, and what fails in it.
#[derive(Debug, Args)]
pub struct Job {
    /// The job's label, whole: `test-linux1804-64/opt-mochitest-1`
    #[arg(long, required_unless_present = "bug")]
    label: Option<String>,
    /// The test that fails; without it the job as a whole is meant
    #[arg(long)]
    test: Option<String>,
    /// The test's group or manifest
    #[arg(long, requires = "test")]
    group: Option<String>,
}

/// Extra input for the runs, for debugging.
#[derive(Debug, Args)]
pub struct Input {
    /// An environment variable for the runs, any number of times
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = pair)]
    environment: Vec<(String, String)>,
    /// A preference for the runs, any number of times
    #[arg(long = "preference", value_name = "NAME=VALUE", value_parser = pair)]
    preferences: Vec<(String, String)>,
    /// Another action of the CI than the usual one
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it has to be NAME=VALUE".to_owned()),
    }
}

impl Input {
    fn read(&self) -> RunInput {
        let map = |pairs: &[(String, String)]| pairs.iter().cloned().collect::<BTreeMap<_, _>>();
        RunInput {
            env: map(&self.environment),
            preferences: map(&self.preferences),
            action: self.action.clone(),
            manifests: Vec::new(),
        }
    }
}

/// A case with these parameters, about no job in particular.
fn request(params: CaseParams) -> OpenRequest {
    OpenRequest {
        params,
        label: None,
        signature: None,
        series: None,
        bug: None,
        shadow: false,
    }
}

/// A case with these parameters about one job.
fn about(job: &Job, params: CaseParams) -> OpenRequest {
    let signature = |test: &String| Signature {
        group: job.group.as_deref().map(Into::into),
        test: test.as_str().into(),
    };
    OpenRequest {
        label: job.label.as_deref().map(Label::from),
        signature: job.test.as_ref().map(signature),
        ..request(params)
    }
}

/// Puts what was given in the place of a default.
fn set<T: Clone>(value: &mut T, given: &Option<T>) {
    if let Some(given) = given {
        value.clone_from(given);
    }
}

/// Opens a case at the place, and says what came of it.
fn open(place: &Place, wish: OpenRequest, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    open_at(place, place.push.map(PushId), wish, config, out)
}

/// The same on another push than the place says.
fn open_at(
    place: &Place,
    push: Option<PushId>,
    mut open: OpenRequest,
    config: &ConfigArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    open.bug = place.bug;
    open.shadow = place.shadow;
    let breaches: Vec<String> = open.params.check().iter().map(ToString::to_string).collect();
    if !breaches.is_empty() {
        return Err(CliError::usage(breaches.join("\n")));
    }
    let request = RequestEvent {
        project: Project::from(place.project.as_str()),
        push,
        revision: place.revision.as_deref().map(Revision::from),
        requester: Some(place.requester.as_str().into()),
        kind: RequestKind::Open(Box::new(open)),
    };
    let settings = config.load()?.config;
    // No rule has a say in what a person opens: mistakes in rule files do not stand in the way.
    let rules = RuleSet::parse(&[]).map_err(|error| CliError::config(error.to_string()))?;
    let engine_settings = parts::engine_settings(&settings).map_err(|error| CliError::config(error.to_string()))?;
    let mut engine = Engine::new(rules.into(), engine_settings);
    let now = SystemClock.now();
    let answer = config.with_store(|books| engine.open(books, request, now))?;
    place.format.write(out, &answer, |out| tell(out, &answer))?;
    match answer {
        Answer::Refused { .. } => Err(CliError::no("")),
        // Everything was said on stdout: nothing that was asked for can be done.
        Answer::Opened { case } if is_hopeless(&case) => Err(CliError::no("")),
        _ => Ok(()),
    }
}

fn is_hopeless(case: &CaseRow) -> bool {
    let verdict = case.verdict.as_ref();
    verdict.is_some_and(|verdict| verdict.kind == VerdictKind::NotPossible)
}

fn tell(out: &mut dyn Write, answer: &Answer) -> std::io::Result<()> {
    match answer {
        Answer::Opened { case } => {
            writeln!(out, "{}", line(case))?;
            if case.params.kind() == CaseKind::Validate {
                for target in &case.targets {
                    writeln!(out, "  on {}: {}", target.platform, target.label)?;
                }
            }
            // A verdict names them itself.
            for unable in case.unable.iter().filter(|_| case.verdict.is_none()) {
                writeln!(out, "  not possible: {}: {}", unable.label, unable.why)?;
            }
            if case.verdict.is_none() {
                writeln!(out, "`sheriffd case show {}` tells how it goes", case.id)?;
            }
            Ok(())
        }
        Answer::Joined { case } => writeln!(out, "there is an open case already\n{}", line(case)),
        Answer::Waits { lack, event } => writeln!(
            out,
            "it waits until the daemon has fetched what is not known yet ({}): `sheriffd case list` shows the case then, and \
             `sheriffd explain {event}` why there is none",
            lack.as_str()
        ),
        Answer::Refused { reason, why } => writeln!(out, "no case was opened ({reason}): {why}"),
    }
}
