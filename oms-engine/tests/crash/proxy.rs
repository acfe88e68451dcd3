//! A TCP proxy in front of PostgreSQL that does harm now and then.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use oms_engine::tokio_postgres::config::Host;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::Random;

/// What is done to an answer of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Both sides are cut before the answer is passed on: done, but nobody knows.
    CutBefore,
    /// Both sides are cut right after it.
    CutAfter,
    /// It is swallowed, and all that follow; the connection stays.
    Swallow,
    /// The client hears no more, the server goes on being heard.
    HalfClose,
}

const HARMS: [Harm; 4] = [Harm::CutBefore, Harm::CutAfter, Harm::Swallow, Harm::HalfClose];

/// See the module. It ends when this is dropped.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
    _serving: JoinSet<()>,
}

struct State {
    random: Mutex<Random>,
    /// One in so many answers is harmed; 0 for none.
    one_in: AtomicU64,
    done: [AtomicUsize; 4],
    /// Harmed answers that told of a commit.
    commits: AtomicUsize,
}

enum Upstream {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl State {
    fn harm(&self, answer: &[u8]) -> Option<Harm> {
        let one_in = self.one_in.load(Ordering::SeqCst);
        let commit = answer.windows(7).any(|window| window == b"COMMIT\0");
        // Those of commits are the ones that matter, and few.
        let one_in = if commit { one_in.div_ceil(8) } else { one_in };
        let mut random = self.random.lock().unwrap();
        if one_in == 0 || random.below(one_in) != 0 {
            return None;
        }
        let at = usize::try_from(random.below(4)).unwrap();
        self.done[at].fetch_add(1, Ordering::SeqCst);
        if commit {
            self.commits.fetch_add(1, Ordering::SeqCst);
        }
        Some(HARMS[at])
    }
}

impl Proxy {
    /// Listens in front of the server of this URL. Out: also the URL to use in its place.
    pub(crate) async fn before(url: &str) -> (Self, String) {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let upstream = Arc::new(match &config.get_hosts()[0] {
            Host::Tcp(host) => Upstream::Tcp(host.clone(), port),
            Host::Unix(folder) => Upstream::Unix(folder.join(format!(".s.PGSQL.{port}"))),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            random: Mutex::new(Random::seeded("proxy")),
            one_in: AtomicU64::new(0),
            done: Default::default(),
            commits: AtomicUsize::new(0),
        });
        let mut serving = JoinSet::new();
        let shared = state.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, upstream.clone(), shared.clone()));
            }
        });
        let user = config.get_user().unwrap();
        let database = config.get_dbname().unwrap();
        let mut through = format!("host=127.0.0.1 port={port} user={user} dbname={database}");
        if let Some(password) = config.get_password() {
            through.push_str(&format!(" password={}", String::from_utf8_lossy(password)));
        }
        (Self { port, state, _serving: serving }, through)
    }

    /// Harms one in so many answers from now on; 0 heals.
    pub(crate) fn harm_one_in(&self, n: u64) {
        self.state.one_in.store(n, Ordering::SeqCst);
    }

    /// How often each harm was done, and how many of them met the answer of a commit.
    pub(crate) fn done(&self) -> ([usize; 4], usize) {
        let done = std::array::from_fn(|at| self.state.done[at].load(Ordering::SeqCst));
        println!("proxy on port {}: {HARMS:?} {done:?}", self.port);
        (done, self.state.commits.load(Ordering::SeqCst))
    }
}

async fn serve(client: TcpStream, upstream: Arc<Upstream>, state: Arc<State>) {
    match &*upstream {
        Upstream::Tcp(host, port) => {
            if let Ok(server) = TcpStream::connect((host.as_str(), *port)).await {
                pump(client, server, &state).await;
            }
        }
        Upstream::Unix(path) => {
            if let Ok(server) = UnixStream::connect(path).await {
                pump(client, server, &state).await;
            }
        }
    }
}

async fn pump(client: TcpStream, server: impl AsyncRead + AsyncWrite, state: &State) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let asked = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from_client.read(&mut bytes).await {
            if to_server.write_all(&bytes[..n]).await.is_err() {
                return;
            }
        }
    };
    let answered = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from_server.read(&mut bytes).await {
            match state.harm(&bytes[..n]) {
                None => {
                    if to_client.write_all(&bytes[..n]).await.is_err() {
                        return;
                    }
                }
                Some(Harm::CutBefore) => return,
                Some(Harm::CutAfter) => {
                    let passed = to_client.write_all(&bytes[..n]).await;
                    return passed.unwrap_or_default();
                }
                Some(Harm::Swallow) => while let Ok(1..) = from_server.read(&mut bytes).await {},
                Some(Harm::HalfClose) => {
                    to_client.shutdown().await.unwrap_or_default();
                    while let Ok(1..) = from_server.read(&mut bytes).await {}
                }
            }
        }
    };
    // Whichever side ends first takes the other with it.
    tokio::select! {
        () = asked => {}
        () = answered => {}
    }
}
