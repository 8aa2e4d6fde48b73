-- view curves: One row for every epoch of every training.
CREATE VIEW curves AS
SELECT * EXCLUDE (aggregate)
FROM stored_curves
QUALIFY row_number() OVER (PARTITION BY run_id, epoch ORDER BY aggregate) = 1;
