-- view published: Numbers that papers and repositories published, with their source.
--   method: method by its published name
--   our_method: the method's name in this project; null when it is not implemented here
--   protocol: protocol here that measures the same: base_to_new, few_shot or domain_generalization
--   setting: setting as published: base_to_new, few_shot or zero_shot
--   dataset: dataset by its name here, or 'average' over the eleven
--   metric: base, new, h (base_to_new) or acc (accuracy on all classes)
--   shots: training images a class; 0 for zero-shot CLIP, null where not stated
--   backbone: architecture as published
--   backbone_pattern: regular expression of the same architecture in the whole of runs.backbone
--   value: the number, percent
--   source: where it was published
--   suspect: whether the number contradicts others of its source
CREATE VIEW published AS
SELECT
    p.method, m.ours AS our_method,
    CASE WHEN p.setting <> 'zero_shot' THEN p.setting
         WHEN p.dataset IN ('imagenetv2', 'imagenet_sketch', 'imagenet_a', 'imagenet_r') THEN 'domain_generalization'
         ELSE 'few_shot' END AS protocol,
    p.setting, coalesce(d.ours, p.dataset) AS dataset, p.metric,
    CASE WHEN m.ours = 'zero_shot' THEN 0 ELSE p.shots END AS shots,
    p.backbone, b.ours AS backbone_pattern, p.value, p.source, p.source LIKE '%SUSPECT%' AS suspect
FROM published_numbers AS p
LEFT JOIN published_names AS m ON m.kind = 'method' AND m.published = p.method
LEFT JOIN published_names AS d ON d.kind = 'dataset' AND d.published = p.dataset
LEFT JOIN published_names AS b ON b.kind = 'backbone' AND b.published = p.backbone;

-- view ours_minus_published: Our one-hot (or zero-shot) numbers beside the published ones of the same method,
-- dataset, shots and architecture. A dataset is compared when it is the catalogue's; where its images or classes are
-- not the published ones the row says so in `partial` and has no published number. An average is compared when it
-- covers the eleven datasets, each whole.
--   metric: base, new, h or acc, see published
--   ours: our number, percent
--   published: published number, percent; null where ours is of a part of the dataset
--   difference: ours - published, points
--   partial: where the dataset's images and classes are not the published ones, see datasets
--   backbone: our backbone
--   epochs_variant: our (epochs, batch size, options) setting, see evaluations
--   source: where the published number stands
--   suspect: whether the published number contradicts others of its source
CREATE VIEW ours_minus_published AS
WITH ours AS (
    SELECT 'base_to_new' AS protocol, dataset, method, supervision, shots, backbone, variant, n_datasets,
        n_published, partial, unnest(['base', 'new', 'h']) AS metric, unnest([base, new, h]) AS value
    FROM base_to_new
    UNION ALL BY NAME
    SELECT 'few_shot' AS protocol, dataset, method, supervision, shots, backbone, variant, n_datasets,
        n_published, partial, 'acc' AS metric, accuracy AS value
    FROM few_shot
    UNION ALL BY NAME
    SELECT 'domain_generalization' AS protocol, target AS dataset, method, supervision, shots, backbone, variant,
        n_targets AS n_datasets, as_published::INTEGER AS n_published, partial, 'acc' AS metric, accuracy AS value
    FROM domain_generalization
)
SELECT
    o.protocol, o.dataset, o.method, o.metric, o.shots, o.backbone, o.variant AS epochs_variant,
    o.value AS ours, CASE WHEN o.partial IS NULL THEN p.value END AS published, o.value - published AS difference,
    o.partial, p.source, p.suspect
FROM ours AS o
JOIN published AS p
    ON p.our_method = o.method AND p.protocol = o.protocol AND p.dataset = o.dataset AND p.metric = o.metric
    AND (p.shots IS NULL OR p.shots = o.shots) AND regexp_full_match(o.backbone, p.backbone_pattern)
WHERE o.supervision IN ('one_hot', 'none')
  AND CASE WHEN o.dataset = 'average' THEN o.n_datasets = 11 AND o.n_published = 11
           ELSE o.n_published = 1 OR o.partial IS NOT NULL END;
