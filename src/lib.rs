//! sheriffd: keeps continuous-integration trees green.
//!
//! One message goes one way; read the modules in this order to follow it:
//!
//! - [`bus`]: where bytes come from
//! - [`wire`]: bytes to events
//! - [`event`]: the vocabulary everything else speaks
//! - [`enrich`]: facts that messages do not carry
//! - [`stats`]: the mathematics: what to run next, and when the evidence is enough
//! - [`cases`]: decisions on evidence, one file a kind
//! - [`engine`]: applies events; the only place where rules, cases and history meet
//! - [`store`]: durable truth
//! - [`backends`]: CI systems that can be asked for jobs
//!
//! What several of them stand on: [`config`] holds the settings, [`net`] asks services over HTTP, [`lru`] is a bounded
//! map, [`secret`] is a text that is never shown, [`finding`] is what a check of the surroundings says, [`telemetry`]
//! is metrics, logs and the service manager.

pub mod backends;
pub mod bus;
pub mod cases;
pub mod config;
pub mod engine;
pub mod enrich;
pub mod event;
pub mod finding;
pub mod lru;
pub mod net;
pub mod secret;
pub mod stats;
pub mod store;
pub mod telemetry;
pub mod wire;
