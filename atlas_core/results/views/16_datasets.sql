-- view datasets: One row for every dataset of the results: where it is, what is in it, and whether that is what was
-- published. Two with one name of their own are shown under different ones in every view.
CREATE TABLE datasets AS
SELECT * EXCLUDE (aggregate)
FROM stored_datasets
QUALIFY row_number() OVER (PARTITION BY name ORDER BY aggregate) = 1;
