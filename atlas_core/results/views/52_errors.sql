-- view class_accuracy: How often images of each class were recognised, over all seeds of a setting.
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   label: class number inside the subset
--   class_name: name of the class as it is prompted
--   n_predictions: predictions for its images, all seeds together
--   accuracy: correct ones, percent
CREATE VIEW class_accuracy AS
SELECT
    e.protocol, e.dataset, e.target, e.subset, e.method, e.supervision, e.source, e.mix, e.temperature, e.period,
    e.shots, e.backbone, e.variant, p.label, any_value(c.class_name) AS class_name, count(*) AS n_predictions,
    100.0 * avg((p.prediction = p.label)::INTEGER) AS accuracy
FROM predictions AS p
JOIN evaluations AS e ON e.run_id = p.run_id AND e.target = p.target AND e.subset = p.subset
LEFT JOIN classes AS c ON c.target = p.target AND c.subset = p.subset AND c.label = p.label
GROUP BY e.protocol, e.dataset, e.target, e.subset, e.method, e.supervision, e.source, e.mix, e.temperature,
    e.period, e.shots, e.backbone, e.variant, p.label;

-- view confusion_pairs: Which class was taken for which other one, over all seeds of a setting.
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   label: class number inside the subset
--   class_name: true class
--   prediction: number of the class it was taken for
--   predicted_class: name of the class it was taken for
--   count: wrong predictions of that kind, all seeds together
--   percent: their share of the predictions for the true class
CREATE VIEW confusion_pairs AS
WITH counted AS (
    SELECT
        e.protocol, e.dataset, e.target, e.subset, e.method, e.supervision, e.source, e.mix, e.temperature,
        e.period, e.shots, e.backbone, e.variant, p.label, p.prediction, count(*) AS count,
        100.0 * count(*) / sum(count(*)) OVER (
            PARTITION BY e.protocol, e.dataset, e.target, e.subset, e.method, e.supervision, e.source, e.mix,
                e.temperature, e.period, e.shots, e.backbone, e.variant, p.label
        ) AS percent
    FROM predictions AS p
    JOIN evaluations AS e ON e.run_id = p.run_id AND e.target = p.target AND e.subset = p.subset
    GROUP BY e.protocol, e.dataset, e.target, e.subset, e.method, e.supervision, e.source, e.mix, e.temperature,
        e.period, e.shots, e.backbone, e.variant, p.label, p.prediction
)
SELECT n.* EXCLUDE (count, percent), t.class_name, o.class_name AS predicted_class, n.count, n.percent
FROM counted AS n
LEFT JOIN classes AS t ON t.target = n.target AND t.subset = n.subset AND t.label = n.label
LEFT JOIN classes AS o ON o.target = n.target AND o.subset = n.subset AND o.label = n.prediction
WHERE n.label <> n.prediction;
