-- view few_shot: Accuracy on all classes of the trained dataset by number of shots, and the average over datasets.
--   dataset: dataset, or 'average' over the setting's datasets
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   accuracy: mean over seeds, percent
--   accuracy_std: standard deviation over seeds with ddof 0; in the average row that of the seeds' averages
--   accuracy_std_sample: standard deviation over seeds with ddof 1
--   n_seeds: seeds averaged (in the average row the smallest number of any dataset)
--   n_datasets: datasets averaged; 1 outside the average row
--   n_collapsed: collapsed runs among those averaged
--   degenerate: why the number says nothing, see evaluations; averages leave such datasets out
--   partial: where the dataset's images and classes are not the published ones, see datasets
--   n_published: datasets averaged that are among the eleven of published averages and have the published numbers
--     of images and classes; outside the average row 1 for a published dataset, else 0
CREATE VIEW few_shot AS
WITH answers AS (
    SELECT * FROM evaluations WHERE protocol = 'few_shot' AND subset = 'all' AND target = dataset
),
per_dataset AS (
    SELECT
        dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant,
        avg(accuracy) AS accuracy, stddev_pop(accuracy) AS accuracy_std,
        stddev_samp(accuracy) AS accuracy_std_sample,
        count(DISTINCT seed)::INTEGER AS n_seeds, 1::INTEGER AS n_datasets,
        count(*) FILTER (collapsed)::INTEGER AS n_collapsed, any_value(degenerate) AS degenerate,
        any_value(partial) AS partial, bool_and(as_published)::INTEGER AS n_published
    FROM answers
    GROUP BY dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant
),
per_seed AS (
    SELECT
        method, supervision, source, mix, temperature, period, shots, backbone, variant, seed,
        avg(accuracy) AS accuracy, count(*) AS n_datasets
    FROM answers
    WHERE degenerate IS NULL
    GROUP BY method, supervision, source, mix, temperature, period, shots, backbone, variant, seed
),
complete_seeds AS (
    SELECT * FROM per_seed
    QUALIFY n_datasets = max(n_datasets) OVER (
        PARTITION BY method, supervision, source, mix, temperature, period, shots, backbone, variant
    )
),
spread AS (
    SELECT
        method, supervision, source, mix, temperature, period, shots, backbone, variant,
        stddev_pop(accuracy) AS accuracy_std, stddev_samp(accuracy) AS accuracy_std_sample
    FROM complete_seeds
    GROUP BY method, supervision, source, mix, temperature, period, shots, backbone, variant
),
average AS (
    SELECT
        'average' AS dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant,
        avg(accuracy) AS accuracy, min(n_seeds)::INTEGER AS n_seeds, count(*)::INTEGER AS n_datasets,
        sum(n_collapsed)::INTEGER AS n_collapsed,
        count(*) FILTER (n_published = 1 AND dataset IN (FROM averaged_datasets))::INTEGER AS n_published
    FROM per_dataset
    WHERE degenerate IS NULL
    GROUP BY method, supervision, source, mix, temperature, period, shots, backbone, variant
)
SELECT * FROM per_dataset
UNION ALL BY NAME
SELECT a.*, s.accuracy_std, s.accuracy_std_sample
FROM average AS a
JOIN spread AS s
    ON s.method = a.method AND s.supervision = a.supervision AND s.source IS NOT DISTINCT FROM a.source
    AND s.mix IS NOT DISTINCT FROM a.mix AND s.temperature IS NOT DISTINCT FROM a.temperature
    AND s.period IS NOT DISTINCT FROM a.period AND s.shots = a.shots AND s.backbone = a.backbone
    AND s.variant = a.variant;
