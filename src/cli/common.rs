//! What several commands share: where the configuration is, and how answers are written.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::CliError;
use crate::config::{Config, LoadOptions, Loaded};
use crate::engine::ledger::LedgerError;
use crate::event::Delivery;
use crate::store::sqlite::{Books, SqliteStore};
use crate::wire;

/// The largest recording that is read at once, in bytes.
const MAX_RECORDING: u64 = 64 << 20;

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file; drop-ins are read from FILE.d/*.toml. Without one: defaults and the environment
    #[arg(long, value_name = "FILE", env = "SHERIFFD_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// One setting, over everything else: `--set limits.jobs_per_hour=50`
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// Where the configuration is looked for.
    pub fn options(&self) -> LoadOptions {
        LoadOptions::of_process(self.config.clone(), self.set.clone())
    }

    /// Reads the configuration.
    pub fn load(&self) -> Result<Loaded, CliError> {
        Config::load(&self.options()).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            CliError::config(lines.join("\n"))
        })
    }

    /// Opens the store of the configuration. One that does not exist is not made: a wrong path would look like an
    /// empty history.
    pub fn store(&self) -> Result<SqliteStore, CliError> {
        let path = self.load()?.config.store.path;
        if !path.exists() {
            return Err(CliError::unavailable(format!(
                "there is no store at {}: is `store.path` right, and has the daemon run?",
                path.display()
            )));
        }
        Ok(SqliteStore::open(&path)?)
    }

    /// Runs something in one transaction on the store of the configuration.
    pub fn with_store<R>(&self, work: impl FnOnce(&mut Books<'_>) -> Result<R, LedgerError>) -> Result<R, CliError> {
        Ok(self.store()?.transact(work)?)
    }
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The `--format` of commands that print data.
#[derive(Debug, Args)]
pub struct FormatArgs {
    /// How the answer is written
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

impl FormatArgs {
    /// Writes an answer: as JSON, or as `text` writes it.
    pub fn write(
        &self,
        out: &mut dyn Write,
        answer: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Json => {
                let json =
                    serde_json::to_string_pretty(answer).map_err(|error| CliError::unavailable(error.to_string()))?;
                writeln!(out, "{json}")?;
            }
            Format::Text => text(out)?,
        }
        Ok(())
    }
}

/// The messages of a recording that is small enough to be read at once: JSON Lines, or one message in a form of its own.
///
/// # Errors
/// The file cannot be read, or something in it is no recorded message: as a sentence with the place.
pub fn deliveries(path: &Path) -> Result<Vec<Delivery>, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let size = std::fs::metadata(path)
        .map(|metadata| metadata.len())
        .unwrap_or_default();
    if size > MAX_RECORDING {
        return Err(wrong(format!(
            "it has {size} bytes, more than the {MAX_RECORDING} that are read at once: `sheriffd replay` reads any size"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let is_one = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
    let lines: Vec<&str> = if is_one { vec![&text] } else { text.lines().collect() };
    let mut deliveries = Vec::new();
    for (number, line) in (1..).zip(lines) {
        let delivery = wire::recorded::delivery(line, number, None);
        deliveries.extend(delivery.map_err(|error| wrong(format!("line {number}: {error}")))?);
    }
    Ok(deliveries)
}

/// A number of things, by the word for one of them that takes an s.
pub(super) fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}
