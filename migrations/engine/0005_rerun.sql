-- What a rerun from a step leaves alone.

-- Tasks that the cut of an epoch does not hide, though they were scheduled later: those of branches
-- beside the step that was rerun.
CREATE TABLE {schema}.kept_tasks (
    workflow_id uuid NOT NULL,
    epoch smallint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (workflow_id, epoch, seq)
);

-- Whether a later epoch has cut an ended task off. A container was scheduled before what stands in
-- it: it counts by its end.
CREATE FUNCTION {schema}.is_cut_off(
    cuts jsonb, of_workflow uuid, of_epoch smallint, of_seq bigint, of_queue text,
    of_end timestamptz
) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM jsonb_to_recordset(cuts) AS c(epoch smallint, cut bigint, at timestamptz)
        WHERE c.epoch > of_epoch
            AND (of_seq >= c.cut OR (of_end > c.at AND of_queue IN ('JOIN', 'DO_WHILE')))
            AND NOT EXISTS (
                SELECT FROM {schema}.kept_tasks k
                WHERE k.workflow_id = of_workflow AND k.epoch = c.epoch AND k.seq = of_seq
            )
    )
$$;
