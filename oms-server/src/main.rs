//! `oms`: the command line of oms-server.

use mimalloc::MiMalloc;

/// An engine takes a fifth less CPU with it than with glibc's: a step is many small things, of which one
/// thread makes what another throws away.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    oms_server::cli::run()
}
