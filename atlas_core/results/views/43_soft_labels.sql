-- view soft_labels: How soft the soft labels are that runs train with, before they are mixed with the class, and
-- which targets come of it. Means over seeds.
--   source: csl or isl
--   off_class: mean mass of a soft target on classes other than its own, mix * (1 - soft_true_mass)
--   nearly_one_hot: whether that is less than 1 %: the source trains like one_hot
--   n_runs: trainings with them
CREATE VIEW soft_labels AS
SELECT
    protocol, dataset, source, mix, temperature, shots, backbone,
    avg(soft_temperature) AS soft_temperature, avg(soft_entropy) AS soft_entropy,
    avg(soft_true_mass) AS soft_true_mass, avg(soft_top3_mass) AS soft_top3_mass,
    mix * (1 - avg(soft_true_mass)) AS off_class, mix * (1 - avg(soft_true_mass)) < 0.01 AS nearly_one_hot,
    count(*)::INTEGER AS n_runs
FROM runs
WHERE soft_true_mass IS NOT NULL
GROUP BY protocol, dataset, source, mix, temperature, shots, backbone;
