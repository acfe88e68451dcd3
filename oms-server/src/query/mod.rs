//! Conductor's search syntax: clauses joined by AND, each a field, an operator and a value or, with
//! IN, several. `workflowType = 'a' AND status IN (FAILED, TIMED_OUT) AND startTime > 1700000000000`.

mod read;
#[cfg(test)]
mod tests;
mod values;

use oms_engine::SortOrder;

pub(crate) use read::clauses;

use crate::refusal::Refusal;
use crate::request::Asked;

/// How a field and its values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Is,
    In,
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Operator {
    const fn text(self) -> &'static str {
        match self {
            Self::Is => "=",
            Self::In => "IN",
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    pub(crate) field: String,
    pub(crate) operator: Operator,
    /// One, but with IN.
    pub(crate) values: Vec<String>,
}

/// Refuses what is wrong in the parameter `query`.
pub(crate) fn wrong(message: impl Into<String>) -> Refusal {
    Refusal::argument("query", message)
}

/// Refuses a field, and says which there are.
pub(crate) fn unknown(field: &str, there: &[&str]) -> Refusal {
    wrong(format!("cannot search by {field:?}, only by {}", there.join(", ")))
}

/// What a search asks for beside its conditions.
#[derive(Debug)]
pub(crate) struct Paging {
    pub(crate) start: usize,
    pub(crate) size: usize,
    /// Each of these occurs.
    pub(crate) words: Vec<String>,
    /// A field, where one is given, and which way.
    pub(crate) sort: Option<(String, SortOrder)>,
}

/// What stands for any text.
const ANY: &str = "*";

impl Paging {
    pub(crate) fn read(asked: &Asked, size_max: usize) -> Result<Self, Refusal> {
        let size = asked.number("size")?.unwrap_or(100);
        if size == 0 || size > size_max {
            let why = format!("{size} is not within 1 to {size_max}");
            return Err(Refusal::argument("size", why));
        }
        Ok(Self {
            start: asked.number("start")?.unwrap_or(0),
            size,
            words: words(asked.text("freeText").unwrap_or(ANY))?,
            sort: asked.text("sort").map(sort).transpose()?,
        })
    }

    /// A page of what is at hand.
    pub(crate) fn page<T>(&self, all: Vec<T>) -> (usize, Vec<T>) {
        (all.len(), all.into_iter().skip(self.start).take(self.size).collect())
    }
}

fn words(text: &str) -> Result<Vec<String>, Refusal> {
    let wrong = |why: &str| Err(Refusal::argument("freeText", why));
    let text = text.trim();
    if text.starts_with('{') {
        return wrong("JSON is not supported by this server; use query");
    }
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        if matches!(word, "&" | "|" | "!" | "AND" | "OR" | "NOT") {
            return wrong("has operators, which this server does not know: each word must occur");
        }
        let word = word.trim_matches(['*', '"', '\'']);
        if !word.is_empty() {
            words.push(word.to_owned());
        }
    }
    Ok(words)
}

fn sort(text: &str) -> Result<(String, SortOrder), Refusal> {
    let wrong = |why: &str| Refusal::argument("sort", format!("{text:?} {why}"));
    if text.contains(['|', ',']) {
        return Err(wrong("names several fields; this server sorts by one"));
    }
    let Some((field, order)) = text.split_once(':') else {
        return Err(wrong("is not field:ASC or field:DESC"));
    };
    let order = match order.trim().to_ascii_uppercase().as_str() {
        "ASC" => SortOrder::Ascending,
        "DESC" => SortOrder::Descending,
        _ => return Err(wrong("is not field:ASC or field:DESC")),
    };
    Ok((field.trim().to_owned(), order))
}

/// Refuses a field that cannot be sorted by.
pub(crate) fn unsorted(field: &str, there: &[&str]) -> Refusal {
    let why = format!("cannot sort by {field:?}, only by {}", there.join(", "));
    Refusal::argument("sort", why)
}
