//! The user that the server runs as.
//!
//! PostgreSQL refuses to run as root. A program that does runs its server as `postgres`, else as
//! `nobody`; any other program runs it as itself.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};

use super::EmbeddedError;

/// Whom root lets the server run as, the first that can be used.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The user that the server runs as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    uid: u32,
    /// The group to switch to; none when the server runs as we do.
    switch_to: Option<u32>,
}

impl Account {
    pub(super) fn choose() -> Result<Self, EmbeddedError> {
        let uid = geteuid();
        if !uid.is_root() {
            return Ok(Self { uid: uid.as_raw(), switch_to: None });
        }
        let mut refusals = Vec::new();
        for name in UNPRIVILEGED {
            match Self::switched(name) {
                Ok(account) => return Ok(account),
                Err(reason) => refusals.push(format!("\"{name}\": {reason}")),
            }
        }
        Err(EmbeddedError::Root { reason: refusals.join("; ") })
    }

    fn switched(name: &str) -> Result<Self, String> {
        let user = match User::from_name(name) {
            Ok(Some(user)) => user,
            Ok(None) => return Err("no such user".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        let account = Self { uid: user.uid.as_raw(), switch_to: Some(user.gid.as_raw()) };
        // Being root is not enough: a container may lack the right to change users.
        let mut probe = Command::new("/bin/sh");
        probe.args(["-c", ":"]).current_dir("/").stdin(Stdio::null());
        match account.run_as(&mut probe).status() {
            Ok(status) if status.success() => Ok(account),
            Ok(status) => Err(format!("sh ended with {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Root's other choice where a folder is that one's already: data made as `nobody` stays usable
    /// when an installed package brings the user `postgres`.
    pub(super) fn or_owner_of(self, folder: &Path) -> Self {
        let owner = fs::symlink_metadata(folder).map_or(self.uid, |meta| meta.uid());
        if self.switch_to.is_none() || owner == self.uid {
            return self;
        }
        let others = UNPRIVILEGED.iter().filter_map(|name| Self::switched(name).ok());
        others.into_iter().find(|other| other.uid == owner).unwrap_or(self)
    }

    /// Whether the program itself is root.
    pub(super) fn is_switched(&self) -> bool {
        self.switch_to.is_some()
    }

    /// Lets the command run as this user. Supplementary groups are dropped with the switch.
    pub(super) fn run_as<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        match self.switch_to {
            Some(gid) => command.uid(self.uid).gid(gid),
            None => command,
        }
    }

    /// Gives a path that we created to this user.
    pub(super) fn adopt(&self, path: &Path) -> io::Result<()> {
        match self.switch_to {
            Some(gid) => chown(path, Some(self.uid), Some(gid)),
            None => Ok(()),
        }
    }

    /// Whether the path is a directory of this user that nobody else can write to.
    pub(super) fn owns_directory(&self, path: &Path) -> Result<(), String> {
        let meta = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
        if !meta.is_dir() {
            return Err("it is not a directory".to_owned());
        }
        if meta.uid() != self.uid {
            return Err(format!("it belongs to user {}, not to {}", meta.uid(), self.uid));
        }
        if meta.mode() & 0o022 != 0 {
            return Err("others can write to it".to_owned());
        }
        Ok(())
    }

    /// The first directory on the way to `path` that this user cannot enter.
    pub(super) fn barred_at(&self, path: &Path) -> Option<PathBuf> {
        let gid = self.switch_to?;
        path.ancestors().collect::<Vec<_>>().into_iter().rev().find_map(|dir| {
            let meta = fs::metadata(dir).ok()?;
            let bit = match () {
                () if meta.uid() == self.uid => 0o100,
                () if meta.gid() == gid => 0o010,
                () => 0o001,
            };
            (meta.mode() & bit == 0).then(|| dir.to_owned())
        })
    }
}
