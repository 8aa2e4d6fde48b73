-- view evaluations: Runs joined with their metrics: one row for every run, protocol, target and subset.
-- Start here for a question that no other view answers. Where several result folders hold the same setting and
-- seed (the code changed between two studies), the first folder's count; the command line puts the newest first.
--   collapsed: whether the run failed as a training, see runs
--   degenerate: why the number says nothing (one class to choose among on a side of base-to-new, fewer images than
--     shots in a class, zero-shot CLIP at chance); null where it says something. Averages leave such rows out
--   partial: where the target's images and classes are not the published ones, null otherwise; see datasets
--   as_published: whether the target is a published dataset with the published numbers of images and classes
--   variant: 1, 2, ... for the different (epochs, batch size, options) tried with the same method, shots,
--     backbone and dataset; the same number for every supervision
CREATE TABLE evaluations AS
WITH evaluated AS (
    SELECT
        r.*, m.target, m.subset, m.n_classes, m.n_samples,
        m.accuracy, m.macro_f1, m.top5, m.ece, m.nll, tested.partial,
        coalesce(tested.published IS NOT NULL AND tested.partial IS NULL, false) AS as_published,
        CASE WHEN r.protocol = 'base_to_new' THEN trained.smallest_base_class ELSE trained.smallest_class END
            AS smallest_class
    FROM stored_runs AS r
    JOIN stored_metrics AS m
        ON m.aggregate = r.aggregate AND m.run_id = r.run_id AND (m.protocol IS NULL OR m.protocol = r.protocol)
    LEFT JOIN stored_datasets AS trained ON trained.aggregate = r.aggregate AND trained.name = r.dataset
    LEFT JOIN stored_datasets AS tested ON tested.aggregate = r.aggregate AND tested.name = m.target
    QUALIFY row_number() OVER (PARTITION BY r.run_id, r.protocol, r.dataset, m.target, m.subset ORDER BY r.aggregate) = 1
),
first_folder AS (
    SELECT *
    FROM evaluated
    QUALIFY rank() OVER (
        PARTITION BY protocol, dataset, target, subset, method, supervision, source, mix, temperature, period,
            shots, backbone, epochs, batch_size, options, seed
        ORDER BY aggregate
    ) = 1
),
reasons AS (
    SELECT DISTINCT protocol, dataset, target, backbone, NULL::INTEGER AS shots, '1 ' || subset || ' class' AS reason
    FROM first_folder
    WHERE n_classes = 1
    UNION ALL
    SELECT DISTINCT protocol, dataset, target, backbone, shots,
        shots || ' shots, ' || smallest_class || ' images of the smallest class' AS reason
    FROM first_folder
    WHERE shots > smallest_class
    UNION ALL
    SELECT DISTINCT protocol, dataset, target, backbone, NULL::INTEGER AS shots,
        'zero-shot at chance' || CASE WHEN subset = 'all' THEN '' ELSE ' on ' || subset || ' classes' END AS reason
    FROM first_folder
    WHERE method = 'zero_shot' AND at_chance(accuracy, n_classes)
),
degenerate AS (
    SELECT
        e.protocol, e.dataset, e.target, e.backbone, e.shots, string_agg(r.reason, '; ' ORDER BY r.reason) AS degenerate
    FROM (SELECT DISTINCT protocol, dataset, target, backbone, shots FROM first_folder) AS e
    JOIN reasons AS r
        ON r.protocol = e.protocol AND r.dataset = e.dataset AND r.target = e.target AND r.backbone = e.backbone
        AND (r.shots IS NULL OR r.shots = e.shots)
    GROUP BY e.protocol, e.dataset, e.target, e.backbone, e.shots
)
SELECT
    e.* EXCLUDE (aggregate, smallest_class), runs.collapsed, d.degenerate,
    dense_rank() OVER (
        PARTITION BY e.protocol, e.dataset, e.method, e.shots, e.backbone
        ORDER BY e.epochs, e.batch_size, e.options
    )::INTEGER AS variant
FROM first_folder AS e
JOIN runs ON runs.run_id = e.run_id AND runs.protocol = e.protocol AND runs.dataset = e.dataset
LEFT JOIN degenerate AS d
    ON d.protocol = e.protocol AND d.dataset = e.dataset AND d.target = e.target AND d.backbone = e.backbone
    AND d.shots = e.shots;
