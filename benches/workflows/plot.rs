//! Plots as SVG: workflows per second over something.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::bench::{Bench, Series};
use crate::measure::figures::quantile;
use crate::measure::{Failure, float};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Room for the axes' labels.
const LEFT: f64 = 70.0;
const BELOW: f64 = 50.0;
const ABOVE: f64 = 40.0;
const RIGHT: f64 = 20.0;

/// Writes those for which there are points.
pub(crate) fn write(bench: &Bench, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for (series, file, title, axis) in [
        (Series::Concurrency, "concurrency.svg", "linear5", "workflows under way"),
        (
            Series::History,
            "history.svg",
            "linear5, all started at once",
            "ended tasks in the tables",
        ),
    ] {
        let points = medians(&bench.points(series));
        if points.len() > 1 {
            std::fs::write(folder.join(file), svg(&points, title, axis))?;
        }
    }
    Ok(())
}

/// By x, in order.
fn medians(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut of_x: BTreeMap<u64, (f64, Vec<f64>)> = BTreeMap::new();
    for (x, y) in points {
        of_x.entry(x.to_bits()).or_insert((*x, Vec::new())).1.push(*y);
    }
    of_x.into_values()
        .map(|(x, mut ys)| {
            ys.sort_by(f64::total_cmp);
            (x, quantile(&ys, 0.5))
        })
        .collect()
}

/// Points at equal distances, since both x go up by factors.
fn svg(points: &[(f64, f64)], title: &str, axis: &str) -> String {
    let most = points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let top = round_up(most);
    let step = (WIDTH - LEFT - RIGHT) / float(points.len());
    let place = |n: usize, y: f64| {
        let x = LEFT + step * (float(n) + 0.5);
        (x, HEIGHT - BELOW - y / top * (HEIGHT - ABOVE - BELOW))
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}: workflows per second</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{axis}</text>\n",
        WIDTH / 2.0,
        HEIGHT - 10.0,
    );
    for quarter in 0..5 {
        let value = top * float(quarter) / 4.0;
        let (_, y) = place(0, value);
        line(
            &mut text,
            &format!(
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
            ),
        );
    }
    let mut path = String::new();
    for (n, (label, rate)) in points.iter().enumerate() {
        let (x, y) = place(n, *rate);
        let verb = if n == 0 { 'M' } else { 'L' };
        line(&mut path, &format!("{verb}{x:.1} {y:.1}"));
        line(
            &mut text,
            &format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"#1f5fa8\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{rate:.0}</text>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                y - 10.0,
                HEIGHT - BELOW + 18.0,
                thousands(*label),
            ),
        );
    }
    line(&mut text, &format!("<path d=\"{}\" fill=\"none\" stroke=\"#1f5fa8\"/>", path.trim()));
    text.push_str("</svg>\n");
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}

/// The next of 1, 2, 5, 10, 20, …
fn round_up(most: f64) -> f64 {
    let mut ten = 1.0;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if most <= ten * factor || ten > 1e9 {
                return ten * factor;
            }
        }
        ten *= 10.0;
    }
}

fn thousands(value: f64) -> String {
    let whole = format!("{value:.0}");
    match whole.strip_suffix("000") {
        Some(thousands) if value >= 10_000.0 => format!("{thousands},000"),
        _ => whole,
    }
}
