//! `sheriffd add`: run more jobs on a push.

use std::io::Write;

use clap::Args;

use super::{CliError, ConfigArgs, Input, Place, open, request, set};
use crate::event::{AddParams, CaseParams};

/// Arguments of `sheriffd add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    input: Input,
    /// The labels to run, `*` standing for any characters; without any, all that the options leave
    #[arg(value_name = "LABEL", required_unless_present_any = ["platforms", "suites", "failed", "existing_only"])]
    labels: Vec<String>,
    /// Only on this platform, `*` standing for any characters; any number of times
    #[arg(long = "platform", value_name = "NAME")]
    platforms: Vec<String>,
    /// Only of this suite, `*` standing for any characters; any number of times
    #[arg(long = "suite", value_name = "NAME")]
    suites: Vec<String>,
    /// Only what failed on the push
    #[arg(long)]
    failed: bool,
    /// Only what ran on the push or waits there
    #[arg(long)]
    existing_only: bool,
    /// How often each
    #[arg(long, value_name = "N")]
    times: Option<u32>,
}

/// Runs `sheriffd add`.
pub fn run(args: &AddArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut params = AddParams {
        labels: args.labels.clone(),
        platforms: args.platforms.clone(),
        suites: args.suites.clone(),
        failed: args.failed,
        existing_only: args.existing_only,
        input: args.input.read(),
        ..AddParams::default()
    };
    set(&mut params.max_jobs, &args.place.max_jobs);
    set(&mut params.times, &args.times);
    open(&args.place, request(CaseParams::Add(params)), config, out)
}
