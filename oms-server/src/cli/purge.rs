//! `oms purge`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use oms_engine::{Retention, Tables};
use serde_json::json;

use super::Ended;
use super::database::{DatabaseOptions, block_on};
use super::failure::Exit;
use super::out::Out;

/// Of one statement: each is short.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(super) struct PurgeOptions {
    #[command(flatten)]
    database: DatabaseOptions,
    /// How long ago each run of a family must have ended: a number with `s`, `m`, `h` or `d`.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Duration,
    /// Writes runs to this file before they are removed: appended, one a line, payloads and all.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

/// A number with its unit.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let unit = text.chars().next_back().and_then(|unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(24 * 3_600),
        _ => None,
    });
    let number = text.get(..text.len().saturating_sub(1)).and_then(|n| n.parse::<u64>().ok());
    let seconds = unit.zip(number).and_then(|(unit, number)| number.checked_mul(unit));
    // A thousand years.
    let seconds = seconds.filter(|seconds| *seconds <= 365_250 * 24 * 3_600);
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "write a number with s, m, h or d: 30d".to_owned())
}

pub(super) fn run(options: &PurgeOptions, out: Out) -> Ended {
    block_on(async {
        let (_database, url) = options.database.open(out).await?;
        let tables = Tables::new(&url, &options.database.schema, DEADLINE)?;
        let retention = Retention::of(options.older_than);
        let retention = match &options.export {
            Some(file) => retention.export_to(file),
            None => retention,
        };
        let removed = tables.purge(&retention).await?;
        out.answer(&json!({ "removed": removed }), |out| {
            out.line(&format!("{removed} workflows were removed"));
        });
        Ok(Exit::Done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_with_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7_200), ("30d", 2_592_000)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "30", "-1d", "1.5h", "30 d", "1w", "9999999999999999999d", "1é"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
