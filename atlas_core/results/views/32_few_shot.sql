-- view few_shot: Accuracy on all classes of the trained dataset by number of shots, and the average over datasets.
--   dataset: dataset, or 'average' over the setting's datasets
--   variant: number of the (epochs, batch size, options) setting, see evaluations
--   accuracy: mean over seeds, percent
--   accuracy_std: standard deviation over seeds with ddof 0; null in the average row
--   accuracy_std_sample: standard deviation over seeds with ddof 1; null in the average row
--   n_seeds: seeds averaged (in the average row the smallest number of any dataset)
--   n_datasets: datasets averaged; 1 outside the average row
--   n_collapsed: collapsed runs among those averaged
CREATE VIEW few_shot AS
WITH per_dataset AS (
    SELECT
        dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant,
        avg(accuracy) AS accuracy, stddev_pop(accuracy) AS accuracy_std,
        stddev_samp(accuracy) AS accuracy_std_sample,
        count(DISTINCT seed)::INTEGER AS n_seeds, 1::INTEGER AS n_datasets,
        count(*) FILTER (collapsed)::INTEGER AS n_collapsed
    FROM evaluations
    WHERE protocol = 'few_shot' AND subset = 'all' AND target = dataset
    GROUP BY dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant
)
SELECT * FROM per_dataset
UNION ALL BY NAME
SELECT
    'average' AS dataset, method, supervision, source, mix, temperature, period, shots, backbone, variant,
    avg(accuracy) AS accuracy, min(n_seeds)::INTEGER AS n_seeds, count(*)::INTEGER AS n_datasets,
    sum(n_collapsed)::INTEGER AS n_collapsed
FROM per_dataset
GROUP BY method, supervision, source, mix, temperature, period, shots, backbone, variant;
