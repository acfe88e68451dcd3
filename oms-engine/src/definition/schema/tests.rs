use serde_json::{Value, json};

use super::*;

fn schema(data: impl Into<Value>) -> SchemaDef {
    let data: Value = data.into();
    serde_json::from_value(json!({"name": "s", "data": data})).unwrap()
}

fn refused(data: Value) -> (String, String) {
    check_schema(&schema(data)).unwrap_err()
}

#[test]
fn only_json_schemas_that_stand_here_are_taken() {
    for (def, path, word) in [
        (json!({"type": "AVRO", "data": {}}), ".type", "AVRO"),
        (json!({"type": "PROTOBUF", "data": {}}), ".type", "PROTOBUF"),
        (json!({"externalRef": "https://x/y", "data": {}}), ".externalRef", "externalRef"),
        (json!({"version": 2}), ".data", "is missing"),
    ] {
        let def: SchemaDef = serde_json::from_value(def).unwrap();
        let (at, why) = check_schema(&def).unwrap_err();
        assert!(at == path && why.contains(word), "{at}: {why}");
    }
}

#[test]
fn what_does_not_fit_is_told_with_its_path() {
    let def = schema(json!({
        "type": "object",
        "properties": {"items": {"items": {"properties": {"count": {"type": "integer"}}}}},
        "required": ["sku"],
    }));
    let schema = Schema::enforced(Some(&def), true).unwrap();
    assert_eq!(schema.check(&json!({"sku": 1, "items": [{"count": 2}]})), Ok(()));
    let why = schema.check(&json!({"items": [{}, {"count": "2"}]})).unwrap_err();
    assert!(why.contains("$.items[1].count: value is not of type \"integer\""), "{why}");
    assert!(why.contains("$: \"sku\" is a required property"), "{why}");
    assert_eq!(Schema::enforced(Some(&def), false), None);
}

#[test]
fn a_schema_that_is_none_is_refused_with_the_place() {
    let (path, why) = refused(json!({"properties": {"a": {"type": "strng"}}}));
    assert_eq!(path, ".data.properties.a.type");
    assert!(why.starts_with("is no JSON Schema"), "{why}");
}

#[test]
fn nothing_is_fetched() {
    for to in ["http://example.com/x.json", "https://example.com/x", "file:///etc/passwd", "x.json"]
    {
        let (_, why) = refused(json!({"properties": {"a": {"$ref": to}}}));
        assert!(why.contains("retrieving it failed"), "{to}: {why}");
    }
    refused(json!({"$schema": "http://example.com/own", "type": "object"}));
}

#[test]
fn patterns_are_matched_in_linear_time_and_stay_small() {
    let (path, _) = refused(json!({"properties": {"a": {"pattern": "(?=b)a"}}}));
    assert_eq!(path, ".data.properties.a.pattern");
    refused(json!({"properties": {"a": {"pattern": "((a{500}){500}){500}"}}}));
    let def = schema(json!({"properties": {"a": {"pattern": "^(a+)+$"}}}));
    let schema = Schema::enforced(Some(&def), true).unwrap();
    let long = format!("{}b", "a".repeat(100_000));
    assert!(schema.check(&json!({"a": long})).is_err());
}

#[test]
fn references_that_multiply_are_refused() {
    // Twice in each of forty layers, at one value.
    let mut defs = serde_json::Map::new();
    defs.insert("d0".to_owned(), json!({"type": "object"}));
    for n in 1..40 {
        let below = json!({"$ref": format!("#/$defs/d{}", n - 1)});
        defs.insert(format!("d{n}"), json!({"allOf": [below, below]}));
    }
    let (_, why) = refused(json!({"$ref": "#/$defs/d39", "$defs": defs}));
    assert!(why.starts_with("could take too long"), "{why}");
    // Twice at each level of a nested value.
    let again = json!({"properties": {"c": {"$ref": "#"}}});
    refused(json!({"allOf": [again, again]}));
    // A long chain.
    let mut defs = serde_json::Map::new();
    for n in 0..1_000 {
        defs.insert(format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", n + 1)}));
    }
    defs.insert("d1000".to_owned(), json!({}));
    refused(json!({"$ref": "#/$defs/d0", "$defs": defs}));
}

#[test]
fn a_schema_may_refer_to_itself() {
    let tree = schema(json!({
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}},
             "additionalProperties": false},
        ],
    }));
    let tree = Schema::enforced(Some(&tree), true).unwrap();
    let mut deep = json!("leaf");
    for _ in 0..90 {
        deep = json!({"left": deep, "right": "leaf"});
    }
    assert_eq!(tree.check(&deep), Ok(()));
    assert!(tree.check(&json!({"left": {"right": 5}})).is_err());
    for circle in [json!({"$ref": "#"}), json!({"allOf": [{"$ref": "#"}]})] {
        let circle = Schema::enforced(Some(&schema(circle)), true).unwrap();
        assert_eq!(circle.check(&json!({"any": "thing"})), Ok(()));
    }
}
