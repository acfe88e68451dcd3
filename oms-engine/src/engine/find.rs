//! Searching runs and tasks.

use std::time::Duration;

use serde_json::json;

use super::Engine;
use super::search::{
    Found, FoundWorkflow, SortOrder, TaskSearch, TaskSort, TextQuery, TimeRange, WorkflowSearch,
    WorkflowSort,
};
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};
use crate::store::{Hits, Rented, TaskFilter, Window, WorkflowFilter};

/// How long a search may take.
const SEARCH_MAX: Duration = Duration::from_secs(5);
/// The largest page.
const PAGE_MAX: usize = 1_000;
/// The furthest place that a page begins at.
const START_MAX: usize = 10_000_000;
/// So many hits behind the page are counted.
const COUNTED: usize = 10_000;
/// Texts of one search, and bytes of one of them.
const TEXTS_MAX: usize = 1_000;
const TEXT_MAX_BYTES: usize = 1_000;

impl Engine {
    /// Finds runs, the newest first unless another order is asked for.
    ///
    /// # Errors
    /// [`Error::InvalidInput`]; [`Error::TooWide`] when it has more to look at than its time
    /// allows: five seconds, or half the engine's deadline where that is less.
    ///
    /// # Cancel safety
    /// Dropped, it goes on until its time is up.
    pub async fn search(&self, search: &WorkflowSearch) -> Result<Found<FoundWorkflow>, Error> {
        let window = window(search.start, search.size)?;
        let (names, name_like) = texts("name", search.name.as_ref())?;
        let (correlation_ids, correlation_like) =
            texts("correlation id", search.correlation_id.as_ref())?;
        let filter = WorkflowFilter {
            ids: ids(search.workflow_ids.as_deref())?,
            names,
            name_like,
            correlation_ids,
            correlation_like,
            parents: ids(search.parent_ids.as_deref())?,
            versions: search.versions.clone(),
            statuses: search.statuses.clone(),
            top_level_only: search.top_level_only,
            created: (search.created.from, search.created.before),
            ended: (search.ended.from, search.ended.before),
            words: words(&search.words)?,
            passed_over: passed_over(&search.unsearched_fields),
            sort: sort(workflow_key(search.sort), search.order),
        };
        let core = self.inner.shared.core.clone();
        let found = self.searching(move |tx| {
            Box::pin(async move { core.store.search_workflows(tx, &filter, window).await })
        });
        let (hits, runs) = found.await?;
        let results = runs.into_iter().map(Into::into).collect();
        Ok(Found { total_hits: usize::try_from(hits).unwrap_or(0), results })
    }

    /// Finds attempts, those that were scheduled last first unless another order is asked for.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    ///
    /// # Cancel safety
    /// As [`search`](Self::search).
    pub async fn search_tasks(&self, search: &TaskSearch) -> Result<Found<TaskId>, Error> {
        let window = window(search.start, search.size)?;
        let (types, type_like) = texts("task type", search.task_type.as_ref())?;
        let many = |what: &str, list: Option<&Vec<String>>| -> Result<_, Error> {
            let query = list.cloned().map(TextQuery::OneOf);
            Ok(texts(what, query.as_ref())?.0)
        };
        let range = |range: TimeRange| (range.from, range.before);
        let filter = TaskFilter {
            runs: ids(search.workflow_ids.as_deref())?,
            tasks: search.task_ids.clone(),
            types,
            type_like,
            statuses: search.statuses.clone(),
            names: many("workflow name", search.workflow_names.as_ref())?,
            correlation_ids: many("correlation id", search.correlation_ids.as_ref())?,
            parents: ids(search.parent_ids.as_deref())?,
            scheduled: range(search.scheduled),
            started: range(search.started),
            ended: range(search.ended),
            changed: range(search.updated),
            words: words(&search.words)?,
            passed_over: passed_over(&search.unsearched_fields),
            sort: sort(task_key(search.sort), search.order),
        };
        let core = self.inner.shared.core.clone();
        let found = self.searching(move |tx| {
            Box::pin(async move { core.store.search_tasks(tx, &filter, window).await })
        });
        let (hits, results) = found.await?;
        Ok(Found { total_hits: usize::try_from(hits).unwrap_or(0), results })
    }

    /// Runs a search on a connection of the searches' own, within their time.
    async fn searching<T, F>(&self, search: F) -> Result<Hits<T>, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a deadpool_postgres::Transaction<'_>) -> Work<'a, T> + Send + 'static,
    {
        let core = self.inner.shared.core.clone();
        let pool = self.inner.search_pool.clone();
        // The server stops it before this side gives up on it.
        let limit = SEARCH_MAX.min(self.inner.shared.config.deadline / 2);
        self.on_own_threads(async move {
            let mut client = Rented::from(&pool, "getting a connection to search").await?;
            let done = async {
                let tx = core.store.begin_search(client.client()?, limit).await?;
                let found = search(&tx).await?;
                core.store.commit(tx).await?;
                Ok(found)
            };
            let done = done.await;
            client.settle(done).map_err(|error| match was_stopped(&error) {
                true => Error::TooWide { after: limit },
                false => error,
            })
        })
        .await
    }
}

type Work<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<Hits<T>, Error>> + Send + 'a>>;

/// The SQLSTATE of a statement whose time was up.
const STOPPED: &str = "57014";

/// Whether the database stopped a statement since its time was up.
pub(super) fn was_stopped(error: &Error) -> bool {
    let Error::Database { source, .. } = error else { return false };
    source.code().is_some_and(|code| code.code() == STOPPED)
}

fn window(start: usize, size: usize) -> Result<Window, Error> {
    let size = if size == 0 { 100 } else { size };
    if size > PAGE_MAX {
        return Err(Error::invalid("size", format!("{size} is more than {PAGE_MAX}")));
    }
    if start > START_MAX {
        return Err(Error::invalid("start", format!("{start} is more than {START_MAX}")));
    }
    Ok(Window {
        counted: i64::try_from(start + size + COUNTED).unwrap_or(i64::MAX),
        start: i32::try_from(start).unwrap_or(i32::MAX),
        size: i32::try_from(size).unwrap_or(i32::MAX),
    })
}

fn check(what: &str, texts: &[String]) -> Result<(), Error> {
    many(what, texts.len())?;
    for text in texts {
        if text.len() > TEXT_MAX_BYTES {
            let why = format!("has {} bytes, at most {TEXT_MAX_BYTES}", text.len());
            return Err(Error::invalid(what, why));
        }
        if text.contains('\0') {
            return Err(Error::invalid(what, "has a NUL character"));
        }
    }
    Ok(())
}

fn many(what: &str, count: usize) -> Result<(), Error> {
    if count > TEXTS_MAX {
        return Err(Error::invalid(what, format!("has {count} values, at most {TEXTS_MAX}")));
    }
    Ok(())
}

fn ids(ids: Option<&[WorkflowId]>) -> Result<Option<Vec<uuid::Uuid>>, Error> {
    let Some(ids) = ids else { return Ok(None) };
    many("workflow ids", ids.len())?;
    Ok(Some(ids.iter().map(|id| id.as_uuid()).collect()))
}

/// What is compared as it is, and as LIKE has it.
type Texts = (Option<Vec<String>>, Option<String>);

fn texts(what: &str, query: Option<&TextQuery>) -> Result<Texts, Error> {
    Ok(match query {
        None => (None, None),
        Some(TextQuery::OneOf(all)) => {
            check(what, all)?;
            (Some(all.clone()), None)
        }
        Some(TextQuery::Like(text)) => {
            check(what, std::slice::from_ref(text))?;
            (None, Some(literal(text).replace('*', "%")))
        }
    })
}

fn words(words: &[String]) -> Result<Option<Vec<String>>, Error> {
    check("words", words)?;
    let all: Vec<String> = words.iter().map(|word| format!("%{}%", literal(word))).collect();
    Ok((!all.is_empty()).then_some(all))
}

/// The values of these fields in the text of JSON. One that holds others is not told apart from what
/// follows it.
fn passed_over(fields: &[String]) -> Option<String> {
    let names: Vec<String> = fields.iter().map(|name| escaped(&json!(name).to_string())).collect();
    let value = r#"("([^"\\]|\\.)*"|[^]"{[,}]+|[{[].*)"#;
    (!names.is_empty()).then(|| format!("({}): {value}", names.join("|")))
}

/// A text in a regular expression that means itself.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A text in a pattern of LIKE that means itself.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

fn sort(key: &str, order: SortOrder) -> String {
    match order {
        SortOrder::Ascending => key.to_owned(),
        SortOrder::Descending => format!("-{key}"),
    }
}

const fn workflow_key(sort: WorkflowSort) -> &'static str {
    match sort {
        WorkflowSort::StartTime => "startTime",
        WorkflowSort::EndTime => "endTime",
        WorkflowSort::WorkflowType => "workflowType",
        WorkflowSort::CorrelationId => "correlationId",
        WorkflowSort::Status => "status",
    }
}

const fn task_key(sort: TaskSort) -> &'static str {
    match sort {
        TaskSort::ScheduledTime => "scheduledTime",
        TaskSort::StartTime => "startTime",
        TaskSort::EndTime => "endTime",
        TaskSort::UpdateTime => "updateTime",
        TaskSort::TaskType => "taskType",
    }
}
