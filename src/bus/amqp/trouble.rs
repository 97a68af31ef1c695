//! What went wrong with the broker, in words for people, and whether trying again can help.

use std::io;

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Error, ErrorKind};

use super::AmqpSettings;
use crate::bus::BusError;

/// The broker's own number for what it refused, where it gave one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 403: the user, or what the user wanted, is not allowed.
    Access,
    /// 404: no such exchange or queue.
    NotFound,
    /// 405: somebody else holds the queue exclusively.
    Locked,
    /// 406: it exists with other properties.
    Precondition,
    /// 530 or 402: no such virtual host, or not for this user.
    VirtualHost,
}

/// The refusal in an error, if it is one that asking again does not mend.
pub(super) fn refusal(error: &Error) -> Option<Refusal> {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return None;
    };
    match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Some(Refusal::Access),
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Some(Refusal::NotFound),
        AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED) => Some(Refusal::Locked),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Some(Refusal::Precondition),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::INVALIDPATH) => Some(Refusal::VirtualHost),
        _ => None,
    }
}

/// What the broker said of it, without its number and capitals where it is a protocol error.
pub(super) fn said(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

/// An error of connecting and logging in.
pub(super) fn while_connecting(error: &Error, settings: &AmqpSettings) -> BusError {
    let broker = settings.broker();
    let user = &settings.user;
    match refusal(error) {
        Some(Refusal::Access) => BusError::Refused(format!(
            "{broker} refused the login of user `{user}`: check broker.user and broker.password (the broker said: {})",
            said(error)
        )),
        Some(Refusal::VirtualHost) => BusError::Refused(format!(
            "{broker} does not let user `{user}` use its virtual host: check broker.vhost (the broker said: {})",
            said(error)
        )),
        _ => match certificate_trouble(error) {
            Some(trouble) => BusError::Refused(format!(
                "the certificate of {broker} is not accepted: {trouble}; if it is signed by an authority of your own, \
                 name that authority's file in broker.ca_file"
            )),
            None => BusError::Unavailable(format!("{broker} cannot be reached: {}", said(error))),
        },
    }
}

/// An error of a request on the established connection; `doing` says what was tried, naming the thing.
pub(super) fn while_doing(error: &Error, settings: &AmqpSettings, doing: &str) -> BusError {
    let broker = settings.broker();
    let user = &settings.user;
    match refusal(error) {
        Some(Refusal::Access) => BusError::Refused(format!(
            "{broker} does not allow user `{user}` to {doing} (the broker said: {})",
            said(error)
        )),
        Some(_) => BusError::Refused(format!(
            "{broker} refused to {doing} (the broker said: {})",
            said(error)
        )),
        None => BusError::Unavailable(format!(
            "the connection to {broker} broke while trying to {doing}: {}",
            said(error)
        )),
    }
}

/// The reason why TLS did not trust the broker, where that is the trouble.
fn certificate_trouble(error: &Error) -> Option<String> {
    let ErrorKind::IOError(error) = error.kind() else {
        return None;
    };
    tls_error(error).and_then(|error| match error {
        rustls::Error::InvalidCertificate(reason) => Some(reason.to_string()),
        _ => None,
    })
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner
        .downcast_ref::<rustls::Error>()
        .or_else(|| inner.downcast_ref::<io::Error>().and_then(tls_error))
}
