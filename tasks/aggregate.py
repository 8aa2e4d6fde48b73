"""Task that compacts a study's rows into tables."""

from tasks.job_groups import group_task

aggregate = group_task("aggregate")
