//! Joins the users of a server, and starts its supervisor when there is none.
//!
//! A user holds the FIFO `users` open for writing, so the kernel tells the supervisor (a shell
//! script, `supervise.sh`) when the last one ended, however it ended. What a joiner must not do is
//! join while the supervisor is about to stop the server. So it opens the FIFO, says `join`, and
//! waits for the answer: an answer means that the supervisor was still reading after we had the
//! FIFO open, and from then on it sees no end of file before we are gone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::O_NONBLOCK;

use super::account::Account;
use super::folder::Folder;
use super::{EmbeddedError, env};

const SCRIPT: &str = include_str!("supervise.sh");
const LOOK_INTERVAL: Duration = Duration::from_millis(3);
/// An initdb on a slow machine, a recovery after a crash under load.
const ANSWER_MAX: Duration = Duration::from_secs(400);
const JOIN_MAX: Duration = Duration::from_secs(500);

/// What becomes of the data when the server has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It stays.
    Keep,
    /// It is removed; the folder stays as a meeting place.
    #[cfg(feature = "testkit")]
    Discard,
    /// The folder is removed.
    Remove,
}

/// How a server is supervised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) afterwards: Afterwards,
    /// How long the server waits for another user after its last one ended.
    pub(super) linger_s: u32,
}

/// Proof of use: the server is not stopped while this lives.
#[derive(Debug)]
pub(super) struct Membership {
    users: File,
}

/// The right to give orders to the supervisor; one program at a time has it.
#[derive(Debug)]
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits for the other programs that are joining this server.
    pub(super) fn take(folder: &Folder) -> Result<Self, EmbeddedError> {
        let take = || {
            let lock = folder.open_lock("lock")?;
            let give_up_at = Instant::now() + JOIN_MAX;
            loop {
                match lock.try_lock() {
                    Ok(()) => return Ok(Self { _lock: lock }),
                    Err(TryLockError::WouldBlock) if Instant::now() < give_up_at => {
                        thread::sleep(LOOK_INTERVAL);
                    }
                    Err(error) => return Err(io::Error::from(error)),
                }
            }
        };
        take().map_err(|error| folder.refused(&error))
    }
}

/// Joins the users of the server in this folder; its supervisor lives afterwards, the server may
/// not.
pub(super) fn join(
    _turn: &Turn,
    folder: &Folder,
    bin: &Path,
    account: Account,
    terms: Terms,
) -> Result<Membership, EmbeddedError> {
    let give_up_at = Instant::now() + JOIN_MAX;
    let attempt = || -> io::Result<Option<Membership>> {
        if let Some(membership) = try_join(folder)? {
            return Ok(Some(membership));
        }
        // No supervisor reads. Either there is none, or it is stopping the server or between two
        // rounds: then it still holds its lock.
        let lock = folder.open_lock("supervisor.lock")?;
        match lock.try_lock() {
            Ok(()) => spawn_supervisor(lock, folder, bin, account, terms)?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(None)
    };
    while Instant::now() < give_up_at {
        match attempt() {
            Ok(Some(membership)) => return Ok(membership),
            Ok(None) => thread::sleep(LOOK_INTERVAL),
            Err(error) => return Err(folder.refused(&error)),
        }
    }
    Err(folder.refused(&io::Error::new(io::ErrorKind::TimedOut, "its supervisor does not answer")))
}

fn try_join(folder: &Folder) -> io::Result<Option<Membership>> {
    let Some(users) = open_users(folder)? else { return Ok(None) };
    let membership = Membership { users };
    Ok(membership.tell(folder, "join")?.map(|_| membership))
}

/// Opens the FIFO for writing; none when nobody reads it.
fn open_users(folder: &Folder) -> io::Result<Option<File>> {
    let opened = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(folder.file("users"));
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Membership {
    /// Another proof of the same use; the server runs until both are gone.
    pub(super) fn duplicate(&self) -> io::Result<Self> {
        self.users.try_clone().map(|users| Self { users })
    }

    /// Gives an order. The answer tells whether it was carried out; none when the supervisor is
    /// gone or stopped reading.
    pub(super) fn tell(&self, folder: &Folder, order: &str) -> io::Result<Option<bool>> {
        // The answer to somebody who was killed while waiting may come after this; it proves as
        // well that the supervisor reads, and nobody is killed between two orders of one turn.
        remove_if_there(&folder.file("ack"))?;
        match (&self.users).write_all(format!("{order}\n").as_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            Err(error) => return Err(error),
        }
        let give_up_at = Instant::now() + ANSWER_MAX;
        while Instant::now() < give_up_at {
            match fs::read_to_string(folder.file("ack")) {
                Ok(answer) => return Ok(Some(answer.trim() == "0")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            if open_users(folder)?.is_none() {
                return Ok(None);
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer to {order:?}")))
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn spawn_supervisor(
    lock: File,
    folder: &Folder,
    bin: &Path,
    account: Account,
    terms: Terms,
) -> io::Result<()> {
    let after = match terms.afterwards {
        Afterwards::Keep => "keep",
        #[cfg(feature = "testkit")]
        Afterwards::Discard => "discard",
        Afterwards::Remove => "remove",
    };
    folder.write_private("supervise.sh", SCRIPT)?;
    let mut command = Command::new("/bin/sh");
    command.arg("supervise.sh").arg(bin);
    command.arg(terms.linger_s.to_string()).arg(after);
    for name in env::postgres_variables() {
        command.env_remove(name);
    }
    // C for messages that we can read; UTC spares initdb the search for the machine's zone, and
    // times in the log compare with those of the engine.
    command.env("LC_ALL", "C").env("TZ", "UTC").current_dir(folder.path());
    command.stdin(lock).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: Ctrl-C in the terminal goes to the program, not to its server.
    let mut child = account.run_as(&mut command).process_group(0).spawn()?;
    thread::Builder::new()
        .name("oms-postgres-reaper".to_owned())
        .spawn(move || child.wait())
        .map(drop)
}
