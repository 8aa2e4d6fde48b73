-- view runs: One row for every training (and every zero-shot evaluation) of a protocol.
--   collapsed: whether the run failed as a training: its loss is not finite, or on the dataset it was
--     trained on it is no better than guessing (a twentieth of the way from chance to 100 % or less)
--   collapsed_because: what says so; null for a run that did not collapse
CREATE TABLE runs AS -- a table, as others build on it: it is small, and computed once
WITH guessing AS (
    SELECT
        r.aggregate, r.run_id,
        string_agg(DISTINCT 'accuracy at chance on ' || m.target || '/' || m.subset, '; ') AS because
    FROM stored_runs AS r
    JOIN stored_metrics AS m ON m.aggregate = r.aggregate AND m.run_id = r.run_id AND m.target = r.dataset
    WHERE r.method <> 'zero_shot'
      AND at_chance(m.accuracy, m.n_classes)
    GROUP BY r.aggregate, r.run_id
),
flagged AS (
    SELECT
        r.*,
        nullif(concat_ws('; ',
            CASE WHEN NOT isfinite(r.final_loss) THEN 'final loss is not finite' END, g.because), '')
            AS collapsed_because
    FROM stored_runs AS r
    LEFT JOIN guessing AS g ON g.aggregate = r.aggregate AND g.run_id = r.run_id
)
SELECT * EXCLUDE (aggregate, collapsed_because), collapsed_because IS NOT NULL AS collapsed, collapsed_because
FROM flagged
QUALIFY row_number() OVER (PARTITION BY run_id, protocol, dataset ORDER BY aggregate) = 1;
