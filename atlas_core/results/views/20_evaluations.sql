-- view evaluations: Runs joined with their metrics: one row for every run, protocol, target and subset.
-- Start here for a question that no other view answers. Where several result folders hold the same setting and
-- seed (the code changed between two studies), the first folder's count; the command line puts the newest first.
--   collapsed: whether the run failed as a training, see runs
--   variant: 1, 2, ... for the different (epochs, batch size, options) tried with the same method, shots,
--     backbone and dataset; the same number for every supervision
CREATE TABLE evaluations AS
WITH evaluated AS (
    SELECT
        r.*, m.target, m.subset, m.n_classes, m.n_samples,
        m.accuracy, m.macro_f1, m.top5, m.ece, m.nll
    FROM stored_runs AS r
    JOIN stored_metrics AS m
        ON m.aggregate = r.aggregate AND m.run_id = r.run_id AND (m.protocol IS NULL OR m.protocol = r.protocol)
    QUALIFY row_number() OVER (PARTITION BY r.run_id, r.protocol, m.target, m.subset ORDER BY r.aggregate) = 1
),
first_folder AS (
    SELECT *
    FROM evaluated
    QUALIFY rank() OVER (
        PARTITION BY protocol, dataset, target, subset, method, supervision, source, mix, temperature, period,
            shots, backbone, epochs, batch_size, options, seed
        ORDER BY aggregate
    ) = 1
)
SELECT
    e.* EXCLUDE (aggregate), runs.collapsed,
    dense_rank() OVER (
        PARTITION BY e.protocol, e.dataset, e.method, e.shots, e.backbone
        ORDER BY e.epochs, e.batch_size, e.options
    )::INTEGER AS variant
FROM first_folder AS e
JOIN runs ON runs.run_id = e.run_id AND runs.protocol = e.protocol;
