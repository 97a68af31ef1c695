//! sheriffd: keeps continuous-integration trees green.
//!
//! One message goes one way; read the modules in this order to follow it:
//!
//! - [`bus`]: where bytes come from
//! - [`wire`]: bytes to events
//! - [`event`]: the vocabulary everything else speaks
//! - [`enrich`]: facts that messages do not carry
//! - [`engine`]: applies events; the only place where rules, cases and history meet
//! - [`rules`]: YAML to a checked, compiled, indexed rule set
//! - [`cases`]: decisions on evidence, one file a kind
//! - [`stats`]: the mathematics: what to run next, and when the evidence is enough
//! - [`store`]: durable truth
//! - [`dispatch`]: from the outbox to the CI, within limits, at most once
//! - [`backends`]: CI systems that can be asked for jobs
//! - [`web`]: pages, API, health, metrics endpoint
//! - [`telemetry`]: metric names in one place, tracing
//! - [`catalog`]: platforms × tests × builds, for tools that choose jobs
//! - [`config`]: layered settings, checked at start
//! - [`daemon`]: the composition root: wires the parts, starts and stops them
//! - [`sim`]: a simulated CI, for demo, tests, benches
//! - [`cli`]: one file a subcommand
//!
//! The pure ones, which know no I/O, are crates of their own, so that the compiler keeps their borders: [`event`], [`wire`], [`rules`],
//! [`stats`] and [`decide`], which puts the mathematics on lines of JSON.
//!
//! What several of them stand on: [`clock`] tells the time, [`net`] asks services over HTTP, [`lru`] is a bounded map, [`current`] a part that can be replaced
//! while it is used, [`finding`] is what
//! a check of the surroundings says, [`printable`] keeps others' words from controlling terminals and logs.

pub mod backends;
pub mod bus;
pub mod cases;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod current;
pub mod daemon;
pub mod dispatch;
pub mod engine;
pub mod enrich;
pub mod finding;
pub mod lru;
pub mod net;
pub mod notify;
pub mod printable;
pub mod secret;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod web;

pub use sheriffd_decide as decide;
pub use sheriffd_event as event;
pub use sheriffd_rules as rules;
pub use sheriffd_stats as stats;
pub use sheriffd_wire as wire;
