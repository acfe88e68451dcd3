//! Downloads a packaged server from the releases of theseus-rs/postgresql-binaries.
//!
//! A release is `<base>/<version>/postgresql-<version>-<target triple>.tar.gz` with a checksum
//! beside it, in a file of the same name and `.sha256`.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::Progress;
use super::builder::OnProgress;
use super::cache::Cache;
use super::locate::Installation;

const BASE: &str = "https://github.com/theseus-rs/postgresql-binaries/releases/download";
const VERSION: &str = "18.4.0";
/// Where the programs are in an archive's folder.
pub(super) const BIN: &str = "bin";
/// A closed network often drops packets in silence.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const STALL_MAX: Duration = Duration::from_secs(30);
/// Many times the size of a packaged server; more is something else.
const ARCHIVE_BYTES_MAX: u64 = 400 << 20;
const CHUNK_BYTES: usize = 64 << 10;

/// Why nothing was downloaded.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection to the host could be had; another source may be tried.
    Unreachable(String),
    /// The host answered, and it was not the server we asked for.
    Refused(String),
}

impl Failure {
    fn refused(url: &str, reason: impl std::fmt::Display) -> Self {
        Self::Refused(format!("{url}: {reason}"))
    }

    /// A call that failed before the host had answered it.
    fn of(url: &str, error: &ureq::Error) -> Self {
        let text = format!("{url}: {error}");
        match error {
            ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_)
            | ureq::Error::Tls(_)
            | ureq::Error::Rustls(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::Io(_) => Self::Unreachable(text),
            _ => Self::Refused(text),
        }
    }
}

/// Downloads, checks and unpacks the server into the cache. A download that fails leaves nothing.
pub(super) fn download(
    cache: &Cache,
    mirror: Option<&str>,
    report: &OnProgress,
) -> Result<Installation, Failure> {
    let base = mirror.unwrap_or(BASE).trim_end_matches('/');
    let name = format!("postgresql-{VERSION}-{}", target().map_err(Failure::Refused)?);
    let url = format!("{base}/{VERSION}/{name}.tar.gz");
    let agent = agent();

    let wanted = checksum(&agent, &format!("{url}.sha256"))?;
    let draft = cache.draft().map_err(|error| Failure::refused(&url, error))?;
    let archive = draft.path.join("archive.tar.gz");
    let found = fetch(&agent, &url, &archive, report)?;
    if found != wanted {
        let reason = format!("the archive's SHA-256 is {found}, {wanted} was announced");
        return Err(Failure::refused(&url, reason));
    }
    report(Progress::Unpacking);
    let unpacked = draft.path.join("unpacked");
    unpack(&archive, &unpacked).map_err(|error| Failure::refused(&url, error))?;
    let root = server_root(&unpacked).map_err(|error| Failure::refused(&url, error))?;
    cache.keep(&root, BIN, &name).map_err(|reason| Failure::refused(&url, reason))
}

fn agent() -> Agent {
    // The machine's own certificates first: a closed network may have an authority of its own.
    let native = rustls_native_certs::load_native_certs().certs;
    let native: Vec<Certificate<'static>> =
        native.iter().map(|cert| Certificate::from_der(cert.as_ref()).to_owned()).collect();
    let roots =
        if native.is_empty() { RootCerts::WebPki } else { RootCerts::new_with_certs(&native) };
    Agent::config_builder()
        .timeout_resolve(Some(CONNECT_MAX))
        .timeout_connect(Some(CONNECT_MAX))
        .timeout_per_read(Some(STALL_MAX))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build()
        .into()
}

/// The first word of the checksum file; what follows it is the file's name.
fn checksum(agent: &Agent, url: &str) -> Result<String, Failure> {
    let mut answer = agent.get(url).call().map_err(|error| Failure::of(url, &error))?;
    let text = answer.body_mut().read_to_string().map_err(|error| Failure::refused(url, error))?;
    let word = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    if word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(word);
    }
    Err(Failure::refused(url, "that is no SHA-256 checksum"))
}

/// Writes the body to a file and returns its checksum.
fn fetch(agent: &Agent, url: &str, to: &Path, report: &OnProgress) -> Result<String, Failure> {
    let answer = agent.get(url).call().map_err(|error| Failure::of(url, &error))?;
    let total = answer.body().content_length();
    let mut body = answer.into_body().into_with_config().limit(ARCHIVE_BYTES_MAX).reader();
    let mut write = || -> io::Result<String> {
        let mut file = File::create(to)?;
        let mut digest = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut received = 0;
        loop {
            report(Progress::Downloading { received, total });
            let count = body.read(&mut chunk)?;
            let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            digest.update(bytes);
            file.write_all(bytes)?;
            received += u64::try_from(count).unwrap_or_default();
        }
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    };
    write().map_err(|error| Failure::refused(url, error))
}

fn unpack(archive: &Path, to: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(File::open(archive)?)));
    archive.unpack(to)
}

/// The archive holds one folder, which holds `bin` and the rest.
fn server_root(unpacked: &Path) -> Result<PathBuf, String> {
    let entries = std::fs::read_dir(unpacked).map_err(|error| error.to_string())?;
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .chain([unpacked.to_owned()])
        .find(|dir| dir.join("bin").is_dir())
        .ok_or_else(|| "the archive has no folder with a bin".to_owned())
}

fn target() -> Result<String, String> {
    use std::env::consts::{ARCH, OS};
    match (ARCH, OS) {
        ("x86_64" | "aarch64", "linux") => {
            let libc = if runs_on_musl() { "musl" } else { "gnu" };
            Ok(format!("{ARCH}-unknown-linux-{libc}"))
        }
        ("x86_64" | "aarch64", "macos") => Ok(format!("{ARCH}-apple-darwin")),
        _ => Err(format!("there is no packaged server for {ARCH} {OS}")),
    }
}

/// What this machine runs, not what this program was built for: a static program runs on both.
fn runs_on_musl() -> bool {
    let arch = std::env::consts::ARCH;
    let gnu = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    Path::new(&format!("/lib/ld-musl-{arch}.so.1")).exists()
        && !gnu.iter().any(|loader| Path::new(loader).exists())
}
