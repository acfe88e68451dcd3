//! The command line.
//!
//! One rule says how a command reaches the system: what concerns definitions, runs, tasks and
//! schedules goes over REST to a server (`--server`), so that it works from anywhere, is held to
//! the key's role, needs no password of the database, and also reaches a real Conductor. What has
//! to work before any server does, or must not be in a client's power, goes to the database
//! (`--database-url`): `server`, `migrate`, `key`, `purge`, `doctor`.

mod bench;
mod client;
mod database;
mod definition;
mod differences;
mod doctor;
mod explain;
mod failure;
mod import;
mod input;
mod key;
mod listen;
mod migrate;
mod operate;
mod out;
mod pages;
mod purge;
mod push;
mod query;
mod schedule;
mod server;
mod task;
mod watch;
mod workflow;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use failure::{Exit, Failure};
use listen::Spans;
use out::Out;

/// How a command ended: whether what was asked for is so.
type Ended = Result<Exit, Failure>;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the server or this machine could not do it
  2  the command line is wrong
  3  what was named does not exist
  4  refused: what was sent is wrong, or the state does not allow it
  5  not allowed: a key is missing, wrong, or has not the role
  6  cannot be reached, or there was no answer in time
  7  the answer is no: a run did not complete, definitions differ, migrations are due, an import
     left something out, a doctor found something

On a terminal answers are tables; else one line each with tabs between, without a heading.";

/// Workflows on PostgreSQL, with Conductor's API.
#[derive(Debug, Parser)]
#[command(name = "oms", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Options {
    #[command(subcommand)]
    command: Command,
    /// Answers in JSON on stdout, errors in JSON on stderr.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves Conductor's REST API.
    Server(server::ServerOptions),
    /// Makes or upgrades the tables in the database.
    Migrate(migrate::MigrateOptions),
    /// Looks for what is wrong with the database, the role and the tables. Ends with 7 if something is.
    Doctor(doctor::DoctorOptions),
    /// Removes workflows that ended long ago, by whole families of parents and children.
    Purge(purge::PurgeOptions),
    /// Makes, lists and revokes the keys that clients come with.
    Key(key::KeyOptions),
    /// Starts, shows and operates workflows.
    Workflow(workflow::WorkflowOptions),
    /// Says why a workflow stands where it stands, and where its time went.
    Explain(explain::ExplainOptions),
    /// Shows, polls and updates tasks.
    Task(task::TaskOptions),
    /// Checks, registers, shows and compares definitions.
    Definition(definition::DefinitionOptions),
    /// Keeps, shows and pauses schedules.
    Schedule(schedule::ScheduleOptions),
    /// Registers all definitions of a running Conductor, and lists what differs or is refused.
    Import(import::ImportOptions),
    /// Drives a running server and measures it.
    Bench(bench::BenchOptions),
    /// Prints completions for a shell.
    Completions(pages::CompletionsOptions),
    /// Prints the manual page, or writes all of them.
    Man(pages::ManOptions),
}

/// The command line as clap knows it, for what is made from it.
#[must_use]
pub fn command() -> clap::Command {
    Options::command()
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let options = Options::parse();
    let out = Out::new(options.json);
    let ended = options.command.spans().and_then(|spans| {
        listen::listen(spans.as_ref());
        let ended = options.command.run(out);
        if let Some(spans) = spans {
            spans.stop();
        }
        ended
    });
    let exit = ended.unwrap_or_else(|failure| {
        out.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit.code())
}

impl Command {
    /// Where the spans of this process go, if anywhere.
    fn spans(&self) -> Result<Option<Spans>, Failure> {
        match self {
            Self::Server(options) => options.otlp_endpoint().map(listen::spans_to).transpose(),
            _ => Ok(None),
        }
    }

    fn run(self, out: Out) -> Ended {
        match self {
            Self::Server(options) => server::run(options, out),
            Self::Migrate(options) => migrate::run(&options, out),
            Self::Doctor(options) => doctor::run(&options, out),
            Self::Purge(options) => purge::run(&options, out),
            Self::Key(options) => key::run(&options, out),
            Self::Workflow(options) => workflow::run(options, out),
            Self::Explain(options) => explain::run(&options, out),
            Self::Task(options) => task::run(options, out),
            Self::Definition(options) => definition::run(options, out),
            Self::Schedule(options) => schedule::run(options, out),
            Self::Import(options) => import::run(&options, out),
            Self::Bench(options) => bench::run(&options, out),
            Self::Completions(options) => pages::completions(&options, out),
            Self::Man(options) => pages::man(&options, out),
        }
    }
}
