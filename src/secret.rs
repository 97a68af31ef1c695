//! Secrets: passwords, tokens, keys.
//!
//! In: a text that somebody resolved from its reference. Out: the text, to the one call that needs it.
//! Never: showing it. Neither `Debug` nor `Display` nor serialisation gives it away.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// What stands in for a secret wherever it would be shown.
pub const MASK: &str = "***";

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<Arc<str>>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the call that needs it: never for a log, an error or a page.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` with every occurrence of the secret masked: for the words of a peer, which may repeat what it was sent.
    pub fn redact(&self, text: &str) -> String {
        if self.0.is_empty() {
            text.to_owned()
        } else {
            text.replace(&*self.0, MASK)
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nobody_who_prints_it() {
        let secret = Secret::new("hunter2");
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert_eq!(shown, r#"*** *** "***""#);
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn the_words_of_a_peer_are_masked_where_they_repeat_it() {
        assert_eq!(Secret::new("hunter2").redact("hunter2 was refused"), "*** was refused");
        assert_eq!(Secret::new("").redact("as it is"), "as it is");
    }
}
