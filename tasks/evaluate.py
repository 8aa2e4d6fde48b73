"""Task of the evaluations."""

from tasks.job_groups import group_task

evaluate = group_task("evaluate")
