//! Cases that people open at the command line, with the program itself, on what a daemon has heard.

mod bug;
mod catalog;
#[path = "../common/eventually.rs"]
mod eventually;
mod numbers;
#[path = "../use_cases/tracker.rs"]
mod tracker;
mod validate;
mod world;
