//! The command line: one file a subcommand.
//!
//! In: arguments and files. Out: text or JSON for people and scripts. Never: a decision of its own.

pub mod decide;
