//! What is made from the command line itself: completions and manual pages.

use std::path::PathBuf;

use clap::Args;

use super::failure::{Exit, Failure};
use super::out::Out;
use super::{Ended, command};

#[derive(Args, Debug)]
pub(super) struct CompletionsOptions {
    /// The shell; see its manual for where to put them.
    shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(super) struct ManOptions {
    /// Writes a page for each command into this folder, instead of printing the first.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

fn no_json(out: Out) -> Result<(), Failure> {
    if out.json { Err(Failure::usage("--json: there is none of this")) } else { Ok(()) }
}

pub(super) fn completions(options: &CompletionsOptions, out: Out) -> Ended {
    no_json(out)?;
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut command(), "oms", &mut text);
    out.line(String::from_utf8_lossy(&text).trim_end());
    Ok(Exit::Done)
}

pub(super) fn man(options: &ManOptions, out: Out) -> Ended {
    no_json(out)?;
    let failed = |error| Failure::failed("the manual cannot be written", error);
    if let Some(folder) = &options.dir {
        std::fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(command(), folder).map_err(failed)?;
        return Ok(Exit::Done);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command()).render(&mut text).map_err(failed)?;
    out.line(String::from_utf8_lossy(&text).trim_end());
    Ok(Exit::Done)
}
