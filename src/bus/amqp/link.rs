//! One connection to the broker: TCP, TLS, login. Within a time limit, leaving nothing behind when it fails.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Connection, ConnectionProperties};

use super::{AmqpSettings, trouble};
use crate::bus::BusError;

/// A second handle on the connection's socket. lapin drives a connection on a thread of its own, which waits for as
/// long as the peer keeps silent: cutting the socket is what ends it, whether the handshake stalled or was given up.
struct SocketGuard(Arc<Mutex<Option<TcpStream>>>);

impl SocketGuard {
    /// The connection stands: it ends by its own close from now on.
    fn disarm(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It fails where the peer has closed already, which is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Connects and logs in, within `settings.connect_timeout`.
pub(super) async fn connect(settings: &AmqpSettings) -> Result<Connection, BusError> {
    let tls = tls_config(settings)?;
    let properties =
        ConnectionProperties::default().with_connection_name(format!("sheriffd {}", settings.queue).into());
    let runtime = lapin::runtime::default_runtime()
        .map_err(|error| BusError::Refused(format!("the broker's client cannot start: {error}")))?;
    let socket = Arc::new(Mutex::new(None));
    let guard = SocketGuard(Arc::clone(&socket));
    let timeout = settings.connect_timeout;
    let opening = Connection::connector(
        uri(settings),
        runtime,
        async move |uri, runtime| {
            let opening = uri.connect_with_config_async(tls.as_ref(), &runtime);
            let stream = tokio::time::timeout(timeout, opening)
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
            let plain = match &stream {
                AsyncTcpStream::Plain(plain) => Some(plain),
                AsyncTcpStream::Rustls(tls) => Some(tls.get_ref().0),
                _ => None,
            };
            if let Some(plain) = plain {
                let handle = plain.get_ref().as_fd().try_clone_to_owned()?;
                *socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(TcpStream::from(handle));
            }
            Ok(stream)
        },
        properties,
    );
    match tokio::time::timeout(timeout, opening).await {
        Ok(Ok(connection)) => {
            guard.disarm();
            Ok(connection)
        }
        Ok(Err(error)) => Err(trouble::while_connecting(&error, settings)),
        Err(_) => Err(BusError::Unavailable(format!(
            "{} did not answer within {} s",
            settings.broker(),
            timeout.as_secs_f64()
        ))),
    }
}

fn uri(settings: &AmqpSettings) -> AMQPUri {
    AMQPUri {
        scheme: if settings.tls {
            AMQPScheme::AMQPS
        } else {
            AMQPScheme::AMQP
        },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: settings.user.clone(),
                password: settings.password.expose().to_owned(),
            },
            host: settings.host.clone(),
            port: settings.port,
        },
        vhost: settings.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(u16::try_from(settings.heartbeat.as_secs()).unwrap_or(u16::MAX).max(1)),
            ..AMQPQueryString::default()
        },
    }
}

/// The system's authorities, and those of the configured file. It is read at each connection: a renewed file counts.
fn tls_config(settings: &AmqpSettings) -> Result<OwnedTLSConfig, BusError> {
    let Some(path) = settings.ca_file.as_ref().filter(|_| settings.tls) else {
        return Ok(OwnedTLSConfig::default());
    };
    let refused = |reason: String| {
        BusError::Refused(format!(
            "the certificate authority of the broker, `{}`, cannot be used: {reason}",
            path.display()
        ))
    };
    let pem = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(refused("the file holds no certificate in PEM form".to_owned()));
    }
    Ok(OwnedTLSConfig {
        identity: None,
        cert_chain: Some(pem),
    })
}
