//! Filters, `[?(@.a > 1 && @.b == 'x')]`.

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::Path;
use super::parse::{Parser, Within};

/// How large a pattern may become.
const PATTERN_MAX_BYTES: usize = 64 * 1024;
/// How long a pattern may be written.
const PATTERN_TEXT_MAX_BYTES: usize = 512;

/// What an item has to fulfil.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Filter {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    Compare(Box<(Operand, Operator, Operand)>),
    /// Something stands there.
    Exists(Operand),
}

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Operand {
    /// From the item, `@`.
    Item(Path),
    /// From the document, `$`: which of the query's.
    Absolute(usize),
    Literal(Value),
    Pattern(Pattern),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Operator {
    Equal,
    NotEqual,
    Same,
    NotSame,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    In,
    NotIn,
    Contains,
    SubsetOf,
    AnyOf,
    NoneOf,
    All,
    Size,
    Empty,
}

const OPERATORS: [(&str, Operator); 18] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("===", Operator::Same),
    ("!==", Operator::NotSame),
    ("<", Operator::Less),
    ("<=", Operator::LessOrEqual),
    (">", Operator::Greater),
    (">=", Operator::GreaterOrEqual),
    ("=~", Operator::Matches),
    ("in", Operator::In),
    ("nin", Operator::NotIn),
    ("contains", Operator::Contains),
    ("subsetof", Operator::SubsetOf),
    ("anyof", Operator::AnyOf),
    ("noneof", Operator::NoneOf),
    ("all", Operator::All),
    ("size", Operator::Size),
    ("empty", Operator::Empty),
];

/// A pattern that a whole text has to match.
#[derive(Clone, Debug)]
pub(in super::super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Parser<'_> {
    /// Reads what follows `[?`.
    pub(super) fn filter(&mut self) -> Result<Filter, String> {
        self.expect("(", "`?`")?;
        let filter = self.inside(Self::any)?;
        self.expect(")", "a filter")?;
        Ok(filter)
    }

    fn any(&mut self) -> Result<Filter, String> {
        self.joined("||", Self::all, Filter::Any)
    }

    fn all(&mut self) -> Result<Filter, String> {
        self.joined("&&", Self::term, Filter::All)
    }

    fn joined(
        &mut self,
        by: &str,
        read: fn(&mut Self) -> Result<Filter, String>,
        make: fn(Vec<Filter>) -> Filter,
    ) -> Result<Filter, String> {
        let first = read(self)?;
        let mut all = vec![first];
        loop {
            self.skip_blanks();
            if !self.eat(by) {
                break;
            }
            all.push(read(self)?);
        }
        match all.pop() {
            Some(alone) if all.is_empty() => Ok(alone),
            last => {
                all.extend(last);
                Ok(make(all))
            }
        }
    }

    fn term(&mut self) -> Result<Filter, String> {
        self.skip_blanks();
        if self.eat("!") {
            let term = self.inside(Self::term)?;
            if matches!(term, Filter::Compare(_)) {
                return Err("`!` before a comparison: put the comparison in brackets".into());
            }
            return Ok(Filter::Not(Box::new(term)));
        }
        if self.eat("(") {
            let filter = self.inside(Self::any)?;
            self.expect(")", "what stands in brackets")?;
            // In brackets it is one thing, also behind `!`.
            return Ok(Filter::All(vec![filter]));
        }
        let left = self.operand()?;
        match self.operator()? {
            Some(operator) => {
                let right = self.operand()?;
                check(&left, operator, &right)?;
                Ok(Filter::Compare(Box::new((left, operator, right))))
            }
            None if matches!(left, Operand::Item(_) | Operand::Absolute(_)) => {
                Ok(Filter::Exists(left))
            }
            None => Err("a value alone is no condition: compare it".into()),
        }
    }

    fn operator(&mut self) -> Result<Option<Operator>, String> {
        self.skip_blanks();
        let sign = self.take_while(|char| "<>=~!".contains(char));
        let word = match sign {
            "" => self.take_while(|char| char.is_ascii_alphabetic()).to_ascii_lowercase(),
            sign => sign.to_owned(),
        };
        if word.is_empty() {
            return Ok(None);
        }
        let known = OPERATORS.iter().find(|(text, _)| *text == word);
        known.map(|(_, operator)| Some(*operator)).ok_or_else(|| {
            let names: Vec<&str> = OPERATORS.iter().map(|(text, _)| *text).collect();
            format!("`{word}` is no operator: there are {}", names.join(", "))
        })
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.skip_blanks();
        if self.eat("@") {
            return self.inside(|parser| parser.path(Within::Filter)).map(Operand::Item);
        }
        if self.eat("$") {
            return self.absolute(Within::Filter).map(Operand::Absolute);
        }
        if self.eat("/") {
            return self.pattern().map(Operand::Pattern);
        }
        self.literal().map(Operand::Literal)
    }

    /// Reads a pattern behind its first `/`.
    fn pattern(&mut self) -> Result<Pattern, String> {
        self.count_pattern()?;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('/') => break,
                Some('\\') if self.eat("/") => text.push('/'),
                Some('\\') => {
                    text.push('\\');
                    text.extend(self.next());
                }
                Some(char) => text.push(char),
                None => return Err("a pattern is not closed by `/`".into()),
            }
        }
        if text.len() > PATTERN_TEXT_MAX_BYTES {
            return Err(format!("a pattern is longer than {PATTERN_TEXT_MAX_BYTES} bytes"));
        }
        let flags = self.take_while(|char| char.is_ascii_alphabetic());
        let has = |flag| flags.contains(flag);
        if let Some(unknown) = flags.chars().find(|flag| !"imsxuU".contains(*flag)) {
            return Err(format!("pattern flag `{unknown}`: there are i, m, s, x, u and U"));
        }
        let build = |text: &str| {
            RegexBuilder::new(text)
                .case_insensitive(has('i'))
                .multi_line(has('m'))
                .dot_matches_new_line(has('s'))
                .ignore_whitespace(has('x'))
                .size_limit(PATTERN_MAX_BYTES)
                .dfa_size_limit(PATTERN_MAX_BYTES)
                .build()
        };
        // Alone first, so that a `)` of its own cannot end the group. The line break ends a
        // comment, which `x` allows.
        let whole = format!(r"\A(?:{text}{})\z", if has('x') { "\n" } else { "" });
        build(&text).and_then(|_| build(&whole)).map(Pattern).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => format!("pattern /{text}/ is too large"),
            error => format!("pattern /{text}/ cannot be read: {}", last_line(&error)),
        })
    }
}

/// What went wrong, without the picture around it.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Patterns stand beside `=~` alone, and beside nothing else.
fn check(left: &Operand, operator: Operator, right: &Operand) -> Result<(), String> {
    let patterns = [left, right].into_iter().filter(|side| matches!(side, Operand::Pattern(_)));
    match (operator, patterns.count()) {
        (Operator::Matches, 1) => Ok(()),
        (Operator::Matches, _) => Err("`=~` takes one /pattern/ on one of its sides".into()),
        (_, 0) => Ok(()),
        (_, _) => Err("a /pattern/ stands beside `=~` alone".into()),
    }
}
