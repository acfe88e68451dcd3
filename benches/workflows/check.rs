//! No figure without its check: the tables say whether the work was done.

use oms_engine::tokio_postgres::Client;

use crate::Failure;

/// That `runs` runs of the linear five are COMPLETED; that each has five rows of history, of five
/// transactions, each after the one before; that each output is what its worker made of its input.
pub(crate) async fn linear5(client: &Client, runs: usize) -> Result<(), Failure> {
    let sql = "
        WITH h AS (
            SELECT h.workflow_id, h.seq, h.xmin::text::bigint AS writer, h.reference_name,
                h.status = 0
                    AND h.output->>'text' = rpad(h.reference_name || ':' || left(w.input->>'data', 20), 36, '-')
                    AS is_right
            FROM oms_engine.task_history h JOIN oms_engine.workflows w ON w.id = h.workflow_id
        ),
        by_run AS (
            SELECT workflow_id, count(*) AS rows, bool_and(is_right) AS are_right,
                array_agg(reference_name ORDER BY seq) = ARRAY['s1', 's2', 's3', 's4', 's5'] AS in_order,
                array_agg(writer ORDER BY seq) = array_agg(writer ORDER BY writer) AS one_after_another,
                count(DISTINCT writer) AS writers
            FROM h GROUP BY workflow_id
        )
        SELECT (SELECT count(*) FROM oms_engine.workflows WHERE status = 2),
            (SELECT count(*) FROM by_run WHERE rows = 5 AND are_right AND in_order
                AND one_after_another AND writers = 5),
            (SELECT count(*) FROM oms_engine.open_tasks)";
    let row = client.query_one(sql, &[]).await?;
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
