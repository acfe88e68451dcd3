//! The pure parts: templates, decisions and definitions, without a database.
//!
//! `cargo bench --bench pure`

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use oms_engine::WorkflowDef;
use oms_engine::definition::{Scope, Template};
use oms_engine::testkit::DryRun;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

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
        None
    }
}

fn templates(criterion: &mut Criterion) -> Result<(), Failure> {
    const LIMIT_BYTES: usize = 3 << 20;
    let lines: Vec<Value> =
        (0..50).map(|n| json!({"sku": format!("lamp-{n}"), "pieces": n})).collect();
    let scope = Document(json!({
        "workflow": {"input": {"data": "-".repeat(190), "lines": lines, "n": 7}},
        "pay": {"output": {"receipt": "r-1", "amount": 4998}, "status": "COMPLETED"},
    }));
    let twenty: serde_json::Map<String, Value> = (0..20)
        .map(|n| (format!("field{n}"), json!({"of": ["${pay.output.receipt}", n]})))
        .collect();
    let mut group = criterion.benchmark_group("template");
    for (name, value) in [
        ("one expression", json!("${workflow.input.data}")),
        ("within a text", json!("order ${workflow.input.n} paid by ${pay.output.receipt}")),
        ("twenty fields", Value::Object(twenty)),
        ("filter of fifty", json!("${workflow.input.lines[?(@.pieces > 25)].sku}")),
    ] {
        let template = Template::parse(&value)?;
        template.resolve(&scope, "input", LIMIT_BYTES)?;
        group.bench_function(format!("parse, {name}"), |b| {
            b.iter(|| Template::parse(black_box(&value)));
        });
        group.bench_function(format!("resolve, {name}"), |b| {
            b.iter(|| template.resolve(black_box(&scope), "input", LIMIT_BYTES));
        });
    }
    group.finish();
    Ok(())
}

fn task(name: &str) -> Value {
    json!({
        "name": "work", "taskReferenceName": name, "type": "SIMPLE",
        "inputParameters": {"data": "${workflow.input.data}"},
    })
}

fn line(length: usize) -> Value {
    let tasks: Vec<Value> = (0..length).map(|n| task(&format!("s{n}"))).collect();
    json!({"name": "line", "tasks": tasks})
}

fn definitions(criterion: &mut Criterion) -> Result<(), Failure> {
    let mut group = criterion.benchmark_group("definition");
    for length in [5, 1_000] {
        let text = line(length).to_string();
        WorkflowDef::from_json(&text)?;
        group.bench_with_input(BenchmarkId::new("parse, tasks", length), &text, |b, text| {
            b.iter(|| WorkflowDef::from_json(black_box(text)));
        });
        let definition = WorkflowDef::from_json(&text)?;
        DryRun::new(&definition, json!({}))?;
        group.bench_function(BenchmarkId::new("compile, tasks", length), |b| {
            b.iter(|| DryRun::new(black_box(&definition), json!({})));
        });
    }
    group.finish();
    Ok(())
}

/// A run of this definition after so many tasks.
fn run(definition: &Value, input: Value, after: usize) -> Result<DryRun, Failure> {
    let mut run = DryRun::new(&WorkflowDef::from_json(&definition.to_string())?, input)?;
    run.start()?;
    for _ in 0..after {
        if !run.end(output())? {
            return Err("it ended early".into());
        }
    }
    Ok(run)
}

fn output() -> Value {
    json!({"text": "-".repeat(36)})
}

fn decisions(criterion: &mut Criterion) -> Result<(), Failure> {
    let input = json!({"data": "-".repeat(190)});
    let mut group = criterion.benchmark_group("decide");
    let five = DryRun::new(&WorkflowDef::from_json(&line(5).to_string())?, input.clone())?;
    group.bench_function("a whole run of five", |b| {
        b.iter_batched(
            || five.clone(),
            |mut run| {
                run.start()?;
                while run.end(output())? {}
                Ok::<_, String>(run)
            },
            BatchSize::SmallInput,
        );
    });
    for length in [10, 1_000] {
        let at = run(&line(length), input.clone(), length / 2)?;
        group.bench_function(BenchmarkId::new("a step, of a line of", length), |b| {
            b.iter_batched(|| at.clone(), |mut run| run.end(output()), BatchSize::SmallInput);
        });
    }
    let looped = json!({"name": "loop", "tasks": [
        {"name": "loop", "taskReferenceName": "loop", "type": "DO_WHILE",
         "items": "${workflow.input.items}", "loopOver": [task("t")]},
    ]});
    for turns in [10, 10_000] {
        let items: Vec<usize> = (0..turns).collect();
        let at = run(&looped, json!({"data": "-", "items": items}), turns / 2)?;
        group.bench_function(BenchmarkId::new("a turn, of a loop of", turns), |b| {
            b.iter_batched(|| at.clone(), |mut run| run.end(output()), BatchSize::SmallInput);
        });
    }
    let forked = json!({"name": "fork", "tasks": [
        {"name": "fork", "taskReferenceName": "fork", "type": "FORK_JOIN_DYNAMIC",
         "inputParameters": {"forkTaskName": "work", "forkTaskInputs": "${workflow.input.items}"}},
        {"name": "join", "taskReferenceName": "join", "type": "JOIN"},
    ]});
    for branches in [100, 10_000] {
        let items: Vec<usize> = (0..branches).collect();
        let definition = WorkflowDef::from_json(&forked.to_string())?;
        let fresh = DryRun::new(&definition, json!({"items": items}))?.undefined("work");
        let mut tried = fresh.clone();
        tried.start()?;
        if tried.opened() != branches {
            return Err(format!("{} of {branches} branches were opened", tried.opened()).into());
        }
        group.bench_function(BenchmarkId::new("a dynamic fork, branches", branches), |b| {
            b.iter_batched(|| fresh.clone(), |mut run| run.start(), BatchSize::LargeInput);
        });
    }
    group.finish();
    Ok(())
}

/// A definition of ours that is refused is a fault of this program.
#[expect(clippy::panic, reason = "stops the benchmark with its reason")]
fn all(criterion: &mut Criterion) {
    for part in [templates, definitions, decisions] {
        if let Err(error) = part(criterion) {
            panic!("{error}");
        }
    }
}

criterion_group!(pure, all);
criterion_main!(pure);
