//! `sheriffd range`: run labels on a range of pushes.

use std::io::Write;

use clap::Args;

use super::{CliError, ConfigArgs, Input, Place, open, request, set};
use crate::event::{CaseParams, PushId, RangeParams};

/// Arguments of `sheriffd range`.
#[derive(Debug, Args)]
pub struct RangeArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    input: Input,
    /// The labels to run, `*` standing for any characters
    #[arg(value_name = "LABEL", required = true)]
    labels: Vec<String>,
    /// The first push, by number
    #[arg(long, value_name = "N", conflicts_with_all = ["back", "delta"])]
    from: Option<u64>,
    /// The last push, by number; without it that of --push or --revision
    #[arg(long, value_name = "N", conflicts_with = "delta")]
    to: Option<u64>,
    /// So many pushes before the last one too
    #[arg(long, value_name = "PUSHES", conflicts_with = "delta")]
    back: Option<u32>,
    /// So many pushes on either side too
    #[arg(long, value_name = "PUSHES")]
    delta: Option<u32>,
    /// Runs wanted of each label on each push in all, those that are there counted
    #[arg(long, value_name = "N")]
    times: Option<u32>,
    /// Pushes left out between two that are taken
    #[arg(long, value_name = "PUSHES")]
    skip: Option<u32>,
}

/// Runs `sheriffd range`.
pub fn run(args: &RangeArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut params = RangeParams {
        labels: args.labels.clone(),
        from: args.from.map(PushId),
        to: args.to.map(PushId),
        input: args.input.read(),
        ..RangeParams::default()
    };
    set(&mut params.max_jobs, &args.place.max_jobs);
    set(&mut params.back, &args.back);
    set(&mut params.delta, &args.delta);
    set(&mut params.times, &args.times);
    set(&mut params.skip, &args.skip);
    open(&args.place, request(CaseParams::Range(params)), config, out)
}
