//! `docs/order-tables.md` says what is.

use std::collections::{BTreeMap, BTreeSet};

use oms_tasks::order::Order;
use serde_json::Value;

use crate::world::database;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/order-tables.md"));

/// The JSON texts of the page: the schema and the example.
fn json_texts() -> Vec<Value> {
    PAGE.split("```json\n")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split("```").next().unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn every_table_is_described_with_its_columns_and_types() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    let sql = "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod),
                      a.attnotnull AND NOT EXISTS (
                          SELECT FROM pg_index i
                          WHERE i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
                            AND a.attnum = ANY (i.indkey))
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
                 AND a.attnum > 0 AND NOT a.attisdropped
                 AND c.relname <> 'oms_tasks_migrations'";
    let mut tables: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for row in client.query(sql, &[]).await.unwrap() {
        let (table, column, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let kind = match kind.as_str() {
            "timestamp with time zone" => "timestamptz",
            "character(3)" => "char(3)",
            "integer" => "int",
            other => other,
        };
        let not_null = if row.get(3) { ", not null" } else { "" };
        tables.entry(table).or_default().insert((column, format!("{kind}{not_null}")));
    }
    let described: BTreeMap<String, BTreeSet<(String, String)>> = PAGE
        .split("\n### ")
        .skip(1)
        .map(|section| {
            let columns = section.lines().filter(|line| line.starts_with("| `")).map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                (cells[1].trim_matches('`').to_owned(), cells[2].trim_end_matches(", 0").to_owned())
            });
            (section.lines().next().unwrap().to_owned(), columns.collect())
        })
        .collect();
    assert_eq!(described, tables);
}

#[test]
fn the_example_is_an_order_and_the_schema_names_its_fields() {
    let [schema, example] = json_texts().try_into().unwrap();
    let of_python: Value = serde_json::from_str(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/python/order.schema.json"
    )))
    .unwrap();
    assert_eq!(of_python, schema);
    let order: Order = serde_json::from_value(example.clone()).unwrap();
    order.check().unwrap();
    for (path, part) in [
        ("", &example),
        ("/delivery_window", &example["delivery_window"]),
        ("/customer", &example["customer"]),
        ("/lines/items", &example["lines"][0]),
        ("/payment", &example["payment"]),
        ("/ship_to", &example["ship_to"]),
    ] {
        let mut at = &schema;
        for step in path.split('/').skip(1) {
            at = if step == "items" { &at["items"] } else { &at["properties"][step] };
        }
        assert_eq!(at["additionalProperties"], false, "{path}");
        let fields: BTreeSet<&str> = part.as_object().unwrap().keys().map(String::as_str).collect();
        let named = at["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let required = at["required"].as_array().unwrap().iter().filter_map(Value::as_str);
        assert_eq!(fields, named, "{path}");
        let optional = ["delivery_window"].into_iter().filter(|_| path.is_empty());
        assert_eq!(fields, required.chain(optional).collect(), "{path}");
    }
    let bounds = &schema["properties"]["lines"];
    assert_eq!(bounds["maxItems"], oms_tasks::order::LINES_MAX);
    assert_eq!(
        bounds["items"]["properties"]["quantity"]["maximum"],
        oms_tasks::order::QUANTITY_MAX
    );
}
