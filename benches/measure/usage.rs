//! What processes used, from `/proc`: this one, and all of a PostgreSQL server on this machine.

use std::path::Path;

use super::Failure;

/// The clock ticks of `/proc`, which Linux fixes for programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds of this process and of its children that run this program or a peer's, with what these
/// have started; ended ones included.
pub(crate) fn own_cpu() -> Result<f64, Failure> {
    let own = stat("self")?;
    let mut cpu = own.cpu + own.children_cpu;
    for child in children_of(std::process::id(), Some("self"))? {
        let started = children_of(child.process, None)?;
        cpu += child.cpu + child.children_cpu + started.iter().map(|it| it.cpu).sum::<f64>();
    }
    Ok(cpu)
}

/// CPU seconds of one process.
pub(crate) fn cpu_of(process: u32) -> Result<f64, Failure> {
    Ok(stat(&process.to_string())?.cpu)
}

/// What is resident of one process now, in MiB.
pub(crate) fn memory_of(process: u32) -> Result<f64, Failure> {
    memory(&process.to_string(), "VmRSS:")
}

/// CPU seconds of a server's processes, those that have ended included.
pub(crate) fn server_cpu(postmaster: u32) -> Result<f64, Failure> {
    loop {
        let before = stat(&postmaster.to_string())?;
        let children = children_of(postmaster, None)?;
        let living: f64 = children.iter().map(|child| child.cpu + child.children_cpu).sum();
        let own = stat(&postmaster.to_string())?;
        // What ended meanwhile would count twice, or not at all.
        if before.children_cpu.to_bits() == own.children_cpu.to_bits() {
            return Ok(own.cpu + own.children_cpu + living);
        }
    }
}

/// The living children of a process: all, or those that run the same program as another, or a
/// peer's.
fn children_of(parent: u32, like: Option<&str>) -> Result<Vec<Stat>, Failure> {
    let program = |process: &str| std::fs::read_to_string(format!("/proc/{process}/comm")).ok();
    let wanted = like.and_then(program);
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else { continue };
        // One that ends meanwhile is its parent's from then on.
        let Ok(child) = stat(name) else { continue };
        if child.parent == parent && (like.is_none() || is_counted(program(name), &wanted)) {
            children.push(child);
        }
    }
    Ok(children)
}

/// The server process of a backend on this machine.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    name.starts_with("postgres").then(|| stat(&pid.to_string()).ok().map(|stat| stat.parent))?
}

/// The most memory that was resident since the last call of [`forget_peak`], in MiB.
pub(crate) fn peak_memory() -> Result<f64, Failure> {
    memory("self", "VmHWM:")
}

fn memory(process: &str, field: &str) -> Result<f64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib: f64 = line
        .and_then(|line| line.trim().strip_suffix("kB"))
        .ok_or("a status of /proc that cannot be read")?
        .trim()
        .parse()?;
    Ok(kib / 1024.0)
}

/// Begins to measure the most memory anew.
pub(crate) fn forget_peak() -> Result<(), Failure> {
    Ok(std::fs::write(Path::new("/proc/self/clear_refs"), "5")?)
}

fn is_counted(program: Option<String>, wanted: &Option<String>) -> bool {
    program == *wanted || program.is_some_and(|name| name.starts_with("peer-"))
}

struct Stat {
    process: u32,
    parent: u32,
    cpu: f64,
    children_cpu: f64,
}

fn stat(process: &str) -> Result<Stat, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before it may hold spaces and brackets.
    let (before, fields) = text.rsplit_once(") ").ok_or("a line of /proc that cannot be read")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |at: usize| -> Result<f64, Failure> {
        Ok(fields.get(at).ok_or("a line of /proc that is too short")?.parse()?)
    };
    let process = before.split(' ').next().unwrap_or_default();
    Ok(Stat {
        process: process.parse()?,
        parent: fields.get(1).ok_or("a line of /proc that is too short")?.parse()?,
        cpu: (number(11)? + number(12)?) / TICKS_PER_SECOND,
        children_cpu: (number(13)? + number(14)?) / TICKS_PER_SECOND,
    })
}
