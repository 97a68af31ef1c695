//! Other credentials, while the daemon runs.
//!
//! In: the configuration, read again on a signal. Out: the CI, and those that know its facts, asked with the secrets that it
//! refers to now; what waited because the old ones were refused is tried at once. Never: any other setting (those need a
//! restart); a half: a configuration with an error in it changes nothing.

use std::sync::{Arc, Mutex, PoisonError};

use super::parts::{self, PartError};
use super::pipeline::Pipeline;
use super::reconcile::Reconciler;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, LoadOptions};
use crate::current::Current;

/// Why the credentials in force stay.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The configuration cannot be read: the secret's file is gone, or something else in it is wrong now.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<ConfigError>),
    /// The new credentials cannot be used.
    #[error(transparent)]
    Part(#[from] PartError),
}

/// Reads the credentials again.
pub struct Renewer {
    options: LoadOptions,
    /// With the credentials that are in force. Held while they are read: one after the other.
    config: Mutex<Config>,
    clock: Arc<dyn Clock>,
    pipeline: Arc<Pipeline>,
    reconciler: Arc<Current<Reconciler>>,
}

impl Renewer {
    /// For parts that were made of this configuration, which was read as `options` say.
    pub fn new(
        options: LoadOptions,
        config: Config,
        clock: Arc<dyn Clock>,
        pipeline: Arc<Pipeline>,
        reconciler: Arc<Current<Reconciler>>,
    ) -> Renewer {
        Renewer {
            options,
            config: Mutex::new(config),
            clock,
            pipeline,
            reconciler,
        }
    }

    /// Puts the credentials in force that the configuration refers to now. Returns whether they are others than before.
    /// Blocks for as long as reading takes.
    ///
    /// # Errors
    /// See [`RenewError`]. The credentials in force stay.
    pub fn renew(&self) -> Result<bool, RenewError> {
        let read = Config::load(&self.options).map_err(RenewError::Config)?.config;
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = with_credentials_of(&config, &read);
        if renewed == *config {
            return Ok(false);
        }
        let backend = parts::backend(&renewed, &self.clock)?;
        let facts = parts::facts(&renewed, &self.clock)?;
        let reconciler = parts::reconciler(&renewed, Arc::clone(&facts), &self.clock)?;
        self.pipeline.set_services(backend, facts);
        self.reconciler.put(Arc::new(reconciler));
        *config = renewed;
        Ok(true)
    }
}

/// A configuration with the credentials of another one.
fn with_credentials_of(config: &Config, other: &Config) -> Config {
    let mut renewed = config.clone();
    let (taskcluster, webhook) = (&other.taskcluster, &other.webhook);
    renewed.taskcluster.client_id.clone_from(&taskcluster.client_id);
    renewed.taskcluster.access_token.clone_from(&taskcluster.access_token);
    renewed.taskcluster.certificate.clone_from(&taskcluster.certificate);
    renewed.webhook.headers.clone_from(&webhook.headers);
    renewed.webhook.secret.clone_from(&webhook.secret);
    renewed.bugs.api_key.clone_from(&other.bugs.api_key);
    renewed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn credentials_are_taken_over_and_nothing_else() {
        let old = Config::default();
        let mut read = Config::default();
        read.taskcluster.client_id = Some("project/sheriffd".to_owned());
        read.taskcluster.access_token = Some(Secret::new("new"));
        read.bugs.api_key = Some(Secret::new("key"));
        read.webhook.secret = Some(Secret::new("signs"));
        read.limits.requests_per_second = 77.0;
        let renewed = with_credentials_of(&old, &read);
        assert_eq!(renewed.taskcluster, read.taskcluster);
        assert_eq!((&renewed.bugs, &renewed.webhook), (&read.bugs, &read.webhook));
        assert_eq!(renewed.limits, old.limits);
    }
}
