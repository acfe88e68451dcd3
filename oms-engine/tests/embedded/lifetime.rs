//! A server lives as long as a program uses it, and its data longer.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::program::{Launch, Program};
use super::{Scratch, connect, entries, text, wait_until};

/// The one server folder below a `kept_in` folder.
fn server_folder(kept: &Path) -> PathBuf {
    let names = entries(kept);
    assert_eq!(names.len(), 1, "{names:?}");
    kept.join(names.first().unwrap())
}

fn postmaster_pid(kept: &Path) -> String {
    let file = server_folder(kept).join("data/postmaster.pid");
    std::fs::read_to_string(file).unwrap().lines().next().unwrap().to_owned()
}

fn wait_for_stop(kept: &Path) {
    let folder = server_folder(kept);
    wait_until("the server stops", || !folder.join("data/postmaster.pid").exists());
    let supervisor = std::fs::File::open(folder.join("supervisor.lock")).unwrap();
    wait_until("its supervisor ends", || supervisor.try_lock().is_ok());
}

fn started(launch: Launch) -> (Program, String) {
    let mut program = launch.start();
    let url = program.outcome().unwrap();
    (program, url)
}

#[tokio::test]
async fn nothing_is_lost_when_the_program_is_killed() {
    let scratch = Scratch::new("kill");
    let (program, url) = started(Launch::kept(scratch.path()));
    let client = connect(&url).await;
    assert_eq!(text(&client, "SHOW fsync").await, "on");
    assert_eq!(text(&client, "SHOW synchronous_commit").await, "on");
    client.batch_execute("CREATE TABLE t (a text); INSERT INTO t VALUES ('kept')").await.unwrap();
    program.kill();

    // At once, while the server still waits for another user.
    let (program, url) = started(Launch::kept(scratch.path()));
    assert_eq!(text(&connect(&url).await, "SELECT a FROM t").await, "kept");
    program.kill();

    // And after it has stopped.
    wait_for_stop(scratch.path());
    let (program, url) = started(Launch::kept(scratch.path()));
    assert_eq!(text(&connect(&url).await, "SELECT a FROM t").await, "kept");
    drop(program);
    wait_for_stop(scratch.path());
}

#[tokio::test]
async fn the_server_stops_when_the_last_of_its_users_ends_and_not_before() {
    let scratch = Scratch::new("last");
    let (first, url) = started(Launch::kept(scratch.path()));
    let (second, joined) = started(Launch::kept(scratch.path()));
    assert_eq!(url, joined);
    // The first one started the server; the second has to do without it.
    first.kill();
    let client = connect(&url).await;
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(5) {
        assert_eq!(text(&client, "SELECT 'up'").await, "up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let killed = Instant::now();
    second.kill();
    wait_for_stop(scratch.path());
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn programs_that_start_at_once_share_one_server() {
    let scratch = Scratch::new("many");
    let mut programs: Vec<Program> = (0..5).map(|_| Launch::kept(scratch.path()).start()).collect();
    let urls: Vec<String> = programs.iter_mut().map(|one| one.outcome().unwrap()).collect();
    assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
    let pid = postmaster_pid(scratch.path());
    let client = connect(&urls[0]).await;
    let running = text(
        &client,
        "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'checkpointer'",
    );
    assert_eq!(running.await, "1");
    assert_eq!(postmaster_pid(scratch.path()), pid);
    drop(programs);
    wait_for_stop(scratch.path());
}

#[tokio::test]
async fn a_program_killed_while_the_data_folder_is_made_leaves_no_half_of_one() {
    let scratch = Scratch::new("initdb");
    let program = Launch::kept(scratch.path()).start();
    wait_until("initdb works", || {
        std::fs::read_dir(scratch.path())
            .unwrap()
            .any(|entry| entry.unwrap().path().join("data.new/global").exists())
    });
    program.kill();
    let (program, url) = started(Launch::kept(scratch.path()));
    assert_eq!(text(&connect(&url).await, "SELECT 'up'").await, "up");
    assert!(!server_folder(scratch.path()).join("data.new").exists());
    drop(program);
    wait_for_stop(scratch.path());
}

#[tokio::test]
async fn a_killed_server_is_started_by_the_next_program() {
    let scratch = Scratch::new("crash");
    let (_first, url) = started(Launch::kept(scratch.path()));
    let client = connect(&url).await;
    client.batch_execute("CREATE TABLE t (a text); INSERT INTO t VALUES ('kept')").await.unwrap();
    let pid = postmaster_pid(scratch.path());
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());

    let (_second, again) = started(Launch::kept(scratch.path()));
    assert_eq!(again, url);
    assert_eq!(text(&connect(&url).await, "SELECT a FROM t").await, "kept");
    assert_ne!(postmaster_pid(scratch.path()), pid);
}

#[tokio::test]
async fn a_pid_file_that_names_another_program_does_not_bar_the_start() {
    let scratch = Scratch::new("stale");
    let (program, url) = started(Launch::kept(scratch.path()));
    let file = server_folder(scratch.path()).join("data/postmaster.pid");
    let left = std::fs::read_to_string(&file).unwrap();
    let owner = std::fs::metadata(&file).unwrap();
    drop(program);
    wait_for_stop(scratch.path());
    // As after a restart of the machine: the number now belongs to something else.
    let rest = left.split_once('\n').unwrap().1;
    std::fs::write(&file, format!("{}\n{rest}", std::process::id())).unwrap();
    std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();

    let (_program, again) = started(Launch::kept(scratch.path()));
    assert_eq!(again, url);
}

#[tokio::test]
async fn a_server_whose_supervisor_was_killed_gets_another() {
    let scratch = Scratch::new("orphan");
    let (first, url) = started(Launch::kept(scratch.path()));
    let pid = postmaster_pid(scratch.path());
    let folder = server_folder(scratch.path());
    let supervisor = supervisor_of(&folder);
    assert!(Command::new("kill").args(["-KILL", &supervisor]).status().unwrap().success());
    first.kill();

    let (second, again) = started(Launch::kept(scratch.path()));
    assert_eq!((again, postmaster_pid(scratch.path())), (url, pid));
    drop(second);
    wait_for_stop(scratch.path());
}

/// The process whose working directory is the server's folder.
fn supervisor_of(folder: &Path) -> String {
    let script = Command::new("ps").args(["-A", "-o", "pid=,args="]).output().unwrap();
    let list = String::from_utf8(script.stdout).unwrap();
    let found = list.lines().filter(|line| line.contains("supervise.sh")).find_map(|line| {
        let pid = line.split_whitespace().next()?;
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (cwd == folder).then(|| pid.to_owned())
    });
    found.unwrap()
}

#[test]
fn the_server_runs_unprivileged_in_a_folder_of_its_own() {
    let scratch = Scratch::new("root");
    let (_program, _url) = started(Launch::kept(scratch.path()));
    let folder = server_folder(scratch.path());
    let me = std::fs::metadata(scratch.path()).unwrap().uid();
    let owner = std::fs::metadata(folder.join("data")).unwrap().uid();
    assert_ne!(owner, 0);
    assert!(me == 0 || owner == me);
    assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    let socket = std::fs::metadata(folder.join(".s.PGSQL.5432")).unwrap();
    assert!(socket.file_type().is_socket());
}

#[tokio::test]
async fn a_folder_of_roots_other_unprivileged_user_stays_usable() {
    let scratch = Scratch::new("other");
    let (program, url) = started(Launch::kept(scratch.path()));
    connect(&url).await.batch_execute("CREATE TABLE t (a text)").await.unwrap();
    drop(program);
    wait_for_stop(scratch.path());
    let folder = server_folder(scratch.path());
    let before = std::fs::metadata(&folder).unwrap().uid();
    if std::fs::metadata(scratch.path()).unwrap().uid() == 0 {
        // As if the data had been made before a package brought the user `postgres`.
        let chown = Command::new("chown").args(["-R", "nobody"]).arg(&folder).status().unwrap();
        assert!(chown.success());
    }
    let owner = std::fs::metadata(&folder).unwrap().uid();
    let (_program, url) = started(Launch::kept(scratch.path()));
    assert_eq!(text(&connect(&url).await, "SELECT count(*)::text FROM t").await, "0");
    let data = std::fs::metadata(folder.join("data/postmaster.pid")).unwrap().uid();
    assert_eq!(data, owner, "before: {before}");
}

#[tokio::test]
async fn a_folder_with_a_long_path_has_its_socket_elsewhere() {
    let scratch = Scratch::new("long");
    let deep = scratch.path().join("x".repeat(120));
    let (_first, url) = started(Launch::kept(&deep));
    let (_second, joined) = started(Launch::kept(&deep));
    assert_eq!(url, joined);
    assert!(url.contains("@%2F") && !url.contains("xxxx"), "{url}");
    assert_eq!(text(&connect(&url).await, "SHOW listen_addresses").await, "");
}

#[tokio::test]
async fn without_sockets_the_server_listens_on_a_loopback_port_with_a_password() {
    let scratch = Scratch::new("tcp");
    let deep = scratch.path().join("x".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let launch = || Launch::kept(&deep).env("TMPDIR", &deep);
    let (_first, url) = started(launch());
    let (_second, joined) = started(launch());
    assert_eq!(url, joined);
    assert!(url.contains("@127.0.0.1:"), "{url}");
    assert_eq!(text(&connect(&url).await, "SHOW listen_addresses").await, "127.0.0.1");
    let (user, rest) = url.split_once("//oms:").unwrap();
    let wrong = format!("{user}//oms:guess@{}", rest.split_once('@').unwrap().1);
    let refused = tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(refused.code(), Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD));
}

#[tokio::test]
async fn data_is_kept_in_the_users_data_folder() {
    let scratch = Scratch::new("xdg");
    let launch = Launch::any_database().env("XDG_DATA_HOME", scratch.path());
    let (_program, url) = started(launch.env("DATABASE_URL", ""));
    let data = text(&connect(&url).await, "SHOW data_directory").await;
    let folder = server_folder(&scratch.path().join("oms-engine"));
    assert_eq!(Path::new(&data), folder.join("data"));
    let major = text(&connect(&url).await, "SHOW server_version_num").await;
    let major = major.parse::<u32>().unwrap() / 10_000;
    assert!(folder.ends_with(format!("postgres-{major}")), "{}", folder.display());
}

#[test]
fn where_a_database_is_named_nothing_is_started() {
    let scratch = Scratch::new("url");
    let launch = Launch::any_database().env("XDG_DATA_HOME", scratch.path());
    let named = "postgres://nobody@nowhere.invalid/none";
    let (_program, url) = started(launch.env("DATABASE_URL", named));
    assert_eq!(url, named);
    assert!(entries(scratch.path()).is_empty());
}
