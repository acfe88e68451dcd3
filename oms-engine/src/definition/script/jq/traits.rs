//! What the interpreter asks of values.

use std::rc::Rc;

use jaq_core::box_iter::{BoxIter, box_once};
use jaq_core::path::Opt;
use jaq_core::{Error, Exn, ValR, ValX, val};

use super::budget;
use super::value::{Kind, List, Object, Val, truncated};

/// Elements of a list that an assignment beyond its end may fill up with null.
const FILL_MAX: usize = 1_000_000;

type Range<'a> = val::Range<&'a Val>;

impl From<bool> for Val {
    fn from(value: bool) -> Self {
        Self::bool(value)
    }
}

impl From<isize> for Val {
    fn from(value: isize) -> Self {
        Self::int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Val {
    fn from(value: usize) -> Self {
        Self::int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Val {
    fn from(value: f64) -> Self {
        Self::number(value)
    }
}

impl From<String> for Val {
    fn from(value: String) -> Self {
        Self::text(value)
    }
}

impl From<val::Range<Self>> for Val {
    fn from(range: val::Range<Self>) -> Self {
        let bounds = [("start", range.start), ("end", range.end)];
        Self::object(bounds.into_iter().map(|(key, bound)| (key, bound.unwrap_or(Self::null()))))
    }
}

impl FromIterator<Self> for Val {
    fn from_iter<I: IntoIterator<Item = Self>>(values: I) -> Self {
        Self::list(values)
    }
}

impl jaq_core::ValT for Val {
    fn from_num(number: &str) -> ValR<Self> {
        if let Ok(value) = number.parse() {
            return Ok(Self::int(value));
        }
        number.parse().map(Self::float).map_err(Error::str)
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(pairs: I) -> ValR<Self> {
        let mut object = Object::new();
        let mut depth = 0;
        for (key, value) in pairs {
            let Some(name) = key.as_text() else { return Err(Error::typ(key, "object key")) };
            budget::bytes(128 + name.len());
            depth = depth.max(value.depth());
            object.insert(Rc::from(name), value);
        }
        Ok(Self::of_object(object, depth))
    }

    fn key_values(self) -> BoxIter<'static, ValR<(Self, Self), Self>> {
        let below = self.below();
        match self.kind {
            Kind::List(list) => Box::new((0..list.len()).filter_map(move |n| {
                list.get(n).map(|value| Ok((Self::from(n), value.clone().under(below))))
            })),
            Kind::Object(object) => {
                let keys: Vec<Rc<str>> = object.keys().cloned().collect();
                budget::bytes(keys.len() * 16);
                Box::new(keys.into_iter().filter_map(move |key| {
                    let value = object.get(&key)?.clone().under(below);
                    Some(Ok((Self::text(key.as_ref().to_owned()), value)))
                }))
            }
            _ => box_once(Err(Error::typ(self, "iterable (array or object)"))),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Self>>> {
        match self.kind {
            Kind::Object(_) => Box::new(self.key_values().map(|pair| pair.map(|(_, value)| value))),
            Kind::List(_) => {
                let below = self.below();
                let Kind::List(list) = self.kind else { return Box::new(std::iter::empty()) };
                let each = (0..list.len()).filter_map(move |n| list.get(n).cloned());
                Box::new(each.map(move |value| Ok(value.under(below))))
            }
            _ => box_once(Err(Error::typ(self, "iterable (array or object)"))),
        }
    }

    fn index(self, index: &Self) -> ValR<Self> {
        budget::step();
        let below = self.below();
        let found = match (&self.kind, &index.kind) {
            (Kind::Null, Kind::Null | Kind::Int(_) | Kind::Float(_) | Kind::Text(_)) => None,
            (Kind::Null | Kind::List(_) | Kind::Text(_), Kind::Object(bounds)) => {
                let range = bounds.get("start")..bounds.get("end");
                return self.range(range);
            }
            (Kind::List(list), Kind::Int(_) | Kind::Float(_)) => {
                position(index, list.len()).and_then(|at| list.get(at))
            }
            (Kind::List(list), Kind::List(part)) => {
                return Ok(Self::list(super::natives::places(list, part)));
            }
            (Kind::Object(object), Kind::Text(key)) => object.get(key.as_str()),
            _ => return Err(Error::index(self, index.clone())),
        };
        Ok(found.cloned().unwrap_or_else(Self::null).under(below))
    }

    fn range(self, range: Range<'_>) -> ValR<Self> {
        budget::step();
        let below = self.below();
        let cut = match &self.kind {
            Kind::Null => Self::null(),
            Kind::List(list) => {
                let (from, upto) = bounds(&range, list.len())?;
                Self::list(list.iter().skip(from).take(upto - from).cloned())
            }
            Kind::Text(text) => Self::text(cut_text(text, &range)?.1),
            _ => return Err(Error::typ(self, "rangeable (array or string)")),
        };
        Ok(cut.under(below))
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        match self.kind {
            Kind::List(list) => {
                let each = (0..list.len()).filter_map(|n| list.get(n).cloned());
                each.flat_map(f).collect()
            }
            Kind::Object(object) => {
                let mut mapped = Object::new();
                let mut depth = 0;
                for (key, value) in object.iter() {
                    if let Some(value) = f(value.clone()).next().transpose()? {
                        budget::bytes(128);
                        depth = depth.max(value.depth());
                        mapped.insert(key.clone(), value);
                    }
                }
                Ok(Self::of_object(mapped, depth))
            }
            _ => opt.fail(self, |value| Exn::from(Error::typ(value, "iterable (array or object)"))),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        mut self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        budget::step();
        if let (Kind::Null | Kind::List(_), Kind::Object(bounds)) = (&self.kind, &index.kind) {
            return self.map_range(bounds.get("start")..bounds.get("end"), opt, f);
        }
        // Null is an empty container of the kind that is asked for.
        if matches!(self.kind, Kind::Null) {
            self = match index.kind {
                Kind::Text(_) => Self::of_object(Object::new(), 0),
                Kind::Int(_) | Kind::Float(_) => Self::of_list(List::new(), 0),
                _ => self,
            };
        }
        match (&mut self.kind, &index.kind) {
            (Kind::Object(object), Kind::Text(key)) => {
                let object = own_object(object);
                let old =
                    object.get_mut(key.as_str()).map(|old| std::mem::replace(old, Self::null()));
                let new = f(old.unwrap_or_else(Self::null)).next().transpose()?;
                let Some(new) = new else {
                    object.remove(key.as_str());
                    return Ok(self);
                };
                let depth = new.depth();
                budget::bytes(128 + key.len());
                object.insert(Rc::from(key.as_str()), new);
                self.hold(depth);
                Ok(self)
            }
            (Kind::List(list), Kind::Int(_) | Kind::Float(_)) => {
                let out = || Exn::from(Error::str("out of bounds negative array index"));
                let Some(at) = writable(index, list.len()) else {
                    return opt.fail(self, |_| out());
                };
                let list = own_list(list);
                let old = list.get_mut(at).map(|old| std::mem::replace(old, Self::null()));
                let Some(new) = f(old.unwrap_or_else(Self::null)).next().transpose()? else {
                    if at < list.len() {
                        budget::steps(list.len() - at);
                        list.remove(at);
                    }
                    return Ok(self);
                };
                let depth = new.depth();
                while list.len() <= at {
                    budget::bytes(32);
                    list.push(Self::null());
                }
                if let Some(place) = list.get_mut(at) {
                    *place = new;
                }
                self.hold(depth);
                Ok(self)
            }
            _ => opt.fail(self, |value| Exn::from(Error::index(value, index.clone()))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        mut self,
        range: Range<'_>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        budget::step();
        if matches!(self.kind, Kind::Null) {
            self = Self::of_list(List::new(), 0);
        }
        let Kind::List(list) = &mut self.kind else {
            return opt.fail(self, |value| Exn::from(Error::typ(value, "array")));
        };
        let (from, upto) = match bounds(&range, list.len()) {
            Ok(bounds) => bounds,
            Err(error) => return opt.fail(self, |_| Exn::from(error)),
        };
        let part = Self::list(list.iter().skip(from).take(upto - from).cloned());
        let new = f(part).next().transpose()?.unwrap_or_else(|| Self::of_list(List::new(), 0));
        let depth = new.inside();
        let Kind::List(new) = new.kind else {
            return Err(Exn::from(Error::str("a slice of an array is assigned an array alone")));
        };
        budget::bytes(32 * (list.len() + new.len()));
        own_list(list).splice(from..upto, new.iter().cloned());
        self.hold(depth);
        Ok(self)
    }

    fn as_bool(&self) -> bool {
        !matches!(self.kind, Kind::Null | Kind::Bool(false))
    }

    fn into_string(self) -> Self {
        match self.kind {
            Kind::Text(_) => self,
            _ => Self::text(self.to_string()),
        }
    }
}

impl jaq_std::ValT for Val {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match self.kind {
            Kind::List(list) => {
                budget::bytes(32 * list.len());
                Ok(list.iter().cloned().collect())
            }
            _ => Err(self),
        }
    }

    fn is_int(&self) -> bool {
        matches!(self.kind, Kind::Int(_))
    }

    fn as_isize(&self) -> Option<isize> {
        match self.kind {
            Kind::Int(value) => isize::try_from(value).ok(),
            _ => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        self.as_float()
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self.kind, Kind::Text(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        let text = self.as_text()?;
        // Whoever asks goes through it.
        budget::steps(text.len() / 16);
        Some(text.as_bytes())
    }

    fn as_sub_str(&self, sub: &[u8]) -> Self {
        Self::text(String::from_utf8_lossy(sub).into_owned())
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::text(String::from_utf8_lossy(bytes.as_ref()).into_owned())
    }
}

/// A list to change; it is copied where it is shared.
pub(super) fn own_list(list: &mut Rc<List>) -> &mut List {
    if Rc::strong_count(list) > 1 {
        budget::bytes(32 * list.len());
    }
    Rc::make_mut(list)
}

pub(super) fn own_object(object: &mut Rc<Object>) -> &mut Object {
    if Rc::strong_count(object) > 1 {
        budget::bytes(128 * object.len());
    }
    Rc::make_mut(object)
}

/// Where an index points in a list of this length; negative ones count from its end.
fn position(index: &Val, len: usize) -> Option<usize> {
    let index = index.as_index()?;
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

fn writable(index: &Val, len: usize) -> Option<usize> {
    let at = position(index, len)?;
    if at > len.saturating_add(FILL_MAX) {
        budget::stop(budget::Spent::Bytes);
    }
    Some(at)
}

/// The bounds of a slice, the first one at most the second.
fn bounds(range: &Range<'_>, len: usize) -> Result<(usize, usize), Error<Val>> {
    let bound = |bound: Option<&Val>, absent: usize, up: bool| match bound {
        None | Some(Val { kind: Kind::Null, .. }) => Ok(absent),
        Some(value) => {
            let Some(number) = value.as_float() else {
                return Err(Error::str("start and end of a slice are numbers"));
            };
            let number = if up { number.ceil() } else { number.floor() };
            let at = position(&Val::int(truncated(number)), len).unwrap_or(0);
            Ok(at.min(len))
        }
    };
    let from = bound(range.start, 0, false)?;
    Ok((from, bound(range.end, len, true)?.max(from)))
}

/// The part of a text that a range of characters names, with what is before and behind it.
fn cut_text(text: &str, range: &Range<'_>) -> Result<(String, String, String), Error<Val>> {
    budget::steps(text.len() / 8);
    let (from, upto) = bounds(range, text.chars().count())?;
    let mut chars = text.chars();
    let before = chars.by_ref().take(from).collect();
    let part = chars.by_ref().take(upto - from).collect();
    Ok((before, part, chars.collect()))
}
