//! The bus on a real RabbitMQ.
//!
//! Every test has a queue and an exchange of its own on the node that this test binary starts.

#[path = "../common/mod.rs"]
mod common;
mod connection;
mod doctor;
mod messages;
mod place;
mod queue;
mod refusals;
