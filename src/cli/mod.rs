//! Commands. One file a subcommand.
//!
//! In: arguments, parsed. Out: text, and an exit code. Never: decisions that the daemon would make otherwise.

pub mod check;
