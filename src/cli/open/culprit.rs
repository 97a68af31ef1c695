//! `sheriffd culprit`: which push broke this job?

use std::io::Write;

use clap::Args;

use super::{CliError, ConfigArgs, Input, Job, Place, about, open, set};
use crate::event::{CaseParams, FindCulpritParams};

/// Arguments of `sheriffd culprit`.
#[derive(Debug, Args)]
pub struct CulpritArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    job: Job,
    #[command(flatten)]
    input: Input,
    /// Pushes to look back for a last good one
    #[arg(long, value_name = "N")]
    max_depth: Option<u32>,
    /// The probability that a verdict needs
    #[arg(long, value_name = "P")]
    confidence: Option<f64>,
    /// Jobs asked for together at most
    #[arg(long, value_name = "N")]
    parallel: Option<u32>,
    /// The price of one wait for the CI, counted in jobs
    #[arg(long, value_name = "JOBS")]
    round_price: Option<f64>,
    /// The probability, before anything is known, that no push in the range did it
    #[arg(long, value_name = "P")]
    no_culprit_prior: Option<f64>,
    /// The probability, before anything is run, that a push near the test did it, and not just any; 0: no matter where
    #[arg(long, value_name = "P")]
    near_prior: Option<f64>,
}

/// Runs `sheriffd culprit`.
pub fn run(args: &CulpritArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut params = FindCulpritParams {
        input: args.input.read(),
        ..FindCulpritParams::default()
    };
    set(&mut params.max_jobs, &args.place.max_jobs);
    set(&mut params.max_depth, &args.max_depth);
    set(&mut params.confidence, &args.confidence);
    set(&mut params.parallel, &args.parallel);
    set(&mut params.round_price, &args.round_price);
    set(&mut params.no_culprit_prior, &args.no_culprit_prior);
    set(&mut params.near_prior, &args.near_prior);
    open(
        &args.place,
        about(&args.job, CaseParams::FindCulprit(params)),
        config,
        out,
    )
}
