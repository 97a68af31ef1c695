//! Log lines: as text for people, as JSON for machines.

use std::fmt;
use std::io::{self, IsTerminal};

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{self, Writer};

use super::TelemetryError;
use crate::printable;
use crate::secret::MASK;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// All forms.
    pub const ALL: [LogFormat; 2] = [LogFormat::Text, LogFormat::Json];

    /// The word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Logs to standard error (standard output is for what a command prints).
///
/// `filter` is a level (`info`) or levels by module (`info,sheriffd::bus=debug`).
pub fn install_logging(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        .with_writer(io::stderr);
    let installed = match format {
        LogFormat::Text => builder
            .with_ansi(io::stderr().is_terminal())
            .fmt_fields(format::debug_fn(write_field).delimited(" "))
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| TelemetryError::Logging(error.to_string()))
}

/// One field of a text line. Messages quote what others wrote: an entry stays one line, and no cursor moves.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    printable::write_line(writer, &format!("{value:?}"))
}

/// Whether a log filter can be read.
pub fn check_log_filter(filter: &str) -> Result<(), TelemetryError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    // The broker's client logs each error that it also returns to us, and we tell it once.
    let filter_with_defaults = format!("lapin=off,{filter}");
    EnvFilter::builder()
        .parse(&filter_with_defaults)
        .map_err(|error| TelemetryError::Filter {
            filter: filter.to_owned(),
            reason: error.to_string(),
        })
}

/// A URL that can be shown: without user, password, query and fragment, any of which may hold a secret.
///
/// ```
/// use sheriffd::telemetry::redact_url;
///
/// assert_eq!(redact_url("amqps://me:secret@pulse.example:5671/vhost"), "amqps://***@pulse.example:5671/vhost");
/// assert_eq!(redact_url("https://ci.example/hook?token=secret"), "https://ci.example/hook?***");
/// ```
pub fn redact_url(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (address, hidden) = match rest.find(['?', '#']) {
        // `find` gives the place of an ASCII character: a boundary.
        Some(at) => (&rest[..at], format!("{}{MASK}", &rest[at..=at])),
        None => (rest, String::new()),
    };
    let (authority, path) = match address.find('/') {
        Some(at) => address.split_at(at),
        None => (address, ""),
    };
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{MASK}@{host}{path}{hidden}"),
        None => format!("{scheme}{authority}{path}{hidden}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_names_itself() {
        let error = check_log_filter("info,sheriffd=loud").unwrap_err().to_string();
        assert!(error.starts_with("`info,sheriffd=loud` is no log filter"), "{error}");
        assert!(check_log_filter("info,sheriffd::bus=debug").is_ok());
    }

    /// What the text form writes.
    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_entry_is_one_line_whatever_it_quotes() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .fmt_fields(format::debug_fn(write_field).delimited(" "))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let label = "test-a\n2026-06-01T00:00:00Z ERROR sheriffd: forged";
            tracing::info!(%label, count = 3, "a message says \x1b[2J{label}");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains(" label=test-a\\n2026") && text.contains("count=3"),
            "{text}"
        );
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn a_url_without_secrets_stays_as_it_is() {
        for url in [
            "https://hg.example/integration/autoland",
            "amqp://localhost:5672",
            "no url at all",
        ] {
            assert_eq!(redact_url(url), url);
        }
    }

    #[test]
    fn an_at_sign_in_the_password_gives_nothing_away() {
        assert_eq!(redact_url("amqp://me:p@ss@host/v"), "amqp://***@host/v");
    }

    proptest! {
        #[test]
        fn user_password_and_query_never_show(secret in "[A-Z]{6,12}") {
            let url = format!("https://{secret}:{secret}@host/path?a={secret}#{secret}");
            prop_assert!(!redact_url(&url).contains(&secret));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            redact_url(&text);
        }
    }
}
