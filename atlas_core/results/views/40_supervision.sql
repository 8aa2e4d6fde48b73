-- view paired_differences: Every evaluation beside the one-hot evaluation of the same method, dataset, shots,
-- backbone, variant and seed: the same images, initial context and batch order, so the difference is the
-- supervision's doing.
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   one_hot_run_id: run that it is compared with
--   one_hot_accuracy: accuracy of that run, percent
--   difference: accuracy - one_hot_accuracy, points
--   collapsed: whether either of the two runs collapsed
--   degenerate: why the number says nothing, see evaluations
CREATE VIEW paired_differences AS
SELECT
    e.run_id, e.protocol, e.dataset, e.target, e.subset, e.method, e.supervision, e.source, e.mix, e.temperature,
    e.period, e.shots, e.backbone, e.variant, e.seed, e.accuracy,
    o.run_id AS one_hot_run_id, o.accuracy AS one_hot_accuracy,
    e.accuracy - o.accuracy AS difference, e.collapsed OR o.collapsed AS collapsed, e.degenerate
FROM evaluations AS e
JOIN evaluations AS o
    ON o.supervision = 'one_hot' AND o.protocol = e.protocol AND o.dataset = e.dataset AND o.target = e.target
    AND o.subset = e.subset AND o.method = e.method AND o.shots = e.shots AND o.backbone = e.backbone
    AND o.variant = e.variant AND o.seed = e.seed
WHERE e.supervision <> 'one_hot';

-- view supervision_comparison: Base-to-new accuracy of every supervision beside one-hot training of the same
-- method, over the seeds (and in the average row the datasets) that both have.
--   dataset: dataset, or 'average' over the datasets that both have
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   base: accuracy on base classes, percent, mean over paired seeds
--   new: accuracy on new classes, percent, mean over paired seeds
--   h: harmonic mean of the two means
--   one_hot_base: the same of one-hot training
--   one_hot_new: the same of one-hot training
--   one_hot_h: the same of one-hot training
--   delta_base: base - one_hot_base, points
--   delta_new: new - one_hot_new, points
--   delta_h: h - one_hot_h, points
--   n_seeds: paired seeds (in the average row the smallest number of any dataset)
--   n_datasets: datasets averaged; 1 outside the average row
--   n_collapsed: pairs with a collapsed run among those averaged
--   degenerate: why the number says nothing, see evaluations; averages leave such datasets out
CREATE VIEW supervision_comparison AS
WITH per_dataset AS (
    SELECT
        e.dataset, e.method, e.supervision, e.source, e.mix, e.temperature, e.period, e.shots, e.backbone, e.variant,
        avg(e.base) AS base, avg(e.new) AS new, avg(o.base) AS one_hot_base, avg(o.new) AS one_hot_new,
        count(DISTINCT e.seed)::INTEGER AS n_seeds, 1::INTEGER AS n_datasets,
        count(*) FILTER (e.collapsed OR o.collapsed)::INTEGER AS n_collapsed, any_value(e.degenerate) AS degenerate
    FROM base_to_new_runs AS e
    JOIN base_to_new_runs AS o
        ON o.supervision = 'one_hot' AND o.dataset = e.dataset AND o.method = e.method AND o.shots = e.shots
        AND o.backbone = e.backbone AND o.variant = e.variant AND o.seed = e.seed
    WHERE e.supervision <> 'one_hot'
    GROUP BY e.dataset, e.method, e.supervision, e.source, e.mix, e.temperature, e.period, e.shots, e.backbone,
        e.variant
),
with_average AS (
    SELECT * FROM per_dataset
    UNION ALL BY NAME
    SELECT
        'average' AS dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant,
        avg(base) AS base, avg(new) AS new, avg(one_hot_base) AS one_hot_base, avg(one_hot_new) AS one_hot_new,
        min(n_seeds)::INTEGER AS n_seeds, count(*)::INTEGER AS n_datasets, sum(n_collapsed)::INTEGER AS n_collapsed
    FROM per_dataset
    WHERE degenerate IS NULL
    GROUP BY method, supervision, source, mix, temperature, period, shots, backbone, variant
)
SELECT
    dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant,
    base, new, harmonic_mean(base, new) AS h,
    one_hot_base, one_hot_new, harmonic_mean(one_hot_base, one_hot_new) AS one_hot_h,
    base - one_hot_base AS delta_base, new - one_hot_new AS delta_new,
    harmonic_mean(base, new) - harmonic_mean(one_hot_base, one_hot_new) AS delta_h,
    n_seeds, n_datasets, n_collapsed, degenerate
FROM with_average;
