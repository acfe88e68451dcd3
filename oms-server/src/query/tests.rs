use oms_engine::{SortOrder, TextQuery, TimeRange};

use super::*;

type Read = (String, &'static str, Vec<String>);

fn read(text: &str) -> Result<Vec<Read>, String> {
    let all = clauses(text).map_err(|refusal| refusal.message)?;
    Ok(all.into_iter().map(|c| (c.field, c.operator.text(), c.values)).collect())
}

#[track_caller]
fn reads(text: &str, expected: &[(&str, &'static str, &[&str])]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(f, o, v)| ((*f).to_owned(), *o, v.iter().map(|v| (*v).to_owned()).collect()))
        .collect();
    assert_eq!(read(text), Ok(expected), "{text}");
}

#[test]
fn clauses_are_read_with_and_without_spaces_quotes_and_brackets() {
    reads("", &[]);
    reads("  ", &[]);
    reads("workflowType='x'", &[("workflowType", "=", &["x"])]);
    reads("workflowType = x", &[("workflowType", "=", &["x"])]);
    reads("workflowType=my flow", &[("workflowType", "=", &["my flow"])]);
    reads(
        "workflowType='x' AND status IN (COMPLETED,FAILED) AND startTime>17",
        &[
            ("workflowType", "=", &["x"]),
            ("status", "IN", &["COMPLETED", "FAILED"]),
            ("startTime", ">", &["17"]),
        ],
    );
    reads(
        "a >= 1 and b<=2 And c in ('x, y', \"z\") AND d IN e",
        &[
            ("a", ">=", &["1"]),
            ("b", "<=", &["2"]),
            ("c", "IN", &["x, y", "z"]),
            ("d", "IN", &["e"]),
        ],
    );
    reads("a='x AND y' AND b=1", &[("a", "=", &["x AND y"]), ("b", "=", &["1"])]);
    reads("a='it''s'", &[("a", "=", &["it's"])]);
    reads("a=ANDREA AND b=sand", &[("a", "=", &["ANDREA"]), ("b", "=", &["sand"])]);
    reads("a=é AND b=ü", &[("a", "=", &["é"]), ("b", "=", &["ü"])]);
}

#[test]
fn what_is_no_clause_is_refused_with_its_place() {
    for (text, why) in [
        ("nonsense", "query: has no operator behind \"nonsense\": =, >, >=, <, <= or IN"),
        ("a != 1", "query: has \"!=\" behind \"a\": use =, >, >=, <, <= or IN"),
        ("a LIKE x", "query: has no operator behind \"a\": =, >, >=, <, <= or IN"),
        ("a=1 OR b=2", "query: has OR at 4: clauses are joined by AND alone"),
        ("a='1' b=2", "query: has no AND at 6"),
        ("a=1 AND", "query: has no field at 7"),
        ("a=", "query: has no value at 2"),
        ("a=''", "query: has an empty value at 2"),
        ("a='x", "query: does not end the quote at 2"),
        ("a IN (x", "query: does not end the list at 5"),
        ("a IN ()", "query: has an empty value in the list at 5"),
        ("a IN ('x' y)", "query: has 'y' at 10 in a list"),
        ("'a'=1", "query: has no field at 0"),
    ] {
        assert_eq!(read(text), Err(why.to_owned()), "{text}");
    }
    let many = vec!["a=1"; 51].join(" AND ");
    assert_eq!(read(&many), Err("query: has more than 50 clauses".to_owned()));
}

fn only(text: &str) -> Clause {
    clauses(text).unwrap().pop().unwrap()
}

#[test]
fn values_are_read_by_the_kind_of_their_field() {
    assert_eq!(only("a=x*").text().unwrap(), TextQuery::Like("x*".to_owned()));
    assert_eq!(only("a IN (x,y)").text().unwrap(), TextQuery::OneOf(vec!["x".into(), "y".into()]));
    assert!(only("a IN (x*,y)").text().unwrap_err().message.contains("has * in a list"));
    assert!(only("a>x").text().unwrap_err().message.contains("cannot be compared by >"));
    assert!(only("a=x*").texts().unwrap_err().message.contains("cannot be searched by with *"));
    assert_eq!(only("a IN (no, id)").ids().unwrap(), []);
    assert_eq!(only("a IN (1, 2)").numbers().unwrap(), [1, 2]);
    assert!(only("a=x").numbers().unwrap_err().message.contains("is no number"));
}

#[test]
fn times_are_compared_by_the_millisecond() {
    let range = |text: &str| {
        let mut range = TimeRange::default();
        for clause in clauses(text).unwrap() {
            clause.narrow(&mut range).unwrap();
        }
        (range.from.map(|t| t.timestamp_millis()), range.before.map(|t| t.timestamp_millis()))
    };
    assert_eq!(range("t>5"), (Some(6), None));
    assert_eq!(range("t>=5"), (Some(5), None));
    assert_eq!(range("t<5"), (None, Some(5)));
    assert_eq!(range("t<=5"), (None, Some(6)));
    assert_eq!(range("t=5"), (Some(5), Some(6)));
    assert_eq!(range("t>5 AND t<9 AND t<8"), (Some(6), Some(8)));
    for wrong in ["t=x", "t IN (1,2)", "t>9223372036854775807", "t=1.5"] {
        assert!(only(wrong).narrow(&mut TimeRange::default()).is_err(), "{wrong}");
    }
}

#[test]
fn words_and_orders_are_read_or_refused() {
    assert_eq!(words("*").unwrap(), Vec::<String>::new());
    assert_eq!(words(" one  \"two\" th*ree* ").unwrap(), ["one", "two", "th*ree"]);
    assert!(words("{\"a\": 1}").unwrap_err().message.contains("JSON"));
    assert!(words("a OR b").unwrap_err().message.contains("operators"));
    assert_eq!(sort("startTime:desc").unwrap(), ("startTime".into(), SortOrder::Descending));
    for wrong in ["startTime", "startTime:UP", "a:ASC|b:DESC", "a:ASC,b:DESC"] {
        assert!(sort(wrong).is_err(), "{wrong}");
    }
}
