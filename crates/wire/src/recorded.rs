//! Recordings: messages kept as JSON Lines, for replay.
//!
//! In: one line, `{"exchange", "routingKey", "cc", "redelivered", "payload"}`; `message` or `body` may stand for
//! `payload`, and every field but that one may be missing or null. Out: the [`Delivery`] as the bus would have brought
//! it. Never: reading the message itself.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Text, error, object, read};
use super::{DecodeError, Unreadable};
use sheriffd_event::Delivery;

/// A recorded message. Further fields (where it came from, notes) are ignored.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    exchange: Option<Text<'a>>,
    #[serde(borrow, rename = "routingKey")]
    routing_key: Option<Text<'a>>,
    #[serde(borrow)]
    cc: Option<Vec<Text<'a>>>,
    redelivered: Option<bool>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// The part of Pulse's envelope that says where a message was published.
#[derive(Deserialize)]
struct Stamped<'a> {
    #[serde(borrow, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

/// `_meta`.
#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    exchange: Option<Text<'a>>,
    #[serde(borrow)]
    routing_key: Option<Text<'a>>,
}

/// Reads one line of a recording (or a whole file that holds one message). `Ok(None)` for a blank one.
///
/// `tag` becomes the delivery's tag. The exchange is the line's, else the one in the message's own envelope, else
/// `fallback_exchange`: some recordings hold messages of one exchange and do not repeat its name.
///
/// # Errors
/// The line is not a JSON object, holds no message, or nothing tells the exchange.
pub fn delivery(line: &str, tag: u64, fallback_exchange: Option<&str>) -> Result<Option<Delivery>, DecodeError> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    object(line)?;
    let line: Line = read(line)?;
    let Some(body) = line.payload.or(line.message).or(line.body) else {
        return Err(error(
            Unreadable::WrongShape,
            "the line has none of the fields `payload`, `message`, `body`",
        ));
    };
    // An envelope of an unexpected shape says nothing here; whether the message is sound is for its decoder to say.
    let meta = match (&line.exchange, &line.routing_key) {
        (Some(_), Some(_)) => None,
        _ => serde_json::from_str(body.get())
            .ok()
            .and_then(|stamped: Stamped| stamped.meta),
    };
    let (stamp_exchange, stamp_key) = meta.map_or((None, None), |meta| (meta.exchange, meta.routing_key));
    let exchange = line
        .exchange
        .as_deref()
        .or(stamp_exchange.as_deref())
        .or(fallback_exchange);
    let Some(exchange) = exchange else {
        return Err(error(
            Unreadable::UnknownExchange,
            "neither the line nor its message names an exchange",
        ));
    };
    let routing_key = line.routing_key.as_deref().or(stamp_key.as_deref()).unwrap_or_default();
    Ok(Some(Delivery {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        cc: line.cc.unwrap_or_default().iter().map(|key| (&**key).into()).collect(),
        redelivered: line.redelivered.unwrap_or(false),
        body: Bytes::copy_from_slice(body.get().as_bytes()),
        tag,
    }))
}
