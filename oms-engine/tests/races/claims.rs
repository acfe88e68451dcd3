//! What a claim takes of a queue, wherever that begins for it.

use crate::common::database;
use crate::session::Session;

/// Ready tasks, one of each priority: token ids as they are given.
async fn ready(session: &Session, priorities: &[i16]) -> Vec<i64> {
    let mut tokens = Vec::new();
    for priority in priorities {
        let sql = format!(
            "INSERT INTO oms_engine.open_tasks
                (workflow_id, reference_name, queue, state, priority)
            VALUES (gen_random_uuid(), 'a', 'quick', 0, {priority}) RETURNING id"
        );
        tokens.push(session.number(&sql).await);
    }
    tokens
}

fn sorted(mut tokens: Vec<i64>) -> Vec<i64> {
    tokens.sort_unstable();
    tokens
}

#[tokio::test]
async fn a_claim_passes_over_older_tasks_of_its_priority_alone_and_takes_no_more_than_asked() {
    let database = database().await;
    let session = Session::on(&database).await;
    let holder = session.holder().await;
    // Two of the same priority before the floor, and two behind; one more and one less urgent.
    let tokens = ready(&session, &[5, 9, 5, 1, 5, 5]).await;
    let at = |places: &[usize]| -> Vec<i64> { places.iter().map(|place| tokens[*place]).collect() };
    let from = (5, tokens[4]);
    let most_urgent = session.claim_from("quick", holder, 2, from).await;
    assert_eq!(sorted(most_urgent), at(&[1, 4]));
    let next = session.claim_from("quick", holder, 1, from).await;
    assert_eq!(next, at(&[5]));
    let less_urgent = session.claim_from("quick", holder, 100, from).await;
    assert_eq!(less_urgent, at(&[3]));
    assert!(session.claim_from("quick", holder, 100, from).await.is_empty());
    assert_eq!(sorted(session.claim("quick", holder).await), at(&[0, 2]));
}
