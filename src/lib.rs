//! sheriffd: keeps continuous-integration trees green.
//!
//! One message goes one way; read the modules in this order to follow it:
//!
//! - [`bus`]: where bytes come from
//! - [`wire`]: bytes to events
//! - [`event`]: the vocabulary everything else speaks
//! - [`enrich`]: facts that messages do not carry
//! - [`rules`]: YAML to a checked, compiled, indexed rule set
//! - [`backends`]: CI systems that can be asked for jobs
//! - [`cli`]: one file a command

pub mod backends;
pub mod bus;
pub mod cli;
pub mod enrich;
pub mod event;
pub mod rules;
pub mod wire;
