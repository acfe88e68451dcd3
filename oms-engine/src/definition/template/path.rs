//! The part of Jayway's `JSONPath` that names one place: `a.b[0]['c d']["e"][-1]`.
//!
//! Everything else of that dialect (wildcards, filters, `..`, slices, unions, functions) is
//! refused by its name. This is the one function behind which a crate for them can be put.

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::definition) enum Segment {
    /// A key of an object.
    Key(String),
    /// An index of a list; from its end when negative.
    Index(i64),
}

/// Reads a path, with or without `$.` before it. At least one segment.
pub(super) fn parse(text: &str) -> Result<Vec<Segment>, String> {
    let text = text.trim();
    let mut rest = match text.strip_prefix('$') {
        Some(rooted) if rooted.starts_with(['.', '[']) => rooted,
        Some(_) => return Err("after `$` a `.` or `[` is expected".into()),
        None if text.starts_with('.') => return Err(unsupported("deep scan `..`")),
        None => text,
    };
    let mut segments = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            if after.starts_with('.') {
                return Err(unsupported("deep scan `..`"));
            }
            if after.is_empty() {
                return Err("ends with `.`: name a key after it".into());
            }
            rest = after;
        }
        let (segment, after) = match rest.strip_prefix('[') {
            Some(inside) => bracket(inside.trim_start())?,
            None => property(rest)?,
        };
        segments.push(segment);
        rest = after;
    }
    if segments.is_empty() { Err("names nothing".into()) } else { Ok(segments) }
}

/// The place that a path names inside a value.
pub(super) fn lookup<'a>(value: &'a Value, path: &[Segment]) -> Option<&'a Value> {
    path.iter().try_fold(value, |at, segment| match segment {
        Segment::Key(key) => at.as_object()?.get(key),
        Segment::Index(index) => {
            let list = at.as_array()?;
            let from_start = match usize::try_from(*index) {
                Ok(from_start) => from_start,
                Err(_) => list.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
            };
            list.get(from_start)
        }
    })
}

fn unsupported(what: &str) -> String {
    format!("JSONPath {what}: not supported yet")
}

fn property(text: &str) -> Result<(Segment, &str), String> {
    if text.starts_with('*') {
        return Err(unsupported("wildcard `*`"));
    }
    let end = text.find(['.', '[', ' ', '(']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if rest.starts_with('(') {
        return Err(unsupported(&format!("function `{name}()`")));
    }
    if rest.starts_with(' ') {
        return Err("a key with blanks is written in brackets, as in ['my key']".into());
    }
    Ok((Segment::Key(name.to_owned()), rest))
}

/// Reads what follows `[`.
fn bracket(text: &str) -> Result<(Segment, &str), String> {
    match text.chars().next() {
        Some(quote @ ('\'' | '"')) => quoted(text, quote),
        Some('*') => Err(unsupported("wildcard `[*]`")),
        Some('?') => Err(unsupported("filter `[?…]`")),
        Some('-' | ':' | '0'..='9') => index(text),
        _ => Err("after `[` an index or a quoted key is expected".into()),
    }
}

fn index(text: &str) -> Result<(Segment, &str), String> {
    let (inside, rest) = text.split_once(']').ok_or("`[` is not closed by `]`")?;
    if inside.contains(':') {
        return Err(unsupported("slice `[a:b]`"));
    }
    if inside.contains(',') {
        return Err(unsupported("union `[a,b]`"));
    }
    let inside = inside.trim_end();
    let index = inside.parse().map_err(|_| format!("`{inside}` is no index"))?;
    Ok((Segment::Index(index), rest))
}

fn quoted(text: &str, quote: char) -> Result<(Segment, &str), String> {
    let unclosed = || "a quoted key is not closed".to_owned();
    let mut key = String::new();
    let mut chars = text.char_indices().skip(1);
    loop {
        match chars.next().ok_or_else(unclosed)? {
            (at, end) if end == quote => {
                let rest = text.get(at + end.len_utf8()..).unwrap_or_default().trim_start();
                return match rest.chars().next() {
                    Some(']') => Ok((Segment::Key(key), rest.get(1..).unwrap_or_default())),
                    Some(',') => Err(unsupported("union `['a','b']`")),
                    _ => Err("after a quoted key `]` is expected".into()),
                };
            }
            (_, '\\') => {
                let (_, escaped) = chars.next().ok_or_else(unclosed)?;
                key.push(match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => {
                        let code: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        u32::from_str_radix(&code, 16)
                            .ok()
                            .and_then(char::from_u32)
                            .ok_or_else(|| format!("`\\u{code}` is no character"))?
                    }
                    plain => plain,
                });
            }
            (_, plain) => key.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(path: &str) -> Value {
        let document = json!({
            "a": {"b": [{"c d": 1, "e.f": 2}, [10, 20, 30]], "0": "zero", "": "empty"},
            "größe": {"it's": true, "q\"": false, "back\\": 4, "x]y": 5},
            "n": null,
        });
        lookup(&document, &parse(path).unwrap()).cloned().unwrap_or_else(|| json!("missing"))
    }

    #[test]
    fn one_place_is_found_as_jayway_finds_it() {
        for (path, expected) in [
            ("a.b[0]['c d']", json!(1)),
            ("$.a.b[0]['e.f']", json!(2)),
            ("$['a']['b'][1][0]", json!(10)),
            ("a.['b'].[1][ 2 ]", json!(30)),
            ("a[\"b\"][1][-1]", json!(30)),
            ("a.b[1][-3]", json!(10)),
            ("a.b[1][-4]", json!("missing")),
            ("a.b[1][3]", json!("missing")),
            ("a.b.0", json!("missing")),
            ("a.0", json!("zero")),
            ("a['']", json!("empty")),
            ("a[0]", json!("missing")),
            ("größe['it\\'s']", json!(true)),
            ("größe[\"it's\"]", json!(true)),
            ("größe['q\\u0022']", json!(false)),
            ("größe['back\\\\']", json!(4)),
            ("größe['x]y']", json!(5)),
            ("  a.0 ", json!("zero")),
            ("n", json!(null)),
            ("n.x", json!("missing")),
            ("a.b[0]['c d'].x", json!("missing")),
        ] {
            assert_eq!(read(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (path, named) in [
            ("a.*", "wildcard"),
            ("a[*]", "wildcard"),
            ("a..b", "deep scan"),
            (".a", "deep scan"),
            ("a[?(@.x == 1)]", "filter"),
            ("a[1:2]", "slice"),
            ("a[:2]", "slice"),
            ("a[1, 2]", "union"),
            ("a['x', 'y']", "union"),
            ("a.length()", "function `length()`"),
        ] {
            let refused = parse(path).unwrap_err();
            assert!(refused.contains(named) && refused.contains("not supported"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in [
            "",
            " ",
            "$",
            "$a",
            "a.",
            "a[",
            "a[]",
            "a['b'",
            "a['b",
            "a[x]",
            "a b",
            "a[--1]",
            "a['\\u12']",
        ] {
            assert!(parse(path).is_err(), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}|[a$.\\[\\]'\"\\\\0-9:,*?( u-]{0,20}") {
            if let Ok(path) = parse(&text) {
                prop_assert!(!path.is_empty());
                lookup(&json!([{"a": [1]}]), &path);
            }
        }

        #[test]
        fn any_key_can_be_written_in_brackets(key in "\\PC{0,20}") {
            let quoted = key.replace('\\', "\\\\").replace('\'', "\\'");
            prop_assert_eq!(parse(&format!("$['{quoted}']")), Ok(vec![Segment::Key(key)]));
        }
    }
}
