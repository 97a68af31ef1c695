//! sheriffd: keeps continuous-integration trees green.
//!
//! One message goes one way; read the modules in this order to follow it:
//!
//! - [`bus`]: where bytes come from
//! - [`wire`]: bytes to events
//! - [`event`]: the vocabulary everything else speaks
//! - [`enrich`]: facts that messages do not carry
//! - [`backends`]: CI systems that can be asked for jobs
//! - [`cli`]: one file a subcommand
//! - [`stats`]: the mathematics: what to run next, and when the evidence is enough
//! - [`sim`]: simulated worlds, for tables, tests and demonstrations

pub mod backends;
pub mod bus;
pub mod cli;
pub mod enrich;
pub mod event;
pub mod sim;
pub mod stats;
pub mod wire;
