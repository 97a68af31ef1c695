//! Values that must not be seen.

use std::fmt;

use serde::Deserialize;

/// A password, token or key. It can be used, never shown: its debug form is masked and it has no display form and no
/// serialised one. Configuration hands in the value itself, after `file:` and `env:` references were resolved.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the value in.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` with every occurrence of the value masked: for words of a peer that might repeat what it was sent.
    pub fn redact(&self, text: &str) -> String {
        if self.0.is_empty() {
            text.to_owned()
        } else {
            text.replace(&self.0, "***")
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_masked_wherever_it_would_be_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(secret.redact("token hunter2 was refused"), "token *** was refused");
        assert_eq!(Secret::new("").redact("abc"), "abc");
    }
}
