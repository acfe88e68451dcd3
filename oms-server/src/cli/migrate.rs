//! `oms migrate`.

use std::time::Duration;

use clap::{Args, Subcommand};
use oms_engine::{Migration, Tables};
use serde_json::json;

use super::Ended;
use super::database::{DatabaseOptions, block_on};
use super::failure::{Exit, Failure};
use super::out::{Out, Table};

/// A migration may have large tables to go through.
const DEADLINE: Duration = Duration::from_secs(3600);

#[derive(Args, Debug)]
pub(super) struct MigrateOptions {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Brings the tables to this version, in one transaction; two at once do it once.
    Up,
    /// Lists the migrations; ends with 7 when some are due.
    Status,
    /// Prints the SQL of all migrations, for a migration tool of your own. No database is needed.
    Print,
    /// Prints the SQL that grants three roles, which must exist, what they need: who owns and migrates
    /// the tables, as whom servers and engines run, and who only looks. No database is needed.
    Roles {
        /// The owner of the tables.
        #[arg(long, default_value = "oms_owner", value_name = "ROLE")]
        owner: String,
        /// As whom servers and engines run.
        #[arg(long, default_value = "oms_application", value_name = "ROLE")]
        application: String,
        /// Who only looks, and sees no keys.
        #[arg(long, default_value = "oms_reader", value_name = "ROLE")]
        reader: String,
    },
}

pub(super) fn run(options: &MigrateOptions, out: Out) -> Ended {
    let schema = &options.database.schema;
    let printed = match &options.action {
        Action::Print => Some(oms_engine::migration_sql(schema)?),
        Action::Roles { owner, application, reader } => {
            Some(oms_engine::roles_sql(schema, owner, application, reader)?)
        }
        Action::Up | Action::Status => None,
    };
    if let Some(sql) = printed {
        out.answer(&json!({ "sql": sql }), |out| out.line(sql.trim_end()));
        return Ok(Exit::Done);
    }
    block_on(async {
        let (_database, url) = options.database.open(out).await?;
        let tables = Tables::new(&url, &options.database.schema, DEADLINE)?;
        let before = tables.migrations().await?;
        match options.action {
            Action::Up => up(&tables, &before, out).await,
            _ => Ok(status(&before, out)),
        }
    })
}

fn is_due(migration: &Migration) -> bool {
    migration.applied_at.is_none()
}

async fn up(tables: &Tables, before: &[Migration], out: Out) -> Ended {
    tables.migrate().await.map_err(|error| Failure::from(error).hint("nothing was changed"))?;
    let done: Vec<_> = before.iter().filter(|migration| is_due(migration)).collect();
    let applied = done.iter().map(|m| json!({ "version": m.version, "name": m.name }));
    let applied = json!({ "applied": applied.collect::<Vec<_>>() });
    out.answer(&applied, |out| match done.len() {
        0 => out.line(&format!("{}: nothing was due", tables.target())),
        n => out.line(&format!("{}: {n} migrations were applied", tables.target())),
    });
    Ok(Exit::Done)
}

fn status(all: &[Migration], out: Out) -> Exit {
    let row = |m: &Migration| {
        json!({
            "version": m.version,
            "name": m.name,
            "appliedAt": m.applied_at.map(|time| time.timestamp_millis()),
        })
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    out.answer(&json!(rows), |out| {
        let mut table = Table::new(&["VERSION", "NAME", "APPLIED"]);
        for m in all {
            let applied = m.applied_at.map_or_else(|| "pending".to_owned(), |t| t.to_rfc3339());
            table.row([m.version.to_string(), m.name.to_owned(), applied]);
        }
        out.table(&table);
    });
    if all.iter().any(is_due) { Exit::Negative } else { Exit::Done }
}
