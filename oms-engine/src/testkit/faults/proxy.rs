//! Stands between a worker process and its database, and kills the process at its n-th commit.

use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_postgres::config::Host;

use super::Moment;
use super::wire::{Conversation, Ends, Frames, Message};
use crate::testkit::TestkitError;

/// See the module. Connections end when this is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    fate: Arc<Fate>,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Fate {
    at: usize,
    moment: Moment,
    seen: AtomicUsize,
    killed: AtomicBool,
    child: Mutex<Option<Child>>,
    done: Notify,
}

impl Fate {
    /// Whether the commit that comes now is the one.
    fn strikes(&self) -> bool {
        self.seen.fetch_add(1, Ordering::SeqCst) + 1 == self.at
    }

    /// SIGKILL, and returns when the process is gone.
    fn kill(&self) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = child {
            self.killed.store(true, Ordering::SeqCst);
            // One that has ended by itself cannot be killed.
            if child.kill().is_ok() {
                drop(child.wait());
            }
        }
        self.done.notify_one();
    }
}

enum Upstream {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Proxy {
    /// Listens in front of the server of this URL. Out: also the URL to use in its place.
    pub(super) async fn before(
        url: &str,
        at: usize,
        moment: Moment,
    ) -> Result<(Self, String), TestkitError> {
        let said = |text: String| TestkitError::Worker(text);
        let config: tokio_postgres::Config =
            url.parse().map_err(|error| said(format!("reading the database's URL: {error}")))?;
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let upstream = Arc::new(match config.get_hosts().first() {
            Some(Host::Tcp(host)) => Upstream::Tcp(host.clone(), port),
            #[cfg(unix)]
            Some(Host::Unix(folder)) => Upstream::Unix(folder.join(format!(".s.PGSQL.{port}"))),
            None => return Err(said("the database's URL names no host".to_owned())),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(|error| said(format!("listening: {error}")))?;
        let port = listener.local_addr().map_err(|error| said(format!("listening: {error}")))?;
        let fate = Arc::new(Fate {
            at,
            moment,
            seen: AtomicUsize::new(0),
            killed: AtomicBool::new(false),
            child: Mutex::new(None),
            done: Notify::new(),
        });
        let (mut serving, shared) = (JoinSet::new(), fate.clone());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, upstream.clone(), shared.clone()));
            }
        });
        Ok((Self { fate, _serving: serving }, through(&config, port.port())))
    }

    /// Whom it kills.
    pub(super) fn kills(&self, child: Child) {
        *self.fate.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    /// Returns when it has killed.
    pub(super) async fn has_killed(&self) {
        self.fate.done.notified().await;
    }

    /// Kills the process if it still lives. Out: whether a commit had done so before.
    pub(super) fn end(&self) -> bool {
        let before = self.fate.killed.load(Ordering::SeqCst);
        self.fate.kill();
        before
    }

    /// Whether the process has ended by itself.
    pub(super) fn ended_by_itself(&self) -> bool {
        let mut child = self.fate.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.fate.kill();
    }
}

/// The URL of the same database by way of this port.
fn through(config: &tokio_postgres::Config, port: u16) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let mut url = format!("host=127.0.0.1 port={port} sslmode=disable");
    for (name, value) in [("user", config.get_user()), ("dbname", config.get_dbname())] {
        if let Some(value) = value {
            url.push_str(&format!(" {name}={}", quoted(value)));
        }
    }
    if let Some(password) = config.get_password() {
        url.push_str(&format!(" password={}", quoted(&String::from_utf8_lossy(password))));
    }
    url
}

async fn serve(client: TcpStream, upstream: Arc<Upstream>, fate: Arc<Fate>) {
    match &*upstream {
        Upstream::Tcp(host, port) => {
            if let Ok(server) = TcpStream::connect((host.as_str(), *port)).await {
                pump(client, server, &fate).await;
            }
        }
        Upstream::Unix(path) => {
            if let Ok(server) = UnixStream::connect(path).await {
                pump(client, server, &fate).await;
            }
        }
    }
}

/// Passes on what both sides say. It ends with either side, or with the process's death.
async fn pump(client: TcpStream, server: impl AsyncRead + AsyncWrite, fate: &Fate) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    // The number of the question whose answer is the fatal commit.
    let fatal = AtomicUsize::new(usize::MAX);
    tokio::select! {
        () = asked(from_client, to_server, fate, &fatal) => {}
        () = answered(from_server, to_client, fate, &fatal) => {}
    }
}

async fn asked(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    fate: &Fate,
    fatal: &AtomicUsize,
) {
    let (mut frames, mut said) = (Frames::of_client(), Conversation::default());
    let (mut bytes, mut out) = (vec![0; 64 * 1024], Vec::new());
    // The first "ready" of the server answers the client's hello.
    let mut questions = 1;
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        frames.push(bytes.get(..n).unwrap_or_default());
        while let Some(message) = frames.next() {
            let ends = said.hear(&message);
            questions += usize::from(ends != Ends::Nothing);
            if ends == Ends::Commit && fate.strikes() {
                if fate.moment == Moment::Before {
                    fate.kill();
                    return;
                }
                fatal.store(questions, Ordering::SeqCst);
            }
            out.extend_from_slice(&message.bytes);
        }
        if to.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}

async fn answered(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    fate: &Fate,
    fatal: &AtomicUsize,
) {
    let (mut frames, mut bytes, mut out) = (Frames::default(), vec![0; 64 * 1024], Vec::new());
    let mut answers = 0;
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        frames.push(bytes.get(..n).unwrap_or_default());
        while let Some(message) = frames.next() {
            let is_fatal = answers + 1 == fatal.load(Ordering::SeqCst);
            let ready = is_ready(&message);
            answers += usize::from(ready);
            if is_fatal && ready && fate.moment == Moment::Inside {
                fate.kill();
                return;
            }
            // Until it is ready the process is to hear nothing of a commit that it does not live to see.
            if !(is_fatal && fate.moment == Moment::Inside) {
                out.extend_from_slice(&message.bytes);
            }
            if is_fatal && ready {
                drop(to.write_all(&out).await);
                fate.kill();
                return;
            }
        }
        if to.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}

fn is_ready(message: &Message) -> bool {
    message.kind() == Some(b'Z')
}
