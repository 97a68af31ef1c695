//! `sheriffd explain`: why something happened, or did not.
//!
//! In: an event (a run, or a recorded message), a case, an action. Out: each rule that looked at it with each clause and
//! the values it saw, guards and limits, evidence and numbers, what was asked for and what came of it; for an event that
//! no rule looked at, the field of `match` that said no. Never: changing anything.

mod case;
mod event;
mod message;

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::CliError;
use super::common::{ConfigArgs, FormatArgs};
use crate::event::{ActionKey, CaseId};
use crate::rules::RuleSet;

/// Arguments of `sheriffd explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A run (`TASK/RUN`) or a task with all its runs, a case (`C12`), an action (`C12.1.3`)
    #[arg(required_unless_present = "file")]
    id: Option<Subject>,
    /// A recorded message, or several (JSON Lines): what the rules make of each, with those before it as its history. With
    /// an event: only what they make of that
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// With --file: recorded task definitions, in place of the queue service; any number of times
    #[arg(long, value_name = "FILE", requires = "file")]
    tasks: Vec<PathBuf>,
    /// With --file: recorded pushes, in place of the pushlog; any number of times
    #[arg(long, value_name = "FILE", requires = "file")]
    pushes: Vec<PathBuf>,
    /// With --file: the project of pushes that name none
    #[arg(long, value_name = "NAME", requires = "file")]
    project: Option<String>,
    /// With --file: a store whose history comes before the message; it is only read
    #[arg(long, value_name = "PATH", requires = "file")]
    store: Option<PathBuf>,
    /// A rule file or a folder of them, any number of times. Without it those of the configuration
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Every rule that an event did not reach, not only the nearest
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    /// A case.
    Case(CaseId),
    /// A request of a case.
    Action(ActionKey),
    /// A run, or a task.
    Event(String),
}

impl FromStr for Subject {
    type Err = std::convert::Infallible;

    /// `C12` and `C12.1.3` are ours; no task is called so. Everything else names an event.
    fn from_str(text: &str) -> Result<Subject, Self::Err> {
        let parts: Option<Vec<u64>> = text
            .strip_prefix(['C', 'c'])
            .and_then(|numbers| numbers.split('.').map(|part| part.parse().ok()).collect());
        let small = |number: u64| u32::try_from(number).ok();
        let ours = match parts.as_deref() {
            Some([case]) => Some(Subject::Case(CaseId(*case))),
            Some([case, step, slot]) => small(*step).zip(small(*slot)).map(|(step, slot)| {
                Subject::Action(ActionKey {
                    case: CaseId(*case),
                    step,
                    slot,
                })
            }),
            _ => None,
        };
        Ok(ours.unwrap_or_else(|| Subject::Event(text.to_owned())))
    }
}

/// Runs `sheriffd explain`.
///
/// # Errors
/// There is no such thing (1), no store (69), the rules cannot be used (78), or the output is closed.
pub async fn run(args: &ExplainArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    match (&args.id, &args.file) {
        (Some(Subject::Event(what)), Some(file)) => message::explain(file, Some(what), args, config, out).await,
        (None, Some(file)) => message::explain(file, None, args, config, out).await,
        (Some(_), Some(_)) => Err(CliError::usage(
            "a recording has no cases and no actions: name an event of it",
        )),
        (Some(Subject::Case(id)), None) => case::explain(*id, args, config, out),
        (Some(Subject::Action(key)), None) => case::explain_action(*key, args, config, out),
        (Some(Subject::Event(what)), None) => event::explain(what, args, config, out),
        (None, None) => Err(CliError::usage("name a run, a case or an action, or a --file")),
    }
}

/// The rules to ask: those named, else those of the configuration.
fn rules(args: &ExplainArgs, config: &ConfigArgs) -> Result<RuleSet, CliError> {
    let configured;
    let paths = if args.rules.is_empty() {
        configured = config.load()?.config.rules.paths;
        &configured
    } else {
        &args.rules
    };
    RuleSet::load(paths).map_err(|wrong| CliError::config(format!("the rules cannot be used\n{wrong}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_and_actions_are_told_from_events_by_their_form() {
        let read = |text: &str| text.parse::<Subject>().unwrap();
        assert_eq!(read("C12"), Subject::Case(CaseId(12)));
        let key = ActionKey {
            case: CaseId(12),
            step: 1,
            slot: 3,
        };
        assert_eq!(read("C12.1.3"), Subject::Action(key));
        for event in ["Cx", "12", "C12.1", "C1.2.3.4", "CBO2K8XGQEaNpX1BkwJmNw/0", "C12/0"] {
            assert_eq!(read(event), Subject::Event(event.to_owned()), "{event}");
        }
    }
}
