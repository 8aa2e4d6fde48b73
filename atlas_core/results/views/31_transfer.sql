-- Accuracy on other datasets than the one trained on, for one protocol: the cross-dataset table and the
-- domain-generalization table have this shape. The average covers the targets, without the source itself.
CREATE MACRO transfer_table(which) AS TABLE
WITH per_target AS (
    SELECT
        dataset, target, method, supervision, source, mix, temperature, period, shots, backbone, variant,
        avg(accuracy) AS accuracy, stddev_pop(accuracy) AS accuracy_std,
        stddev_samp(accuracy) AS accuracy_std_sample,
        count(DISTINCT seed)::INTEGER AS n_seeds, 1::INTEGER AS n_targets,
        count(*) FILTER (collapsed)::INTEGER AS n_collapsed, any_value(degenerate) AS degenerate,
        any_value(partial) AS partial, bool_and(as_published) AS as_published
    FROM evaluations
    WHERE protocol = which AND subset = 'all'
    GROUP BY dataset, target, method, supervision, source, mix, temperature, period, shots, backbone, variant
),
per_seed AS (
    SELECT
        dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant, seed,
        avg(accuracy) AS accuracy, count(*) AS n_targets
    FROM evaluations
    WHERE protocol = which AND subset = 'all' AND target <> dataset AND degenerate IS NULL
    GROUP BY dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant, seed
),
complete_seeds AS (
    SELECT * FROM per_seed
    QUALIFY n_targets = max(n_targets) OVER (
        PARTITION BY dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant
    )
),
spread AS (
    SELECT
        dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant,
        stddev_pop(accuracy) AS accuracy_std, stddev_samp(accuracy) AS accuracy_std_sample
    FROM complete_seeds
    GROUP BY dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant
),
average AS (
    SELECT
        dataset, 'average' AS target, method, supervision, source, mix, temperature, period, shots, backbone,
        variant, avg(accuracy) AS accuracy, min(n_seeds)::INTEGER AS n_seeds, count(*)::INTEGER AS n_targets,
        -- one run is evaluated on every target, so its collapse is counted once
        max(n_collapsed)::INTEGER AS n_collapsed
    FROM per_target
    WHERE target <> dataset AND degenerate IS NULL
    GROUP BY dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant
)
SELECT * FROM per_target
UNION ALL BY NAME
SELECT a.*, s.accuracy_std, s.accuracy_std_sample
FROM average AS a
JOIN spread AS s
    ON s.dataset = a.dataset AND s.method = a.method AND s.supervision = a.supervision
    AND s.source IS NOT DISTINCT FROM a.source AND s.mix IS NOT DISTINCT FROM a.mix
    AND s.temperature IS NOT DISTINCT FROM a.temperature AND s.period IS NOT DISTINCT FROM a.period
    AND s.shots = a.shots AND s.backbone = a.backbone AND s.variant = a.variant;

-- view cross_dataset: Prompts trained on one dataset, tested on the others: one row for every setting and target.
--   target: dataset tested on (the trained one too), or 'average' over the targets without the trained one
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   accuracy: mean over seeds, percent
--   accuracy_std: standard deviation over seeds with ddof 0; in the average row that of the seeds' averages
--   accuracy_std_sample: standard deviation over seeds with ddof 1
--   n_seeds: seeds averaged (in the average row the smallest number of any target)
--   n_targets: targets averaged; 1 outside the average row
--   n_collapsed: collapsed runs among those averaged
--   degenerate: why the number says nothing, see evaluations; averages leave such targets out
--   partial: where the target's images and classes are not the published ones, see datasets
--   as_published: whether the target is a published dataset with the published numbers of images and classes
CREATE VIEW cross_dataset AS SELECT * FROM transfer_table('cross_dataset');

-- view domain_generalization: Prompts trained on one dataset, tested on shifted versions of it.
--   target: dataset tested on (the trained one too), or 'average' over the shifted versions
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   accuracy: mean over seeds, percent
--   accuracy_std: standard deviation over seeds with ddof 0; in the average row that of the seeds' averages
--   accuracy_std_sample: standard deviation over seeds with ddof 1
--   n_seeds: seeds averaged (in the average row the smallest number of any target)
--   n_targets: targets averaged; 1 outside the average row
--   n_collapsed: collapsed runs among those averaged
--   degenerate: why the number says nothing, see evaluations; averages leave such targets out
--   partial: where the target's images and classes are not the published ones, see datasets
--   as_published: whether the target is a published dataset with the published numbers of images and classes
CREATE VIEW domain_generalization AS SELECT * FROM transfer_table('domain_generalization');
