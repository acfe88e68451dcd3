//! What is said: tables and colours on a terminal, plain lines elsewhere, JSON where asked for.

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use oms_engine::chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::failure::Failure;

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) json: bool,
    terminal: bool,
}

/// Rows under a heading.
#[derive(Debug)]
pub(super) struct Table {
    heading: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) const fn new(heading: &'static [&'static str]) -> Self {
        Self { heading, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // A cell is one line: what would break the table or the script that reads it goes.
        let clean = |cell: String| cell.replace(['\n', '\t', '\r'], " ");
        self.rows.push(cells.into_iter().map(clean).collect());
    }
}

impl Out {
    pub(super) fn new(json: bool) -> Self {
        Self { json, terminal: io::stdout().is_terminal() }
    }

    /// An answer: as it is, or as `human` puts it.
    pub(super) fn answer(self, value: &Value, human: impl FnOnce(Self)) {
        if self.json {
            let text = if self.terminal { format!("{value:#}") } else { value.to_string() };
            self.line(&text);
        } else {
            human(self);
        }
    }

    /// A line of an answer. Whoever reads no further is not told.
    pub(super) fn line(self, text: &str) {
        let mut stdout = anstream::stdout().lock();
        if writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_err() {
            tracing::debug!("nobody reads the answer");
        }
    }

    pub(super) fn table(self, table: &Table) {
        if !self.terminal {
            for row in &table.rows {
                self.line(&row.join("\t"));
            }
            return;
        }
        let mut widths: Vec<usize> = table.heading.iter().map(|text| text.len()).collect();
        for row in &table.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let bold = Style::new().bold();
        let heading: Vec<String> = table.heading.iter().map(|&text| text.to_owned()).collect();
        self.line(&aligned(&heading, &widths, |_| bold));
        for row in &table.rows {
            self.line(&aligned(row, &widths, style_of));
        }
    }

    /// A name and a value on a line.
    pub(super) fn field(self, name: &str, value: &str) {
        if self.terminal {
            let (bold, style) = (Style::new().bold(), style_of(value));
            self.line(&format!("{bold}{name:<16}{bold:#} {style}{value}{style:#}"));
        } else {
            self.line(&format!("{name}\t{value}"));
        }
    }

    pub(super) fn failure(self, failure: &Failure) {
        let mut stderr = anstream::stderr().lock();
        let said = if self.json {
            let error = json!({
                "error": failure.message,
                "hint": failure.hint,
                "status": failure.status,
                "exitCode": failure.exit.code(),
            });
            writeln!(stderr, "{error}")
        } else {
            let red = AnsiColor::Red.on_default().bold();
            let hint = failure.hint.iter().map(|hint| format!("\n     {hint}")).collect::<String>();
            writeln!(stderr, "{red}oms:{red:#} {}{hint}", failure.message)
        };
        if said.is_err() {
            tracing::debug!("nobody reads the error");
        }
    }

    /// Says on stderr how far something long has come, where somebody looks.
    pub(super) fn progress(self, total: u64, what: &'static str) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {per_sec} {eta}");
        let bar = ProgressBar::new(total).with_message(what);
        match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}

fn aligned(cells: &[String], widths: &[usize], style: impl Fn(&str) -> Style) -> String {
    let last = cells.len().saturating_sub(1);
    let mut line = String::new();
    for (n, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let style = style(cell);
        line.push_str(&format!("{style}{cell}{style:#}"));
        if n < last {
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
    }
    line
}

/// Statuses and verdicts are told by colour as well.
fn style_of(text: &str) -> Style {
    let color = match text {
        "COMPLETED" | "registered" | "same" => AnsiColor::Green,
        "RUNNING" | "IN_PROGRESS" => AnsiColor::Cyan,
        "PAUSED" | "SCHEDULED" | "SKIPPED" | "differs" | "kept" | "pending" => AnsiColor::Yellow,
        "FAILED"
        | "FAILED_WITH_TERMINAL_ERROR"
        | "TIMED_OUT"
        | "TERMINATED"
        | "CANCELED"
        | "refused" => AnsiColor::Red,
        _ => return Style::new(),
    };
    color.on_default()
}

/// A text of an answer; empty where it is absent. Other values as JSON.
pub(super) fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A time of an answer: epoch milliseconds, or a text as it is; 0 is none.
pub(super) fn time(value: &Value, key: &str) -> String {
    let Some(ms) = value.get(key).and_then(Value::as_i64) else { return text(value, key) };
    let time = DateTime::from_timestamp_millis(ms).filter(|_| ms != 0);
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default()
}
