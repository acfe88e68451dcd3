//! Times, sizes and links as people read them.

use std::time::Duration;

use oms_engine::chrono::{DateTime, SecondsFormat, Utc};

/// The time of what is shown; nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "a time that is shown and decides nothing")]
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A moment, to the second.
pub(super) fn moment(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// As machines read it.
pub(super) fn exact(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A span of time in milliseconds.
pub(super) fn span(ms: i64) -> String {
    let ms = ms.max(0);
    let (s, m, h) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{s}.{} s", ms % 1_000 / 100),
        60_000..3_600_000 => format!("{m} min {:02} s", s % 60),
        3_600_000..172_800_000 => format!("{h} h {:02} min", m % 60),
        _ => format!("{} d {} h", h / 24, h % 24),
    }
}

/// As [`span`].
pub(super) fn of(duration: Duration) -> String {
    span(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// A number of bytes.
pub(super) fn bytes(count: usize) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{} KiB", count / 1_024),
        _ => format!("{}.{} MiB", count >> 20, ((count & 0xf_ffff) * 10) >> 20),
    }
}

/// A number with its thousands apart.
pub(super) fn number(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As [`number`]; what is counted is never less than none.
pub(super) fn count(count: i64) -> String {
    number(usize::try_from(count).unwrap_or(0))
}

/// The first bytes of a text, to a whole letter. Out: whether that is less than all.
pub(super) fn cut(text: &str, most: usize) -> (&str, bool) {
    if text.len() <= most {
        return (text, false);
    }
    let end = (0..=most).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    (text.get(..end).unwrap_or_default(), true)
}

/// As [`cut`], with a sign that something is missing.
pub(super) fn short(text: &str, most: usize) -> String {
    match cut(text, most) {
        (text, false) => text.to_owned(),
        (text, true) => format!("{text}…"),
    }
}

/// A path of the page with parameters.
pub(super) fn link(base: &str, path: &str, parameters: &[(&str, &str)]) -> String {
    if parameters.is_empty() {
        return format!("{base}{path}");
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    format!("{base}{path}?{}", query.finish())
}

/// A name as one part of a path.
pub(super) fn segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_written_as_people_say_them() {
        let spans = [0, 999, 1_050, 61_000, 7_260_000, 200_000_000].map(span);
        assert_eq!(spans, ["0 ms", "999 ms", "1.0 s", "1 min 01 s", "2 h 01 min", "2 d 7 h"]);
        assert_eq!([12, 2_048, 3 << 20].map(bytes), ["12 B", "2 KiB", "3.0 MiB"]);
        assert_eq!([7, 999, 1_000, 1_234_567].map(number), ["7", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_text_is_cut_between_letters() {
        assert_eq!(cut("äöü", 3), ("ä", true));
        assert_eq!(short("äöü", 6), "äöü");
    }
}
