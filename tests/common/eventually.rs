//! Waiting for what must come, without guessing how long it takes.

use std::time::{Duration, Instant};

/// How long what must come may take on a loaded two-core machine. Nothing is said of how long it should take.
pub const SOON: Duration = Duration::from_secs(60);

/// How often it is looked for.
const EVERY: Duration = Duration::from_millis(50);

/// Looks until `probe` finds something; panics with `what` was awaited when it does not [`SOON`].
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {} s in vain until {what}",
            SOON.as_secs()
        );
        tokio::time::sleep(EVERY).await;
    }
}
