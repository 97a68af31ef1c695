//! sheriffd: keeps continuous-integration trees green.
//!
//! One message goes one way; read the modules in this order to follow it:
//!
//! - [`bus`]: where bytes come from
//! - [`wire`]: bytes to events
//! - [`event`]: the vocabulary everything else speaks
//! - [`enrich`]: facts that messages do not carry
//! - [`engine`]: applies events; the only place where rules, cases and history meet
//! - [`store`]: durable truth
//! - [`backends`]: CI systems that can be asked for jobs
//!
//! What several of them stand on: [`net`] asks services over HTTP, [`lru`] is a bounded map.

pub mod backends;
pub mod bus;
pub mod engine;
pub mod enrich;
pub mod event;
pub mod lru;
pub mod net;
pub mod store;
pub mod wire;
