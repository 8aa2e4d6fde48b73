-- view artifacts: One row for every artifact that the results stand on, with its cost.
CREATE VIEW artifacts AS
SELECT * EXCLUDE (aggregate)
FROM stored_artifacts
QUALIFY row_number() OVER (PARTITION BY stage, key ORDER BY aggregate) = 1;
