//! Numeric results: how they are read, where a series stepped, at which level it is.

mod baseline;
mod culprit;
mod polled;
mod reading;
mod recorded;
mod tree;
