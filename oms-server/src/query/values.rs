//! What clauses say, by the kind of their field.

use oms_engine::chrono::{DateTime, Utc};
use oms_engine::{TextQuery, TimeRange, WorkflowId};

use super::{ANY, Clause, Operator, wrong};
use crate::refusal::Refusal;

impl Clause {
    fn refuse(&self, allowed: &str) -> Refusal {
        let (field, operator) = (&self.field, self.operator.text());
        wrong(format!("{field:?} cannot be compared by {operator}, only by {allowed}"))
    }

    /// All that it may be.
    fn either(&self) -> Result<&[String], Refusal> {
        match self.operator {
            Operator::Is | Operator::In => Ok(&self.values),
            _ => Err(self.refuse("= and IN")),
        }
    }

    /// Texts that are meant as they are.
    pub(crate) fn texts(&self) -> Result<Vec<String>, Refusal> {
        match self.text()? {
            TextQuery::OneOf(all) => Ok(all),
            TextQuery::Like(_) => {
                Err(wrong(format!("{:?} cannot be searched by with {ANY}", self.field)))
            }
        }
    }

    /// A text, with `*` for any, or several.
    pub(crate) fn text(&self) -> Result<TextQuery, Refusal> {
        let values = self.either()?;
        match values {
            [one] if one.contains(ANY) => Ok(TextQuery::Like(one.clone())),
            _ if values.iter().any(|value| value.contains(ANY)) => {
                Err(wrong(format!("{:?} has {ANY} in a list: give it alone", self.field)))
            }
            _ => Ok(TextQuery::OneOf(values.to_vec())),
        }
    }

    /// Runs by their ids. What is no id is that of none.
    pub(crate) fn ids(&self) -> Result<Vec<WorkflowId>, Refusal> {
        Ok(self.texts()?.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Words of a list that is known.
    pub(crate) fn known<T: std::str::FromStr>(&self, there: &[&str]) -> Result<Vec<T>, Refusal> {
        let read = |value: &String| {
            value.parse().map_err(|_| {
                let why = format!("{:?} has {value:?}, none of {}", self.field, there.join(", "));
                wrong(why)
            })
        };
        self.either()?.iter().map(read).collect()
    }

    pub(crate) fn numbers(&self) -> Result<Vec<i32>, Refusal> {
        let read = |value: &String| {
            let why = || wrong(format!("{:?} has {value:?}, which is no number", self.field));
            value.parse().map_err(|_| why())
        };
        self.either()?.iter().map(read).collect()
    }

    /// Narrows a span of time. Times are epoch milliseconds, as they are shown.
    pub(crate) fn narrow(&self, range: &mut TimeRange) -> Result<(), Refusal> {
        let [value] = self.values.as_slice() else { return Err(self.refuse("=, >, >=, < and <=")) };
        let time = |ms: i64| -> Option<DateTime<Utc>> { DateTime::from_timestamp_millis(ms) };
        let why = || {
            wrong(format!("{:?} has {value:?}, which is no time in epoch milliseconds", self.field))
        };
        let ms: i64 = value.parse().map_err(|_| why())?;
        let at = time(ms).ok_or_else(why)?;
        let behind = ms.checked_add(1).and_then(time).ok_or_else(why)?;
        let (from, before) = match self.operator {
            Operator::Is => (Some(at), Some(behind)),
            Operator::Above => (Some(behind), None),
            Operator::AtLeast => (Some(at), None),
            Operator::Below => (None, Some(at)),
            Operator::AtMost => (None, Some(behind)),
            Operator::In => return Err(self.refuse("=, >, >=, < and <=")),
        };
        range.from = range.from.max(from);
        range.before = match (range.before, before) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Ok(())
    }

    /// Sets what may be said once.
    pub(crate) fn once<T>(&self, place: &mut Option<T>, value: T) -> Result<(), Refusal> {
        if place.replace(value).is_some() {
            return Err(wrong(format!("{:?} is there twice: use IN", self.field)));
        }
        Ok(())
    }
}
