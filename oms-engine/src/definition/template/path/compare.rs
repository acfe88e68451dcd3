//! Comparisons in filters, with Jayway's rules: what is missing equals nothing, a number and a
//! text that writes it are equal, and only numbers or only texts have an order.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::filter::{Operator, Pattern};
use crate::definition::template::meter::{Meter, TooMuch};

/// What an operand comes to.
pub(super) enum Seen<'v> {
    /// A path that found nothing.
    Missing,
    One(Cow<'v, Value>),
    /// What a path found that can find several.
    Many(Vec<Cow<'v, Value>>),
    Pattern(&'v Pattern),
}

impl Seen<'_> {
    /// As a list, where it is one.
    fn items(&self, meter: &mut Meter) -> Result<Option<Vec<&Value>>, TooMuch> {
        let items: Vec<&Value> = match self {
            Self::One(value) => match value.as_array() {
                Some(list) => list.iter().collect(),
                None => return Ok(None),
            },
            Self::Many(found) => found.iter().map(|found| &**found).collect(),
            Self::Missing | Self::Pattern(_) => return Ok(None),
        };
        meter.visit(items.len())?;
        Ok(Some(items))
    }

    fn value(&self) -> Option<&Value> {
        match self {
            Self::One(value) => Some(value),
            Self::Missing | Self::Many(_) | Self::Pattern(_) => None,
        }
    }
}

/// Whether it holds. None: the two cannot be compared so, and the item does not pass.
pub(super) fn holds(
    left: &Seen<'_>,
    operator: Operator,
    right: &Seen<'_>,
    meter: &mut Meter,
) -> Result<Option<bool>, TooMuch> {
    meter.visit(1)?;
    let not = |held: bool| !held;
    let order = |wanted: fn(Ordering) -> bool| {
        let found = left.value().zip(right.value()).and_then(|(left, right)| order(left, right));
        Some(found.is_some_and(wanted))
    };
    Ok(match operator {
        Operator::Equal => Some(equal(left, right, meter)?),
        Operator::NotEqual => Some(!equal(left, right, meter)?),
        Operator::Same => Some(same(left, right, meter)?),
        Operator::NotSame => Some(!same(left, right, meter)?),
        Operator::Less => order(Ordering::is_lt),
        Operator::LessOrEqual => order(Ordering::is_le),
        Operator::Greater => order(Ordering::is_gt),
        Operator::GreaterOrEqual => order(Ordering::is_ge),
        Operator::Matches => Some(matches(left, right, meter)?),
        Operator::In => contains(right, left, meter)?,
        Operator::NotIn => contains(right, left, meter)?.map(not),
        Operator::Contains => match (left.value(), right.value()) {
            (Some(Value::String(text)), Some(Value::String(part))) => {
                meter.visit(text.len() / 64)?;
                Some(text.contains(part.as_str()))
            }
            _ => Some(contains(left, right, meter)?.unwrap_or(false)),
        },
        Operator::SubsetOf => every(left, right, meter)?,
        Operator::All => every(right, left, meter)?,
        Operator::AnyOf => any(left, right, meter)?,
        Operator::NoneOf => any(left, right, meter)?.map(not),
        Operator::Size => {
            let wanted = right.value().and_then(Value::as_u64);
            let size = match left.value() {
                Some(Value::String(text)) => {
                    meter.visit(text.len() / 64)?;
                    Some(text.encode_utf16().count())
                }
                _ => left.items(meter)?.map(|items| items.len()),
            };
            Some(wanted.is_some() && size.and_then(|size| u64::try_from(size).ok()) == wanted)
        }
        Operator::Empty => {
            let empty = match left.value() {
                Some(Value::String(text)) => Some(text.is_empty()),
                Some(Value::Object(map)) => Some(map.is_empty()),
                _ => left.items(meter)?.map(|items| items.is_empty()),
            };
            Some(empty.is_some() && right.value().and_then(Value::as_bool) == empty)
        }
    })
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order_numbers(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn order_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        return Some(left.cmp(&right));
    }
    if let (Some(left), Some(right)) = (left.as_u64(), right.as_u64()) {
        return Some(left.cmp(&right));
    }
    left.as_f64()?.partial_cmp(&right.as_f64()?)
}

fn equal(left: &Seen<'_>, right: &Seen<'_>, meter: &mut Meter) -> Result<bool, TooMuch> {
    if let (Some(left), Some(right)) = (left.value(), right.value()) {
        return alike(left, right, meter);
    }
    if let (Some(left), Some(right)) = (left.items(meter)?, right.items(meter)?) {
        if left.len() != right.len() {
            return Ok(false);
        }
        for (left, right) in left.into_iter().zip(right) {
            if !identical(left, right, meter)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    Ok(false)
}

/// Equal, and of one type.
fn same(left: &Seen<'_>, right: &Seen<'_>, meter: &mut Meter) -> Result<bool, TooMuch> {
    let mixed = left
        .value()
        .zip(right.value())
        .is_some_and(|(left, right)| std::mem::discriminant(left) != std::mem::discriminant(right));
    Ok(!mixed && equal(left, right, meter)?)
}

/// Equal as Jayway has it, which reads numbers in texts.
fn alike(left: &Value, right: &Value, meter: &mut Meter) -> Result<bool, TooMuch> {
    match (left, right) {
        (Value::String(text), Value::Number(number)) => Ok(*text == number.to_string()),
        (Value::Number(number), Value::String(text)) => {
            let written = text.parse::<Number>().ok();
            Ok(written.and_then(|written| order_numbers(number, &written)) == Some(Ordering::Equal))
        }
        (Value::Number(left), Value::Number(right)) => {
            Ok(order_numbers(left, right) == Some(Ordering::Equal))
        }
        (left, right) => identical(left, right, meter),
    }
}

fn identical(left: &Value, right: &Value, meter: &mut Meter) -> Result<bool, TooMuch> {
    meter.visit(1)?;
    match (left, right) {
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (left, right) in left.iter().zip(right) {
                if !identical(left, right, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Object(left), Value::Object(right)) if left.len() == right.len() => {
            for ((key, left), (other, right)) in left.iter().zip(right) {
                if key != other || !identical(left, right, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::String(left), Value::String(right)) => {
            meter.visit(left.len().min(right.len()) / 64)?;
            Ok(left == right)
        }
        (left, right) => Ok(left == right),
    }
}

/// Whether a list holds something. None: it is no list.
fn contains(
    list: &Seen<'_>,
    wanted: &Seen<'_>,
    meter: &mut Meter,
) -> Result<Option<bool>, TooMuch> {
    let Some(items) = list.items(meter)? else { return Ok(None) };
    for item in items {
        if equal(wanted, &Seen::One(Cow::Borrowed(item)), meter)? {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

/// Whether all of one list are in another.
fn every(part: &Seen<'_>, whole: &Seen<'_>, meter: &mut Meter) -> Result<Option<bool>, TooMuch> {
    let (Some(items), Some(_)) = (part.items(meter)?, whole.items(meter)?) else { return Ok(None) };
    for item in items {
        if contains(whole, &Seen::One(Cow::Borrowed(item)), meter)? != Some(true) {
            return Ok(Some(false));
        }
    }
    Ok(Some(true))
}

fn any(left: &Seen<'_>, right: &Seen<'_>, meter: &mut Meter) -> Result<Option<bool>, TooMuch> {
    let (Some(items), Some(_)) = (left.items(meter)?, right.items(meter)?) else { return Ok(None) };
    for item in items {
        if contains(right, &Seen::One(Cow::Borrowed(item)), meter)? == Some(true) {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

fn matches(left: &Seen<'_>, right: &Seen<'_>, meter: &mut Meter) -> Result<bool, TooMuch> {
    let ((Seen::Pattern(pattern), subject) | (subject, Seen::Pattern(pattern))) = (left, right)
    else {
        return Ok(false);
    };
    let one = |value: Option<&Value>, meter: &mut Meter| {
        let text = match value {
            Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Cow::Owned(value.to_string()),
            _ => Cow::Borrowed(""),
        };
        // A pattern is slower than a look.
        meter.visit(text.len())?;
        Ok(pattern.matches(&text))
    };
    match subject.items(meter)? {
        Some(items) => {
            for item in items {
                if one(Some(item), meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        None => one(subject.value(), meter),
    }
}
