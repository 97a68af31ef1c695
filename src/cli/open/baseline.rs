//! `sheriffd baseline`: at which level are these performance series since this push?

use std::io::Write;

use clap::Args;

use super::{CliError, ConfigArgs, Input, Place, open, request, set};
use crate::event::{BaselineParams, CaseParams};

/// Arguments of `sheriffd baseline`.
#[derive(Debug, Args)]
pub struct BaselineArgs {
    #[command(flatten)]
    place: Place,
    /// Labels whose level is wanted, `*` standing for any characters, any number of times
    #[arg(long = "label", value_name = "PATTERN", required = true)]
    labels: Vec<String>,
    #[command(flatten)]
    input: Input,
    /// Half the width of the interval that is wanted, as a fraction of the mean
    #[arg(long, value_name = "FRACTION")]
    precision: Option<f64>,
    /// The confidence of the interval
    #[arg(long, value_name = "P")]
    confidence: Option<f64>,
    /// Jobs asked for together at most
    #[arg(long, value_name = "N")]
    parallel: Option<u32>,
}

/// Runs `sheriffd baseline`.
pub fn run(args: &BaselineArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut params = BaselineParams {
        labels: args.labels.clone(),
        input: args.input.read(),
        ..BaselineParams::default()
    };
    set(&mut params.max_jobs, &args.place.max_jobs);
    set(&mut params.precision, &args.precision);
    set(&mut params.confidence, &args.confidence);
    set(&mut params.parallel, &args.parallel);
    open(&args.place, request(CaseParams::Baseline(params)), config, out)
}
