//! `sheriffd fill`: run what is missing on a push.

use std::io::Write;

use clap::Args;

use super::{CliError, ConfigArgs, Input, Place, open, request, set};
use crate::event::{CaseParams, FillParams};

/// Arguments of `sheriffd fill`.
#[derive(Debug, Args)]
pub struct FillArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    input: Input,
    /// Only these labels, `*` standing for any characters
    #[arg(value_name = "LABEL")]
    labels: Vec<String>,
    /// Only what at least so many pushes in a row lack
    #[arg(long, value_name = "PUSHES")]
    gap: Option<u32>,
    /// Pushes on either side whose jobs say what could run, where no task graph can be had
    #[arg(long, value_name = "PUSHES")]
    neighbours: Option<u32>,
}

/// Runs `sheriffd fill`.
pub fn run(args: &FillArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut params = FillParams {
        labels: args.labels.clone(),
        input: args.input.read(),
        ..FillParams::default()
    };
    set(&mut params.max_jobs, &args.place.max_jobs);
    set(&mut params.gap, &args.gap);
    set(&mut params.neighbours, &args.neighbours);
    open(&args.place, request(CaseParams::Fill(params)), config, out)
}
