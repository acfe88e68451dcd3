//! Connections: one made by hand for each pump and session, and pools for the rest.

use std::time::Duration;

use deadpool_postgres::{
    Client, ClientWrapper, Hook, HookError, Manager, ManagerConfig, RecyclingMethod, Runtime,
};
use futures_util::future::poll_fn;
use tokio::sync::mpsc;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Config, NoTls, Socket};

use crate::error::{Doing as _, Error, Remedy, remedy};

pub(crate) type Pool = deadpool_postgres::Pool;

/// A connection of a pool. Dropped before it was put back it is thrown away: what it was sent may
/// still be under way.
#[derive(Debug)]
pub(crate) struct Rented {
    client: Option<Client>,
    doing: &'static str,
}

impl Rented {
    /// Takes a connection; an error is one that could not be had.
    pub(crate) async fn from(pool: &Pool, doing: &'static str) -> Result<Self, Error> {
        Ok(Self { client: Some(pool.get().await.doing(doing)?), doing })
    }

    pub(crate) fn client(&mut self) -> Result<&mut ClientWrapper, Error> {
        let doing = self.doing;
        let gone = || Error::Connection { doing, source: "the connection was given away".into() };
        self.client.as_deref_mut().ok_or_else(gone)
    }

    /// Whether the server or the network has ended it.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.as_ref().is_none_or(|client| client.is_closed())
    }

    /// Puts it back: everything that it was sent has been answered.
    pub(crate) fn put_back(mut self) {
        self.client = None;
    }

    /// Puts it back unless a call on it passed its deadline, or needs another connection.
    pub(crate) fn settle<T>(self, done: Result<T, Error>) -> Result<T, Error> {
        let spent = match &done {
            Err(Error::Deadline { .. }) => true,
            Err(Error::Database { source, .. }) => remedy(source) == Remedy::NewConnection,
            _ => false,
        };
        if !spent {
            self.put_back();
        }
        done
    }
}

impl Drop for Rented {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Client::take(client));
        }
    }
}

/// Wake-ups that may wait to be read; further ones are dropped, since a slow poll is always there.
const NOTIFICATIONS_MAX: usize = 1_024;

/// How our statements are planned. Plans are made once per connection, often when the tables are
/// empty and unanalyzed, and then a full scan looks cheap and stays. Every statement of ours has
/// an index to go by, so the planner is told to take it.
///
/// A join on `=` may still read the whole table, in the order of the index, and does where it was
/// last seen empty. So what is looked up by a list or another table is asked for `BETWEEN` a value
/// and itself, or in a `LATERAL` of its own (`OFFSET 0`): then only the index is left.
const PLANNER: [&str; 6] = [
    "plan_cache_mode = force_generic_plan",
    "enable_seqscan = off",
    "enable_mergejoin = off",
    "enable_bitmapscan = off",
    "random_page_cost = 1.1",
    "jit = off",
];

/// Whose statements a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statements {
    /// The engine's alone.
    Ours,
    /// The user's, and ours at the end of a transaction (see [`plan_ours`]).
    Users,
}

/// Plans the statements of the rest of a user's transaction as ours.
pub(crate) fn plan_ours() -> String {
    PLANNER.map(|setting| format!("SET LOCAL {setting}")).join("; ")
}

/// How connections are made: where to, with or without TLS, and within what time.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    config: Config,
    pub(super) deadline: Duration,
}

impl Connector {
    /// Reads a `postgres://` URL or a key=value string.
    ///
    /// TLS is used where the text asks for it (`sslmode=require`), and then the server's
    /// certificate is verified. Of several hosts the first is taken that can be written to.
    pub(crate) fn new(text: &str, deadline: Duration) -> Result<Self, Error> {
        let mut config: Config = text.parse().map_err(|error| unreadable(&error))?;
        if config.get_application_name().is_none() {
            config.application_name("oms-engine");
        }
        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX).max(1);
        if hosts > 1 {
            // Which of them may write changes when a standby is promoted.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        // A host that does not answer leaves time for the next.
        let each = deadline / hosts;
        let asked = config.get_connect_timeout().copied().unwrap_or(each);
        config.connect_timeout(asked.min(each));
        config.keepalives_idle(Duration::from_secs(5));
        config.keepalives_interval(Duration::from_secs(2));
        config.keepalives_retries(3);
        config.tcp_user_timeout(Duration::from_secs(10));
        if config.get_ssl_mode() == SslMode::Require && cfg!(not(feature = "tls")) {
            return Err(Error::Config(
                "sslmode=require needs the cargo feature `tls` of oms-engine".to_owned(),
            ));
        }
        Ok(Self { config, deadline })
    }

    /// Where to, for messages: never the password.
    pub(crate) fn target(&self) -> String {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate().map(|(n, host)| {
            let port = ports.get(n).or_else(|| ports.first()).unwrap_or(&5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        });
        format!(
            "{}/{}",
            hosts.collect::<Vec<_>>().join(","),
            self.config.get_dbname().or_else(|| self.config.get_user()).unwrap_or_default()
        )
    }

    fn set_up(&self, statements: Statements) -> String {
        let mut sql = format!("SET statement_timeout = {}", self.deadline.as_millis());
        if statements == Statements::Ours {
            for setting in PLANNER {
                sql.push_str("; SET ");
                sql.push_str(setting);
            }
        }
        sql
    }

    /// A connection of its own. Notifications that arrive on it go to the receiver.
    pub(crate) async fn connect(&self) -> Result<(ClientWrapper, mpsc::Receiver<String>), Error> {
        let doing = "connecting to PostgreSQL";
        let connected = tokio::time::timeout(self.deadline, self.connect_now()).await;
        let Ok(connected) = connected else {
            return Err(Error::Deadline { doing, after: self.deadline });
        };
        let (client, notifications) = connected?;
        let set_up = self.set_up(Statements::Ours);
        match tokio::time::timeout(self.deadline, client.batch_execute(&set_up)).await {
            Ok(done) => done.doing(doing)?,
            Err(_) => return Err(Error::Deadline { doing, after: self.deadline }),
        }
        Ok((client, notifications))
    }

    async fn connect_now(&self) -> Result<(ClientWrapper, mpsc::Receiver<String>), Error> {
        let doing = "connecting to PostgreSQL";
        #[cfg(feature = "tls")]
        if self.config.get_ssl_mode() == SslMode::Require {
            let (client, connection) = self.config.connect(verified_tls()?).await.doing(doing)?;
            return Ok(drive(client, connection));
        }
        let (client, connection) = self.config.connect(NoTls).await.doing(doing)?;
        Ok(drive(client, connection))
    }

    /// A pool of at most `size` connections.
    pub(crate) fn pool(&self, size: usize, statements: Statements) -> Result<Pool, Error> {
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        #[cfg(feature = "tls")]
        let manager = if self.config.get_ssl_mode() == SslMode::Require {
            Manager::from_config(self.config.clone(), verified_tls()?, manager_config)
        } else {
            Manager::from_config(self.config.clone(), NoTls, manager_config)
        };
        #[cfg(not(feature = "tls"))]
        let manager = Manager::from_config(self.config.clone(), NoTls, manager_config);
        let (set_up, deadline) = (self.set_up(statements), self.deadline);
        Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .timeouts(deadpool_postgres::Timeouts {
                wait: Some(self.deadline),
                create: Some(self.deadline),
                recycle: Some(self.deadline),
            })
            // The pool's time-outs do not cover its hooks.
            .post_create(Hook::async_fn(move |client: &mut ClientWrapper, _| {
                let set_up = set_up.clone();
                Box::pin(async move {
                    match tokio::time::timeout(deadline, client.batch_execute(&set_up)).await {
                        Ok(done) => done.map_err(HookError::Backend),
                        Err(_) => Err(HookError::message(format!("no answer after {deadline:?}"))),
                    }
                })
            }))
            .build()
            .map_err(|e| Error::Config(format!("connection pool: {e}")))
    }
}

/// Says which value is wrong. Any other reason may quote a piece of a password.
fn unreadable(error: &tokio_postgres::Error) -> Error {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let which = match cause.as_str() {
        "invalid value for option `sslmode`" => {
            ": sslmode is disable, prefer or require, which also verifies the certificate"
                .to_owned()
        }
        cause if cause.starts_with("invalid value for option") => format!(": {cause}"),
        _ => String::new(),
    };
    Error::Config(format!("database URL: {error}{which}"))
}

#[cfg(feature = "tls")]
fn verified_tls() -> Result<tokio_postgres_rustls::MakeRustlsConnect, Error> {
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(native.certs);
    if added == 0 {
        return Err(Error::Config(format!(
            "sslmode=require, but no root certificate was found (set SSL_CERT_FILE): {:?}",
            native.errors
        )));
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Config(format!("TLS: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_postgres_rustls::MakeRustlsConnect::new(config))
}

fn drive<S>(
    client: tokio_postgres::Client,
    mut connection: tokio_postgres::Connection<Socket, S>,
) -> (ClientWrapper, mpsc::Receiver<String>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(NOTIFICATIONS_MAX);
    let driver = tokio::spawn(async move {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(note))) => {
                    if let Err(mpsc::error::TrySendError::Full(_)) =
                        sender.try_send(note.payload().to_owned())
                    {
                        tracing::debug!("a wake-up was dropped; the slow poll finds the work");
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!(%error, "connection lost");
                    return;
                }
                None => return,
            }
        }
    });
    (ClientWrapper::new(client, driver), receiver)
}
