//! Finds the server programs that are installed on this machine.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;
use super::env::Env;
use super::{EmbeddedError, env};

/// The programs that are needed. What is called `initdb, postgres` in texts comes with the third.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Where packages put server programs: folder, name of the entry, rest of the path. The entry's
/// version stands where the `*` is.
const PACKAGED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "*", "bin"),
    ("/usr", "pgsql-*", "bin"),
    ("/opt/homebrew/opt", "postgresql@*", "bin"),
    ("/usr/local/opt", "postgresql@*", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "*", "bin"),
];

/// A directory with server programs that run.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    pub(super) bin: PathBuf,
    /// As `postgres -V` says, such as `17.2`.
    pub(super) version: String,
    /// The first number of the version: the data folder's format.
    pub(super) major: u32,
}

impl Installation {
    /// Looks at a directory; the error names the program that is missing or does not run.
    pub(super) fn at(bin: &Path, account: Account) -> Result<Self, String> {
        // A file that is there may still lack a library that it needs.
        let mut version = String::new();
        for program in PROGRAMS {
            version = version_of(&bin.join(program), account)?;
        }
        let major = leading_number(&version)
            .ok_or_else(|| format!("postgres that tells its version (it said {version:?})"))?;
        Ok(Self { bin: bin.to_owned(), version, major })
    }
}

/// The third word of `postgres (PostgreSQL) 17.2`.
fn version_of(program: &Path, account: Account) -> Result<String, String> {
    let name = program.file_name().unwrap_or_default().display();
    if !program.is_file() {
        return Err(name.to_string());
    }
    let mut command = Command::new(program);
    command.arg("-V").current_dir("/").stdin(Stdio::null());
    let output = account
        .run_as(&mut command)
        .output()
        .map_err(|error| format!("{name} that runs ({error})"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} that runs ({})", said.trim()));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.split_whitespace().nth(2).unwrap_or_default().to_owned())
}

/// The installation that the environment names, if it names one.
pub(super) fn named(env: &Env, account: Account) -> Result<Option<Installation>, EmbeddedError> {
    let Some(dir) = &env.bin else { return Ok(None) };
    Installation::at(dir, account)
        .map(Some)
        .map_err(|missing| EmbeddedError::BinIncomplete { dir: dir.clone(), missing })
}

/// The best installation of this machine.
pub(super) fn local(env: &Env, account: Account) -> Option<Installation> {
    if env.local_never {
        return None;
    }
    let candidates = pg_config_bin().into_iter().chain(path_bin(&env.path)).chain(packaged_bins());
    candidates.into_iter().find_map(|bin| Installation::at(&bin, account).ok())
}

/// The places that [`local`] looks at, for the text of the error.
pub(super) fn local_places(env: &Env) -> Vec<String> {
    let mut places = vec!["pg_config --bindir".to_owned(), "PATH".to_owned()];
    places.extend(PACKAGED.iter().map(|(dir, entry, rest)| format!("{dir}/{entry}/{rest}")));
    if env.local_never {
        for place in &mut places {
            place.push_str(" (hidden by OMS_POSTGRES_LOCAL=never)");
        }
    }
    places
}

/// Debian's `pg_config` comes with the client library and may name a directory without a server.
fn pg_config_bin() -> Option<PathBuf> {
    let mut command = Command::new("pg_config");
    command.arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null());
    for name in env::postgres_variables() {
        command.env_remove(name);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    let dir = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(dir.trim_end()))
}

/// `initdb` on the path, through its links: the server looks for its files beside the program.
fn path_bin(path: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(path)
        .filter_map(|dir| fs::canonicalize(dir.join("initdb")).ok())
        .filter_map(|program| program.parent().map(Path::to_owned))
        .collect()
}

fn packaged_bins() -> Vec<PathBuf> {
    let mut found: Vec<(Vec<u32>, PathBuf)> = PACKAGED
        .iter()
        .flat_map(|(dir, pattern, rest)| {
            let (before, after) = pattern.split_once('*').unwrap_or((pattern, ""));
            entries(Path::new(dir)).into_iter().filter_map(move |(name, path)| {
                let version = name.strip_prefix(before)?.strip_suffix(after)?;
                Some((version_numbers(version)?, path.join(rest)))
            })
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, bin)| bin).collect()
}

fn entries(dir: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect()
}

/// `9.6` → [9, 6]; none for what is no version, such as Postgres.app's `latest`.
pub(super) fn version_numbers(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_version_sorts_above_a_lower_one_by_number() {
        assert!(version_numbers("17") > version_numbers("9.6"));
        assert!(version_numbers("17.10") > version_numbers("17.9"));
        assert_eq!(version_numbers("latest"), None);
    }

    #[test]
    fn the_major_version_is_the_leading_number() {
        assert_eq!(leading_number("15.18"), Some(15));
        assert_eq!(leading_number("18beta1"), Some(18));
        assert_eq!(leading_number("devel"), None);
    }
}
