-- view classes: The class names behind the numbers in predictions.
CREATE VIEW classes AS
SELECT * EXCLUDE (aggregate)
FROM stored_classes
QUALIFY row_number() OVER (PARTITION BY target, subset, label ORDER BY aggregate) = 1;
