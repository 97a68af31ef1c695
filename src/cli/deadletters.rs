//! `sheriffd deadletters`: messages that could not be read.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::json;

use super::CliError;
use super::common::{ConfigArgs, FormatArgs};
use crate::clock::{Clock, SystemClock};
use crate::daemon::parts;
use crate::engine::{Engine, Patience};
use crate::event::Delivery;
use crate::rules::RuleSet;
use crate::store::sqlite::DeadLetter;
use crate::wire::{self, Decoded, WireSettings};

/// Arguments of `sheriffd deadletters`.
#[derive(Debug, Args)]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    /// The newest ones, without their bodies
    List {
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// One of them, whole
    Show {
        /// Its number
        id: i64,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Read them again, with this version: what can be read now is applied and forgotten here
    Replay {
        /// Their numbers; without any, all of them
        ids: Vec<i64>,
    },
}

/// Dead letters that are read again in one call.
const REPLAY_MAX: u32 = 10_000;

/// Runs `sheriffd deadletters`.
pub fn run(args: &DeadLettersArgs, config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.command {
        DeadLettersCommand::List { limit, format } => {
            let letters = config.with_store(|books| books.dead_letters(None, *limit))?;
            let short: Vec<_> = letters.iter().map(head).collect();
            format.write(out, &json!({ "deadLetters": short }), |out| {
                for letter in &letters {
                    writeln!(
                        out,
                        "{:<6} {} {} {}: {} ({} bytes)",
                        letter.id, letter.at, letter.exchange, letter.reason, letter.detail, letter.size
                    )?;
                }
                if letters.is_empty() {
                    writeln!(out, "no dead letters")?;
                }
                Ok(())
            })
        }
        DeadLettersCommand::Show { id, format } => {
            let letter = config
                .with_store(|books| books.dead_letters(Some(*id), 1))?
                .pop()
                .ok_or_else(|| CliError::no(format!("there is no dead letter {id}")))?;
            format.write(out, &letter, |out| {
                writeln!(out, "{}", head(&letter))?;
                writeln!(
                    out,
                    "{}",
                    String::from_utf8_lossy(&letter.body).replace(char::is_control, " ")
                )
            })
        }
        DeadLettersCommand::Replay { ids } => replay(ids, config, out),
    }
}

fn head(letter: &DeadLetter) -> serde_json::Value {
    let mut value = json!(letter);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("body");
    }
    value
}

fn replay(ids: &[i64], config: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let loaded = config.load()?.config;
    let rules = RuleSet::load(&loaded.rules.paths).map_err(|error| CliError::config(error.to_string()))?;
    let settings = parts::engine_settings(&loaded).map_err(|error| CliError::config(error.to_string()))?;
    let mut engine = Engine::new(Arc::new(rules), settings);
    let wire = WireSettings {
        backend: parts::backend_name(&loaded),
        max_body: loaded.broker.max_body_bytes,
    };
    let mut store = config.store()?;
    let letters = store.transact(|books| {
        if ids.is_empty() {
            return books.dead_letters(None, REPLAY_MAX);
        }
        let mut letters = Vec::new();
        for id in ids {
            letters.extend(books.dead_letters(Some(*id), 1)?);
        }
        Ok(letters)
    })?;
    let mut unread = 0;
    for letter in letters {
        let outcome = match letter.size > letter.body.len() as u64 {
            true => Err("only its beginning was kept".to_owned()),
            false => wire::decode(&delivery(&letter), &wire).map_err(|error| error.to_string()),
        };
        match outcome {
            Ok(decoded) => {
                let events = match decoded {
                    Decoded::Events(events) => events,
                    Decoded::Ignored(_) => Vec::new(),
                };
                let count = events.len();
                let now = SystemClock.now();
                store.transact(|books| {
                    engine.apply(books, events, Patience::Fresh, now)?;
                    books.forget_dead_letter(letter.id)
                })?;
                writeln!(out, "{}: read, {count} events applied", letter.id)?;
            }
            Err(why) => {
                unread += 1;
                writeln!(out, "{}: {why}", letter.id)?;
            }
        }
    }
    match unread {
        0 => Ok(()),
        _ => Err(CliError::no(format!("{unread} dead letters still cannot be read"))),
    }
}

fn delivery(letter: &DeadLetter) -> Delivery {
    Delivery {
        exchange: letter.exchange.as_str().into(),
        routing_key: letter.routing_key.as_str().into(),
        cc: letter.cc.iter().map(|key| key.as_str().into()).collect(),
        redelivered: true,
        body: Bytes::copy_from_slice(&letter.body),
        tag: 0,
    }
}
