-- view metrics: One row for every evaluation: a run on the classes of a subset of a target dataset.
CREATE TABLE metrics AS
SELECT * EXCLUDE (aggregate)
FROM stored_metrics
QUALIFY row_number() OVER (PARTITION BY run_id, protocol, target, subset ORDER BY aggregate) = 1;
