"""Prefect tasks, one for each stage: a task makes a group of the stage's artifacts."""
