//! A simulated CI with a clock of its own, for the demo, tests and benches.
//!
//! In: a seed and a plan. Out: what a real CI would send and answer: Taskcluster messages, pushlog messages, task
//! definitions, receipts. Never: anything the rest of the program could tell from a real one. It speaks the wire formats
//! of the recorded data, through the same borders (`Bus`, `Backend`, `FactSource`). [`faults`] lets everything go wrong around the daemon, by a seed, and checks that it keeps its word. [`policies`] is another simulation: how
//! many runs the decisions cost and how often they are right, beside rivals and bounds.

mod ci;
mod daemon;
mod detector;
pub mod faults;
mod messages;
mod plan;
pub mod policies;
mod world;

pub use ci::{SimBackend, SimBus, SimCi, SimFacts};
pub use detector::Alert;
pub use plan::{Defect, Meter, NewTest, Plan};
pub use world::{Push, SimEvent};
