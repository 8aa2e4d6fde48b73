-- view calibration: Reliability diagrams: predictions of all seeds of a setting in 15 equal-width bins of confidence.
-- Its gaps weighted by count give the pooled calibration error; metrics.ece is that of a single run.
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   bin: 1 to 15; empty bins have no row
--   lower: confidence above which the bin starts
--   upper: confidence up to which it reaches
--   count: predictions in the bin
--   confidence: their mean probability
--   accuracy: fraction of them that is correct
--   gap: confidence - accuracy; above 0 is overconfident
CREATE VIEW calibration AS
WITH binned AS (
    SELECT
        run_id, target, subset, probability, (prediction = label)::INTEGER AS correct,
        CASE WHEN isnan(probability) THEN 15
             ELSE least(greatest(ceil(probability::DOUBLE * 15), 1), 15) END::INTEGER AS bin
    FROM predictions
)
SELECT
    e.protocol, e.dataset, e.target, e.subset, e.method, e.supervision, e.source, e.mix, e.temperature, e.period,
    e.shots, e.backbone, e.variant, b.bin, (b.bin - 1) / 15.0 AS lower, b.bin / 15.0 AS upper,
    count(*) AS count,
    avg(CASE WHEN isnan(b.probability) THEN 1.0 ELSE b.probability::DOUBLE END) AS confidence,
    avg(b.correct) AS accuracy,
    avg(CASE WHEN isnan(b.probability) THEN 1.0 ELSE b.probability::DOUBLE END) - avg(b.correct) AS gap
FROM binned AS b
JOIN evaluations AS e ON e.run_id = b.run_id AND e.target = b.target AND e.subset = b.subset
GROUP BY e.protocol, e.dataset, e.target, e.subset, e.method, e.supervision, e.source, e.mix, e.temperature,
    e.period, e.shots, e.backbone, e.variant, b.bin;

-- view calibration_summary: Calibration of every setting: one row for each protocol, subset and tested dataset, and
-- one with target = 'average' (in the transfer protocols over the targets without the trained dataset).
--   dataset: dataset trained on; null in the average row of base_to_new and few_shot
--   target: dataset tested on, or 'average' over them
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   accuracy: mean over seeds, percent
--   ece: expected calibration error of a run, percent, mean over seeds
--   nll: negative log-likelihood, nats, mean over seeds
--   overconfidence: mean probability of the prediction minus accuracy, points, mean over seeds
--   n_seeds: seeds averaged (in the average row the smallest number of any target)
--   n_targets: targets averaged; 1 outside the average row
--   n_collapsed: collapsed runs among those averaged
--   degenerate: why the number says nothing, see evaluations; averages leave such targets out
CREATE VIEW calibration_summary AS
WITH confidence AS (
    SELECT run_id, target, subset, 100.0 * avg(CASE WHEN isnan(probability) THEN 1.0 ELSE probability::DOUBLE END)
        AS confidence
    FROM predictions
    GROUP BY run_id, target, subset
),
per_target AS (
    SELECT
        e.protocol, e.dataset, e.target, e.subset, e.method, e.supervision, e.source, e.mix, e.temperature, e.period,
        e.shots, e.backbone, e.variant, avg(e.accuracy) AS accuracy, avg(e.ece) AS ece, avg(e.nll) AS nll,
        avg(c.confidence - e.accuracy) AS overconfidence, count(DISTINCT e.seed)::INTEGER AS n_seeds,
        1::INTEGER AS n_targets, count(*) FILTER (e.collapsed)::INTEGER AS n_collapsed,
        any_value(e.degenerate) AS degenerate
    FROM evaluations AS e
    LEFT JOIN confidence AS c ON c.run_id = e.run_id AND c.target = e.target AND c.subset = e.subset
    GROUP BY e.protocol, e.dataset, e.target, e.subset, e.method, e.supervision, e.source, e.mix, e.temperature,
        e.period, e.shots, e.backbone, e.variant
)
SELECT * FROM per_target
UNION ALL BY NAME
SELECT
    protocol, CASE WHEN protocol IN ('cross_dataset', 'domain_generalization') THEN dataset END AS dataset,
    'average' AS target, subset, method, supervision, source, mix, temperature, period, shots, backbone,
    variant, avg(accuracy) AS accuracy, avg(ece) AS ece, avg(nll) AS nll, avg(overconfidence) AS overconfidence,
    min(n_seeds)::INTEGER AS n_seeds, count(*)::INTEGER AS n_targets, sum(n_collapsed)::INTEGER AS n_collapsed
FROM per_target
WHERE (protocol IN ('cross_dataset', 'domain_generalization')) = (dataset <> target) AND degenerate IS NULL
GROUP BY protocol, CASE WHEN protocol IN ('cross_dataset', 'domain_generalization') THEN dataset END, subset,
    method, supervision, source, mix, temperature, period, shots, backbone, variant;
