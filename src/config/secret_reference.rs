//! Where secrets are: a reference in the configuration, the secret itself elsewhere.
//!
//! In: a reference (`env:NAME`, `file:/path`, `literal:text`). Out: the [`Secret`], or a reason that does not show it.
//!
//! Files hold secrets as Docker, Kubernetes and systemd provide them. A text that is no reference is refused where
//! others see it: people copy configuration files, and everybody on a machine sees the flags of its processes.

use std::fs::File;
use std::io::Read;

use crate::secret::Secret;

/// The largest secret that is read from a file, in bytes: over any key or certificate.
const MAX_SECRET: u64 = 64 * 1024;

/// What references are resolved with.
pub(super) struct SecretSource<'a> {
    /// The environment.
    pub environment: &'a [(String, String)],
    /// Whether a text that is no reference is the secret itself.
    pub take_literal: bool,
}

impl SecretSource<'_> {
    /// The secret that a reference names; else what is wrong, to be read after "the secret `…`".
    pub fn resolve(&self, reference: &str) -> Result<Secret, String> {
        if let Some(name) = reference.strip_prefix("env:") {
            return self.variable(name);
        }
        if let Some(path) = reference.strip_prefix("file:") {
            return content(path);
        }
        if let Some(text) = reference.strip_prefix("literal:") {
            return Ok(Secret::new(text));
        }
        if self.take_literal {
            return Ok(Secret::new(reference));
        }
        Err(
            "is written out where others can read it: write `env:NAME` or `file:/path` instead, naming where it is \
             (or `literal:` before it, should it be no real secret)"
                .to_owned(),
        )
    }

    /// Like [`SecretSource::resolve`], where any other text is the value itself.
    pub fn resolve_or_take(&self, text: &str) -> Result<Secret, String> {
        SecretSource {
            take_literal: true,
            environment: self.environment,
        }
        .resolve(text)
    }

    fn variable(&self, name: &str) -> Result<Secret, String> {
        match self.environment.iter().find(|(known, _)| known == name) {
            Some((_, value)) if !value.is_empty() => Ok(Secret::new(value.as_str())),
            Some(_) => Err(format!("is in the environment variable `{name}`, which is empty")),
            None => Err(format!("is in the environment variable `{name}`, which is not set")),
        }
    }
}

fn content(path: &str) -> Result<Secret, String> {
    let trouble = |reason: &dyn std::fmt::Display| format!("is in the file `{path}`, which cannot be used: {reason}");
    let mut text = String::new();
    let file = File::open(path).map_err(|error| trouble(&error))?;
    file.take(MAX_SECRET + 1)
        .read_to_string(&mut text)
        .map_err(|error| trouble(&error))?;
    if text.len() as u64 > MAX_SECRET {
        return Err(trouble(&format_args!("it is larger than {MAX_SECRET} bytes")));
    }
    let text = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        Err(trouble(&"it is empty"))
    } else {
        Ok(Secret::new(text))
    }
}
