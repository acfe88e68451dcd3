//! No figure without its check: the tables say whether the work was done.

use oms_engine::tokio_postgres::Client;

use super::linear::Line;
use super::{Failure, Figures};
use crate::measure::figures::figure;

/// That `runs` runs of the line are COMPLETED; that each has a row of history for each step, each
/// of another transaction and after the one before; that each output is what its worker made of
/// its input, and the run's that of the last.
pub(crate) async fn line(client: &Client, line: Line, runs: usize) -> Result<(), Failure> {
    let sql = "
        /* harness */
        WITH h AS (
            SELECT h.workflow_id, h.seq, h.xmin::text::bigint AS writer, h.reference_name,
                h.status = 0 AND h.input = w.input
                    AND h.output->>'text' = rpad(h.reference_name || ':' || left(w.input->>'data', 20), 36, '-')
                    AND (h.reference_name <> ($1::text[])[cardinality($1::text[])] OR w.output = h.output)
                    AS is_right
            FROM oms_engine.task_history h JOIN oms_engine.workflows w ON w.id = h.workflow_id
            WHERE w.name = $2::text
        ),
        by_run AS (
            SELECT workflow_id, count(*) AS rows, bool_and(is_right) AS are_right,
                array_agg(reference_name ORDER BY seq) = $1::text[] AS in_order,
                array_agg(writer ORDER BY seq) = array_agg(writer ORDER BY writer) AS one_after_another,
                count(DISTINCT writer) AS writers
            FROM h GROUP BY workflow_id
        )
        SELECT (SELECT count(*) FROM oms_engine.workflows WHERE status = 2 AND name = $2),
            (SELECT count(*) FROM by_run WHERE rows = cardinality($1::text[]) AND are_right AND in_order
                AND one_after_another AND writers = cardinality($1::text[])),
            (SELECT count(*) FROM oms_engine.open_tasks)";
    let row = client.query_one(sql, &[&line.steps, &line.name]).await?;
    let (completed, right, open): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let runs = i64::try_from(runs)?;
    if (completed, right, open) == (runs, runs, 0) {
        return Ok(());
    }
    Err(format!(
        "of {runs} runs {completed} are COMPLETED and {right} have the history they should have; \
         {open} tasks are open"
    )
    .into())
}

/// That `runs` runs are COMPLETED with `worked` tasks of workers each, all of them COMPLETED.
pub(crate) async fn worked(client: &Client, runs: usize, worked: usize) -> Result<(), Failure> {
    let sql = "
        /* harness */
        SELECT (SELECT count(*) FROM oms_engine.workflows WHERE status = 2),
            (SELECT count(*) FROM (
                SELECT FROM oms_engine.task_history WHERE queue = 'no_op' AND status = 0
                GROUP BY workflow_id HAVING count(*) = $1
            ) x)";
    let row = client.query_one(sql, &[&i64::try_from(worked)?]).await?;
    let (completed, right): (i64, i64) = (row.get(0), row.get(1));
    let runs = i64::try_from(runs)?;
    if (completed, right) == (runs, runs) {
        return Ok(());
    }
    Err(format!(
        "of {runs} runs {completed} are COMPLETED and {right} have run {worked} tasks each"
    )
    .into())
}

/// That so many runs are there, each with its first task, ready.
pub(crate) async fn started(client: &Client, runs: usize) -> Result<(), Failure> {
    let sql = "
        /* harness */
        SELECT (SELECT count(*) FROM oms_engine.workflows WHERE status = 0),
            (SELECT count(DISTINCT w.id)
             FROM oms_engine.open_tasks t JOIN oms_engine.workflows w ON w.id = t.workflow_id
             WHERE t.state = 0 AND t.reference_name = 's1'),
            (SELECT count(*) FROM oms_engine.open_tasks)";
    let row = client.query_one(sql, &[]).await?;
    let (running, ready, open): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let runs = i64::try_from(runs)?;
    if (running, ready, open) == (runs, runs, runs) {
        return Ok(());
    }
    Err(format!("of {runs} runs {running} are RUNNING, {ready} of them have their first task")
        .into())
}

/// How long runs took from the statement that started them to the one that ended them.
pub(crate) async fn durations(client: &Client, line: Line) -> Result<Figures, Failure> {
    let sql = "
        /* harness */
        SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
            ORDER BY extract(epoch FROM ended_at - created_at)::float8 * 1000
        )
        FROM oms_engine.workflows WHERE name = $1";
    let millis: Vec<f64> = client.query_one(sql, &[&line.name]).await?.get(0);
    let names = ["run, p50", "run, p95", "run, p99"];
    Ok(names.iter().zip(millis).map(|(name, value)| (figure(*name, "ms"), value)).collect())
}
