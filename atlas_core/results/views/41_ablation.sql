-- view ablation: Base-to-new accuracy along one factor while the others stay fixed: K (period), epsilon (mix) or
-- the temperature. Degenerate datasets (see evaluations) are left out. One row for every value of a factor that was tried with at least two values.
-- For the period the ends are filled in from the plain runs: the source alone is K = 1, one-hot is K = infinity.
--   factor: period, mix or temperature
--   value: the factor's value; infinity for one-hot as the end of the period, null for the temperature that
--     is the source's default
--   source: label source whose factor is varied
--   supervision: supervision of the row's runs
--   mix: epsilon of the row's source (fixed unless it is the factor)
--   temperature: temperature of the row's source (fixed unless it is the factor)
--   period: K (fixed unless it is the factor; null when nothing alternates)
--   dataset: dataset, or 'average' over the datasets on which every value of the factor was tried
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   base: accuracy on base classes, percent, mean over seeds
--   new: accuracy on new classes, percent, mean over seeds
--   h: harmonic mean of the two
--   n_seeds: seeds averaged
--   n_datasets: datasets averaged, the same for every value of a factor; 1 outside the average row
CREATE VIEW ablation AS
WITH settings AS (
    SELECT
        dataset, method, supervision, coalesce(source, supervision) AS source, mix, temperature, period, shots,
        backbone, variant, base, new, h, n_seeds, n_datasets
    FROM base_to_new
    WHERE method <> 'zero_shot' AND dataset <> 'average' AND degenerate IS NULL
),
alternating AS (SELECT * FROM settings WHERE period > 1),
families AS (
    SELECT DISTINCT dataset, method, source, mix, temperature, shots, backbone, variant FROM alternating
),
by_period AS (
    SELECT 'period' AS factor, period::DOUBLE AS value, * FROM alternating
    UNION ALL BY NAME
    SELECT 'period' AS factor, 1.0 AS value, s.*
    FROM settings AS s
    SEMI JOIN families AS f
        ON f.dataset = s.dataset AND f.method = s.method AND f.source = s.source AND f.shots = s.shots
        AND f.backbone = s.backbone AND f.variant = s.variant
        AND f.mix IS NOT DISTINCT FROM s.mix AND f.temperature IS NOT DISTINCT FROM s.temperature
    WHERE coalesce(s.period, 1) = 1 AND s.supervision <> 'one_hot'
    UNION ALL BY NAME
    SELECT 'period' AS factor, 'infinity'::DOUBLE AS value, s.* REPLACE
        (f.source AS source, f.mix AS mix, f.temperature AS temperature)
    FROM settings AS s
    JOIN families AS f
        ON f.dataset = s.dataset AND f.method = s.method AND f.shots = s.shots AND f.backbone = s.backbone
        AND f.variant = s.variant
    WHERE s.supervision = 'one_hot'
),
along AS (
    SELECT * FROM by_period
    QUALIFY count(DISTINCT value) OVER (
        PARTITION BY dataset, method, source, mix, temperature, shots, backbone, variant) > 1
    UNION ALL BY NAME
    SELECT * FROM (SELECT 'mix' AS factor, mix AS value, * FROM settings WHERE mix IS NOT NULL)
    QUALIFY count(DISTINCT value) OVER (
        PARTITION BY dataset, method, supervision, source, temperature, period, shots, backbone, variant) > 1
    UNION ALL BY NAME
    SELECT 'temperature' AS factor, temperature AS value, * FROM settings
    QUALIFY count(DISTINCT coalesce(temperature, 0)) OVER (
        PARTITION BY dataset, method, supervision, source, mix, period, shots, backbone, variant) > 1
),
-- Other studies may have some values on more datasets: those would shift a value's average for a reason of their own.
complete AS (
    SELECT * FROM along
    QUALIFY count(DISTINCT coalesce(value, -1)) OVER (
        PARTITION BY factor, method, source, shots, backbone, variant, dataset,
            CASE WHEN factor <> 'period' THEN supervision END, CASE WHEN factor <> 'period' THEN period END,
            CASE WHEN factor <> 'mix' THEN mix END, CASE WHEN factor <> 'temperature' THEN temperature END
    ) = count(DISTINCT coalesce(value, -1)) OVER (
        PARTITION BY factor, method, source, shots, backbone, variant,
            CASE WHEN factor <> 'period' THEN supervision END, CASE WHEN factor <> 'period' THEN period END,
            CASE WHEN factor <> 'mix' THEN mix END, CASE WHEN factor <> 'temperature' THEN temperature END
    )
),
average AS (
    SELECT
        factor, value, 'average' AS dataset, method, source, supervision, mix, temperature, period, shots, backbone,
        variant, avg(base) AS base, avg(new) AS new, harmonic_mean(avg(base), avg(new)) AS h,
        min(n_seeds)::INTEGER AS n_seeds, count(*)::INTEGER AS n_datasets
    FROM complete
    GROUP BY ALL
)
SELECT
    factor, value, dataset, method, source, supervision, mix, temperature, period, shots, backbone, variant,
    base, new, h, n_seeds, n_datasets
FROM along
UNION ALL BY NAME
SELECT * FROM average;
