//! Many messages into a broker fast: by our own client library, with confirmations in groups.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Connection};

use crate::publisher::{Body, Message};
use crate::rabbitmq::Vhost;

/// Messages after which the broker's confirmations are awaited.
const CONFIRM_EVERY: usize = 500;

/// A connection that publishes.
pub struct Bulk {
    _connection: Connection,
    channel: Channel,
}

impl Bulk {
    /// Connects to a virtual host where the exchanges exist already.
    pub async fn at(vhost: &Vhost) -> Bulk {
        let connection = vhost.admin().await;
        let channel = connection.create_channel().await.expect("a channel");
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirmations");
        Bulk {
            _connection: connection,
            channel,
        }
    }

    /// Publishes these in order, persistent; the broker has them when this returns.
    pub async fn publish<'a>(&self, messages: impl IntoIterator<Item = &'a Message>) {
        let mut confirmations = Vec::with_capacity(CONFIRM_EVERY);
        for message in messages {
            let keys = message.cc.iter().map(|key| AMQPValue::LongString(key.as_str().into()));
            let mut headers = FieldTable::default();
            headers.insert(
                "CC".into(),
                AMQPValue::FieldArray(FieldArray::from(keys.collect::<Vec<_>>())),
            );
            let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
            let body = match &message.body {
                Body::Json(value) => value.to_string().into_bytes(),
                Body::Bytes(bytes) => bytes.clone(),
            };
            let sent = self.channel.basic_publish(
                message.exchange.as_str().into(),
                message.routing_key.as_str().into(),
                BasicPublishOptions::default(),
                &body,
                properties,
            );
            confirmations.push(sent.await.expect("the message is published"));
            if confirmations.len() == CONFIRM_EVERY {
                for confirmation in confirmations.drain(..) {
                    confirmation.await.expect("the message is confirmed");
                }
            }
        }
        for confirmation in confirmations {
            confirmation.await.expect("the message is confirmed");
        }
    }
}
