//! The mathematics: which run tells most, and when the evidence is enough.
//!
//! In: counts, values, prices. Out: what to run next, or a verdict with its probability. Never: a word of any CI, I/O,
//! a clock, or chance that is not seeded by the caller. `docs/decisions.md` tells the models and how they measure.
//!
//! - [`culprit`]: which candidate changed a failure rate
//! - [`until_hit`]: how many runs together until an intermittent fails
//! - [`validate`]: stable, flaky or broken, by sequential tests
//! - [`perf`]: which candidate changed a mean
//! - [`baseline`]: when a mean is known precisely enough
//! - [`rates`], [`math`], [`random`]: what they rest on

pub mod baseline;
pub mod culprit;
pub mod math;
pub mod perf;
pub mod random;
pub mod rates;
pub mod until_hit;
pub mod validate;
