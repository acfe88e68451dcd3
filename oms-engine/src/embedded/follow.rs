//! A standby: its data is copied from the server that it follows.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::account::Account;
use super::folder::Folder;
use super::{EmbeddedError, env};

/// Copies the primary's data into the folder, with what makes a server that starts on it follow.
pub(super) fn copy(
    folder: &Folder,
    bin: &Path,
    account: Account,
    primary: &str,
) -> Result<(), EmbeddedError> {
    let failed = |reason: String| EmbeddedError::Folder {
        folder: folder.path().to_owned(),
        reason: format!("pg_basebackup: {reason}"),
    };
    let mut command = Command::new(bin.join("pg_basebackup"));
    command.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--no-manifest"]);
    command.arg("--pgdata").arg(folder.file("data.new")).arg("--dbname").arg(primary);
    for name in env::postgres_variables() {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").current_dir(folder.path()).stdin(Stdio::null());
    let output =
        account.run_as(&mut command).output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    fs::rename(folder.file("data.new"), folder.file("data")).map_err(|error| folder.refused(&error))
}
