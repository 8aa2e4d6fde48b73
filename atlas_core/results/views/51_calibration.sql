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
