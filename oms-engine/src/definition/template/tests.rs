use std::borrow::Cow;
use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A workflow and tasks as one document.
struct Document(Value);

impl Scope for Document {
    fn workflow(&self, field: &str) -> Option<Cow<'_, Value>> {
        self.task("workflow", field)
    }

    fn task(&self, reference_name: &str, field: &str) -> Option<Cow<'_, Value>> {
        self.0.get(reference_name)?.get(field).map(Cow::Borrowed)
    }

    fn task_id(&self) -> Option<&str> {
        Some("id-7")
    }
}

fn document() -> Document {
    Document(json!({
        "workflow": {
            "input": {
                "n": 1, "f": 2.5, "t": true, "z": null, "s": "text", "key": "b",
                "map": {"a": {"b": [1, "x"]}, "b": "second", "k e y": 9},
                "list": [{"id": 1}, {"id": 2}],
                "evil": "${workflow.input.n}", "ref": "pay", "half": "${", "dots": "a.b[1]",
            },
            "workflowId": "w-1",
        },
        "pay": {"output": {"receipt": "r-1"}, "status": "COMPLETED"},
    }))
}

fn resolve(template: &Value) -> Value {
    resolve_with(&Template::parse(template).unwrap(), &document(), 10_000).unwrap()
}

/// What a template comes to, which is the same as a value and as a text.
fn resolve_with(of: &Template, scope: &dyn Scope, most: usize) -> Result<Value, PayloadFault> {
    let resolved = of.resolve(scope, "input of task \"a\"", most);
    let written = of.write(scope, "input of task \"a\"", most);
    assert_eq!(written.map(Payload::into_value), resolved);
    resolved
}

#[test]
fn expressions_resolve_as_in_conductor() {
    for (template, expected) in [
        // rule 2: one expression keeps its type
        ("${workflow.input.n}", json!(1)),
        ("${workflow.input.t}", json!(true)),
        ("${workflow.input.map}", json!({"a": {"b": [1, "x"]}, "b": "second", "k e y": 9})),
        ("${workflow.input.list}", json!([{"id": 1}, {"id": 2}])),
        ("${pay.output.receipt}", json!("r-1")),
        ("${pay.status}", json!("COMPLETED")),
        ("${workflow.workflowId}", json!("w-1")),
        // rule 3: spliced in Java's text form
        ("n=${workflow.input.n}, f=${workflow.input.f}", json!("n=1, f=2.5")),
        ("${workflow.input.t}${workflow.input.z}", json!("truenull")),
        (" ${workflow.input.n}", json!(" 1")),
        ("m ${workflow.input.map.a}", json!("m {b=[1, x]}")),
        // rule 4: what is missing is null
        ("${workflow.input.none}", json!(null)),
        ("${workflow.input.n.deeper}", json!(null)),
        ("${nobody.output.x}", json!(null)),
        ("<${workflow.input.none}>", json!("<null>")),
        ("${workflow.input.list[1].id}", json!(2)),
        ("${workflow.input.list[-1].id}", json!(2)),
        ("${workflow.input.list[5].id}", json!(null)),
        ("${workflow.input.map['k e y']}", json!(9)),
        ("${workflow.input.map[\"k e y\"]}", json!(9)),
        ("${workflow.nosuch}", json!(null)),
        ("${workflow.input.list[*].id}", json!([1, 2])),
        ("${workflow.input.list[?(@.id > 1)]}", json!([{"id": 2}])),
        ("${workflow.input.list[?(@.id == $.workflow.input.n)].id}", json!([1])),
        ("${workflow..receipt}", json!([])),
        ("${pay..receipt}", json!(["r-1"])),
        ("${pay.*.receipt}", json!(["r-1"])),
        ("${nobody.output..x}", json!([])),
        ("${workflow.input.list.length()}", json!(2)),
        ("${concat($.workflow.input.s, $.pay.output.receipt)}", json!("textr-1")),
        ("n=${workflow.input.list[*].id}", json!("n=[1, 2]")),
        // rule 5: nested, inner first
        ("${workflow.input.map.${workflow.input.key}}", json!("second")),
        ("${${workflow.input.ref}.output.receipt}", json!("r-1")),
        ("${workflow.input.map.${workflow.input.dots}}", json!("x")),
        ("${workflow.input.map.${workflow.input.none}}", json!(null)),
        ("x${workflow.input.map['${workflow.input.key}']}", json!("xsecond")),
        ("${workflow.input.list[?(@.id == ${workflow.input.n})].id}", json!([1])),
        ("${workflow.input.list[${workflow.input.n}].id}", json!(2)),
        // rule 6: escapes
        ("$${workflow.input.n}", json!("${workflow.input.n}")),
        ("a $${x} ${workflow.input.n} $${y}", json!("a ${x} 1 ${y}")),
        ("$$${x}", json!("$${x}")),
        ("$${a ${workflow.input.n}}", json!("${a 1}")),
        ("100 $ and {x}", json!("100 $ and {x}")),
        // rule 7: blank is empty text
        ("${}", json!("")),
        ("a${ }b", json!("ab")),
        // rule 8: the task's id, and no environment
        ("${CPEWF_TASK_ID}", json!("id-7")),
        ("${PATH}", json!(null)),
        ("${HOME}/x", json!("null/x")),
    ] {
        assert_eq!(resolve(&json!(template)), expected, "{template}");
    }
}

#[test]
fn data_is_never_parsed_as_a_template() {
    assert_eq!(resolve(&json!("${workflow.input.evil}")), json!("${workflow.input.n}"));
    assert_eq!(resolve(&json!("<${workflow.input.evil}>")), json!("<${workflow.input.n}>"));
    assert_eq!(resolve(&json!("${workflow.input.half}CPEWF_TASK_ID}")), json!("${CPEWF_TASK_ID}"));
    assert_eq!(resolve(&json!("$${${workflow.input.s}}")), json!("${text}"));
    assert_eq!(resolve(&json!("${workflow.input.map.${workflow.input.evil}}")), json!(null));
}

#[test]
fn texts_in_lists_and_objects_are_templates_and_keys_are_not() {
    let template = json!({"${workflow.input.n}": [{"a": "${workflow.input.n}"}, 3, null]});
    assert_eq!(resolve(&template), json!({"${workflow.input.n}": [{"a": 1}, 3, null]}));
}

#[test]
fn a_reference_alone_is_the_object_of_its_fields() {
    let pay = resolve(&json!("${pay}"));
    assert_eq!(pay["output"], json!({"receipt": "r-1"}));
    assert_eq!(pay["workerId"], json!(null));
    assert_eq!(resolve(&json!("${nobody}")), json!(null));
    assert_eq!(resolve(&json!("${workflow}"))["workflowId"], json!("w-1"));
}

#[test]
fn reads_name_what_is_read() {
    let template = json!({
        "a": "${workflow.input.x.y} ${pay.output['r']} ${pay.status}",
        "b": "${workflow.variables.${book.output.k}}",
        "c": ["${notify}", "$${never.output.x}", "${CPEWF_TASK_ID}"],
    });
    let template = Template::parse(&template).unwrap();
    let reads = template.reads();
    let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(reads.workflow.named, named(&["input", "variables"]));
    assert_eq!(reads.tasks["pay"].named, named(&["output", "status"]));
    assert_eq!(reads.tasks["book"].named, named(&["output"]));
    assert!(reads.tasks["notify"].all && reads.tasks["notify"].contains("output"));
    assert_eq!(reads.tasks.len(), 3);
    assert!(reads.task_id && reads.variables() && !reads.dynamic);
}

#[test]
fn filters_and_functions_say_what_they_read_beside() {
    let template = json!([
        "${pay.output.list[?(@.id == $.workflow.variables.id && @.x in $.book.output.xs[*])]}",
        "${sum($.rate.output..price)}",
        "${ship.*.id}",
    ]);
    let template = Template::parse(&template).unwrap();
    let reads = template.reads();
    assert!(reads.workflow.contains("variables") && !reads.workflow.contains("input"));
    for name in ["pay", "book", "rate"] {
        assert!(reads.tasks[name].contains("output") && !reads.tasks[name].all, "{name}");
    }
    assert!(reads.tasks["ship"].all && !reads.dynamic);
}

#[test]
fn a_path_begins_with_a_name() {
    for path in ["*", "..x", "[*]", "['a','b'].x", "[?(@.x)]", "[0]"] {
        let fault = Template::parse(&json!(format!("${{{path}}}"))).unwrap_err();
        assert!(fault.message.contains("begin with `workflow` or a reference name"), "{fault}");
    }
    assert!(Template::parse(&json!("${pay[1:2].x}")).unwrap_err().message.contains("an index"));
}

#[test]
fn what_data_adds_to_a_path_reads_nothing_else_of_the_run() {
    let document = Document(json!({
        "workflow": {"input": {"list": [{"id": 1}], "by": "@.id == $.pay.output.id"}},
        "pay": {"output": {"id": 1}},
    }));
    for (template, dynamic, expected) in [
        ("${workflow.input.list[?(${workflow.input.by})].id}", false, json!(null)),
        ("${workflow.input.list[?(@.id == $.pay.${workflow.input.none}.id)].id}", true, json!([])),
    ] {
        let template = Template::parse(&json!(template)).unwrap();
        assert_eq!(template.reads().dynamic, dynamic);
        assert_eq!(resolve_with(&template, &document, 10_000).unwrap(), expected);
    }
}

#[test]
fn a_path_made_of_data_is_dynamic_unless_its_start_is_fixed() {
    for (template, dynamic) in [
        ("${${workflow.input.ref}.output.x}", true),
        ("${pay.${workflow.input.field}}", true),
        ("${pay.out${workflow.input.field}.x}", true),
        ("${pay${workflow.input.n}.output.x}", true),
        ("${pay.output.${workflow.input.key}}", false),
        ("${pay.output[${workflow.input.n}].x}", false),
    ] {
        let reads = Template::parse(&json!(template)).unwrap().reads().clone();
        assert_eq!(reads.dynamic, dynamic, "{template}");
    }
}

#[test]
fn a_fault_names_the_place_and_the_expression() {
    let fault = |value| Template::parse(&value).unwrap_err().to_string();
    assert_eq!(
        fault(json!({"a": [0, "${pay.output[}"]})),
        "$.a[1]: `${pay.output[}`: after `[` an index or a quoted key is expected"
    );
    assert!(fault(json!("${pay.output")).contains("not closed"));
    assert!(fault(json!("${pay[0]}")).contains("field"));
    assert!(fault(json!("${".repeat(5_000) + &"}".repeat(5_000))).contains("nested deeper"));
}

#[test]
fn nesting_over_the_limit_is_refused_without_using_the_stack() {
    let deep = (0..200).fold(json!("${workflow.input.n}"), |inner, _| json!({"a": inner}));
    assert!(Template::parse(&deep).unwrap_err().message.contains("nested deeper"));
}

#[test]
fn task_input_follows_the_order_of_conductor() {
    let parameters = json!({
        "given": "${workflow.input.n}", "null_with_default": "${workflow.input.none}",
        "null_without": "${workflow.input.none}", "both": 1,
    });
    let defaults = json!({
        "null_with_default": "$raw ${workflow.input.n}", "absent": "${workflow.input.s}",
        "absent_null": "${workflow.input.none}", "both": 2,
    });
    let input =
        TaskInput::parse(parameters.as_object().unwrap(), defaults.as_object().unwrap()).unwrap();
    assert_eq!(
        Value::Object(input.resolve(&document(), "input", 10_000).unwrap()),
        json!({
            "given": 1, "null_with_default": "$raw ${workflow.input.n}", "null_without": null,
            "both": 1, "absent": "text", "absent_null": "${workflow.input.none}",
        })
    );
    assert!(input.reads().workflow.contains("input"));
}

#[test]
fn a_template_stops_at_the_limit_before_it_copies_more() {
    let big = "x".repeat(1_000_000);
    let document = Document(json!({"workflow": {"input": {"big": big, "list": [big]}}}));
    let limit = 3_500_000;
    for template in [
        json!(vec!["${workflow.input.big}"; 1_000]),
        json!({"a": vec!["${workflow.input}"; 1_000]}),
        json!("<${workflow.input.big}>".repeat(1_000)),
        json!("${workflow.input.big}".repeat(1_000)),
        json!(vec!["${workflow.input.list[*]}"; 1_000]),
        json!(format!("${{concat({})}}", vec!["$.workflow.input.big"; 100].join(","))),
        json!(vec!["${workflow}"; 1_000]),
    ] {
        let template = Template::parse(&template).unwrap();
        let fault = resolve_with(&template, &document, limit).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "input of task \"a\" $: is larger than 3500000 bytes: store the data elsewhere and \
             pass a reference"
        );
    }
    for fits in [
        json!(vec!["${workflow.input.big}"; 3]),
        json!(vec!["${workflow.input.none.${workflow.input.big}}"; 1_000]),
        json!(vec!["${workflow..nobody}"; 1_000]),
    ] {
        assert!(resolve_with(&Template::parse(&fits).unwrap(), &document, limit).is_ok());
    }
}

#[test]
fn expressions_that_look_at_too_much_say_so() {
    let list = vec![1; 3_000];
    let document = Document(json!({"workflow": {"input": {"list": list}}}));
    let template = json!("${workflow.input.list[?(@ nin $.workflow.input.list[?(@ > 1)])]}");
    assert!(Template::parse(&template).unwrap().resolve(&document, "input", 100_000).is_ok());
    let template = json!("${workflow.input.list[?(@ nin $.workflow.input.list)]}");
    let ok = Template::parse(&template).unwrap().resolve(&document, "input", 100_000);
    assert!(ok.unwrap_err().reason.contains("look at more than 5000000 values"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// What fits is never refused, whatever is in it.
    #[test]
    fn what_is_paid_is_no_more_than_the_text_has(value in any_value()) {
        let document = Document(json!({"workflow": {"input": value}}));
        let value = &document.0["workflow"]["input"];
        for template in [json!("${workflow.input}"), json!({"k": [value, "${workflow.input}"]})] {
            let template = Template::parse(&template).unwrap();
            let found = template.resolve(&document, "input", usize::MAX).unwrap();
            let exact = found.to_string().len();
            prop_assert!(resolve_with(&template, &document, exact).is_ok(), "{}", found);
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<u64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        "[a-z\\n\"é]{0,8}".prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map("[a-z\\n]{0,3}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Counts that only what [`Reads`] names is asked for.
struct Watched<'a>(&'a Reads, Document);

impl Scope for Watched<'_> {
    fn workflow(&self, field: &str) -> Option<Cow<'_, Value>> {
        assert!(self.0.dynamic || self.0.workflow.contains(field), "workflow.{field}");
        self.1.workflow(field)
    }

    fn task(&self, reference_name: &str, field: &str) -> Option<Cow<'_, Value>> {
        let named = self.0.tasks.get(reference_name).is_some_and(|f| f.contains(field));
        assert!(self.0.dynamic || named, "{reference_name}.{field}");
        self.1.task(reference_name, field)
    }

    fn task_id(&self) -> Option<&str> {
        assert!(self.0.dynamic || self.0.task_id);
        self.1.task_id()
    }
}

fn any_template() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("${"),
        Just("$${"),
        Just("}"),
        Just("$"),
        Just("workflow"),
        Just("pay"),
        Just(".input"),
        Just(".output"),
        Just(".map"),
        Just(".key"),
        Just(".ref"),
        Just("['k e y']"),
        Just("[*]"),
        Just(".."),
        Just("[?(@.id == 1)]"),
        Just("[?(@.id == $.pay.output.receipt)]"),
        Just("[?("),
        Just("@.id"),
        Just(" == "),
        Just("$.workflow"),
        Just(")]"),
        Just("[0:1]"),
        Just(".length()"),
        Just("concat("),
        Just(")"),
        Just("[-1]"),
        Just(".list"),
        Just("${workflow.input.key}"),
        Just("CPEWF_TASK_ID"),
        Just("é"),
    ];
    prop_oneof![".{0,40}", proptest::collection::vec(piece, 0..12).prop_map(|p| p.concat())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_is_parsed_or_refused_and_reads_no_more_than_it_says(text in any_template()) {
        if let Ok(template) = Template::parse(&json!({"a": [text]})) {
            let resolved = resolve_with(&template, &Watched(template.reads(), document()), usize::MAX).unwrap();
            if !text.contains("${") {
                prop_assert_eq!(resolved, json!({"a": [text]}));
            }
        }
    }
}
