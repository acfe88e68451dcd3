//! The sandbox as a process of its own: `oms-sandbox --ledger FILE [--port N]
//! [--until-stdin-closes]`. It prints one line with its address when it is ready.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use oms_tasks::sandbox;

const USAGE: &str = "usage: oms-sandbox --ledger FILE [--port N] [--until-stdin-closes]";

struct Options {
    ledger: PathBuf,
    port: u16,
    until_stdin_closes: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match options(std::env::args().skip(1)) {
        Ok(options) => run(options).await,
        Err(reason) => Err(format!("{reason}\n{USAGE}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Nobody is left to be told when this fails too.
            writeln!(std::io::stderr(), "oms-sandbox: {reason}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let sandbox = sandbox::serve(&options.ledger, options.port).await.map_err(|e| e.to_string())?;
    writeln!(std::io::stdout(), "{}", sandbox.address()).map_err(|e| e.to_string())?;
    if !options.until_stdin_closes {
        std::future::pending::<()>().await;
    }
    let closed = tokio::task::spawn_blocking(|| {
        let mut stdin = std::io::stdin().lock();
        while stdin.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    });
    closed.await.map_err(|e| e.to_string())?;
    sandbox.stop().await;
    Ok(())
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut ledger, mut port, mut until_stdin_closes) = (None, 0, false);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--ledger" => ledger = Some(PathBuf::from(value()?)),
            "--port" => {
                let text = value()?;
                port = text.parse().map_err(|_| format!("{text:?} is no port"))?;
            }
            "--until-stdin-closes" => until_stdin_closes = true,
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    let ledger = ledger.ok_or_else(|| "--ledger is missing".to_owned())?;
    Ok(Options { ledger, port, until_stdin_closes })
}
