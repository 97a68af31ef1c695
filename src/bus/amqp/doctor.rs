//! What would not work with the broker, before it does not: for `sheriffd doctor`.

use lapin::Connection;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use super::trouble::{self, Refusal};
use super::{AmqpSettings, link, topology};
use crate::bus::BusError;
use crate::finding::Finding;

/// The guardian of the public Pulse warns the owner of a queue of this length.
const GUARDIAN_WARNS: u32 = 2_000;
/// The guardian of the public Pulse deletes a queue of this length.
const GUARDIAN_DELETES: u32 = 8_000;

/// Looks at the broker without changing what is there: login, queue, exchanges, permission to bind. Bindings are
/// tried on a queue of their own, which is deleted again. No message is taken.
pub async fn check(settings: &AmqpSettings) -> Vec<Finding> {
    let broker = settings.broker();
    let connection = match link::connect(settings).await {
        Ok(connection) => connection,
        Err(error) => return vec![bad(broker, &error)],
    };
    let mut findings = vec![good(broker, format!("logged in as user `{}`", settings.user))];
    findings.push(match queue(&connection, settings).await {
        Ok(finding) => finding,
        Err(error) => bad(format!("queue `{}`", settings.queue), &error),
    });
    for exchange in topology::exchanges(&settings.bindings) {
        let what = format!("exchange `{exchange}`");
        findings.push(match try_bindings(&connection, settings, exchange).await {
            Ok(number) => good(what, format!("exists and can be bound ({number} bindings)")),
            Err(error) => bad(what, &error),
        });
    }
    // The findings are complete: a close that fails changes none of them.
    let _ = tokio::time::timeout(super::CLOSE_TIMEOUT, connection.close(200, "OK".into())).await;
    findings
}

async fn queue(connection: &Connection, settings: &AmqpSettings) -> Result<Finding, BusError> {
    let channel = topology::open_channel(connection, settings).await?;
    let name = settings.queue.as_str();
    let what = format!("queue `{name}`");
    let passive = QueueDeclareOptions {
        passive: true,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let queue = match channel.queue_declare(name.into(), passive, FieldTable::default()).await {
        Ok(queue) => queue,
        Err(error) if trouble::refusal(&error) == Some(Refusal::NotFound) => {
            let detail = "does not exist yet: it is made at the first start, and messages are kept from then on";
            return Ok(good(what, detail.to_owned()));
        }
        Err(error) => {
            return Err(trouble::while_doing(
                &error,
                settings,
                &format!("look at queue `{name}`"),
            ));
        }
    };
    let state = format!(
        "{} messages wait, {} consumers",
        queue.message_count(),
        queue.consumer_count()
    );
    Ok(match (queue.message_count(), queue.consumer_count()) {
        (GUARDIAN_WARNS.., _) => Finding {
            what,
            ok: false,
            detail: format!(
                "{state}: the public Pulse warns at {GUARDIAN_WARNS} and deletes the queue at {GUARDIAN_DELETES}; is \
                 the daemon running, and fast enough?"
            ),
        },
        (_, 2..) => Finding {
            what,
            ok: false,
            detail: format!(
                "{state}: each message reaches only one of them; give each daemon a queue of its own with \
                 broker.environment"
            ),
        },
        _ => good(what, state),
    })
}

/// Binds a queue of our own to the exchange as it is to be bound; returns the number of bindings.
async fn try_bindings(connection: &Connection, settings: &AmqpSettings, exchange: &str) -> Result<usize, BusError> {
    let channel = topology::open_channel(connection, settings).await?;
    topology::declare_exchange(&channel, settings, exchange).await?;
    let name = format!("{}/doctor", settings.queue);
    let own = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(name.as_str().into(), own, FieldTable::default())
        .await
        .map_err(|error| trouble::while_doing(&error, settings, &format!("declare queue `{name}`")))?;
    let mut number = 0;
    for binding in settings.bindings.iter().filter(|binding| binding.exchange == exchange) {
        topology::bind(&channel, settings, &name, binding).await?;
        number += 1;
    }
    channel
        .queue_delete(name.as_str().into(), QueueDeleteOptions::default())
        .await
        .map_err(|error| trouble::while_doing(&error, settings, &format!("delete queue `{name}`")))?;
    Ok(number)
}

fn good(what: String, detail: String) -> Finding {
    Finding { what, ok: true, detail }
}

fn bad(what: String, error: &BusError) -> Finding {
    Finding {
        what,
        ok: false,
        detail: error.to_string(),
    }
}
