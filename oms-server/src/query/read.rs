//! Reads a query's text.

use std::iter::Peekable;
use std::str::CharIndices;

use super::{Clause, Operator, wrong};
use crate::refusal::Refusal;

/// Clauses of one query.
const CLAUSES_MAX: usize = 50;

/// The clauses of a query, in order; none for an empty one.
pub(crate) fn clauses(text: &str) -> Result<Vec<Clause>, Refusal> {
    let mut reader = Reader { text, chars: text.char_indices().peekable() };
    let mut clauses = Vec::new();
    reader.space();
    if reader.rest().is_empty() {
        return Ok(clauses);
    }
    loop {
        clauses.push(reader.clause()?);
        if clauses.len() > CLAUSES_MAX {
            return Err(wrong(format!("has more than {CLAUSES_MAX} clauses")));
        }
        reader.space();
        if reader.rest().is_empty() {
            return Ok(clauses);
        }
        let at = reader.at();
        match reader.word().to_ascii_uppercase().as_str() {
            "AND" => reader.space(),
            "OR" => return Err(wrong(format!("has OR at {at}: clauses are joined by AND alone"))),
            _ => return Err(wrong(format!("has no AND at {at}"))),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl<'a> Reader<'a> {
    /// The place of the next letter, from 0.
    fn at(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn rest(&mut self) -> &'a str {
        let at = self.at();
        self.text.get(at..).unwrap_or_default()
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let from = self.at();
        while self.chars.next_if(|(_, c)| fits(*c)).is_some() {}
        let to = self.at();
        self.text.get(from..to).unwrap_or_default()
    }

    fn space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.'))
    }

    fn clause(&mut self) -> Result<Clause, Refusal> {
        let at = self.at();
        let field = self.word().to_owned();
        if field.is_empty() {
            return Err(wrong(format!("has no field at {at}")));
        }
        self.space();
        let operator = self.operator(&field)?;
        self.space();
        let values = if operator == Operator::In { self.list()? } else { vec![self.value()?] };
        Ok(Clause { field, operator, values })
    }

    fn operator(&mut self, field: &str) -> Result<Operator, Refusal> {
        let sign = self.take_while(|c| matches!(c, '=' | '<' | '>' | '!'));
        Ok(match sign {
            "=" => Operator::Is,
            ">" => Operator::Above,
            ">=" => Operator::AtLeast,
            "<" => Operator::Below,
            "<=" => Operator::AtMost,
            "" => match self.word() {
                word if word.eq_ignore_ascii_case("IN") => Operator::In,
                _ => {
                    let why = format!("has no operator behind {field:?}: =, >, >=, <, <= or IN");
                    return Err(wrong(why));
                }
            },
            other => {
                let why = format!("has {other:?} behind {field:?}: use =, >, >=, <, <= or IN");
                return Err(wrong(why));
            }
        })
    }

    /// `(a, 'b')`; a single value may stand without brackets.
    fn list(&mut self) -> Result<Vec<String>, Refusal> {
        if self.peek() != Some('(') {
            return Ok(vec![self.value()?]);
        }
        let open = self.at();
        self.chars.next();
        let mut values = Vec::new();
        loop {
            self.space();
            let value = match self.peek() {
                Some(quote @ ('\'' | '"')) => self.quoted(quote)?,
                _ => self.take_while(|c| !matches!(c, ',' | ')')).trim().to_owned(),
            };
            if value.is_empty() {
                return Err(wrong(format!("has an empty value in the list at {open}")));
            }
            values.push(value);
            self.space();
            match self.chars.next() {
                Some((_, ',')) => {}
                Some((_, ')')) => return Ok(values),
                Some((at, other)) => return Err(wrong(format!("has {other:?} at {at} in a list"))),
                None => return Err(wrong(format!("does not end the list at {open}"))),
            }
        }
    }

    /// In quotes, or up to the next AND.
    fn value(&mut self) -> Result<String, Refusal> {
        if let Some(quote @ ('\'' | '"')) = self.peek() {
            return self.quoted(quote);
        }
        let at = self.at();
        let rest = self.rest();
        let end = next_and(rest);
        let value = rest.get(..end).unwrap_or_default().trim();
        if value.is_empty() {
            return Err(wrong(format!("has no value at {at}")));
        }
        while self.chars.next_if(|(place, _)| *place < at + end).is_some() {}
        Ok(value.to_owned())
    }

    /// A quote in it is written twice.
    fn quoted(&mut self, quote: char) -> Result<String, Refusal> {
        let open = self.at();
        self.chars.next();
        let mut value = String::new();
        while let Some((_, c)) = self.chars.next() {
            if c != quote {
                value.push(c);
            } else if self.chars.next_if(|(_, next)| *next == quote).is_some() {
                value.push(quote);
            } else if value.is_empty() {
                return Err(wrong(format!("has an empty value at {open}")));
            } else {
                return Ok(value);
            }
        }
        Err(wrong(format!("does not end the quote at {open}")))
    }
}

/// Where the next AND between spaces, or the like, begins.
fn next_and(text: &str) -> usize {
    let mut from = 0;
    for word in text.split(char::is_whitespace) {
        if from > 0 && (word.eq_ignore_ascii_case("AND") || word == "OR") {
            return from;
        }
        from += word.len();
        from += text.get(from..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    }
    text.len()
}
