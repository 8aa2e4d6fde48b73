-- view predictions: One row for every test image of every evaluation.
CREATE VIEW predictions AS
WITH first_copy AS (
    SELECT run_id, target, subset, min(aggregate) AS aggregate
    FROM (SELECT DISTINCT run_id, target, subset, aggregate FROM stored_predictions)
    GROUP BY run_id, target, subset
)
SELECT p.* EXCLUDE (aggregate)
FROM stored_predictions AS p
SEMI JOIN first_copy AS f
    ON f.run_id = p.run_id AND f.target = p.target AND f.subset = p.subset AND f.aggregate = p.aggregate;
