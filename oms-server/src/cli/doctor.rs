//! `oms doctor`.

use std::time::Duration;

use clap::Args;
use oms_engine::chrono::{DateTime, Utc};
use oms_engine::{DoctorLimits, Finding, Severity, Tables};
use serde_json::json;

use super::Ended;
use super::database::{DatabaseOptions, block_on};
use super::failure::Exit;
use super::out::{Out, Table};

/// Of one answer.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(super) struct DoctorOptions {
    #[command(flatten)]
    database: DatabaseOptions,
}

#[expect(clippy::disallowed_methods, reason = "this machine's clock is what is looked at")]
fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

pub(super) fn run(options: &DoctorOptions, out: Out) -> Ended {
    block_on(async {
        let (_database, url) = options.database.open(out).await?;
        let tables = Tables::new(&url, &options.database.schema, DEADLINE)?;
        let found = tables.doctor(&DoctorLimits::default(), now).await?;
        out.answer(&json!(found), |out| show(&tables.target(), &found, out));
        Ok(if found.is_empty() { Exit::Done } else { Exit::Negative })
    })
}

fn show(target: &str, found: &[Finding], out: Out) {
    if found.is_empty() {
        out.line(&format!("{target}: nothing is wrong"));
        return;
    }
    let mut table = Table::new(&["", "KIND", "WHAT", "WHAT TO DO"]);
    for finding in found {
        let severity = match finding.severity {
            Severity::Fault => "FAULT",
            Severity::Warning => "warning",
        };
        let cells = [severity, &finding.kind, &finding.what, finding.hint];
        table.row(cells.map(str::to_owned));
    }
    out.table(&table);
}
