//! Many runs at once, over HTTP.

use serde_json::{Value, json};

use crate::running::server;

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_runs_is_done_by_itself_and_what_is_refused_is_listed() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let ids = [server.start_workflow("line"), server.start_workflow("line")];
    let with_none = json!([ids[0], "none", ids[1]]);
    let done = |answered: crate::running::Answered| {
        let body = answered.expect(200).json();
        let refused = body["bulkErrorResults"].as_object().unwrap().len();
        (body["bulkSuccessfulResults"].clone(), refused)
    };
    let both = json!(ids);
    let put = |what: &str| server.put(&format!("/api/workflow/bulk/{what}"), &with_none);
    let post = |what: &str| server.post(&format!("/api/workflow/bulk/{what}"), &with_none);
    assert_eq!(done(put("pause")), (both.clone(), 1));
    assert_eq!(server.run(&ids[1])["status"], json!("PAUSED"));
    assert_eq!(done(put("resume")), (both.clone(), 1));
    assert_eq!(done(put("resume")), (json!([]), 3));
    assert_eq!(done(post("retry")), (json!([]), 3));
    assert_eq!(done(post("terminate?reason=enough")), (both.clone(), 1));
    assert_eq!(server.run(&ids[0])["reasonForIncompletion"], json!("enough"));
    assert_eq!(done(post("retry")), (both.clone(), 1));
    assert_eq!(done(post("terminate")), (both.clone(), 1));
    assert_eq!(done(post("restart?useLatestDefinitions=true")), (both, 1));
    assert_eq!(server.run(&ids[0])["status"], json!("RUNNING"));
    let many: Vec<Value> = (0..1_001).map(|n| json!(n.to_string())).collect();
    server.put("/api/workflow/bulk/pause", &json!(many)).expect(400);
}
