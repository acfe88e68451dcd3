use futures_util::FutureExt as _;

use super::*;

fn slots() -> Arc<Slots> {
    let of =
        |queue: &str, free, name: &str| (queue.to_owned(), OfQueue { free, name: name.to_owned() });
    Slots::new(3, BTreeMap::from([of("a", 2, "a"), of("b", 9, "b"), of("eu:b", 9, "b")]))
}

fn limits(version: i64, names: &[(&str, Option<i32>)]) -> LimitsInForce {
    let names = names.iter().map(|(name, most)| ((*name).to_owned(), *most)).collect();
    LimitsInForce { version, names }
}

#[test]
fn neither_bound_is_passed_and_a_dropped_slot_comes_back() {
    let slots = slots();
    let a = slots.reserve(&"a".into(), 5, 5);
    let b = slots.reserve(&"b".into(), 5, 5);
    assert_eq!((a.len(), b.len(), slots.free()), (2, 1, 0));
    drop(a);
    assert_eq!((slots.free(), slots.reserve(&"a".into(), 5, 5).len()), (2, 2));
}

#[test]
fn an_unknown_queue_and_a_closed_door_give_none() {
    let slots = slots();
    assert!(slots.reserve(&"c".into(), 1, 1).is_empty() && !slots.serves("c"));
    slots.close();
    assert!(slots.reserve(&"a".into(), 1, 1).is_empty());
}

#[test]
fn what_has_a_limit_is_never_handed_over_in_whatever_queue() {
    let slots = slots();
    slots.set_limits(limits(4, &[("b", Some(2)), ("c", None)]));
    assert!(slots.reserve_at_once(&"a".into()).is_some());
    assert!(
        slots.reserve_at_once(&"b".into()).is_none()
            && slots.reserve_at_once(&"eu:b".into()).is_none()
    );
    assert_eq!(slots.limit_of("eu:b"), Some(("b".to_owned(), Some(2))));
    assert_eq!(slots.limited_queues("b"), ["b", "eu:b"]);
    assert_eq!(slots.limited_queues("a"), Vec::<String>::new());
    for queue in ["c", "eu:c", "c@space", "eu:c@space-group", "c-group"] {
        assert_eq!(slots.limited_by(queue).as_deref(), Some("c"), "{queue}");
    }
    assert_eq!(slots.limited_by("cc"), None);
}

#[tokio::test]
async fn limits_are_seen_when_nobody_decides_by_older_ones() {
    let slots = slots();
    slots.set_limits(limits(1, &[]));
    assert_eq!(slots.limits_seen(-1).await, 1);
    let (one, other) = (slots.by_limits(), slots.by_limits());
    slots.set_limits(limits(2, &[("a", None)]));
    let newer = slots.by_limits();
    let mut seen = std::pin::pin!(slots.limits_seen(1));
    assert!(seen.as_mut().now_or_never().is_none());
    drop((one, newer));
    assert!(seen.as_mut().now_or_never().is_none());
    drop(other);
    assert_eq!(seen.await, 2);
    assert!(slots.limits_seen(2).now_or_never().is_none());
}

#[test]
fn those_who_wait_from_afar_get_what_they_ask_for_beside_the_own_slots() {
    let slots = slots();
    assert!(slots.ask("c", "c", 2) && !slots.ask("c", "c", 1));
    assert!(slots.serves("c") && !slots.has_own("c") && !slots.is_full("c"));
    let mut got = slots.reserve(&"c".into(), 0, 9);
    assert_eq!((got.len(), slots.free(), slots.is_full("c")), (3, 3, true));
    got[0].used();
    got[0].used();
    drop(got.remove(0));
    drop(got.remove(0));
    assert_eq!(slots.reserve(&"c".into(), 0, 9).len(), 1, "one has his task, one is on the way");
    slots.unask("c", 1);
    drop(got);
    assert_eq!(slots.reserve(&"c".into(), 0, 9).len(), 1);
    slots.ask("a", "a", 4);
    let both = slots.reserve(&"a".into(), 9, 5);
    assert_eq!(both.iter().filter(|slot| slot.is_remote()).count(), 3);
}

#[test]
fn older_limits_do_not_replace_newer_ones() {
    let slots = slots();
    slots.set_limits(limits(4, &[("a", Some(2))]));
    slots.set_limits(limits(3, &[]));
    assert!(slots.limit_of("a").is_some());
    slots.set_limits(limits(5, &[]));
    assert!(slots.limit_of("a").is_none());
}
