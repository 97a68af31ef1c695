//! A TCP proxy between a client and a server under test, whose connections can be cut like a cable.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Forwards connections to one port on loopback, until it is dropped.
pub struct TcpProxy {
    port: u16,
    cut: Arc<Notify>,
    accepting: JoinHandle<()>,
}

impl TcpProxy {
    /// Starts forwarding to this port.
    pub async fn to(target: u16) -> TcpProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let cut = Arc::new(Notify::new());
        let cutting = Arc::clone(&cut);
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let cutting = Arc::clone(&cutting);
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        () = cutting.notified() => {}
                    }
                });
            }
        });
        TcpProxy { port, cut, accepting }
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection that stands now. New ones are let through.
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut.notify_waiters();
    }
}
