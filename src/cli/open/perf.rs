//! `sheriffd perf`: which push made this performance series step?

use std::io::Write;

use clap::Args;

use super::{CliError, ConfigArgs, Input, Place, open_at, request, set};
use crate::event::{CaseParams, FindPerfCulpritParams, Label, OpenRequest, PushId};

/// Pushes before the last one with the old values that are looked at too.
const EARLIER: u64 = 5;

/// Arguments of `sheriffd perf`.
#[derive(Debug, Args)]
pub struct PerfArgs {
    #[command(flatten)]
    place: Place,
    /// The job that measures it, whole; without it, the one that measured the series last
    #[arg(long, required_unless_present = "series")]
    label: Option<String>,
    /// The series: suite, test and options as `sheriffd case show` writes them; without it, the suite's own value
    #[arg(long, visible_alias = "test", value_name = "\"SUITE TEST OPTIONS\"")]
    series: Option<String>,
    /// The last push that is known to have the old level
    #[arg(long, value_name = "N", requires = "to")]
    from: Option<u64>,
    /// The first push that is known to have the new level; the same as --push
    #[arg(long, value_name = "N", conflicts_with_all = ["push", "revision"])]
    to: Option<u64>,
    #[command(flatten)]
    input: Input,
    /// Pushes to look back
    #[arg(long, value_name = "N", conflicts_with = "from")]
    max_depth: Option<u32>,
    /// The probability that a verdict needs
    #[arg(long, value_name = "P")]
    confidence: Option<f64>,
    /// The smallest step worth finding, as a fraction of the level
    #[arg(long, value_name = "FRACTION")]
    min_shift: Option<f64>,
    /// Jobs asked for together at most
    #[arg(long, value_name = "N")]
    parallel: Option<u32>,
}

/// Runs `sheriffd perf`.
pub fn run(args: &PerfArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut params = FindPerfCulpritParams {
        input: args.input.read(),
        ..FindPerfCulpritParams::default()
    };
    set(&mut params.max_jobs, &args.place.max_jobs);
    set(&mut params.max_depth, &args.max_depth);
    set(&mut params.confidence, &args.confidence);
    set(&mut params.min_shift, &args.min_shift);
    set(&mut params.parallel, &args.parallel);
    if let (Some(from), Some(to)) = (args.from, args.to) {
        let span = to.checked_sub(from).filter(|span| *span > 0);
        let Some(span) = span else {
            return Err(CliError::usage(format!("--from {from} has to be before --to {to}")));
        };
        params.max_depth = u32::try_from(span + EARLIER).unwrap_or(u32::MAX);
    }
    let wish = OpenRequest {
        label: args.label.as_deref().map(Label::from),
        series: args.series.as_deref().map(Into::into),
        ..request(CaseParams::FindPerfCulprit(params))
    };
    let push = args.to.or(args.place.push).map(PushId);
    open_at(&args.place, push, wish, config, out)
}
