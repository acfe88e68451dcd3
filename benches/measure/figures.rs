//! Figures, and how they are shown.

use serde_json::json;

use super::{Failure, Figures};

/// What a number says, and in which unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
}

pub(crate) fn figure(name: impl Into<String>, unit: &'static str) -> Figure {
    Figure { name: name.into(), unit }
}

/// The figures of one of the two that are compared.
pub(crate) fn of(who: &str, figures: Figures) -> Figures {
    figures
        .into_iter()
        .map(|(Figure { name, unit }, value)| (figure(format!("{who}: {name}"), unit), value))
        .collect()
}

/// The value of a figure.
pub(crate) fn value(figures: &Figures, name: &str) -> f64 {
    figures.iter().find(|(figure, _)| figure.name == name).map_or(f64::NAN, |(_, value)| *value)
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    scenario: &'static str,
    figure: Figure,
    /// In order of size.
    values: Vec<f64>,
}

impl Row {
    fn median(&self) -> f64 {
        quantile(&self.values, 0.5)
    }
}

/// Of sorted values; the nearest rank.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank within the list"
    )]
    let rank = (last as f64 * q).round() as usize;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

/// The usual percentiles of times in ms.
pub(crate) fn percentiles(what: &str, mut millis: Vec<f64>) -> Figures {
    millis.sort_by(f64::total_cmp);
    [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)]
        .map(|(name, q)| (figure(format!("{what}, {name}"), "ms"), quantile(&millis, q)))
        .to_vec()
}

impl Report {
    pub(crate) fn add(&mut self, scenario: &'static str, figure: Figure, mut values: Vec<f64>) {
        values.sort_by(f64::total_cmp);
        self.rows.push(Row { scenario, figure, values });
    }

    pub(crate) fn json(&self) -> Result<String, Failure> {
        let rows = self.rows.iter().map(|row| {
            json!({
                "scenario": row.scenario, "figure": row.figure.name,
                "value": row.median(), "unit": row.figure.unit,
            })
        });
        Ok(serde_json::to_string(&rows.collect::<Vec<_>>())?)
    }

    /// Medians, with the least and the most where there is more than one run.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut before = "";
        for row in &self.rows {
            if row.scenario != before {
                text.push_str(&format!("\n{}\n", row.scenario));
                before = row.scenario;
            }
            let (first, last) = (row.values.first().copied(), row.values.last().copied());
            let spread = match (first, last) {
                (Some(first), Some(last)) if row.values.len() > 1 => {
                    format!("({} to {})", short(first), short(last))
                }
                _ => String::new(),
            };
            let (name, unit) = (&row.figure.name, row.figure.unit);
            let median = short(row.median());
            text.push_str(&format!("  {name:<48} {median:>12} {unit:<6} {spread}\n"));
        }
        text
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}
