//! The sandbox's socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::ledger::Request;
use super::rules::{Reply, Rules, is_slow};
use crate::error::Error;
use crate::ports::PortError;

/// A longer request is refused.
const LINE_MAX: u64 = 64 * 1024;
const SLOW: Duration = Duration::from_millis(500);
/// After a connection could not be accepted, for lack of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A running sandbox; it stops when this is dropped.
#[derive(Debug)]
#[must_use = "the sandbox stops when this is dropped"]
pub struct Sandbox {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: DropGuard,
}

/// Starts a sandbox on the loopback interface that goes on from a ledger.
///
/// Port 0 takes a free one. Whoever calls this must be in a Tokio runtime, which the sandbox
/// then runs on.
///
/// # Errors
/// [`Error::Io`] when the port is taken or another sandbox uses the ledger, [`Error::Json`] when
/// the ledger is spoilt.
///
/// # Cancel safety
/// Safe to drop.
pub async fn serve(ledger: &Path, port: u16) -> Result<Sandbox, Error> {
    let rules = Arc::new(Mutex::new(Rules::open(ledger)?));
    let doing = || format!("listening on port {port}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|source| Error::Io { doing: doing(), source })?;
    let address = listener.local_addr().map_err(|source| Error::Io { doing: doing(), source })?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(accept(listener, rules, tasks.clone(), stop.clone()));
    Ok(Sandbox { address, tasks, stop: stop.drop_guard() })
}

impl Sandbox {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it and returns when the ledger is free for another one.
    ///
    /// # Cancel safety
    /// It stops also when the future is dropped.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    rules: Arc<Mutex<Rules>>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (rules, stop) = (Arc::clone(&rules), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        ended = converse(stream, &rules) => {
                            // The peer is gone; it asks again if it wants to know.
                            if let Err(error) = ended { tracing::debug!(%error, "a call ended"); }
                        }
                        () = stop.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, rules: &Mutex<Rules>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut stream).take(LINE_MAX).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        let reply = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => {
                if is_slow(&request) {
                    tokio::time::sleep(SLOW).await;
                }
                rules.lock().unwrap_or_else(PoisonError::into_inner).handle(&request)
            }
            Err(error) => Some(Reply::Err(PortError::Invalid(error.to_string()))),
        };
        let Some(reply) = reply else {
            // Silent until the caller gives up.
            while stream.read(&mut [0; 64]).await? > 0 {}
            return Ok(());
        };
        let mut bytes = serde_json::to_vec(&reply)?;
        bytes.push(b'\n');
        stream.write_all(&bytes).await?;
    }
}
