"""Prefect tasks: one a stage, each a thin cover over a group of jobs."""
