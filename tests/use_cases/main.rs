//! The use cases from beginning to end, on the simulated CI: messages in, requests out, a verdict.

mod desk;
mod hunt;
mod near;
mod shared;
mod tracker;
mod validate;
