//! Simulated worlds, for tables, tests and demonstrations.
//!
//! - [`policies`]: how many runs the decisions cost and how often they are right, beside rivals and bounds

pub mod policies;
