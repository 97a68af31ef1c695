//! sheriffd: keeps continuous-integration trees green.
//!
//! One message goes one way; read the modules in this order to follow it:
//!
//! - [`event`]: the vocabulary everything else speaks

pub mod event;
