//! A picture as SVG. Everything that a definition says is escaped.

use std::fmt::Write as _;

use super::layout::{DOT, HEIGHT, Layout, Node, Point, WIDTH};
use super::run::Mark;

/// Letters that fit into a step where they are wide: of a name, beside an icon, and of what is below.
const LETTERS: usize = 21;
const LETTERS_BESIDE: usize = 19;
const LETTERS_BELOW: usize = 28;

/// Of a picture that stands alone.
const STYLE: &str = "\
svg{color-scheme:light dark;background:Canvas;color:CanvasText;font:13px system-ui,sans-serif}\
.node rect{fill:Canvas;stroke:currentColor}.node text{fill:currentColor}.node .kind{font-size:11px;opacity:.75}\
.edge{fill:none;stroke:currentColor;opacity:.6}.undoes{stroke-dasharray:4 3}.label{font-size:11px;fill:currentColor}\
.label-back{fill:Canvas}\
.frame{fill:none;stroke:currentColor;stroke-dasharray:2 4;opacity:.6}.dot{fill:currentColor}";

/// A picture in a file of its own.
pub(crate) fn alone(layout: &Layout, title: &str) -> String {
    let style = format!("<style>{STYLE}</style>");
    drawn(layout, title, &style, &|_| Mark::default())
}

/// A picture in a page, whose stylesheet it goes by.
pub(crate) fn within(layout: &Layout, title: &str, mark: &dyn Fn(&Node) -> Mark) -> String {
    drawn(layout, title, "", mark)
}

fn drawn(layout: &Layout, title: &str, style: &str, mark: &dyn Fn(&Node) -> Mark) -> String {
    let mut svg = String::with_capacity(layout.nodes.len() * 700 + 2_000);
    let (width, height) = (layout.width, layout.height);
    let title = escaped(title);
    put(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"graph\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"group\" aria-label=\"{title}\">{style}\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto\"><path class=\"dot\" d=\"M0 0L8 4L0 8z\"/></marker></defs>"
        ),
    );
    for frame in &layout.frames {
        let ((x, y), (w, h)) = (frame.at, frame.size);
        put(
            &mut svg,
            format_args!(
                "<rect class=\"frame\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"10\"/>"
            ),
        );
    }
    for edge in &layout.edges {
        let class = if edge.undoes { "edge undoes" } else { "edge" };
        let path = rounded(&edge.points);
        let arrow = if edge.arrow { " marker-end=\"url(#arrow)\"" } else { "" };
        put(&mut svg, format_args!("<path class=\"{class}\" d=\"{path}\"{arrow}/>"));
    }
    for (text, (x, y)) in layout.edges.iter().filter_map(|edge| edge.label.as_ref()) {
        let shown = cut(text, 16);
        let wide = i32::try_from(shown.chars().count()).unwrap_or(0) * 7 + 8;
        let (left, top) = (x - wide / 2, y - 10);
        put(
            &mut svg,
            format_args!(
                "<rect class=\"label-back\" x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"13\"/>\
             <text class=\"label\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}<title>{}</title></text>",
                escaped(&shown),
                escaped(text)
            ),
        );
    }
    for (x, y) in &layout.dots {
        put(&mut svg, format_args!("<circle class=\"dot\" cx=\"{x}\" cy=\"{y}\" r=\"{DOT}\"/>"));
    }
    for node in &layout.nodes {
        match &node.own {
            Some(own) => step(&mut svg, node, own),
            None => step(&mut svg, node, &mark(node)),
        }
    }
    svg.push_str("</svg>");
    svg
}

fn step(svg: &mut String, node: &Node, mark: &Mark) {
    let (x, y) = node.at;
    let (name, kind) = (escaped(&node.reference_name), escaped(&node.kind));
    let word = escaped(&mark.word);
    let said = if word.is_empty() { String::new() } else { format!(", {word}") };
    let path = if mark.critical { ", on the critical path" } else { "" };
    let title = format!("<title>{name}, {kind}{said}{path}, {}</title>", escaped(&node.name));
    let chosen = if mark.chosen { " chosen" } else { "" };
    let class = mark.class;
    // Of a link the title is its name.
    let end = if let Some(link) = &mark.link {
        put(svg, format_args!("<a href=\"{}\">{title}<g", escaped(link)));
        "</g></a>"
    } else {
        svg.push_str("<g");
        "</g>"
    };
    put(svg, format_args!(" class=\"node {class}{chosen}\">"));
    if mark.link.is_none() {
        svg.push_str(&title);
    }
    put(
        svg,
        format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"7\"/>"),
    );
    if mark.critical {
        // On the edge, where no name is.
        let (x, y) = (x + WIDTH - 16, y - 5);
        put(svg, format_args!("<path class=\"critical\" d=\"M{x} {y}l5 5l-5 5l-5 -5z\"/>"));
    }
    let (mut left, baseline, mut letters) = (x + 12, y + 19, LETTERS);
    if !mark.icon.is_empty() {
        let top = y + 9;
        put(
            svg,
            format_args!(
                "<path class=\"icon\" transform=\"translate({left} {top})\" d=\"{}\"/>",
                mark.icon
            ),
        );
        (left, letters) = (left + 18, LETTERS_BESIDE);
    }
    let shown = escaped(&cut(&node.reference_name, letters));
    let below = if word.is_empty() {
        escaped(&cut(&node.kind, LETTERS_BELOW))
    } else {
        escaped(&cut(&format!("{} · {}", mark.word, node.kind), LETTERS_BELOW))
    };
    put(
        svg,
        format_args!(
            "<text x=\"{left}\" y=\"{baseline}\">{shown}</text>\
         <text class=\"kind\" x=\"{}\" y=\"{}\">{below}</text>{end}",
            x + 12,
            y + 36
        ),
    );
}

/// A line through the points with its corners rounded.
fn rounded(points: &[Point]) -> String {
    const RADIUS: i32 = 7;
    let mut path = String::new();
    for (n, &(x, y)) in points.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|n| points.get(n));
        match (before, points.get(n + 1)) {
            (None, _) => path.push_str(&format!("M{x} {y}")),
            (Some(_), None) => path.push_str(&format!("L{x} {y}")),
            (Some(&(px, py)), Some(&(nx, ny))) => {
                let short = |from: i32, to: i32| (to - from).clamp(-RADIUS, RADIUS);
                let (ax, ay) = (x - short(px, x), y - short(py, y));
                let (bx, by) = (x + short(x, nx), y + short(y, ny));
                put(&mut path, format_args!("L{ax} {ay}Q{x} {y} {bx} {by}"));
            }
        }
    }
    path
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // A String takes all that is written to it.
    if text.write_fmt(what).is_err() {
        tracing::debug!("a picture could not be written");
    }
}

/// The first letters of a text.
fn cut(text: &str, letters: usize) -> String {
    let mut rest = text.chars();
    let mut shown: String = rest.by_ref().take(letters).collect();
    if rest.next().is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// A text in markup that means itself. What XML has no place for is shown as a box.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            letter if letter < ' ' && !matches!(letter, '\n' | '\t' | '\r') => {
                escaped.push('\u{fffd}');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}
