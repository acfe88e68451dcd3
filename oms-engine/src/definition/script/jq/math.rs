//! What operators give.

use std::collections::BTreeSet;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use jaq_core::ops::Math;
use jaq_core::{Error, ValR};

use super::budget;
use super::traits::{own_list, own_object};
use super::value::{Kind, Val, truncated};

fn floats(a: &Val, b: &Val) -> Option<(f64, f64)> {
    Some((a.as_float()?, b.as_float()?))
}

impl Add for Val {
    type Output = ValR<Self>;

    fn add(mut self, mut other: Self) -> ValR<Self> {
        budget::step();
        let held = other.inside();
        match (&mut self.kind, &mut other.kind) {
            (Kind::Null, _) => return Ok(other),
            (_, Kind::Null) => return Ok(self),
            (Kind::Int(a), Kind::Int(b)) => {
                if let Some(sum) = a.checked_add(*b) {
                    return Ok(Self::int(sum));
                }
            }
            (Kind::Text(a), Kind::Text(b)) => {
                if Rc::strong_count(a) > 1 {
                    budget::bytes(a.len());
                }
                budget::bytes(b.len());
                Rc::make_mut(a).push_str(b);
                return Ok(self);
            }
            (Kind::List(a), Kind::List(b)) => {
                budget::bytes(32 * b.len());
                own_list(a).extend(b.iter().cloned());
                self.join(held);
                return Ok(self);
            }
            (Kind::Object(a), Kind::Object(b)) => {
                budget::bytes(128 * b.len());
                own_object(a).extend(b.iter().map(|(key, value)| (key.clone(), value.clone())));
                self.join(held);
                return Ok(self);
            }
            _ => {}
        }
        match floats(&self, &other) {
            Some((a, b)) => Ok(Self::number(a + b)),
            None => Err(Error::math(self, Math::Add, other)),
        }
    }
}

impl Val {
    /// A sum is made anew: nothing was looked into to reach it.
    fn join(&mut self, held: u16) {
        self.hold(held);
        let made = std::mem::replace(self, Self::null());
        *self = made.under(0);
    }
}

impl Sub for Val {
    type Output = ValR<Self>;

    fn sub(self, other: Self) -> ValR<Self> {
        budget::step();
        match (&self.kind, &other.kind) {
            (Kind::Int(a), Kind::Int(b)) if a.checked_sub(*b).is_some() => {
                return Ok(Self::int(a.saturating_sub(*b)));
            }
            (Kind::List(a), Kind::List(b)) => {
                let gone: BTreeSet<&Self> = b.iter().collect();
                budget::bytes(32 * b.len());
                return Ok(Self::list(a.iter().filter(|value| !gone.contains(value)).cloned()));
            }
            _ => {}
        }
        match floats(&self, &other) {
            Some((a, b)) => Ok(Self::number(a - b)),
            None => Err(Error::math(self, Math::Sub, other)),
        }
    }
}

impl Mul for Val {
    type Output = ValR<Self>;

    fn mul(self, other: Self) -> ValR<Self> {
        budget::step();
        match (&self.kind, &other.kind) {
            (Kind::Int(a), Kind::Int(b)) if a.checked_mul(*b).is_some() => {
                return Ok(Self::int(a.saturating_mul(*b)));
            }
            (Kind::Text(text), Kind::Int(_) | Kind::Float(_)) => return Ok(repeat(text, &other)),
            (Kind::Int(_) | Kind::Float(_), Kind::Text(text)) => return Ok(repeat(text, &self)),
            (Kind::Object(_), Kind::Object(_)) => return Ok(merge(self, &other)),
            _ => {}
        }
        match floats(&self, &other) {
            Some((a, b)) => Ok(Self::number(a * b)),
            None => Err(Error::math(self, Math::Mul, other)),
        }
    }
}

/// A text several times; null for less than once, as jq has it.
fn repeat(text: &str, times: &Val) -> Val {
    let times = times.as_float().unwrap_or(0.0);
    if times <= 0.0 || times.is_nan() {
        return Val::null();
    }
    let times = usize::try_from(truncated(times.ceil())).unwrap_or(usize::MAX);
    budget::bytes(text.len().saturating_mul(times));
    Val::text(text.repeat(times))
}

/// An object with another's entries, objects in both merged likewise.
fn merge(mut a: Val, b: &Val) -> Val {
    let mut held = b.inside();
    if let (Kind::Object(into), Kind::Object(from)) = (&mut a.kind, &b.kind) {
        let into = own_object(into);
        for (key, value) in from.iter() {
            budget::bytes(128);
            let new = match into.get_mut(key) {
                Some(old)
                    if matches!((&old.kind, &value.kind), (Kind::Object(_), Kind::Object(_))) =>
                {
                    merge(std::mem::replace(old, Val::null()), value)
                }
                _ => value.clone(),
            };
            held = held.max(new.depth());
            into.insert(key.clone(), new);
        }
    }
    a.hold(held);
    a.under(0)
}

impl Div for Val {
    type Output = ValR<Self>;

    fn div(self, other: Self) -> ValR<Self> {
        budget::step();
        if let (Kind::Text(text), Kind::Text(by)) = (&self.kind, &other.kind) {
            budget::steps(text.len() / 16);
            let part = |part: &str| Self::text(part.to_owned());
            return Ok(match (text.is_empty(), by.is_empty()) {
                (true, _) => Self::list([]),
                (_, true) => Self::list(text.chars().map(|c| Self::text(c.to_string()))),
                _ => Self::list(text.split(by.as_str()).map(part)),
            });
        }
        match floats(&self, &other) {
            Some((a, b)) if b != 0.0 => Ok(Self::number(a / b)),
            _ => Err(Error::math(self, Math::Div, other)),
        }
    }
}

impl Rem for Val {
    type Output = ValR<Self>;

    fn rem(self, other: Self) -> ValR<Self> {
        budget::step();
        let whole = |value: &Self| match value.kind {
            Kind::Int(value) => Some(value),
            Kind::Float(value) if !value.is_nan() => Some(truncated(value)),
            _ => None,
        };
        match (whole(&self), whole(&other)) {
            (Some(a), Some(b)) if b != 0 => Ok(Self::int(a.checked_rem(b).unwrap_or(0))),
            _ => Err(Error::math(self, Math::Rem, other)),
        }
    }
}

impl Neg for Val {
    type Output = ValR<Self>;

    fn neg(self) -> ValR<Self> {
        match self.kind {
            Kind::Int(value) if value != i64::MIN => Ok(Self::int(-value)),
            Kind::Int(_) | Kind::Float(_) => Ok(Self::number(-self.as_float().unwrap_or(0.0))),
            _ => Err(Error::typ(self, "number")),
        }
    }
}
