//! engine
pub mod ledger;
