//! What ARCHITECTURE.md and docs/operating.md tell operators: the queries run, the messages are the
//! engine's.

use std::path::Path;

use crate::common::database;

fn text() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md")).unwrap()
}

#[tokio::test]
async fn every_query_for_operators_runs() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    let operating = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operating.md");
    let text = text() + &std::fs::read_to_string(operating).unwrap();
    let blocks = text.split("```sql\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let queries: Vec<&str> = blocks
        .flat_map(|(block, _)| block.split(';'))
        .map(str::trim)
        .filter(|query| !query.is_empty())
        .collect();
    assert_eq!(queries.len(), 6);
    for query in queries {
        if let Err(error) = client.query(query, &[]).await {
            panic!("{query}: {error:?}");
        }
    }
}

#[test]
fn every_message_for_operators_is_in_the_source() {
    let text = text();
    let (_, table) = text.split_once("| message in the log |").unwrap();
    let messages: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .flat_map(|(named, _)| named.split("`, `"))
        .collect();
    assert!(messages.len() > 20, "{messages:?}");
    let source: String = [
        concat!(env!("CARGO_MANIFEST_DIR"), "/src"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/../oms-server/src"),
    ]
    .map(|folder| sources(Path::new(folder)))
    .concat();
    for message in messages {
        let begin = message.split('…').next().unwrap();
        assert!(source.contains(begin), "nothing logs {message:?}");
    }
}

fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    text
}

#[test]
fn every_field_and_type_stands_in_the_compatibility_page() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conductor-compatibility.md");
    let page = std::fs::read_to_string(path).unwrap();
    let source = |file: &str| {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/definition"));
        std::fs::read_to_string(folder.join(file)).unwrap()
    };
    let mut missing = Vec::new();
    for file in ["workflow_def.rs", "workflow_task.rs", "task_def.rs"] {
        let text = source(file);
        let fields = text.lines().filter_map(|line| line.strip_prefix("    pub ")?.split_once(':'));
        let fields: Vec<&str> =
            fields.map(|(name, _)| name).filter(|name| !name.contains(' ')).collect();
        assert!(fields.len() > 20, "{file}: {fields:?}");
        for field in fields.into_iter().filter(|field| *field != "extra" && *field != "task_type") {
            let name = camel_case(field);
            if !page.contains(&format!("`{name}`")) && !of_children(&name) {
                missing.push(name);
            }
        }
    }
    let types = source("task_type.rs");
    let names =
        types.lines().filter_map(|line| line.trim().split_once(" = \"")?.1.split('"').next());
    let names: Vec<&str> =
        names.filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        if !page.contains(&format!("`{name}`")) {
            missing.push(name.to_owned());
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// Fields of `subWorkflowParam`, which stands as a whole.
fn of_children(name: &str) -> bool {
    ["workflowDefinition", "priority", "taskToDomain"].contains(&name)
}

fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| {
        let (head, tail) = part.split_at(1);
        name + &head.to_uppercase() + tail
    })
}
