//! The wire formats through their public face: recorded messages, made ones, hostile ones.

mod hostile;
mod message;
mod records;
mod states;
mod texts;
