use serde_json::json;

use super::*;

/// Less than in earnest, so that tests take less time.
const FEW: Limits = Limits { steps: 300_000, bytes: 16 * 1024 * 1024, ..LIMITS };

fn all(query: &str, input: &Value) -> Vec<Value> {
    within(FEW, query, input).unwrap_or_else(|error| panic!("{query}: {error}"))
}

#[test]
fn a_query_gives_all_its_values_with_their_types() {
    let input = json!({"a": 2, "f": 1.0, "list": [3, 1, 2], "s": "héllo", "o": {"x": null}});
    let table = [
        (".a + 1", json!([3])),
        (".f, .a / 4, 10 / 2, 7 % 3, -7 % 3", json!([1.0, 0.5, 5, 1, -1])),
        (
            "9007199254740993 + 0, 9223372036854775807 + 1",
            json!([9007199254740993_i64, 9.223_372_036_854_776e18]),
        ),
        ("nan, infinite", json!([null, f64::MAX])),
        ("empty", json!([])),
        (".list[]", json!([3, 1, 2])),
        (".list[1:], .list[-1], .s[1:3], .none, .o.x.y", json!([[1, 2], 2, "él", null, null])),
        ("{n: .a, (.s): 1}", json!([{"n": 2, "héllo": 1}])),
    ];
    for (query, values) in table {
        assert_eq!(json!(all(query, &input)), values, "{query}");
    }
}

#[test]
fn the_functions_of_jq_are_there() {
    let input = json!({"a": 2, "f": 1.0, "list": [3, 1, 2], "s": "héllo", "o": {"x": null}});
    let table = [
        (
            ".list | sort, add, length, map(. * 2), (map(select(. > 1)))",
            json!([[1, 2, 3], 6, 3, [6, 2, 4], [3, 2]]),
        ),
        (".o | to_entries, has(\"x\"), keys", json!([[{"key": "x", "value": null}], true, ["x"]])),
        ("[{k: \"p\", v: 1}, {name: \"q\", value: 2}] | from_entries", json!([{"p": 1, "q": 2}])),
        (".o.x.y.z = 1 | .o", json!([{"x": {"y": {"z": 1}}}])),
        ("[] | .[2] = 1, (.[0] |= 5)", json!([[null, null, 1], [5]])),
        ("del(.list, .s, .f, .o)", json!([{"a": 2}])),
        (
            "[paths]",
            json!([[
                ["a"],
                ["f"],
                ["list"],
                ["list", 0],
                ["list", 1],
                ["list", 2],
                ["o"],
                ["o", "x"],
                ["s"]
            ]]),
        ),
        ("[.list[] as $x | reduce range($x) as $i (0; . + $i)]", json!([[3, 0, 1]])),
        ("try error(\"no\") catch ., (try error({c: 1}) catch .c)", json!(["no", 1])),
        (
            "label $out | foreach .list[] as $x (0; . + $x; ., if . > 3 then break $out else empty end)",
            json!([3, 4]),
        ),
        ("\"a,b\" / \",\", \"x\" * 3, \"x\" * 0", json!([["a", "b"], "xxx", null])),
        ("[1, null, \"a\", [1], {}, false] | sort", json!([[null, false, 1, "a", [1], {}]])),
        (
            "[\"a\\\"b\", 1, null] | @csv, @tsv, @json, @text",
            json!(["\"a\"\"b\",1,", "a\"b\t1\t", "[\"a\\\"b\",1,null]", "[\"a\\\"b\",1,null]"]),
        ),
        (
            "\"2020-11\" | [match(\"\\\\d+\"; \"g\").offset], sub(\"-\"; \"/\"), capture(\"(?<y>\\\\d+)\"), test(\"x\")",
            json!([[0, 5], "2020/11", {"y": "2020"}, false]),
        ),
        (
            "\"éa\" | match(\"a\").offset, length, utf8bytelength, explode, (explode | implode)",
            json!([1, 2, 3, [233, 97], "éa"]),
        ),
        (
            "[[1, 2], [3]] | transpose, flatten, (.[0] | contains([1])), IN([1, 2], 3)",
            json!([[[1, 3], [2, null]], [1, 2, 3], true, false]),
        ),
        (
            "0 | todate, (\"2020-01-02\" | strptime(\"%Y-%m-%d\") | mktime)",
            json!(["1970-01-01T00:00:00Z", 1577923200]),
        ),
        (
            "\"{\\\"a\\\": [1.5]}\" | fromjson, (try (\"{\" | fromjson) catch \"bad\")",
            json!([{"a": [1.5]}, "bad"]),
        ),
        ("[\"a\", null, 1, true] | join(\"-\")", json!(["a--1-true"])),
        ("{a: {b: 1}} * {a: {c: 2}}", json!([{"a": {"b": 1, "c": 2}}])),
    ];
    for (query, values) in table {
        assert_eq!(json!(all(query, &input)), values, "{query}");
    }
}

#[test]
fn what_a_query_throws_is_its_error() {
    let table = [
        (".a.b", "cannot index 1 with \"b\""),
        (".a[]", "cannot use 1 as iterable"),
        ("error(\"no stock\")", "no stock"),
        ("1 / 0", "cannot calculate 1 / 0"),
        ("{(1): 2}", "cannot use 1 as object key"),
        ("\"x\" | tonumber", "\"x\" cannot be parsed as a number"),
        ("\"a\" | test(\"(\")", "cannot be used as a regular expression"),
    ];
    for (query, reason) in table {
        match within(FEW, query, &json!({"a": 1})) {
            Err(ScriptError::Failed(text)) => assert!(text.contains(reason), "{query}: {text}"),
            other => panic!("{query}: {other:?}"),
        }
    }
}

#[test]
fn a_query_that_does_not_end_or_takes_all_memory_or_stack_is_stopped() {
    let table = [
        ("def f: f; f", Spent::Steps),
        ("try (def f: f; f) catch 1", Spent::Steps),
        ("last(repeat(.))", Spent::Steps),
        ("[range(1e12)]", Spent::Steps),
        ("last(range(1e12))", Spent::Steps),
        ("first(range(1e12) | select(false))", Spent::Steps),
        ("until(false; .)", Spent::Steps),
        ("reduce range(1e12) as $i (0; . + 1)", Spent::Steps),
        ("[range(1000)] as $a | last(range(1e9) | $a == $a)", Spent::Steps),
        ("(\"a\" * 30000) | [match(\"(a.*z)|a\"; \"g\")]", Spent::Steps),
        ("(\"a\" * 3000) | test(\"(a*)*{9}b\") | last(repeat(.))", Spent::Steps),
        ("\"x\" * 1e9", Spent::Steps),
        ("\"x\" * 17000000", Spent::Bytes),
        ("reduce range(60) as $i (\"x\"; . + .)", Spent::Bytes),
        ("reduce range(60) as $i (1; [., .])", Spent::Steps),
        ("error(reduce range(60) as $i (1; [., .]))", Spent::Steps),
        ("def f: tojson | f; \"\\\"\" | f", Spent::Bytes),
        ("[] | .[1000000000] = 1", Spent::Bytes),
        ("def rec: (., .) | rec; rec", Spent::Bytes),
        ("def f: 1 + f; f", Spent::Stack),
        ("(def f: .[0] | f; f) = 1", Spent::Stack),
        ("reduce range(1e9) as $i ([]; [.])", Spent::Depth),
        ("def f($x): f([$x]); f(1)", Spent::Depth),
    ];
    for (query, spent) in table {
        let expected = Err(ScriptError::Limit(spent.text().to_owned()));
        assert_eq!(within(FEW, query, &Value::Null), expected, "{query}");
    }
    let more = Limits { steps: 10_000_000, ..LIMITS };
    let paths = ["path(last(recurse(.[0])))", "[1] | path(def f: .[0:] | f; f)"];
    for query in paths {
        let expected = Err(ScriptError::Limit(Spent::Depth.text().to_owned()));
        assert_eq!(within(more, query, &Value::Null), expected, "{query}");
    }
}

#[test]
fn the_limits_leave_room_for_large_payloads() {
    let rows: Vec<Value> = (0..10_000)
        .map(|n| json!({"id": n, "name": format!("name of {n}"), "tags": ["a", "b"], "price": 1.5}))
        .collect();
    let query = "[.[] | select(.id % 2 == 0) | {id, total: (.price * 2), tag: .tags[0]}] \
                 | group_by(.tag) | map({tag: .[0].tag, n: length, ids: (map(.id | tostring) | join(\",\") | length)})";
    let found = evaluate(query, &Value::Array(rows)).expect("it has room");
    assert_eq!(found[0][0]["n"], json!(5_000));
}

#[test]
fn nothing_of_the_machine_is_in_reach() {
    let names = [
        "input",
        "inputs",
        "env",
        "$ENV",
        "now",
        "debug",
        "stderr",
        "halt",
        "halt_error",
        "input_line_number",
        "localtime",
        "strflocaltime(\"%c\")",
        "input_filename",
        "$__prog_args",
        "jn(1000000000; 1)",
        "import \"a\" as a; 1",
        "include \"a\"; 1",
        "import \"a\" as $a; 1",
    ];
    for query in names {
        assert!(matches!(check(query), Err(ScriptError::Syntax(_))), "{query}: {:?}", check(query));
    }
}

#[test]
fn a_check_reads_a_query_and_does_not_run_it() {
    assert_eq!(check("def f: f; f"), Ok(()));
    assert_eq!(check("def w(f): if f then map(w(f)) else . end; w(.)"), Ok(()));
    let table = [
        (".a[", "expected closing bracket, found its end"),
        ("", "expected term"),
        ("nothing(1; 2)", "unknown filter nothing"),
        ("$x", "unknown variable $x"),
        ("def f(g): f(g | . + 1); f(.)", "f calls itself last and takes a filter"),
        ("def f(g): def h: if . then f(h) else . end; h; f(.)", "f calls itself last"),
    ];
    for (query, fault) in table {
        match check(query) {
            Err(ScriptError::Syntax(text)) => assert!(text.contains(fault), "{query}: {text}"),
            other => panic!("{query}: {other:?}"),
        }
    }
    assert!(matches!(check(&" ".repeat(20_000)), Err(ScriptError::Syntax(_))));
}

#[test]
fn a_query_of_any_nesting_is_read_or_refused() {
    let deep = [
        "(",
        "-",
        "[",
        "{a:",
        "1|",
        "1+",
        "1,",
        ".[",
        "try ",
        "1 as $x|",
        "f(",
        "\"\\(",
        "def f:",
        "if 1 then ",
        "if ",
        ".. as [",
        "reduce ",
    ];
    for part in deep {
        let query = part.repeat(16_000 / part.len());
        for query in [query.clone(), format!("{query}1")] {
            // That it comes back is the point.
            match within(FEW, &query, &Value::Null) {
                Ok(values) => assert!(values.len() <= 16_000),
                Err(error) => assert!(error.to_string().len() < 2_000, "{part}: {error}"),
            }
        }
    }
}
