//! Reads paths.

use super::function::Call;
use super::{Path, Query, Step};

/// Longer paths are refused, so that what data puts together is soon read.
const PATH_MAX_BYTES: usize = 4_096;
/// How deep filters, brackets and arguments may stand in each other.
const NESTED_MAX: usize = 16;
/// More patterns in one path are refused: each takes time to make.
const PATTERNS_MAX: usize = 8;

/// Reads a path, with or without `$.` before it.
pub(in super::super) fn parse(text: &str) -> Result<Query, String> {
    if text.len() > PATH_MAX_BYTES {
        return Err(format!("is longer than {PATH_MAX_BYTES} bytes"));
    }
    let mut parser = Parser { text: text.trim(), at: 0, nested: 0, patterns: 0, absolutes: vec![] };
    if parser.eat("$") && !matches!(parser.peek(), Some('.' | '[')) {
        return Err("after `$` a `.` or `[` is expected".into());
    }
    if parser.peek() == Some('@') {
        return Err("`@` stands in filters alone".into());
    }
    let path = parser.path(Within::Text)?;
    if path.steps.is_empty() && path.call.is_none() {
        return Err("names nothing".into());
    }
    Ok(Query { path, absolutes: parser.absolutes })
}

/// What a path stands in, which says where it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Text,
    Filter,
    Arguments,
}

impl Within {
    fn ends_at(self, char: char) -> bool {
        match self {
            Self::Text => false,
            Self::Filter => " \t\r\n()<>=~!&|".contains(char),
            Self::Arguments => " \t\r\n,)".contains(char),
        }
    }
}

pub(super) struct Parser<'t> {
    text: &'t str,
    at: usize,
    nested: usize,
    patterns: usize,
    absolutes: Vec<Query>,
}

impl<'t> Parser<'t> {
    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    pub(super) fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes characters as long as they are wanted.
    pub(super) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let taken = rest.get(..rest.find(|char| !wanted(char)).unwrap_or(rest.len()));
        let taken = taken.unwrap_or_default();
        self.at += taken.len();
        taken
    }

    pub(super) fn expect(&mut self, text: &str, behind: &str) -> Result<(), String> {
        self.skip_blanks();
        if self.eat(text) { Ok(()) } else { Err(format!("behind {behind} `{text}` is expected")) }
    }

    /// Reads something that stands inside something else.
    pub(super) fn inside<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        if self.nested >= NESTED_MAX {
            return Err(format!("is nested deeper than {NESTED_MAX}"));
        }
        self.nested += 1;
        let found = read(self);
        self.nested -= 1;
        found
    }

    pub(super) fn count_pattern(&mut self) -> Result<(), String> {
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            return Err(format!("has more than {PATTERNS_MAX} patterns"));
        }
        Ok(())
    }

    /// The steps of a path whose `$` or `@`, if any, has been read.
    pub(super) fn path(&mut self, within: Within) -> Result<Path, String> {
        let mut path = Path::default();
        while let Some(char) = self.peek() {
            if within.ends_at(char) {
                break;
            }
            if self.eat("..") {
                path.steps.push(Step::Descend);
            } else {
                self.eat(".");
            }
            match self.peek() {
                None => return Err("ends with `.`: name a key after it".into()),
                Some('.') => return Err("has a `.` where a key is expected".into()),
                Some('[') => {
                    self.next();
                    path.steps.push(self.bracket()?);
                }
                Some('*') => {
                    self.next();
                    path.steps.push(Step::All);
                }
                Some(_) => {
                    let name = self.name(within)?;
                    if self.eat("(") {
                        path.call = Some(Call::read(self, name)?);
                        break;
                    }
                    path.steps.push(Step::Key(name.to_owned()));
                }
            }
        }
        let ends = self.peek().is_none_or(|char| within.ends_at(char));
        if path.call.is_some() && !ends {
            return Err("goes on behind a function: a function stands at the end".into());
        }
        if path.call.is_some() && path.steps.last() == Some(&Step::Descend) {
            return Err("`..` is followed by a key, `*` or `[`".into());
        }
        Ok(path)
    }

    /// A path with a `$` of its own, which has been read. It begins with a name too.
    pub(super) fn absolute(&mut self, within: Within) -> Result<usize, String> {
        let outer = std::mem::take(&mut self.absolutes);
        let path = self.inside(|parser| parser.path(within));
        let absolutes = std::mem::replace(&mut self.absolutes, outer);
        let query = Query { path: path?, absolutes };
        if !matches!(query.path.steps.first(), Some(Step::Key(_))) {
            return Err("`$` is followed by `.workflow` or a reference name".into());
        }
        self.absolutes.push(query);
        Ok(self.absolutes.len() - 1)
    }

    fn name(&mut self, within: Within) -> Result<&'t str, String> {
        let name =
            self.take_while(|char| !matches!(char, '.' | '[' | ' ' | '(') && !within.ends_at(char));
        if name.is_empty() {
            return Err("has no key where one is expected".into());
        }
        if within == Within::Text && self.peek() == Some(' ') {
            return Err("a key with blanks is written in brackets, as in ['my key']".into());
        }
        Ok(name)
    }

    /// Reads what follows `[`.
    fn bracket(&mut self) -> Result<Step, String> {
        self.skip_blanks();
        let step = match self.peek() {
            Some('\'' | '"') => {
                let mut keys = self.list_of(|parser| parser.quoted())?;
                match keys.pop() {
                    Some(key) if keys.is_empty() => Step::Key(key),
                    Some(key) => {
                        keys.push(key);
                        Step::Keys(keys)
                    }
                    None => return Err("names no key".into()),
                }
            }
            Some('*') => {
                self.next();
                Step::All
            }
            Some('?') => {
                self.next();
                Step::Filter(self.filter()?)
            }
            Some('-' | ':' | '0'..='9') => self.indexes()?,
            _ => return Err("after `[` an index or a quoted key is expected".into()),
        };
        self.expect("]", "what stands in brackets")?;
        Ok(step)
    }

    fn list_of<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let mut items = Vec::new();
        loop {
            self.skip_blanks();
            items.push(read(self)?);
            self.skip_blanks();
            if !self.eat(",") {
                return Ok(items);
            }
        }
    }

    fn indexes(&mut self) -> Result<Step, String> {
        let from = if self.peek() == Some(':') { None } else { Some(self.index()?) };
        self.skip_blanks();
        match self.peek() {
            Some(':') => {
                self.next();
                self.skip_blanks();
                let to = if self.peek() == Some(']') { None } else { Some(self.index()?) };
                if from.is_none() && to.is_none() {
                    return Err("`[:]` is written `[*]`".into());
                }
                Ok(Step::Slice(from, to))
            }
            Some(',') => {
                self.next();
                let mut indexes: Vec<i64> = from.into_iter().collect();
                indexes.extend(self.list_of(Self::index)?);
                Ok(Step::Indexes(indexes))
            }
            _ => from.map(Step::Index).ok_or_else(|| "names no index".into()),
        }
    }

    fn index(&mut self) -> Result<i64, String> {
        let text = self.take_while(|char| char == '-' || char.is_ascii_digit());
        text.parse().map_err(|_| format!("`{text}` is no index"))
    }
}
