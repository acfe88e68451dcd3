use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn read(input: &Value) -> Result<HttpRequest, String> {
    HttpRequest::read(input)
}

#[test]
fn a_request_stands_under_its_key_or_at_the_top() {
    let given = json!({
        "uri": "https://a.test/x", "method": "put", "body": {"a": 1}, "readTimeOut": "50", "connectionTimeOut": 0,
        "headers": {"X-A": "1", "Accept": "text/plain", "X-List": ["a", 2, true]}, "asyncComplete": true,
    });
    let request = read(&json!({"http_request": given})).unwrap();
    assert_eq!(read(&given), Ok(request.clone()));
    assert_eq!((request.uri.as_str(), request.method.as_str()), ("https://a.test/x", "PUT"));
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("accept", "text/plain"),
        ("content-type", "application/json"),
        ("x-a", "1"),
        ("x-list", "a"),
        ("x-list", "2"),
        ("x-list", "true"),
    ];
    assert_eq!(headers, expected);
    assert_eq!(request.body.as_deref(), Some(br#"{"a":1}"#.as_slice()));
    assert_eq!(request.read_max, Some(Duration::from_millis(50)));
    assert_eq!(request.connect_max, None);
    assert_eq!(request.async_complete, Some(true));
}

#[test]
fn what_is_not_said_is_conductors_default() {
    let request = read(&json!({"uri": "http://a", "method": "GET"})).unwrap();
    assert_eq!(request.read_max, Some(Duration::from_secs(3)));
    assert_eq!(request.connect_max, Some(Duration::from_secs(3)));
    assert_eq!(request.headers, [("accept".to_owned(), "application/json".to_owned())]);
    assert_eq!((request.body, request.async_complete), (None, None));
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let table = [
        (json!({}), "Missing HTTP request"),
        (json!({"http_request": "x"}), "Missing HTTP request"),
        (json!({"http_request": {"method": "GET"}}), "Missing HTTP URI"),
        (json!({"uri": "http://a"}), "No HTTP method"),
        (json!({"uri": "ftp://a", "method": "GET"}), "write http://"),
        (json!({"uri": "http://a\r\nx: y", "method": "GET"}), "control character"),
        (json!({"uri": "http://a", "method": "CONNECT"}), "is no method"),
        (json!({"uri": "http://a", "method": "GET", "headers": {"a": "b\r\nc: d"}}), "control"),
        (json!({"uri": "http://a", "method": "GET", "headers": {"a": "b\0"}}), "control"),
        (json!({"uri": "http://a", "method": "GET", "headers": {"a b": "c"}}), "no name"),
        (
            json!({"uri": "http://a", "method": "GET", "headers": {"Host": "c"}}),
            "the client itself",
        ),
        (json!({"uri": "http://a", "method": "GET", "headers": []}), "write an object"),
        (json!({"uri": "http://a", "method": "GET", "readTimeOut": -1}), "milliseconds"),
    ];
    for (input, why) in table {
        let error = read(&input).expect_err("it is refused");
        assert!(error.contains(why), "{input}: {error}");
    }
}

#[test]
fn what_is_written_out_is_checked_before_it_runs() {
    let input = json!({"http_request": {
        "uri": "file:///etc", "method": "STEAL", "headers": {"a": "b\nc", "Host": "${x}"}, "readTimeOut": "soon",
    }});
    let faults = check_request(input.as_object().unwrap());
    let keys: Vec<&str> = faults.iter().map(|(key, _)| key.as_str()).collect();
    let expected = [
        "http_request.uri",
        "http_request.method",
        "http_request.headers.a",
        "http_request.readTimeOut",
    ];
    assert_eq!(keys, expected);
    let input = json!({"uri": "${workflow.input.u}", "method": "${workflow.input.m}"});
    assert_eq!(check_request(input.as_object().unwrap()), []);
}

#[test]
fn an_answer_is_json_where_it_says_so_and_can_be_read() {
    let answer = |status, kind: &str, body: &str| HttpAnswer {
        status,
        reason: "R".to_owned(),
        headers: vec![
            ("content-type".to_owned(), kind.to_owned()),
            ("a".to_owned(), "1".to_owned()),
            ("a".to_owned(), "2".to_owned()),
        ],
        body: body.as_bytes().to_vec(),
    };
    let table = [
        ("application/json", "[1]", json!([1])),
        ("application/json; charset=utf-8", "5", json!(5)),
        ("application/problem+json", "{}", json!({})),
        ("application/json", "{", json!("{")),
        ("text/plain", "[1]", json!("[1]")),
        ("text/plain", "", Value::Null),
    ];
    for (kind, text, body) in table {
        let HttpEnd::Completed(output) = end_of(answer(204, kind, text), false) else {
            panic!("{kind} {text}");
        };
        assert_eq!(output["response"]["body"], body, "{kind} {text}");
        assert_eq!(output["response"]["headers"]["a"], json!(["1", "2"]));
        assert_eq!(output["response"]["statusCode"], 204);
        assert_eq!(output["response"]["reasonPhrase"], "R");
    }
    assert!(matches!(end_of(answer(202, "", ""), true), HttpEnd::Waits(_)));
    let failed = [
        (500, "text/plain", "no luck", "no luck"),
        (404, "application/json", "{\"a\":[1]}", "{a=[1]}"),
        (302, "", "", "No response from the remote service"),
    ];
    for (status, kind, body, expected) in failed {
        let HttpEnd::Failed { reason, output } = end_of(answer(status, kind, body), true) else {
            panic!("{status}");
        };
        assert_eq!(reason, expected);
        assert_eq!(output["response"]["statusCode"], status);
    }
}
