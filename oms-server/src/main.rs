//! `oms`: the command line of oms-server.

fn main() -> std::process::ExitCode {
    oms_server::cli::run()
}
