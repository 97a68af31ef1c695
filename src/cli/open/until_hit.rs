//! `sheriffd until-hit`: run an intermittent again until it fails once.

use std::io::Write;

use clap::Args;

use super::{CliError, ConfigArgs, Input, Job, Place, about, open, set};
use crate::event::{CaseParams, UntilHitParams};

/// Arguments of `sheriffd until-hit`.
#[derive(Debug, Args)]
pub struct UntilHitArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    job: Job,
    #[command(flatten)]
    input: Input,
    /// Jobs in a batch; without it, batches grow by what was learned
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// The probability that `not-reproducible` needs
    #[arg(long, value_name = "P")]
    confidence: Option<f64>,
    /// The failure rate below which a failure is called not reproducible
    #[arg(long, value_name = "RATE")]
    rate: Option<f64>,
    /// The price of one wait for the CI, counted in jobs
    #[arg(long, value_name = "JOBS")]
    round_price: Option<f64>,
}

/// Runs `sheriffd until-hit`.
pub fn run(args: &UntilHitArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut params = UntilHitParams {
        batch: args.batch,
        input: args.input.read(),
        ..UntilHitParams::default()
    };
    set(&mut params.max_jobs, &args.place.max_jobs);
    set(&mut params.confidence, &args.confidence);
    set(&mut params.rate, &args.rate);
    set(&mut params.round_price, &args.round_price);
    open(&args.place, about(&args.job, CaseParams::UntilHit(params)), config, out)
}
