//! What `sheriffd doctor` saw: the one form in which every part tells what would not work.

use serde::Serialize;

/// One finding of `sheriffd doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// Whether it will work.
    pub ok: bool,
    /// What was seen, and what to do about it.
    pub detail: String,
}
