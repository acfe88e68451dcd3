use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Of each article the pieces that are wanted, and those that are free in each warehouse.
type Case = Vec<(i64, Vec<i64>)>;

fn cases(warehouses: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Case> {
    warehouses.prop_flat_map(|warehouses| {
        let shelves = prop::collection::vec(prop_oneof![2 => Just(0), 3 => 0..6_i64], warehouses);
        prop::collection::vec((1..8_i64, shelves), 1..5)
    })
}

fn name(warehouse: usize) -> String {
    format!("w{warehouse:02}")
}

fn asked(case: &Case) -> (Vec<Wanted>, Free) {
    let mut free = Free::default();
    let mut order = Vec::new();
    for (n, (quantity, shelves)) in case.iter().enumerate() {
        let sku = format!("sku{n}");
        for (warehouse, pieces) in shelves.iter().enumerate() {
            free.put(sku.clone(), name(warehouse), *pieces);
        }
        order.push(Wanted { sku, quantity: *quantity });
    }
    (order, free)
}

/// Whether a set of warehouses may have the order, in the words of the rule.
fn may_have(case: &Case, set: &[usize]) -> bool {
    case.iter().all(|(quantity, shelves)| {
        if shelves.iter().any(|free| free >= quantity) {
            set.iter().any(|warehouse| shelves[*warehouse] >= *quantity)
        } else {
            set.iter().map(|warehouse| shelves[*warehouse]).sum::<i64>() >= *quantity
        }
    })
}

/// All sets, each with its warehouses in their order.
fn sets(warehouses: usize) -> Vec<Vec<usize>> {
    (0..warehouses).fold(vec![vec![]], |sets, next| {
        sets.into_iter().flat_map(|set| [set.clone(), [set, vec![next]].concat()]).collect()
    })
}

fn used(pieces: &[Pieces]) -> Vec<String> {
    let names: BTreeSet<&String> = pieces.iter().map(|piece| &piece.warehouse).collect();
    names.into_iter().cloned().collect()
}

/// What holds of every answer, however the warehouses were chosen.
fn assert_sound(case: &Case, pieces: &[Pieces]) {
    for (n, (quantity, shelves)) in case.iter().enumerate() {
        let sku = format!("sku{n}");
        let of: BTreeMap<&str, i64> = pieces
            .iter()
            .filter(|piece| piece.sku == sku)
            .map(|piece| (&*piece.warehouse, piece.quantity))
            .collect();
        assert_eq!(of.len(), pieces.iter().filter(|piece| piece.sku == sku).count());
        assert_eq!(of.values().sum::<i64>(), *quantity, "{sku}");
        for (warehouse, free) in shelves.iter().enumerate() {
            let taken = of.get(&*name(warehouse));
            assert!(taken.is_none_or(|taken| (1..=*free).contains(taken)), "{sku}: {pieces:?}");
        }
        let in_one = shelves.iter().any(|free| free >= quantity);
        assert!(!in_one || of.len() == 1, "{sku} is split needlessly: {pieces:?}");
    }
}

fn shorts(case: &Case) -> Vec<String> {
    let short = |(_, (quantity, shelves)): &(usize, &(i64, Vec<i64>))| {
        shelves.iter().sum::<i64>() < *quantity
    };
    case.iter().enumerate().filter(short).map(|(n, _)| format!("sku{n}")).collect()
}

proptest! {
    #[test]
    fn the_fewest_warehouses_are_chosen_of_all_sets_that_there_are(case in cases(1..=6)) {
        let (order, free) = asked(&case);
        let best = sets(case[0].1.len())
            .into_iter()
            .filter(|set| may_have(&case, set))
            .min_by_key(|set| (set.len(), set.clone()));
        match split(&order, &free) {
            Ok(pieces) => {
                assert_sound(&case, &pieces);
                let best: Vec<String> = best.unwrap().into_iter().map(name).collect();
                prop_assert_eq!(used(&pieces), best);
            }
            Err(short) => {
                prop_assert!(best.is_none());
                prop_assert_eq!(short, shorts(&case));
            }
        }
    }

    #[test]
    fn of_many_warehouses_none_that_is_chosen_could_be_left_out(case in cases(13..=40)) {
        let (order, free) = asked(&case);
        match split(&order, &free) {
            Ok(pieces) => {
                assert_sound(&case, &pieces);
                prop_assert_eq!(split(&order, &free), Ok(pieces.clone()));
                let all = case[0].1.len();
                let chosen: Vec<usize> =
                    (0..all).filter(|n| used(&pieces).contains(&name(*n))).collect();
                for one in &chosen {
                    let rest: Vec<usize> = chosen.iter().copied().filter(|n| n != one).collect();
                    prop_assert!(!may_have(&case, &rest), "without {one}: {pieces:?}");
                }
                let has_all = |n| case.iter().all(|(quantity, shelves)| shelves[n] >= *quantity);
                if (0..all).any(has_all) {
                    prop_assert_eq!(chosen.len(), 1, "one has all of it");
                }
            }
            Err(short) => prop_assert_eq!(short, shorts(&case)),
        }
    }

    #[test]
    fn the_short_way_is_right_where_all_sets_can_be_looked_at(case in cases(1..=6)) {
        let (order, free) = asked(&case);
        let offers: Vec<Offer<'_>> = order.iter().map(|wanted| Offer::new(wanted, &free)).collect();
        if shorts(&case).is_empty() {
            let names: Vec<String> = (0..case[0].1.len()).map(name).collect();
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            let (few, fewest) = (few(&names, &offers), fewest(&names, &offers));
            prop_assert!(are_enough(&few, &offers) && few.len() >= fewest.len());
            let pieces: Vec<Pieces> = offers.iter().flat_map(|offer| offer.from(&few)).collect();
            assert_sound(&case, &pieces);
        }
    }

    #[test]
    fn what_is_taken_is_not_there_any_more_and_who_gets_nothing_takes_nothing(case in cases(1..=5)) {
        let (order, mut free) = asked(&case);
        let before = free.clone();
        let total = |free: &Free| free.0.values().flat_map(BTreeMap::values).sum::<i64>();
        let Ok(taken) = free.take(&order) else {
            prop_assert_eq!(free, before);
            return Ok(());
        };
        let pieces: i64 = taken.iter().map(|one| one.quantity).sum();
        prop_assert_eq!(total(&before) - total(&free), pieces);
        prop_assert!(free.0.values().flat_map(BTreeMap::values).all(|free| *free >= 0));
    }
}

#[test]
fn an_article_that_nobody_has_is_short_and_each_is_named_once() {
    let order = ["tea", "cup", "tea"].map(|sku| Wanted { sku: sku.to_owned(), quantity: 1 });
    assert_eq!(split(&order, &Free::default()), Err(vec!["cup".to_owned(), "tea".to_owned()]));
}
