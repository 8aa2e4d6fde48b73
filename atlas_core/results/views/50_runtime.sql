-- view runtime: Training time by protocol, dataset, method and supervision.
--   n_runs: trainings
--   learned_parameters: numbers that training changes (largest of the runs)
--   wall_seconds: mean time of a training by the clock
--   cpu_seconds: mean processor time of a training
--   wall_seconds_per_epoch: mean time of an epoch
--   total_wall_seconds: time of all its trainings by the clock
--   total_cpu_seconds: processor time of all its trainings
CREATE VIEW runtime AS
SELECT
    protocol, dataset, method, supervision, shots, backbone, epochs,
    count(*)::INTEGER AS n_runs, max(learned_parameters) AS learned_parameters,
    avg(wall_seconds) AS wall_seconds, avg(cpu_seconds) AS cpu_seconds,
    avg(wall_seconds / nullif(epochs, 0)) AS wall_seconds_per_epoch,
    sum(wall_seconds) AS total_wall_seconds, sum(cpu_seconds) AS total_cpu_seconds
FROM runs
WHERE method <> 'zero_shot'
GROUP BY protocol, dataset, method, supervision, shots, backbone, epochs;

-- view stage_runtime: Time and disk by stage: what making CSL and ISL costs beside training.
--   stage: stage of the pipeline
--   n_artifacts: artifacts it made
--   wall_seconds: their time by the clock, summed
--   cpu_seconds: their processor time, summed
--   wall_percent: share of the time of all stages
--   bytes: their size on disk, summed
CREATE VIEW stage_runtime AS
SELECT
    stage, count(*)::INTEGER AS n_artifacts, sum(wall_seconds) AS wall_seconds, sum(cpu_seconds) AS cpu_seconds,
    100.0 * sum(wall_seconds) / nullif(sum(sum(wall_seconds)) OVER (), 0) AS wall_percent,
    sum(bytes)::BIGINT AS bytes
FROM artifacts
GROUP BY stage;
