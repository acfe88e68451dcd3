//! Lists of runs: filters and pages.

use crate::common::script::{Work, told};
use crate::common::{database, line, wait};
use oms_engine::{Engine, ListRequest, StartRequest, TaskError, WorkflowId, WorkflowStatus};
use serde_json::{Value, json};

async fn ids(engine: &Engine, change: impl FnOnce(&mut ListRequest)) -> Vec<WorkflowId> {
    let mut request = ListRequest::default();
    change(&mut request);
    let page = engine.list(&request).await.unwrap();
    page.results.iter().map(|run| run.workflow_id).collect()
}

#[tokio::test]
async fn filters_are_all_heeded_and_pages_follow_each_other_without_a_gap() {
    let database = database().await;
    let work = Work::new(|_, input: Value| async move {
        if input["from_start"] == 0 { Err(TaskError::terminal("zero")) } else { Ok(json!({})) }
    });
    let engine = told(&database).task(work).build().await.unwrap();
    for name in ["a", "b"] {
        engine.register_workflow(&line(name, &["work"])).await.unwrap();
    }
    let mut started = Vec::new();
    for n in 0..7 {
        let request =
            StartRequest::new(if n < 4 { "a" } else { "b" }).input(json!({"value": n % 2}));
        let request = request.correlation_id(format!("c{}", n % 3)).priority(n);
        started.push(engine.start(request).await.unwrap().id);
    }
    for id in &started {
        wait(&engine, *id).await;
    }
    let newest_first =
        |wanted: &[usize]| wanted.iter().rev().map(|n| started[*n]).collect::<Vec<_>>();
    assert_eq!(ids(&engine, |_| {}).await, newest_first(&[0, 1, 2, 3, 4, 5, 6]));
    let named = ids(&engine, |r| r.name = Some("a".to_owned())).await;
    assert_eq!(named, newest_first(&[0, 1, 2, 3]));
    let failed = ids(&engine, |r| r.statuses = vec![WorkflowStatus::Failed]).await;
    assert_eq!(failed, newest_first(&[0, 2, 4, 6]));
    let either = vec![WorkflowStatus::Failed, WorkflowStatus::Completed];
    assert_eq!(ids(&engine, |r| r.statuses = either).await.len(), 7);
    let both = ids(&engine, |r| {
        r.correlation_id = Some("c0".to_owned());
        r.name = Some("a".to_owned());
    });
    assert_eq!(both.await, newest_first(&[0, 3]));
    let fourth = engine.get(started[3]).await.unwrap().create_time;
    let (from, before) = (Some(fourth), Some(fourth));
    assert_eq!(ids(&engine, |r| r.created_from = from).await, newest_first(&[3, 4, 5, 6]));
    assert_eq!(ids(&engine, |r| r.created_before = before).await, newest_first(&[0, 1, 2]));
    let mut request = ListRequest::default();
    request.size = 3;
    let mut paged = Vec::new();
    loop {
        let page = engine.list(&request).await.unwrap();
        paged.push(page.results.len());
        request.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(paged, [3, 3, 1]);
    let first = engine.list(&ListRequest::default()).await.unwrap().results.remove(6);
    assert_eq!((first.priority, first.workflow_type.as_str(), first.version), (0, "a", 1));
    assert!(first.reason_for_incompletion.unwrap().contains("zero") && first.end_time.is_some());
    request.size = 1_001;
    let refused = engine.list(&request).await.unwrap_err().to_string();
    assert_eq!(refused, "size refused: 1001 is more than 1000");
    let mut nul = ListRequest::default();
    nul.name = Some("a\0".to_owned());
    assert!(engine.list(&nul).await.unwrap_err().to_string().contains("NUL"));
}
