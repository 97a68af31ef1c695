//! Durable truth.
//!
//! In: transactions. Out: what was written, after the commit. Never: deciding. [`sqlite`] is the store;
//! [`Handle`] runs it on a thread of its own, so that nothing asynchronous ever waits inside a transaction.

mod handle;
pub mod sqlite;

pub use handle::{Fate, Gate, Handle};
