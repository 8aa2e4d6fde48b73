-- view base_to_new_runs: One row for every run of the base-to-new protocol: accuracy on base and on new classes.
--   base: accuracy on the classes it was trained on, percent
--   new: accuracy on the other half of the classes, among themselves, percent
--   h: harmonic mean of base and new
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   collapsed: see runs
--   degenerate: why the number says nothing, see evaluations; averages leave such datasets out
--   partial: where the dataset's images and classes are not the published ones, see datasets
--   as_published: whether it is a published dataset with the published numbers of images and classes
CREATE TABLE base_to_new_runs AS
SELECT
    run_id, dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant, seed,
    any_value(accuracy) FILTER (subset = 'base') AS base,
    any_value(accuracy) FILTER (subset = 'new') AS new,
    harmonic_mean(base, new) AS h,
    bool_or(collapsed) AS collapsed, any_value(degenerate) AS degenerate, any_value(partial) AS partial,
    bool_and(as_published) AS as_published
FROM evaluations
WHERE protocol = 'base_to_new' AND target = dataset
GROUP BY run_id, dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant, seed;

-- view base_to_new: The base-to-new table: one row for every setting and dataset, and one with dataset = 'average'.
-- Accuracies are means over seeds first; h is the harmonic mean of those means, and in the average row
-- that of the averaged base and new (H of the means, not the mean of Hs), as the field computes it.
--   dataset: dataset, or 'average' over the setting's datasets
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   base: accuracy on the classes it was trained on, percent
--   new: accuracy on the other half of the classes, percent
--   h: harmonic mean of base and new
--   base_std: standard deviation of base over seeds with ddof 0, as the field prints it; in the average row
--     that of the seeds' averages over all datasets
--   new_std: the same of new
--   h_std: the same of each seed's h
--   base_std_sample: standard deviation of base over seeds with ddof 1 (the sample's own); null for one seed
--   new_std_sample: the same of new
--   h_std_sample: the same of each seed's h
--   n_seeds: seeds averaged (in the average row the smallest number of any dataset)
--   n_datasets: datasets averaged; 1 outside the average row
--   n_collapsed: collapsed runs among those averaged (flagged, never dropped)
--   degenerate: why the number says nothing, see evaluations; averages leave such datasets out
--   partial: where the dataset's images and classes are not the published ones, see datasets
--   n_published: datasets averaged that are among the eleven of published averages and have the published numbers
--     of images and classes; outside the average row 1 for a published dataset, else 0
CREATE TABLE base_to_new AS
WITH per_dataset AS (
    SELECT
        dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant,
        avg(base) AS base, avg(new) AS new, harmonic_mean(avg(base), avg(new)) AS h,
        stddev_pop(base) AS base_std, stddev_pop(new) AS new_std, stddev_pop(h) AS h_std,
        stddev_samp(base) AS base_std_sample, stddev_samp(new) AS new_std_sample,
        stddev_samp(h) AS h_std_sample,
        count(DISTINCT seed)::INTEGER AS n_seeds, 1::INTEGER AS n_datasets,
        count(*) FILTER (collapsed)::INTEGER AS n_collapsed, any_value(degenerate) AS degenerate,
        any_value(partial) AS partial, bool_and(as_published)::INTEGER AS n_published
    FROM base_to_new_runs
    GROUP BY dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant
),
average AS (
    SELECT
        method, supervision, source, mix, temperature, period, shots, backbone, variant,
        avg(base) AS base, avg(new) AS new, harmonic_mean(avg(base), avg(new)) AS h,
        min(n_seeds)::INTEGER AS n_seeds, count(*)::INTEGER AS n_datasets, sum(n_collapsed)::INTEGER AS n_collapsed,
        count(*) FILTER (n_published = 1 AND dataset IN (FROM averaged_datasets))::INTEGER AS n_published
    FROM per_dataset
    WHERE degenerate IS NULL
    GROUP BY method, supervision, source, mix, temperature, period, shots, backbone, variant
),
seed_average AS (
    SELECT
        method, supervision, source, mix, temperature, period, shots, backbone, variant, seed,
        avg(base) AS base, avg(new) AS new, harmonic_mean(avg(base), avg(new)) AS h,
        count(*) AS n_datasets
    FROM base_to_new_runs
    WHERE degenerate IS NULL
    GROUP BY method, supervision, source, mix, temperature, period, shots, backbone, variant, seed
),
average_spread AS (
    SELECT
        a.method, a.supervision, a.source, a.mix, a.temperature, a.period, a.shots, a.backbone, a.variant,
        stddev_pop(s.base) AS base_std, stddev_pop(s.new) AS new_std, stddev_pop(s.h) AS h_std,
        stddev_samp(s.base) AS base_std_sample, stddev_samp(s.new) AS new_std_sample,
        stddev_samp(s.h) AS h_std_sample
    FROM average AS a
    JOIN seed_average AS s
        ON s.method = a.method AND s.supervision = a.supervision AND s.source IS NOT DISTINCT FROM a.source
        AND s.mix IS NOT DISTINCT FROM a.mix AND s.temperature IS NOT DISTINCT FROM a.temperature
        AND s.period IS NOT DISTINCT FROM a.period AND s.shots = a.shots AND s.backbone = a.backbone
        AND s.variant = a.variant AND s.n_datasets = a.n_datasets
    GROUP BY a.method, a.supervision, a.source, a.mix, a.temperature, a.period, a.shots, a.backbone, a.variant
)
SELECT * FROM per_dataset
UNION ALL BY NAME
SELECT 'average' AS dataset, a.*, w.* EXCLUDE
    (method, supervision, source, mix, temperature, period, shots, backbone, variant)
FROM average AS a
LEFT JOIN average_spread AS w
    ON w.method = a.method AND w.supervision = a.supervision AND w.source IS NOT DISTINCT FROM a.source
    AND w.mix IS NOT DISTINCT FROM a.mix AND w.temperature IS NOT DISTINCT FROM a.temperature
    AND w.period IS NOT DISTINCT FROM a.period AND w.shots = a.shots AND w.backbone = a.backbone
    AND w.variant = a.variant;
