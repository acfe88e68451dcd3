//! Listens, and stops without losing what is under way.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use oms_engine::Engine;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Refusals};
use crate::app::{App, Settings};
use crate::asker::Peer;
use crate::page::Live;
use crate::routes::router;
use crate::tls::Tls;

/// After a connection could not be accepted, for lack of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A running server. It goes on when this is dropped; stop it with [`stop`](Self::stop).
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    engine: Engine,
    connections: TaskTracker,
    stop: CancellationToken,
    access: Arc<Access>,
    live: Arc<Live>,
}

/// Serves an engine on an address; port 0 takes a free one. Call it within a tokio runtime.
///
/// # Errors
/// [`ServerError::Listen`].
///
/// # Cancel safety
/// Dropped, nothing is served.
pub async fn serve(
    engine: Engine,
    address: SocketAddr,
    settings: Settings,
) -> Result<Server, ServerError> {
    let refused = |source| ServerError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let (connections, stop) = (TaskTracker::new(), CancellationToken::new());
    let (limits, tls) = (settings.limits, settings.tls.clone());
    let app = App::new(engine.clone(), settings, address.ip().is_loopback());
    let (access, live) = (app.access.clone(), app.live.clone());
    if let Some(recorder) = app.recorder.clone() {
        let stop = stop.clone();
        connections.spawn(async move { stop.run_until_cancelled(recorder.fold()).await });
    }
    let router = router(app);
    let places = Arc::new(Semaphore::new(limits.connections));
    if let Some(tls) = tls.clone() {
        connections.spawn(tls.follow(stop.clone()));
    }
    let accepting = (connections.clone(), stop.clone());
    connections.spawn(async move {
        let (connections, stop) = accepting;
        loop {
            let accepted = async {
                let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((place, listener.accept().await?.0))
            };
            let accepted = tokio::select! {
                accepted = accepted => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((place, stream)) => {
                    let service = TowerToHyperService::new(router.clone());
                    let (stop, tls) = (stop.clone(), tls.clone());
                    connections.spawn(async move {
                        greet(stream, tls, service, (limits.head, stop)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    Ok(Server { address, engine, connections, stop, access, live })
}

/// Agrees on TLS where there is to be, within the time that the head of a request is given.
async fn greet(
    stream: TcpStream,
    tls: Option<Tls>,
    service: TowerToHyperService<axum::Router>,
    (head, stop): (Duration, CancellationToken),
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let Ok(peer) = stream.peer_addr() else { return };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        service.call(request)
    });
    let Some(tls) = tls else { return converse(stream, service, head, stop).await };
    let agreed = tokio::select! {
        agreed = tokio::time::timeout(head, tls.acceptor().accept(stream)) => agreed,
        () = stop.cancelled() => return,
    };
    match agreed {
        Ok(Ok(stream)) => converse(stream, service, head, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS was agreed on"),
        Err(_) => tracing::debug!("no TLS was agreed on in time"),
    }
}

async fn converse<S>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    service: S,
    head: Duration,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = axum::response::Response, Error = Infallible>,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = stop.cancelled() => {
            // What is under way is answered; no further request is taken.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, "a connection ended");
    }
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests were refused for who sent them.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.access.refusals()
    }

    /// Stops: takes no more requests, answers polls that wait with nothing, finishes what is under
    /// way within `grace`, then shuts the engine down, which gives leases back.
    ///
    /// # Cancel safety
    /// Dropped, it stops listening; the engine may go on.
    pub async fn stop(self, grace: Duration) {
        self.stop.cancel();
        self.engine.stop_polls();
        self.live.close();
        self.connections.close();
        if tokio::time::timeout(grace, self.connections.wait()).await.is_err() {
            tracing::warn!("requests were under way when the time to finish them was up");
        }
        self.engine.shutdown(grace).await;
    }
}
