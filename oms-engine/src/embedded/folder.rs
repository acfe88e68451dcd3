//! The folder of one server: its data, its settings, and the files by which its users meet.
//!
//! ```text
//! lock             locked by the one program that is joining or starting the server
//! supervisor.lock  locked as long as the supervisor lives
//! users            a FIFO that every user holds open for writing, and the supervisor for reading
//! ack              the supervisor's last answer
//! joined           there once somebody has joined this supervisor
//! oms.conf         our settings, written before each start
//! supervise.sh     the supervisor's script
//! password         of the user `oms`, asked for on a loopback port only
//! data/            the data; it appears when it is complete
//! log, log.1       what the server said since its last start, and before
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::EmbeddedError;
use super::account::Account;

/// The longest path of a socket, as macOS has it (104 with the closing zero); Linux allows 107.
const SOCKET_PATH_MAX: usize = 103;
const SOCKET_NAME: &str = ".s.PGSQL.5432";
const LOG_TAIL_LINES: usize = 12;

/// How clients reach the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Socket(PathBuf),
    Loopback(u16),
}

/// The folder of one server.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    account: Account,
}

impl Folder {
    /// Makes the folder if it does not exist, and checks that it is the server's user's alone.
    pub(super) fn prepare(path: &Path, account: Account) -> Result<Self, EmbeddedError> {
        let refused = |reason: String| EmbeddedError::Folder { folder: path.to_owned(), reason };
        let made = || -> io::Result<()> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            make_private_directory(path, account)
        };
        made().map_err(|error| refused(error.to_string()))?;
        let path = fs::canonicalize(path).map_err(|error| refused(error.to_string()))?;
        account.owns_directory(&path).map_err(refused)?;
        if let Some(dir) = account.barred_at(&path) {
            let dir = dir.display();
            return Err(refused(format!("the server does not run as root and cannot enter {dir}")));
        }
        Ok(Self { path, account })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn refused(&self, error: &io::Error) -> EmbeddedError {
        EmbeddedError::Folder { folder: self.path.clone(), reason: error.to_string() }
    }

    pub(super) fn open_lock(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.file(name))
    }

    pub(super) fn has_data(&self) -> bool {
        self.file("data").exists()
    }

    /// Where the running server listens; none when no server takes connections.
    pub(super) fn running(&self) -> Option<Address> {
        let (_, address) = self.postmaster()?;
        let answers = match &address {
            Address::Socket(path) => UnixStream::connect(path).is_ok(),
            Address::Loopback(port) => std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok(),
        };
        answers.then_some(address)
    }

    /// The process of the server, as its own file names it. It may be gone.
    pub(super) fn postmaster(&self) -> Option<(i32, Address)> {
        let text = fs::read_to_string(self.file("data/postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let mut lines = lines.skip(2);
        let port: u16 = lines.next()?.trim().parse().ok()?;
        let address = match lines.next()?.trim() {
            "" => Address::Loopback(port),
            dir => Address::Socket(Path::new(dir).join(format!(".s.PGSQL.{port}"))),
        };
        Some((pid, address))
    }

    /// Removes a `postmaster.pid` that outlived its server, when its process number meanwhile
    /// belongs to another program: PostgreSQL would take that one for a running server.
    pub(super) fn clear_stale_pid(&self) -> io::Result<()> {
        let Some((pid, _)) = self.postmaster() else { return Ok(()) };
        // Where there is no /proc, PostgreSQL's own check has to do.
        match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) if !name.starts_with("postgres") && !name.starts_with("postmaster") => {
                fs::remove_file(self.file("data/postmaster.pid"))
            }
            _ => Ok(()),
        }
    }

    /// Chooses where the server shall listen and writes its settings.
    pub(super) fn write_settings(&self, settings: &[(String, String)]) -> io::Result<()> {
        let mut text =
            "# Written before each start; your own settings go to data/postgresql.conf.\n"
                .to_owned();
        let address = self.choose_address()?;
        let (sockets, listen, port) = match &address {
            Address::Socket(path) => (quoted_in_list(path.parent().unwrap_or(path)), "", 5432),
            Address::Loopback(port) => (String::new(), "127.0.0.1", *port),
        };
        let own = [
            ("unix_socket_directories", sockets),
            ("listen_addresses", listen.to_owned()),
            ("port", port.to_string()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        for (name, value) in own.chain(settings.iter().cloned()) {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        self.write_private("oms.conf", &text)?;
        if !self.file("password").exists() {
            self.write_private("password", &format!("{}\n", random_hex()?))?;
        }
        Ok(())
    }

    fn choose_address(&self) -> io::Result<Address> {
        if takes_sockets(&self.path) {
            return Ok(Address::Socket(self.file(SOCKET_NAME)));
        }
        // The folder's path is too long, or its file system has no sockets.
        let short = std::env::temp_dir().join(format!("oms-pg-{:016x}", path_hash(&self.path)));
        if make_private_directory(&short, self.account).is_ok()
            && self.account.owns_directory(&short).is_ok()
            && takes_sockets(&short)
        {
            return Ok(Address::Socket(short.join(SOCKET_NAME)));
        }
        let free = TcpListener::bind(("127.0.0.1", 0))?;
        Ok(Address::Loopback(free.local_addr()?.port()))
    }

    /// Replaces a file at once, readable by the server's user alone.
    pub(super) fn write_private(&self, name: &str, text: &str) -> io::Result<()> {
        let new = self.file(&format!("{name}.new"));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        self.account.adopt(&new)?;
        fs::rename(&new, self.file(name))
    }

    /// Makes a fresh data folder last through a power cut: its name, and the line added to its
    /// settings after initdb had synchronised the rest.
    pub(super) fn sync_new_data(&self) -> io::Result<()> {
        File::open(self.file("data/postgresql.conf"))?.sync_all()?;
        File::open(self.file("data"))?.sync_all()?;
        File::open(&self.path)?.sync_all()
    }

    /// A connection string that tokio-postgres and libpq read alike.
    pub(super) fn url(&self, address: &Address) -> io::Result<String> {
        Ok(match address {
            Address::Socket(path) => {
                let dir = percent_encoded(path.parent().unwrap_or(path));
                format!("postgresql://oms@{dir}:5432/postgres")
            }
            Address::Loopback(port) => {
                let password = fs::read_to_string(self.file("password"))?;
                format!("postgresql://oms:{}@127.0.0.1:{port}/postgres", password.trim_end())
            }
        })
    }

    /// The last lines that the server or its tools wrote.
    pub(super) fn log_tail(&self) -> String {
        let text = fs::read(self.file("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_TAIL_LINES)..).unwrap_or_default();
        tail.join("\n  ")
    }
}

/// One item of a setting that is a list.
fn quoted_in_list(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('"', "\"\""))
}

fn make_private_directory(path: &Path, account: Account) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => account.adopt(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a server can have its socket in this directory.
fn takes_sockets(dir: &Path) -> bool {
    let longest = dir.as_os_str().len() + 1 + SOCKET_NAME.len();
    let probe = dir.join(".probe");
    if longest > SOCKET_PATH_MAX || dir.to_str().is_none() {
        return false;
    }
    let bound = fs::remove_file(&probe).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    bound.and_then(|()| UnixListener::bind(&probe)).and_then(|_| fs::remove_file(&probe)).is_ok()
}

/// Stable, so that a restart keeps the URL; those who join read the place from the server's file.
fn path_hash(path: &Path) -> u64 {
    let mut hasher =
        std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().build_hasher();
    hasher.write(path.as_os_str().as_encoded_bytes());
    hasher.finish()
}

fn percent_encoded(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes
        .iter()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(*byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// 64 bits from the system's source.
pub(crate) fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
