//! From which warehouses the pieces of an order come.
//!
//! The rule: an article comes from one warehouse, unless none has all of its pieces; as few warehouses as
//! can be have a share in an order; among sets of the same size the one whose names come first is taken.
//! An article that must come from several is taken from the fullest shelf first.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Up to so many warehouses all sets of them are looked at, which finds the fewest; there are 4,095. Of more
/// warehouses that have something to give, which few orders meet, the one that helps most is added until
/// there is enough, and who is not needed in the end is left out: mostly the fewest, not always.
const EXACT_MAX: usize = 12;

/// Pieces of an article that an order wants, summed over its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) sku: String,
    pub(crate) quantity: i64,
}

/// Pieces of an article that come from a warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pieces {
    pub(crate) sku: String,
    pub(crate) warehouse: String,
    pub(crate) quantity: i64,
}

/// Free pieces, by article and warehouse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Free(BTreeMap<String, BTreeMap<String, i64>>);

impl Free {
    /// What is free on a shelf.
    pub(crate) fn put(&mut self, sku: String, warehouse: String, pieces: i64) {
        self.0.entry(sku).or_default().insert(warehouse, pieces);
    }

    /// Takes the pieces of an order, or says of which articles there are too few; then nothing is taken.
    pub(crate) fn take(&mut self, order: &[Wanted]) -> Result<Vec<Pieces>, Vec<String>> {
        let taken = split(order, self)?;
        for Pieces { sku, warehouse, quantity } in &taken {
            if let Some(free) = self.0.get_mut(sku).and_then(|of| of.get_mut(warehouse)) {
                *free -= quantity;
            }
        }
        Ok(taken)
    }
}

/// Where the pieces of an order come from, each article named once; or the articles of which there are too
/// few in all warehouses together.
pub(crate) fn split(order: &[Wanted], free: &Free) -> Result<Vec<Pieces>, Vec<String>> {
    let offers: Vec<Offer<'_>> = order.iter().map(|wanted| Offer::new(wanted, free)).collect();
    let short = offers.iter().filter(|offer| offer.missing(|_| true) > 0);
    let short: BTreeSet<String> = short.map(|offer| offer.wanted.sku.clone()).collect();
    if !short.is_empty() {
        return Err(short.into_iter().collect());
    }
    let names: BTreeSet<&str> =
        offers.iter().flat_map(|offer| offer.shelves.keys().copied()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let chosen =
        if names.len() <= EXACT_MAX { fewest(&names, &offers) } else { few(&names, &offers) };
    Ok(offers.iter().flat_map(|offer| offer.from(&chosen)).collect())
}

/// What can be had of an article.
#[derive(Debug)]
struct Offer<'a> {
    wanted: &'a Wanted,
    /// Free pieces by warehouse. Where some have all that is wanted, only these: then one of them is needed,
    /// and one is enough.
    shelves: BTreeMap<&'a str, i64>,
}

impl<'a> Offer<'a> {
    fn new(wanted: &'a Wanted, free: &'a Free) -> Self {
        let all = free.0.get(&wanted.sku).into_iter().flatten();
        let mut shelves: BTreeMap<&str, i64> = all
            .map(|(warehouse, free)| (&**warehouse, *free))
            .filter(|(_, free)| *free > 0)
            .collect();
        if shelves.values().any(|free| *free >= wanted.quantity) {
            shelves.retain(|_, free| *free >= wanted.quantity);
        }
        Self { wanted, shelves }
    }

    /// Pieces that these warehouses have not got.
    fn missing(&self, among: impl Fn(&str) -> bool) -> i64 {
        let theirs = self.shelves.iter().filter(|(warehouse, _)| among(warehouse));
        let pieces = theirs.fold(0_i64, |sum, (_, free)| sum.saturating_add(*free));
        self.wanted.quantity.saturating_sub(pieces).max(0)
    }

    /// The pieces, from these warehouses, which have enough.
    fn from(&self, chosen: &[&str]) -> Vec<Pieces> {
        let mut theirs: Vec<(&str, i64)> =
            chosen.iter().filter_map(|name| Some((*name, *self.shelves.get(name)?))).collect();
        theirs.sort_by_key(|(name, free)| (Reverse(*free), *name));
        let mut left = self.wanted.quantity;
        let mut pieces = Vec::with_capacity(1);
        for (warehouse, free) in theirs {
            let quantity = free.min(left);
            if quantity > 0 {
                left -= quantity;
                let (sku, warehouse) = (self.wanted.sku.clone(), warehouse.to_owned());
                pieces.push(Pieces { sku, warehouse, quantity });
            }
        }
        pieces
    }
}

fn are_enough(chosen: &[&str], offers: &[Offer<'_>]) -> bool {
    offers.iter().all(|offer| offer.missing(|name| chosen.contains(&name)) == 0)
}

/// The smallest set that is enough; of several the one whose names come first.
fn fewest<'a>(names: &[&'a str], offers: &[Offer<'_>]) -> Vec<&'a str> {
    // A set is a number in which the first name has the highest bit: of two sets of one size that whose names
    // come first is the greater.
    let sets = 1_u32 << names.len();
    let of = |set: u32| -> Vec<&'a str> {
        let bits = (0..names.len()).rev().map(|bit| set >> bit & 1 == 1);
        names.iter().zip(bits).filter(|(_, is_in)| *is_in).map(|(name, _)| *name).collect()
    };
    let sizes = 1..=names.len();
    let mut found = sizes.filter_map(|size| {
        let of_size = (0..sets).rev().filter(|set| set.count_ones() as usize == size);
        of_size.map(of).find(|chosen| are_enough(chosen, offers))
    });
    found.next().unwrap_or_default()
}

/// A small set that is enough, of which none can be left out.
fn few<'a>(names: &[&'a str], offers: &[Offer<'_>]) -> Vec<&'a str> {
    let mut chosen: Vec<&str> = Vec::new();
    while !are_enough(&chosen, offers) {
        let others = names.iter().filter(|name| !chosen.contains(name));
        let Some(next) = others.max_by_key(|name| (help(name, &chosen, offers), Reverse(**name)))
        else {
            break;
        };
        chosen.push(next);
    }
    // Who came later may have made an earlier one needless.
    for name in chosen.clone() {
        let rest: Vec<&str> = chosen.iter().copied().filter(|other| *other != name).collect();
        if are_enough(&rest, offers) {
            chosen = rest;
        }
    }
    chosen
}

/// How many articles one more warehouse would complete, and how many pieces it would bring.
fn help(name: &str, chosen: &[&str], offers: &[Offer<'_>]) -> (usize, i64) {
    offers.iter().fold((0, 0), |(articles, pieces): (usize, i64), offer| {
        let missing = offer.missing(|other| chosen.contains(&other));
        let brings = missing.min(offer.shelves.get(name).copied().unwrap_or(0));
        let completes = usize::from(missing > 0 && brings == missing);
        (articles + completes, pieces.saturating_add(brings))
    })
}
