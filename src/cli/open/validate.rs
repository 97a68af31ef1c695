//! `sheriffd validate`: is this test stable, on every platform that runs it?

use std::io::Write;

use clap::Args;

use super::{CliError, ConfigArgs, Input, Place, open, request, set};
use crate::event::{CaseParams, OpenRequest, Signature, ValidateParams};

/// Arguments of `sheriffd validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    input: Input,
    /// The test's path
    #[arg(long, required_unless_present = "bug")]
    test: Option<String>,
    /// The test's group or manifest; without it, the one that the history knows beside the test
    #[arg(long, requires = "test")]
    group: Option<String>,
    /// A platform to run it on, with `*` for any characters, as `linux*` or `*/debug`; any number of times
    #[arg(long = "platform", value_name = "GLOB")]
    platforms: Vec<String>,
    /// The failure rate of a test that is good enough
    #[arg(long, value_name = "RATE")]
    ok_rate: Option<f64>,
    /// The failure rate of a test that is not
    #[arg(long, value_name = "RATE")]
    bad_rate: Option<f64>,
    /// The probability of calling a good test bad
    #[arg(long, value_name = "P")]
    alpha: Option<f64>,
    /// The probability of calling a bad test good
    #[arg(long, value_name = "P")]
    beta: Option<f64>,
    /// Jobs asked for together at most
    #[arg(long, value_name = "N")]
    parallel: Option<u32>,
}

/// Runs `sheriffd validate`.
pub fn run(args: &ValidateArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut params = ValidateParams {
        platforms: args.platforms.clone(),
        input: args.input.read(),
        ..ValidateParams::default()
    };
    set(&mut params.max_jobs, &args.place.max_jobs);
    set(&mut params.ok_rate, &args.ok_rate);
    set(&mut params.bad_rate, &args.bad_rate);
    set(&mut params.alpha, &args.alpha);
    set(&mut params.beta, &args.beta);
    set(&mut params.parallel, &args.parallel);
    let signature = args.test.as_ref().map(|test| Signature {
        group: args.group.as_deref().map(Into::into),
        test: test.as_str().into(),
    });
    let wanted = OpenRequest {
        signature,
        ..request(CaseParams::Validate(params))
    };
    open(&args.place, wanted, config, out)
}
