//! The functional core: applies events. The only place where rules, cases and history meet.
//!
//! In: events, the books ([`ledger::Ledger`]), rules, `now`. Out: changed books. Never: I/O of its own, a clock,
//! randomness that is not seeded: the same events on the same books always give the same books.

mod advance;
mod alerts;
mod answer;
mod apply;
mod batch;
mod consider;
mod envelope;
pub mod evidence;
mod facts;
pub mod kinship;
pub mod ledger;
mod nearness;
mod numbers;
pub mod opening;
mod person;
pub mod settings;
mod share;
mod shelter;
pub mod storm;
mod wish;

pub use answer::Answer;
pub use apply::{Discarded, Engine, Note, Patience};
