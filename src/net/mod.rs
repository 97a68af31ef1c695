//! Asking services over HTTP: bounded, timed, signed, once.
//!
//! In: where to ask, what, and the limits. Out: the answer as it came, or whether the question can have
//! reached the service at all. Never: retrying, following redirects unasked, reading without a limit, or
//! writing a secret into a message. [`crate::backends`] and [`crate::enrich`] share it; it knows neither.

pub mod ask;
pub mod http;
mod signature;
pub mod taskcluster;
pub mod template;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::Timestamp;

pub use self::signature::signature;
pub use crate::secret::Secret;

/// What tells the time at the shell's edge: the system's clock, or a test's.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The system's clock. A clock set before 1970 reads as 1970.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}
