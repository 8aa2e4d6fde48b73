-- Harmonic mean of base and new accuracy, the H of the base-to-new protocol; 0 when both are 0.
CREATE MACRO harmonic_mean(base, new) AS
    CASE WHEN base + new = 0 THEN 0.0 ELSE 2.0 * base * new / (base + new) END;
-- Whether an accuracy (percent) among n classes is no better than guessing: a twentieth of the way from chance to
-- 100 % or less.
CREATE MACRO at_chance(accuracy, n_classes) AS
    n_classes > 1 AND accuracy <= 100.0 / n_classes + 0.05 * (100.0 - 100.0 / n_classes);
-- The eleven datasets that published averages cover: those with published few-shot numbers.
CREATE TABLE averaged_datasets AS
SELECT DISTINCT coalesce(n.ours, p.dataset) AS dataset
FROM published_numbers AS p
LEFT JOIN published_names AS n ON n.kind = 'dataset' AND n.published = p.dataset
WHERE p.setting = 'few_shot';
