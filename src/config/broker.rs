//! `[broker]`: where messages come from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::section::section;
use crate::bus::amqp::{AmqpSettings, QueueType};
use crate::bus::backoff::Backoff;
use crate::bus::bindings::{Binding, Source, queue_name};
use crate::event::Duration;
use crate::secret::Secret;

/// The broker's address: `amqp://host` or `amqps://host`, with a port where it is not the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Whether to speak TLS (`amqps`).
    pub tls: bool,
    /// The host's name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The port: 5672 or, with TLS, 5671 where the URL names none.
    pub port: u16,
}

/// A text is no broker's address. None of them repeats the text: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerUrlError {
    /// It is of another kind, or none.
    #[error("it does not begin with amqp:// or amqps://")]
    Scheme,
    /// It holds credentials.
    #[error("it must not hold a user or password: set broker.user and broker.password")]
    Credentials,
    /// It holds a virtual host.
    #[error("it must not hold a virtual host: set broker.vhost")]
    VirtualHost,
    /// The host is missing.
    #[error("the host is missing")]
    Host,
    /// The port is no port.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tls, rest) = match text.split_once("://") {
            Some(("amqp", rest)) => (false, rest),
            Some(("amqps", rest)) => (true, rest),
            _ => return Err(BrokerUrlError::Scheme),
        };
        if rest.contains('@') {
            return Err(BrokerUrlError::Credentials);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(BrokerUrlError::VirtualHost);
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(BrokerUrlError::Port)?)),
            None => authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(BrokerUrlError::Host);
        }
        let port = match port {
            None if tls => 5671,
            None => 5672,
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(BrokerUrlError::Port)?,
        };
        Ok(BrokerUrl {
            tls,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        write!(f, "{scheme}://{host}:{}", self.port)
    }
}

section! {
    /// Where messages come from: RabbitMQ or Pulse.
    pub struct BrokerSection {
        /// The broker's address: `amqp://` or, with TLS, `amqps://`, host, and port where it is not the usual one.
        url: BrokerUrl = BrokerUrl { tls: false, host: "localhost".to_owned(), port: 5672 };
        /// The user at the broker. Queue and own exchanges are named after it.
        user: String = "guest".to_owned();
        /// The user's password, as a reference. The default is RabbitMQ's own for local use.
        password: Secret = Secret::new("guest");
        /// The virtual host.
        vhost: String = "/".to_owned();
        /// A file of certificate authorities (PEM) to trust besides the system's.
        ca_file: Option<PathBuf> = None;
        /// The last part of the queue's name: `queue/<user>/<queue>`.
        queue: String = "sheriffd".to_owned();
        /// The environment, behind the queue's name: two daemons with one queue take each other's messages.
        environment: Option<String> = None;
        /// Whether a new queue is replicated. An existing queue stays as it is.
        quorum: bool = false;
        /// The sources that bindings are derived from.
        sources: Vec<Source> = vec![Source::TaskclusterQueue, Source::HgpushesV1];
        /// Bindings instead of the derived ones, each "exchange routing-key".
        bindings: Option<Vec<Binding>> = None;
        /// Whether bindings of an earlier configuration are removed; else they are named.
        unbind_stale: bool = false;
        /// Messages on the way or unacknowledged at most. Messages over this wait at the broker.
        prefetch: u16 [1, u16::MAX] = 1_000;
        /// Messages in one transaction at most.
        batch_max: usize [1, 10_000] = 500;
        /// How long a transaction waits for further messages after its first.
        batch_linger: Duration [Duration::ZERO, Duration::from_secs(10)] = Duration::from_millis(10);
        /// The largest message that is read, in bytes; larger ones become dead letters.
        max_body_bytes: usize [1_024, 64 * 1024 * 1024] = crate::wire::DEFAULT_MAX_BODY;
        /// How long connecting and logging in may take.
        connect_timeout: Duration [Duration::from_millis(100), Duration::from_secs(300)] = Duration::from_secs(15);
        /// Silence after which a connection counts as dead.
        heartbeat: Duration [Duration::from_secs(1), Duration::from_secs(600)] = Duration::from_secs(30);
        /// The wait after a first failure to connect; it doubles with each further one.
        retry_min: Duration [Duration::from_millis(10), Duration::from_secs(60)] = Duration::from_millis(500);
        /// The longest wait between attempts to connect.
        retry_max: Duration [Duration::from_millis(10), Duration::from_secs(3_600)] = Duration::from_secs(60);
    }
}

impl BrokerSection {
    /// What the bus needs. `bindings` are those derived from the rules (overridden by configured ones), `previous`
    /// those of the last run.
    pub fn amqp(&self, bindings: Vec<Binding>, previous: Vec<Binding>) -> AmqpSettings {
        AmqpSettings {
            tls: self.url.tls,
            host: self.url.host.clone(),
            port: self.url.port,
            vhost: self.vhost.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            ca_file: self.ca_file.clone(),
            queue: queue_name(&self.user, &self.queue, self.environment.as_deref()),
            queue_type: if self.quorum {
                QueueType::Quorum
            } else {
                QueueType::Classic
            },
            bindings: self.bindings.clone().unwrap_or(bindings),
            previous,
            unbind_stale: self.unbind_stale,
            prefetch: self.prefetch,
            max_body: self.max_body_bytes,
            connect_timeout: self.connect_timeout,
            heartbeat: self.heartbeat,
            retry: Backoff {
                min: self.retry_min,
                max: self.retry_max,
            },
        }
    }

    /// What does not go together.
    pub(super) fn conflicts(&self) -> Vec<String> {
        let mut conflicts = Vec::new();
        if self.batch_max > usize::from(self.prefetch) {
            conflicts.push(format!(
                "broker.batch_max is {}, but no more than broker.prefetch ({}) messages can ever be waiting: lower the \
                 one or raise the other",
                self.batch_max, self.prefetch
            ));
        }
        if self.retry_min > self.retry_max {
            conflicts.push("broker.retry_min is longer than broker.retry_max: swap them".to_owned());
        }
        let defaults = BrokerSection::default();
        if self.user != defaults.user && self.password == defaults.password {
            conflicts.push("broker.user is set and broker.password is not: set it too, as \"env:NAME\"".to_owned());
        }
        let name_parts = [
            ("user", Some(&self.user)),
            ("queue", Some(&self.queue)),
            ("environment", self.environment.as_ref()),
        ];
        for (key, part) in name_parts {
            if let Some(part) = part.filter(|part| !is_name_part(part)) {
                conflicts.push(format!(
                    "broker.{key} is {part:?}, but becomes part of the queue's name: use letters, digits, `.`, `_` and \
                     `-`, at most {MAX_NAME_PART} of them"
                ));
            }
        }
        if self.bindings.as_ref().is_some_and(Vec::is_empty) {
            conflicts
                .push("broker.bindings is an empty list, with which no message would come: leave it out".to_owned());
        }
        conflicts
    }
}

/// Three of them and their separators stay under the 255 bytes of an AMQP name.
const MAX_NAME_PART: usize = 80;

fn is_name_part(text: &str) -> bool {
    (1..=MAX_NAME_PART).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_its_usual_port() {
        for (text, read) in [
            ("amqp://localhost", "amqp://localhost:5672"),
            ("amqps://pulse.example.com/", "amqps://pulse.example.com:5671"),
            ("amqp://127.0.0.1:9999", "amqp://127.0.0.1:9999"),
            ("amqps://[::1]", "amqps://[::1]:5671"),
            ("amqp://[::1]:1234", "amqp://[::1]:1234"),
        ] {
            assert_eq!(
                text.parse::<BrokerUrl>().map(|url| url.to_string()),
                Ok(read.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, error) in [
            ("localhost:5672", BrokerUrlError::Scheme),
            ("https://localhost", BrokerUrlError::Scheme),
            ("amqps://me:secret@host", BrokerUrlError::Credentials),
            ("amqp://host/vhost", BrokerUrlError::VirtualHost),
            ("amqp://", BrokerUrlError::Host),
            ("amqp://:5672", BrokerUrlError::Host),
            ("amqp://host:0", BrokerUrlError::Port),
            ("amqp://host:many", BrokerUrlError::Port),
            ("amqp://[::1]5672", BrokerUrlError::Port),
        ] {
            assert_eq!(text.parse::<BrokerUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_bus_gets_the_queue_of_its_environment() {
        let settings = BrokerSection {
            user: "sheriffs".to_owned(),
            environment: Some("staging".to_owned()),
            ..BrokerSection::default()
        };
        assert_eq!(
            settings.amqp(Vec::new(), Vec::new()).queue,
            "queue/sheriffs/sheriffd/staging"
        );
    }

    #[test]
    fn configured_bindings_replace_the_derived_ones() {
        let configured = vec![Binding::new("e", "k")];
        let settings = BrokerSection {
            bindings: Some(configured.clone()),
            ..BrokerSection::default()
        };
        assert_eq!(
            settings.amqp(vec![Binding::new("derived", "#")], Vec::new()).bindings,
            configured
        );
    }
}
