//! Regular expressions: linear ones, and what they go through is counted.

use std::collections::BTreeMap;

use jaq_core::{Cv, Error, ValR};
use regex_bites::bytes::{Regex, RegexBuilder};

use super::budget;
use super::program::Jq;
use super::value::Val;

/// What is given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Give {
    Matches,
    Between,
    Both,
}

/// Sizes of the compiled form that are tried, in bytes: its size tells what a character costs.
const SIZES: [usize; 3] = [2 * 1024, 16 * 1024, 128 * 1024];

struct Pattern {
    regex: Regex,
    /// Every match, and not the first alone.
    all: bool,
    skip_empty: bool,
    /// Steps for a character.
    cost: usize,
    /// What is read beyond a match is not read again for the next one.
    linear: bool,
}

/// `matches`, `split_` and `split_matches` of the standard library.
pub(super) fn matches(mut cv: Cv<'_, Jq>, give: Give) -> ValR<Val> {
    let (flags, source) = (cv.0.pop_var(), cv.0.pop_var());
    let text = |value: &Val| match value.as_text() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::typ(value.clone(), "string")),
    };
    let pattern = compile(&text(&source)?, &text(&flags)?).map_err(Error::str)?;
    let text = text(&cv.1)?;
    budget::bytes(text.len());
    Ok(Val::list(find(&pattern, &text, give)))
}

fn compile(source: &str, flags: &str) -> Result<Pattern, String> {
    let (mut all, mut skip_empty) = (false, false);
    let mut builder = RegexBuilder::new(source);
    for flag in flags.chars() {
        match flag {
            'g' => all = true,
            'n' => skip_empty = true,
            'i' => drop(builder.case_insensitive(true)),
            'm' => drop(builder.multi_line(true)),
            's' => drop(builder.dot_matches_new_line(true)),
            'p' => drop(builder.multi_line(true).dot_matches_new_line(true)),
            'l' => drop(builder.swap_greed(true)),
            'x' => drop(builder.ignore_whitespace(true)),
            flag => return Err(format!("{flag:?} is no flag of a regular expression")),
        }
    }
    let mut fault = String::new();
    for size in SIZES {
        budget::steps(size / 16);
        match builder.size_limit(size).build() {
            Ok(regex) => {
                let groups = regex.captures_len();
                let cost = (1 + size / 512) * (groups + 3) / 4;
                // With one choice at most, whatever is read beyond a match holds no other one.
                let choices = source.chars().filter(|char| "*+?{|".contains(*char)).count();
                return Ok(Pattern { regex, all, skip_empty, cost, linear: choices < 2 });
            }
            Err(error) => fault = error.to_string(),
        }
    }
    Err(format!("{source:?} cannot be used as a regular expression: {fault}"))
}

fn find(pattern: &Pattern, text: &str, give: Give) -> Vec<Val> {
    let mut found = Vec::new();
    let (mut from, mut chars) = (0, Chars { text, bytes: 0, chars: 0 });
    let mut last_end = None;
    let mut between = 0;
    while from <= text.len() {
        let rest = text.len() - from;
        if !pattern.linear {
            budget::steps((1 + rest).saturating_mul(pattern.cost));
        }
        let mut places = pattern.regex.capture_locations();
        let whole = pattern.regex.captures_read_at(&mut places, text.as_bytes(), from);
        if pattern.linear {
            let read = whole.map_or(rest, |whole| whole.end().saturating_sub(from));
            budget::steps((1 + read).saturating_mul(pattern.cost));
        }
        let Some(whole) = whole else { break };
        let (start, end) = (whole.start(), whole.end());
        from = if start == end { next_char(text, end) } else { end };
        if start == end && (pattern.skip_empty || last_end == Some(end)) {
            continue;
        }
        last_end = Some(end);
        if give != Give::Matches {
            found.push(part(text, between, start));
            between = end;
        }
        if give != Give::Between {
            let groups = (0..places.len()).zip(pattern.regex.capture_names());
            let groups = groups.filter_map(|(group, name)| Some((places.get(group)?, name)));
            found.push(Val::list(groups.map(|(place, name)| one(&mut chars, place, name))));
        }
        if !pattern.all {
            break;
        }
    }
    if give != Give::Matches {
        found.push(part(text, between, text.len()));
    }
    found
}

fn part(text: &str, from: usize, to: usize) -> Val {
    Val::text(text.get(from..to).unwrap_or_default().to_owned())
}

fn one(chars: &mut Chars<'_>, (start, end): (usize, usize), name: Option<&str>) -> Val {
    let string = chars.text.get(start..end).unwrap_or_default().to_owned();
    let mut fields = BTreeMap::from([
        ("offset", Val::from(chars.before(start))),
        ("length", Val::from(string.chars().count())),
        ("string", Val::text(string)),
    ]);
    if let Some(name) = name {
        fields.insert("name", Val::text(name.to_owned()));
    }
    Val::object(fields)
}

fn next_char(text: &str, at: usize) -> usize {
    at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

/// Counts characters; mostly forwards.
struct Chars<'a> {
    text: &'a str,
    bytes: usize,
    chars: usize,
}

impl Chars<'_> {
    fn before(&mut self, at: usize) -> usize {
        let count = |from: usize, to: usize| {
            budget::steps(to.saturating_sub(from) / 16);
            self.text.get(from..to).map_or(0, |part| part.chars().count())
        };
        if at >= self.bytes {
            self.chars += count(self.bytes, at);
        } else {
            self.chars -= count(at, self.bytes);
        }
        self.bytes = at;
        self.chars
    }
}
